"""A vendor's pages, used as a shop's people use them: in a browser, in four languages, small and large."""

import csv
import re
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import zxingcpp
from playwright.sync_api import Page, expect

from api.languages import LANGUAGES
from api.pages.vendor import designer
from api.pages.vendor.cards import SHOWN
from api.pages.vendor.desk import DONE, PARTS
from api.pages.vendor.entries import EVENTS, KINDS
from api.pages.vendor.keys import SCOPE_WORDS
from api.pages.vendor.staff import ROLES
from api.pages.vendor.transactions import KINDS_ASKED, TYPES
from api.pages.words import STATUSES
from tests.api.test_languages import catalogue, texts
from tests.browser import Browser
from tests.callers import Till, ok
from tests.pages.browser import DESKTOP, SMALL, Person, barriers, overflowing, picture_of
from tests.service import Service, service_process

CANARY = "<img src=x onerror=alert(1)>\"'&{{7*7}}"
People = Callable[..., Person]


@pytest.fixture
def shop(service: Service) -> Till:
    return service.shop(name="Café Zopf")


@pytest.fixture
def busy_shop(service: Service, shop: Till) -> tuple[Till, dict[str, Any], dict[str, Any]]:
    """A shop with a program, somebody who works there, and a card on which something happened."""
    program = shop.program()
    shop.pin(name="Marie")
    card = shop.card(program["id"], name="Anna Weber", email="anna@example.lu")
    for count in (3, 2):
        for _ in range(count):
            ok(shop.stamp(card["id"]))
    service.catch_up()
    return shop, program, card


def signed_in(who: Person, shop: Till, address: str = "/app") -> Page:
    """Sent to sign in, and back to where they wanted."""
    page = who.opens(address)
    page.locator("#key").fill(shop.key)
    page.locator("main button").click()
    page.wait_for_url("**" + address)
    return page


def pages_of(program: dict[str, Any], card: dict[str, Any]) -> list[str]:
    return [
        *(address for address, _, _ in PARTS),
        "/app/programs/new",
        f"/app/programs/{program['id']}",
        f"/app/programs/{program['id']}/poster",
        f"/app/cards/{card['id']}",
        "/app/cards?status=closed",
        "/app/transactions?kind=undone",
    ]


# ------------------------------------------------------------------ everybody can use them


@pytest.mark.parametrize("language", ["en", "de"])
def test_no_page_keeps_anybody_out(
    person: People, busy_shop: tuple[Till, dict[str, Any], dict[str, Any]], language: str
) -> None:
    shop, program, card = busy_shop
    paul = person(language=language, window=SMALL)
    page = signed_in(paul, shop)
    for address in pages_of(program, card):
        page.goto(address)
        assert barriers(page) == [], address
        assert overflowing(page) == [], address


def test_at_twice_the_size_nothing_is_cut_off(
    person: People, busy_shop: tuple[Till, dict[str, Any], dict[str, Any]]
) -> None:
    shop, program, card = busy_shop
    page = signed_in(person(language="de", window={"width": 640, "height": 400}), shop)
    for address in pages_of(program, card):
        page.goto(address)
        assert overflowing(page) == [], address


def test_the_doors_keep_nobody_out(person: People) -> None:
    paul = person(language="de", window=SMALL)
    paul.expected = ["401"]
    page = paul.opens("/sign-in")
    for address in ("/sign-in", "/sign-in/a-link", "/till/pair?code=ABCD-EFGH"):
        page.goto(address)
        assert barriers(page) == [] and overflowing(page) == [], address
        if page.locator("input:visible").count():
            page.locator("input:visible").first.fill("ABCDEFGH")
        page.locator("main button").click()
        assert barriers(page) == [] and overflowing(page) == [], address


def test_an_empty_shop_says_what_will_be_there(person: People, shop: Till) -> None:
    page = signed_in(person(window=SMALL), shop)
    assert page.get_by_role("heading", name="First steps").is_visible()
    for address in (address for address, _, _ in PARTS):
        page.goto(address)
        assert barriers(page) == [] and overflowing(page) == [], address


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_sentence_is_missing(language: str) -> None:
    there = {texts(message.id)[0] for message in catalogue(language) if all(texts(message.string))}  # type: ignore[arg-type]
    said = {name for _, name, _ in PARTS}
    for sentences in (DONE, EVENTS, KINDS, STATUSES, SCOPE_WORDS, ROLES, dict(KINDS_ASKED), dict(designer.TYPES)):
        said |= {*sentences.values()}
    assert sorted(said - there) == []
    assert {code for code, _ in KINDS_ASKED} == TYPES.keys()


# ------------------------------------------------------------------ signing in


def test_a_link_signs_in_by_its_button(person: People, service: Service, shop: Till) -> None:
    made = ok(service.admin.post(f"/vendors/{shop.vendor_id}/sign-in-links"))
    page = person().opens("/sign-in/" + made["url"].rpartition("/")[2])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto("/app")
    assert "/sign-in?to=" in page.url


def test_whoever_may_only_read_is_shown_no_buttons_that_fail(
    person: People, service: Service, busy_shop: tuple[Till, dict[str, Any], dict[str, Any]]
) -> None:
    shop, program, card = busy_shop
    reader = service.till(service.admin.api_key(shop.vendor_id, "read")["key"], shop.vendor_id)
    page = signed_in(person(), reader)
    for address in pages_of(program, card):
        if not address.endswith("/new"):
            page.goto(address)
            assert page.locator("main form[method=post]:not([role=search])").count() == 0, address


# ------------------------------------------------------------------ cards


def test_a_card_is_found_and_put_right_once(
    person: People, service: Service, busy_shop: tuple[Till, dict[str, Any], dict[str, Any]]
) -> None:
    shop, _, card = busy_shop
    paul = person()
    paul.expected = ["422"]
    page = signed_in(paul, shop, "/app/cards")
    page.get_by_label("Number, email or phone").fill("anna@example.lu")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("heading", name="Anna Weber")).to_be_visible()
    page.get_by_label("Stamps").fill("−2")
    page.locator("#reason").fill("Counted twice")
    page.get_by_role("button", name="Change the balance").dblclick()
    expect(page.get_by_role("status")).to_contain_text("The balance is changed.")
    assert shop.read(card["id"])["stamp_count"] == 3
    page.get_by_label("Stamps").fill("many")
    page.locator("#reason").fill("x")
    page.get_by_role("button", name="Change the balance").click()
    expect(page.locator("#stamps_delta-error")).to_contain_text("Must be a whole number")


def test_whom_a_shop_searches_for_stands_in_no_address(person: People, service: Service, shop: Till) -> None:
    who = "anna.weber@example.lu"
    cards = [shop.card(shop.program(name=f"Program {n}")["id"], email=who) for n in range(SHOWN + 1)]
    shop.card(shop.program()["id"], email="paul@example.lu")
    service.catch_up()
    page = signed_in(person(language="fr", window=SMALL), shop, "/app/cards")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url + str(request.headers)))
    page.locator("#q").fill(who)
    page.locator("#status").select_option("active")
    page.locator("form[role=search] button").click()
    expect(page.locator(".entries li")).to_have_count(SHOWN)
    assert barriers(page) == [] and overflowing(page) == []
    page.get_by_role("button", name="Plus anciens").click()
    expect(page.locator(".entries li")).to_have_count(1)
    page.get_by_role("button", name="Plus récents").click()
    expect(page.locator(".entries li")).to_have_count(SHOWN)
    page.locator("#q").fill(cards[3]["card_number"])
    page.locator("form[role=search] button").click()
    page.wait_for_url(f"**/app/cards/{cards[3]['id']}")
    page.goto("/app/cards")
    page.locator("#q").fill("nobody@example.lu")
    page.locator("form[role=search] button").click()
    expect(page.locator(".nothing")).to_be_visible()
    page.locator("#q").fill("")
    page.locator("#status").select_option("closed")
    page.locator("form[role=search] button").click()
    page.wait_for_url("**/app/cards?status=closed")
    assert len(asked) > 5 and not any("example.lu" in one or "example%" in one for one in asked)


def test_whom_a_shop_searches_for_stands_in_no_log(database_url: str, tmp_path: Path) -> None:
    with service_process(tmp_path / "log", database_url, LOYALTY_LOG_LEVEL="debug") as served:
        shop = served.shop()
        card = shop.card(shop.program()["id"], email="anna.weber@example.lu")
        served.catch_up()
        browser = Browser(served.http)
        browser.submit("/sign-in", key=shop.key)
        answer = browser.submit("/app/cards", q="anna.weber@example.lu")
        assert answer.headers["location"] == f"/app/cards/{card['id']}"
        assert browser.submit("/app/cards", q="nobody@example.lu").status_code == 200
        logged = (tmp_path / "log").read_text()
    assert "/app/cards" in logged and "example.lu" not in logged and "%40" not in logged


def test_an_entry_is_taken_back_once_and_both_stay(
    person: People, service: Service, busy_shop: tuple[Till, dict[str, Any], dict[str, Any]]
) -> None:
    shop, _, card = busy_shop
    bought = ok(shop.post("/points", {"card": card["id"], "purchase_amount_minor": 900, "currency": "EUR"}))
    ok(shop.post(f"/entries/{bought['entry_id']}/reversal", {"reason": "Returned", "amount_minor": 400}))
    service.catch_up()
    page = signed_in(person(window=SMALL), shop, f"/app/cards/{card['id']}")
    expect(page.locator(".take-back")).to_have_count(6)  # Of the purchase a part is left.
    page.locator(".take-back summary").first.click()
    assert barriers(page) == [] and overflowing(page) == []
    page.locator(".take-back[open]").get_by_label("Reason").fill("Wrong customer")
    page.get_by_role("button", name="Yes, take it back").dblclick()
    expect(page.get_by_role("status")).to_contain_text("Taken back.")
    expect(page.locator(".take-back")).to_have_count(5)
    expect(page.locator(".entries .gone")).to_have_count(1)
    expect(page.locator(".entries li").first).to_contain_text("Purchase taken back · Wrong customer")
    assert shop.read(card["id"])["points_balance"] == 0 and shop.read(card["id"])["stamp_count"] == 5
    page.locator(".take-back summary").first.click()
    page.locator(".take-back[open]").get_by_label("Reason").fill("Stamped twice")
    page.get_by_role("button", name="Yes, take it back").click()
    expect(page.locator(".take-back")).to_have_count(4)
    assert shop.read(card["id"])["stamp_count"] == 4
    address = page.locator(".take-back form").first.get_attribute("action") or ""
    browser, once = Browser(service.http), str(uuid4())
    browser.submit("/sign-in", key=shop.key)
    assert [browser.submit(address, reason="x", once=once).status_code for _ in range(2)] == [303, 303]
    assert shop.read(card["id"])["stamp_count"] == 3


def test_what_cannot_be_taken_back_is_refused_in_words(
    person: People, service: Service, busy_shop: tuple[Till, dict[str, Any], dict[str, Any]]
) -> None:
    shop, _, card = busy_shop
    paul = person()
    paul.expected = ["409", "422"]
    page = signed_in(paul, shop, f"/app/cards/{card['id']}")
    form = page.locator(".take-back").first
    form.locator("summary").click()
    form.get_by_label("Reason").fill(" ")
    form.get_by_role("button").click()
    expect(form.locator(".error")).to_be_visible()
    entry = form.locator("form").get_attribute("action") or ""
    ok(shop.post(f"/entries/{entry.split('/')[-2]}/reversal", {"reason": "Meanwhile"}))
    form.get_by_label("Reason").fill("Stamped twice")
    form.get_by_role("button").click()
    expect(page.get_by_role("alert")).to_contain_text("This entry is reversed already")
    assert shop.read(card["id"])["stamp_count"] == 4
    other = service.till(service.admin.api_key(shop.vendor_id, "read", "cards", "earn")["key"], shop.vendor_id)
    assert signed_in(person(), other, f"/app/cards/{card['id']}").locator(".take-back").count() == 0
    browser = Browser(service.http)
    browser.submit("/sign-in", key=other.key)
    assert browser.submit(entry, reason="x").status_code == 403
    mine = page.locator(".take-back form").first.get_attribute("action") or ""
    elsewhere = mine.replace(card["id"], shop.card(card["program_id"])["id"])
    browser.submit("/sign-in", key=shop.key)
    assert browser.submit(elsewhere, reason="Another card's").status_code == 404
    assert shop.read(card["id"])["stamp_count"] == 4


def test_a_customers_details_are_put_right(
    person: People, service: Service, busy_shop: tuple[Till, dict[str, Any], dict[str, Any]]
) -> None:
    shop, _, card = busy_shop
    paul = person()
    paul.expected = ["422"]
    page = signed_in(paul, shop, f"/app/cards/{card['id']}")
    page.locator("summary", has_text="Put name, email or phone right").click()
    page.get_by_label("Name", exact=True).fill("Anna Wéber")
    page.get_by_label("Email").fill("anna@")
    page.locator("form[action$=customer]").evaluate("form => form.noValidate = true")
    page.get_by_role("button", name="Put right").click()
    expect(page.locator("#email-error")).to_be_visible()
    expect(page.get_by_label("Name", exact=True)).to_have_value("Anna Wéber")
    assert barriers(page) == []
    page.get_by_label("Email").fill("")
    page.get_by_label("Phone").fill("621 123 456")
    page.get_by_role("button", name="Put right").click()
    expect(page.get_by_role("status").first).to_contain_text("Put right")
    expect(page.get_by_role("heading", level=1)).to_have_text("Anna Wéber")
    known = shop.read(card["id"])["customer"]
    assert (known["name"], known["email"], known["phone"]) == ("Anna Wéber", None, "+352621123456")
    expect(page.get_by_text("Details changed")).to_be_visible()


def test_a_lost_card_leads_to_the_new_one(
    person: People, busy_shop: tuple[Till, dict[str, Any], dict[str, Any]]
) -> None:
    shop, _, card = busy_shop
    page = signed_in(person(), shop, f"/app/cards/{card['id']}")
    page.get_by_text("Replace a lost card").first.click()
    page.locator("#replace-reason").fill("Lost on the train")
    page.get_by_role("button", name="Replace a lost card").click()
    expect(page.get_by_role("status")).to_contain_text("This is the new card")
    assert card["id"] not in page.url


# ------------------------------------------------------------------ entries


def test_the_file_holds_every_entry_and_no_formula(
    service: Service, busy_shop: tuple[Till, dict[str, Any], dict[str, Any]]
) -> None:
    shop, _, card = busy_shop
    adjusted = {"card": card["id"], "stamps_delta": 1, "reason": "=HYPERLINK(1)"}
    ok(shop.post("/adjustments", adjusted))
    service.catch_up()
    browser = Browser(service.http)
    browser.submit("/sign-in", key=shop.key)
    answer = browser.get("/app/transactions.csv")
    assert answer.headers["content-disposition"].startswith("attachment")
    rows = list(csv.DictReader(StringIO(answer.text.removeprefix("\ufeff"))))
    assert len(rows) == 7 and sum(int(row["stamps_delta"]) for row in rows) == 6
    assert rows[0]["reason"] == "'=HYPERLINK(1)"
    assert not any(
        cell.startswith(tuple("=+-@")) and not re.fullmatch(r"-?[0-9]+", cell) for r in rows for cell in r.values()
    )
    today = rows[0]["occurred_at"][:10]
    same = browser.get(f"/app/transactions.csv?kind=adjusted&first={today}&last={today}")
    assert len(list(csv.DictReader(StringIO(same.text)))) == 1
    assert len(list(csv.DictReader(StringIO(browser.get("/app/transactions.csv?last=2001-01-01").text)))) == 0
    assert len(list(csv.DictReader(StringIO(browser.get("/app/transactions.csv?last=9999-12-31").text)))) == len(rows)


# ------------------------------------------------------------------ poster


def test_the_poster_is_one_page_and_its_code_leads_to_joining(
    person: People, service: Service, busy_shop: tuple[Till, dict[str, Any], dict[str, Any]]
) -> None:
    shop, program, _ = busy_shop
    page = signed_in(person(window=DESKTOP), shop, f"/app/programs/{program['id']}/poster")
    for paper in ("A4", "A5", "Letter"):
        printed = page.pdf(format=paper, print_background=True)
        assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 1, paper
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 794, "height": 1123})
    (code,) = zxingcpp.read_barcodes(picture_of(page))
    assert code.text.endswith(f"/j/{program['id']}")


# ------------------------------------------------------------------ staff


def test_somebody_new_gets_a_pin_is_unlocked_and_leaves(person: People, service: Service, shop: Till) -> None:
    paul = person()
    paul.expected = ["422"]
    page = signed_in(paul, shop, "/app/staff")
    page.get_by_label("Name", exact=True).fill("Élise")
    page.get_by_label("PIN", exact=True).fill("1234")
    page.get_by_role("button", name="Add").click()
    expect(page.locator("#pin-error")).to_be_visible()
    assert page.locator("#pin").input_value() == "" and page.locator("#name").input_value() == "Élise"
    page.get_by_label("PIN", exact=True).fill("4071")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("status")).to_contain_text("Added.")
    service.catch_up()
    (pin,) = ok(shop.get("/pins"))["items"]
    for _ in range(5):
        shop.post(f"/pins/{pin['id']}/sessions", {"pin": "9999"})
    service.catch_up()
    page.reload()
    expect(page.get_by_text("Locked until")).to_be_visible()
    page.get_by_role("button", name="Unlock").click()
    assert ok(shop.get(f"/pins/{pin['id']}"))["locked_until"] is None
    page.locator("summary").click()
    page.get_by_role("button", name="Remove Élise").click()
    expect(page.get_by_role("status")).to_contain_text("Removed.")


# ------------------------------------------------------------------ keys and tills


def test_a_till_is_paired_by_its_code_and_unpaired(person: People, service: Service, shop: Till) -> None:
    page = signed_in(person(), shop, "/app/keys")
    page.get_by_label("What it is called").fill("Counter")
    page.get_by_role("button", name="Make a code").click()
    code = page.locator(".code-big").inner_text()
    (drawn,) = zxingcpp.read_barcodes(picture_of(page))
    assert drawn.text.endswith(f"/till/pair?code={code}")
    assert barriers(page) == [] and overflowing(page) == []
    device = person()
    device.expected = ["404"]  # The till's own pages are somebody else's.
    tablet = device.opens(f"/till/pair?code={code}")
    tablet.get_by_role("button", name="Pair this till").click()
    tablet.wait_for_url("**/till")
    page.goto("/app/keys")
    expect(page.locator(".people .strong", has_text="Counter")).to_be_visible()
    page.locator("summary", has_text="Unpair").click()
    page.get_by_role("button", name="Yes, at once").first.click()
    expect(page.get_by_text("No till is paired yet.")).to_be_visible()


def test_a_key_is_shown_once(person: People, service: Service, shop: Till) -> None:
    page = signed_in(person(), shop, "/app/keys")
    page.locator("summary", has_text="cash register").click()
    page.get_by_label("Name of the system").fill("Web shop")
    page.get_by_label("Give stamps and points").check()
    page.get_by_role("button", name="Issue the key").click()
    key = page.locator(".secret").inner_text()
    assert service.till(key).get("/till").status_code == 200
    assert barriers(page) == [] and overflowing(page) == []
    page.goto("/app/keys")
    assert key not in page.content() and page.locator(".people .strong", has_text="Web shop").is_visible()


# ------------------------------------------------------------------ settings


def test_a_shop_changes_its_name_and_languages(person: People, service: Service, shop: Till) -> None:
    paul = person()
    paul.expected = ["422"]
    page = signed_in(paul, shop, "/app/settings")
    page.get_by_label("Name of the shop").fill("Café Neu")
    page.get_by_label("Deutsch").check()
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".shop")).to_have_text("Café Neu")
    assert ok(service.admin.get(f"/vendors/{shop.vendor_id}"))["languages"] == ["lb", "fr", "de"]
    page.get_by_label("Time zone").fill("Mars/Olympus")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#timezone-error")).to_be_visible()


# ------------------------------------------------------------------ attacks


def test_what_people_write_stays_text_everywhere(person: People, service: Service) -> None:
    shop = service.shop(name=CANARY[:60])
    canary = CANARY[:60]
    rewards = [{"name": canary, "points_cost": 20}]
    program = shop.program(
        name=canary, card_name=canary, stamps_reward_description=canary, points_rewards=rewards, terms_text=canary
    )
    shop.pin(name=canary)
    card = shop.card(program["id"], name=canary)
    ok(shop.post("/adjustments", {"card": card["id"], "stamps_delta": 1, "reason": canary}))
    service.catch_up()
    page = signed_in(person(), shop)
    for address in [*pages_of(program, card), f"/app/cards?status={canary}", f"/app/transactions?first={canary}"]:
        page.goto(address)
        assert page.locator("img[src=x]").count() == 0, address
        assert "49" not in page.locator("h1").inner_text()
    page.goto(f"/app/programs/{program['id']}")
    page.locator("#card_name").fill(canary + "!")
    expect(page.locator(".pass-name")).to_contain_text("!")
    assert page.locator("img[src=x]").count() == 0


def test_another_sites_form_does_nothing(
    service: Service, busy_shop: tuple[Till, dict[str, Any], dict[str, Any]]
) -> None:
    shop, program, card = busy_shop
    browser = Browser(service.http)
    browser.submit("/sign-in", key=shop.key)
    heads = service.heads()
    for path, fields in (
        (f"/app/cards/{card['id']}/adjust", {"stamps_delta": "5", "reason": "x", "once": str(uuid4())}),
        (f"/app/cards/{card['id']}/life/close", {"reason": "x"}),
        (f"/app/cards/{card['id']}/entries/{uuid4()}/take-back", {"reason": "x"}),
        (f"/app/programs/{program['id']}/deactivate", {}),
        ("/app/keys", {"name": "X", "scope-read": "yes"}),
        ("/app/settings", {"name": "X", "timezone": "UTC", "language-en": "yes"}),
        ("/app/cards", {"q": "anna@example.lu"}),
    ):
        for site in ("cross-site", "same-site", None):
            assert browser.submit(path, site, **fields).status_code == 403, path
    assert service.heads() == heads


def test_another_vendors_things_are_not_there(
    service: Service, busy_shop: tuple[Till, dict[str, Any], dict[str, Any]]
) -> None:
    _, program, card = busy_shop
    stranger = Browser(service.http)
    stranger.submit("/sign-in", key=service.shop().key)
    for address in (
        f"/app/cards/{card['id']}",
        f"/app/programs/{program['id']}",
        f"/app/programs/{program['id']}/poster",
    ):
        assert stranger.get(address).status_code == 404
    assert stranger.submit(f"/app/cards/{card['id']}/life/close", reason="x").status_code == 404


def test_a_form_sent_after_the_session_ended_leads_back_to_its_page(service: Service) -> None:
    for said, to in (
        ({"Referer": "http://here/app/settings?a=1"}, "/app/settings%3Fa%3D1"),
        ({"HX-Request": "true", "HX-Current-URL": "http://here/app/programs/new"}, "/app/programs/new"),
        ({"Referer": "http://[", "HX-Current-URL": "//["}, "/"),
        ({}, "/"),
    ):
        answer = Browser(service.http).send("POST", "/app/settings", {"Sec-Fetch-Site": "same-origin", **said}, data={})
        found = answer.headers["hx-redirect" if "HX-Request" in said else "location"]
        assert (answer.status_code, found) == (204 if "HX-Request" in said else 303, f"/sign-in?to={to}")


def test_nobody_gets_in_without_signing_in(
    service: Service, busy_shop: tuple[Till, dict[str, Any], dict[str, Any]]
) -> None:
    _, program, card = busy_shop
    for address in [*pages_of(program, card), "/app/transactions.csv"]:
        answer = service.http.get(address)
        assert answer.status_code == 303 and answer.headers["location"].startswith("/sign-in?to=/app"), address
