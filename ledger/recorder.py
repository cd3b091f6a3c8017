"""Our recorder inside the library's interfaces, for synchronous callers: administration, import, tests, readers.

Reading is the library's. Appending takes the store's own lock instead of locking the table, is tried exactly once
whatever the outcome, and notifies once a batch.
"""

from collections.abc import Sequence
from typing import Any

import psycopg
from eventsourcing.persistence import StoredEvent
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


class Recorder(PostgresApplicationRecorder):
    """The library's recorder with our way of appending. It creates no tables: migrations do."""

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
