"""A browser and a service for the tests of the pages. Both are shared by all of them: make a vendor of your own."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.conftest import SERVER
from tests.databases import database
from tests.pages.browser import Person, chromium
from tests.service import Service


# Of the package, not of the session: while a browser runs, other tests could not use `asyncio.run`.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="package")
def service(pytestconfig: pytest.Config) -> Iterator[Service]:
    """Shared by all tests of pages: look at your own vendor only."""
    server = pytestconfig.stash[SERVER]
    with database(server.url, template=server.template) as url, Service(url, sign_ins_per_hour=100_000) as service:
        yield service


@pytest.fixture
def person(browser: Browser, service: Service) -> Iterator[Callable[..., Person]]:
    """Makes people with a browser. At the end nothing may have gone wrong in any of their tabs."""
    people: list[Person] = []

    def made(**how: Any) -> Person:
        people.append(Person(browser, str(service.http.base_url), **how))
        return people[-1]

    yield made
    for one in people:
        one.leaves()
