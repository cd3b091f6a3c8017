"""Being forgotten: asked for on the card's page, by whoever can show that it is theirs, and for good."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from api.pages.customer.leaving import NOT_IT, NOT_TICKED
from tests.clock import eventually
from tests.pages.browser import Person, barriers
from tests.pages.shop import BROWSER, Shop, shop
from tests.service import Service

KEPT = "caches.open('card-pages').then(c => c.keys()).then(k => k.length)"


@pytest.fixture
def cafe(service: Service) -> Shop:
    return shop(service)


def ask(cafe: Shop, card: dict[str, str], **fields: str) -> tuple[int, str]:
    answer = cafe.service.http.post(cafe.page_of(card) + "/delete", data=fields, headers=BROWSER)  # type: ignore[arg-type]
    return answer.status_code, answer.text


def test_the_holder_is_forgotten_and_nothing_stays_on_the_phone(person: Callable[..., Person], cafe: Shop) -> None:
    card = cafe.card(name="Ana")
    page = person(language="fr").opens(cafe.page_of(card))
    eventually(lambda: page.evaluate(KEPT))
    page.locator("footer a").click()
    page.locator("#sure").check()
    page.locator("form .button").click()
    expect(page.locator("#deleted")).to_be_visible()
    assert barriers(page) == []
    eventually(lambda: page.evaluate(KEPT) == 0)
    assert cafe.service.http.get(cafe.page_of(card), headers=BROWSER).status_code == 404
    told = cafe.till.get(f"/customers/{card['customer_id']}").json()
    assert told["is_erased"] and told["receipt"]["erased_by"]["authenticated_by"] == "qr_token"


def test_who_gave_an_email_must_know_it(cafe: Shop) -> None:
    card = cafe.card(email="ana@example.lu")
    status, told = ask(cafe, card, sure="yes", known="someone@example.lu")
    assert status == 422 and NOT_IT in told and "ana@example.lu" not in told
    assert ask(cafe, card, sure="yes")[0] == 422
    assert ask(cafe, card, sure="yes", known=" Ana@Example.lu ")[0] == 200


def test_who_gave_a_phone_may_write_it_as_they_like(cafe: Shop) -> None:
    card = cafe.card(phone="+352621123456")
    assert ask(cafe, card, sure="yes", known="621 123 456")[0] == 200


def test_guessing_ends_soon_also_for_the_right_answer(cafe: Shop) -> None:
    card = cafe.card(email="ana@example.lu")
    for number in range(5):
        assert ask(cafe, card, sure="yes", known=f"ana{number}@example.lu")[0] == 422
    assert ask(cafe, card, sure="yes", known="ana@example.lu")[0] == 429


def test_nothing_happens_unless_it_is_really_wanted(cafe: Shop) -> None:
    card = cafe.card()
    status, told = ask(cafe, card, sure="")
    assert status == 422 and NOT_TICKED in told
    assert cafe.service.http.get(cafe.page_of(card), headers=BROWSER).status_code == 200


def test_another_website_deletes_nothing(cafe: Shop) -> None:
    card = cafe.card()
    headers = {**BROWSER, "Sec-Fetch-Site": "cross-site"}
    refused = cafe.service.http.post(cafe.page_of(card) + "/delete", data={"sure": "yes"}, headers=headers)
    assert refused.status_code == 403
    assert cafe.service.http.get(cafe.page_of(card), headers=BROWSER).status_code == 200
