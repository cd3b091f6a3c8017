"""Making one event durable, asked for by many at once: ours, the database's own speed, and the library's.

The goals are for the recorder. Commands of one event go through the Committer, which also keeps states and keys.
"""

from functools import partial

from tests.benchmarks import appends, pgbench
from tests.benchmarks.bench import Bench
from tests.benchmarks.measuring import Figure, Goal, at_least, compared

NAME = "appends"
CLIENTS = {"fast": 16, "slow": 32}
GOALS: dict[str, dict[str, Goal]] = {
    "fast": {"pg-a": at_least(0.6), "pg-b": at_least(1.3), "stock": at_least(8)},
    "slow": {"pg-a": at_least(0.45), "stock": at_least(12)},
}


def measure(bench: Bench) -> list[Figure]:
    return [figure for kind in CLIENTS for figure in _on(bench, kind)]


def _on(bench: Bench, kind: str) -> list[Figure]:
    clients = CLIENTS[kind]
    with (
        bench.database(kind, upgraded=True) as ours,
        bench.database(kind) as pgbench_url,
        bench.database(kind) as stock,
    ):
        pgbench.prepare(pgbench_url)
        database = partial(pgbench.run, pgbench_url, clients=clients, seconds=bench.seconds)
        append = partial(appends.run, clients=clients, seconds=bench.seconds)
        measured = bench.interleave(
            {
                "pg-a": lambda: database(pgbench.INSERT_EVENT),
                "committer": lambda: append("committer", ours),
                "pg-b": lambda: database(pgbench.INSERT_AND_UPDATE),
                "stock": lambda: append("stock", stock),
                "recorder": lambda: append("recorder", ours),
            }
        )
    place = f"{clients} submitters, {kind}"
    recorder, committer = ("recorder", measured["recorder"]), ("committer", measured["committer"])
    figures = []
    for other in ("pg-a", "pg-b", "stock"):
        beside, goal = (other, measured[other]), GOALS[kind].get(other)
        figures.append(compared(NAME, f"recorder appends, {place} ÷ {other}", recorder, beside, goal))
    for other in ("pg-a", "pg-b", "stock"):
        beside = (other, measured[other])
        figures.append(compared(NAME, f"commands of one event, {place} ÷ {other}", committer, beside))
    return figures
