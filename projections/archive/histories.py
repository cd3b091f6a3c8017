"""Where each history stands while a file is read: on disk, so that memory does not grow with their number."""

import sqlite3
from uuid import UUID

from ledger.stream import first_prev

STANDING = "SELECT version, head FROM histories WHERE stream_id = ?"
PUT = "INSERT OR REPLACE INTO histories (stream_id, version, head) VALUES (?, ?, ?)"
TAKE = "DELETE FROM histories WHERE stream_id = ? RETURNING version, head"
ANY = "SELECT stream_id FROM histories LIMIT 1"


class Histories:
    """A file without a name, which goes with the process. Close it when done."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect("", isolation_level=None)
        for sql in (
            "PRAGMA journal_mode = OFF",
            "CREATE TABLE histories (stream_id BLOB PRIMARY KEY, version INTEGER, head TEXT) WITHOUT ROWID",
            "BEGIN",
        ):
            self._connection.execute(sql)

    def standing(self, stream_id: UUID) -> tuple[int, str]:
        """Version and head; what the first event must follow, where there is none yet."""
        row = self._connection.execute(STANDING, (stream_id.bytes,)).fetchone()
        return (0, first_prev(stream_id)) if row is None else (row[0], row[1])

    def put(self, stream_id: UUID, version: int, head: str) -> None:
        self._connection.execute(PUT, (stream_id.bytes, version, head))

    def take(self, stream_id: UUID) -> tuple[int, str]:
        """Version and head of a history that is done with; (0, "") where there is none."""
        row = self._connection.execute(TAKE, (stream_id.bytes,)).fetchone()
        return (0, "") if row is None else (row[0], row[1])

    def any(self) -> UUID | None:
        """One that is left, if any is."""
        row = self._connection.execute(ANY).fetchone()
        return None if row is None else UUID(bytes=row[0])

    def close(self) -> None:
        self._connection.close()
