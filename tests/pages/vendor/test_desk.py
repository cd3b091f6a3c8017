"""The pages of a shop's people: whoever may see them can use them, small and large, in every language."""

import pytest
from playwright.sync_api import expect

from api.languages import LANGUAGES
from api.pages.vendor import designer
from api.pages.vendor.desk import DONE, PARTS
from api.pages.vendor.entries import EVENTS, KINDS
from api.pages.vendor.keys import SCOPE_WORDS
from api.pages.vendor.staff import ROLES
from api.pages.vendor.transactions import KINDS_ASKED, TYPES
from api.pages.words import STATUSES
from tests.api.test_languages import catalogue, texts
from tests.callers import Till, ok
from tests.pages.browser import SMALL, barriers, overflowing
from tests.pages.vendor.desk import BusyShop, People, pages_of, signed_in
from tests.service import Service


@pytest.mark.parametrize("language", ["en", "de"])
def test_no_page_keeps_anybody_out(person: People, busy_shop: BusyShop, language: str) -> None:
    shop, program, card = busy_shop
    paul = person(language=language, window=SMALL)
    page = signed_in(paul, shop)
    for address in pages_of(program, card):
        page.goto(address)
        assert barriers(page) == [], address
        assert overflowing(page) == [], address


def test_at_twice_the_size_nothing_is_cut_off(person: People, busy_shop: BusyShop) -> None:
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
    person: People, service: Service, busy_shop: BusyShop
) -> None:
    shop, program, card = busy_shop
    reader = service.till(service.admin.api_key(shop.vendor_id, "read")["key"], shop.vendor_id)
    page = signed_in(person(), reader)
    for address in pages_of(program, card):
        if not address.endswith("/new"):
            page.goto(address)
            assert page.locator("main form[method=post]:not([role=search])").count() == 0, address
