"""A program's own words in the languages of its customers, over HTTP: written, changed, refused, read."""

from typing import Any

import pytest

from projections.rebuild import TABLES, rebuild
from tests.callers import Till, ok, problem
from tests.service import MASTER_KEY, Service

WORDS = {
    "fr": {"card_name": "Carte café", "stamps_reward_description": "Un café au choix", "terms_text": "Un par visite."},
    "de": {"stamps_reward_description": "Ein Kaffee nach Wahl"},
}
CAKE = {"name": "Quetschentaart", "points_cost": 20}
FRENCH_CAKE = {"fr": {"name": "Tarte aux quetsches"}}
PLAIN: dict[str, Any] = {
    "name": "Kaffiskaart",
    "stamps_reward_description": "E Kaffi no Wiel",
    "terms_text": "Eng pro Besuch.",
    "points_rewards": [{**CAKE, "translations": FRENCH_CAKE}],
}


@pytest.fixture(scope="module")
def till(service: Service) -> Till:
    return service.shop(languages=["lb", "fr", "de"])


def offered(service: Service, program: dict[str, Any], language: str) -> dict[str, Any]:
    answer = service.public.send("GET", f"/programs/{program['id']}", headers={"Accept-Language": language})
    assert answer.headers["Vary"] == "Accept-Language"
    return ok(answer)


def test_a_vendor_reads_what_it_wrote_and_may_send_it_again(till: Till) -> None:
    body = {"loyalty_type": "hybrid", "stamps_target": 10, "earn_rate": {"points": 1, "per_minor": 100}, **PLAIN}
    first = till.post("/programs", {**body, "translations": WORDS}, key="coffee-in-three-languages")
    program = ok(first)
    assert program["translations"] == WORDS
    assert program["points_rewards"][0]["translations"] == FRENCH_CAKE
    again = till.post("/programs", {**body, "translations": WORDS}, key="coffee-in-three-languages")
    assert again.headers["Idempotent-Replayed"] == "true" and again.json() == program
    read = ok(till.get(f"/programs/{program['id']}"))
    assert (read["translations"], read["points_rewards"]) == (WORDS, program["points_rewards"])


def test_customers_read_an_offer_in_the_language_they_ask_for(service: Service, till: Till) -> None:
    program = till.program(**PLAIN, translations=WORDS)
    french = offered(service, program, "fr-LU,fr;q=0.9,de;q=0.5")
    assert (french["card_name"], french["terms_text"]) == ("Carte café", "Un par visite.")
    assert french["stamps_reward_description"] == "Un café au choix"
    assert [reward["name"] for reward in french["points_rewards"]] == ["Tarte aux quetsches"]
    german = offered(service, program, "de")
    assert (german["stamps_reward_description"], german["terms_text"]) == ("Ein Kaffee nach Wahl", "Eng pro Besuch.")
    for language in ("lb", "en", "pt"):
        plain = offered(service, program, language)
        assert (plain["card_name"], plain["stamps_reward_description"]) == (None, "E Kaffi no Wiel")
        assert plain["points_rewards"][0]["name"] == "Quetschentaart"
    assert "translations" not in str(french)


def test_a_vendors_offers_and_a_held_card_are_told_in_that_language_too(service: Service) -> None:
    vendor = service.admin.vendor()
    till = service.till(service.admin.api_key(vendor["id"])["key"], vendor["id"])
    card = till.card(till.program(**PLAIN, translations=WORDS)["id"])
    service.catch_up()
    in_french = {"Accept-Language": "fr"}
    listed = service.public.send("GET", f"/vendors/{vendor['code']}/programs", headers=in_french)
    assert [one["stamps_reward_description"] for one in ok(listed)["items"]] == ["Un café au choix"]
    held = service.public.send("GET", f"/cards/{card['qr_code_data']}", headers=in_french)
    assert ok(held)["program"]["stamps_reward_description"] == "Un café au choix"
    known = {"If-None-Match": held.headers["ETag"]}
    assert service.public.send("GET", f"/cards/{card['qr_code_data']}", headers=in_french | known).status_code == 304
    german = service.public.send("GET", f"/cards/{card['qr_code_data']}", headers={"Accept-Language": "de"} | known)
    assert ok(german)["program"]["stamps_reward_description"] == "Ein Kaffee nach Wahl"


def test_lu_is_luxembourgish_and_blank_words_are_none(till: Till) -> None:
    words = {"lu": {"card_name": "Kaart"}, "fr": {"card_name": " ", "terms_text": ""}, "en": {}}
    program = till.program(translations=words)
    assert program["translations"] == {"lb": {"card_name": "Kaart"}}


def test_given_translations_take_the_place_of_all_there_were(service: Service, till: Till) -> None:
    program = till.program(**PLAIN, translations=WORDS)
    path = f"/programs/{program['id']}"
    assert ok(till.patch(path, {"card_name": "Kaart"}))["translations"] == WORDS
    changed = ok(till.patch(path, {"translations": {"de": {"card_name": "Karte"}}}))
    assert changed["translations"] == {"de": {"card_name": "Karte"}}
    assert changed["points_rewards"][0]["translations"] == FRENCH_CAKE
    assert offered(service, program, "fr")["stamps_reward_description"] == "E Kaffi no Wiel"
    reward = {**CAKE, "id": program["points_rewards"][0]["id"]}
    plain = ok(till.patch(path, {"translations": {}, "points_rewards": [reward]}))
    assert (plain["translations"], plain["points_rewards"][0]["translations"]) == ({}, {})
    assert ok(till.patch(path, {"translations": {}}))["version"] == plain["version"]


def test_an_announced_reward_has_its_translation_from_the_same_day(service: Service, till: Till) -> None:
    program = till.program(**PLAIN, translations=WORDS)
    words = {"fr": {**WORDS["fr"], "stamps_reward_description": "Un thé", "terms_text": "Deux par visite."}}
    change = {"stamps_reward_description": "En Téi", "translations": words, "effective_from": "2100-01-01T00:00:00Z"}
    ok(till.patch(f"/programs/{program['id']}", change))
    offer = offered(service, program, "fr")
    assert (offer["stamps_reward_description"], offer["terms_text"]) == ("Un café au choix", "Deux par visite.")


@pytest.mark.parametrize(
    ("given", "field", "code"),
    [
        ({"translations": {"it": {"card_name": "Tessera"}}}, "translations.it", "not_allowed"),
        ({"translations": {"lu": {}, "lb": {}}}, "translations", "not_allowed"),
        ({"translations": {"fr": {"name": "Carte"}}}, "translations.fr.name", "unknown_field"),
        ({"translations": {"fr": {"card_name": "é" * 101}}}, "translations.fr.card_name", "too_long"),
        ({"translations": {"fr": {"terms_text": "é" * 4_001}}}, "translations.fr.terms_text", "too_long"),
        ({"translations": {"fr": {"card_name": "a\u0000b"}}}, "translations.fr.card_name", "control_character"),
        (
            {"points_rewards": [{**CAKE, "translations": {"it": {"name": "Torta"}}}]},
            "points_rewards.0.translations.it",
            "not_allowed",
        ),
    ],
    ids=["language", "twice", "field", "long name", "long terms", "control character", "reward's language"],
)
def test_what_does_not_fit_is_refused_by_its_place(till: Till, given: dict[str, Any], field: str, code: str) -> None:
    program = till.program()
    for answer in (
        till.patch(f"/programs/{program['id']}", given),
        till.post("/programs", {"loyalty_type": "stamps", "name": "Card", "stamps_target": 10, **given}),
    ):
        (error,) = problem(answer, 422, "validation_failed")["errors"]
        assert (error["field"], error["code"], error["pointer"]) == (field, code, "/" + field.replace(".", "/"))


def test_terms_that_only_the_french_could_read_are_refused_in_the_callers_language(till: Till) -> None:
    program = till.program(terms_text=None)
    answer = till.patch(
        f"/programs/{program['id']}", {"translations": {"fr": {"terms_text": "Un."}}}, Accept_Language="de"
    )
    (error,) = problem(answer, 422, "validation_failed")["errors"]
    assert (error["field"], error["code"]) == ("translations.fr.terms_text", "not_possible")
    assert error["message"] == "braucht erst einen Text für alle anderen"


def test_the_tables_say_what_the_stream_says_and_can_be_made_anew(own_service: Service) -> None:
    till = own_service.shop()
    program = till.program(**PLAIN, translations=WORDS)
    till.program()
    own_service.catch_up()
    sql = "SELECT translations, points_rewards->0->'name_in' AS reward FROM loyalty_programs WHERE id = %s"
    assert own_service.rows(sql, program["id"]) == [{"translations": WORDS, "reward": {"fr": "Tarte aux quetsches"}}]
    assert own_service.differences() == []
    before = own_service.tables()
    own_service.rows(f"TRUNCATE {', '.join(TABLES)}")
    rebuild(own_service.database_url, MASTER_KEY)
    assert own_service.tables() == before
    own_service.rows("UPDATE loyalty_programs SET translations = '{}' WHERE id = %s", program["id"])
    assert [(one.table, one.column) for one in own_service.differences()] == [("loyalty_programs", "translations")]
