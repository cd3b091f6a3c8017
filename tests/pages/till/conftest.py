"""A shop for the tests of a file, and its till in a browser."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.pages.browser import Person
from tests.pages.counter import Opened, Shop, enter, open_shop
from tests.service import Service


@pytest.fixture(scope="module")
def shop(service: Service, browser: Browser) -> Shop:
    return open_shop(service, browser)


@pytest.fixture
def at(shop: Shop, person: Callable[..., Person]) -> Opened:
    """The paired till in a browser of its own, with Marie at it; `expected` as for a person."""

    def opened(*, expected: tuple[str, ...] = (), is_in: bool = True, of: Shop = shop, **how: Any) -> Page:
        somebody = person(storage_state=of.cookies, **how)
        somebody.expected = list(expected)
        page = somebody.opens("/till")
        return enter(page) if is_in else page

    return opened
