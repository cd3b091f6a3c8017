"""Making an archive: one look at the database, at one moment, written line by line while the service goes on.

Memory stays as it is however much there is. PostgreSQL keeps what that moment saw until the file is written.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
from psycopg import Connection

from ledger.private_files import flush
from ledger.recorder import APP_ROLE
from ledger.stream import digest
from projections.archive.lines import (
    FORMAT,
    Checkpoint,
    Event,
    Header,
    History,
    Key,
    Line,
    Restore,
    Row,
    Trailer,
    trailer_text,
    written,
)
from projections.archive.rows import CARRIED
from projections.proofs.checkpoints import Sealed, newest
from projections.proofs.merkle import Node, inclusion_proof
from projections.proofs.notes import SigningKey, sign
from projections.proofs.sealing_keys import recorded_keys, signing
from projections.proofs.statement import INDEXES, PROVED_AT_ONCE
from projections.proofs.tiles import TILE_HASHES, TILES, as_columns, node_of, tiles_of, wanted

EVENTS_AT_ONCE = 1_000
Progress = Callable[[int, int], None]

VENDOR = "SELECT stream_id FROM claims WHERE kind = 'vendor_code' AND value = %s"
COUNT = "SELECT count(*), coalesce(max(notification_id), 0) FROM stored_events"
OF_VENDOR = "JOIN streams s ON s.stream_id = e.originator_id AND s.vendor_id = %(vendor_id)s"
EVENTS = """
SELECT e.notification_id, e.originator_id, e.originator_version, e.topic, e.state FROM stored_events e {}
ORDER BY e.notification_id
"""
KEYS = "SELECT note, to_json(recorded_at) #>> '{}' FROM sealing_keys ORDER BY number"
RESTORES = """
SELECT number, checkpoint_number, note, to_json(accepted_at) #>> '{}' FROM accepted_restores ORDER BY number
"""
CHECKPOINTS = """
SELECT number, position, note, to_json(sealed_at) #>> '{{}}' FROM checkpoints {} ORDER BY position, number
"""
HISTORIES = """
SELECT stream_id, stream_type, vendor_id, version, encode(head, 'hex'), parent_id FROM streams {}
ORDER BY stream_id
"""
ROWS = "SELECT row_to_json(t)::text FROM {} t WHERE {} ORDER BY {}"


class ArchiveNotMade(Exception):
    """Why there is no file, and what to do."""


@dataclass(frozen=True, slots=True)
class Made:
    """How many lines and events were written, and how many of the events are under a checkpoint."""

    lines: int
    events: int
    sealed: int


def make_archive(
    conninfo: str,
    key_file: Path,
    file: Path,
    *,
    code: str | None,
    master_key_id: str,
    now: datetime,
    progress: Progress,
) -> Made:
    """Write an archive of one vendor, or of everything where `code` is None.

    Args:
        key_file: The sealing key: it signs the trailer.
        file: Must not exist; it is there as a whole, or not at all.
        progress: Told how many events were written, of how many.

    Raises:
        ArchiveNotMade: No such vendor, or the file is there.
        SealingRefused: There is no sealing key.
        OSError, psycopg.OperationalError: There is no file.
    """
    if file.exists():
        raise ArchiveNotMade(f"{file} is there already: name a file that is not")
    draft = file.with_name(f".{file.name}.{uuid4().hex[:16]}")
    try:
        with psycopg.connect(conninfo, connect_timeout=5) as connection:
            connection.execute(f"SET ROLE {APP_ROLE}")
            connection.commit()
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            key = signing(key_file, recorded_keys(connection))
            vendor_id = None if code is None else _vendor(connection, code)
            lines = _Lines(connection, key, master_key_id, now, vendor_id, code)
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb", buffering=1 << 20) as stream:
                for raw in lines.all(progress):
                    stream.write(raw)
                stream.flush()
                os.fsync(stream.fileno())
        try:
            os.link(draft, file)
        except FileExistsError:
            raise ArchiveNotMade(f"{file} is there already: name a file that is not") from None
        flush(file.parent)
        return lines.made
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()


def _vendor(connection: Connection[Any], code: str) -> UUID:
    row = connection.execute(VENDOR, (code.encode(),)).fetchone()
    if row is None:
        raise ArchiveNotMade(f"there is no vendor with the code {code}")
    found: UUID = row[0]
    return found


class _Lines:
    """`all` reads from top to bottom."""

    def __init__(
        self,
        connection: Connection[Any],
        key: SigningKey,
        master_key_id: str,
        now: datetime,
        vendor_id: UUID | None,
        code: str | None,
    ) -> None:
        self._connection = connection
        self._key = key
        self._vendor_id = vendor_id
        self._sealed = newest(connection)
        self._at = now.isoformat(timespec="seconds")
        join = "" if vendor_id is None else OF_VENDOR
        events, position = self._one(COUNT + " e " + join)
        size = 0 if self._sealed is None else self._sealed.size
        self._header = Header(
            format=FORMAT,
            service=version("loyalty-ledger"),
            origin=key.name,
            made_at=self._at,
            vendor_id=vendor_id,
            code=code,
            events=events,
            position=position,
            sealed=size,
            master_key=master_key_id,
        )
        self.made = Made(0, events, 0)

    def all(self, progress: Progress) -> Iterator[bytes]:
        hasher, count, events, sealed = sha256(), 0, 0, 0
        for line in self._before_trailer():
            raw = written(line)
            hasher.update(raw)
            count += 1
            yield raw
            if isinstance(line, Event):
                events += 1
                if self._sealed is not None and line.position <= self._sealed.position:
                    sealed += 1
                if events % EVENTS_AT_ONCE == 0 or events == self._header.events:
                    progress(events, self._header.events)
        text = trailer_text(lines=count, events=events, sha256=hasher.hexdigest(), at=self._at)
        yield written(Trailer(sign(text, self._key)))
        self.made = Made(count + 1, events, sealed)

    def _before_trailer(self) -> Iterator[Line]:
        yield self._header
        for row in self._rows(KEYS):
            yield Key(*row)
        if self._vendor_id is None:
            for row in self._rows(RESTORES):
                yield Restore(*row)
            yield from self._events_and_checkpoints()
        elif self._sealed is not None:
            for row in self._rows(CHECKPOINTS.format(f"WHERE number = {self._sealed.number}")):
                yield Checkpoint(*row)
            yield from self._proved_events(self._sealed)
        else:
            yield from self._events()
        of_vendor = "" if self._vendor_id is None else "WHERE vendor_id = %(vendor_id)s"
        for row in self._rows(HISTORIES.format(of_vendor)):
            yield History(*row)
        for carried in CARRIED:
            condition = carried.of_all if self._vendor_id is None else carried.of_vendor
            if condition is not None:
                for (values,) in self._rows(ROWS.format(carried.table, condition, carried.key)):
                    yield Row(carried.table, msgspec.Raw(values.encode()))

    def _events(self) -> Iterator[Event]:
        join = "" if self._vendor_id is None else OF_VENDOR
        for position, stream_id, version_, name, state in self._rows(EVENTS.format(join)):
            yield Event(position, stream_id, version_, name, state, digest(stream_id, version_, name, state))

    def _events_and_checkpoints(self) -> Iterator[Line]:
        """Each checkpoint behind the last event of its tree."""
        checkpoints = (Checkpoint(*row) for row in self._rows(CHECKPOINTS.format("")))
        checkpoint = next(checkpoints, None)
        for event in self._events():
            while checkpoint is not None and checkpoint.position < event.position:
                yield checkpoint
                checkpoint = next(checkpoints, None)
            yield event
        while checkpoint is not None:
            yield checkpoint
            checkpoint = next(checkpoints, None)

    def _proved_events(self, sealed: Sealed) -> Iterator[Event]:
        page: list[Event] = []
        for event in self._events():
            page.append(event)
            if len(page) == PROVED_AT_ONCE:
                yield from self._proved(page, sealed)
                page = []
        yield from self._proved(page, sealed)

    def _proved(self, page: list[Event], sealed: Sealed) -> Iterator[Event]:
        found = self._connection.execute(INDEXES, ([event.position for event in page],)).fetchall()
        places = {position: tile * TILE_HASHES + at - 1 for position, tile, at in found if at is not None}
        indexes = {position: index for position, index in places.items() if index < sealed.size}

        def prove_all(node: Node) -> dict[int, list[bytes]]:
            return {position: inclusion_proof(index, sealed.size, node) for position, index in indexes.items()}

        rows = self._connection.execute(TILES, as_columns(wanted(prove_all)), binary=True).fetchall()
        proofs = prove_all(cache(node_of(tiles_of(rows))))  # Neighbours' proofs share most of their hashes.
        for event in page:
            if event.position in indexes:
                proof = tuple(proofs[event.position])
                yield msgspec.structs.replace(event, index=indexes[event.position], proof=proof)
            else:
                yield event

    def _rows(self, sql: str) -> Iterator[tuple[Any, ...]]:
        with self._connection.cursor(f"lines_{uuid4().hex}", binary=True) as cursor:
            cursor.itersize = EVENTS_AT_ONCE
            yield from cursor.execute(sql, {"vendor_id": self._vendor_id})

    def _one(self, sql: str) -> Any:
        return self._connection.execute(sql, {"vendor_id": self._vendor_id}).fetchone()
