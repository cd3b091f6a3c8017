"""Our recorder inside the library's interfaces, for synchronous callers: the tests and the benchmark.

The service itself writes by `append_batch`, which is the same without them.

Reading is the library's. Appending takes the store's own lock instead of locking the table, is tried exactly once
whatever the outcome, and notifies once a batch.
"""

import threading
import time
from collections.abc import Sequence
from itertools import islice
from typing import Any

import psycopg
from eventsourcing.persistence import IntegrityError, StoredEvent
from eventsourcing.postgres import ConnectionPool, PostgresApplicationRecorder, PostgresDatastore
from psycopg import Connection
from psycopg.rows import DictRow, dict_row

APP_ROLE = "loyalty_app"
CHANNEL = "stored_events"
LOCK_STORE = "SELECT pg_advisory_xact_lock(76021, 1)"
INSERT = """
INSERT INTO stored_events (originator_id, originator_version, topic, state)
SELECT * FROM unnest(%s::uuid[], %s::bigint[], %s::text[], %s::bytea[])
RETURNING notification_id
"""
NOTIFY = "SELECT pg_notify('stored_events', '')"


GATHER_SECONDS = 0.0001


class _Asked:
    """One call's events, and what became of them. Whoever asked waits for its turn: an answer is there, or it leads."""

    __slots__ = ("error", "events", "is_answered", "positions", "turn")

    def __init__(self, events: Sequence[StoredEvent]) -> None:
        self.events = events
        self.positions: Sequence[int] = ()
        self.error: BaseException | None = None
        self.is_answered = False
        self.turn = threading.Lock()
        self.turn.acquire()

    def answer(self) -> Sequence[int]:
        if self.error is not None:
            raise self.error
        return self.positions


class Recorder(PostgresApplicationRecorder):
    """The library's recorder with our way of appending. It creates no tables: migrations do.

    Threads that append at one moment share a transaction and its flush: one of them leads, the others wait for it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._mutex = threading.Lock()
        self._asked: list[_Asked] = []
        self._is_led = False
        self._had_company = False

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int]:
        """Append events of any streams in one transaction.

        Returns:
            Their positions, in the order given.

        Raises:
            eventsourcing.persistence.IntegrityError: A version is taken or would leave a gap; nothing was recorded.
            eventsourcing.persistence.OperationalError: The outcome is unknown. Read before asking again; nothing
                here retries by itself.
        """
        if not stored_events:
            return []
        mine = _Asked(stored_events)
        with self._mutex:
            self._asked.append(mine)
            is_leader, self._is_led = not self._is_led, True
        if not is_leader:
            mine.turn.acquire()
            if mine.is_answered:
                return mine.answer()
        self._lead(mine)
        return mine.answer()

    def _lead(self, mine: _Asked) -> None:
        """Append for all who wait, and hand over to the first of those who came meanwhile."""
        if self._had_company:
            time.sleep(GATHER_SECONDS)
        with self._mutex:
            together, self._asked = self._asked, []
            self._had_company = len(together) > 1
        try:
            self._append_together(together)
        finally:
            with self._mutex:
                successor = self._asked[0] if self._asked else None
                self._is_led = successor is not None
            for asked in together:
                asked.is_answered = True
                if asked is not mine:
                    asked.turn.release()
            if successor is not None:
                successor.turn.release()

    def _append_together(self, together: Sequence[_Asked]) -> None:
        """In one transaction; where somebody's version is taken, each alone, so that it disturbs nobody else."""
        try:
            positions = iter(self._append([event for asked in together for event in asked.events]))
            for asked in together:
                asked.positions = list(islice(positions, len(asked.events)))
        except IntegrityError as error:
            if len(together) == 1:
                together[0].error = error
                return
            for asked in together:
                self._append_together([asked])
        except BaseException as error:  # Even of the leader's own end: nobody may take silence for success.
            for asked in together:
                asked.error = error

    def _append(self, stored_events: Sequence[StoredEvent]) -> list[int]:
        columns = (
            [event.originator_id for event in stored_events],
            [event.originator_version for event in stored_events],
            [event.topic for event in stored_events],
            [event.state for event in stored_events],
        )
        with self.datastore.get_connection() as connection, connection.transaction():
            connection.execute(LOCK_STORE)
            rows = connection.execute(INSERT, columns, binary=True).fetchall()
            connection.execute(NOTIFY)
        return [row["notification_id"] for row in rows]


class Datastore(PostgresDatastore):
    """The library's connection pool, to any conninfo, acting as the application's role.

    The library's database-function mode loses its lock and with it the order of events: it stays off.
    """

    def __init__(self, conninfo: str, *, role: str | None = APP_ROLE, pool_size: int = 2) -> None:
        super().__init__(dbname="", host="", port="", user="", password="", enable_db_functions=False)

        def configure(connection: Connection[Any]) -> None:
            connection.autocommit = True
            if role is not None:
                connection.execute(psycopg.sql.SQL("SET ROLE {}").format(psycopg.sql.Identifier(role)))

        self.pool = ConnectionPool(
            conninfo,
            connection_class=Connection[DictRow],
            kwargs={"row_factory": dict_row, "connect_timeout": 5},
            min_size=0,
            max_size=pool_size,
            open=False,
            configure=configure,
            timeout=5,
        )
