"""A running service: one for the tests of a module that make vendors of their own, or one for a test alone."""

from collections.abc import Iterator

import pytest

from tests.conftest import SERVER
from tests.databases import database
from tests.service import Served, Service, service_process


@pytest.fixture(scope="module")
def service(pytestconfig: pytest.Config) -> Iterator[Service]:
    """Shared within a module: look at your own vendor only."""
    server = pytestconfig.stash[SERVER]
    with database(server.url, template=server.template) as url, Service(url) as service:
        yield service


@pytest.fixture
def own_service(database_url: str) -> Iterator[Service]:
    """Nobody else's: whole tables may be compared."""
    with Service(database_url) as service:
        yield service


@pytest.fixture(scope="module")
def second_process(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Another process on the same database."""
    with service_process(tmp_path_factory.mktemp("second") / "log", service.database_url) as second:
        yield second
