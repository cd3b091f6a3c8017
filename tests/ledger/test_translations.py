"""A shop's words in several languages: what each reader sees."""

from typing import Any

import pytest

from ledger.translations import Translations, by_language, in_language, languages_of, translations

PROGRAM: dict[str, Any] = {
    "name": "Kaffiskaart",
    "card_name": None,
    "terms_text": "Ee Stempel pro Kaffi.",
    "translations": {"fr": {"card_name": "Carte café"}, "de": {"terms_text": "Ein Stempel je Kaffee."}},
    "points_rewards": [
        {"name": "Quetschentaart", "points_cost": 90, "translations": {"fr": {"name": "Tarte aux quetsches"}}},
        {"name": "Croissant", "points_cost": 40, "translations": {}},
    ],
}


def test_a_reader_sees_the_words_of_their_language_and_else_the_plain_ones() -> None:
    told = in_language(PROGRAM, "fr")
    assert (told["card_name"], told["terms_text"]) == ("Carte café", "Ee Stempel pro Kaffi.")
    assert [reward["name"] for reward in told["points_rewards"]] == ["Tarte aux quetsches", "Croissant"]
    assert [reward["points_cost"] for reward in told["points_rewards"]] == [90, 40]


def test_a_language_without_any_words_sees_the_plain_ones() -> None:
    told = in_language(PROGRAM, "en")
    assert (told["card_name"], told["terms_text"]) == (None, "Ee Stempel pro Kaffi.")
    assert [reward["name"] for reward in told["points_rewards"]] == ["Quetschentaart", "Croissant"]


def test_what_a_reader_sees_is_in_one_language() -> None:
    told = in_language(PROGRAM, "fr")
    assert "translations" not in told and not any("translations" in reward for reward in told["points_rewards"])
    assert "translations" in PROGRAM


def test_the_languages_of_a_program_are_also_those_of_its_rewards() -> None:
    rewards = [{"name": "Taart", "translations": {"lb": {"name": "Taart"}}}]
    assert languages_of({**PROGRAM, "points_rewards": rewards}) == ["de", "fr", "lb"]


@pytest.mark.parametrize("words", [{}, {"fr": None}, {"fr": "", "de": None}])
def test_no_words_are_no_translations(words: dict[str, str | None]) -> None:
    assert translations(words) is None


def test_words_are_told_by_language_and_then_by_text() -> None:
    told = by_language(card_name=Translations(fr="Carte", lb="Kaart"), terms_text=Translations(fr="Un."), name=None)
    assert told == {"fr": {"card_name": "Carte", "terms_text": "Un."}, "lb": {"card_name": "Kaart"}}
