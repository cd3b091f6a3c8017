"""Everything folded again and compared with what stands in the tables, at one consistent moment.

Query tables are compared at the position they were projected to, state rows at the end of the stream. On the way every
version, every link of every chain and every digest is verified.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson
import psycopg
from psycopg import Connection
from psycopg.rows import dict_row

from ledger.card import Card
from ledger.codec import to_json
from ledger.commands.references import card_of_claim, number_claim, qr_claim
from ledger.decision import Claim
from ledger.recorder import APP_ROLE
from ledger.seal import MasterKey
from ledger.stream import Recorded, decode, evolve, first_prev
from projections.fold import LOG_TABLES, STATE_TABLES, Fold, without_pauses
from projections.loyalty_cards import LOYALTY_CARDS, OPEN
from projections.read_model import LAST_POSITION, NAME, POSITION, read_batch
from projections.table import LogTable, Row, StateTable, as_read

DIFFERENCES_MAX = 1_000
CARD_CLAIMS = ("card_number", "card_qr", "open_card")
SECRET_COLUMNS = frozenset({"qr_code_data", "pin_hash", "digest", "device_library_identifier", "push_token"})

# First in its transaction, before the snapshot: a rebuild that swapped tables after it would leave them empty to us.
HOLD_TABLES = "LOCK TABLE {} IN ACCESS SHARE MODE".format(
    ", ".join([table.name for table in STATE_TABLES] + [log_table.name for log_table in LOG_TABLES])
)

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Difference:
    """One cell that is not what the stream adds up to.

    `row` is the row's id. A row that is missing, or that no event explains, has the column `(row)`. What may identify
    a person or open a card is shown by its digest.
    """

    table: str
    row: str
    column: str
    expected: Any
    found: Any


@dataclass(slots=True)
class _Head:
    """Where a stream stands."""

    stream_type: str
    vendor_id: UUID
    program_id: UUID | None
    version: int
    digest: str
    state: Any


def check(conninfo: str, master_key: MasterKey, progress: Progress | None = None) -> list[Difference]:
    """Compare the query tables and state rows with the stream.

    Args:
        progress: Told the position reached and the last one, after each batch.

    Returns:
        What differs, at most `DIFFERENCES_MAX`; empty where everything adds up.

    Raises:
        psycopg.OperationalError: The database is away. Safe to ask again.

    Source:
        One snapshot of the database; writes go on meanwhile and are not in it. Nothing is changed.
    """
    with psycopg.connect(conninfo, connect_timeout=5) as connection, without_pauses():
        connection.execute(f"SET ROLE {APP_ROLE}")
        connection.commit()
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        connection.execute(HOLD_TABLES)
        return _Check(connection, master_key, progress or (lambda _position, _last: None)).run()


class _Check:
    def __init__(self, connection: Connection[Any], master_key: MasterKey, progress: Progress) -> None:
        self._connection = connection
        self._progress = progress
        self._fold = Fold(master_key)
        self._heads: dict[UUID, _Head] = {}
        self._differences: list[Difference] = []
        self._log_rows = {table.name: 0 for table in LOG_TABLES}

    def run(self) -> list[Difference]:
        projected, last = self._number(POSITION, NAME), self._number(LAST_POSITION)
        position = self._follow(0, projected, last, is_projected=True)
        for table in STATE_TABLES:
            self._compare_states(table)
        for log_table in LOG_TABLES:
            self._compare_count(log_table, projected)
        self._follow(position, last, last, is_projected=False)
        self._compare_heads()
        return self._differences[:DIFFERENCES_MAX]

    def _follow(self, position: int, until: int, last: int, *, is_projected: bool) -> int:
        while position < until and (batch := read_batch(self._connection, position, until=until)):
            for notification in batch:
                try:
                    recorded = decode(notification)
                    self._chain(recorded)
                    if is_projected:
                        self._fold.apply(recorded)
                except Exception as error:
                    self._differ("stored_events", notification.id, "state", "a readable event", type(error).__name__)
            if is_projected:
                self._fold.open(self._connection)
                for log_table in LOG_TABLES:
                    self._compare_log(log_table, self._fold.take_added(log_table))
                for changed in self._fold.changed.values():
                    changed.clear()
            position = batch[-1].id
            self._progress(position, last)
        return position

    # ------------------------------------------------------------------ streams

    def _chain(self, recorded: Recorded) -> None:
        head = self._heads.get(recorded.stream_id)
        version, digest, state = (head.version, head.digest, head.state) if head else (0, "", None)
        digest = digest or first_prev(recorded.stream_id)
        place = f"{recorded.stream_id}/{recorded.version}"
        if recorded.version != version + 1:
            self._differ("stored_events", place, "originator_version", version + 1, recorded.version)
        if recorded.prev != digest:
            self._differ("stored_events", place, "prev", digest, recorded.prev)
        envelope = recorded.envelope
        self._heads[recorded.stream_id] = _Head(
            envelope.stream_type,
            envelope.vendor_id,
            envelope.program_id,
            recorded.version,
            recorded.digest,
            evolve(envelope.stream_type, state, recorded.event),
        )

    def _compare_heads(self) -> None:
        expected = {
            stream_id: {
                "stream_type": head.stream_type,
                "vendor_id": head.vendor_id,
                "version": head.version,
                "head": head.digest,
                "state": orjson.loads(to_json(head.state)),
            }
            for stream_id, head in self._heads.items()
        }
        rows = self._read("SELECT stream_id, stream_type, vendor_id, version, head, state FROM streams")
        found = (row | {"head": bytes(row["head"]).hex(), "state": _loaded(row["state"])} for row in rows)
        self._compare("streams", "stream_id", expected, found)
        self._compare_claims()

    def _compare_claims(self) -> None:
        """A card's number and QR code must lead to that card, or a stranger's stamps would be this one's.

        An open card holds the place of its customer in the program, and no other card does. QR codes that the fold did
        not open are left out: those of forgotten people, and of cards the tables do not know yet.
        """
        expected = {claim: id_ for id_, head in self._heads.items() for claim in self._claims(id_, head)}
        rows = self._read("SELECT kind, scope, value, stream_id FROM claims WHERE kind = ANY(%s)", list(CARD_CLAIMS))
        for row in rows:
            claim = Claim(row["kind"], row["scope"], bytes(row["value"]))
            should_be = expected.pop(claim, None)
            if should_be != row["stream_id"] and (should_be is not None or claim.kind != "card_qr"):
                self._differ("claims", _shown(claim), "stream_id", should_be, row["stream_id"])
        for claim, stream_id in expected.items():
            self._differ("claims", _shown(claim), "stream_id", stream_id, None)

    def _claims(self, stream_id: UUID, head: _Head) -> Iterator[Claim]:
        if head.stream_type != "card":
            return
        card: Card = head.state
        yield number_claim(card.number)
        if card.status in OPEN and head.program_id is not None:
            yield card_of_claim(head.program_id, card.customer_id)
        kept = self._fold.kept[LOYALTY_CARDS.name].get(stream_id)
        token = None if kept is None else kept.opened(card.qr_token)
        if token is not None:
            yield qr_claim(token)

    # ------------------------------------------------------------------ query tables

    def _compare_states(self, table: StateTable) -> None:
        kept_rows = self._fold.kept[table.name].items()
        expected = {id_: table.row(kept) for id_, kept in kept_rows if table.is_there(kept)}
        self._compare(table.name, table.key, expected, self._read(f"SELECT * FROM {table.name}"))

    def _compare_log(self, table: LogTable, rows: list[Row]) -> None:
        if not rows:
            return
        self._log_rows[table.name] += len(rows)
        expected = {row[table.key]: row for row in rows}
        found = self._read(f"SELECT * FROM {table.name} WHERE {table.key} = ANY(%s)", list(expected))
        self._compare(table.name, table.key, expected, found)

    def _compare_count(self, table: LogTable, projected: int) -> None:
        unexplained = self._read(
            f"SELECT {table.key} AS id, position FROM {table.name} t WHERE position > %s"
            " OR NOT EXISTS (SELECT FROM stored_events e WHERE e.notification_id = t.position)",
            projected,
        )
        for row in unexplained:
            self._differ(table.name, row["id"], "(row)", None, f"at position {row['position']}")
        count = self._number(f"SELECT count(*) FROM {table.name}")
        if count != self._log_rows[table.name] and not any(d.table == table.name for d in self._differences):
            self._differ(table.name, "*", "count", self._log_rows[table.name], count)

    def _compare(self, table: str, key: str, expected: Mapping[Any, Row], found: Iterable[Row]) -> None:
        missing = set(expected)
        for row in found:
            id_ = row[key]
            if id_ not in expected:
                self._differ(table, id_, "(row)", None, "there")
                continue
            missing.discard(id_)
            for column, value in expected[id_].items():
                if (should_be := as_read(value)) != row[column]:
                    self._differ(table, id_, column, should_be, row[column])
        for id_ in missing:
            self._differ(table, id_, "(row)", "there", None)

    def _differ(self, table: str, row: Any, column: str, expected: Any, found: Any) -> None:
        if len(self._differences) < DIFFERENCES_MAX:
            if column in SECRET_COLUMNS or (table, column) == ("staff_pins", "name"):
                expected, found = _masked(expected), _masked(found)
            self._differences.append(Difference(table, str(row), column, expected, found))

    def _read(self, sql: str, *parameters: Any) -> Iterable[Row]:
        with self._connection.cursor("compared", row_factory=dict_row) as cursor:
            cursor.itersize = 2_000
            yield from cursor.execute(sql, parameters)

    def _number(self, sql: str, *parameters: Any) -> int:
        row = self._connection.execute(sql, parameters).fetchone()
        return 0 if row is None else int(row[0])


def _shown(claim: Claim) -> str:
    if claim.kind == "card_number":
        return f"{claim.kind}/{claim.value.decode(errors='replace')}"
    if claim.kind == "open_card":
        return f"{claim.kind}/{claim.scope}/{UUID(bytes=claim.value)}"
    return f"{claim.kind}/{claim.value.hex()}"


def _loaded(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _masked(value: Any) -> Any:
    return None if value is None else "sha256:" + sha256(str(value).encode()).hexdigest()[:16]
