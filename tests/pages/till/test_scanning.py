"""How a card comes in: by scanner, by camera, or typed."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.pages.browser import CHROMIUM, FLAGS, Person
from tests.pages.counter import PIN, Opened, Shop, enter, fake_camera, scan, tap_pin


@pytest.mark.parametrize("focus", ["#number", "#find-card", "body"])
def test_a_scanner_is_heard_wherever_the_focus_is(shop: Shop, at: Opened, focus: str) -> None:
    card, page = shop.card(name="Anna"), at()
    page.locator("#number").fill("12")
    page.locator(focus).evaluate(
        "element => element === document.body ? document.activeElement.blur() : element.focus()"
    )
    scan(page, card["qr_code_data"])
    expect(page.get_by_role("heading", name="Anna")).to_be_visible()
    scan(page, shop.card(name="Paul")["qr_code_data"])
    expect(page.get_by_role("heading", name="Paul")).to_be_visible()
    assert page.locator("#number").input_value() == "12", "what the scanner typed was taken out again"


def test_a_scan_before_the_pin_waits_for_it_and_types_nothing_into_it(shop: Shop, at: Opened) -> None:
    card, page = shop.card(name="Anna"), at(is_in=False)
    page.get_by_role("button", name="Marie").click()
    scan(page, card["card_number"])
    assert page.locator("#pin-field").input_value() == ""
    tap_pin(page, PIN)
    expect(page.get_by_role("heading", name="Anna")).to_be_visible()


def test_what_a_hand_types_stays_where_it_was_typed(shop: Shop, at: Opened) -> None:
    card, page = shop.card(name="Anna"), at()
    page.locator("#number").press_sequentially(card["card_number"], delay=70)
    assert page.locator("#number").input_value() == card["card_number"]
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Anna")).to_be_visible()


def test_the_camera_finds_the_card(shop: Shop, browser: Browser, tmp_path: Path) -> None:
    card = shop.card(name="Anna")
    flags = fake_camera(tmp_path / "counter.mjpeg", card["qr_code_data"])
    seeing = browser.browser_type.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])
    try:
        somebody = Person(seeing, str(shop.service.http.base_url), storage_state=shop.cookies)
        page = enter(somebody.opens("/till"))
        expect(page.get_by_role("heading", name="Anna")).to_be_visible()
        somebody.leaves()
    finally:
        seeing.close()


def test_without_a_camera_the_till_says_so_and_works(at: Opened) -> None:
    page = at()
    page.get_by_role("button", name="Use the camera").click()
    expect(page.locator("#camera-error")).not_to_be_empty()
    expect(page.locator("#number")).to_be_visible()
