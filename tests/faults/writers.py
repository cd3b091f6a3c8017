"""Two processes at the same cards, each with a ledger of its own and tills that insist; and readers that follow along.

What the tills were told and what the readers saw is compared with the stream afterwards.
"""

import asyncio
import random
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any
from uuid import UUID

import psycopg
from eventsourcing.persistence import PersistenceError
from psycopg_pool import PoolTimeout

from api.logs import configure
from ledger.commands.caller import Caller
from ledger.commands.references import CardReference
from ledger.committer import Committer
from ledger.decision import Outcome
from ledger.errors import CardIsBusy, StoreAway
from ledger.recorder import Datastore, Recorder
from ledger.stream import Stored, decode
from projections.check import check
from projections.read_model import POLL_SECONDS, Projector, read_batch
from tests.ledgers import MASTER_KEY, Shop, facts, running_ledger

PROCESSES = 2
TILLS_EACH = 4
SHARED_CARDS = 6
STAMPS_PART = 0.05  # The rest are purchases: a card carries its stamps of the day along.
INSIST_SECONDS = 60.0

Meeting = tuple[int, UUID | str, int]
"""An event as a reader met it: position, stream, version."""


@dataclass(frozen=True)
class Told:
    """The answer to one command."""

    entry_id: str
    card: UUID
    version: int
    position: int
    at: float  # Monotonic, which all processes of a machine share.


@dataclass(frozen=True)
class Written:
    """What one process was told, command by command, and how often its rounds went wrong."""

    told: list[Told]
    troubles: Counter[str]


# ------------------------------------------------------------------ tills


async def insisted(ask: Callable[[], Any], troubles: Counter[str]) -> Outcome:
    """As a till does it: ask again, under the same key, until there is an answer."""
    ends = time.monotonic() + INSIST_SECONDS
    while time.monotonic() < ends:
        try:
            outcome: Outcome = await ask()
            return outcome
        except (StoreAway, CardIsBusy) as refusal:
            troubles[f"asked again after {type(refusal).__name__}"] += 1
            await asyncio.sleep(0.05)
    raise AssertionError("there never was an answer")


async def command(shop: Shop, card: UUID, key: str, rng: random.Random, troubles: Counter[str]) -> Told:
    """A stamp or a purchase."""
    if rng.random() < STAMPS_PART:
        outcome = await insisted(lambda: shop.stamp(card, key), troubles)
    else:
        outcome = await insisted(lambda: earn(shop, card, key), troubles)
    assert outcome.position is not None
    answer = facts(outcome)
    return Told(answer["entry_id"], card, answer["card_version"], outcome.position, time.monotonic())


async def earn(shop: Shop, card: UUID, key: str) -> Outcome:
    return await shop.ledger.till.earn(
        CardReference(str(card)),
        purchase_amount_minor=420,
        paid_with_reward_minor=0,
        currency="EUR",
        asked=shop.asked(key),
    )


def write(url: str, caller: Caller, program_id: UUID, cards: Sequence[UUID], name: str, seconds: float) -> Written:
    """The life of one process."""
    configure("json", "error")
    troubles: Counter[str] = Counter()
    ends = time.monotonic() + seconds

    async def till(shop: Shop, n: int) -> list[Told]:
        rng = random.Random(f"{name}-{n}")
        told: list[Told] = []
        while time.monotonic() < ends:
            told.append(await command(shop, rng.choice(cards), f"{name}-{n}-{len(told)}", rng, troubles))
        return told

    async def story() -> list[Told]:
        async with running_ledger(url) as ledger:
            shop = Shop(ledger, caller, program_id)
            tills = await asyncio.gather(*(till(shop, n) for n in range(TILLS_EACH)))
        return [told for of_one in tills for told in of_one]

    recover = Committer._recover

    async def counted(self: Committer, batch: Any, error: psycopg.Error) -> None:
        troubles["clashes" if error.sqlstate == "LL001" else "broken rounds"] += 1
        await recover(self, batch, error)

    Committer._recover = counted  # type: ignore[method-assign]
    return Written(asyncio.run(story()), troubles)


async def opened(url: str, cards: int) -> tuple[Caller, UUID, list[UUID]]:
    async with running_ledger(url) as ledger:
        shop = await Shop.opened(ledger)
        return shop.caller, shop.program_id, [await shop.card() for _ in range(cards)]


@contextmanager
def writing(url: str, seconds: float) -> Iterator[list[Future[Written]]]:
    """Both processes at work, for so many seconds."""
    caller, program_id, cards = asyncio.run(opened(url, SHARED_CARDS))
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        yield [pool.submit(write, url, caller, program_id, cards, f"process-{n}", seconds) for n in range(PROCESSES)]


# ------------------------------------------------------------------ readers


class Tail(ABC):
    """A reader in a thread. Whatever happens to its connection, it goes on after the last event it saw."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=type(self).__name__)
        self.seen: list[Meeting] = []
        self.interruptions = 0

    @property
    def position(self) -> int:
        return self.seen[-1][0] if self.seen else 0

    def __enter__(self) -> "Tail":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self.let_go()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                self.follow()
            except (psycopg.OperationalError, PersistenceError, PoolTimeout):  # The database is away: reconnect.
                if not self._is_over.is_set():
                    self.interruptions += 1
                    self._is_over.wait(0.1)

    def meet(self, position: int, stream_id: UUID, version: int) -> None:
        self.seen.append((position, stream_id, version))

    @abstractmethod
    def follow(self) -> None:
        """Meet events until the connection breaks or it is over."""

    @abstractmethod
    def let_go(self) -> None:
        """End a `follow` that waits."""


class AsTheProjector(Tail):
    def let_go(self) -> None:
        """It never waits longer than for the next poll."""

    def follow(self) -> None:
        with psycopg.connect(self._url, autocommit=True, connect_timeout=5) as connection:
            connection.execute("LISTEN stored_events")
            while not self._is_over.is_set():
                batch = read_batch(connection, self.position)
                for stored in batch:
                    self.meet(stored.position, stored.stream_id, stored.version)
                if not batch:
                    for _ in connection.notifies(timeout=POLL_SECONDS, stop_after=1):
                        pass


class AsASubscriber(Tail):
    """Through the library's subscription."""

    _subscription: Any = None

    def follow(self) -> None:
        with Datastore(self._url) as datastore:
            self._subscription = Recorder(datastore).subscribe(gt=self.position)
            with self._subscription:
                if not self._is_over.is_set():
                    for notification in self._subscription:
                        self.meet(notification.id, notification.originator_id, notification.originator_version)

    def let_go(self) -> None:
        if self._subscription is not None:
            with suppress(Exception):
                self._subscription.stop()


# ------------------------------------------------------------------ what was promised


def log_of(url: str) -> list[Stored]:
    """Every event, by position."""
    log: list[Stored] = []
    with psycopg.connect(url, autocommit=True) as connection:
        while batch := read_batch(connection, log[-1].position if log else 0):
            log += batch
    return log


def nothing_missed_and_nothing_twice(url: str, tails: Sequence[Tail], written: Sequence[Written]) -> int:
    """Compare what was seen and told with the stream. Returns how many events there are."""
    log = log_of(url)
    meetings = [(stored.position, stored.stream_id, stored.version) for stored in log]
    for tail in tails:
        positions = [position for position, _, _ in tail.seen]
        assert positions == sorted(set(positions)), "each position once, and increasing"
        assert contiguous(tail.seen) == [], "each card in order"
        assert tail.seen == meetings, "none missed"
    assert contiguous(meetings) == []

    recorded = [event for event in map(decode, log) if hasattr(event.event, "entry_id")]
    entries = {str(event.event.entry_id): event for event in recorded}
    assert len(entries) == len(recorded), "nothing twice"
    told = [answer for process in written for answer in process.told]
    assert len({answer.entry_id for answer in told}) == len(told)
    assert {answer.entry_id for answer in told} == set(entries), "nothing lost, and nothing that nobody was told"
    for answer in told:
        found = entries[answer.entry_id]
        assert (found.stream_id, found.version, found.position) == (answer.card, answer.version, answer.position)

    Projector(url, MASTER_KEY).catch_up()
    assert check(url, MASTER_KEY) == []
    return len(log)


def contiguous(meetings: Sequence[Meeting]) -> list[Meeting]:
    """Those that do not follow the one before in their stream."""
    versions: Counter[UUID | str] = Counter()
    astray = []
    for position, stream_id, version in meetings:
        if version != versions[stream_id] + 1:
            astray.append((position, stream_id, version))
        versions[stream_id] = version
    return astray
