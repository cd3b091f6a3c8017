"""All query tables made anew, over and over, while tills keep stamping and readers keep reading."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import psycopg
import pytest

from api.logs import configure
from ledger.recorder import APP_ROLE
from migrations.local_postgres import LocalPostgres
from projections.check import Difference, check
from projections.rebuild import TABLES, rebuild
from tests.benchmarks.population import Place, populate
from tests.callers import VENDOR, Client, Till
from tests.faults.test_kills import Load, nothing_lost_nothing_doubled, service_beside, shop
from tests.service import MASTER_KEY

pytestmark = pytest.mark.faults

SECONDS = 30.0
OLD_CARDS = 4_000
EVENTS_EACH = 5
COUNTS = "SELECT {}, (SELECT position FROM projections WHERE name = 'query_tables')".format(
    ", ".join(f"(SELECT count(*) FROM {table}) AS {table}" for table in TABLES)
)


class Poll:
    """A reader who counts the rows of all tables in one statement, again and again. A count may only grow."""

    def __init__(self, database_url: str, *, prepares: bool) -> None:
        self._url = database_url
        self._prepares = prepares
        self.polls = 0
        self.longest = 0.0
        self.wrong: list[str] = []
        self.counts: tuple[int, ...] = ()

    def run(self, is_over: threading.Event) -> None:
        try:
            with psycopg.connect(self._url, autocommit=True) as connection:
                connection.execute(f"SET ROLE {APP_ROLE}")
                while not is_over.wait(0.005):
                    self._look(connection)
        except psycopg.Error as error:
            self.wrong.append(repr(error))

    def _look(self, connection: psycopg.Connection[Any]) -> None:
        began = time.monotonic()
        counts = connection.execute(COUNTS, prepare=self._prepares).fetchone()
        assert counts is not None
        self.longest = max(self.longest, time.monotonic() - began)
        self.polls += 1
        for name, before, now in zip((*TABLES, "position"), self.counts, counts, strict=False):
            if now < before:
                self.wrong.append(f"{name} went from {before} to {now}")
        self.counts = counts


class Visitor:
    """A reader who asks the service: for a page of cards, and for the newest entries of one of them."""

    def __init__(self, till: Till, card: str) -> None:
        self._till = Client(httpx2.Client(base_url=till.http.base_url, timeout=10), VENDOR, till.key)
        self._card = card
        self.reads = 0
        self.longest = 0.0
        self.wrong: list[str] = []

    def run(self, is_over: threading.Event) -> None:
        newest = 0
        while not is_over.wait(0.02):
            began = time.monotonic()
            page = self._till.get("/cards", limit=50)
            entries = self._till.get(f"/cards/{self._card}/transactions", limit=1)
            self.longest = max(self.longest, time.monotonic() - began)
            self.reads += 1
            if (page.status_code, entries.status_code) != (200, 200):
                self.wrong.append(page.text[:300] + entries.text[:300])
                continue
            if len(page.json()["items"]) != 50:
                self.wrong.append(f"a page of {len(page.json()['items'])} cards")
            version = entries.json()["items"][0]["card_version"]
            if version < newest:
                self.wrong.append(f"the newest entry went from {newest} to {version}")
            newest = version
        self._till.http.close()


class Auditor:
    """Who compares everything with the stream, whatever else goes on."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self.checks = 0
        self.wrong: list[Difference] = []

    def run(self, is_over: threading.Event) -> None:
        while not is_over.wait(1.0):
            self.wrong += check(self._url, MASTER_KEY)
            self.checks += 1


@contextmanager
def at_work(*people: Poll | Visitor | Auditor) -> Iterator[None]:
    is_over = threading.Event()
    threads = [threading.Thread(target=one.run, args=(is_over,), name=type(one).__name__) for one in people]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def test_tables_made_anew_under_load(durable_server: LocalPostgres, tmp_path: Path) -> None:
    configure("json", "warning")
    with service_beside(durable_server, tmp_path) as service:
        till, cards = shop(service)
        populate(
            Place(service.database_url, MASTER_KEY, UUID(till.vendor_id), UUID(till.read(cards[0])["program_id"])),
            OLD_CARDS,
            EVENTS_EACH,
        )
        service.catch_up()
        polls = [Poll(service.database_url, prepares=prepares) for prepares in (False, True)]
        visitor, auditor = Visitor(till, cards[0]), Auditor(service.database_url)
        took: list[float] = []
        with Load(till, cards) as load, at_work(*polls, visitor, auditor):
            ends = time.monotonic() + SECONDS
            while time.monotonic() < ends:
                began = time.monotonic()
                rebuild(service.database_url, MASTER_KEY)
                took.append(time.monotonic() - began)
        assert [*polls[0].wrong, *polls[1].wrong, *visitor.wrong, *auditor.wrong] == []
        nothing_lost_nothing_doubled(
            service,
            load,
            f"all tables made anew {len(took)} times under load",
            f"{max(took):.1f} s at most",
            f"{sum(poll.polls for poll in polls)} counts and {visitor.reads} reads, none of an empty or half table",
            f"the longest {max(visitor.longest, *(poll.longest for poll in polls)):.1f} s",
            f"{auditor.checks} checks beside",
        )
        assert len(took) >= 3 and all(poll.polls > 100 for poll in polls)
