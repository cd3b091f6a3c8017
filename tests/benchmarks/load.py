"""Load over HTTP from a process of its own: many keep-alive connections, each asking again once it is answered.

It costs some 15 µs a request, so that two cores are left to what is measured. With `rate` it sends at that pace
whatever comes back, and counts waiting from the moment a request was due.
"""

import asyncio
import json
import random
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import uuid4

import uvloop

from tests.benchmarks.measuring import Window

TICK_SECONDS = 0.001
PATIENCE_SECONDS = 30


@dataclass(frozen=True)
class Asking:
    """What to ask, and how hard.

    Args:
        body: JSON in which CARD stands for a card of `cards`, drawn at random, or in order with `once`.
        warm_seconds: Load before anything is counted.
        rate: Requests a second; None for as many as are answered.
        once: Each card once, then stop.
        keeps_positions: Tell of each answer its `position`, and when it was asked for and came (monotonic).
    """

    port: int
    path: str
    headers: Mapping[str, str]
    body: str
    cards: Sequence[str]
    clients: int
    seconds: float
    warm_seconds: float = 0.5
    rate: float | None = None
    once: bool = False
    keeps_positions: bool = False


@dataclass
class Told:
    """What a load came to: `latencies` in seconds, of those answered well within the window."""

    latencies: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    odd: str = ""
    positions: list[tuple[int, float, float]] = field(default_factory=list)


def run(asking: Asking) -> Window:
    return window(ask(asking), asking.seconds)


def ask(asking: Asking) -> Told:
    """Run the load in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps(asdict(asking)),
        capture_output=True,
        text=True,
        check=False,
        timeout=asking.seconds + asking.warm_seconds + PATIENCE_SECONDS + 60,
    )
    if done.returncode:
        raise RuntimeError(f"the load failed:\n{done.stderr[-2000:]}")
    told = json.loads(done.stdout)
    return Told(told["latencies"], Counter(told["statuses"]), told["odd"], [tuple(p) for p in told["positions"]])


def window(told: Told, seconds: float) -> Window:
    latencies = sorted(told.latencies)
    if not latencies:
        raise RuntimeError(f"nothing was answered: {dict(told.statuses)} {told.odd}")
    return Window(
        len(latencies) / seconds,
        percentile(latencies, 0.5) * 1000,
        percentile(latencies, 0.99) * 1000,
        latencies[-1] * 1000,
        told.statuses,
        told.odd,
    )


def percentile(ordered: Sequence[float], part: float) -> float:
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]


# ------------------------------------------------------------------ in the process


class Load:
    """All connections together: what is asked next, what came back, and when it is enough."""

    def __init__(self, asking: Asking) -> None:
        self.asking = asking
        self.told = Told()
        head = f"POST {asking.path} HTTP/1.1\r\nHost: 127.0.0.1:{asking.port}\r\nContent-Type: application/json\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in asking.headers.items())
        before, _, after = asking.body.partition("CARD")
        self._cards = [card.encode() for card in asking.cards]
        length = len(before) + len(after) + (len(self._cards[0]) if after else 0)
        head += f"Content-Length: {length}\r\nIdempotency-Key: {uuid4().hex}-"
        self._head, self._before, self._after = head.encode(), f"\r\n\r\n{before}".encode(), after.encode()
        self._sent = 0
        self._due: deque[float] = deque()
        self._idle: list[Client] = []
        self._open = 0
        self._counts_from = self._ends = 0.0
        self.is_over = asyncio.Event()

    async def run(self) -> None:
        asking, loop = self.asking, asyncio.get_running_loop()
        for _ in range(asking.clients):
            _, client = await loop.create_connection(lambda: Client(self), "127.0.0.1", asking.port)
            self._idle.append(client)
        self._open = asking.clients
        began = time.monotonic()
        self._counts_from = began if asking.once else began + asking.warm_seconds
        self._ends = float("inf") if asking.once else self._counts_from + asking.seconds
        if asking.rate is None:
            for client in self._take_idle():
                self._next(client)
        else:
            await self._pace(asking.rate, began)
        async with asyncio.timeout(asking.seconds + asking.warm_seconds + PATIENCE_SECONDS):
            await self.is_over.wait()

    def _take_idle(self) -> list["Client"]:
        idle, self._idle = self._idle, []
        return idle

    async def _pace(self, rate: float, began: float) -> None:
        number = 0
        while (now := time.monotonic()) < self._ends:
            while (due := began + number / rate) <= now:
                number += 1
                self._due.append(due)
            while self._due and self._idle:
                self._idle.pop().send(self._due.popleft(), self._request())
            await asyncio.sleep(TICK_SECONDS)
        self._due.clear()
        for client in self._take_idle():
            self._finish(client)

    def _next(self, client: "Client") -> None:
        """What this connection does now that it has nothing to do."""
        now = time.monotonic()
        if now >= self._ends or (self.asking.once and self._sent >= len(self._cards)):
            self._finish(client)
        elif self.asking.rate is None:
            client.send(now, self._request())
        elif self._due:
            client.send(self._due.popleft(), self._request())
        else:
            self._idle.append(client)

    def _request(self) -> bytes:
        self._sent += 1
        card = b""
        if self._after:
            card = self._cards[self._sent - 1] if self.asking.once else random.choice(self._cards)
        return b"%b%09d%b%b%b" % (self._head, self._sent, self._before, card, self._after)

    def answered(self, client: "Client", status: str, body: bytes) -> None:
        now = time.monotonic()
        if self._counts_from <= client.asked_at and now <= self._ends:
            self.told.statuses[status] += 1
            if status == "201":
                self.told.latencies.append(now - client.asked_at)
                if self.asking.keeps_positions:
                    self.told.positions.append((json.loads(body)["position"], client.asked_at, now))
        if status != "201" and not self.told.odd:
            self.told.odd = f"{status} {body[:300].decode(errors='replace')}"
        self._next(client)

    def lost(self, client: "Client") -> None:
        self.told.odd = self.told.odd or "a connection was closed"
        self._finish(client)

    def _finish(self, client: "Client") -> None:
        client.is_done = True
        client.transport.close()
        self._open -= 1
        if self._open == 0:
            self.is_over.set()


class Client(asyncio.Protocol):
    """One connection. It reads no more of HTTP than it must: the status, the length, the body."""

    transport: asyncio.Transport

    def __init__(self, load: Load) -> None:
        self._load = load
        self._read = b""
        self.asked_at = 0.0
        self.is_done = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def send(self, asked_at: float, request: bytes) -> None:
        self.asked_at = asked_at
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, ended, body = self._read.partition(b"\r\n\r\n")
        if not ended:
            return
        _, _, length = head.lower().partition(b"\r\ncontent-length:")
        if len(body) >= int(length.partition(b"\r\n")[0] or 0):
            self._read = b""
            self._load.answered(self, head[9:12].decode(), body)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.is_done:
            self._load.lost(self)


async def main(asking: Asking) -> Told:
    load = Load(asking)
    await load.run()
    return load.told


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(vars(runner.run(main(Asking(**json.load(sys.stdin)))))))  # noqa: T201
