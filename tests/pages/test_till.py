"""The till as staff use it: a card is found, stamped, undone and redeemed, with and without a connection."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from api.languages import LANGUAGES, Language
from api.pages import assets, till
from tests.api.test_languages import catalogue, texts
from tests.browser import Browser as Client
from tests.callers import ok
from tests.clock import eventually
from tests.conftest import SERVER
from tests.databases import database
from tests.pages.browser import CHROMIUM, FLAGS, SMALL, Person, barriers, overflowing
from tests.pages.counter import (
    PIN,
    Shop,
    answer,
    enter,
    fake_camera,
    find,
    has_arrived,
    open_shop,
    pair,
    scan,
    tap,
    tap_pin,
)
from tests.service import Service

SCRIPT_BYTES_MAX = 60_000
CANARY = "<img src=x onerror=alert(1)>{{7*7}}\"'&"
REFUSED, GONE = "the server responded with a status of 4", "net::ERR_INTERNET_DISCONNECTED"
STAMPED = "stamps-added"
AT_MIDNIGHT = re.compile(r"Possible again at \w+day, \w+ \d+, 12:00\sAM, in 1[12] hours\.")


@pytest.fixture(scope="module")
def shop(service: Service, browser: Browser) -> Shop:
    return shop_at(service, browser)


def shop_at(service: Service, browser: Browser, **rules: Any) -> Shop:
    somebody = Person(browser, str(service.http.base_url))
    made = open_shop(service, somebody, **rules)
    somebody.leaves()
    return made


Opened = Callable[..., Page]


@pytest.fixture
def at(shop: Shop, person: Callable[..., Person]) -> Opened:
    """The paired till in a browser of its own, with Marie at it; `expected` as for a person."""

    def opened(*, expected: tuple[str, ...] = (), is_in: bool = True, of: Shop = shop, **how: Any) -> Page:
        somebody = person(storage_state=of.cookies, **how)
        somebody.expected = list(expected)
        page = somebody.opens("/till")
        return enter(page) if is_in else page

    return opened


# ------------------------------------------------------------------ a customer at the counter


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
    generous = shop_at(service, browser, max_stamps_per_scan=3)
    card, page = generous.card(), at(of=generous)
    find(page, card)
    expect(page.get_by_role("button", name="Give 2 stamps")).to_be_visible()
    page.get_by_role("button", name="Give 3 stamps").click()
    assert answer(page, "3 stamps given") == "good"
    assert generous.office.read(card["id"])["stamp_count"] == 3


def test_a_rule_that_says_wait_is_yellow_and_says_until_when(service: Service, browser: Browser, at: Opened) -> None:
    strict = shop_at(service, browser, cooldown_minutes=15)
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
    strict = shop_at(service, browser, max_daily_stamps=1)
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


# ------------------------------------------------------------------ scanners and cameras


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


# ------------------------------------------------------------------ PINs


def test_a_wrong_pin_opens_nothing_and_a_locked_one_says_for_how_long(
    service: Service, browser: Browser, at: Opened
) -> None:
    careful = shop_at(service, browser)
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
    shop = shop_at(hasty, browser)
    somebody = Person(browser, str(hasty.http.base_url), storage_state=shop.cookies)
    page = enter(somebody.opens("/till"))
    expect(page.locator("#number")).to_be_visible()
    expect(page.locator("#pin-why")).to_contain_text("not used for a while")
    tap_pin(page, PIN)
    expect(page.locator("#number")).to_be_visible()
    somebody.leaves()


# ------------------------------------------------------------------ without a connection


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


def test_nobody_sends_what_somebody_else_did(service: Service, browser: Browser, at: Opened) -> None:
    two = shop_at(service, browser)
    two.office.pin("8305", name="Luc")
    service.catch_up()
    card, page = two.card(), at(of=two, expected=(GONE,))
    page.context.set_offline(True)
    find(page, card)
    page.locator("#stamp").click()
    answer(page, "Written down")
    page.locator("#lock").click()
    page.context.set_offline(False)
    enter(page, "Luc", "8305")
    page.locator("#show-waiting").click()
    expect(page.locator("#waiting-list")).to_contain_text("It waits for the PIN of Marie")
    assert two.entries(card) == []


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


@pytest.fixture
def left(service: Service, browser: Browser, at: Opened) -> tuple[Shop, dict[str, Any], Page]:
    """Marie stamped a card without a connection and went; Luc is at the till and looks at what waits."""
    two = shop_at(service, browser)
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


# ------------------------------------------------------------------ who may, and who may not


def test_a_device_that_is_not_paired_is_sent_to_be_paired(person: Callable[..., Person]) -> None:
    page = person().opens("/till")
    page.wait_for_url("**/till/pair")
    expect(page.locator("[name=code]")).to_be_visible()


def test_a_till_whose_key_was_revoked_says_so_and_keeps_what_it_had(
    service: Service, browser: Browser, at: Opened
) -> None:
    lost = shop_at(service, browser)
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


def test_nothing_that_anybody_wrote_is_anything_but_text(service: Service, browser: Browser, at: Opened) -> None:
    office = service.shop(name=CANARY)
    program = office.program(
        name=CANARY,
        stamps_reward_description=CANARY,
        stamps_target=1,
        points_rewards=[{"name": CANARY, "points_cost": 1}],
    )
    office.pin(PIN, name=CANARY)
    service.catch_up()
    somebody = Person(browser, str(service.http.base_url))
    page = enter(pair(somebody.context.new_page(), office, CANARY), name=CANARY)
    card = office.card(program["id"], name=CANARY)
    ok(office.post("/points", {"card": card["id"], "purchase_amount_minor": 900, "currency": "EUR"}))
    ok(office.stamp(card["id"]))
    find(page, card)
    shown = page.locator("body").inner_text()
    assert shown.count(CANARY) >= 6
    page.locator("#rewards button").first.click()
    answer(page, "Reward redeemed")
    assert CANARY in page.locator("#answer-lines").inner_text()
    page.context.set_offline(True)
    somebody.expected = [GONE]
    page.locator("#done").click()
    find(page, card)
    page.locator("#stamp").click()
    answer(page, "Written down")
    page.locator("#show-waiting").click()
    expect(page.locator("#waiting-list")).to_contain_text(CANARY)
    assert page.locator("img").count() == 0
    somebody.leaves()


# ------------------------------------------------------------------ everybody


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_till_speaks_each_language_and_keeps_nobody_out(shop: Shop, at: Opened, language: Language) -> None:
    page = at(language=language, window=SMALL, is_in=False)
    assert page.locator("html").get_attribute("lang") == language
    page.get_by_role("button", name="Marie").wait_for()
    screens = page.evaluate("[...document.querySelectorAll('main > section')].map(one => one.id)")
    told = [f"staff: {one}" for one in barriers(page) + overflowing(page)]
    enter(page)
    find(page, shop.card(name="Anna"))
    told += [f"card: {one}" for one in barriers(page) + overflowing(page)]
    page.locator("#stamp").click()
    page.locator("#undo").wait_for()
    told += [f"answer: {one}" for one in barriers(page)]
    page.locator("#done").click()  # Or the till goes on by itself after a while.
    for screen in screens:  # Each as it stands there, at 320 px.
        page.evaluate(
            "one => document.querySelectorAll('main > section').forEach(s => s.hidden = s.id !== one)", screen
        )
        page.evaluate("delete document.body.dataset.kind")
        told += [f"{screen}: {one}" for one in overflowing(page)]
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            told.append(f"{screen}: is wider than the window")
        if language == "en" and page.locator(f"#{screen} h1").text_content():
            told += [f"{screen}: {one}" for one in barriers(page)]
    assert told == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_of_the_scripts_is_in_the_catalogue(language: Language) -> None:
    there = {texts(message.id)[0]: message for message in catalogue(language) if message.id}
    assert len(till.sentences()) > 30 and len(till.counted_sentences()) > 5
    assert [one for one in (*till.sentences(), *till.counted_sentences()) if one not in there] == []
    assert [one for one in till.counted_sentences() if len(texts(there[one].id)) != 2] == []  # type: ignore[arg-type]


def test_counts_have_the_form_that_the_language_asks_for() -> None:
    assert till.given("fr")["counted"]["{count} stamp given"] == [
        "{count} tampon donné",
        "{count} tampon donné",
        "{count} tampons donnés",
    ]
    assert till.given("en")["counted"]["{count} stamp given"][0] == "{count} stamps given"


def test_buttons_are_large_enough_for_a_thumb(shop: Shop, at: Opened) -> None:
    page = at(window=SMALL)
    find(page, shop.card())
    for screen in page.evaluate("[...document.querySelectorAll('main > section')].map(one => one.id)"):
        page.evaluate(
            "one => document.querySelectorAll('main > section').forEach(s => s.hidden = s.id !== one)", screen
        )
        heights = page.locator("main .button:visible").evaluate_all("all => all.map(one => one.offsetHeight)")
        assert min(heights, default=64) >= 64, screen


def test_the_till_is_small() -> None:
    scripts = {path: asset for path, asset in assets.all_assets().items() if path.startswith("till/") and ".js" in path}
    assert 0 < sum(len(asset.content) for asset in scripts.values()) < SCRIPT_BYTES_MAX


# ------------------------------------------------------------------ installed


def test_the_till_can_be_installed_and_its_worker_knows_every_file(service: Service, shop: Shop) -> None:
    manifest = service.http.get("/till/manifest.webmanifest", headers={"Accept-Language": "de"}).json()
    assert (manifest["name"], manifest["start_url"], manifest["display"]) == ("Kasse", "/till", "standalone")
    worker = service.http.get("/till/worker.js")
    assert worker.headers["service-worker-allowed"] == "/till"
    files = json.loads(worker.text.split("\n", 1)[0].removeprefix("const GIVEN = ").removesuffix(";"))["files"]
    for address in (*files, *(icon["src"] for icon in manifest["icons"])):
        assert service.http.get(address).status_code == 200, address


def test_only_the_tills_page_may_run_wasm_and_use_the_camera(at: Opened) -> None:
    page = at(is_in=False)
    headers = page.context.request.get("/till").headers
    assert "script-src 'self' 'wasm-unsafe-eval';" in headers["content-security-policy"]
    assert headers["permissions-policy"].startswith("camera=(self)")
    assert "wasm" not in page.context.request.get("/till/pair").headers["content-security-policy"]
