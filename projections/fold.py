"""A batch of events folded into rows of all tables, in memory; the same for live batches, rebuild and check.

A fold promises that many events at once and one event at a time end in equal rows.
"""

import gc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import UUID

from msgspec import Struct
from psycopg import Connection

from ledger.seal import MasterKey, SealBroken, unseal
from ledger.stream import Recorded
from ledger.wallet_pass import ApplePassIssued, GooglePassCreated, GooglePassRemoved, GooglePassSaved
from projections.apple_device_registrations import APPLE_DEVICE_REGISTRATIONS
from projections.loyalty_cards import LOYALTY_CARDS
from projections.loyalty_programs import LOYALTY_PROGRAMS
from projections.loyalty_transactions import LOYALTY_TRANSACTIONS
from projections.other_events import OTHER_EVENTS
from projections.refusals import REFUSALS
from projections.staff_pins import STAFF_PINS, used_pin
from projections.table import Kept, LogTable, StateTable, add_rows
from projections.vendors import API_KEYS, VENDORS

STATE_TABLES: tuple[StateTable, ...] = (
    VENDORS,
    API_KEYS,
    LOYALTY_PROGRAMS,
    LOYALTY_CARDS,
    STAFF_PINS,
    APPLE_DEVICE_REGISTRATIONS,
)
LOG_TABLES: tuple[LogTable, ...] = (LOYALTY_TRANSACTIONS, REFUSALS, OTHER_EVENTS)
SUBJECT_KEYS = "SELECT subject_id, vendor_id, wrapped_key FROM subject_keys WHERE subject_id = ANY(%s)"

_STATE_TABLES_OF: dict[str, tuple[StateTable, ...]] = {
    "vendor": (VENDORS, API_KEYS),
    "program": (LOYALTY_PROGRAMS,),
    "card": (LOYALTY_CARDS,),
    "staff_pin": (STAFF_PINS,),
    "wallet_pass": (APPLE_DEVICE_REGISTRATIONS,),
    "attempts": (),
    "subject": (),
    "audit": (),
}
_LOG_TABLE_OF: dict[str, LogTable] = {kind: table for table in LOG_TABLES for kind in table.stream_types}


def _told_beside(recorded: Recorded) -> list[tuple[StateTable, UUID, str, Any]]:
    """What an event tells of rows that other streams make: table, id, column and value."""
    event, program_id = recorded.event, recorded.envelope.program_id
    match event:
        case ApplePassIssued():
            assert program_id is not None
            return [
                (LOYALTY_CARDS, event.card_id, "apple_serial_number", event.serial_number),
                (LOYALTY_PROGRAMS, program_id, "apple_pass_type_id", event.pass_type_id),
            ]
        case GooglePassCreated():
            assert program_id is not None
            return [
                (LOYALTY_CARDS, event.card_id, "google_object_id", event.object_id),
                (LOYALTY_PROGRAMS, program_id, "google_class_id", event.class_id),
            ]
        case GooglePassSaved() | GooglePassRemoved():
            return [(LOYALTY_CARDS, event.card_id, "is_saved_at_google", isinstance(event, GooglePassSaved))]
        case _:
            pin_id = used_pin(recorded)
            return [] if pin_id is None else [(STAFF_PINS, pin_id, "last_used_at", recorded.envelope.recorded_at)]


@contextmanager
def without_pauses() -> Iterator[None]:
    """Folding a whole history makes millions of objects and no cycles: looking for some would cost a third of it."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Fold:
    """Rows being folded.

    Without `load`, whatever is not kept is taken for new: right where the fold began with the first event.
    """

    def __init__(self, master_key: MasterKey) -> None:
        self._master_key = master_key
        self.kept: dict[str, dict[UUID, Kept]] = {table.name: {} for table in STATE_TABLES}
        self.changed: dict[str, set[UUID]] = {table.name: set() for table in STATE_TABLES}
        self.added: dict[str, list[Struct]] = {table.name: [] for table in LOG_TABLES}

    def load(self, connection: Connection[Any], events: Iterable[Recorded]) -> None:
        """Fetch the rows that the events are about to change."""
        wanted: dict[str, set[UUID]] = {table.name: set() for table in STATE_TABLES}
        for recorded in events:
            for table in _STATE_TABLES_OF[recorded.envelope.stream_type]:
                id_ = table.id_of(recorded)
                if id_ is not None:
                    wanted[table.name].add(id_)
            for table, id_, _, _ in _told_beside(recorded):
                wanted[table.name].add(id_)
        for table in STATE_TABLES:
            kept = self.kept[table.name]
            missing = []
            for id_ in wanted[table.name]:
                if id_ in kept:
                    kept[id_] = kept.pop(id_)  # To the end: it is needed now.
                else:
                    missing.append(id_)
            if missing:
                kept |= table.load(connection, missing)

    def apply(self, recorded: Recorded) -> None:
        """One event, into every table that cares."""
        assert recorded.position is not None
        kept = None
        for table in _STATE_TABLES_OF[recorded.envelope.stream_type]:
            id_ = table.id_of(recorded)
            if id_ is not None:
                kept = self._evolve(table, id_, recorded)
        for told in _told_beside(recorded):
            self._tell(*told)
        log = _LOG_TABLE_OF[recorded.envelope.stream_type]
        self.added[log.name].append(log.row(recorded, kept))

    def _evolve(self, table: StateTable, id_: UUID, recorded: Recorded) -> Kept:
        assert recorded.position is not None
        kept = self.kept[table.name].get(id_)
        if kept is None:
            envelope = recorded.envelope
            state = table.evolve(None, recorded.event)
            kept = Kept(id_, envelope.vendor_id, envelope.program_id, recorded.version, recorded.position, state)
            self.kept[table.name][id_] = kept
        else:
            kept.state = table.evolve(kept.state, recorded.event)
            kept.version, kept.position = recorded.version, recorded.position
        self.changed[table.name].add(kept.id)
        return kept

    def _tell(self, table: StateTable, id_: UUID, column: str, value: Any) -> None:
        kept = self.kept[table.name].get(id_)
        if kept is None:
            return
        before = kept.beside.get(column)
        if before is None or (before < value if isinstance(value, datetime) else before != value):
            kept.beside[column] = value  # Times only grow: the clocks of several processes wrote them.
            self.changed[table.name].add(id_)

    def open(self, connection: Connection[Any]) -> None:
        """Open the secrets that changed rows tell, with all keys they need fetched at once.

        Raises: SealBroken where the master key is another one than events were sealed under.
        """
        closed = [
            (table, kept, secrets)
            for table in STATE_TABLES
            if table.subject is not None
            for kept in map(self.kept[table.name].__getitem__, self.changed[table.name])
            if (secrets := table.closed_secrets(kept))
        ]
        if not closed:
            return
        subjects = [table.subject(kept) for table, kept, _ in closed if table.subject is not None]
        rows = connection.execute(SUBJECT_KEYS, (list(set(subjects)),), binary=True)
        keys = {row[0]: self._master_key.unwrap(*row) for row in rows}
        for subject, (table, kept, secrets) in zip(subjects, closed, strict=True):
            key = keys.get(subject)
            stream_id = kept.id if table.stream is None else table.stream(kept)
            for secret, lookup in secrets:
                assert secret.sealed is not None
                try:
                    told = None if key is None else unseal(secret, key, stream_id=stream_id).plain
                except SealBroken:
                    if lookup is None:
                        raise
                    told = None  # It is not found by what cannot be read; `check` says so.
                if lookup is not None and told is not None:
                    told = self._master_key.lookup(kept.vendor_id, lookup, told).hex()
                kept.told[secret.sealed] = told

    def forget(self, rows_max: int) -> None:
        """Let go of the rows that were not needed for longest; whoever needs one loads it again."""
        for kept in self.kept.values():
            for id_ in list(islice(kept, max(len(kept) - rows_max, 0))):
                del kept[id_]

    def take_added(self, table: LogTable) -> list[Struct]:
        added, self.added[table.name] = self.added[table.name], []
        return added

    def replace(self, connection: Connection[Any], tables: Sequence[str] | None = None) -> None:
        """Write the rows of things that changed since the last time."""
        for table in STATE_TABLES:
            if self.changed[table.name] and (tables is None or table.name in tables):
                table.write(connection, [self.kept[table.name][id_] for id_ in self.changed[table.name]])
            self.changed[table.name].clear()

    def add(self, connection: Connection[Any], tables: Sequence[str] | None = None) -> None:
        """Write the rows that logs gained since the last time."""
        for log in LOG_TABLES:
            rows = self.take_added(log)
            if rows and (tables is None or log.name in tables):
                add_rows(connection, log.name, rows)
