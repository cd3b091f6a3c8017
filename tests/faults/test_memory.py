"""The service's memory: however many cards there are and however many ask at once, it stays small."""

import asyncio
import json
import random
import resource
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psutil
import psycopg
import pytest

from ledger.recorder import LOCK_STORE
from migrations.local_postgres import LocalPostgres
from tests.benchmarks.load import Asking, ask
from tests.benchmarks.population import Place, populate
from tests.callers import VENDOR, Till
from tests.faults.test_kills import service_beside
from tests.service import MASTER_KEY, ServiceProcess

pytestmark = pytest.mark.faults

MEMORY_MB_MAX = 300.0
CARDS = 100_000
STAMPED = 25_000
STAMPED_MIN = 20_000
CLIENTS_STAMPING = 16
WAITING = 2_000
WAITING_CARDS = 500
LOCKED_SECONDS = (1.2, 6.0)  # Short enough that those admitted are served, and too long for anybody.
ANSWER_SECONDS = 2.5
SLACK_SECONDS = 2.5  # Of a machine that plays all 2 000 clients too.
SETTLED_SECONDS = 60.0
OPEN_FILES = 8_192


class Memory:
    """The most memory a process and its children had, PostgreSQL's not counted.

    What they share, such as libraries, is counted once, as the limit of a container counts it: `pss` of
    proc_pid_smaps(5). `most_resident_mb` is the sum of what each has resident, which counts it for each of them.
    """

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory")
        self.most_mb = self.most_resident_mb = 0.0

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def now_mb(self) -> float:
        proportional = resident = 0
        for process in (self._process, *self._process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                if process.name() != "postgres":
                    told = process.memory_full_info()
                    proportional, resident = proportional + told.pss, resident + told.rss
        self.most_resident_mb = max(self.most_resident_mb, resident / 1_000_000)
        return proportional / 1_000_000

    def _watch(self) -> None:
        while not self._is_over.wait(0.05):
            with suppress(psutil.NoSuchProcess):
                self.most_mb = max(self.most_mb, self.now_mb())


@contextmanager
def watched(service: ServiceProcess) -> Iterator[Memory]:
    assert service.process is not None
    with Memory(service.process.pid) as memory:
        yield memory


def populated(service: ServiceProcess, cards: int) -> tuple[Till, list[str]]:
    till = service.shop()
    program = till.program(stamps_target=1000)
    return till, populate(Place(service.database_url, MASTER_KEY, UUID(till.vendor_id), UUID(program["id"])), cards)


def test_a_hundred_thousand_cards(durable_server: LocalPostgres, tmp_path: Path) -> None:
    with service_beside(durable_server, tmp_path) as service, watched(service) as memory:
        at_rest = memory.now_mb()
        began = time.monotonic()
        till, cards = populated(service, CARDS)
        service.catch_up()
        made = time.monotonic() - began
        told = ask(
            Asking(
                port=service.port,
                path=f"{VENDOR}/stamps",
                headers=till.headers,
                body='{"card": "CARD"}',
                cards=random.Random(1).sample(cards, STAMPED),
                clients=CLIENTS_STAMPING,
                seconds=120,
                once=True,
            )
        )
        service.catch_up()
        stamped = service.rows("SELECT count(DISTINCT originator_id) FROM stored_events WHERE topic = 'stamps-added'")
        assert stamped[0]["count"] == told.statuses["201"] >= STAMPED_MIN, told.odd
        assert service.rows("SELECT count(*) FROM loyalty_cards WHERE is_active") == [{"count": CARDS}]
        print(  # noqa: T201
            f"\n{CARDS} active cards (made and projected in {made:.0f} s), {told.statuses['201']} of them stamped:"
            f" {memory.most_mb:.0f} MB at most ({memory.most_resident_mb:.0f} MB resident, shared pages in each),"
            f" {memory.now_mb():.0f} MB now, {at_rest:.0f} MB at the start"
        )
        assert memory.most_mb < MEMORY_MB_MAX


# ------------------------------------------------------------------ waiting


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


class Waiting:
    """A client with a connection of its own and one command, on which it insists."""

    def __init__(self, till: Till, card: str, key: str) -> None:
        self.key = key
        url = till.http.base_url
        body = json.dumps({"card": card, "order_reference": key}).encode()
        headers = {"Host": f"{url.host}:{url.port}", "Content-Type": "application/json", "Content-Length": len(body)}
        headers |= {**till.headers, "Idempotency-Key": key}
        lines = [f"POST {VENDOR}/stamps HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        self._request = "\r\n".join(lines).encode() + body
        self._host, self._port = str(url.host), int(url.port or 80)
        self.answers: list[Answer] = []

    async def connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)

    async def ask(self) -> Answer:
        began = time.monotonic()
        self._writer.write(self._request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        body = await self._reader.readexactly(int(headers["content-length"]))
        self.answers.append(Answer(int(head[0].split()[1]), headers, body, time.monotonic() - began))
        return self.answers[-1]

    async def insist(self) -> None:
        while (answer := await self.ask()).status == 503:
            await asyncio.sleep(int(answer.headers["retry-after"]) * random.uniform(0.8, 1.2))

    def leave(self) -> None:
        self._writer.close()


async def wait_together(clients: Sequence[Waiting], locked_seconds: float, database_url: str) -> float:
    """All ask while the store is locked. Returns the seconds from its release until the last is served."""
    for client in clients:
        await client.connect()
    holder = await psycopg.AsyncConnection.connect(database_url)
    await holder.execute(LOCK_STORE)
    asking = [asyncio.create_task(client.insist()) for client in clients]
    await asyncio.sleep(locked_seconds)
    await holder.close()
    released = time.monotonic()
    async with asyncio.timeout(SETTLED_SECONDS):
        await asyncio.gather(*asking)
    for client in clients:
        client.leave()
    return time.monotonic() - released


def test_two_thousand_clients_waiting_at_once(durable_server: LocalPostgres, tmp_path: Path) -> None:
    files, files_max = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(files, OPEN_FILES), files_max), files_max))
    with service_beside(durable_server, tmp_path) as service:
        till, cards = populated(service, WAITING_CARDS)
        service.catch_up()
        figures = []
        everybody: list[Waiting] = []
        with watched(service) as memory:
            for n, seconds in enumerate(LOCKED_SECONDS):
                clients = [Waiting(till, cards[m % len(cards)], f"lock-{n}-client-{m}") for m in range(WAITING)]
                settled = asyncio.run(wait_together(clients, seconds, service.database_url))
                everybody += clients
                first = Counter(client.answers[0].status for client in clients)
                longest = max(answer.seconds for client in clients for answer in client.answers)
                figures.append(
                    f"locked {seconds:.1f} s: at first {first[201]} served and {first[503]} sent away,"
                    f" longest answer {longest:.1f} s, all served {settled:.1f} s after"
                )
                as_promised(clients)
                assert longest < ANSWER_SECONDS + SLACK_SECONDS
                assert (first[201] > 0) == (seconds < ANSWER_SECONDS) and first[503] > WAITING / 2
        assert service.differences() == []
        times = service.rows(
            "SELECT order_reference AS key, count(*) AS times, min(id::text) AS entry_id FROM loyalty_transactions"
            " WHERE transaction_type = 'stamp_earned' GROUP BY 1"
        )
        told = {client.key: json.loads(client.answers[-1].body)["entry_id"] for client in everybody}
        assert {row["key"]: row["entry_id"] for row in times} == told, "nothing lost"
        assert [row for row in times if row["times"] > 1] == [], "nothing doubled"
        print(  # noqa: T201
            f"\n{WAITING} clients at once: {'; '.join(figures)}; 0 lost, 0 doubled, {memory.most_mb:.0f} MB at most"
            f" ({memory.most_resident_mb:.0f} MB resident, shared pages in each)"
        )
        assert memory.most_mb < MEMORY_MB_MAX


def as_promised(clients: Sequence[Waiting]) -> None:
    """Every answer is the entry, or a problem document that says when to come again."""
    for client in clients:
        *refused, served = client.answers
        assert served.status == 201, served.body
        for answer in refused:
            assert answer.headers["content-type"] == "application/problem+json"
            assert int(answer.headers["retry-after"]) >= 1
            assert json.loads(answer.body)["status"] == 503
