"""A rebuilt table is the live one again: same rows, same shape, whatever goes on meanwhile."""

import threading
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

from projections import rebuild as rebuild_module
from projections.check import check
from projections.read_model import PoisonEvent, Projector
from projections.rebuild import TABLES, RebuildIsRunning, TablesAreBusy, rebuild
from tests.migrations.test_upgrade import shape
from tests.projections.stories import MASTER_KEY, Store, busy_days, enrolled
from tests.projections.test_read_model import poisoned, running


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    store = Store(database_url).opened()
    busy_days(store, cards=8, rounds=40)
    Projector(database_url, MASTER_KEY).catch_up()
    yield store
    store.connection.close()


def test_everything_emptied_and_rebuilt_is_equal_in_rows_and_shape(store: Store, database_url: str) -> None:
    live, before = store.tables(), shape(database_url)
    assert all(live[name] for name in TABLES if name != "apple_device_registrations")
    for table in TABLES:
        store.connection.execute(f"TRUNCATE {table}")
    told: list[tuple[int, int]] = []
    position = rebuild(database_url, MASTER_KEY, progress=lambda *at: told.append(at))
    assert store.tables() == live
    assert shape(database_url) == before
    assert told[-1] == (position, position)


@pytest.mark.parametrize("table", TABLES)
def test_each_table_alone_can_be_rebuilt(store: Store, database_url: str, table: str) -> None:
    live, before = store.tables(), shape(database_url)
    store.connection.execute(f"TRUNCATE {table}")
    store.append(("card", uuid4(), [enrolled()]))  # Not projected yet: the table must not run ahead of the others.
    rebuild(database_url, MASTER_KEY, [table])
    assert store.tables() == live
    assert shape(database_url) == before
    Projector(database_url, MASTER_KEY).catch_up()
    assert check(database_url, MASTER_KEY) == []


def test_tables_are_rebuilt_while_writes_go_on(store: Store, database_url: str) -> None:
    stop = threading.Event()

    def write() -> None:
        other = Store(database_url, store.vendor_id)
        other.program_id = store.program_id
        while not stop.is_set():
            busy_days(other, cards=2, rounds=5, seed=7)
        other.connection.close()

    writer = threading.Thread(target=write)
    with running(database_url):
        writer.start()
        try:
            for _ in range(3):
                rebuild(database_url, MASTER_KEY)
                rebuild(database_url, MASTER_KEY, ["loyalty_cards"])
        finally:
            stop.set()
            writer.join()
    Projector(database_url, MASTER_KEY).catch_up()
    assert check(database_url, MASTER_KEY) == []


def test_a_rebuild_of_everything_runs_ahead_of_a_late_projector(store: Store, database_url: str) -> None:
    last = store.append(("card", uuid4(), [enrolled()]))
    assert rebuild(database_url, MASTER_KEY) == last
    assert store.rows("SELECT position FROM projections")[0]["position"] == last
    assert Projector(database_url, MASTER_KEY).catch_up() == last
    assert check(database_url, MASTER_KEY) == []


def test_only_one_rebuild_at_a_time(store: Store, database_url: str) -> None:
    store.connection.execute("SELECT pg_advisory_lock(%s)", (rebuild_module.LOCK,))
    with pytest.raises(RebuildIsRunning):
        rebuild(database_url, MASTER_KEY)


def test_a_poison_event_leaves_the_old_tables(store: Store, database_url: str) -> None:
    live = store.tables()
    poisoned(store)
    with pytest.raises((PoisonEvent, psycopg.DataError)):
        rebuild(database_url, MASTER_KEY)
    assert store.tables() == live


def test_a_table_that_is_always_read_is_left_as_it_was(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild_module, "SWAP_TRIES_MAX", 2)
    monkeypatch.setattr(rebuild_module, "SWAP_LOCK_TIMEOUT", "50ms")
    before = shape(database_url)
    with store.connection.transaction():
        store.connection.execute("SELECT count(*) FROM loyalty_cards")
        with pytest.raises(TablesAreBusy):
            rebuild(database_url, MASTER_KEY)
    assert shape(database_url) == before


def test_what_cannot_be_rebuilt_is_named(database_url: str) -> None:
    with pytest.raises(ValueError, match="streams"):
        rebuild(database_url, MASTER_KEY, ["streams"])
