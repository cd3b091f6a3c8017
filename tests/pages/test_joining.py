"""Joining from a poster: by keyboard alone, in four languages, once for each form, and from our own page only."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import expect

from api.languages import LANGUAGES, translate
from api.pages.customer.joining import MISSING, WRONG
from tests.clock import not_at_the_full_hour
from tests.conftest import SERVER
from tests.databases import database
from tests.pages.browser import Person
from tests.pages.shop import BROWSER, shop
from tests.service import Service


@pytest.mark.parametrize("language", LANGUAGES)
def test_somebody_joins_by_keyboard_alone(person: Callable[..., Person], service: Service, language: str) -> None:
    cafe = shop(service)
    page = person(language=language).opens(cafe.poster)
    expect(page.locator("html")).to_have_attribute("lang", language)
    while page.evaluate("document.activeElement.id") != "name":
        page.keyboard.press("Tab")
    page.keyboard.type("Ana")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/c/*")
    expect(page.get_by_text(translate(language, "Welcome! This is your card."))).to_be_visible()  # type: ignore[arg-type]
    expect(page.locator("html")).to_have_attribute("lang", language)
    (card,) = cafe.cards()
    assert card["language"] == language and card["qr_code_data"] in page.url


def test_a_form_sent_twice_at_once_makes_one_card(service: Service) -> None:
    cafe = shop(service)
    form = cafe.form()
    with ThreadPoolExecutor(4) as four:
        answers = list(four.map(lambda _: cafe.join(form, name="Ana"), range(4)))
    assert {answer.status_code for answer in answers} == {303}
    assert len({answer.headers["location"] for answer in answers}) == len(cafe.cards()) == 1


def test_going_back_and_sending_the_form_with_another_name_leads_to_the_same_card(service: Service) -> None:
    cafe = shop(service)
    form = cafe.form()
    first, second = cafe.join(form, name="Ana"), cafe.join(form, name="Anna")
    assert first.headers["location"] == second.headers["location"] and len(cafe.cards()) == 1


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}]
)
def test_a_form_on_another_website_makes_no_card(service: Service, headers: dict[str, str]) -> None:
    cafe = shop(service)
    sent = {"form": cafe.form(), "consent": "yes"}
    answer = service.http.post(cafe.poster, data=sent, headers={**BROWSER, **headers})
    assert (answer.status_code, answer.headers["content-type"]) == (403, "text/html; charset=utf-8")
    assert "It was sent from another website" in answer.text and cafe.cards() == []


def test_without_consent_there_is_no_card(service: Service) -> None:
    cafe = shop(service)
    answer = cafe.join(cafe.form(), consent="", name="Ana")
    assert answer.status_code == 422 and MISSING["consent"] in answer.text
    assert 'value="Ana"' in answer.text and cafe.cards() == []


def test_a_program_asks_for_what_its_vendor_wants(service: Service) -> None:
    nothing = shop(service, enrolment_fields=[])
    assert nothing.join(nothing.form()).status_code == 303
    cafe = shop(service, enrolment_fields=["name", "email"])
    missing, wrong = cafe.join(cafe.form()), cafe.join(cafe.form(), email="ana@")
    assert MISSING["email"] in missing.text and WRONG["email"] in wrong.text
    assert cafe.join(cafe.form(), email="Ana@Example.lu").status_code == 303
    service.catch_up()
    (card,) = cafe.till.get("/cards", program_id=cafe.program["id"]).json()["items"]
    assert cafe.till.read(card["id"])["customer"]["email"] == "ana@example.lu"


def test_a_phone_is_understood_as_dialled_in_the_shop_s_country(service: Service) -> None:
    cafe = shop(service, enrolment_fields=["phone"])
    assert WRONG["phone"] in cafe.join(cafe.form(), phone="12").text
    assert cafe.join(cafe.form(), phone="621 123 456").status_code == 303
    service.catch_up()
    (card,) = cafe.till.get("/cards", program_id=cafe.program["id"]).json()["items"]
    assert cafe.till.read(card["id"])["customer"]["phone"] == "+352621123456"


def test_an_email_that_has_a_card_already_gets_another_one(service: Service) -> None:
    cafe = shop(service, enrolment_fields=["email"])
    known = cafe.card(email="ana@example.lu")
    assert known["qr_code_data"] not in cafe.join(cafe.form(), email="ana@example.lu").headers["location"]


def test_a_vendor_s_code_leads_to_its_program_or_lets_choose(service: Service) -> None:
    cafe = shop(service)
    service.catch_up()
    (row,) = service.rows("SELECT code FROM vendors WHERE id = %s", cafe.till.vendor_id)
    answer = service.http.get(f"/j/{row['code']}", headers=BROWSER)
    assert (answer.status_code, answer.headers["location"]) == (303, cafe.poster)
    other = cafe.till.program(name="Bread card")
    service.catch_up()
    both = service.http.get(f"/j/{row['code']}", headers=BROWSER).text
    assert cafe.poster in both and f"/j/{other['id']}" in both


@pytest.mark.parametrize("name", ["00000000-0000-0000-0000-000000000000", "no-such-shop", "%3Cscript%3E"])
def test_an_unknown_poster_says_whom_to_ask(service: Service, name: str) -> None:
    answer = service.http.get(f"/j/{name}", headers=BROWSER)
    assert answer.status_code == 404 and "Ask at the counter for the right one" in answer.text


def test_a_program_that_ended_gives_no_cards(service: Service) -> None:
    cafe = shop(service)
    form = cafe.form()
    cafe.till.post(f"/programs/{cafe.program['id']}/deactivate", key=None)
    page = service.http.get(cafe.poster, headers=BROWSER)
    assert page.status_code == 200 and "This program has ended" in page.text and "<form" not in page.text
    assert cafe.join(form).status_code == 409 and cafe.cards() == []


def test_too_many_cards_from_one_place_are_refused_in_words(pytestconfig: pytest.Config) -> None:
    server = pytestconfig.stash[SERVER]
    with (
        database(server.url, template=server.template) as url,
        Service(url, enrolments_per_hour=1) as service,
    ):
        cafe = shop(service)
        form = cafe.form()
        not_at_the_full_hour()
        assert cafe.join(form).status_code == 303
        refused = cafe.join(cafe.form())
        assert refused.status_code == 429 and "There were too many attempts from here" in refused.text
        assert cafe.join(form).status_code == 303, "the same form is no other attempt"
