"""The service and its database killed under load, with tills that ask again under the same key.

Nothing acknowledged may be missing, nothing may have happened twice, and nobody may have to help.
"""

import asyncio
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from ledger.recorder import LOCK_STORE
from migrations.local_postgres import LocalPostgres
from tests.callers import VENDOR, Till, ok
from tests.clock import eventually
from tests.databases import BIN_DIR, directory_for_servers
from tests.service import REAL, ServiceProcess, sealing, service_process

pytestmark = pytest.mark.faults

CLIENTS = 16
CARDS = 40
SERVICE_BACK_SECONDS = 3.0
DATABASE_BACK_SECONDS = 5.0
EXIT_SECONDS = 15.0
LOCK_SECONDS = 15.0


class Load:
    """Tills that stamp cards until they are told to stop, and insist on an answer to each command."""

    def __init__(self, till: Till, cards: list[str]) -> None:
        self._till, self._cards = till, cards
        self._stop = threading.Event()
        self._has_failed = False  # Then nobody insists any more.
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load")
        self.acknowledged: dict[str, dict[str, Any]] = {}
        self.acknowledged_at: list[float] = []
        self.replays = 0
        self.odd: list[str] = []

    def __enter__(self) -> "Load":
        self._thread.start()
        eventually(lambda: len(self.acknowledged) > 100, 30)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._has_failed = kind is not None
        self._stop.set()
        self._thread.join()

    def longest_silence_after(self, moment: float) -> float:
        """The longest time without an acknowledgement since a moment, once tills are served again as they were."""
        eventually(lambda: self._is_served_again(moment), 60)
        times = [moment, *(at for at in self.acknowledged_at if at > moment)]
        return max(after - before for before, after in pairwise(times))

    def _is_served_again(self, moment: float) -> bool:
        now = time.monotonic()
        return now - moment > 2 and sum(at > max(moment, now - 1) for at in self.acknowledged_at[-200:]) > 50

    async def _run(self) -> None:
        limits = httpx2.Limits(max_connections=CLIENTS)
        async with httpx2.AsyncClient(base_url=self._till.http.base_url, timeout=10, limits=limits) as http:
            await asyncio.gather(*(self._client(http, n) for n in range(CLIENTS)))

    async def _client(self, http: httpx2.AsyncClient, n: int) -> None:
        rng, m = random.Random(n), 0
        while not self._stop.is_set():
            m += 1
            await self._insist(http, f"client-{n}-command-{m}", rng.choice(self._cards))

    async def _insist(self, http: httpx2.AsyncClient, key: str, card: str) -> None:
        headers = {**self._till.headers, "Idempotency-Key": key}
        while not self._has_failed:
            try:
                answer = await http.post(
                    f"{VENDOR}/stamps", json={"card": card, "order_reference": key}, headers=headers
                )
            except httpx2.TransportError:
                await asyncio.sleep(0.1)
                continue
            if answer.status_code == 201:
                self.acknowledged[key] = answer.json()
                self.replays += "Idempotent-Replayed" in answer.headers
                self.acknowledged_at.append(time.monotonic())
                return
            if answer.status_code != 503 or "Retry-After" not in answer.headers:
                self.odd.append(answer.text)
            await asyncio.sleep(0.05)


@contextmanager
def embedded_service() -> Iterator[ServiceProcess]:
    """`loyalty-ledger run` with its own durable database, as somebody runs it who set nothing."""
    with directory_for_servers(in_memory=False) as directory:
        log, data = directory / "service.log", directory / "data"
        bin_dir = {} if BIN_DIR is None else {"LOYALTY_PG_BIN": str(BIN_DIR)}
        with service_process(log, command=(REAL, "run"), LOYALTY_DATA_DIR=str(data), **bin_dir) as service:
            service.database_url = (data / "postgres" / "owner").read_text().split("\n")[1]
            yield service
        eventually(lambda: not (data / "postgres" / "cluster" / "postmaster.pid").exists(), 30)


@contextmanager
def service_beside(server: LocalPostgres, folder: Path) -> Iterator[ServiceProcess]:
    """`loyalty-ledger run` with a durable database of somebody's own, and checkpoints."""
    url = server.start()
    with service_process(folder / "service.log", url, command=(REAL, "run"), **sealing(url, folder)) as service:
        yield service


def shop(service: ServiceProcess) -> tuple[Till, list[str]]:
    till = service.shop()
    program = till.program(stamps_target=1000)
    return till, [till.card(program["id"])["id"] for _ in range(CARDS)]


def nothing_lost_nothing_doubled(service: ServiceProcess, load: Load, title: str, *figures: str) -> None:
    assert load.odd == []
    assert service.differences() == []
    found = service.rows(
        "SELECT order_reference AS key, count(*) AS times, min(id::text) AS entry_id FROM loyalty_transactions"
        " WHERE transaction_type = 'stamp_earned' AND order_reference IS NOT NULL GROUP BY 1"
    )
    lost = set(load.acknowledged) - {row["key"] for row in found}
    doubled = [row["key"] for row in found if row["times"] > 1]
    assert (lost, doubled) == (set(), [])
    assert {row["key"] for row in found} == set(load.acknowledged)
    assert {row["entry_id"] for row in found} == {entry["entry_id"] for entry in load.acknowledged.values()}
    settled = f"{load.replays} found their first answer"
    print(f"\n{title}: {len(found)} commands, 0 lost, 0 doubled, {settled}, {', '.join(figures)}")  # noqa: T201


def worst(seconds: list[float]) -> str:
    return "back after " + ", ".join(f"{took:.1f}" for took in seconds) + " s"


def test_the_service_killed_and_started_again(durable_server: LocalPostgres, tmp_path: Path) -> None:
    with service_beside(durable_server, tmp_path) as service:
        till, cards = shop(service)
        back = []
        with Load(till, cards) as load:
            for _ in range(4):
                time.sleep(1)
                service.kill()
                killed = time.monotonic()
                service.start()
                back.append(load.longest_silence_after(killed))
            time.sleep(1)
        nothing_lost_nothing_doubled(service, load, "kill -9 of the service", worst(back))
        assert max(back) <= SERVICE_BACK_SECONDS


def test_the_service_with_its_own_database_killed_and_started_again() -> None:
    with embedded_service() as service:
        till, cards = shop(service)
        back = []
        with Load(till, cards) as load:
            for _ in range(3):
                time.sleep(1)
                service.kill()
                killed = time.monotonic()
                service.start()
                back.append(load.longest_silence_after(killed))
            time.sleep(1)
        nothing_lost_nothing_doubled(service, load, "kill -9 of the service with its database", worst(back))
        assert max(back) <= DATABASE_BACK_SECONDS


@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGKILL])
def test_the_database_stopped_at_once(how: signal.Signals) -> None:
    with embedded_service() as service:
        till, cards = shop(service)
        back = []
        with Load(till, cards) as load:
            for _ in range(4):
                time.sleep(1.5)
                killed = time.monotonic()
                os.kill(postmaster(service), how)
                back.append(load.longest_silence_after(killed))
            time.sleep(1)
        nothing_lost_nothing_doubled(service, load, f"{how.name} to PostgreSQL", worst(back))
        assert max(back) <= DATABASE_BACK_SECONDS
        eventually(lambda: service.http.get("/health/ready").status_code == 200)


def postmaster(service: ServiceProcess) -> int:
    """The server's pid, from its own file. It is rewritten at each start."""
    with psycopg.connect(service.database_url) as connection:
        row = connection.execute("SELECT pg_read_file('postmaster.pid')").fetchone()
    assert row is not None
    return int(row[0].split("\n")[0])


@pytest.mark.parametrize("where", ["its own database", "somebody's database"])
def test_an_orderly_stop_under_load(where: str, durable_server: LocalPostgres, tmp_path: Path) -> None:
    def story(service: ServiceProcess) -> None:
        till, cards = shop(service)
        with Load(till, cards) as load:
            time.sleep(1)
            assert service.process is not None
            began = time.monotonic()
            service.process.send_signal(signal.SIGTERM)
            code = service.process.wait(EXIT_SECONDS + 10)
            took = time.monotonic() - began
            assert not (service.log.parent / "data/postgres/cluster/postmaster.pid").exists(), "its database still runs"
            acknowledged = len(load.acknowledged)
            time.sleep(0.5)
            service.start().ready()
            time.sleep(1)
        nothing_lost_nothing_doubled(
            service,
            load,
            f"SIGTERM, {where}",
            f"{acknowledged} acknowledged by then",
            f"exit {code} after {took:.1f} s",
        )
        assert took < EXIT_SECONDS

    context = embedded_service() if where == "its own database" else service_beside(durable_server, tmp_path)
    with context as service:
        story(service)


def test_a_lock_held_for_long_stops_nobody_from_reading(durable_server: LocalPostgres, tmp_path: Path) -> None:
    with service_beside(durable_server, tmp_path) as service:
        till, cards = shop(service)
        longest = {"write": 0.0, "read": 0.0, "live": 0.0}

        def timed(what: str, ask: Callable[[], httpx2.Response], status: int) -> httpx2.Response:
            began = time.monotonic()
            answer = ask()
            longest[what] = max(longest[what], time.monotonic() - began)
            assert answer.status_code == status, answer.text
            return answer

        with psycopg.connect(service.database_url) as holder:
            holder.execute(LOCK_STORE)
            ends = time.monotonic() + LOCK_SECONDS
            while time.monotonic() < ends:
                refused = timed("write", lambda: till.stamp(cards[0], key="waits"), 503)
                assert int(refused.headers["Retry-After"]) >= 1
                timed("live", lambda: service.http.get("/health/live"), 200)
                timed("read", lambda: till.get(f"/cards/{cards[0]}"), 200)
                timed("read", lambda: till.get("/cards"), 200)
        assert ok(till.stamp(cards[0], key="waits"))["stamp_count"] == 1
        print(  # noqa: T201
            f"\nlock held {LOCK_SECONDS:.0f} s: refused after {longest['write']:.2f} s,"
            f" read in {longest['read'] * 1000:.0f} ms, live in {longest['live'] * 1000:.0f} ms"
        )
        assert longest["write"] < 3.0 and longest["live"] < 0.1 and longest["read"] < 0.5
