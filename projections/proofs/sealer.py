"""The sealer: follows the stream into the tree and signs it, each minute or each thousand events.

It signs only what goes on from everything it signed before. The last checkpoint is kept in a file beside the key too,
so that a database brought back from yesterday is noticed; then nothing is signed until an operator says, signed, that
this is meant.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import structlog
from psycopg import Connection

from ledger.commands.caller import utc_now
from ledger.private_files import replace
from ledger.recorder import APP_ROLE
from ledger.stream import Stored
from projections.proofs import checkpoints
from projections.proofs.checkpoints import Sealed, newest, opened
from projections.proofs.merkle import EMPTY_ROOT, consistency_proof, root
from projections.proofs.monitor import ROUND_SECONDS, Monitor
from projections.proofs.notes import sign
from projections.proofs.sealing_keys import SealingRefused, make_first_key, recorded_keys, signing, trusted_keys
from projections.proofs.tiles import GrowingTree, TilesIncomplete, leaf_of
from projections.proofs.verify_statement import Checkpoint, Fault, VerifierKey, verify_consistency
from projections.read_model import (
    GIVE_LEASE_BACK,
    LAST_POSITION,
    MOVE_ON,
    NOTE_ERROR,
    RENEW_LEASE,
    TAKE_LEASE,
    LeaseLost,
    read_batch,
)

NAME = "checkpoints"
EVENTS_MAX = 1_000
SECONDS_MAX = 60.0
LOOK_SECONDS = 0.5
LEASE_SECONDS = 5.0
LEASE_RENEW_SECONDS = 1.0
REFUSED_SECONDS = 2.0
PAUSE_FIRST_SECONDS = 0.1
PAUSE_LONGEST_SECONDS = 5.0

log = structlog.get_logger("projections.proofs.sealer")

WAITING = """
SELECT count(*) FROM (SELECT FROM stored_events WHERE notification_id > %s ORDER BY notification_id LIMIT %s) AS w
"""
AGE = "SELECT extract(epoch FROM clock_timestamp() - %s)::float8"


def remembered_file(key_file: Path) -> Path:
    """Where the last checkpoint that was signed is kept, outside the database."""
    return key_file.with_name(key_file.name + ".checkpoint")


@dataclass(slots=True)
class _Sealing:
    """Where the one who holds the lease stands."""

    token: int
    position: int
    tree: GrowingTree
    newest: Sealed | None
    keys: list[VerifierKey]
    due_at: float  # Monotonic: when what waits is sealed, however little it is.
    renewed_at: float


class Sealer:
    """Any number may run; one at a time seals.

    Args:
        key_file: The signing key; the last checkpoint is kept beside it.
        new_key_name: Make the first key, of this name, where there never was one. None leaves that to an operator.
        seconds_max, events_max: When the next checkpoint is due.
        round_seconds: How often, at most, the whole store is held against its seals.
    """

    def __init__(
        self,
        conninfo: str,
        key_file: Path,
        *,
        new_key_name: str | None = None,
        seconds_max: float = SECONDS_MAX,
        events_max: int = EVENTS_MAX,
        round_seconds: float = ROUND_SECONDS,
    ) -> None:
        self._conninfo = conninfo
        self._key_file = key_file
        self._new_key_name = new_key_name
        self._seconds_max = seconds_max
        self._events_max = events_max
        self._round_seconds = round_seconds
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        self._refusal: str | None = None

    def run(self, stop: threading.Event) -> None:
        """Seal until `stop` is set; whatever happens to the database, go on when it is back."""
        pause = PAUSE_FIRST_SECONDS
        while not stop.is_set():
            began = time.monotonic()
            try:
                with connected(self._conninfo) as connection:
                    while not stop.is_set():
                        self._follow(connection, stop)
            except Exception as error:
                if time.monotonic() - began > PAUSE_LONGEST_SECONDS:
                    pause = PAUSE_FIRST_SECONDS
                log.warning("sealer-interrupted", error=type(error).__name__, again_in_seconds=pause)
                stop.wait(pause)
                pause = min(pause * 2, PAUSE_LONGEST_SECONDS)

    def catch_up(self) -> Sealed | None:
        """Seal everything recorded so far, or wait while another sealer works.

        Returns: The newest checkpoint; None while nothing was ever recorded.

        Raises:
            SealingRefused: Nothing was signed.
            psycopg.OperationalError: The database is away. Safe to ask again.
        """
        with connected(self._conninfo) as connection:
            target = number(connection, LAST_POSITION)
            while (token := self._take_lease(connection)) is None:
                found = newest(connection)
                if (0 if found is None else found.position) >= target:
                    return found
                time.sleep(LOOK_SECONDS)
            with self._given_back(connection, token):
                sealing = self._begin(connection, token)
                while self._seal_next(connection, sealing):
                    pass
                return sealing.newest

    # ------------------------------------------------------------------ under a lease

    def _follow(self, connection: Connection[Any], stop: threading.Event) -> None:
        """Seal for as long as the lease is ours."""
        token = self._take_lease(connection)
        if token is None:
            stop.wait(LEASE_RENEW_SECONDS)
            return
        try:
            with contextlib.suppress(LeaseLost), self._given_back(connection, token):
                sealing = self._begin(connection, token)
                self._say(connection, token, None)
                self._work(connection, sealing, stop)
        except SealingRefused as refusal:
            self._say(connection, token, str(refusal))
            stop.wait(REFUSED_SECONDS)

    def _work(self, connection: Connection[Any], sealing: _Sealing, stop: threading.Event) -> None:
        """Seal what is due; in between, a page of what was sealed before is looked at again."""
        monitor, look_at = Monitor(self._round_seconds), time.monotonic()
        while not stop.is_set():
            self._renew(connection, sealing)
            if time.monotonic() >= look_at:
                if self._is_due(connection, sealing) and self._seal_next(connection, sealing):
                    continue
                look_at = time.monotonic() + LOOK_SECONDS
            rest = monitor.step(connection, sealing.keys[-1])
            stop.wait(min(rest, max(look_at - time.monotonic(), 0)))

    def _begin(self, connection: Connection[Any], token: int) -> _Sealing:
        """Where sealing stands, after a look at everything that was signed.

        Raises: SealingRefused where the store does not go on from it.
        """
        try:
            return self._standing(connection, token)
        except (Fault, TilesIncomplete) as fault:
            raise SealingRefused(_other(str(fault))) from None

    def _standing(self, connection: Connection[Any], token: int) -> _Sealing:
        keys = recorded_keys(connection)
        if not keys and self._new_key_name is not None:
            keys = [make_first_key(connection, self._key_file, self._new_key_name, utc_now()).verifier]
        key = signing(self._key_file, keys)
        found = newest(connection)
        size, position = (0, 0) if found is None else (found.size, found.position)
        age = 0.0 if found is None else number(connection, AGE, found.sealed_at)
        now = time.monotonic()
        due_at = now if found is None else now + self._seconds_max - age
        sealing = _Sealing(token, position, GrowingTree(connection, size), found, keys, due_at, now)
        trusted_keys(connection, key.verifier)
        if found is not None:
            found.opened(keys)
        if number(connection, LAST_POSITION) < position:
            raise SealingRefused(_behind(f"the newest checkpoint is over {size} events, up to position {position}"))
        self._go_on_from_remembered(connection, sealing)
        return sealing

    def _go_on_from_remembered(self, connection: Connection[Any], sealing: _Sealing) -> None:
        """Hold the store against what was signed last, wherever the database comes from."""
        try:
            note = remembered_file(self._key_file).read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        signed = opened(note, sealing.keys)
        missing = signed.size - sealing.tree.size
        if missing <= 0:
            tree = sealing.tree
            now = root(tree.size, tree.node)
            verify_consistency(
                signed.size, tree.size, signed.root, now, consistency_proof(signed.size, tree.size, tree.node)
            )
            return
        # It was signed, and then the database did not hear of it; or the database is an older one.
        if number(connection, WAITING, sealing.position, missing) < missing:
            here = f"the tree here ends at position {sealing.position} with {sealing.tree.size}"
            raise SealingRefused(_behind(f"a checkpoint over {signed.size} events was signed, {here}"))
        self._seal(connection, sealing, read_batch(connection, sealing.position, limit=missing), note)

    def _is_due(self, connection: Connection[Any], sealing: _Sealing) -> bool:
        if time.monotonic() >= sealing.due_at:
            return True
        return bool(number(connection, WAITING, sealing.position, self._events_max) >= self._events_max)

    def _seal_next(self, connection: Connection[Any], sealing: _Sealing) -> bool:
        """Sign what waits; False where nothing does."""
        events = read_batch(connection, sealing.position, limit=self._events_max)
        if events:
            self._seal(connection, sealing, events)
        return bool(events)

    def _seal(
        self, connection: Connection[Any], sealing: _Sealing, events: Sequence[Stored], note: str | None = None
    ) -> None:
        """Append to the tree, prove that it goes on from the last checkpoint, sign, and keep it.

        Args:
            note: A checkpoint that was signed already, and must come out as it was.
        """
        tree, before = sealing.tree, sealing.newest
        for event in events:
            tree.append(event.position, leaf_of_event(event))
        old_size, old_root = (0, EMPTY_ROOT) if before is None else (before.size, before.root)
        try:
            key = signing(self._key_file, recorded_keys(connection))
            checkpoint = Checkpoint(key.name, tree.size, root(tree.size, tree.node))
            proof = consistency_proof(old_size, tree.size, tree.node)
            verify_consistency(old_size, tree.size, old_root, checkpoint.root, proof)
        except (Fault, TilesIncomplete) as fault:
            raise SealingRefused(_other(str(fault))) from None
        if note is None:
            note = sign(str(checkpoint), key)
            replace(remembered_file(self._key_file), note)
        elif opened(note, sealing.keys) != checkpoint:
            raise SealingRefused(_other(f"another past was signed over the same number of events, {tree.size}"))
        position = events[-1].position
        with connection.transaction():
            parameters = {"token": sealing.token, "before": sealing.position, "after": position}
            moved = connection.execute(MOVE_ON, {"name": NAME, "seconds": LEASE_SECONDS, **parameters})
            if moved.fetchone() is None:
                raise LeaseLost
            tree.write()
            connection.execute(checkpoints.ADD, (tree.size, position, checkpoint.root, note))
        sealing.newest, sealing.position = newest(connection), position
        sealing.renewed_at = time.monotonic()
        sealing.due_at = sealing.renewed_at + self._seconds_max
        log.info("sealed", position=position, events=len(events))

    # ------------------------------------------------------------------ lease

    def _say(self, connection: Connection[Any], token: int, refusal: str | None) -> None:
        """Tell the projections table, which `/system` shows, and the log where it is news."""
        connection.execute(NOTE_ERROR, (refusal, NAME, token))
        if refusal != self._refusal:
            self._refusal = refusal
            if refusal is not None:
                log.error("sealing-refused", error=refusal, again_in_seconds=REFUSED_SECONDS)

    def _take_lease(self, connection: Connection[Any]) -> int | None:
        parameters = {"name": NAME, "holder": self._holder, "seconds": LEASE_SECONDS}
        row = connection.execute(TAKE_LEASE, parameters).fetchone()
        return None if row is None else int(row[0])

    def _renew(self, connection: Connection[Any], sealing: _Sealing) -> None:
        if time.monotonic() - sealing.renewed_at < LEASE_RENEW_SECONDS:
            return
        parameters = {"name": NAME, "token": sealing.token, "seconds": LEASE_SECONDS}
        if connection.execute(RENEW_LEASE, parameters).rowcount != 1:
            raise LeaseLost
        sealing.renewed_at = time.monotonic()

    @contextlib.contextmanager
    def _given_back(self, connection: Connection[Any], token: int) -> Iterator[None]:
        try:
            yield
        finally:
            with contextlib.suppress(psycopg.Error):
                connection.execute(GIVE_LEASE_BACK, (NAME, token))


@contextlib.contextmanager
def connected(conninfo: str) -> Iterator[Connection[Any]]:
    with psycopg.connect(conninfo, autocommit=True, connect_timeout=5) as connection:
        connection.execute(f"SET ROLE {APP_ROLE}")
        yield connection


def leaf_of_event(event: Stored) -> bytes:
    return leaf_of(event.position, event.stream_id.bytes, event.version, event.name, event.state)


def number(connection: Connection[Any], sql: str, *parameters: Any) -> Any:
    row = connection.execute(sql, parameters).fetchone()
    return 0 if row is None else row[0]


WHAT_TO_DO = "look for what changed with `loyalty-ledger verify`; if a backup was restored on purpose, say so with"
ACCEPT = "`loyalty-ledger keys accept-restore`"


def _behind(signed: str) -> str:
    return f"the store is behind what was signed: {signed}, and they are not there; {WHAT_TO_DO} {ACCEPT}"


def _other(what: str) -> str:
    return f"the store does not go on from what was signed: {what}; {WHAT_TO_DO} {ACCEPT}"
