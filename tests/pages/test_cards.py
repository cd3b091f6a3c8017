"""The card on its holder's screen: to be scanned, told of every change, there without a connection, safe to look at."""

import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import httpx2
import pytest
import zxingcpp
from PIL import Image
from playwright.sync_api import Page, expect

from tests.callers import ok
from tests.clock import eventually
from tests.conftest import SERVER
from tests.databases import database
from tests.pages.browser import DESKTOP, PHONE, SMALL, Person, barriers, overflowing, picture_of
from tests.pages.shop import BROWSER, Shop, shop, stamp
from tests.service import Service

WEIGHT_BYTES_MAX = 150_000
CANARY = "\"'><img src=x onerror=\"console.error('run')\"><script>console.error('run')</script>{{7*7}}{0}"
POINTS = {
    "loyalty_type": "points",
    "stamps_target": None,
    "stamps_reward_description": None,
    "earn_rate": {"points": 1, "per_minor": 100},
    "points_rewards": [{"name": "Croissant", "points_cost": 20}, {"name": "Brunch", "points_cost": 250}],
}


@pytest.fixture
def cafe(service: Service) -> Shop:
    return shop(service)


# ------------------------------------------------------------------ shown


@pytest.mark.parametrize("is_dark", [False, True])
def test_the_code_can_be_scanned_from_the_screen(person: Callable[..., Person], cafe: Shop, is_dark: bool) -> None:
    card = cafe.card()
    page = person(is_dark=is_dark).opens(cafe.page_of(card))
    page.locator(".code").scroll_into_view_if_needed()
    (found,) = zxingcpp.read_barcodes(picture_of(page))
    assert found.text == card["qr_code_data"]


def test_the_card_says_how_far_it_is(person: Callable[..., Person], cafe: Shop) -> None:
    card = cafe.card()
    stamp(cafe, card, 9)
    page = person().opens(cafe.page_of(card))
    expect(page.locator(".stamp.filled")).to_have_count(9)
    expect(page.get_by_text("1 more stamp to your reward")).to_be_visible()
    expect(page.locator(".card-number")).to_contain_text(" ".join(card["card_number"][n : n + 4] for n in (0, 4, 8)))
    stamp(cafe, card)
    expect(page.get_by_text("Your reward is ready!").first).to_be_visible()


def test_points_are_told_with_their_rewards(service: Service) -> None:
    cafe = shop(service, **POINTS)
    card = cafe.card()
    ok(cafe.till.post("/points", {"card": card["id"], "purchase_amount_minor": 2_300, "currency": "EUR"}))
    service.catch_up()
    told = service.http.get(
        cafe.page_of(card), headers={**BROWSER, "Accept-Language": "de", "Cookie": "language=de"}
    ).text
    assert "Eine Prämie ist drin!" in told and "noch 227 Punkte" in told and "23,00" in told


def test_the_page_speaks_the_card_s_language_until_somebody_chooses_another(service: Service, cafe: Shop) -> None:
    card = ok(cafe.till.post(f"/programs/{cafe.program['id']}/cards", {"customer": {}, "language": "lb"}))
    address = cafe.page_of(card)
    assert '<html lang="lb">' in service.http.get(address, headers={"Accept-Language": "fr"}).text
    assert '<html lang="de">' in service.http.get(address, headers={"Cookie": "language=de"}).text


def test_the_links_of_the_api_lead_here(service: Service, cafe: Shop) -> None:
    joined = ok(service.public.post(f"/programs/{cafe.program['id']}/enrolments", {"consent": True}))
    path = joined["links"]["card"].removeprefix("http://127.0.0.1:8000")
    assert service.http.get(path, headers=BROWSER).status_code == 200


# ------------------------------------------------------------------ states


def test_a_replaced_card_is_gone_and_says_where_to_ask(service: Service, cafe: Shop) -> None:
    card = cafe.card()
    ok(cafe.till.post(f"/cards/{card['id']}/replace", {"reason": "Lost"}))
    page = service.http.get(cafe.page_of(card), headers=BROWSER)
    assert page.status_code == 410 and "This card was replaced" in page.text


@pytest.mark.parametrize("token", ["x" * 32, "short", "..%2f..%2fetc", "<script>"])
def test_an_unknown_card_is_not_found(service: Service, token: str) -> None:
    page = service.http.get(f"/c/{token}", headers=BROWSER)
    assert page.status_code == 404 and "<script>" not in page.text


@pytest.mark.parametrize(
    ("change", "told"),
    [("suspend", "This card is suspended"), ("close", "This card is closed")],
)
def test_a_card_that_cannot_be_used_shows_no_code(service: Service, cafe: Shop, change: str, told: str) -> None:
    card = cafe.card()
    ok(cafe.till.post(f"/cards/{card['id']}/{change}", {"reason": "Asked for"}))
    page = service.http.get(cafe.page_of(card), headers=BROWSER).text
    assert told in page and 'class="code"' not in page


def test_a_program_that_ended_says_what_can_still_be_had(service: Service, cafe: Shop) -> None:
    card = cafe.card()
    cafe.till.post(f"/programs/{cafe.program['id']}/deactivate", key=None)
    assert "This program has ended" in service.http.get(cafe.page_of(card), headers=BROWSER).text


# ------------------------------------------------------------------ live


def test_a_stamp_appears_on_the_open_card_without_a_reload(person: Callable[..., Person], cafe: Shop) -> None:
    card = cafe.card()
    page = person().opens(cafe.page_of(card))
    page.evaluate("window.isTheSamePage = true")
    stamp(cafe, card, 2)
    expect(page.locator(".stamp.filled")).to_have_count(2)
    expect(page.locator("#news")).to_contain_text("8 more stamps to your reward")
    assert page.evaluate("window.isTheSamePage")


def test_a_card_that_is_suspended_meanwhile_loses_its_code(person: Callable[..., Person], cafe: Shop) -> None:
    card = cafe.card()
    page = person().opens(cafe.page_of(card))
    expect(page.locator(".code")).to_be_visible()
    ok(cafe.till.post(f"/cards/{card['id']}/suspend", {"reason": "Found on the street"}))
    expect(page.locator(".code")).to_have_count(0)


def test_what_did_not_change_is_not_sent_again(service: Service, cafe: Shop) -> None:
    card = cafe.card()
    service.catch_up()
    address = cafe.page_of(card) + "/live"
    tag = service.http.get(address).headers["etag"]
    assert service.http.get(address, headers={"If-None-Match": tag}).status_code == 304
    stamp(cafe, card)
    assert service.http.get(address, headers={"If-None-Match": tag}).status_code == 200


@pytest.fixture
def small_service(pytestconfig: pytest.Config) -> Iterator[Callable[..., Service]]:
    """A service of this test's own with other limits."""
    server = pytestconfig.stash[SERVER]
    running: list[Service] = []
    with database(server.url, template=server.template) as url:

        def made(**settings: Any) -> Service:
            running.append(Service(url, **settings).start())
            return running[-1]

        yield made
        for service in running:
            service.stop()


def test_a_card_beyond_the_limit_asks_now_and_then(browser: Any, small_service: Callable[..., Service]) -> None:
    service = small_service(open_cards_max=0)
    cafe = shop(service)
    card = cafe.card()
    somebody = Person(browser, str(service.http.base_url))
    somebody.expected = ["503"]
    page = somebody.context.new_page()
    page.clock.install()
    page.goto(cafe.page_of(card))
    stamp(cafe, card)
    service.catch_up()
    with page.expect_response("**/live"):
        page.clock.fast_forward(16_000)
    expect(page.locator(".stamp.filled")).to_have_count(1)
    somebody.leaves()


def waiting(service: Service, token: str) -> tuple[threading.Thread, list[str]]:
    heard: list[str] = []

    def listen() -> None:
        with httpx2.stream("GET", f"{service.http.base_url}/c/{token}/changes", timeout=30) as answer:
            heard.append(str(answer.status_code))
            heard.extend(answer.iter_lines())

    thread = threading.Thread(target=listen)
    thread.start()
    eventually(lambda: heard)
    return thread, heard


def test_cards_that_wait_keep_no_till_waiting_and_no_service_from_ending(
    small_service: Callable[..., Service],
) -> None:
    service = small_service(in_flight_max=2)
    cafe = shop(service)
    card = cafe.card()
    listening = [waiting(service, card["qr_code_data"]) for _ in range(4)]
    stamp(cafe, card)
    for _, heard in listening:
        eventually(lambda heard=heard: "data: changed" in heard)  # type: ignore[misc]
    began = time.monotonic()
    service.stop()
    assert time.monotonic() - began < 9
    for thread, _ in listening:
        thread.join(20)
        assert not thread.is_alive()
    service.start()


# ------------------------------------------------------------------ offline


def test_a_card_that_was_seen_is_there_without_a_connection(person: Callable[..., Person], cafe: Shop) -> None:
    card = cafe.card()
    stamp(cafe, card, 3)
    anna = person()
    anna.expected = ["ERR_INTERNET_DISCONNECTED", "Failed to fetch"]
    page = anna.opens(cafe.page_of(card))
    eventually(lambda: page.evaluate("caches.open('card-pages').then(c => c.keys()).then(k => k.length)"))
    anna.context.set_offline(True)
    page.reload()
    expect(page.locator(".stamp.filled")).to_have_count(3)
    expect(page.get_by_text("No connection. This is the card as of")).to_be_visible()
    (found,) = zxingcpp.read_barcodes(picture_of(page, full_page=True))
    assert found.text == card["qr_code_data"]
    anna.context.set_offline(False)
    expect(page.get_by_text("No connection. This is the card as of")).to_be_hidden()


def test_the_card_can_be_put_on_the_first_screen(service: Service, cafe: Shop) -> None:
    address = cafe.page_of(cafe.card())
    told = service.http.get(address + "/card.webmanifest").json()
    assert told["start_url"] == address and told["theme_color"] == "#8c2f39"
    icon = Image.open(BytesIO(service.http.get(told["icons"][0]["src"]).content))
    assert "x".join(map(str, icon.size)) == told["icons"][0]["sizes"]


# ------------------------------------------------------------------ for everybody


def sent_empty(page: Page) -> None:
    page.locator("form .button").click()
    page.locator(".error").first.wait_for()


def suspended(cafe: Shop) -> str:
    card = cafe.card()
    ok(cafe.till.post(f"/cards/{card['id']}/suspend", {"reason": "Found on the street"}))
    return cafe.page_of(card)


def full(cafe: Shop) -> str:
    card = cafe.card()
    stamp(cafe, card, 11)
    return cafe.page_of(card)


def offered(cafe: Shop) -> str:
    return cafe.poster


def new(cafe: Shop) -> str:
    return cafe.page_of(cafe.card()) + "#new"


def deleting(cafe: Shop) -> str:
    return cafe.page_of(cafe.card(email="ana@example.lu")) + "/delete"


STATES: dict[str, tuple[Callable[[Shop], str], Callable[[Page], None] | None, dict[str, Any]]] = {
    "offer": (offered, None, {"enrolment_fields": ["name", "phone"], "terms_text": "One each.\nNo cash."}),
    "offer with mistakes": (offered, sent_empty, {"privacy_url": "https://cafe.example/privacy"}),
    "offer for points": (offered, None, POINTS),
    "new card": (new, None, {"privacy_url": "https://cafe.example/privacy", "terms_text": "One each."}),
    "full card": (full, None, {"stamps_target": 3, "card_color": "#f2e394"}),
    "hundred stamps": (full, None, {"stamps_target": 100}),
    "points": (new, None, POINTS),
    "hybrid": (full, None, {**POINTS, "loyalty_type": "hybrid", "stamps_target": 10}),
    "suspended": (suspended, None, {}),
    "deleting": (deleting, sent_empty, {}),
}


@pytest.mark.parametrize("state", STATES)
def test_nobody_is_kept_out(person: Callable[..., Person], service: Service, state: str) -> None:
    address, before, program = STATES[state]
    anna = person(language="de", window=SMALL)
    anna.expected = ["422"]
    page = anna.opens(address(shop(service, **program)))
    if before is not None:
        before(page)
    assert barriers(page) == []
    assert overflowing(page) == []
    page.set_viewport_size({"width": PHONE["width"] // 2, "height": 400})  # As at 200 %.
    assert overflowing(page) == []
    page.set_viewport_size(dict(DESKTOP))  # type: ignore[arg-type]
    assert overflowing(page) == []


def test_what_somebody_typed_stays_text_everywhere(person: Callable[..., Person], service: Service) -> None:
    till = service.shop(name="Café " + CANARY)
    words = {"name": CANARY[:80], "card_name": CANARY[:80], "terms_text": CANARY, "stamps_reward_description": CANARY}
    program = till.program(**words, points_rewards=[{"name": CANARY, "points_cost": 20}])
    cafe = Shop(service, till, program)
    card = cafe.card(name=CANARY)
    stamp(cafe, card, 10)
    ok(till.post("/redemptions", {"card": card["id"]}))
    ok(till.post("/adjustments", {"card": card["id"], "stamps_delta": 1, "reason": CANARY}))
    service.catch_up()
    anna = person()
    for address in (cafe.poster, cafe.page_of(card), cafe.page_of(card) + "/delete"):
        page = anna.opens(address)
        assert page.locator("img, main script").count() == 0
        assert "onerror=" in page.locator("main").inner_text() and "{{7*7}}{0}" in page.locator("main").inner_text()
    page = anna.opens(cafe.poster)
    page.locator("#name").fill(CANARY)
    anna.expected = ["422"]
    page.locator("form .button").click()
    expect(page.locator("#name")).to_have_value(CANARY)
    stamp(cafe, card)
    assert page.locator("img").count() == 0


def test_the_whole_page_is_light(person: Callable[..., Person], cafe: Shop) -> None:
    card = cafe.card()
    stamp(cafe, card, 5)
    anna = person()
    answers: list[Any] = []
    anna.context.on("requestfinished", lambda request: answers.append(request.sizes()))
    page = anna.opens(cafe.page_of(card))
    expect(page.locator(".stamp.filled")).to_have_count(5)
    eventually(lambda: page.evaluate("caches.open('card-pages').then(c => c.keys()).then(k => k.length)"))
    weight = sum(one["responseBodySize"] + one["responseHeadersSize"] for one in answers)
    assert 5_000 < weight < WEIGHT_BYTES_MAX
