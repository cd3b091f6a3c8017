"""A person at a browser: a real Chromium that tells of every error, every refused script and every barrier.

Wait on locators: under the pages' policy `wait_for_function` with a text cannot run.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.clock import zone_at_noon

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 800}
SMALL = {"width": 320, "height": 568}
TELL_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", event =>
    console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
"""
WAIT_MS = 30_000  # A machine may be busy with the other tests.
NO_CHROMIUM = "there is no Chromium on this machine: apt-get install chromium"

WIDER_THAN_THE_WINDOW = """() => [...document.querySelectorAll("body *")]
    .filter(one => !one.closest(".table-frame, .scrolls, .unseen"))
    .filter(one => one.getBoundingClientRect().right > innerWidth + 1)
    .map(one => one.outerHTML.slice(0, 120))"""

expect.set_options(timeout=WAIT_MS)


@contextmanager
def chromium() -> Iterator[Browser]:
    """One browser. While it runs, the thread has a running event loop: `asyncio.run` beside it fails."""
    if CHROMIUM is None:
        pytest.skip(NO_CHROMIUM)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, headless=True)
        try:
            yield browser
        finally:
            browser.close()


class Person:
    """Somebody with cookies of their own. What went wrong in any of their tabs is in `complaints`.

    Args:
        language: What their browser asks for.
        expected: Beginnings of complaints that belong to the story, such as a refused request.
    """

    def __init__(
        self,
        browser: Browser,
        base_url: str,
        *,
        language: str = "en",
        window: Mapping[str, int] = PHONE,
        is_dark: bool = False,
        **context: Any,
    ) -> None:
        self.context: BrowserContext = browser.new_context(
            base_url=base_url,
            locale=language,
            viewport=dict(window),  # type: ignore[arg-type]
            color_scheme="dark" if is_dark else "light",
            reduced_motion="reduce",
            timezone_id=zone_at_noon(),
            **context,
        )
        self.context.set_default_timeout(WAIT_MS)
        self.context.add_init_script(TELL_VIOLATIONS)
        self.context.on("console", self._hear)
        self.context.on("weberror", lambda error: self.complaints.append(f"page error: {error.error}"))
        self.complaints: list[str] = []
        self.expected: list[str] = []

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    def opens(self, address: str) -> Page:
        """A new tab at this address."""
        page = self.context.new_page()
        page.goto(address)
        return page

    def leaves(self) -> None:
        """Close everything; nothing may have gone wrong that was not expected."""
        self.context.close()
        unexpected = [one for one in self.complaints if not any(part in one for part in self.expected)]
        assert unexpected == [], unexpected


@cache
def axe_script() -> str:
    return Axe().axe_script


def barriers(page: Page) -> list[str]:
    """What axe finds in the page as it is, in light and in dark; empty where nobody is kept out."""
    found = []
    page.evaluate(axe_script())
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        told = page.evaluate("axe.run({resultTypes: ['violations']})")
        for violation in told["violations"]:
            for node in violation["nodes"]:
                found.append(f"{scheme}: {violation['id']}: {node['html'][:160]} {node['failureSummary']}")
    page.emulate_media(color_scheme=None)
    return found


def overflowing(page: Page) -> list[str]:
    """Elements that reach beyond the right edge of the window: there must be none."""
    told: list[str] = page.evaluate(WIDER_THAN_THE_WINDOW)
    return told


def picture_of(page: Page, **more: Any) -> Image.Image:
    """What is to be seen."""
    return Image.open(BytesIO(page.screenshot(**more)))
