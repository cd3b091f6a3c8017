"""The parts that a schedule moves on step by step: all real, on a real database, and none with a life of its own."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import httpx2
import psycopg
from pydantic import SecretStr

from api.dependencies import Parts
from api.key_files import Keys
from api.logs import configure
from api.main import create_app
from api.settings import Settings
from api.wallets import apple_key_files
from ledger.commands.caller import utc_now
from ledger.recorder import APP_ROLE
from projections.read_model import Projector
from tests.api.test_passes import settings_for
from tests.ledgers import MASTER_KEY
from tests.schedules.outside import Apple, Connection, Fate, PushOver, Wire
from wallet_sync.apple_key_ring import KeyRing
from wallet_sync.apple_pushes import push_due
from wallet_sync.dev_certificates import DevCertificates
from wallet_sync.subscriber import ENTER, NAME, Subscriber, advance


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

    def __init__(self, url: str, made: DevCertificates) -> None:
        self.url = url
        self.loop = asyncio.new_event_loop()
        self._resources = AsyncExitStack()
        settings = Settings(
            database_url=SecretStr(url), public_url="https://cards.example", log_level="error", **settings_for(made)
        )
        configure("json", "critical")  # Pushes refused are what schedules are about.
        app = create_app(settings, Keys("", None, MASTER_KEY, None), url)
        self.run(self._resources.enter_async_context(app.router.lifespan_context(app)))
        self.parts: Parts = app.state.parts
        self.client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://service")
        self.db = psycopg.connect(url, autocommit=True)
        self.projector = Kept(url)
        self.followers = (Follower(url), Follower(url))
        signer = KeyRing(apple_key_files(settings)).signer(utc_now())
        self.lines = [PushOver(Wire(), signer, utc_now) for _ in range(2)]

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def close(self) -> None:
        self.run(self._resources.aclose())
        self.loop.close()
        for connection in (self.db, self.projector.connection, *(f.connection for f in self.followers)):
            connection.close()


class Worker:
    """A push worker: at most one batch of it is under way."""

    def __init__(self, machine: Machine, push: PushOver, apple: Apple) -> None:
        self._machine, self._push, self._wire = machine, push, push.wire
        self._wire.apple = apple
        self._batch: asyncio.Task[int] | None = None

    @property
    def is_free(self) -> bool:
        return self._batch is None

    def begin(self, fate: Fate) -> None:
        """Push what is due; where pushes are held, until the first is on its way."""
        if self.is_free:
            self._machine.run(self._begin(fate))

    async def _begin(self, fate: Fate) -> None:
        batch = asyncio.create_task(self.push(fate))
        waits = asyncio.create_task(self._wire.is_there.wait())
        await asyncio.wait([batch, waits], return_when=asyncio.FIRST_COMPLETED)
        waits.cancel()
        if batch.done():
            batch.result()
        else:
            self._batch = batch

    async def push(self, fate: Fate) -> int:
        """What is due, to the end. Returns how many rows."""
        self._wire.fate = fate
        self._wire.is_there.clear()
        self._wire.answered.clear()
        return await push_due(self._machine.parts.ledger, self._push, utc_now, random.Random(1))

    def answer(self, fate: Fate) -> None:
        """Pushes that were held come to this."""
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
