"""What query tables have in common: how a row is kept while events are folded into it, and how rows are written.

A table's own file says what its columns are, as one function from a folded state to a row. Rows travel as JSON,
one statement for many; where there are many to be added, by COPY.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple, Protocol, TypeAlias
from uuid import UUID

import orjson
from msgspec import Struct, structs
from psycopg import Connection
from psycopg.types.json import set_json_dumps

from ledger.codec import from_json, to_plain
from ledger.personal import Secret
from ledger.stream import Recorded

FEW = 100  # Rows or events: below it round trips cost most, above it rows do.

Row: TypeAlias = dict[str, Any]


class Queries(Protocol):
    """What the readers of a table need: `ledger.reader.Reader` is one."""

    async def rows(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[tuple[Any, ...]]: ...


class Opened(NamedTuple):
    """A column that tells a secret of the state: in clear, or with `lookup` as the digest that finds it."""

    column: str
    field: str
    lookup: str | None = None


@dataclass(slots=True)
class Kept:
    """The folded state a row is derived from, and where it came from.

    `told` holds what the table tells of the secrets in the state, by their ciphertext: what was opened once is not
    opened again. None stands for one whose key is destroyed. `beside` holds the columns that other streams tell.
    """

    id: UUID
    vendor_id: UUID
    program_id: UUID | None
    version: int
    position: int
    state: Any
    told: dict[str, str | None] = field(default_factory=dict)
    beside: Row = field(default_factory=dict)

    def opened(self, secret: Secret | None) -> str | None:
        return None if secret is None or secret.sealed is None else self.told.get(secret.sealed)


@dataclass(frozen=True, slots=True)
class StateTable:
    """A table with one row for each thing, which changes as the thing does.

    Args:
        secrets: Columns that tell a secret of the state.
        subject: Whose key opens them.
        stream: Which stream they were sealed in, where that is not the row's id.
        beside: Columns that other streams tell.
        id_of: Which row an event is folded into; None where the table does not care.
        is_last: Rows of which this is true are written after the others, for the sake of unique indexes.
        is_gone: Rows of which this is true are deleted.
    """

    name: str
    state: type[Any]
    id_of: Callable[[Recorded], UUID | None]
    evolve: Callable[[Any, Any], Any]
    row: Callable[[Kept], Row]
    key: str = "id"
    vendor_column: str = "vendor_id"
    program_column: str = "NULL::uuid"
    secrets: tuple[Opened, ...] = ()
    subject: Callable[[Kept], UUID] | None = None
    stream: Callable[[Kept], UUID] | None = None
    beside: tuple[str, ...] = ()
    is_last: Callable[[Kept], bool] | None = None
    is_gone: Callable[[Kept], bool] | None = None

    def load(self, connection: Connection[Any], ids: Iterable[UUID]) -> dict[UUID, Kept]:
        """Rows as they stand, by id; absent ones are not there."""
        columns = "".join(f", {column}" for column in (*self.beside, *(secret.column for secret in self.secrets)))
        rows = connection.execute(
            f"SELECT {self.key}, {self.vendor_column}, {self.program_column}, version, position, state::text"
            f"{columns} FROM {self.name} WHERE {self.key} = ANY(%s)",
            (list(ids),),
            binary=True,
        )
        return {kept.id: kept for kept in map(self._kept, rows)}

    def _kept(self, row: tuple[Any, ...]) -> Kept:
        id_, vendor_id, program_id, version, position, text, *more = row
        state = from_json(self.state, text)
        beside = dict(zip(self.beside, more, strict=False))
        told = {
            secret.sealed: value
            for column, value in zip(self.secrets, more[len(beside) :], strict=True)
            if (secret := getattr(state, column.field)) is not None and (value or column.lookup is None)
        }
        return Kept(id_, vendor_id, program_id, version, position, state, told, beside)

    def is_there(self, kept: Kept) -> bool:
        return self.is_gone is None or not self.is_gone(kept)

    def closed_secrets(self, kept: Kept) -> list[tuple[Secret, str | None]]:
        """Those the row tells and nobody has opened yet, with how they are looked up."""
        if not self.is_there(kept):
            return []
        return [
            (secret, column.lookup)
            for column in self.secrets
            if (secret := getattr(kept.state, column.field)) is not None and secret.sealed not in kept.told
        ]

    def write(self, connection: Connection[Any], changed: list[Kept]) -> None:
        """Insert, replace or delete rows, unless they are newer already."""
        gone = [kept for kept in changed if not self.is_there(kept)]
        if gone:
            connection.execute(
                f"DELETE FROM {self.name} t USING unnest(%s::uuid[], %s::bigint[]) AS gone (id, version)"
                f" WHERE t.{self.key} = gone.id AND t.version <= gone.version",
                ([kept.id for kept in gone], [kept.version for kept in gone]),
            )
            changed = [kept for kept in changed if self.is_there(kept)]
        if self.is_last is not None:
            changed.sort(key=self.is_last)
        rows = [self.row(kept) for kept in changed]
        if rows:
            connection.execute(_upsert(self.name, self.key, tuple(rows[0])), (orjson.dumps(rows).decode(),))


@dataclass(frozen=True, slots=True)
class LogTable:
    """A table with one row for each event it cares about, which never changes."""

    name: str
    stream_types: tuple[str, ...]
    row: Callable[[Recorded, Kept | None], Struct]
    key: str = "id"


@cache
def _upsert(table: str, key: str, columns: tuple[str, ...]) -> str:
    changes = ", ".join(f"{column} = excluded.{column}" for column in columns if column != key)
    return (
        f"INSERT INTO {table} SELECT * FROM json_populate_recordset(NULL::{table}, %s)"
        f" ON CONFLICT ({key}) DO UPDATE SET {changes} WHERE {table}.version <= excluded.version"
    )


def add_rows(connection: Connection[Any], table: str, rows: Sequence[Struct]) -> None:
    """Add a log's rows: few of them in one round trip, which a pipeline can take in, many by COPY, which none can."""
    if len(rows) < FEW:
        connection.execute(
            f"INSERT INTO {table} SELECT * FROM json_populate_recordset(NULL::{table}, %s)",
            (orjson.dumps([structs.asdict(row) for row in rows]).decode(),),
        )
    else:
        copy_rows(connection, table, rows[0].__struct_fields__, map(structs.astuple, rows))


def copy_rows(connection: Connection[Any], table: str, columns: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> None:
    """Add rows of these columns, in half the time of INSERT."""
    named = ", ".join(columns)
    with connection.cursor() as cursor:
        set_json_dumps(orjson.dumps, cursor)
        described = cursor.execute(f"SELECT {named} FROM {table} LIMIT 0").description or ()
        with cursor.copy(f"COPY {table} ({named}) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types([column.type_code for column in described])
            for row in rows:
                copy.write_row(row)


def json_of(state: Any) -> Row:
    """A dataclass as JSON inside a row."""
    return to_plain(state)


def json_list(values: Iterable[Any]) -> list[Row]:
    return [to_plain(value) for value in values]


def as_read(value: Any) -> Any:
    """A cell of a row as PostgreSQL gives it back."""
    return orjson.loads(orjson.dumps(value)) if isinstance(value, dict | list) else value


def dicts(columns: str, rows: Iterable[tuple[Any, ...]]) -> list[Row]:
    """Rows of a SELECT of these columns, by name."""
    names = [column.strip() for column in columns.split(",")]
    return [dict(zip(names, row, strict=True)) for row in rows]
