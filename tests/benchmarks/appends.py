"""Durable appends of one event, asked for by many at once; run as a process of its own.

`committer` is ours as the service uses it: each submitter appends one event to a new stream through the Committer,
which also writes the stream's state row and the retry's row. `recorder` is our recorder called by threads, one event a
call; `stock` is the library's, unchanged, in the library's own table.
"""

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import uvloop
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore

from ledger.attempts import StampRefused
from ledger.committer import Committer
from ledger.decision import Append, Command, Decision, Once
from ledger.recorder import Datastore, Recorder
from ledger.stream import Actor, Envelope
from tests.benchmarks.measuring import Window
from tests.benchmarks.pgbench import EVENT_BYTES

WARM_SECONDS = 0.5
VENDOR = uuid4()


def run(how: str, url: str, *, clients: int, seconds: float) -> Window:
    """One window. `how` is one of `HOW`."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, how, url, str(clients), str(seconds)],
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 60,
    )
    if done.returncode:
        raise RuntimeError(f"the appends failed:\n{done.stderr[-2000:]}")
    return Window(json.loads(done.stdout))


def stock_datastore(url: str, pool_size: int) -> PostgresDatastore:
    """The library's datastore, which wants a URL in its parts."""
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    return PostgresDatastore(
        dbname=parts.path.lstrip("/"),
        host=query.get("host", parts.hostname or ""),
        port=query.get("port", str(parts.port or 5432)),
        user=parts.username or "",
        password=parts.password or "",
        pool_size=pool_size,
        max_overflow=0,
    )


# ------------------------------------------------------------------ in the process


def _committer(url: str, clients: int, seconds: float) -> float:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_submit(url, clients, seconds))


async def _submit(url: str, clients: int, seconds: float) -> float:
    committer = Committer(url)
    await committer.start()
    counts_from = time.monotonic() + WARM_SECONDS
    ends = counts_from + seconds
    count = 0

    async def ask() -> None:
        nonlocal count
        while (now := time.monotonic()) < ends:
            await committer.submit(_command())
            count += counts_from <= now and time.monotonic() <= ends

    await asyncio.gather(*(ask() for _ in range(clients)))
    await committer.stop()
    return count / seconds


def _command() -> Command:
    stream_id = uuid4()
    now = datetime.now(UTC)
    event = StampRefused(now, stream_id, "stamp_cooldown", {"why": "x" * (EVENT_BYTES - 500)})
    envelope = Envelope("attempts", VENDOR, "pos", Actor("api_key", str(VENDOR), "bearer"), str(stream_id), now, now)
    decision = Decision([Append(stream_id, "attempts", None, [event], envelope)], lambda recorded, after: {})
    return Command(VENDOR, Once(stream_id, stream_id.bytes * 2), lambda view: decision, [stream_id])


def _recorder(url: str, clients: int, seconds: float) -> float:
    return _by_threads(Recorder(Datastore(url, pool_size=clients)), clients, seconds)


def _stock(url: str, clients: int, seconds: float) -> float:
    recorder = PostgresApplicationRecorder(stock_datastore(url, clients))
    recorder.create_table()
    return _by_threads(recorder, clients, seconds)


def _by_threads(recorder: PostgresApplicationRecorder, clients: int, seconds: float) -> float:
    counts_from = time.monotonic() + WARM_SECONDS
    ends = counts_from + seconds
    counts = [0] * clients

    def append(n: int) -> None:
        while (now := time.monotonic()) < ends:
            recorder.insert_events([StoredEvent(uuid4(), 1, "stamps-added", b"x" * EVENT_BYTES)])
            counts[n] += counts_from <= now and time.monotonic() <= ends

    threads = [threading.Thread(target=append, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.datastore.close()
    return sum(counts) / seconds


HOW: dict[str, Callable[[str, int, float], float]] = {
    "committer": _committer,
    "recorder": _recorder,
    "stock": _stock,
}


if __name__ == "__main__":
    name, database_url, submitters, window_seconds = sys.argv[1:]
    print(json.dumps(HOW[name](database_url, int(submitters), float(window_seconds))))  # noqa: T201
