"""The designer of a program, in a browser: what is filled in becomes the program, and the phone beside it follows."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page, expect

from tests.callers import Till, moment, ok
from tests.clock import eventually
from tests.pages.browser import DESKTOP, barriers
from tests.pages.vendor.desk import People, signed_in
from tests.service import Service

ZONE = ZoneInfo("Europe/Luxembourg")
LOGO = "https://example.com/logo.png"


def designer(person: People, shop: Till, program: dict[str, Any], **how: Any) -> Page:
    return signed_in(person(**how), shop, f"/app/programs/{program['id']}")


def publish(page: Page, said: str = "Published.") -> None:
    page.get_by_role("button", name="Publish a new version").click()
    expect(page.get_by_role("status").first).to_contain_text(said)


def as_it_is(shop: Till, program: dict[str, Any]) -> dict[str, Any]:
    return ok(shop.get(f"/programs/{program['id']}"))


def announced(service: Service, program: dict[str, Any]) -> list[dict[str, Any]]:
    service.catch_up()
    asked = {"program_id": program["id"], "type": "program-rules-changed"}
    return list(ok(service.auditor.get("/events", **asked))["items"])


# ------------------------------------------------------------------ the phone


def test_the_phone_follows_while_somebody_types(person: People, shop: Till) -> None:
    page = signed_in(person(window=DESKTOP), shop, "/app/programs/new")
    page.get_by_label("Name of the program").press_sequentially("Zopf card")
    expect(page.locator(".pass-name")).to_have_text("Zopf card")
    page.get_by_label("Stamps for a reward").fill("5")
    expect(page.locator(".pass-balance")).to_contain_text("3 / 5")
    page.get_by_label("Language of the phone").select_option("de")
    expect(page.locator(".pass-balance")).to_contain_text("Stempel")
    page.locator("#card_secondary_color").fill("#1f3a53")
    expect(page.locator("#preview").get_by_role("alert")).to_contain_text("can hardly be seen")
    assert barriers(page) == []
    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_role("status").first).to_contain_text("Published.")
    expect(page.get_by_role("heading", name="Zopf card")).to_be_visible()


def test_a_session_that_ended_while_somebody_types_leads_to_signing_in_and_back(
    person: People, service: Service, shop: Till
) -> None:
    program = shop.program()
    key = service.admin.api_key(shop.vendor_id)
    address = f"/app/programs/{program['id']}"
    page = signed_in(person(window=DESKTOP), service.till(key["key"], shop.vendor_id), address)
    assert service.admin.delete(f"/vendors/{shop.vendor_id}/api-keys/{key['id']}").status_code == 204
    page.get_by_label("Name of the program").press_sequentially("!")
    page.wait_for_url(f"**/sign-in?to={address}")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    page.locator("#key").fill(shop.key)
    page.locator("main button").click()
    page.wait_for_url("**" + address)


# ------------------------------------------------------------------ what is published


@pytest.mark.parametrize("kind", ["stamps", "points", "hybrid"])
def test_publishing_what_is_shown_changes_nothing(person: People, shop: Till, kind: str) -> None:
    left_out = {"stamps": ("earn_rate", "points_rewards"), "points": ("stamps_target",)}.get(kind, ())
    program = as_it_is(shop, shop.program(loyalty_type=kind, **dict.fromkeys(left_out)))
    publish(designer(person, shop, program))
    assert as_it_is(shop, program) == program


def test_all_that_is_filled_in_is_published_and_what_is_emptied_is_gone(person: People, shop: Till) -> None:
    program = shop.program(terms_text="One a visit.", card_name="Zopf", stamps_reward_description="A coffee")
    page = designer(person, shop, program, window=DESKTOP)
    page.locator("#stamps_reward_value").fill("3,80")
    page.get_by_label("Smallest purchase that counts, in EUR").fill("2.5")
    page.get_by_label("Address of your logo").fill(LOGO)
    page.locator("#reward-0-value").fill("4.5")
    page.locator("summary", has_text="More rules").click()
    page.get_by_label("When more is taken back").select_option("Only what is left is taken")
    page.get_by_label("When a reward comes to need more stamps").select_option("All cards need them at once")
    page.get_by_label("Days in which rewards can be redeemed").fill("30")
    assert barriers(page) == []
    publish(page)
    found = as_it_is(shop, program)
    assert (found["stamps_reward_value_minor"], found["minimum_purchase_minor"], found["logo_url"]) == (380, 250, LOGO)
    assert [reward["value_minor"] for reward in found["points_rewards"]] == [450]
    assert (found["reversal_policy"], found["raised_target"]) == ("within_balance", "immediate")
    assert (found["wind_down_days"], found["terms_text"], found["card_name"]) == (30, "One a visit.", "Zopf")
    for label in ("What it is worth", "Smallest purchase", "Address of your logo", "Terms", "Name on the card"):
        page.get_by_label(label).first.fill("")
    publish(page)
    found = as_it_is(shop, program)
    assert [found[name] for name in ("stamps_reward_value_minor", "logo_url", "terms_text", "card_name")] == [None] * 4
    assert (found["minimum_purchase_minor"], found["stamps_reward_description"]) == (0, "A coffee")


def test_a_shop_says_what_who_joins_is_asked_for(person: People, shop: Till) -> None:
    program = shop.program()
    paul = person()
    paul.expected = ["422"]
    page = signed_in(paul, shop, f"/app/programs/{program['id']}")
    expect(page.get_by_label("A name, which they may leave out")).to_be_checked()
    page.get_by_label("An email address").check()
    page.get_by_label("A phone number").check()
    page.get_by_role("button", name="Publish a new version").click()
    expect(page.locator("#asks-error")).to_be_visible()
    page.get_by_label("A name, which they may leave out").uncheck()
    publish(page)
    assert as_it_is(shop, program)["enrolment_fields"] == ["email", "phone"]
    for label in ("An email address", "A phone number"):
        page.get_by_label(label).uncheck()
    publish(page)
    page.goto(f"/j/{program['id']}")
    expect(page.locator("main input:not([type=hidden]):not([type=checkbox])")).to_have_count(0)


def test_rules_are_announced_for_a_day_and_taken_back(person: People, service: Service) -> None:
    shop = service.shop(timezone="Europe/Luxembourg")
    program = shop.program(stamps_target=10)
    page = designer(person, shop, program)
    day = (datetime.now(UTC) + timedelta(days=40)).date()
    page.get_by_label("Stamps for a reward").fill("8")
    page.get_by_label("The rules hold from").fill(f"{day}T08:30")
    publish(page, "Announced.")
    expect(page.get_by_text("Version 2 holds from")).to_contain_text("8:30")
    expect(page.get_by_label("Stamps for a reward")).to_have_value("10")
    found = as_it_is(shop, program)
    (ahead,) = found["pending_rules"]
    assert found["stamps_target"] == 10 and ahead["version"] == 2
    assert moment(ahead["effective_from"]).astimezone(ZONE).isoformat()[:16] == f"{day}T08:30"
    page.get_by_label("The rules hold from").fill(f"{day}T08:30")
    publish(page, "Announced.")
    expect(page.get_by_text("Version 3 holds from")).to_be_visible()
    expect(page.get_by_text("Version 2 holds from")).to_have_count(0)
    rules = [event["data"]["rules"] for event in announced(service, program)]
    assert [(one["version"], one["stamps_target"]) for one in rules] == [(2, 8), (3, 10)]


def test_a_form_from_before_the_day_does_not_undo_what_was_announced(person: People, shop: Till) -> None:
    program = shop.program(stamps_target=10)
    paul = person()
    paul.expected = ["412"]
    page = signed_in(paul, shop, f"/app/programs/{program['id']}")
    soon = datetime.now(UTC) + timedelta(seconds=1)
    ok(shop.patch(f"/programs/{program['id']}", {"stamps_target": 8, "effective_from": soon.isoformat()}))
    page.locator("input[name=version]").evaluate(
        "(field, now) => field.value = now", as_it_is(shop, program)["version"]
    )
    eventually(lambda: as_it_is(shop, program)["stamps_target"] == 8)
    page.get_by_label("Terms").first.fill("One a visit.")
    page.get_by_role("button", name="Publish a new version").click()
    expect(page.get_by_role("alert").first).to_be_visible()
    assert as_it_is(shop, program)["stamps_target"] == 8


def test_a_day_in_the_past_is_refused(person: People, shop: Till) -> None:
    program = shop.program()
    paul = person()
    paul.expected = ["422"]
    page = signed_in(paul, shop, f"/app/programs/{program['id']}")
    page.get_by_label("Stamps for a reward").fill("8")
    page.get_by_label("The rules hold from").fill("2020-01-01T08:00")
    page.get_by_role("button", name="Publish a new version").click()
    expect(page.locator("#effective_from-error")).to_be_visible()
    assert as_it_is(shop, program)["stamps_target"] == 10


def test_publishing_makes_a_version_and_somebody_elses_is_not_overwritten(
    person: People, service: Service, shop: Till
) -> None:
    program = shop.program()
    paul = person()
    paul.expected = ["412", "422"]
    page = signed_in(paul, shop, f"/app/programs/{program['id']}")
    page.get_by_label("Stamps for a reward").fill("8")
    page.get_by_role("button", name="Publish a new version").click()
    expect(page.get_by_text("Version 2")).to_be_visible()
    assert ok(shop.get(f"/programs/{program['id']}"))["points_rewards"] == program["points_rewards"]
    ok(shop.send("PATCH", f"/programs/{program['id']}", {"name": "Changed elsewhere"}))
    page.get_by_label("Stamps for a reward").fill("7")
    page.get_by_role("button", name="Publish a new version").click()
    expect(page.get_by_role("alert").first).to_be_visible()
    assert ok(shop.get(f"/programs/{program['id']}"))["stamps_target"] == 8
    page.goto(f"/app/programs/{program['id']}")
    page.get_by_label("Stamps a day at most").fill("0")
    page.locator("#design").evaluate("form => form.noValidate = true")
    page.get_by_role("button", name="Publish a new version").click()
    expect(page.locator("#max_daily_stamps-error")).to_be_visible()


def test_a_program_is_closed_and_opened_again(person: People, shop: Till) -> None:
    program = shop.program()
    page = signed_in(person(), shop, f"/app/programs/{program['id']}")
    page.locator("summary", has_text="Close the program").click()
    page.get_by_role("button", name="Close the program").click()
    expect(page.get_by_text("It is closed. Nobody can collect.")).to_be_visible()
    page.get_by_role("button", name="Activate the program").click()
    expect(page.get_by_role("status").first).to_contain_text("is active")
