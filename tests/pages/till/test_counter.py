"""A customer at the counter: a card is found, stamped, undone and redeemed, and every answer can be told apart."""

import re

from playwright.sync_api import Browser, expect

from tests.callers import ok
from tests.clock import eventually
from tests.pages.counter import PIN, REFUSED, STAMPED, Opened, Shop, answer, enter, find, open_shop, scan, tap
from tests.service import Service

AT_MIDNIGHT = re.compile(r"Possible again at \w+day, \w+ \d+, 12:00\sAM, in 1[12] hours\.")


def test_a_card_is_found_by_its_number_and_stamped(shop: Shop, at: Opened) -> None:
    card, page = shop.card(name="Anna"), at()
    find(page, card)
    expect(page.get_by_role("heading", name="Anna")).to_be_visible()
    page.get_by_role("button", name="Give a stamp").click()
    assert answer(page, "1 stamp given") == "good"
    assert page.locator("#answer-lines").inner_text().splitlines() == ["Stamps: 1 of 10", "9 more to the reward"]
    assert shop.entries(card) == [STAMPED]


def test_points_are_given_for_what_was_paid(shop: Shop, at: Opened) -> None:
    card, page = shop.card(), at()
    find(page, card)
    page.get_by_role("button", name="Add points").click()
    tap(page, "amount-field", "12509")
    page.get_by_role("button", name="Delete the last digit").locator("visible=true").click()
    assert page.locator("#amount-shown").inner_text() == "€12.50"
    page.keyboard.press("Enter")
    assert answer(page, "12 points added") == "good"
    assert shop.office.read(card["id"])["points_balance"] == 12


def test_a_full_card_gets_its_reward_with_one_tap(shop: Shop, at: Opened) -> None:
    card, page = shop.card(), at()
    ok(shop.office.post("/adjustments", {"card": card["id"], "stamps_delta": 11, "reason": "Moved from paper"}))
    find(page, card)
    page.get_by_role("button", name="Redeem: A coffee of your choice").click()
    assert answer(page, "Reward redeemed") == "good"
    assert "Stamps: 1 of 10" in page.locator("#answer-lines").inner_text()


def test_undoing_is_a_reversal_in_the_ledger(shop: Shop, at: Opened) -> None:
    card, page = shop.card(), at()
    find(page, card)
    page.locator("#stamp").click()
    answer(page, "1 stamp given")
    page.get_by_role("button", name="Undo").click()
    assert answer(page, "Undone") == "good"
    assert shop.entries(card) == [STAMPED, "earn-reversed"]
    assert shop.office.read(card["id"])["stamp_count"] == 0


def test_undo_is_offered_for_ten_seconds(shop: Shop, at: Opened) -> None:
    page = at(is_in=False)
    page.clock.install()
    enter(page)
    find(page, shop.card())
    page.locator("#stamp").click()
    answer(page, "1 stamp given")
    page.clock.run_for(6_000)
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    page.clock.run_for(5_000)
    expect(page.get_by_role("button", name="Undo")).to_be_hidden()
    page.clock.run_for(6_000)
    expect(page.locator("#number")).to_be_visible()


def test_a_second_stamp_a_moment_later_is_asked_about(shop: Shop, at: Opened) -> None:
    card, page = shop.card(), at()
    find(page, card)
    page.locator("#stamp").click()
    answer(page, "1 stamp given")
    page.locator("#done").click()
    find(page, card)
    page.locator("#stamp").click()
    expect(page.locator("#again-title")).to_contain_text("Stamped")
    assert page.locator("body").get_attribute("data-kind") == "wait"
    page.get_by_role("button", name="No", exact=True).click()
    assert shop.entries(card) == [STAMPED]
    find(page, card)
    page.locator("#stamp").click()
    page.get_by_role("button", name="Yes, once more").click()
    answer(page, "1 stamp given")
    assert shop.entries(card) == [STAMPED, STAMPED]


def test_several_stamps_are_one_tap_where_the_program_allows_it(service: Service, browser: Browser, at: Opened) -> None:
    generous = open_shop(service, browser, max_stamps_per_scan=3)
    card, page = generous.card(), at(of=generous)
    find(page, card)
    expect(page.get_by_role("button", name="Give 2 stamps")).to_be_visible()
    page.get_by_role("button", name="Give 3 stamps").click()
    assert answer(page, "3 stamps given") == "good"
    assert generous.office.read(card["id"])["stamp_count"] == 3


def test_a_rule_that_says_wait_is_yellow_and_says_until_when(service: Service, browser: Browser, at: Opened) -> None:
    strict = open_shop(service, browser, cooldown_minutes=15)
    card, page = strict.card(), at(of=strict, expected=(REFUSED,))
    ok(strict.office.stamp(card["id"], staff_pin_id=strict.marie["id"], pin=PIN))
    find(page, card)
    expect(page.locator("#card-note")).to_contain_text("The next stamp is possible at")
    page.locator("#stamp").click()
    assert answer(page, "Too soon after the last stamp") == "wait"
    assert "in 15 minutes" in page.locator("#answer-lines").inner_text()
    expect(page.locator("#show-waiting")).to_be_hidden()


def test_a_limit_that_ends_with_the_day_is_over_in_hours_on_a_day_with_a_name(
    service: Service, browser: Browser, at: Opened
) -> None:
    strict = open_shop(service, browser, max_daily_stamps=1)
    card, page = strict.card(), at(of=strict, expected=(REFUSED,))
    ok(strict.office.stamp(card["id"], staff_pin_id=strict.marie["id"], pin=PIN))
    find(page, card)
    page.locator("#stamp").click()
    assert answer(page, "No stamps left today") == "wait"
    assert AT_MIDNIGHT.fullmatch(page.locator("#answer-lines").inner_text())


def test_what_is_no_card_is_red(at: Opened) -> None:
    page = at(expected=(REFUSED,))
    scan(page, "https://example.com/menu")
    assert answer(page, "This is no card") == "bad"
    scan(page, "123456789015")
    assert answer(page, "No such card") == "bad"


def test_each_kind_of_answer_is_heard_and_felt(shop: Shop, at: Opened) -> None:
    page = at(expected=(REFUSED,), is_in=False)
    page.add_init_script(
        "const Made = AudioContext;"
        "window.AudioContext = class extends Made { constructor() { super(); window.audio = this; } };"
        "window.felt = []; window.heard = []; navigator.vibrate = pattern => felt.push(pattern.join());"
        "const begin = OscillatorNode.prototype.start;"
        "OscillatorNode.prototype.start = function (at) { heard.push(this.frequency.value); begin.call(this, at); };"
    )
    page.reload()
    enter(page)
    eventually(lambda: page.evaluate("window.audio?.state === 'running'"))
    for text, wanted in ((shop.card()["card_number"], "#card"), ("no card at all", "#answer")):
        scan(page, text)
        page.locator(wanted).wait_for()
    assert page.evaluate("felt") == ["20", "300"]
    assert page.evaluate("heard") == [880, 220, 165]
