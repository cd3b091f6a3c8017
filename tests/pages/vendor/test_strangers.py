"""What strangers try at a shop's pages."""

from uuid import uuid4

from playwright.sync_api import expect

from tests.browser import Browser
from tests.callers import ok
from tests.pages.vendor.desk import BusyShop, People, pages_of, signed_in
from tests.service import Service

CANARY = "<img src=x onerror=alert(1)>\"'&{{7*7}}"


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


def test_another_sites_form_does_nothing(service: Service, busy_shop: BusyShop) -> None:
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


def test_another_vendors_things_are_not_there(service: Service, busy_shop: BusyShop) -> None:
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


def test_nobody_gets_in_without_signing_in(service: Service, busy_shop: BusyShop) -> None:
    _, program, card = busy_shop
    for address in [*pages_of(program, card), "/app/transactions.csv"]:
        answer = service.http.get(address)
        assert answer.status_code == 303 and answer.headers["location"].startswith("/sign-in?to=/app"), address
