"""The query tables: catching up, being made anew, and following a steady load.

Beside ours the library's runner with one event a transaction, and PostgreSQL left alone with SQL.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from statistics import median

import psycopg

from projections.read_model import BATCH_EVENTS_MAX, Projector
from projections.rebuild import TABLES, rebuild
from tests.benchmarks import load, plain_sql, stock
from tests.benchmarks.bench import Bench, Shop
from tests.benchmarks.figures.stamps import CARDS, stamping
from tests.benchmarks.load import percentile
from tests.benchmarks.measuring import Figure, Window, at_least, at_most, compared, ratios, spaced
from tests.benchmarks.servers import service, wait_for_tables, whole_service
from tests.service import MASTER_KEY

NAME = "tables"
EVENTS_EACH = 10
STEADY_RATE = 1_000.0
EMPTY = "TRUNCATE {}"
FROM_THE_START = "UPDATE projections SET position = 0, holder = NULL, lease_until = NULL"


def measure(bench: Bench) -> list[Figure]:
    return [*_histories(bench), *_following(bench)]


def _histories(bench: Bench) -> list[Figure]:
    events = 20_000 if bench.is_quick else 100_000
    with bench.database("fast", upgraded=True) as url, bench.database("fast") as stock_url:
        with service(url, "serve") as running:
            shop = Shop.opened(running)
        bench.say(f"writing {events:,} events")
        shop.cards(events // EVENTS_EACH, EVENTS_EACH)
        stock.prepare(stock_url)
        measured = bench.interleave(
            {
                "stock runner, events": lambda: stock.catch_up(stock_url, seconds=bench.seconds),
                "catch-up, events": lambda: Window(_caught_up(url)),
                "plain SQL in batches, events": lambda: Window(plain_sql.catch_up(url, batch=BATCH_EVENTS_MAX)),
            }
        )
        took = bench.interleave(
            {"rebuild, seconds": lambda: rebuilt(url), "plain SQL, seconds": lambda: plain_sql.rebuild(url)}
        )
    ours = ("ours", measured["catch-up, events"])
    runner = ("stock", measured["stock runner, events"])
    batches = ("SQL", measured["plain SQL in batches, events"])
    return [
        compared(NAME, "projection catch-up ÷ stock runner", ours, runner, at_least(20)),
        compared(NAME, "projection catch-up ÷ plain SQL", ours, batches, at_least(0.5)),
        rebuild_figure(
            f"rebuild of {spaced(events)} events ÷ plain SQL", took["rebuild, seconds"], took["plain SQL, seconds"]
        ),
    ]


def rebuild_figure(name: str, ours: list[float], sql: list[float]) -> Figure:
    note = f"ours {median(ours):.2f} s, SQL {median(sql):.2f} s"
    return Figure(NAME, name, ratios(ours, sql), at_most(1.5), note=note)


def rebuilt(url: str) -> float:
    """Seconds to make every table anew."""
    began = time.monotonic()
    rebuild(url, MASTER_KEY)
    return time.monotonic() - began


def _caught_up(url: str) -> float:
    """Events a second from empty tables to the last event."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(EMPTY.format(", ".join(TABLES)))
        connection.execute(FROM_THE_START)
    began = time.monotonic()
    events = Projector(url, MASTER_KEY).catch_up()
    return events / (time.monotonic() - began)


# ------------------------------------------------------------------ following


def _following(bench: Bench) -> list[Figure]:
    """From the answer a till gets to the moment its entry stands in the tables; and from the moment it asked."""
    with bench.database("fast", upgraded=True) as url, whole_service(url) as running:
        shop = Shop.opened(running)

        def follow() -> dict[str, float]:
            cards = shop.rested(CARDS)
            wait_for_tables(url)
            asking = stamping(shop, cards, seconds=bench.seconds)
            with _projected(url) as arrivals:
                told = load.ask(replace(asking, rate=STEADY_RATE, keeps_positions=True))
                wait_for_tables(url)
                time.sleep(0.1)
            if told.odd:
                bench.say(f"NOT AS IT SHOULD BE: {dict(told.statuses)} {told.odd}")
            return {"kept up with": len(told.latencies) / bench.seconds, **_delays(told.positions, arrivals)}

        measured = bench.interleave({"answered to projected": follow})["answered to projected"]
    note = f"kept up with {_middle(measured, 'kept up with'):,.0f}/s; from when the request was due"
    note += f" p50 {_middle(measured, 'asked p50'):.2f} ms, p99 {_middle(measured, 'asked p99'):.2f} ms"
    name = f"answered → projected at {STEADY_RATE:.0f}/s"
    return [
        Figure(NAME, f"{name}: p50", [m["answered p50"] for m in measured], at_most(3), "ms", note),
        Figure(NAME, f"{name}: p99", [m["answered p99"] for m in measured], at_most(15), "ms"),
    ]


def _middle(measured: list[dict[str, float]], name: str) -> float:
    return median(m[name] for m in measured)


@contextmanager
def _projected(url: str) -> Iterator[list[tuple[float, int]]]:
    """When the projector told of which position: a list that grows while the block lasts."""
    arrivals: list[tuple[float, int]] = []
    listener = subprocess.Popen(
        [sys.executable, "-m", __name__, url], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    assert listener.stdout is not None and listener.stdin is not None
    listener.stdout.readline()
    try:
        yield arrivals
    finally:
        listener.stdin.close()
        arrivals += [tuple(arrival) for arrival in json.loads(listener.stdout.read() or "[]")]
        listener.wait(30)


def _delays(answers: list[tuple[int, float, float]], arrivals: list[tuple[float, int]]) -> dict[str, float]:
    """Milliseconds; an entry that was projected before its till had the answer waited for nothing."""
    since_asked, since_answered = [], []
    at = 0
    for position, asked, answered in sorted(answers):
        while arrivals[at][1] < position:
            at += 1
        since_asked.append((arrivals[at][0] - asked) * 1000)
        since_answered.append(max(arrivals[at][0] - answered, 0.0) * 1000)
    delays = {"asked": sorted(since_asked), "answered": sorted(since_answered)}
    return {f"{name} p{n}": percentile(times, n / 100) for name, times in delays.items() for n in (50, 99)}


def _listen(url: str) -> None:
    """Runs in a process of its own until its input ends."""
    stop = threading.Event()
    arrivals: list[tuple[float, int]] = []
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("LISTEN projected")
        print("listening", flush=True)  # noqa: T201
        threading.Thread(target=_stop_with_input, args=(stop,), daemon=True).start()
        while not stop.is_set():
            for notice in connection.notifies(timeout=0.1):
                arrivals.append((time.monotonic(), int(notice.payload)))
    print(json.dumps(arrivals))  # noqa: T201


def _stop_with_input(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()


if __name__ == "__main__":
    _listen(sys.argv[1])
