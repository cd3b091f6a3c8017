"""A shop's own words in several languages: written in the designer, read by customers in theirs."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.callers import ok
from tests.pages.browser import DESKTOP, SMALL, barriers, overflowing
from tests.pages.shop import BROWSER, Shop
from tests.pages.test_cards import CANARY
from tests.pages.vendor.desk import People, signed_in
from tests.service import Service

WORDS = {
    "fr": {"card_name": "Carte café", "stamps_reward_description": "Un café au choix", "terms_text": "Un par visite."},
    "de": {"stamps_reward_description": "Ein Kaffee nach Wahl"},
}
PLAIN: dict[str, Any] = {
    "name": "Kaffiskaart",
    "stamps_reward_description": "E Kaffi no Wiel",
    "terms_text": "Eng pro Besuch.",
    "points_rewards": [
        {"name": "Quetschentaart", "points_cost": 20, "translations": {"fr": {"name": "Tarte aux quetsches"}}}
    ],
}


@pytest.fixture
def cafe(service: Service) -> Shop:
    till = service.shop(languages=["lb", "fr", "de"])
    return Shop(service, till, till.program(**PLAIN, translations=WORDS))


def designer(person: People, cafe: Shop, **how: Any) -> Page:
    return signed_in(person(**how), cafe.till, f"/app/programs/{cafe.program['id']}")


def publish(page: Page) -> None:
    page.get_by_role("button", name="Publish a new version").click()


# ------------------------------------------------------------------ the designer


def test_the_phone_speaks_the_language_picked_while_somebody_types(person: People, cafe: Shop) -> None:
    page = designer(person, cafe, window=DESKTOP)
    expect(page.locator(".pass-name")).to_have_text("Kaffiskaart")
    page.get_by_label("Language of the phone").select_option("fr")
    expect(page.locator(".pass-name")).to_have_text("Carte café")
    expect(page.locator(".pass-lines")).to_contain_text("Un café au choix")
    page.locator("summary", has_text="Français").click()
    page.locator("#fr-stamps_reward_description").fill("Un thé")
    expect(page.locator(".pass-lines")).to_contain_text("Un thé")
    page.get_by_label("Language of the phone").select_option("de")
    expect(page.locator(".pass-lines")).to_contain_text("Ein Kaffee nach Wahl")
    expect(page.locator(".pass-name")).to_have_text("Kaffiskaart")


def test_what_is_written_in_a_language_is_published_and_the_rest_stays(person: People, cafe: Shop) -> None:
    path = f"/programs/{cafe.program['id']}"
    english = {"en": {"card_name": "Coffee card"}}  # No language of this shop: the form has no field for it.
    reward = {**PLAIN["points_rewards"][0], "id": cafe.program["points_rewards"][0]["id"], "value_minor": 420}
    reward["translations"] = {**reward["translations"], "en": {"name": "Plum cake"}}
    ok(cafe.till.patch(path, {"translations": WORDS | english, "points_rewards": [reward]}))
    page = designer(person, cafe)
    assert page.locator("summary[lang]").all_inner_texts() == ["Français", "Deutsch"]
    page.locator("summary", has_text="Deutsch").click()
    page.locator("#de-card_name").fill("Kaffeekarte")
    page.locator("#de-reward-0-name").fill("Zwetschgenkuchen")
    page.locator("summary", has_text="Français").click()
    page.locator("#fr-terms_text").fill("")
    publish(page)
    expect(page.get_by_role("status").first).to_contain_text("Published.")
    found = ok(cafe.till.get(path))
    french = {name: text for name, text in WORDS["fr"].items() if name != "terms_text"}
    assert found["translations"] == {"fr": french, "de": {**WORDS["de"], "card_name": "Kaffeekarte"}, **english}
    assert found["points_rewards"] == [
        {**reward, "translations": {**reward["translations"], "de": {"name": "Zwetschgenkuchen"}}}
    ]
    publish(page)
    expect(page.get_by_role("status").first).to_contain_text("Published.")
    assert ok(cafe.till.get(path))["version"] == found["version"]


def test_a_new_program_has_its_words_in_each_language_from_the_start(person: People, cafe: Shop) -> None:
    page = signed_in(person(), cafe.till, "/app/programs/new")
    page.get_by_label("Name of the program").fill("Zoppekaart")
    page.locator("#stamps_reward_description").fill("Eng Zopp")
    page.locator("summary", has_text="Français").click()
    page.locator("#fr-stamps_reward_description").fill("Une soupe")
    expect(page.locator("#fr-reward-0-name")).to_be_hidden()
    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_role("heading", name="Zoppekaart")).to_be_visible()
    made = ok(cafe.till.get(f"/programs/{page.url.rpartition('/')[2].partition('?')[0]}"))
    assert made["translations"] == {"fr": {"stamps_reward_description": "Une soupe"}}


def test_terms_in_one_language_alone_are_told_beside_their_field(person: People, cafe: Shop) -> None:
    paul = person()
    paul.expected = ["422"]
    page = signed_in(paul, cafe.till, "/app/programs/new")
    page.get_by_label("Name of the program").fill("Zoppekaart")
    page.locator("summary", has_text="Français").click()
    page.locator("#fr-terms_text").fill("Une par visite.")
    page.get_by_role("button", name="Publish").click()
    expect(page.locator("#fr-terms_text-error")).to_have_text("Needs a text for everybody else first.")
    expect(page.locator("#fr-terms_text")).to_have_value("Une par visite.")


def test_a_shop_with_one_language_is_not_asked_for_others(person: People, service: Service) -> None:
    till = service.shop(languages=["lb"])
    page = signed_in(person(), till, "/app/programs/new")
    assert page.get_by_text("In other languages").count() == 0


def test_nobody_is_kept_out_of_the_words(person: People, cafe: Shop) -> None:
    page = designer(person, cafe, window=SMALL)
    for summary in page.locator("summary[lang]").all():
        summary.click()
    assert barriers(page) == [] and overflowing(page) == []


# ------------------------------------------------------------------ customers


def test_what_a_shop_writes_in_another_language_stays_text_everywhere(person: People, service: Service) -> None:
    till = service.shop(languages=["lb", "fr"])
    words = {"card_name": CANARY[:80], "stamps_reward_description": CANARY[:80], "terms_text": CANARY}
    rewards = [{"name": "Taart", "points_cost": 20, "translations": {"fr": {"name": CANARY[:80]}}}]
    program = till.program(terms_text="Eng.", translations={"fr": words}, points_rewards=rewards)
    cafe = Shop(service, till, program)
    card = ok(till.post(f"/programs/{program['id']}/cards", {"customer": {}, "language": "fr"}))
    ana = person(language="fr")
    for address in (cafe.poster, cafe.page_of(card), cafe.page_of(card) + "/delete"):
        page = ana.opens(address)
        assert page.locator("img, main script").count() == 0 and "onerror=" in page.content()
    page = designer(person, cafe)
    page.get_by_label("Language of the phone").select_option("fr")
    expect(page.locator(".pass-name")).to_contain_text("onerror=")
    assert page.locator("img[src=x]").count() == 0


@pytest.mark.parametrize(
    ("language", "title", "reward", "cake", "terms"),
    [
        ("fr", "Carte café", "Un café au choix", "Tarte aux quetsches", "Un par visite."),
        ("de", "Kaffiskaart", "Ein Kaffee nach Wahl", "Quetschentaart", "Eng pro Besuch."),
    ],
)
def test_a_customer_joins_keeps_and_leaves_in_their_language(
    person: People, cafe: Shop, language: str, title: str, reward: str, cake: str, terms: str
) -> None:
    page = person(language=language).opens(cafe.poster)
    expect(page.locator("h1")).to_contain_text(reward)
    expect(page.locator(".goals")).to_contain_text(cake)
    expect(page.locator("details .as-written")).to_have_text(terms)
    assert page.title().startswith(title)
    page.locator("#consent").check()
    page.locator("form .button").click()
    page.wait_for_url("**/c/*")
    expect(page.locator("#live")).to_contain_text(reward)
    expect(page.locator("#live")).to_contain_text(cake)
    expect(page.locator("details .as-written")).to_have_text(terms)
    assert page.title().startswith(title)
    (card,) = cafe.cards()
    page.goto(f"/c/{card['qr_code_data']}/delete")
    expect(page.locator("main")).to_be_visible()
    assert page.title().endswith(title)


def test_a_card_changes_its_words_with_its_language(person: People, cafe: Shop) -> None:
    card = ok(cafe.till.post(f"/programs/{cafe.program['id']}/cards", {"customer": {}, "language": "fr"}))
    page = person(language="de").opens(cafe.page_of(card))
    expect(page.locator("#live")).to_contain_text("Un café au choix")
    page.locator("a[href^='/language/de']").first.click()
    expect(page.locator("#live")).to_contain_text("Ein Kaffee nach Wahl")
    ok(cafe.till.stamp(card["id"]))
    expect(page.locator(".stamp.filled")).to_have_count(1)
    expect(page.locator("#live")).to_contain_text("Ein Kaffee nach Wahl")


def test_what_is_kept_on_a_phones_first_screen_has_the_cards_name_in_its_language(service: Service, cafe: Shop) -> None:
    card = ok(cafe.till.post(f"/programs/{cafe.program['id']}/cards", {"customer": {}, "language": "fr"}))
    assert ok(service.http.get(cafe.page_of(card) + "/card.webmanifest"))["name"] == "Carte café"


def test_a_vendors_programs_are_listed_in_the_readers_language(service: Service, cafe: Shop) -> None:
    cafe.till.program(name="Aner Kaart")
    service.catch_up()
    code = ok(service.admin.get(f"/vendors/{cafe.till.vendor_id}"))["code"]
    for language, name in (("fr", "Carte café"), ("de", "Kaffiskaart")):
        listed = service.http.get(f"/j/{code}", headers={**BROWSER, "Accept-Language": language}).text
        assert name in listed and "Aner Kaart" in listed


def test_a_poster_speaks_the_language_it_is_printed_in(person: People, cafe: Shop) -> None:
    page = signed_in(person(), cafe.till, f"/app/programs/{cafe.program['id']}/poster")
    expect(page.locator(".poster-offer")).to_contain_text("E\u00a0Kaffi\u00a0no\u00a0Wiel")
    page.goto(f"/app/programs/{cafe.program['id']}/poster?language=fr")
    expect(page.locator(".poster-offer")).to_contain_text("Un\u00a0café\u00a0au\u00a0choix")
