"""A stamp over HTTP with everything: key, validation, rules, retry, chain, durable, the projector beside it.

Beside it the database's own speed, FastAPI doing nothing, and a plain table with a row lock.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from tests.benchmarks import load, pgbench
from tests.benchmarks.bench import Bench, Shop
from tests.benchmarks.load import Asking
from tests.benchmarks.measuring import Figure, Goal, Window, at_least, at_most, compared
from tests.benchmarks.servers import peer, prepare_crud, wait_for_tables, whole_service
from tests.callers import VENDOR

NAME = "stamps"
CARDS = 10_000
CLIENTS = (1, 16, 32, 128)
MAIN_CLIENTS = 32
STAMP = '{"card": "CARD", "count": 1}'
DATABASE_GOALS: dict[str, Goal] = {"fast": at_least(0.7), "slow": at_least(0.35)}


def measure(bench: Bench) -> list[Figure]:
    return [figure for kind in ("fast", "slow") for figure in _on(bench, kind)]


def stamping(shop: Shop, cards: list[str], *, seconds: float, clients: int = MAIN_CLIENTS) -> Asking:
    """Stamps of these cards with the shop's key."""
    port = shop.till.http.base_url.port
    assert port is not None
    return Asking(port, f"{VENDOR}/stamps", shop.till.headers, STAMP, cards, clients, seconds)


def _on(bench: Bench, kind: str) -> list[Figure]:
    with (
        bench.database(kind, upgraded=True) as ours,
        bench.database(kind) as pgbench_url,
        bench.database(kind) as crud_url,
        whole_service(ours) as running,
    ):
        pgbench.prepare(pgbench_url)
        shop = Shop.opened(running)
        cards = shop.cards(CARDS)
        prepare_crud(crud_url, cards)
        with (
            peer("tests.benchmarks.peers.fastapi_noop") as noop,
            peer("tests.benchmarks.peers.crud_stamp", crud_url) as crud,
        ):
            return _figures(bench, kind, shop, pgbench_url, noop, crud, cards)


def _figures(
    bench: Bench, kind: str, shop: Shop, pgbench_url: str, noop: int, crud: int, known: list[str]
) -> list[Figure]:
    database = partial(pgbench.run, pgbench_url, pgbench.INSERT_AND_UPDATE, seconds=bench.seconds)

    def stamps(clients: int, rate: float | None = None) -> Window:
        cards = shop.rested(CARDS)
        wait_for_tables(shop.database_url)
        asking = stamping(shop, cards, seconds=bench.seconds, clients=clients)
        return load.run(replace(asking, rate=rate))

    def of_peer(port: int) -> Window:
        return load.run(Asking(port, "/stamps", {}, STAMP, known, MAIN_CLIENTS, bench.seconds))

    levels = (MAIN_CLIENTS,) if bench.is_quick else CLIENTS
    windows: dict[str, Callable[[], Window]] = {}
    for clients in levels:
        windows[f"pg-b, {_at(clients, kind)}"] = partial(database, clients=clients)
        windows[f"stamps, {_at(clients, kind)}"] = partial(stamps, clients)
    windows[f"CRUD, {MAIN_CLIENTS} clients, {kind}"] = partial(of_peer, crud)
    if kind == "fast":
        windows[f"FastAPI no-op, {MAIN_CLIENTS} clients"] = partial(of_peer, noop)
    measured = bench.interleave(windows)

    figures = []
    for clients in levels:
        at = _at(clients, kind)
        goal = DATABASE_GOALS[kind] if clients == MAIN_CLIENTS else None
        ours = ("stamps", measured[f"stamps, {at}"])
        figures.append(compared(NAME, f"stamp, {at} ÷ pg-b", ours, ("pg-b", measured[f"pg-b, {at}"]), goal))
    at = _at(MAIN_CLIENTS, kind)
    saturated = measured[f"stamps, {at}"]
    if kind == "fast":
        no_op = ("no-op", measured[f"FastAPI no-op, {MAIN_CLIENTS} clients"])
        name = f"stamp, {at} ÷ FastAPI no-op"
        figures.append(compared(NAME, name, ("stamps", saturated), no_op, at_least(0.5)))
    plain = ("CRUD", measured[f"CRUD, {at}"])
    figures.append(compared(NAME, f"stamp, {at} ÷ CRUD", ("stamps", saturated), plain, at_least(5)))
    half = sorted(window.rate for window in saturated)[len(saturated) // 2] / 2
    paced = bench.interleave({f"half load, {half:,.0f}/s, {kind}": partial(stamps, MAIN_CLIENTS, half)})
    is_goal = kind == "fast"
    figures.append(_p99(f"stamp, {at}, saturated: p99", saturated, at_most(25) if is_goal else None))
    for windows_ in paced.values():
        figures.append(_p99(f"stamp, {at}, half load: p99", windows_, at_most(10) if is_goal else None))
    return figures


def _at(clients: int, kind: str) -> str:
    return f"{clients} client{'s' if clients > 1 else ''}, {kind}"


def _p99(name: str, windows: list[Window], goal: Goal | None) -> Figure:
    longest = max(window.longest for window in windows)
    p50 = sorted(window.p50 for window in windows)[len(windows) // 2]
    note = f"p50 {p50:.2f} ms, longest of all {longest:.0f} ms"
    return Figure(NAME, name, [window.p99 for window in windows], goal, "ms", note)
