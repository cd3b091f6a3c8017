"""The same at a size of years: many cards with a long history, beside ten thousand.

Histories are written by `population`, in as many processes as there are cores, without passing through the service.
"""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from statistics import median

import psycopg

from tests.benchmarks import load, plain_sql
from tests.benchmarks.bench import Bench, Shop
from tests.benchmarks.figures.stamps import stamping
from tests.benchmarks.figures.tables import rebuild_figure, rebuilt
from tests.benchmarks.measuring import Figure, Window, at_most, compared, ratios, spaced
from tests.benchmarks.population import populate
from tests.benchmarks.servers import service, wait_for_seal, wait_for_tables, whole_service

NAME = "growth"
SMALL_CARDS = 10_000


def measure(bench: Bench, *, cards: int, events: int) -> list[Figure]:
    each = max(events // cards, 1)
    sizes = {"small": (SMALL_CARDS, 1), "large": (cards, each)}
    made: dict[str, list[str]] = {}
    with ExitStack() as stack:
        urls = {size: stack.enter_context(bench.database("fast", upgraded=True)) for size in sizes}
        shops: dict[str, Shop] = {}
        for size, (count, events_each) in sizes.items():
            with service(urls[size], "serve") as running:
                shops[size] = Shop.opened(running)
            began = time.monotonic()
            processes = 1 if count <= SMALL_CARDS else os.cpu_count() or 1
            made[size] = populate(shops[size].place, count, events_each, processes=processes, say=bench.say)
            took, size_ = time.monotonic() - began, _gigabytes(urls[size])
            bench.say(f"{count:,} cards of {events_each} events in {took:.0f} s: {size_:.2f} GB")
        rebuilt(urls["small"])
        ours = [_said(bench, "rebuild", rebuilt(urls["large"]))]
        sql = [_said(bench, "plain SQL", plain_sql.rebuild(urls["large"]))]
        bench.say(f"with its tables: {_gigabytes(urls['large']):.2f} GB")
        figures = [rebuild_figure(f"rebuild of {spaced(cards * each)} events ÷ plain SQL", ours, sql)]
        running_shops = {
            size: Shop(shop.till.at(stack.enter_context(whole_service(urls[size])).http), shop.program_id, urls[size])
            for size, shop in shops.items()
        }
        for size, shop in running_shops.items():
            _said(bench, f"sealed, {size}", wait_for_seal(shop.database_url))
            _said(bench, f"vacuumed, {size}", _vacuumed(shop.database_url))
        figures += _stamps(bench, running_shops, made, f"{spaced(cards)} cards, {spaced(cards * each)} events")
    return figures


def _gigabytes(url: str) -> float:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    assert row is not None
    return float(row[0] / 1e9)


def _vacuumed(url: str) -> float:
    """What PostgreSQL would do by itself in the minutes after so much was written."""
    began = time.monotonic()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")
    return time.monotonic() - began


def _said(bench: Bench, what: str, seconds: float) -> float:
    bench.say(f"{what}: {seconds:.1f} s")
    return seconds


def _stamps(bench: Bench, shops: dict[str, Shop], made: dict[str, list[str]], at: str) -> list[Figure]:
    # As many different cards on both sides: what differs is how much lies around them.
    drawn = {size: cards[:: max(len(cards) // SMALL_CARDS, 1)][:SMALL_CARDS] for size, cards in made.items()}

    def stamps(size: str, rate: float | None = None) -> Window:
        wait_for_tables(shops[size].database_url)
        asking = stamping(shops[size], drawn[size], seconds=bench.seconds)
        return load.run(replace(asking, rate=rate))

    def windows(rate: float | None) -> dict[str, Callable[[], Window]]:
        return {size: partial(stamps, size, rate) for size in ("large", "small")}

    saturated = bench.interleave(windows(None))
    half = median(window.rate for window in saturated["small"]) / 2
    paced = bench.interleave(windows(half))
    return [
        compared(
            NAME,
            f"stamps a second at {at} ÷ at 10 000 cards",
            ("large", saturated["large"]),
            ("small", saturated["small"]),
        ),
        _p99(f"stamp p99, saturated, at {at} ÷ at 10 000 cards", saturated),
        _p99(f"stamp p99, half load, at {at} ÷ at 10 000 cards", paced),
    ]


def _p99(name: str, windows: dict[str, list[Window]]) -> Figure:
    large, small = ([window.p99 for window in windows[size]] for size in ("large", "small"))
    note = f"large {median(large):.1f} ms, small {median(small):.1f} ms"
    return Figure(NAME, name, ratios(large, small), at_most(1.3), note=note)
