"""Tables checkpoints and accepted_restores: the tree as it was signed again and again, and pasts that were given up."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection

from projections.proofs.verify_statement import Checkpoint, Fault, Kind, VerifierKey, open_note
from projections.table import Queries, dicts

COLUMNS = "number, tree_size, position, root, note, sealed_at"
NEWEST = f"SELECT {COLUMNS} FROM checkpoints ORDER BY number DESC LIMIT 1"
NEWEST_OF_SIZE = f"SELECT {COLUMNS} FROM checkpoints WHERE tree_size = %s ORDER BY number DESC LIMIT 1"
PAGE = f"SELECT {COLUMNS} FROM checkpoints WHERE number < %s ORDER BY number DESC LIMIT %s"
ADD = "INSERT INTO checkpoints (tree_size, position, root, note) VALUES (%s, %s, %s, %s)"
RESTORES = "SELECT note, accepted_at FROM accepted_restores ORDER BY number"
GIVEN_UP = "SELECT coalesce(max(checkpoint_number), 0) FROM accepted_restores"


@dataclass(frozen=True, slots=True)
class Sealed:
    """A row of the table: `position` is that of the newest event in the tree."""

    number: int
    size: int
    position: int
    root: bytes
    note: str
    sealed_at: datetime

    def opened(self, keys: Sequence[VerifierKey]) -> Checkpoint:
        """What was signed.

        Raises: Fault where the note was signed by nobody we know, or says something else than the row.
        """
        checkpoint = opened(self.note, keys)
        if (checkpoint.size, checkpoint.root) != (self.size, self.root):
            raise Fault(Kind.CHECKPOINT, f"the row of checkpoint {self.number} is not what was signed")
        return checkpoint


def opened(note: str, keys: Sequence[VerifierKey]) -> Checkpoint:
    """Raises: Fault where this is no checkpoint, or none of these keys signed it."""
    return Checkpoint.parse(open_note(note, keys)[0])


def newest(connection: Connection[Any]) -> Sealed | None:
    row = connection.execute(NEWEST, binary=True).fetchone()
    return None if row is None else Sealed(*row)


async def read_newest(queries: Queries) -> Sealed | None:
    """The newest checkpoint; None where nothing was sealed yet. It trails the stream by up to a minute."""
    rows = await queries.rows(NEWEST)
    return Sealed(*rows[0]) if rows else None


async def read_of_size(queries: Queries, size: int) -> Sealed | None:
    """The checkpoint over that many events, if one was signed."""
    rows = await queries.rows(NEWEST_OF_SIZE, (size,))
    return Sealed(*rows[0]) if rows else None


async def read_page(queries: Queries, *, before: int, limit: int) -> list[Sealed]:
    """Checkpoints below a number, newest first."""
    return [Sealed(*row) for row in await queries.rows(PAGE, (before, limit))]


async def read_restores(queries: Queries) -> list[dict[str, Any]]:
    """Accepted restores, oldest first, as note and accepted_at."""
    return dicts("note, accepted_at", await queries.rows(RESTORES))
