"""Everything verified and checked at a size of years, by one core that the database has its part of too.

The history is the demo's, with its corrections and refusals, and as many stamps and purchases as there is room for.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
from psycopg import connect

from api.demo import seed
from api.logs import configure
from projections.proofs.sealer import Sealer
from projections.rebuild import rebuild
from tests.benchmarks.bench import Bench, Shop
from tests.benchmarks.measuring import Figure, at_most, spaced
from tests.benchmarks.servers import service
from tests.databases import directory_for_servers
from tests.service import MASTER_KEY

NAME = "audit"
EVENTS_EACH = 100
LONG = 5_000
SECONDS_MAX = 1_800
MEGABYTE = 2**20


def measure(bench: Bench, *, events: int) -> list[Figure]:
    with bench.database("fast", upgraded=True) as url, directory_for_servers(in_memory=False) as directory:
        configure("json", "error")
        key_file = directory / "sealing_key"
        seed(url, MASTER_KEY, progress=lambda _done, _all: None)
        bench.say("the demo's history is made")
        with service(url, "serve") as running:
            shop = Shop.opened(running)
        shop.cards(max((events - LONG) // EVENTS_EACH, 1), EVENTS_EACH)
        (long,) = shop.cards(1, LONG)
        rebuild(url, MASTER_KEY)
        Sealer(url, key_file, new_key_name="bench.example/ledger").catch_up()
        with connect(url) as connection:
            made = int((connection.execute("SELECT count(*) FROM stored_events").fetchone() or (0,))[0])
        bench.say(f"{made:,} events are made, projected and sealed")
        return [*_audited(bench, made, url, key_file, long), *_archived(bench, made, url, key_file)]


def _audited(bench: Bench, made: int, url: str, key_file: Path, card: str) -> Iterator[Figure]:
    named = f"of {spaced(made)} events"
    for what, name, goal in (("verify", f"`verify` {named}", 30.0), ("check", f"`check` {named}", 60.0)):
        yield from _figures(name, goal, [_run(bench, what, url, key_file) for _ in range(bench.rounds)])
    runs = [_run(bench, "card", url, key_file, card) for _ in range(bench.rounds)]
    yield _figures(f"a card of {spaced(LONG)} events read and verified", 0.2, runs)[0]


def _archived(bench: Bench, made: int, url: str, key_file: Path) -> Iterator[Figure]:
    """Everything into a file, and from the file into an empty service; once, for that takes minutes."""
    archive = key_file.with_name("everything.ndjson")
    runs = {what: _run(bench, what, url, key_file, str(archive)) for what in ("archive make", "archive verify")}
    with bench.database("fast", upgraded=True) as empty:
        runs["archive load"] = _run(bench, "archive load", empty, key_file, str(archive))
    size = f"; the file has {archive.stat().st_size / MEGABYTE:.0f} MB"
    for what, measured in runs.items():
        yield from _figures(f"`{what}` of {spaced(made)} events", None, [measured], size)
        size = ""


def _run(bench: Bench, what: str, url: str, key_file: Path, subject: str = "-") -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.auditing", what, url, str(key_file), subject]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, check=True)
    run: dict[str, float] = orjson.loads(done.stdout)
    bench.say(f"{what}: {run}")
    return run


def _figures(name: str, goal: float | None, runs: list[dict[str, float]], more: str = "") -> tuple[Figure, Figure]:
    note = f"processor {runs[-1]['cpu']:.1f} s in Python, peak {runs[-1]['peak']:.0f} MB{more}"
    seconds = [run["seconds"] for run in runs]
    grown = [run["grown"] for run in runs]
    return (
        Figure(NAME, name, seconds, at_most(goal) if goal else None, "s", note),
        Figure(NAME, f"memory of {name}: the second half over the first", grown, None, "MB"),
    )
