"""Who may: staff by their PIN, and devices that are paired."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser import Browser as Client
from tests.callers import ok
from tests.conftest import SERVER
from tests.databases import database
from tests.pages.browser import Person
from tests.pages.counter import PIN, REFUSED, Opened, Shop, enter, find, open_shop, tap_pin
from tests.service import Service


def test_a_wrong_pin_opens_nothing_and_a_locked_one_says_for_how_long(
    service: Service, browser: Browser, at: Opened
) -> None:
    careful = open_shop(service, browser)
    page = at(of=careful, expected=(REFUSED,), is_in=False)
    page.get_by_role("button", name="Marie").click()
    for _ in range(4):
        tap_pin(page, "9999")
        expect(page.locator("#pin-error")).to_have_text("The staff PIN was not accepted")
    tap_pin(page, "9999")
    expect(page.locator("#pin-field")).to_have_value("")
    tap_pin(page, PIN)
    expect(page.locator("#pin-error")).to_contain_text("This PIN is locked")
    expect(page.locator("#pin-error")).to_contain_text("in 15 minutes")


@pytest.fixture(scope="module")
def hasty(pytestconfig: pytest.Config) -> Iterator[Service]:
    """A service whose staff sessions are over in a moment."""
    server = pytestconfig.stash[SERVER]
    with database(server.url, template=server.template) as url, Service(url, staff_session_idle_seconds=3) as service:
        yield service


def test_a_till_that_nobody_uses_asks_for_the_pin_again(
    hasty: Service, browser: Browser, person: Callable[..., Person]
) -> None:
    shop = open_shop(hasty, browser)
    somebody = Person(browser, str(hasty.http.base_url), storage_state=shop.cookies)
    page = enter(somebody.opens("/till"))
    expect(page.locator("#number")).to_be_visible()
    expect(page.locator("#pin-why")).to_contain_text("not used for a while")
    tap_pin(page, PIN)
    expect(page.locator("#number")).to_be_visible()
    somebody.leaves()


def test_a_device_that_is_not_paired_is_sent_to_be_paired(person: Callable[..., Person]) -> None:
    page = person().opens("/till")
    page.wait_for_url("**/till/pair")
    expect(page.locator("[name=code]")).to_be_visible()


def test_a_till_whose_key_was_revoked_says_so_and_keeps_what_it_had(
    service: Service, browser: Browser, at: Opened
) -> None:
    lost = open_shop(service, browser)
    card, page = lost.card(), at(of=lost, expected=(REFUSED,))
    find(page, card)
    (key,) = [one for one in ok(lost.office.get("/api-keys"))["items"] if one["prefix"].startswith("till_")]
    lost.office.delete(f"/api-keys/{key['id']}")
    page.locator("#stamp").click()
    expect(page.get_by_role("heading", name="This till is no longer paired")).to_be_visible()
    expect(page.locator("#waiting-count")).to_have_text("1 to send")
    assert lost.entries(card) == []


def test_another_sites_page_unpairs_no_till(service: Service, shop: Shop) -> None:
    cookies = {one["name"]: one["value"] for one in shop.cookies["cookies"]}
    assert Client(service.http, cookies).submit("/till/unpair", "cross-site").status_code == 403
