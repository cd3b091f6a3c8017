"""A store to be sealed, with a little history."""

from pathlib import Path

import pytest

from tests.projections.proofs.sealing import SealedStore


@pytest.fixture
def store(database_url: str, tmp_path: Path) -> SealedStore:
    store = SealedStore(database_url, tmp_path / "keys" / "sealing_key")
    store.fill()
    return store
