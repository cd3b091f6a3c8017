"""The administration's pages: figures, shops and their keys, health with trying again, and who may do what."""

import re
from collections.abc import Callable
from datetime import date
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from api.pages.chart import STUB, bars
from tests.callers import ADMIN_KEY, AUDITOR_KEY, Till, ok
from tests.pages.browser import DESKTOP, SMALL, Person, barriers, overflowing
from tests.pages.test_audit import CANARY, signed_in
from tests.service import Service

People = Callable[..., Person]
PARK = """
INSERT INTO wallet_work (channel, id, card_id, desired, synced, owed_since, due_at, failures, last_error, is_parked)
VALUES ('apple', %s, %s, 2, 1, now(), now(), 5, 'BadDeviceToken', true)
"""


@pytest.fixture
def shop(service: Service) -> Till:
    return service.shop(name="Pâtisserie Namur")


@pytest.fixture
def admin(person: People) -> Person:
    return signed_in(person(window=DESKTOP), ADMIN_KEY)


def test_figures_and_a_chart_tell_of_the_last_days(admin: Person, service: Service, shop: Till) -> None:
    card = shop.card(shop.program()["id"])
    ok(shop.stamp(card["id"]))
    service.catch_up()
    page = admin.opens("/admin")
    stamps = service.admin.get("/stats").json()["total"]["stamps_issued"]
    chart = page.get_by_role("img", name=re.compile("stamps in all"))
    expect(chart).to_be_visible()
    expect(page.get_by_text(f"{stamps} stamps in all", exact=False)).to_have_count(0)  # Only for who cannot see it.
    assert f"{stamps} stamps in all" in (chart.get_attribute("aria-label") or "").replace(",", "")
    page.get_by_text("The same as a table").click()
    expect(page.get_by_role("region", name="Stamps, day by day").get_by_role("row").last).to_be_visible()
    page.get_by_role("link", name="90 days").click()
    expect(page.get_by_role("heading", name="Everything, over 90 days")).to_be_visible()


def test_bars_reach_from_the_ground_to_the_highest_day() -> None:
    chart = bars({date(2026, 3, 1): 4, date(2026, 3, 3): 2}, days=3, today=date(2026, 3, 3))
    assert [(bar.count, bar.y + bar.height, bar.height) for bar in chart.bars] == [
        (4, chart.foot, chart.foot),
        (0, chart.foot, STUB),
        (2, chart.foot, chart.foot / 2),
    ]
    assert (chart.highest, chart.total) == (4, 6)


def test_the_last_bar_is_of_whom_it_is_tomorrow_for() -> None:
    chart = bars({date(2026, 3, 1): 4, date(2026, 3, 4): 2}, days=3, today=date(2026, 3, 3))
    assert [bar.day.day for bar in chart.bars] == [2, 3, 4] and chart.total == 2
    assert [bar.day.day for bar in bars({}, days=2, today=date(2026, 3, 3)).bars] == [2, 3]


def test_programs_are_filtered_by_kind_and_state(admin: Person, service: Service, shop: Till) -> None:
    name = f"Only stamps {uuid4().hex[:6]}"
    shop.program(name=name, loyalty_type="stamps", earn_rate=None, points_rewards=[])
    service.catch_up()
    page = admin.opens("/admin/programs")
    page.get_by_label("Kind").select_option(label="Stamps")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("row", name=re.compile(name))).to_contain_text("Pâtisserie Namur")
    page.get_by_label("Kind").select_option(label="Points")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text(name)).to_have_count(0)


def test_a_key_is_revoked_after_asking_by_keyboard_alone(admin: Person, service: Service, shop: Till) -> None:
    service.catch_up()
    page = admin.opens("/admin/vendors")
    page.goto(f"/admin/vendors/{shop.vendor_id}")
    revoke = page.locator("summary", has_text="Revoke")
    revoke.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The shop has no key")).to_be_visible()
    assert shop.get("/programs").status_code == 401


def test_a_sign_in_link_signs_in_one_person_once(admin: Person, person: People, service: Service, shop: Till) -> None:
    page = admin.opens(f"/admin/vendors/{shop.vendor_id}")
    page.get_by_role("button", name="Make a sign-in link").click()
    link = re.sub(r"^https?://[^/]+", "", page.locator("code.link").inner_text())
    owner = person()
    owner.expected = ["404", "401"]
    tab = owner.opens(link)
    tab.get_by_role("button", name="Sign in").click()
    tab.wait_for_url(re.compile("/app"))
    assert "__Host-session" in {cookie["name"] for cookie in owner.context.cookies()}
    page.goto(f"/admin/vendors/{shop.vendor_id}")
    expect(page.locator("code.link")).to_have_count(0)
    expect(page.get_by_text("Sign-in by link").first).to_be_visible()


def test_health_shows_why_wallets_wait_and_tries_again(admin: Person, service: Service, shop: Till) -> None:
    card = shop.card(shop.program()["id"])
    service.rows(PARK, str(uuid4()), card["id"])
    page = admin.opens("/admin/health")
    expect(page.get_by_role("region", name="What wallets are owed")).to_contain_text("BadDeviceToken")
    line = page.get_by_role("listitem").filter(has=page.get_by_role("link", name=card["id"]))
    line.get_by_role("button", name="Try again").click()
    expect(page.get_by_text("1 update is tried again now.")).to_be_visible()
    assert service.rows("SELECT is_parked FROM wallet_work WHERE card_id = %s", card["id"]) == [{"is_parked": False}]
    service.rows("DELETE FROM wallet_work WHERE card_id = %s", card["id"])


def test_health_says_when_a_wallets_provider_refuses_everything(admin: Person, service: Service) -> None:
    service.rows("INSERT INTO paces (name, next_at) VALUES ('google stopped', now()) RETURNING name")
    page = admin.opens("/admin/health")
    expect(page.get_by_text("Google Wallet stands still")).to_be_visible()
    service.rows("DELETE FROM paces RETURNING name")
    page.reload()
    expect(page.get_by_text("Google Wallet stands still")).to_have_count(0)


def test_health_says_when_something_stands_still(admin: Person, service: Service) -> None:
    service.rows("INSERT INTO projections (name, position, error) VALUES ('a_follower', 3, 'position 4: KeyError')")
    try:
        page = admin.opens("/admin/health")
        expect(page.get_by_role("alert").filter(has_text="a_follower stands still")).to_contain_text("KeyError")
        expect(page.get_by_role("row", name=re.compile("query_tables"))).to_contain_text("Runs")
        page.goto("/admin")
        expect(page.get_by_text("Something needs a look")).to_be_visible()
    finally:
        service.rows("DELETE FROM projections WHERE name = 'a_follower'")


# ------------------------------------------------------------------ who may do what


def test_an_auditor_reads_and_changes_nothing(person: People, service: Service, shop: Till) -> None:
    service.catch_up()
    page = signed_in(person(window=DESKTOP), AUDITOR_KEY).opens(f"/admin/vendors/{shop.vendor_id}")
    expect(page.get_by_role("heading", name="Pâtisserie Namur")).to_be_visible()
    expect(page.get_by_role("button", name="Make a sign-in link")).to_have_count(0)
    expect(page.get_by_text("Revoke")).to_have_count(0)
    for path in changing(service, shop):
        answer = service.http.post(path, data={}, headers={"Authorization": f"Bearer {AUDITOR_KEY}"})
        assert answer.status_code == 403, path


def test_a_shop_is_told_clearly_that_this_is_not_for_it(person: People, shop: Till) -> None:
    owner = signed_in(person(), shop.key)
    owner.expected += ["403"]
    for path in ("/admin", "/admin/health", f"/admin/vendors/{shop.vendor_id}"):
        expect(owner.opens(path).get_by_role("heading", name="This key may not do that")).to_be_visible()


def test_a_form_of_another_site_changes_nothing(service: Service, shop: Till) -> None:
    before = service.admin.get(f"/vendors/{shop.vendor_id}/api-keys").json()["items"]
    headers = {"Authorization": f"Bearer {ADMIN_KEY}", "Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    for path in changing(service, shop):
        assert service.http.post(path, data={}, headers=headers).status_code == 403, path
    assert service.admin.get(f"/vendors/{shop.vendor_id}/api-keys").json()["items"] == before


@pytest.mark.parametrize("path", ["/admin", "/admin/vendors", "/admin/programs", "/admin/health", "/audit"])
def test_nobody_is_led_to_signing_in(service: Service, path: str) -> None:
    answer = service.http.get(path, headers={"Accept": "text/html"}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/sign-in?to={path}")


def changing(service: Service, shop: Till) -> list[str]:
    key: dict[str, Any] = service.admin.get(f"/vendors/{shop.vendor_id}/api-keys").json()["items"][0]
    here = f"/admin/vendors/{shop.vendor_id}"
    return [f"{here}/sign-in-link", f"{here}/api-keys/{key['id']}/revoke", "/admin/health/retry"]


# ------------------------------------------------------------------ everybody can use it


def test_nobody_is_kept_out(person: People, service: Service) -> None:
    """In each language at least one page; at 320 px, in light and in dark, with what people wrote staying text."""
    shop = service.shop(name=CANARY)
    ok(shop.stamp(shop.card(shop.program(name=CANARY)["id"])["id"]))
    service.rows(PARK, str(uuid4()), None)
    service.catch_up()
    tab = signed_in(person(window=SMALL), ADMIN_KEY).opens("/admin")
    pages = ("/admin", "/admin/vendors", "/admin/programs", "/admin/health", f"/admin/vendors/{shop.vendor_id}")
    for number, path in enumerate(pages):
        tab.goto(f"/language/{('en', 'fr', 'de', 'lb')[number % 4]}?to={path}")
        assert tab.locator("img[src=x]").count() == 0
        assert barriers(tab) == [], path
        assert overflowing(tab) == [], path
    expect(tab.get_by_role("heading", level=1)).to_have_text(CANARY)
    service.rows("DELETE FROM wallet_work WHERE card_id IS NULL")
