"""A Google pass: every rendering is one that Google's own description of its interface knows."""

from itertools import product
from typing import Any
from uuid import UUID

import pytest

from tests.fake_google import ISSUER, faults
from tests.wallet_sync.passes import CARD_ID, TEXTS, TOKEN, TRANSLATED, card, content, points_program, program
from wallet_sync.google_pass import OWNED, class_id, erased_object, loyalty_class, loyalty_object, object_id

PROGRAM_ID = UUID("0195a1b0-0000-7000-8000-0000000000a1")
CLASS = class_id(ISSUER, "test", PROGRAM_ID)
OBJECT = object_id(ISSUER, "test", CARD_ID)
HERO = "https://cafe.example/wallet/hero.png"
MERCHANT = "Café Beim Rousegäertchen"
LANGUAGES = {"en", "fr", "de", "lb"}

STAMPS = (card(), program())
POINTS = (card(stamps_target=None, stamp_count=0, points_balance=120), points_program())
IN_LANGUAGES = (card(points_balance=12), TRANSLATED)
HYBRID = (card(points_balance=120, rewards_available=1), points_program(loyalty_type="hybrid"))


def class_of(program_: dict[str, Any], **given: Any) -> dict[str, Any]:
    said = {"id": CLASS, "logo_url": "https://cafe.example/logo.png", "callback_url": None, **given}
    return loyalty_class(program_, MERCHANT, TEXTS, **said)


def object_of(card_: dict[str, Any], program_: dict[str, Any], hero_url: str | None = HERO) -> dict[str, Any]:
    return loyalty_object(content(card_, program_), id=OBJECT, class_id=CLASS, hero_url=hero_url)


def modules(shown: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {module["id"]: module for module in shown["textModulesData"]}


def has_null(value: Any) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is None or any(has_null(part) for part in parts)


# ------------------------------------------------------------------ all of them


@pytest.mark.parametrize(
    ("of", "status", "hero_url"),
    [
        *product(
            (STAMPS, POINTS, HYBRID, IN_LANGUAGES),
            ("active", "suspended", "closed", "replaced", "erased"),
            (HERO, None),
        )
    ],
)
def test_every_card_is_an_object_that_google_knows(
    of: tuple[dict[str, Any], dict[str, Any]], status: str, hero_url: str | None
) -> None:
    shown = object_of({**of[0], "status": status}, of[1], hero_url)
    assert faults("loyaltyObject", shown) == []
    assert not has_null(shown)
    assert shown.keys() - {"id"} <= set(OWNED["loyaltyObject"])
    assert len(shown["textModulesData"]) <= 10


@pytest.mark.parametrize("of", [STAMPS, POINTS, HYBRID, IN_LANGUAGES])
@pytest.mark.parametrize("given", [{}, {"callback_url": "https://cafe.example/wallet/google"}])
@pytest.mark.parametrize("looks", [{}, {"card_color": None, "privacy_url": "https://cafe.example/privacy"}])
def test_every_program_is_a_class_that_google_knows(
    of: tuple[dict[str, Any], dict[str, Any]], given: dict[str, str], looks: dict[str, Any]
) -> None:
    shown = class_of({**of[1], **looks}, homepage_url="https://cafe.example", **given)
    assert faults("loyaltyClass", shown) == []
    assert not has_null(shown)
    assert shown.keys() - {"id"} <= set(OWNED["loyaltyClass"])
    assert ("callbackOptions" in shown) == bool(given)


# ------------------------------------------------------------------ ids


def test_ids_begin_with_the_issuer_and_tell_nothing_of_a_holder() -> None:
    assert f"{ISSUER}.test.prog.{PROGRAM_ID}" == CLASS
    assert f"{ISSUER}.test.card.{CARD_ID}" == OBJECT
    assert object_id(ISSUER, "live", CARD_ID) != OBJECT


@pytest.mark.parametrize(("issuer", "environment"), [("12a", "test"), ("", "test"), (ISSUER, "a b"), (ISSUER, "tést")])
def test_an_id_that_google_would_refuse_is_a_mistake_of_ours(issuer: str, environment: str) -> None:
    with pytest.raises(AssertionError):
        class_id(issuer, environment, PROGRAM_ID)


# ------------------------------------------------------------------ classes


def test_a_class_says_under_review_and_one_holder_on_all_devices() -> None:
    shown = class_of(program())
    assert shown["reviewStatus"] == "UNDER_REVIEW"
    assert shown["multipleDevicesAndHoldersAllowedStatus"] == "ONE_USER_ALL_DEVICES"
    assert shown["hexBackgroundColor"] == "#6f4e37"


def test_names_are_cut_to_what_a_small_phone_shows_and_said_in_every_language() -> None:
    shown = class_of(program(card_name="Coffee card"))
    assert (shown["issuerName"], shown["programName"]) == ("Café Beim Rousegäer…", "Coffee card")
    localized = shown["localizedIssuerName"]
    assert localized["defaultValue"] == {"language": "en", "value": "Café Beim Rousegäer…"}
    assert {v["language"] for v in localized["translatedValues"]} == LANGUAGES - {"en"}


def test_the_privacy_page_is_a_link_with_its_name_in_every_language() -> None:
    (link,) = class_of(program(privacy_url="https://cafe.example/privacy"))["linksModuleData"]["uris"]
    assert link["uri"] == "https://cafe.example/privacy"
    assert {v["language"] for v in link["localizedDescription"]["translatedValues"]} == LANGUAGES - {"en"}
    assert "linksModuleData" not in class_of(program())


# ------------------------------------------------------------------ objects


def test_an_active_card_can_be_scanned() -> None:
    shown = object_of(*STAMPS)
    assert shown["state"] == "ACTIVE"
    assert shown["barcode"] == {
        "type": "QR_CODE",
        "value": TOKEN,
        "alternateText": "9278 2651 0269",
        "renderEncoding": "UTF_8",
    }


@pytest.mark.parametrize("status", ["suspended", "closed"])
def test_any_other_card_has_no_code_and_says_why_in_every_language(status: str) -> None:
    shown = object_of(card(status=status), program())
    assert shown["state"] == "INACTIVE"
    assert "barcode" not in shown and TOKEN not in str(shown)
    why = modules(shown)["status"]["localizedBody"]
    assert why["defaultValue"]["value"] == f"This card is {status}"
    said = {v["language"]: v["value"] for v in why["translatedValues"]}
    assert said == {language: TEXTS[language][f"This card is {status}"] for language in LANGUAGES - {"en"}}


def test_stamps_are_a_text_and_points_a_number() -> None:
    assert object_of(*STAMPS)["loyaltyPoints"]["balance"] == {"string": "7/10"}
    assert object_of(*POINTS)["loyaltyPoints"]["balance"] == {"int": 120}
    owed = object_of({**POINTS[0], "points_balance": -5}, POINTS[1])
    assert owed["loyaltyPoints"]["balance"] == {"int": -5}
    many = object_of({**POINTS[0], "points_balance": 2**31}, POINTS[1])
    assert many["loyaltyPoints"]["balance"] == {"string": "2147483648"}


def test_rewards_are_the_second_balance_and_a_hybrids_points_a_text() -> None:
    shown = object_of(*HYBRID)
    assert shown["secondaryLoyaltyPoints"]["balance"] == {"int": 1}
    assert modules(shown)["points"]["body"] == "120"
    assert "rewards" not in modules(shown)


def test_labels_are_said_in_every_language() -> None:
    label = object_of(*STAMPS)["loyaltyPoints"]["localizedLabel"]
    assert label["defaultValue"] == {"language": "en", "value": "Stamps"}
    assert {v["language"]: v["value"] for v in label["translatedValues"]} == {
        "fr": "Tampons",
        "de": "Stempel",
        "lb": "Stempelen",
    }


def test_a_reward_that_is_called_like_a_sentence_of_ours_keeps_its_name() -> None:
    reward = modules(object_of(card(), program(stamps_reward_description="Points")))["reward"]
    assert reward["body"] == "Points" and "localizedBody" not in reward


def said(localized: dict[str, Any]) -> dict[str, str]:
    """What Google shows, by language."""
    return {one["language"]: one["value"] for one in (localized["defaultValue"], *localized["translatedValues"])}


def test_the_vendors_words_are_said_in_the_languages_that_have_their_own() -> None:
    shown = modules(object_of(*IN_LANGUAGES))
    assert shown["reward"]["body"] == "E Kaffi no Wiel"
    assert said(shown["reward"]["localizedBody"]) == {
        "en": "E Kaffi no Wiel",
        "fr": "Un café au choix",
        "de": "Ein Kaffee nach Wahl",
        "lb": "E Kaffi no Wiel",
    }
    assert said(shown["terms"]["localizedBody"])["fr"] == "Une par visite.\nPas d’espèces."
    assert said(shown["offers"]["localizedBody"])["fr"] == "20 · Une part de gâteau\n500 · A bag of beans"
    assert "localizedBody" not in shown["member"]


def test_a_class_is_called_by_its_name_in_each_language_cut_to_what_a_small_phone_shows() -> None:
    long = {**TRANSLATED["translations"], "fr": {"card_name": "Carte de fidélité café"}}
    shown = class_of({**TRANSLATED, "translations": long})
    assert shown["programName"] == "Kaffiskaart"
    names = {"en": "Coffee card", "fr": "Carte de fidélité c…", "de": "Kaffiskaart", "lb": "Kaffiskaart"}
    assert said(shown["localizedProgramName"]) == names


def test_a_card_shows_the_picture_it_is_given() -> None:
    assert object_of(*STAMPS)["heroImage"]["sourceUri"]["uri"] == HERO
    assert "heroImage" not in object_of(*STAMPS, hero_url=None)


def test_of_an_erased_card_nothing_is_left() -> None:
    left = erased_object(id=OBJECT, class_id=CLASS)
    assert faults("loyaltyObject", left) == []
    assert left == {"id": OBJECT, "classId": CLASS, "state": "INACTIVE"}


def test_the_same_card_is_the_same_object() -> None:
    assert object_of(*HYBRID) == object_of(*HYBRID)
