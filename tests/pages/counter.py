"""A shop with a till at its counter, and staff who use it in a browser."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import segno
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page

from tests.callers import Till, ok
from tests.clock import zone_at_noon
from tests.pages.browser import Person
from tests.service import Served

PIN = "4071"
STAMPED = "stamps-added"
REFUSED, GONE = (
    "the server responded with a status of 4",
    "net::ERR_INTERNET_DISCONNECTED",
)  # What a browser complains of.
Opened = Callable[..., Page]


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


def open_shop(service: Served, browser: Browser, **rules: Any) -> Shop:
    office = service.shop(timezone=zone_at_noon())
    program = office.program(**{"require_staff_pin": True, **rules})
    marie = office.pin(PIN)
    service.catch_up()
    somebody = Person(browser, str(service.http.base_url))
    pair(somebody.context.new_page(), office)
    made = Shop(service, office, program, marie, somebody.context.storage_state())
    somebody.leaves()
    return made


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
    tap_pin(page, pin)
    page.locator("#pin").wait_for(state="hidden")
    return page


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
    """As a scanner types: a key each four milliseconds, however slow this machine is, and Enter."""
    keyboard = page.context.new_cdp_session(page)
    began = time.time()
    for number, key in enumerate([*text, "Enter"]):
        said = {"key": key, "timestamp": began + number * 0.004}
        written = {"text": "\r", "windowsVirtualKeyCode": 13} if key == "Enter" else {"text": key}
        keyboard.send("Input.dispatchKeyEvent", {"type": "keyDown", **said, **written})
        keyboard.send("Input.dispatchKeyEvent", {"type": "keyUp", **said})
    keyboard.detach()


def answer(page: Page, title: str) -> str:
    """Wait for the answer with this headline; its colour."""
    page.locator("#answer-title", has_text=title).wait_for()
    return page.locator("body").get_attribute("data-kind") or ""


def has_arrived(page: Page) -> None:
    page.locator("#show-waiting").wait_for(state="hidden")


def fake_camera(path: Path, text: str) -> tuple[str, ...]:
    """Flags of a Chromium whose camera sees this QR code, held at an angle in a poor light."""
    code = BytesIO()
    segno.make_qr(text).save(code, kind="png", scale=5, border=4)
    frame = Image.new("RGB", (640, 480), "#6d6a64")
    frame.paste(Image.open(code).convert("RGB").rotate(12, expand=True, fillcolor="#8a877f"), (180, 90))
    with path.open("wb") as video:
        for _ in range(10):
            frame.save(video, "JPEG", quality=80)
    return (
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={path}",
    )


# ------------------------------------------------------------------ pictures

INES, LUC = ("Inês", "2846"), ("Luc", "7391")  # Of the demo.


def is_paired(context: BrowserContext, scene: Any) -> None:
    pair(context.new_page(), scene.till, "Comptoir")


def chooses(page: Page, scene: Any) -> None:
    page.get_by_role("button", name=INES[0]).wait_for()


def types_the_pin(page: Page, scene: Any) -> None:
    page.get_by_role("button", name=INES[0]).click()
    tap(page, "pin-field", INES[1][:3])


def waits_for_a_card(page: Page, scene: Any) -> None:
    enter(page, *INES)
    page.locator("#scan").wait_for()


def shows_a_card(page: Page, scene: Any) -> dict[str, Any]:
    waits_for_a_card(page, scene)
    card = scene.till.card(scene.programs["Kaffiskaart"]["id"], name="Léa Hoffmann")
    ok(scene.till.post("/adjustments", {"card": card["id"], "stamps_delta": 6, "reason": "From her paper card"}))
    find(page, card)
    return card


def stamps_it(page: Page, scene: Any) -> dict[str, Any]:
    card = shows_a_card(page, scene)
    page.locator("#stamp").click()
    page.locator("#answer").wait_for()
    return card


def stamps_it_again(page: Page, scene: Any) -> None:
    card = stamps_it(page, scene)
    page.locator("#done").click()
    find(page, card)
    page.locator("#stamp").click()
    page.locator("#answer").wait_for()


def scans_something_else(page: Page, scene: Any) -> None:
    waits_for_a_card(page, scene)
    scan(page, "https://example.com/menu")
    page.locator("#answer").wait_for()


def asks_for_the_amount(page: Page, scene: Any) -> None:
    waits_for_a_card(page, scene)
    find(page, scene.till.card(scene.programs["Rousepunkten"]["id"], name="Léa Hoffmann"))
    page.locator("#amount-open").click()
    tap(page, "amount-field", "1840")


def has_no_connection(page: Page, scene: Any) -> None:
    waits_for_a_card(page, scene)
    page.context.set_offline(True)
    for program in ("Kaffiskaart", "Rousepunkten"):
        find(page, scene.till.card(scene.programs[program]["id"]))
        page.locator("#stamp").click()
        page.locator("#done").click()
    page.locator("#show-waiting").click()


def finds_what_somebody_left(page: Page, scene: Any) -> None:
    """Inês stamped two cards without a connection and went; Luc discarded one of them."""
    waits_for_a_card(page, scene)
    page.context.set_offline(True)
    for _ in range(2):
        find(page, scene.till.card(scene.programs["Kaffiskaart"]["id"]))
        page.locator("#stamp").click()
        page.locator("#done").click()
    page.locator("#lock").click()
    page.context.set_offline(False)
    enter(page, *LUC)
    page.locator("#show-waiting").click()
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("#waiting-list .danger").first.click()
    page.locator("#waiting-list li:not(:has(button))").wait_for()
