"""Everything verified and checked at a size of years, by one core that the database has its part of too.

The history is the demo's, with its corrections and refusals, and as many stamps and purchases as there is room for.
"""

import subprocess
import sys
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
        return [
            figure
            for what, goal in (("verify", 30.0), ("check", 60.0), ("card", 0.2))
            for figure in _figures(bench, what, goal, made, url, key_file, long)
        ]


def _figures(bench: Bench, what: str, goal: float, made: int, url: str, key_file: Path, card: str) -> list[Figure]:
    command = [sys.executable, "-m", "tests.benchmarks.auditing", what, url, str(key_file), card]
    runs = []
    for number in range(bench.rounds):
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, check=True)
        runs.append(orjson.loads(done.stdout))
        bench.say(f"round {number + 1}/{bench.rounds}: {what}: {runs[-1]}")
    names = {
        "verify": f"`verify` of {spaced(made)} events",
        "check": f"`check` of {spaced(made)} events",
        "card": f"a card of {spaced(LONG)} events read and verified",
    }
    note = f"processor {runs[-1]['cpu']:.1f} s in Python, peak {runs[-1]['peak']:.0f} MB"
    seconds = Figure(NAME, names[what], [run["seconds"] for run in runs], at_most(goal), "s", note)
    if what == "card":
        return [seconds]
    grown = [run["grown"] for run in runs]
    return [seconds, Figure(NAME, f"memory of `{what}`: the second half over the first", grown, None, "MB")]
