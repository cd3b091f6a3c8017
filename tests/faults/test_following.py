"""Readers beside writers who clash: whoever follows the stream misses nothing, even where the database goes away."""

import os
import signal
import time
from collections import Counter
from contextlib import ExitStack
from itertools import pairwise

import pytest

from migrations.local_postgres import LocalPostgres
from migrations.upgrade import upgrade
from tests.clock import eventually
from tests.faults.writers import (
    PROCESSES,
    SHARED_CARDS,
    TILLS_EACH,
    AsASubscriber,
    AsTheProjector,
    Written,
    nothing_missed_and_nothing_twice,
    writing,
)
from tests.ledgers import rows

pytestmark = pytest.mark.faults

SECONDS = 60.0
STOPS = 3
CAUGHT_UP_SECONDS = 10.0
DATABASE_BACK_SECONDS = 5.0
LAST_POSITION = "SELECT max(notification_id) FROM stored_events"


def test_readers_beside_two_processes_on_the_same_cards(durable_server: LocalPostgres) -> None:
    follow(durable_server, stops=0)


def test_readers_and_tills_go_on_after_the_database_stopped_at_once(durable_server: LocalPostgres) -> None:
    follow(durable_server, stops=STOPS)


def follow(server: LocalPostgres, *, stops: int) -> None:
    url = server.start()
    upgrade(url)
    stopped_at = []
    with ExitStack() as stack:
        tails = [stack.enter_context(tail(url)) for tail in (AsTheProjector, AsASubscriber)]
        with writing(url, SECONDS) as processes:
            for _ in range(stops):
                time.sleep(SECONDS / (stops + 1))
                stopped_at.append(stop_at_once(server))
                server.start()
            written = [process.result(SECONDS + 90) for process in processes]
        (last,) = rows(url, LAST_POSITION)[0]
        caught_up = eventually(lambda: all(tail.position >= last for tail in tails), CAUGHT_UP_SECONDS)
    events = nothing_missed_and_nothing_twice(url, tails, written)

    commands = sum(len(process.told) for process in written)
    troubles = sum((process.troubles for process in written), Counter[str]())
    assert all(len(process.told) > 1_000 for process in written) and troubles["clashes"] > 100
    assert len(stopped_at) == stops and all(tail.interruptions >= stops for tail in tails)
    title = f"{PROCESSES} processes with {TILLS_EACH} tills each on {SHARED_CARDS} cards"
    figures = [
        f"{commands} commands, 0 lost, 0 doubled",
        f"{troubles['clashes']} clashes",
        f"2 readers met {events} events, 0 missed, 0 out of order",
        f"caught up after {caught_up:.1f} s",
    ]
    if stops:
        back = [silence_after(moment, written) for moment in stopped_at]
        title += f", PostgreSQL stopped at once {stops} times"
        figures.append("tills served again after " + ", ".join(f"{took:.1f}" for took in back) + " s")
        figures.append(f"{sum(n for what, n in troubles.items() if 'again' in what)} asked again")
        assert max(back) <= DATABASE_BACK_SECONDS
    print(f"\n{title}, {SECONDS:.0f} s: {', '.join(figures)}")  # noqa: T201


def stop_at_once(server: LocalPostgres) -> float:
    """PostgreSQL's immediate stop. Returns when."""
    assert server.pid is not None
    moment = time.monotonic()
    os.kill(server.pid, signal.SIGQUIT)
    eventually(lambda: server.pid is None)
    return moment


def silence_after(moment: float, written: list[Written]) -> float:
    """The longest time without an answer in the ten seconds from a moment."""
    times = sorted(told.at for process in written for told in process.told if moment < told.at < moment + 10)
    return max(after - before for before, after in pairwise([moment, *times]))
