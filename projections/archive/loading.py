"""Loading an archive into an empty service: all of it, verified to the last byte, in one transaction, or nothing.

Events keep their bytes and their positions, and everything else is made of them or carried over. Memory stays as it is
however long the file is.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO
from uuid import UUID, uuid4

import msgspec
import psycopg
from psycopg import Connection, sql

from ledger.codec import to_json
from ledger.master_keys import MasterKeyUnknown, in_force
from ledger.recorder import LOCK_STORE, NOTIFY
from ledger.seal import MasterKey
from ledger.stream import EVENT_NAMES, STREAM_KINDS, Recorded, Stored, decode, evolve
from projections.archive.lines import ArchiveRefused, Checkpoint, Event, Header, History, Key, Line, Restore, Row
from projections.archive.reading import verified
from projections.archive.rows import MUST_BE_EMPTY
from projections.proofs.tiles import GrowingTree
from projections.proofs.verify_statement import Checkpoint as SignedCheckpoint
from projections.proofs.verify_statement import VerifierKey, leaf_data, leaf_hash

LINES_AT_ONCE = 1_000
BYTES_AT_ONCE = 4_000_000
LOCK_WAIT = "SET LOCAL lock_timeout = '5s'"

COPY_EVENTS = """
COPY stored_events (notification_id, originator_id, originator_version, topic, state) FROM STDIN (FORMAT BINARY)
"""
EVENT_TYPES = ("int8", "uuid", "int8", "text", "bytea")
COPY_STREAMS = """
COPY streams (stream_id, stream_type, vendor_id, parent_id, version, head, state) FROM STDIN (FORMAT BINARY)
"""
STREAM_TYPES = ("uuid", "text", "uuid", "uuid", "int8", "bytea", "text")
HISTORIES = """
SELECT originator_id, originator_version, topic, state, notification_id FROM stored_events
WHERE originator_id = ANY(%s) ORDER BY originator_id, originator_version
"""
ADD_KEY = "INSERT INTO sealing_keys (verifier_key, note, recorded_at) VALUES (split_part(%s, E'\\n', 2), %s, %s)"
ADD_RESTORE = """
INSERT INTO accepted_restores (number, checkpoint_number, note, accepted_at) VALUES (%s, %s, %s, %s)
"""
ADD_CHECKPOINT = """
INSERT INTO checkpoints (number, tree_size, position, root, note, sealed_at) VALUES (%s, %s, %s, %s, %s, %s)
"""
ADD_ROWS = "INSERT INTO {0} SELECT * FROM json_populate_recordset(NULL::{0}, %s)"
BEGIN_ANEW = "DELETE FROM projections WHERE name <> 'query_tables'"
SEALED_UP_TO = """
INSERT INTO projections (name, position) SELECT 'checkpoints', position FROM checkpoints ORDER BY number DESC LIMIT 1
"""
SEQUENCES = (
    ("stored_events", "notification_id"),
    ("sealing_keys", "number"),
    ("checkpoints", "number"),
    ("accepted_restores", "number"),
)
GO_ON = "SELECT setval(pg_get_serial_sequence({0}, {1}), max({2})) FROM {3} HAVING max({2}) IS NOT NULL"
ANALYSE = "ANALYZE stored_events, streams, claims, idempotency_keys"

Progress = Callable[[int, int], None]


class NotLoaded(Exception):
    """Why nothing was loaded although the file may be right, and what to do."""


@dataclass(frozen=True, slots=True)
class Loaded:
    header: Header
    histories: int


def load_archive(
    owner_conninfo: str, master_key: MasterKey, file: BinaryIO, trusted: VerifierKey, progress: Progress
) -> Loaded:
    """Verify an archive and take it in. The query tables follow as they always do.

    Args:
        owner_conninfo: Of the user that owns the tables.
        master_key: That of the service the archive comes from, here or as `previous`.
        trusted: A public key of that service, from a source that is not the file.
        progress: Told how many events were read, of how many.

    Raises:
        ArchiveRefused: Names the line that is not as it was made. Nothing was written.
        NotLoaded: This service is not the one to load it. Nothing was written.
        psycopg.OperationalError: The database went away: nothing was written, or, in the last moment, everything.
    """
    with psycopg.connect(owner_conninfo, connect_timeout=5) as connection, connection.transaction():
        connection.execute(LOCK_WAIT)
        try:
            connection.execute(LOCK_STORE)
        except psycopg.errors.LockNotAvailable:
            raise NotLoaded("somebody is writing to this database: stop the service, and load again") from None
        loading = _Loading(connection, master_key, progress)
        for number, line in verified(file, trusted):
            loading.take(number, line)
        return loading.end()


class _Loading:
    """Takes lines in, some at a time."""

    def __init__(self, connection: Connection[Any], master_key: MasterKey, progress: Progress) -> None:
        self._connection = connection
        self._master_key = master_key
        self._progress = progress
        self._header: Header | None = None
        self._kept: list[Any] = []  # Lines of one kind, or rows of one table, that wait to be written.
        self._kept_bytes = 0
        self._first = 0  # The number of the first of them.
        self._events = 0
        self._histories = 0
        self._tree = GrowingTree(connection, 0)

    def take(self, number: int, line: Line) -> None:
        if self._kept and not isinstance(line, Checkpoint) and not _belong_together(self._kept[-1], line):
            self._write()
        match line:
            case Header():
                self._look_at(line)
            case Event() | History() | Row():
                self._keep(number, line)
            case Key() | Restore() | Checkpoint():
                with self._refusing(number):
                    self._add(line)

    def end(self) -> Loaded:
        """Once the trailer was verified."""
        assert self._header is not None
        connection = self._connection
        self._tree.write()
        try:
            in_force(connection, self._master_key)
        except MasterKeyUnknown as unknown:
            raise NotLoaded(_other_master_key(str(unknown))) from None
        connection.execute(SEALED_UP_TO)
        for table, column in SEQUENCES:
            names = sql.Literal(table), sql.Literal(column), sql.Identifier(column), sql.Identifier(table)
            connection.execute(sql.SQL(GO_ON).format(*names))
        connection.execute(ANALYSE)
        connection.execute(NOTIFY)
        return Loaded(self._header, self._histories)

    def _look_at(self, header: Header) -> None:
        """Whether this is the service to load it, as early as it can be said."""
        tables = MUST_BE_EMPTY if header.vendor_id is not None else (*MUST_BE_EMPTY, "sealing_keys")
        for table in tables:
            row = self._connection.execute(
                sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(table))
            ).fetchone()
            if row is not None and row[0]:
                raise NotLoaded(
                    "this service is not empty: there is something in table"
                    f" {table}. An archive is loaded into a new database, before the service is started on it first"
                )
        known = [self._master_key, self._master_key.previous]
        if header.master_key not in [key.key_id for key in known if key is not None]:
            raise NotLoaded(_other_master_key(header.master_key))
        self._connection.execute(BEGIN_ANEW)
        self._header = header

    def _keep(self, number: int, line: Event | History | Row) -> None:
        assert self._header is not None
        if not self._kept:
            self._first = number
        self._kept.append(line)
        if isinstance(line, Event):
            if line.name not in EVENT_NAMES:
                raise ArchiveRefused(
                    number, f"this version of the service knows no event {line.name!r}: take a newer one"
                )
            if self._events < self._header.sealed and self._header.vendor_id is None:
                self._tree.append(line.position, leaf_hash(leaf_data(line.position, bytes.fromhex(line.hash))))
            self._events += 1
            self._kept_bytes += len(line.state)
        elif isinstance(line, Row):
            self._kept_bytes += len(bytes(line.values))
        if len(self._kept) >= LINES_AT_ONCE or self._kept_bytes >= BYTES_AT_ONCE:
            self._write()

    def _write(self) -> None:
        kept, self._kept, self._kept_bytes = self._kept, [], 0
        with self._refusing(self._first):
            if isinstance(kept[0], Event):
                self._write_events(kept)
            elif isinstance(kept[0], History):
                self._write_histories(kept)
            else:
                self._write_rows(kept)

    def _write_events(self, events: Sequence[Event]) -> None:
        assert self._header is not None
        rows = ((e.position, e.stream_id, e.version, e.name, e.state) for e in events)
        _copy(self._connection, COPY_EVENTS, EVENT_TYPES, rows)
        self._tree.write()
        self._progress(self._events, self._header.events)

    def _write_histories(self, histories: Sequence[History]) -> None:
        """With what their events add up to."""
        self._histories += len(histories)
        rows = zip(histories, self._states([history.stream_id for history in histories]), strict=True)
        _copy(self._connection, COPY_STREAMS, STREAM_TYPES, (self._stream(*row) for row in rows))

    def _stream(self, history: History, folded: tuple[Recorded, Any]) -> tuple[Any, ...]:
        newest, state = folded
        assert self._header is not None and newest.stream_id == history.stream_id
        envelope = newest.envelope
        is_whose = self._header.vendor_id in (None, history.vendor_id)
        if (envelope.stream_type, envelope.vendor_id) != (history.stream_type, history.vendor_id) or not is_whose:
            raise ValueError(f"{history.stream_id} belongs to somebody else than its events say")
        head = bytes.fromhex(history.head)
        kind, vendor_id, parent_id = history.stream_type, history.vendor_id, history.parent_id
        return history.stream_id, kind, vendor_id, parent_id, history.version, head, to_json(state)

    def _states(self, stream_ids: list[UUID]) -> Iterator[tuple[Recorded, Any]]:
        """What each of these histories adds up to, with its newest event."""
        newest: Recorded | None = None
        state: Any = None
        with self._connection.cursor(f"histories_{uuid4().hex}", binary=True) as cursor:
            for row in cursor.execute(HISTORIES, (stream_ids,)):
                recorded = decode(Stored(*row), is_digested=False)
                if recorded.envelope.stream_type not in STREAM_KINDS:
                    raise ValueError(f"there is no stream of type {recorded.envelope.stream_type}")
                if newest is not None and newest.stream_id != recorded.stream_id:
                    yield newest, state
                    state = None
                state = evolve(recorded.envelope.stream_type, state, recorded.event)
                newest = recorded
        if newest is not None:
            yield newest, state

    def _write_rows(self, rows: Sequence[Row]) -> None:
        together = b"[" + b",".join(bytes(row.values) for row in rows) + b"]"
        insert = sql.SQL(ADD_ROWS).format(sql.Identifier(rows[0].table))
        self._connection.execute(insert, (together.decode(),))

    def _add(self, line: Key | Restore | Checkpoint) -> None:
        assert self._header is not None
        connection, is_whole = self._connection, self._header.vendor_id is None
        if not is_whole:  # What was signed stays with the file: here is another tree, under another key.
            return
        match line:
            case Key():
                connection.execute(ADD_KEY, (line.note, line.note, line.recorded_at))
            case Restore():
                row = (line.number, line.checkpoint_number, line.note, line.accepted_at)
                connection.execute(ADD_RESTORE, row)
            case Checkpoint():
                signed = SignedCheckpoint.parse(line.note.rpartition("\n\n")[0] + "\n")
                place = (line.number, signed.size, line.position, signed.root)
                connection.execute(ADD_CHECKPOINT, (*place, line.note, line.sealed_at))

    @contextmanager
    def _refusing(self, number: int) -> Iterator[None]:
        """What the database or the ledger cannot take is the file's fault."""
        try:
            yield
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            why = error.diag.constraint_name or type(error).__name__
            raise ArchiveRefused(number, f"here or soon after stands what the database does not take: {why}") from None
        except (ValueError, TypeError, KeyError, AttributeError, AssertionError, msgspec.MsgspecError) as error:
            why = str(error) if type(error) is ValueError else type(error).__name__
            raise ArchiveRefused(number, f"here or soon after stands what this service cannot read: {why}") from None


def _belong_together(before: Any, line: Line) -> bool:
    if isinstance(line, Row):
        return isinstance(before, Row) and before.table == line.table
    return type(before) is type(line)


def _other_master_key(id_: str) -> str:
    return (
        f"it was made under the master key {id_!r}, which is not this service's: set LOYALTY_MASTER_KEY to that one, or"
        " put its file into the data directory, and load again"
    )


def _copy(connection: Connection[Any], into: str, types: Sequence[str], rows: Iterator[tuple[Any, ...]]) -> None:
    ready = list(rows)  # Before the COPY begins: its connection may be needed to make them.
    with connection.cursor() as cursor, cursor.copy(into) as copy:
        copy.set_types(types)
        for row in ready:
            copy.write_row(row)
