"""What a shop sets up: its poster, its staff, its keys and tills, itself."""

import re

import zxingcpp
from playwright.sync_api import expect

from tests.callers import Till, ok
from tests.pages.browser import DESKTOP, barriers, overflowing, picture_of
from tests.pages.vendor.desk import BusyShop, People, signed_in
from tests.service import Service


def test_the_poster_is_one_page_and_its_code_leads_to_joining(
    person: People, service: Service, busy_shop: BusyShop
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
