"""Everything folded again and compared with what stands in the tables, at one consistent moment.

Query tables are compared at the position they were projected to, state rows and look-ups at the end of the stream. On
the way every version, every link of every chain and every digest is verified.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
import psycopg
from msgspec import structs
from psycopg import Connection
from psycopg.types.json import set_json_loads

from ledger.audit import PLACES_MAX, ProjectionChecked
from ledger.codec import to_json
from ledger.commands.caller import utc_now
from ledger.recorder import APP_ROLE
from ledger.seal import MasterKey
from ledger.stream import Recorded, decode, evolve, first_prev
from projections.check_claims import compare_claims
from projections.check_statistics import Counted
from projections.differences import Difference, Differences, Head, Known
from projections.fold import LOG_TABLES, STATE_TABLES, Fold, without_pauses
from projections.loyalty_cards import LOYALTY_CARDS
from projections.loyalty_transactions import LOYALTY_TRANSACTIONS
from projections.read_model import LAST_POSITION, NAME, POSITION, read_batch
from projections.refusals import REFUSALS
from projections.table import LogTable, Row, StateTable, as_read

ROWS_AT_ONCE = 2_000

# First in its transaction, before the snapshot: a rebuild that swapped tables after it would leave them empty to us.
HOLD_TABLES = "LOCK TABLE {} IN ACCESS SHARE MODE".format(
    ", ".join([table.name for table in STATE_TABLES] + [log_table.name for log_table in LOG_TABLES])
)
STREAMS = "SELECT stream_id, stream_type, vendor_id, version, encode(head, 'hex'), state FROM streams"

Progress = Callable[[int, int], None]


Beside = Callable[[Known], None]


@dataclass(frozen=True, slots=True)
class Checked:
    """What was compared when, and what differs: `differences` holds the first of `count`."""

    at: datetime
    position: int
    last_position: int
    rows: dict[str, int]
    differences: list[Difference]
    count: int
    seconds: float

    @property
    def event(self) -> ProjectionChecked:
        return ProjectionChecked(
            at=self.at,
            position=self.position,
            last_position=self.last_position,
            rows=self.rows,
            differences=self.count,
            places=tuple(difference.place for difference in self.differences[:PLACES_MAX]),
            duration_ms=round(self.seconds * 1_000),
        )


def check(conninfo: str, master_key: MasterKey, progress: Progress | None = None) -> list[Difference]:
    """The differences that `compare` finds."""
    return compare(conninfo, master_key, progress).differences


def compare(
    conninfo: str, master_key: MasterKey, progress: Progress | None = None, beside: Sequence[Beside] = ()
) -> Checked:
    """Compare query tables, statistics, state rows and look-ups with the stream.

    Args:
        progress: Told the position reached and the last one, after each batch.
        beside: Who compares more, in the same snapshot.

    Returns:
        Rows, positions and seconds; how many differences there are (`count`), and the first `DIFFERENCES_MAX` of them.

    Raises:
        psycopg.OperationalError: The database is away. Safe to ask again.

    Source:
        One snapshot of the database; writes go on meanwhile and are not in it. Nothing is changed.
    """
    with psycopg.connect(conninfo, connect_timeout=5) as connection, without_pauses():
        connection.execute(f"SET ROLE {APP_ROLE}")
        connection.execute("SET timezone = 'UTC'")
        connection.commit()
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        set_json_loads(orjson.loads, connection)
        connection.execute(HOLD_TABLES)
        return _Check(connection, master_key, progress or (lambda _position, _last: None)).run(beside)


class _Check:
    def __init__(self, connection: Connection[Any], master_key: MasterKey, progress: Progress) -> None:
        self._connection = connection
        self._master_key = master_key
        self._progress = progress
        self._fold = Fold(master_key)
        self._heads: dict[UUID, Head] = {}
        self._differences = Differences()
        self._log_rows = {table.name: 0 for table in LOG_TABLES}
        self._counted = Counted()

    def run(self, beside: Sequence[Beside]) -> Checked:
        at, began = utc_now(), time.monotonic()
        projected, last = self._number(POSITION, NAME), self._number(LAST_POSITION)
        position = self._follow(0, projected, last, is_projected=True)
        for table in STATE_TABLES:
            self._compare_states(table)
        for log_table in LOG_TABLES:
            self._compare_count(log_table, projected)
        cards = self._fold.kept[LOYALTY_CARDS.name]
        self._counted.compare(self._connection, cards.values(), at, self._differences)
        self._follow(position, last, last, is_projected=False)
        self._compare_heads()
        known = Known(self._connection, self._heads, cards, self._differences, projected)
        compare_claims(known, self._master_key)
        for one in beside:
            one(known)
        found = self._differences
        seconds = time.monotonic() - began
        return Checked(at, projected, last, dict(sorted(found.rows.items())), found.first, found.count, seconds)

    def _follow(self, position: int, until: int, last: int, *, is_projected: bool) -> int:
        while position < until and (batch := read_batch(self._connection, position, until=until)):
            self._differences.rows["stored_events"] += len(batch)
            for stored in batch:
                try:
                    recorded = decode(stored)
                    self._chain(recorded, is_projected=is_projected)
                    if is_projected:
                        self._fold.apply(recorded)
                except Exception as error:
                    self._differ("stored_events", stored.position, "state", "a readable event", type(error).__name__)
            after, position = position, batch[-1].position
            if is_projected:
                self._fold.open(self._connection)
                for log_table in LOG_TABLES:
                    self._compare_log(log_table, self._fold.take_added(log_table), after, position)
                for changed in self._fold.changed.values():
                    changed.clear()
            self._progress(position, last)
        return position

    # ------------------------------------------------------------------ streams

    def _chain(self, recorded: Recorded, *, is_projected: bool) -> None:
        envelope, position = recorded.envelope, recorded.position
        assert position is not None
        head = self._heads.get(recorded.stream_id)
        if head is None:
            head = Head.of(envelope, first_prev(recorded.stream_id))
            self._heads[recorded.stream_id] = head
        if recorded.version != head.version + 1:
            place = f"{recorded.stream_id}/{recorded.version}"
            self._differ("stored_events", place, "originator_version", head.version + 1, recorded.version)
        if recorded.prev != head.digest:
            self._differ(
                "stored_events", f"{recorded.stream_id}/{recorded.version}", "prev", head.digest, recorded.prev
            )
        head.version, head.position, head.digest = recorded.version, position, recorded.digest
        if envelope.stream_type != "card":
            head.state = evolve(envelope.stream_type, head.state, recorded.event)
        elif not is_projected:  # Until then the fold does it.
            kept = self._fold.kept[LOYALTY_CARDS.name].get(recorded.stream_id)
            before = kept.state if head.state is None and kept is not None else head.state
            head.state = evolve("card", before, recorded.event)

    def _compare_heads(self) -> None:
        missing = set(self._heads)
        cards = self._fold.kept[LOYALTY_CARDS.name]
        for stream_id, stream_type, vendor_id, version, digest, state in self._read(STREAMS):
            self._differences.rows["streams"] += 1
            head = self._heads.get(stream_id)
            if head is None:
                self._differ("streams", stream_id, "(row)", None, "there")
                continue
            missing.discard(stream_id)
            folded = cards[stream_id].state if head.state is None and stream_id in cards else head.state
            written = "null" if folded is None else to_json(folded)
            pairs: dict[str, tuple[Any, Any]] = {
                "stream_type": (head.stream_type, stream_type),
                "vendor_id": (head.vendor_id, vendor_id),
                "version": (head.version, version),
                "head": (head.digest, digest),
                "state": (written, state),
            }
            for column, (expected, found) in pairs.items():
                if expected != found:
                    if column == "state" and (expected := _loaded(expected)) == (found := _loaded(found)):
                        continue
                    self._differ("streams", stream_id, column, expected, found)
        for stream_id in missing:
            self._differ("streams", stream_id, "(row)", "there", None)

    # ------------------------------------------------------------------ query tables

    def _compare_states(self, table: StateTable) -> None:
        kept_rows = self._fold.kept[table.name]
        there = {id_ for id_, kept in kept_rows.items() if table.is_there(kept)}
        self._compare(table.name, table.key, there, lambda id_: table.row(kept_rows[id_]))

    def _compare_log(self, table: LogTable, rows: list[Any], after: int, until: int) -> None:
        """A batch as a whole, by position; only where that is not what it should be, row by row and cell by cell."""
        if not rows:
            return
        self._log_rows[table.name] += len(rows)
        if table is LOYALTY_TRANSACTIONS:
            self._counted.add(rows)
        elif table is REFUSALS:
            self._counted.add_refusals(rows)
        columns = ", ".join(rows[0].__struct_fields__)
        found = self._connection.execute(
            f"SELECT {columns} FROM {table.name} WHERE position > %s AND position <= %s ORDER BY position",
            (after, until),
            binary=True,
            prepare=True,
        ).fetchall()
        if found == list(map(structs.astuple, rows)):
            self._differences.rows[table.name] += len(rows)
            return
        expected = {getattr(row, table.key): structs.asdict(row) for row in rows}
        self._compare(table.name, table.key, set(expected), expected.__getitem__, list(expected))

    def _compare_count(self, table: LogTable, projected: int) -> None:
        """Rows beyond those that were compared."""
        count = self._number(f"SELECT count(*) FROM {table.name}")
        if count == self._log_rows[table.name] and not self._differences.are_in(table.name):
            return
        unexplained = self._read(
            f"SELECT {table.key}, position FROM {table.name} t WHERE position > %s"
            " OR NOT EXISTS (SELECT FROM stored_events e WHERE e.notification_id = t.position)",
            projected,
        )
        for id_, position in unexplained:
            self._differ(table.name, id_, "(row)", None, f"at position {position}")
        if count != self._log_rows[table.name] and not self._differences.are_in(table.name):
            self._differ(table.name, "*", "count", self._log_rows[table.name], count)

    def _compare(
        self, table: str, key: str, there: set[Any], row_of: Callable[[Any], Row], ids: list[Any] | None = None
    ) -> None:
        """The rows of a table, or those of these ids, one after the other: nothing is held but what is folded."""
        columns = [key] if not there else list(row_of(next(iter(there))))
        key_at = columns.index(key)
        where, parameters = ("", ()) if ids is None else (f" WHERE {key} = ANY(%s)", (ids,))
        for found in self._read(f"SELECT {', '.join(columns)} FROM {table}{where}", *parameters):
            self._differences.rows[table] += 1
            id_ = found[key_at]
            if id_ not in there:
                self._differ(table, id_, "(row)", None, "there")
                continue
            there.discard(id_)
            expected = row_of(id_)
            for column, should_be, is_ in zip(columns, expected.values(), found, strict=True):
                if should_be != is_ and (should_be := as_read(should_be)) != is_:
                    self._differ(table, id_, column, should_be, is_)
        for id_ in there:
            self._differ(table, id_, "(row)", "there", None)

    def _differ(self, table: str, row: object, column: str, expected: Any, found: Any) -> None:
        self._differences.add(table, row, column, expected, found)

    def _read(self, sql: str, *parameters: Any) -> Iterable[tuple[Any, ...]]:
        with self._connection.cursor("compared", binary=True) as cursor:
            cursor.itersize = ROWS_AT_ONCE
            yield from cursor.execute(sql, parameters)

    def _number(self, sql: str, *parameters: Any) -> int:
        row = self._connection.execute(sql, parameters).fetchone()
        return 0 if row is None else int(row[0])


def _loaded(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
