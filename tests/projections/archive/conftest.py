"""A sealed store, archives of it, and a database to load them into."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.conftest import SERVER
from tests.databases import database
from tests.projections.archive.archives import Scene, code_of, filled, made, signer
from tests.projections.proofs.sealing import SealedStore


@pytest.fixture(scope="module")
def scene(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Several vendors and checkpoints, a rotated key, a tail that is not sealed; and a database with nothing in it."""
    server, folder = pytestconfig.stash[SERVER], tmp_path_factory.mktemp("scene")
    with (
        database(server.url, template=server.template) as url,
        database(server.url, template=server.template) as empty_url,
    ):
        store = SealedStore(url, folder / "keys" / "sealing_key")
        store.stamp(uuid4())
        store.seal()
        old_key = signer(store)
        filled(store)
        yield Scene(
            store, old_key, made(store, folder), made(store, folder, code=code_of(store), name="vendors"), empty_url
        )


@pytest.fixture
def empty_url(pytestconfig: pytest.Config) -> Iterator[str]:
    server = pytestconfig.stash[SERVER]
    with database(server.url, template=server.template) as url:
        yield url


@pytest.fixture
def store(database_url: str, tmp_path: Path) -> SealedStore:
    store = SealedStore(database_url, tmp_path / "keys" / "sealing_key")
    store.fill()
    return store
