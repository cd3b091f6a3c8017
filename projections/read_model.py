"""The runner that keeps the query tables up with the stream.

A batch of events is one transaction over all tables and the position, written under a lease with a fencing token: no
event is applied twice or skipped, whoever else runs. It survives restarts of PostgreSQL. An event that cannot be
applied stops it there, named in `projections.error`, and is tried again; what follows waits.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import psycopg
import structlog
from psycopg import Connection

from ledger.recorder import APP_ROLE
from ledger.seal import MasterKey
from ledger.stream import Stored, decode
from projections.fold import Fold, without_pauses
from projections.loyalty_cards import LOYALTY_CARDS, WITHOUT_DIGEST
from projections.table import FEW, Queries, Row, dicts

NAME = "query_tables"
BATCH_EVENTS_MAX = 2_000
POLL_SECONDS = 0.05
KEPT_ROWS_MAX = 10_000  # About 2 kB each.
LEASE_SECONDS = 2.0
LEASE_RENEW_SECONDS = 0.5
PAUSE_FIRST_SECONDS = 0.1
PAUSE_LONGEST_SECONDS = 5.0
POISON_LONGEST_SECONDS = 30.0

log = structlog.get_logger("projections.read_model")

EVENTS = """
SELECT originator_id, originator_version, topic, state, notification_id FROM stored_events
WHERE notification_id > %s ORDER BY notification_id LIMIT %s
"""
LAST_POSITION = "SELECT coalesce(max(notification_id), 0) FROM stored_events"
STANDING = "SELECT position, error FROM projections WHERE name = %s"
POSITION = "SELECT position FROM projections WHERE name = %s"
TAKE_LEASE = """
INSERT INTO projections AS p (name, holder, fencing_token, lease_until)
VALUES (%(name)s, %(holder)s, 1, clock_timestamp() + %(seconds)s * interval '1 second')
ON CONFLICT (name) DO UPDATE
    SET holder = excluded.holder, fencing_token = p.fencing_token + 1, lease_until = excluded.lease_until
    WHERE p.holder IS NULL OR p.holder = excluded.holder OR p.lease_until < clock_timestamp()
RETURNING fencing_token, position
"""
RENEW_LEASE = """
UPDATE projections SET lease_until = clock_timestamp() + %(seconds)s * interval '1 second'
WHERE name = %(name)s AND fencing_token = %(token)s
"""
GIVE_LEASE_BACK = "UPDATE projections SET holder = NULL, lease_until = NULL WHERE name = %s AND fencing_token = %s"
# First in its transaction: it fences off a former holder, and waits while a rebuild changes tables.
MOVE_ON = """
UPDATE projections SET position = %(after)s, error = NULL, updated_at = clock_timestamp(),
    lease_until = clock_timestamp() + %(seconds)s * interval '1 second'
WHERE name = %(name)s AND fencing_token = %(token)s AND position = %(before)s
RETURNING position
"""
NOTE_ERROR = """
UPDATE projections SET error = %s, updated_at = clock_timestamp() WHERE name = %s AND fencing_token = %s
"""
NOTIFY = "SELECT pg_notify('projected', %s)"


class PoisonEvent(Exception):
    """An event that cannot be applied. The message names position, event and kind of error, and no personal data."""


class LeaseLost(Exception):
    """Somebody else follows the stream now, or the tables were rebuilt to another position."""


NOT_THE_EVENTS_FAULT = (psycopg.OperationalError, psycopg.InterfaceError, LeaseLost)
NO_CARD_YET = UUID(int=0)  # Before the first of all ids.


@dataclass(slots=True)
class _Lease:
    token: int
    position: int
    renewed_at: float  # Monotonic.
    fold: Fold  # Rows stay in it from batch to batch: under a lease nobody else changes them.
    completed: UUID | None = NO_CARD_YET  # Up to which card rows are complete; None: all of them.


class Projector:
    """Follows the stream into the query tables. Any number may run; one at a time works."""

    def __init__(self, conninfo: str, master_key: MasterKey) -> None:
        self._conninfo = conninfo
        self._master_key = master_key
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        self.position = 0  # The last one known to this process.

    def run(self, stop: threading.Event) -> None:
        """Follow the stream until `stop` is set; whatever happens to the database, go on when it is back."""
        pause = PAUSE_FIRST_SECONDS
        while not stop.is_set():
            began = time.monotonic()
            try:
                with self._connected() as connection:
                    self._follow(connection, stop)
            except Exception as error:
                if time.monotonic() - began > PAUSE_LONGEST_SECONDS:
                    pause = PAUSE_FIRST_SECONDS
                log.warning("projector-interrupted", **_described(error), again_in_seconds=pause)
                stop.wait(pause)
                pause = min(pause * 2, PAUSE_LONGEST_SECONDS)

    def catch_up(self) -> int:
        """Apply everything recorded so far, or wait while another projector does.

        Returns:
            The position reached: at least the newest event's at the time of the call.

        Raises:
            PoisonEvent: What cannot be applied; everything before it was.
            psycopg.OperationalError: The database is away. Safe to ask again.
        """
        with self._connected() as connection, without_pauses():
            target = _number(connection, LAST_POSITION)
            while True:
                lease = self._take_lease(connection)
                if lease is None:
                    position, error = connection.execute(STANDING, (NAME,)).fetchone() or (0, None)
                    if position >= target:
                        return int(position)
                    if error is not None:
                        raise PoisonEvent(error)
                    time.sleep(POLL_SECONDS)
                    continue
                with contextlib.suppress(LeaseLost), self._given_back(connection, lease):
                    while self._advance(connection, lease) or self._complete(connection, lease):
                        pass
                    return lease.position

    # ------------------------------------------------------------------ following

    def _follow(self, connection: Connection[Any], stop: threading.Event) -> None:
        connection.execute("LISTEN stored_events")
        while not stop.is_set():
            lease = self._take_lease(connection)
            if lease is None:
                stop.wait(LEASE_RENEW_SECONDS)
                continue
            log.info("projecting", position=lease.position, fencing_token=lease.token)
            with contextlib.suppress(LeaseLost), self._given_back(connection, lease):
                self._follow_leased(connection, lease, stop)

    def _follow_leased(self, connection: Connection[Any], lease: _Lease, stop: threading.Event) -> None:
        pause = PAUSE_FIRST_SECONDS
        while not stop.is_set():
            try:
                if self._advance(connection, lease) or self._complete(connection, lease):
                    pause = PAUSE_FIRST_SECONDS
                else:
                    self._renew(connection, lease)
                    for _ in connection.notifies(timeout=POLL_SECONDS, stop_after=1):
                        pass
            except PoisonEvent as poison:
                connection.execute(NOTE_ERROR, (str(poison), NAME, lease.token))
                log.error("poison-event", error=str(poison), again_in_seconds=pause)
                again_at = time.monotonic() + pause
                while time.monotonic() < again_at and not stop.wait(min(pause, LEASE_RENEW_SECONDS)):
                    self._renew(connection, lease)
                pause = min(pause * 2, POISON_LONGEST_SECONDS)

    def _advance(self, connection: Connection[Any], lease: _Lease) -> int:
        """Apply the next batch; 0 where there is none."""
        batch = read_batch(connection, lease.position)
        if batch:
            self._apply(connection, lease, batch)
        return len(batch)

    def _apply(self, connection: Connection[Any], lease: _Lease, batch: Sequence[Stored]) -> None:
        """One transaction; where an event fails, halves of the batch, down to that event alone."""
        try:
            self._write(connection, lease, batch)
            lease.fold.forget(KEPT_ROWS_MAX)
        except BaseException as error:
            lease.fold = Fold(self._master_key)  # What was folded was not written.
            if isinstance(error, NOT_THE_EVENTS_FAULT) or not isinstance(error, Exception):
                raise
            self._apply_halves(connection, lease, batch, error)

    def _apply_halves(
        self, connection: Connection[Any], lease: _Lease, batch: Sequence[Stored], error: Exception
    ) -> None:
        if len(batch) == 1:
            raise PoisonEvent(_named(batch[0], error)) from error
        half = len(batch) // 2
        self._apply(connection, lease, batch[:half])
        self._apply(connection, lease, batch[half:])

    def _write(self, connection: Connection[Any], lease: _Lease, batch: Sequence[Stored]) -> None:
        events = [decode(stored, is_digested=False) for stored in batch]
        after = batch[-1].position
        fold = lease.fold
        # A third of the round trips where there is little to do; COPY, for where there is much, needs it closed.
        pipeline = connection.pipeline() if len(batch) < FEW else contextlib.nullcontext()
        with pipeline, connection.transaction():
            self._move_on(connection, lease, after)
            fold.load(connection, events)
            for recorded in events:
                fold.apply(recorded)
            fold.open(connection)
            fold.replace(connection)
            fold.add(connection)
            connection.execute(NOTIFY, (str(after),))
        lease.position = self.position = after
        lease.renewed_at = time.monotonic()

    def _complete(self, connection: Connection[Any], lease: _Lease) -> int:
        """Rows from before a column was there get it, once under each lease; 0 where none is left."""
        if lease.completed is None:
            return 0
        ids = [id_ for (id_,) in connection.execute(WITHOUT_DIGEST, (lease.completed, BATCH_EVENTS_MAX))]
        if ids:
            fold = Fold(self._master_key)
            with connection.transaction():
                self._move_on(connection, lease, lease.position)
                fold.kept[LOYALTY_CARDS.name] = LOYALTY_CARDS.load(connection, ids)
                fold.changed[LOYALTY_CARDS.name].update(ids)
                fold.open(connection)
                fold.replace(connection)
        lease.completed = ids[-1] if ids else None
        return len(ids)

    # ------------------------------------------------------------------ lease

    def _move_on(self, connection: Connection[Any], lease: _Lease, after: int) -> None:
        parameters = {"token": lease.token, "before": lease.position, "after": after}
        if connection.execute(MOVE_ON, {"name": NAME, "seconds": LEASE_SECONDS, **parameters}).fetchone() is None:
            raise LeaseLost

    def _take_lease(self, connection: Connection[Any]) -> _Lease | None:
        parameters = {"name": NAME, "holder": self._holder, "seconds": LEASE_SECONDS}
        row = connection.execute(TAKE_LEASE, parameters).fetchone()
        if row is None:
            return None
        self.position = row[1]
        return _Lease(row[0], row[1], time.monotonic(), Fold(self._master_key))

    def _renew(self, connection: Connection[Any], lease: _Lease) -> None:
        if time.monotonic() - lease.renewed_at < LEASE_RENEW_SECONDS:
            return
        parameters = {"name": NAME, "token": lease.token, "seconds": LEASE_SECONDS}
        if connection.execute(RENEW_LEASE, parameters).rowcount != 1:
            raise LeaseLost
        lease.renewed_at = time.monotonic()

    @contextlib.contextmanager
    def _given_back(self, connection: Connection[Any], lease: _Lease) -> Iterator[None]:
        try:
            yield
        finally:
            with contextlib.suppress(psycopg.Error):
                connection.execute(GIVE_LEASE_BACK, (NAME, lease.token))

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Connection[Any]]:
        with psycopg.connect(self._conninfo, autocommit=True, connect_timeout=5) as connection:
            connection.execute(f"SET ROLE {APP_ROLE}")
            yield connection


def read_batch(
    connection: Connection[Any], after: int, *, until: int | None = None, limit: int = BATCH_EVENTS_MAX
) -> list[Stored]:
    """The next events by position, after one position and up to another."""
    rows = connection.execute(EVENTS, (after, limit), binary=True, prepare=True)
    return [Stored(*row) for row in rows if until is None or row[4] <= until]


async def status(queries: Queries) -> list[Row]:
    """How far each projection is, and what stops it.

    Returns: name, position, holder, lease_until, error and updated_at of each, beside the stream's last_position.
    """
    columns = "name, position, holder, lease_until, error, updated_at"
    rows = await queries.rows(f"SELECT {columns}, ({LAST_POSITION}) FROM projections ORDER BY name")
    return dicts(f"{columns}, last_position", rows)


def _number(connection: Connection[Any], sql: str, *parameters: Any) -> int:
    row = connection.execute(sql, parameters).fetchone()
    return 0 if row is None else int(row[0])


def _named(event: Stored, error: Exception) -> str:
    why = " ".join(f"{name}={value}" for name, value in _described(error).items())
    return f"position {event.position}: {event.name}, version {event.version} of {event.stream_id}: {why}"


def _described(error: Exception) -> dict[str, str]:
    """What may be told of an error: PostgreSQL's messages can quote what people entrusted to us."""
    told = {"error": type(error).__name__}
    if isinstance(error, psycopg.Error) and error.sqlstate is not None:
        told["sqlstate"] = error.sqlstate
        if error.diag.constraint_name is not None:
            told["constraint"] = error.diag.constraint_name
    elif isinstance(error, KeyError | AssertionError):
        told["reason"] = str(error)
    return told
