"""`python -m tests.benchmarks.auditing WHAT URL KEY_FILE SUBJECT`: one measurement, in a process of its own.

It and its database share one core. Prints seconds, processor time, peak memory and what was added in the second half.
SUBJECT is the id of a card or an archive's file, for what is measured of one.
"""

import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import orjson
import psutil
import psycopg
from psycopg import Connection

from ledger.codec import to_json
from ledger.stream import Stored, decode, evolve, first_prev
from projections.archive.loading import load_archive
from projections.archive.making import make_archive
from projections.archive.reading import verified
from projections.check import compare
from projections.proofs.sealer import connected
from projections.proofs.sealing_keys import read_key
from projections.proofs.store import verify_store
from tests.service import MASTER_KEY

CARD = """
SELECT originator_id, originator_version, topic, state, notification_id FROM stored_events
WHERE originator_id = %s ORDER BY originator_version
"""
HEAD = "SELECT encode(head, 'hex'), state FROM streams WHERE stream_id = %s"
MEGABYTE = 2**20


class Memory:
    """What the process holds, seen at the middle of its work and at its end."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._middle = 0.0
        self.peak = 0.0

    def __call__(self, done: int, of: int) -> None:
        held = self._process.memory_info().rss / MEGABYTE
        self.peak = max(self.peak, held)
        if 2 * done <= of:
            self._middle = self.peak

    @property
    def grown(self) -> float:
        return self.peak - self._middle


def main() -> None:
    what, url, key_file, subject = sys.argv[1:]
    share_a_core(url)
    memory = Memory()
    began, used = time.monotonic(), time.process_time()
    MEASURED[what](url, Path(key_file), subject, memory)
    measured = {"seconds": time.monotonic() - began, "cpu": time.process_time() - used}
    sys.stdout.write(orjson.dumps({**measured, "peak": memory.peak, "grown": memory.grown}).decode())


def verify_everything(url: str, key_file: Path, _subject: str, memory: Memory) -> None:
    with connected(url) as connection:
        total = int(one(connection, "SELECT count(*) FROM stored_events"))
        for findings in verify_store(connection, read_key(key_file).verifier):
            memory(findings.events, total)
        assert findings.events == findings.read == total and not findings.first


def check_everything(url: str, _key_file: Path, _subject: str, memory: Memory) -> None:
    assert compare(url, MASTER_KEY, memory).count == 0


def verify_card(url: str, _key_file: Path, card: str, memory: Memory) -> None:
    """Read its history, follow its chain to the head, and add it up to what its state row says."""
    card_id = UUID(card)
    head, state = first_prev(card_id), None
    with connected(url) as connection:
        for row in connection.execute(CARD, (card_id,), binary=True):
            recorded = decode(Stored(*row))
            assert recorded.prev == head
            head, state = recorded.digest, evolve("card", state, recorded.event)
        assert connection.execute(HEAD, (card_id,)).fetchone() == (head, to_json(state))
    memory(1, 1)


def make(url: str, key_file: Path, archive: str, memory: Memory) -> None:
    at = datetime.now(UTC)
    make_archive(url, key_file, Path(archive), code=None, master_key_id=MASTER_KEY.key_id, now=at, progress=memory)


def verify(_url: str, key_file: Path, archive: str, memory: Memory) -> None:
    with Path(archive).open("rb") as file:
        of = os.fstat(file.fileno()).st_size
        for number, _line in verified(file, read_key(key_file).verifier):
            if number % 10_000 == 0:
                memory(file.tell(), of)
        memory(of, of)


def load(url: str, key_file: Path, archive: str, memory: Memory) -> None:
    with Path(archive).open("rb") as file:
        load_archive(url, MASTER_KEY, file, read_key(key_file).verifier, memory)


MEASURED: dict[str, Callable[[str, Path, str, Memory], None]] = {
    "verify": verify_everything,
    "check": check_everything,
    "card": verify_card,
    "archive make": make,
    "archive verify": verify,
    "archive load": load,
}


def share_a_core(url: str) -> None:
    """Ourselves, the server, and whoever it begins from now on."""
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    with psycopg.connect(url) as connection:
        server = psutil.Process(connection.info.backend_pid).parent()
        assert server is not None
        for process in [server, *server.children()]:
            process.cpu_affinity([core])


def one(connection: Connection[tuple[object, ...]], sql: str) -> object:
    row = connection.execute(sql).fetchone()
    assert row is not None
    return row[0]


if __name__ == "__main__":
    main()
