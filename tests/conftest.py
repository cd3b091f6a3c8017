"""What every test may ask for. The database server starts once, before the workers do, and they share it."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import hypothesis
import pytest

from migrations.local_postgres import LocalPostgres
from tests.databases import database, durable_server, shared_server

# The same examples each time, so that a run says something about a change. `--hypothesis-profile=explore` looks for new
# ones: what it finds becomes an @example or a test.
# A machine may be busy: how long an example takes says nothing.
PATIENT = {"print_blob": True, "deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("steady", derandomize=True, **PATIENT)
hypothesis.settings.register_profile("explore", **PATIENT)
hypothesis.settings.load_profile("steady")


class Server(NamedTuple):
    url: str
    template: str  # A database at the newest revision, for copying.


SERVER = pytest.StashKey[Server]()

LONG = ("test_tills_in_any_order_with_crashes_in_between", "test_a_killed_import_goes_on_where_it_was")


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        config.stash[SERVER] = Server(*config.workerinput["server"])
        return
    if config.option.collectonly or config.option.help:
        return
    resources = ExitStack()
    config.add_cleanup(resources.close)
    url = resources.enter_context(shared_server())
    template_url = resources.enter_context(database(url, upgraded=True))
    config.stash[SERVER] = Server(url, urlsplit(template_url).path.removeprefix("/"))


@pytest.hookimpl(optionalhook=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest ones first: else one process still works on them when all others are done."""
    items.sort(key=lambda item: not item.nodeid.endswith(LONG))


def pytest_xdist_auto_num_workers() -> int:
    """Two for each processor: half of the time a test waits, for a phone, a lock, or a process that starts."""
    return 2 * (os.cpu_count() or 1)


def pytest_configure_node(node: Any) -> None:
    node.workerinput["server"] = tuple(node.config.stash[SERVER])


@pytest.fixture(scope="session")
def server_url(pytestconfig: pytest.Config) -> str:
    """The server of this run, as superuser: for databases a test wants to make itself."""
    return pytestconfig.stash[SERVER].url


@pytest.fixture
def database_url(pytestconfig: pytest.Config) -> Iterator[str]:
    """A database of this test's own at the newest revision. The user owns everything in it."""
    server = pytestconfig.stash[SERVER]
    with database(server.url, template=server.template) as url:
        yield url


@pytest.fixture
def empty_database_url(server_url: str) -> Iterator[str]:
    """A database of this test's own without anything in it."""
    with database(server_url) as url:
        yield url


@pytest.fixture(name="durable_server")
def durable_server_of_a_test() -> Iterator[LocalPostgres]:
    with durable_server() as server:
        yield server
