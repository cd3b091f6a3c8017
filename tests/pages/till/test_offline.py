"""Without a connection: what was done is written down, and sent once by whom it belongs to."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect

from tests.callers import ok
from tests.pages.browser import Person
from tests.pages.counter import GONE, REFUSED, STAMPED, Opened, Shop, answer, enter, find, has_arrived, pair
from tests.service import Service


def test_three_stamps_without_a_connection_arrive_once_with_two_tabs_open(shop: Shop, at: Opened) -> None:
    cards = [shop.card() for _ in range(3)]
    page = at(expected=(GONE,))
    other = page.context.new_page()
    other.goto("/till")
    enter(other)
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    page.context.set_offline(True)
    for number, card in enumerate(cards):
        find(page, card)
        page.locator("#stamp").click()
        assert answer(page, "Written down") == "wait"
        page.locator("#done").click()
        if number == 1:
            page.reload()
            expect(page.locator("#number")).to_be_visible()
    expect(page.locator("#waiting-count")).to_have_text("3 to send")
    expect(other.locator("#waiting-count")).to_have_text("3 to send")
    page.context.set_offline(False)
    has_arrived(page)
    has_arrived(other)
    assert [shop.entries(card) for card in cards] == [[STAMPED]] * 3


def test_what_is_refused_later_is_kept_until_somebody_has_seen_it(shop: Shop, at: Opened) -> None:
    card, page = shop.card(), at(expected=(GONE, REFUSED))
    page.context.set_offline(True)
    find(page, card)
    page.locator("#stamp").click()
    answer(page, "Written down")
    ok(shop.office.post(f"/cards/{card['id']}/suspend", {"reason": "Lost"}))
    page.context.set_offline(False)
    expect(page.locator("#waiting-count")).to_have_text("1 refused")
    page.reload()
    page.locator("#show-waiting").click()
    expect(page.locator("#waiting-list")).to_contain_text("This card is suspended")
    page.get_by_role("button", name="Seen, remove it").click()
    expect(page.locator("#waiting-none")).to_be_visible()
    assert STAMPED not in shop.entries(card)


def test_an_answer_that_was_lost_on_the_way_is_asked_for_again(shop: Shop, at: Opened) -> None:
    card, page = shop.card(), at(expected=("net::ERR_FAILED",))

    def lose_the_first(route: Any) -> None:
        answered = route.fetch()
        if lost:
            route.fulfill(response=answered)
        else:
            lost.append(route.request.headers["idempotency-key"])
            route.abort()

    lost: list[str] = []
    find(page, card)
    page.route("**/stamps", lose_the_first)
    page.locator("#stamp").click()
    answer(page, "Written down")
    has_arrived(page)
    assert shop.entries(card) == [STAMPED]


def test_what_was_not_sent_yet_is_simply_taken_back(shop: Shop, at: Opened) -> None:
    card, page = shop.card(), at(expected=(GONE,))
    page.context.set_offline(True)
    find(page, card)
    page.locator("#stamp").click()
    answer(page, "Written down")
    page.get_by_role("button", name="Undo").click()
    answer(page, "Undone")
    page.context.set_offline(False)
    has_arrived(page)
    assert shop.entries(card) == []


def test_nothing_is_redeemed_without_a_connection_unless_the_shop_wants_it(shop: Shop, at: Opened) -> None:
    card, page = shop.card(), at(expected=(GONE,))
    page.context.set_offline(True)
    find(page, card)
    expect(page.locator("#stamp")).to_be_visible()
    expect(page.get_by_role("button", name="Redeem")).to_have_count(0)
    page.get_by_role("button", name="This till").click()
    page.get_by_label("Redeem rewards without a connection").check()
    page.locator("#settings-back").click()
    find(page, card)
    expect(page.get_by_role("button", name="Redeem a reward")).to_be_visible()


def test_whoever_comes_while_there_is_no_connection_is_asked_for_the_pin_before_anything_is_sent(
    shop: Shop, at: Opened
) -> None:
    card, page = shop.card(), at(expected=(GONE,), is_in=False)
    page.get_by_role("button", name="Marie").wait_for()
    page.context.set_offline(True)
    enter(page, pin="9999")
    find(page, card)
    page.locator("#stamp").click()
    answer(page, "Written down")
    page.context.set_offline(False)
    page.locator("#show-waiting").click()
    expect(page.locator("#waiting-list")).to_contain_text("It waits for the PIN of Marie")
    assert shop.entries(card) == []
    page.locator("#lock").click()
    enter(page)
    has_arrived(page)
    assert shop.entries(card) == [STAMPED]


def test_what_was_done_while_nobody_was_there_is_nobodys_who_comes_later(
    service: Service, person: Callable[..., Person]
) -> None:
    office = service.shop()
    card = office.card(office.program()["id"])
    somebody = person()
    somebody.expected = ["net::ERR_FAILED"]
    page = pair(somebody.context.new_page(), office)
    page.get_by_role("button", name="Go on without a PIN").click()
    find(page, card)
    page.route("**/stamps", lambda route: route.abort())
    page.locator("#stamp").click()
    answer(page, "Written down")
    office.pin("8305", name="Luc")
    page.reload()
    page.get_by_role("button", name="Luc").wait_for()
    expect(page.locator("#waiting-count")).to_have_text("1 to send")
    enter(page, "Luc", "8305")
    page.unroute("**/stamps")
    has_arrived(page)
    service.catch_up()
    told = ok(office.get(f"/cards/{card['id']}/transactions"))["items"]
    assert [one["staff_pin_id"] for one in told if one["transaction_type"] == "stamp_earned"] == [None]


def test_who_works_without_a_pin_is_told_when_one_is_needed_and_asked_who_it_is(
    service: Service, person: Callable[..., Person]
) -> None:
    office = service.shop()
    card = office.card(office.program(require_staff_pin=True)["id"])
    somebody = person()
    somebody.expected = [REFUSED]
    page = pair(somebody.context.new_page(), office)
    page.get_by_role("button", name="Go on without a PIN").click()
    office.pin("8305", name="Luc")
    find(page, card)
    page.locator("#stamp").click()
    assert answer(page, "A staff PIN is needed") == "wait"
    page.locator("#done").click()
    enter(page, "Luc", "8305")
    expect(page.locator("#number")).to_be_visible()
    assert STAMPED not in [event["name"] for event in service.events(card["id"])]
