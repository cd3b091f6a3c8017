"""A reader waits for its own write, and no longer than it said."""

import asyncio
import time
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

from projections.positions import Waiter
from projections.read_model import Projector
from tests.projections.stories import MASTER_KEY, Store, enrolled
from tests.projections.test_read_model import running


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    store = Store(database_url).opened()
    yield store
    store.connection.close()


def test_a_write_is_waited_for(store: Store, database_url: str) -> None:
    async def write_and_wait() -> int:
        waiter = Waiter(database_url)
        await waiter.start()
        last = await asyncio.to_thread(store.append, ("card", uuid4(), [enrolled()]))
        reached = await waiter.wait_for(last, timeout_seconds=10)
        await waiter.stop()
        return reached - last

    with running(database_url):
        assert asyncio.run(write_and_wait()) >= 0


def test_waiting_ends_when_time_is_up(store: Store, database_url: str) -> None:
    async def wait() -> int:
        waiter = Waiter(database_url)
        await waiter.start()
        began = time.monotonic()
        reached = await waiter.wait_for(1_000_000, timeout_seconds=0.3)
        assert 0.2 < time.monotonic() - began < 5
        await waiter.stop()
        return reached

    assert asyncio.run(wait()) == Projector(database_url, MASTER_KEY).position == 0


def test_a_lost_connection_is_opened_again(store: Store, database_url: str) -> None:
    async def wait() -> int:
        waiter = Waiter(database_url)
        await waiter.start()
        await asyncio.sleep(0.2)
        with psycopg.connect(database_url, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND query ~ 'projected|projections'"
            )
            last = await asyncio.to_thread(Projector(database_url, MASTER_KEY).catch_up)
        reached = await waiter.wait_for(last, timeout_seconds=10)
        await waiter.stop()
        return reached - last

    assert asyncio.run(wait()) == 0
