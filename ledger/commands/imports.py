"""Files of cards brought in from another system: which were begun, and how far each has come.

An import is known by vendor and file. One that was interrupted goes on behind its last batch.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row

from ledger import history
from ledger.commands.caller import Caller
from ledger.ids import derived
from ledger.recorder import APP_ROLE
from ledger.stream import Actor

TURN = 76022

# As for rounds: every look-up is by primary key. Nobody waits for an import, so it may wait for others.
SESSION = f"""
SET ROLE {APP_ROLE};
SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off;
SET plan_cache_mode = force_generic_plan;
SET lock_timeout = '30s'; SET statement_timeout = '60s'
"""
COLUMNS = "id, vendor_id, program_id, file_sha256, lines_total, lines_done, cards, entries, started_at, finished_at"
FIND = f"SELECT {COLUMNS} FROM imports WHERE id = %s"
BEGIN = f"""
INSERT INTO imports (id, vendor_id, program_id, file_sha256, lines_total) VALUES (%s, %s, %s, %s, %s)
RETURNING {COLUMNS}
"""
FINISH = f"UPDATE imports SET lines_done = lines_total, finished_at = now() WHERE id = %s RETURNING {COLUMNS}"


class ImportStopped(Exception):
    """It could not go on. What is in stays in; the same file may be given again, and goes on there."""


@dataclass(frozen=True, slots=True)
class Import:
    """A file of one vendor, and how far it has come."""

    id: UUID
    vendor_id: UUID
    program_id: UUID | None  # Of lines that name none.
    file_sha256: bytes
    lines_total: int
    lines_done: int
    cards: int
    entries: int
    started_at: datetime
    finished_at: datetime | None

    @property
    def caller(self) -> Caller:
        return Caller(self.vendor_id, Actor("system", "import", "command_line"), "import", f"import-{self.id}")

    def card_id(self, line: int) -> UUID:
        """The card that a line makes, however often the file is read."""
        return derived("imported card", self.id, line)

    def entry_id(self, line: int, word: str) -> UUID:
        return self.id_of()(line, word)

    def id_of(self) -> history.IdOf:
        """`entry_id` for many entries."""
        name = str(self.id)
        return lambda line, word: derived("imported entry", name, line, word)


def import_id(vendor_id: UUID, file_sha256: bytes) -> UUID:
    return derived("import", vendor_id, file_sha256.hex())


def find(connection: Connection[Any], vendor_id: UUID, file_sha256: bytes) -> Import | None:
    """The import of this very file; None where it was never begun."""
    with connection.cursor(row_factory=class_row(Import)) as cursor:
        return cursor.execute(FIND, (import_id(vendor_id, file_sha256),)).fetchone()


def begin(
    connection: Connection[Any], vendor_id: UUID, file_sha256: bytes, *, program_id: UUID | None, lines_total: int
) -> Import:
    given = (import_id(vendor_id, file_sha256), vendor_id, program_id, file_sha256, lines_total)
    with connection.cursor(row_factory=class_row(Import)) as cursor:
        begun = cursor.execute(BEGIN, given).fetchone()
    assert begun is not None
    return begun


def finish(connection: Connection[Any], importing: Import) -> Import:
    with connection.cursor(row_factory=class_row(Import)) as cursor:
        finished = cursor.execute(FINISH, (importing.id,)).fetchone()
    assert finished is not None
    return finished


def take_turn(connection: Connection[Any], vendor_id: UUID, file_sha256: bytes) -> bool:
    """Whether this session may import the file: it then has it to itself until it ends, however it ends."""
    number = int.from_bytes(import_id(vendor_id, file_sha256).bytes[:4], signed=True)
    row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", (TURN, number)).fetchone()
    return row is not None and bool(row[0])
