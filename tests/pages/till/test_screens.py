"""The till's page as it is handed out: its texts, its sizes, what it may do, and what strangers wrote into it."""

import json

import pytest
from playwright.sync_api import Browser, expect

from api.languages import LANGUAGES, Language
from api.pages import assets, till
from tests.api.test_languages import catalogue, texts
from tests.callers import ok
from tests.pages.browser import SMALL, Person, barriers, overflowing
from tests.pages.counter import GONE, PIN, Opened, Shop, answer, enter, find, pair
from tests.service import Service

SCRIPT_BYTES_MAX = 60_000
CANARY = "<img src=x onerror=alert(1)>{{7*7}}\"'&"


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
