"""The parts that a schedule moves on step by step: all real, on a real database, and none with a life of its own."""

import asyncio
import random
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import httpx2
import psycopg
from pydantic import SecretStr

from api.dependencies import Parts
from api.google_wallet import GoogleWallet
from api.key_files import Keys
from api.logs import configure
from api.main import create_app
from api.settings import Settings
from api.wallets import apple_key_files
from ledger.commands.caller import utc_now
from ledger.recorder import APP_ROLE
from projections.read_model import Projector
from tests.api.test_passes import settings_for
from tests.fake_google import FakeGoogle, google_settings
from tests.google_signer import document
from tests.ledgers import MASTER_KEY
from tests.schedules.changes import Changes
from tests.schedules.google import GoogleWire, WriteOver
from tests.schedules.outside import Connection, PushOver, Wire
from tests.schedules.schedule import Step
from wallet_sync.apple_key_ring import KeyRing
from wallet_sync.apple_pushes import push_due
from wallet_sync.dev_certificates import DevCertificates
from wallet_sync.google_callback import root_keys
from wallet_sync.google_writes import compare_due, write_due
from wallet_sync.subscriber import ENTER, NAME, Subscriber, advance

BESIDE_SECONDS = 0.005
FAR_AHEAD = 4_102_444_800_000  # The year 2100.
PASS_TIME = """
UPDATE wallet_work SET due_at = due_at - %(by)s, owed_since = owed_since - %(by)s, leased_until = leased_until - %(by)s
WHERE synced < desired OR leased_until IS NOT NULL
"""
PASS_STOPS = "UPDATE paces SET next_at = next_at - %(by)s WHERE name LIKE '%% stopped'"
OWED = "SELECT count(*), count(*) FILTER (WHERE is_parked) FROM wallet_work WHERE synced < desired"
FORGET = "DELETE FROM wallet_work WHERE channel <> 'nudge'"

Pay: TypeAlias = Callable[[], Coroutine[Any, Any, int]]
"""Tells wallets what is due; returns how many rows."""


class Kept(Projector):
    """A projector that keeps its connection, for speed."""

    def __init__(self, url: str) -> None:
        super().__init__(url, MASTER_KEY)
        self.connection = psycopg.connect(url, autocommit=True)
        self.connection.execute(f"SET ROLE {APP_ROLE}")

    @contextmanager
    def _connected(self) -> Iterator[psycopg.Connection[Any]]:
        yield self.connection


class Follower:
    """A subscriber's process: when its connection breaks, what it remembered goes too."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.connection: Connection
        self.start()

    def start(self) -> None:
        self.connection = Connection.connect(self._url, autocommit=True)
        self.connection.execute(f"SET ROLE {APP_ROLE}")
        self.connection.execute(ENTER, (NAME,))
        self._subscriber = Subscriber(self._url)

    def follow(self) -> bool:
        return self._moved(lambda: advance(self.connection, utc_now()))

    def look_at_program(self) -> bool:
        return self._moved(lambda: self._subscriber._look_at_program(self.connection))

    def _moved(self, move: Callable[[], int]) -> bool:
        try:
            return bool(move())
        except psycopg.OperationalError:
            self.connection.close()
            self.start()
            return True


class Machine:
    """What lives longer than a schedule: the parts, on one database."""

    def __init__(self, url: str, made: DevCertificates, directory: Path) -> None:
        self.url = url
        self.loop = asyncio.new_event_loop()
        self._resources = AsyncExitStack()
        settings = Settings(
            database_url=SecretStr(url),
            public_url="https://cards.example",
            log_level="error",
            **settings_for(made),
            **google_settings(FakeGoogle(), directory),
        )
        configure("json", "critical")  # Pushes refused are what schedules are about.
        app = create_app(settings, Keys("", None, MASTER_KEY, None), url)
        self.run(self._resources.enter_async_context(app.router.lifespan_context(app)))
        self.parts: Parts = app.state.parts
        self.google._root_keys._keys = root_keys(document(keyExpiration=str(FAR_AHEAD)), utc_now())
        self.client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://service")
        self.db = psycopg.connect(url, autocommit=True)
        self.projector = Kept(url)
        self.followers = (Follower(url), Follower(url))
        signer = KeyRing(apple_key_files(settings)).signer(utc_now())
        self.lines = [PushOver(Wire(), signer, utc_now) for _ in range(2)]
        self.google_lines = [WriteOver(GoogleWire()) for _ in range(2)]

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    @property
    def google(self) -> GoogleWallet:
        assert self.parts.google is not None
        return self.parts.google

    def pushing(self, push: PushOver) -> Pay:
        return lambda: push_due(self.parts.ledger, push, utc_now, random.Random(1))

    def writing(self, line: WriteOver) -> Pay:
        async def write_and_compare() -> int:
            given = self.parts.ledger, self.google.issuer, line, utc_now, random.Random(1)
            return await write_due(*given) + await compare_due(*given)

        return write_and_compare

    def both(self, workers: Sequence["Worker"], fate: str) -> None:
        """At once."""

        async def all_of_them() -> None:
            await asyncio.gather(*(worker.pay(fate) for worker in workers if worker.is_free))

        self.run(all_of_them())

    # ------------------------------------------------------------------ following

    def everybody_follows(self) -> None:
        self.projector.catch_up()
        while any(follower.follow() or follower.look_at_program() for follower in self.followers):
            pass

    def follow(self, step: Step, changes: Changes) -> None:
        """One batch, or some cards of a program. Before one of its statements something may happen."""
        follower, other = self.followers[step.who], self.followers[1 - step.who]
        beside: list[threading.Thread] = []
        connection = follower.connection
        match step.how:
            case "breaks":
                connection.when(step.number, connection.break_off)
            case "other first":  # Before the transaction begins, which would keep the other waiting.
                connection.when(1 + step.number % 3, lambda: _ignored(other.follow()))
            case "stamp first" | "stamp and project first":
                card = changes.cards[step.number % 2]
                connection.when(step.number, lambda: _ignored(self.run(self.stamped(changes, card, step))))
            case "beside other":

                def begin() -> None:
                    beside.append(threading.Thread(target=lambda: other.follow() or other.look_at_program()))
                    beside[0].start()
                    beside[0].join(BESIDE_SECONDS)

                connection.when(step.number, begin)
        if step.what == "follow":
            follower.follow()
        else:
            follower.look_at_program()
        for thread in beside:
            thread.join()
        follower.connection.when(0, None)

    async def stamped(self, changes: Changes, card: UUID, step: Step) -> None:
        """A stamp in the middle of something else, in the tables at once where the step says so."""
        await changes.make("stamp", card, 1)
        if "project" in step.how:
            await asyncio.to_thread(self.projector.catch_up)

    # ------------------------------------------------------------------ what is owed

    def owed(self) -> tuple[int, int]:
        """How many rows owe something, and how many of them are parked."""
        row = self.db.execute(OWED).fetchone()
        assert row is not None
        return row[0], row[1]

    def time_passes(self, seconds: float) -> None:
        by = {"by": timedelta(seconds=seconds)}
        self.db.execute(PASS_TIME, by)
        self.db.execute(PASS_STOPS, by)

    def forget(self) -> None:
        """Nothing is owed for earlier schedules' cards, nor ever will be."""
        self.db.execute(FORGET)
        self.db.execute("DELETE FROM paces")
        self.db.execute("DELETE FROM wallet_passes")

    def close(self) -> None:
        self.run(self._resources.aclose())
        self.loop.close()
        for connection in (self.db, self.projector.connection, *(f.connection for f in self.followers)):
            connection.close()


class Worker:
    """Tells wallets what is due: at most one batch of it is under way."""

    def __init__(self, machine: Machine, wire: Wire | GoogleWire, pay: Pay) -> None:
        self._machine, self._wire, self._pay = machine, wire, pay
        self._batch: asyncio.Task[int] | None = None

    @property
    def is_free(self) -> bool:
        return self._batch is None

    def begin(self, fate: Any) -> None:
        """Tell what is due; where it is held, until the first is on its way."""
        if self.is_free:
            self._machine.run(self._begin(fate))

    async def _begin(self, fate: Any) -> None:
        batch = asyncio.create_task(self.pay(fate))
        waits = asyncio.create_task(self._wire.is_there.wait())
        await asyncio.wait([batch, waits], return_when=asyncio.FIRST_COMPLETED)
        waits.cancel()
        if batch.done():
            batch.result()
        else:
            self._batch = batch

    async def pay(self, fate: Any) -> int:
        """What is due, to the end. Returns how many rows."""
        self._wire.fate = fate
        self._wire.is_there.clear()
        self._wire.answered.clear()
        return await self._pay()

    def answer(self, fate: Any) -> None:
        """What was held comes to this."""
        if self._batch is not None:
            self._wire.fate = fate
            self._wire.answered.set()
            self._machine.run(asyncio.wait([self._batch]))
            self._batch.result()
            self._batch = None

    def die(self) -> None:
        """With what it has under way: sent or not, nothing is settled."""
        if self._batch is not None:
            self._batch.cancel()
            self._machine.run(asyncio.wait([self._batch]))
            self._batch = None


def _ignored(_: object) -> None:
    return None
