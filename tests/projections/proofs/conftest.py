"""A store to be sealed, with a little history."""

from pathlib import Path

import pytest

from tests.projections.proofs.sealing import SealedStore


@pytest.fixture
def store(database_url: str, tmp_path: Path) -> SealedStore:
    store = SealedStore(database_url, tmp_path / "keys" / "sealing_key")
    store.fill()
    return store


@pytest.fixture
def sealed(store: SealedStore) -> SealedStore:
    """More events than stand in one tile, and a card of ten among them, under many checkpoints."""
    store.fill(rounds=40, seed=2)
    store.stamp(count=9)
    store.fill(rounds=30, seed=3)
    store.seal(events_max=50)
    return store
