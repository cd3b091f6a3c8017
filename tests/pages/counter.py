"""A shop with a till at its counter, and staff who use it in a browser."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import BrowserContext, Page

from tests.pages.browser import Person
from tests.service import Served, Till, ok

PIN = "4071"


@dataclass(frozen=True)
class Shop:
    """A vendor with a program, Marie who has a PIN, and the cookie of a paired till."""

    service: Served
    office: Till
    program: dict[str, Any]
    marie: dict[str, Any]
    cookies: Any

    def card(self, **customer: Any) -> dict[str, Any]:
        return self.office.card(self.program["id"], **customer)

    def entries(self, card: dict[str, Any]) -> list[str]:
        """What was recorded on the card, oldest first."""
        return [event["name"] for event in self.service.events(card["id"])][1:]


def open_shop(service: Served, person: Callable[..., Person], **rules: Any) -> Shop:
    office = service.shop()
    program = office.program(**{"require_staff_pin": True, **rules})
    marie = office.pin(PIN)
    service.catch_up()
    someone = person()
    pair(someone.context.new_page(), office)
    return Shop(service, office, program, marie, someone.context.storage_state())


def pair(page: Page, office: Till, name: str = "Counter left") -> Page:
    """Bring the office's code to the till."""
    code = ok(office.post("/till-pairings", {"name": name}))["code"]
    page.goto("/till")
    page.locator("[name=code]").fill(code)
    page.locator("main form button").click()
    page.wait_for_url("**/till")
    return page


def enter(page: Page, name: str = "Marie", pin: str = PIN) -> Page:
    """Tap the name, and the PIN on the pad."""
    page.get_by_role("button", name=name, exact=True).click()
    return tap_pin(page, pin)


def tap_pin(page: Page, pin: str) -> Page:
    tap(page, "pin-field", pin)
    page.locator("#pin-form [type=submit]").click()
    return page


def tap(page: Page, pad: str, digits: str) -> None:
    for digit in digits:
        page.locator(f"[data-pad={pad}] [data-digit='{digit}']").click()


def find(page: Page, card: dict[str, Any]) -> None:
    """Type the number on the card."""
    page.locator("#number").fill(card["card_number"])
    page.locator("#find-card").click()
    page.locator("#card").wait_for()


def scan(page: Page, text: str) -> None:
    """As a scanner types: faster than any hand."""
    page.keyboard.type(text)
    page.keyboard.press("Enter")


def answer(page: Page, title: str) -> str:
    """Wait for the answer with this headline; its colour."""
    page.locator("#answer-title", has_text=title).wait_for()
    return page.locator("body").get_attribute("data-kind") or ""


def has_arrived(page: Page) -> None:
    page.locator("#show-waiting").wait_for(state="hidden")


def offline(context: BrowserContext, yes: bool = True) -> None:
    context.set_offline(yes)
