"""What the stream adds up to, what stands in the tables otherwise, and how much was compared."""

from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID

from psycopg import Connection

from ledger.stream import Envelope
from projections.table import Kept

DIFFERENCES_MAX = 1_000
SECRET_COLUMNS = frozenset({"qr_code_data", "pin_hash", "digest", "device_library_identifier", "push_token"})


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

    @property
    def place(self) -> str:
        return f"{self.table} {self.row} {self.column}"


class Differences:
    """The first of them, how many there are, and the rows compared by table."""

    def __init__(self) -> None:
        self.first: list[Difference] = []
        self.count = 0
        self.rows: Counter[str] = Counter()
        self._tables: set[str] = set()

    def add(self, table: str, row: object, column: str, expected: Any, found: Any) -> None:
        self.count += 1
        self._tables.add(table)
        if len(self.first) < DIFFERENCES_MAX:
            if column in SECRET_COLUMNS or (table, column) == ("staff_pins", "name"):
                expected, found = _masked(expected), _masked(found)
            self.first.append(Difference(table, str(row), column, expected, found))

    def are_in(self, table: str) -> bool:
        return table in self._tables


@dataclass(slots=True)
class Head:
    """Where a stream stands. Of cards that the query tables have, the state is kept with theirs."""

    stream_type: str
    channel: str  # Of its first event.
    vendor_id: UUID
    program_id: UUID | None
    version: int
    position: int
    digest: str
    state: Any

    @classmethod
    def of(cls, envelope: Envelope, first: str) -> "Head":
        """Before the first event, which has this envelope."""
        return cls(envelope.stream_type, envelope.channel, envelope.vendor_id, envelope.program_id, 0, 0, first, None)


@dataclass(frozen=True, slots=True)
class Known:
    """What the stream adds up to, for who compares more than tables folded from it.

    `connection` is the snapshot that everything is compared in. `heads` is where each stream stands.
    """

    connection: Connection[Any]
    heads: dict[UUID, Head]
    cards: dict[UUID, Kept]
    differences: Differences
    projected: int

    def state_of(self, stream_id: UUID) -> Any:
        state = self.heads[stream_id].state
        return self.cards[stream_id].state if state is None and stream_id in self.cards else state


def _masked(value: Any) -> Any:
    return None if value is None else "sha256:" + sha256(str(value).encode()).hexdigest()[:16]
