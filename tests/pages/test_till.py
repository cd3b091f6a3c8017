"""The till as staff use it: a card is found, stamped, undone and redeemed, with and without a connection."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from tests.pages.browser import Person
from tests.pages.counter import Shop, answer, enter, find, open_shop
from tests.service import Service


@pytest.fixture(scope="module")
def shop(service: Service, browser: object) -> Shop:
    people: list[Person] = []

    def person() -> Person:
        people.append(Person(browser, str(service.http.base_url)))  # type: ignore[arg-type]
        return people[-1]

    made = open_shop(service, person)
    for one in people:
        one.leaves()
    return made


Opened = Callable[..., Page]


@pytest.fixture
def till(shop: Shop, person: Callable[..., Person]) -> Opened:
    """Opens the paired till in a browser of its own; `expected` as for a person."""

    def opened(*, expected: tuple[str, ...] = (), is_in: bool = True, of: Shop = shop, **how: object) -> Page:
        somebody = person(storage_state=of.cookies, **how)
        somebody.expected = list(expected)
        page = somebody.opens("/till")
        return enter(page) if is_in else page

    return opened


# ------------------------------------------------------------------ a customer at the counter


def test_a_card_is_found_by_its_number_and_stamped(shop: Shop, till: Opened) -> None:
    card, page = shop.card(name="Anna"), till()
    find(page, card)
    assert page.get_by_role("heading", name="Anna").is_visible()
    page.get_by_role("button", name="Give a stamp").click()
    assert answer(page, "1 stamp given") == "good"
    assert page.locator("#answer-lines").inner_text().splitlines() == ["Stamps: 1 of 10", "9 more to the reward"]
    assert shop.entries(card) == ["stamps-added"]
