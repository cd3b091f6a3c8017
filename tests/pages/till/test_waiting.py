"""The list of what was left by somebody who went."""

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.pages.browser import SMALL, barriers, overflowing
from tests.pages.counter import GONE, PIN, STAMPED, Opened, Shop, answer, enter, find, has_arrived, open_shop, tap_pin
from tests.service import Service


@pytest.fixture
def left(service: Service, browser: Browser, at: Opened) -> tuple[Shop, dict[str, Any], Page]:
    """Marie stamped a card without a connection and went; Luc is at the till and looks at what waits."""
    two = open_shop(service, browser)
    two.office.pin("8305", name="Luc")
    service.catch_up()
    card, page = two.card(), at(of=two, expected=(GONE,), window=SMALL, language="de")
    page.context.set_offline(True)
    find(page, card)
    page.locator("#stamp").click()
    answer(page, "Notiert")
    page.locator("#lock").click()
    page.context.set_offline(False)
    enter(page, "Luc", "8305")
    page.locator("#show-waiting").click()
    expect(page.locator("#waiting-list")).to_contain_text("wartet auf die PIN von Marie")
    return two, card, page


def test_nobody_sends_what_somebody_else_did(left: tuple[Shop, dict[str, Any], Page]) -> None:
    two, card, page = left
    expect(page.locator("#waiting-count")).to_contain_text("1")
    assert two.entries(card) == []


def test_what_waits_for_somebody_says_since_when_and_is_sent_by_them(left: tuple[Shop, dict[str, Any], Page]) -> None:
    two, card, page = left
    expect(page.locator("#waiting-list .quiet")).to_have_text(re.compile(r"^Marie · \d\d:\d\d · vor \d+ Sekunden?$"))
    assert barriers(page) == [] and overflowing(page) == []
    page.get_by_role("button", name="Marie: PIN eingeben").click()
    tap_pin(page, PIN)
    has_arrived(page)
    assert two.entries(card) == [STAMPED]


def test_how_long_something_waits_is_said_again_as_time_goes_by(left: tuple[Shop, dict[str, Any], Page]) -> None:
    _, _, page = left
    page.clock.install()
    page.reload()
    page.locator("#show-waiting").click()
    button = page.get_by_role("button", name="Marie: PIN eingeben")
    button.focus()
    page.clock.fast_forward(100_000)
    expect(page.locator("#waiting-list .quiet")).to_have_text(re.compile("vor 2 Minuten$"))
    expect(button).to_be_focused()


def test_what_waits_for_somebody_is_discarded_by_another_and_stays_listed(
    left: tuple[Shop, dict[str, Any], Page],
) -> None:
    two, card, page = left
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Verwerfen").click()
    expect(page.locator("#show-waiting")).to_be_visible()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Verwerfen").click()
    expect(page.locator("#waiting-list")).to_contain_text("Verworfen von Luc")
    expect(page.locator("#show-waiting")).to_be_hidden()
    page.locator("#lock").click()
    enter(page)
    page.reload()
    expect(page.locator("#number")).to_be_visible()
    page.locator("#show-settings").click()
    page.locator("#settings-waiting").click()
    expect(page.locator("#waiting-list")).to_contain_text("Verworfen von Luc")
    assert barriers(page) == [] and overflowing(page) == []
    assert two.entries(card) == []
