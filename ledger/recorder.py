"""Our recorder inside the library's interfaces, for synchronous callers: administration, import, tests, readers.

Reading is the library's. Appending takes the store's own lock instead of locking the table, happens exactly once
whatever the outcome, and notifies once a batch.
"""

from collections.abc import Sequence
from typing import Any

import psycopg
from eventsourcing.persistence import IntegrityError, PersistenceError, StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore

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
            IntegrityError: A version is taken or would leave a gap; nothing was recorded.
            PersistenceError: The outcome is unknown. Read before asking again; nothing here retries by itself.
        """
        if not stored_events:
            return []
        columns = (
            [event.originator_id for event in stored_events],
            [event.originator_version for event in stored_events],
            [event.topic for event in stored_events],
            [event.state for event in stored_events],
        )
        try:
            with self.datastore.get_connection() as connection, connection.transaction():
                connection.execute(LOCK_STORE)
                rows = connection.execute(INSERT, columns, binary=True).fetchall()
                connection.execute(NOTIFY)
        except psycopg.errors.IntegrityError as error:
            raise IntegrityError(error) from error
        except psycopg.Error as error:
            raise PersistenceError(error) from error
        return [row["notification_id"] for row in rows]


def datastore(conninfo: str, *, role: str | None = "loyalty_app", pool_size: int = 5) -> PostgresDatastore:
    """The library's connection pool to the store, acting as the application's role.

    The library's database-function mode loses its lock and with it the order of events: it stays off.
    """
    options = psycopg.conninfo.conninfo_to_dict(conninfo)
    store = PostgresDatastore(
        dbname=str(options.get("dbname", "postgres")),
        host=str(options.get("host", "")),
        port=str(options.get("port", "")),
        user=str(options.get("user", "")),
        password=str(options.get("password", "")),
        schema="public",
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=1,
        enable_db_functions=False,
        after_connect=None if role is None else _acts_as(role),
    )
    assert not store.enable_db_functions
    return store
