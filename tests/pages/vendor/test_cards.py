"""Cards and their entries at the desk: found, put right, taken back."""

import csv
import re
from io import StringIO
from pathlib import Path
from uuid import uuid4

from playwright.sync_api import expect

from api.pages.vendor.cards import SHOWN
from tests.browser import Browser
from tests.callers import Till, ok
from tests.pages.browser import SMALL, barriers, overflowing
from tests.pages.vendor.desk import BusyShop, People, signed_in
from tests.service import Service, service_process


def test_a_card_is_found_and_put_right_once(person: People, service: Service, busy_shop: BusyShop) -> None:
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


def test_an_entry_is_taken_back_once_and_both_stay(person: People, service: Service, busy_shop: BusyShop) -> None:
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


def test_what_cannot_be_taken_back_is_refused_in_words(person: People, service: Service, busy_shop: BusyShop) -> None:
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


def test_a_customers_details_are_put_right(person: People, service: Service, busy_shop: BusyShop) -> None:
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


def test_a_lost_card_leads_to_the_new_one(person: People, busy_shop: BusyShop) -> None:
    shop, _, card = busy_shop
    page = signed_in(person(), shop, f"/app/cards/{card['id']}")
    page.get_by_text("Replace a lost card").first.click()
    page.locator("#replace-reason").fill("Lost on the train")
    page.get_by_role("button", name="Replace a lost card").click()
    expect(page.get_by_role("status")).to_contain_text("This is the new card")
    assert card["id"] not in page.url


def test_the_file_holds_every_entry_and_no_formula(service: Service, busy_shop: BusyShop) -> None:
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
