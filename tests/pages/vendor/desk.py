"""A shop's people at their pages."""

from collections.abc import Callable
from typing import Any, TypeAlias

from playwright.sync_api import Page

from api.pages.vendor.desk import PARTS
from tests.callers import Till
from tests.pages.browser import Person

People: TypeAlias = Callable[..., Person]
BusyShop: TypeAlias = tuple[Till, dict[str, Any], dict[str, Any]]


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
