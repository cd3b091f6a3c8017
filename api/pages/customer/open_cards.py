"""Cards that are open on somebody's screen: each is told when it changed, and asks then what it shows.

A waiting card costs a connection, two small tasks and a place in a dictionary, and asks the database nothing. One task
for each process looks which cards changed, a few times a second at most, and only while somebody is waiting.
"""

import asyncio
import contextlib
import random
import re
import resource
from collections import defaultdict
from collections.abc import Iterator
from weakref import WeakSet

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ledger.errors import Overloaded, StoreAway
from ledger.reader import Reader
from projections.positions import Waiter

LOOK_SECONDS = 0.25
WAIT_SECONDS = 60.0
HEARTBEAT_SECONDS = 25.0  # Below what proxies and phones' networks cut off.
RETRY_SECONDS = (2, 8)  # Cards that were cut off together come back one by one.
FULL_RETRY_SECONDS = 30
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]

CHANGED = """
SELECT DISTINCT c.qr_code_data FROM loyalty_transactions t JOIN loyalty_cards c ON c.id = t.card_id
WHERE t.position > %s AND t.position <= %s AND c.qr_code_data IS NOT NULL
"""

_ADDRESS = re.compile(r"/c/[A-Za-z0-9_-]{32}/changes")

log = structlog.get_logger("api.pages.customer.open_cards")


def is_waiting(scope: Scope) -> bool:
    """Whether this request only waits: it is counted here, and not among those that are worked on."""
    path = scope["path"]
    return scope["method"] == "GET" and path.endswith("/changes") and _ADDRESS.fullmatch(path) is not None


class OpenCards:
    """One for each process, on its event loop, between `start` and `stop`.

    Args:
        most: Cards that may wait at once. Never more than half of the connections that the machine allows a process:
            the others belong to tills.
    """

    def __init__(self, reader: Reader, waiter: Waiter, most: int) -> None:
        self._reader = reader
        self._waiter = waiter
        self._most = min(most, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._count = 0
        self._task: asyncio.Task[None] | None = None
        self.is_leaving = False

    async def start(self) -> None:
        self._task = asyncio.create_task(self._follow(), name="open cards")
        self.loop = asyncio.get_running_loop()
        _of_this_process.add(self)

    async def stop(self) -> None:
        self.leave()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def leave(self) -> None:
        """The service ends: everybody who waits is let go."""
        self.is_leaving = True
        for events in self._waiting.values():
            for event in events:
                event.set()

    def has_room(self) -> bool:
        return self._count < self._most and not self.is_leaving

    @contextlib.contextmanager
    def watched(self, token: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever the card changed. Whether there is such a card, nobody asks."""
        event = asyncio.Event()
        self._waiting[token].add(event)
        self._count += 1
        try:
            yield event
        finally:
            self._count -= 1
            self._waiting[token].discard(event)
            if not self._waiting[token]:
                del self._waiting[token]

    async def _follow(self) -> None:
        seen = 0
        while True:
            before, seen = seen, await self._waiter.wait_for(seen + 1, WAIT_SECONDS)
            if before and seen > before and self._waiting:
                try:
                    changed = await self._reader.rows(CHANGED, (before, seen))
                except StoreAway:
                    log.warning("open-cards-interrupted")
                    seen = before
                    changed = []
                for (token,) in changed:
                    for event in self._waiting.get(token, ()):
                        event.set()
            await asyncio.sleep(LOOK_SECONDS)


_of_this_process: WeakSet[OpenCards] = WeakSet()


def leave_all() -> None:
    """For the server of this thread, when it is told to end: else it would wait for those who wait here.

    May be called by a handler of signals.
    """
    for open_cards in list(_of_this_process):
        if open_cards.loop is asyncio.get_running_loop():
            open_cards.loop.call_soon_threadsafe(open_cards.leave)


class Changes(Response):
    """A stream of server-sent events that says `changed` each time the card did.

    Source: HTML, 9.2 Server-sent events.
    """

    def __init__(self, open_cards: OpenCards, token: str) -> None:
        """Raises: Overloaded where too many wait already; a page asks now and then instead."""
        if not open_cards.has_room():
            raise Overloaded(retry_after_seconds=FULL_RETRY_SECONDS)
        super().__init__()
        self._open_cards = open_cards
        self._token = token

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        with self._open_cards.watched(self._token) as changed:
            leaving = asyncio.create_task(_gone(receive, changed))
            try:
                await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
                told = b"retry: %d\n\n" % (random.uniform(*RETRY_SECONDS) * 1000)
                while not (leaving.done() or self._open_cards.is_leaving):
                    await send({"type": "http.response.body", "body": told, "more_body": True})
                    told = b"data: changed\n\n" if await _set_within(changed, HEARTBEAT_SECONDS) else b":\n\n"
                await send({"type": "http.response.body", "body": b""})
            finally:
                leaving.cancel()


async def _gone(receive: Receive, wake: asyncio.Event) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    wake.set()


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    event.clear()
    return True
