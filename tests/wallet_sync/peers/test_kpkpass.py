"""KDE's reader of passes finds in ours what our pass content says, in each language.

It leaves the description in the language of pass.json, and takes `voided` for a text where Apple's documentation of
`Pass` has a boolean: that a card cannot be used it shows by its status and by the code that is not there.
"""

from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from tests.wallet_sync.passes import SERIAL, TEXTS, TRANSLATED, card, content, now, points_program, program
from tests.wallet_sync.peers.conftest import ReadPass
from wallet_sync.apple_certificates import Signer
from wallet_sync.apple_pass import WORD_JOINER, UpdatesFrom, packed, render
from wallet_sync.pass_content import Line, PassContent

URL = "https://cards.example/api/v1/loyalty/apple"
UPDATES = UpdatesFrom(URL, "t" * 43)
WORDS = 'Say "hi" = 50 % \\ off;\nزر 🎉'

STAMPS = content(card(), program(terms_text="One card each.\nNo cash.", privacy_url="https://a.example/privacy"))
POINTS = content(card(stamps_target=None, points_balance=120), points_program(card_name="Café-Kaart"))
PASSES = {
    "stamps": STAMPS,
    "points": POINTS,
    "suspended": content(card(status="suspended")),
    "replaced": content(card(status="replaced", stamps_target=None), points_program()),
    "plain": content(card(stamps_target=None, customer={}), points_program(points_rewards=[])),
    "odd": content(card(customer={"name": WORDS}), program(name=WORDS, stamps_reward_description=WORDS)),
    "translated": content(card(points_balance=12), TRANSLATED),
    "suspended and translated": content(card(status="suspended"), TRANSLATED),
    "translated points": content(card(stamps_target=None, points_balance=12), TRANSLATED),
    "the same words with other translations": content(
        card(customer={"name": "Kaffi"}),
        program(
            card_name="Kaffi",
            stamps_reward_description="Kaffi",
            terms_text="Kaffi",
            translations={"fr": {"card_name": "Café", "stamps_reward_description": "Un café"}},
        ),
    ),
}


class Reader(NamedTuple):
    """KPkPass, and what to make passes for it with."""

    read: ReadPass
    signer: Signer
    folder: Path

    def finds(self, content: PassContent, language: str) -> dict[str, Any]:
        file = self.folder / "card.pkpass"
        file.write_bytes(
            packed(render(content, serial=SERIAL, signer=self.signer, updates=UPDATES), self.signer, now())
        )
        return self.read(file, language)


@pytest.fixture
def reader(read_pass: ReadPass, signer: Signer, tmp_path: Path) -> Reader:
    return Reader(read_pass, signer, tmp_path)


def shown(said: PassContent, line: Line, language: str) -> list[str]:
    """A line as a person reads it: its label, its value, and what is said when the value is new."""
    known, own = TEXTS[language], said.words.get(language, {})
    value = known[line.value] if line.key == "status" else own.get(line.key, line.value)
    change = "" if line.change is None else known[line.change].replace("%@", value)
    return [line.key, known[line.label], value, change]


def without_joiners(found: dict[str, Any]) -> dict[str, Any]:
    """What a person sees: the joiner that keeps equal words apart is nothing to them."""
    told: dict[str, Any] = orjson.loads(orjson.dumps(found).decode().replace(WORD_JOINER, ""))
    return told


@pytest.mark.parametrize("language", ["en", "fr", "de", "lb"])
@pytest.mark.parametrize("kind", PASSES)
def test_it_finds_what_the_content_says(reader: Reader, kind: str, language: str) -> None:
    said = PASSES[kind]
    found = without_joiners(reader.finds(said, language))
    assert found["header"] == [shown(said, said.balance, language)]
    assert found["secondary"] == [shown(said, line, language) for line in said.front]
    assert found["back"] == [shown(said, line, language) for line in said.back]
    assert found["primary"] == found["auxiliary"] == []
    code = ["QR", said.barcode, said.barcode_text, "iso-8859-1"]
    assert found["codes"] == ([] if said.is_voided else [code])
    title = said.words.get(language, {}).get("title", said.title)
    assert (found["organization"], found["title"]) == (said.merchant, title)


def test_a_language_nobody_translated_reads_english(reader: Reader) -> None:
    assert reader.finds(STAMPS, "pt")["header"] == [shown(STAMPS, STAMPS.balance, "en")]


def test_it_finds_whose_pass_it_is_and_where_the_next_one_is(reader: Reader) -> None:
    found = reader.finds(STAMPS, "en")
    type_ = reader.signer.pass_type_id
    assert (found["type"], found["passType"], found["serial"]) == ("StoreCard", type_, SERIAL)
    assert found["updates"] == [f"{URL}/v1/passes/{type_}/{SERIAL}", UPDATES.authentication_token]
    assert found["expires"] == ""  # No card of ours ends on a day that is known before.


def test_it_finds_the_colour_and_the_pictures(reader: Reader) -> None:
    found = reader.finds(STAMPS, "en")
    assert found["background"] == STAMPS.color
    assert (found["icon"], found["logo"], found["strip"]) == ([58, 58], [100, 100], [750, 288])
    assert reader.finds(PASSES["plain"], "en")["strip"] == [0, 0]


@pytest.mark.parametrize("language", ["fr", "lb"])
def test_the_vendors_words_are_not_translated_where_they_equal_ours(reader: Reader, language: str) -> None:
    said = content(
        card(customer={"name": "Reward"}),
        program(card_name="Loyalty card", stamps_reward_description="Stamps", terms_text="Terms"),
    )
    found = reader.finds(said, language)
    values = {key: value.rstrip(WORD_JOINER) for key, _, value, _ in found["secondary"] + found["back"]}
    assert (values["member"], values["reward"], values["terms"]) == ("Reward", "Stamps", "Terms")
    assert found["title"].rstrip(WORD_JOINER) == "Loyalty card"
    assert found["header"] == [shown(said, said.balance, language)]
