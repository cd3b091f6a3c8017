"""Query tables made anew from the stream, while commands and readers go on.

The fold is the one of every day. It fills fresh tables by COPY, gives them the indexes, triggers and grants of the old
ones, catches up, and takes their place in one transaction: a reader sees the old table or the new one, never neither.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import psycopg
import structlog
from psycopg import Connection, sql

from ledger.seal import MasterKey
from ledger.stream import decode
from projections.fold import LOG_TABLES, STATE_TABLES, Fold, without_pauses
from projections.read_model import BATCH_EVENTS_MAX, LAST_POSITION, NAME, NOTIFY, POSITION, PoisonEvent, read_batch
from projections.table import copy_rows

SCHEMA = "loyalty_rebuild"
LOCK = 76_022
SWAP_TRIES_MAX = 30
SWAP_LOCK_TIMEOUT = "2s"  # Readers wait as long; autovacuum steps aside after `deadlock_timeout`, a second.

TABLES: tuple[str, ...] = (*(table.name for table in STATE_TABLES), *(table.name for table in LOG_TABLES))

Progress = Callable[[int, int], None]

log = structlog.get_logger("projections.rebuild")

INDEXES = """
SELECT CASE WHEN c.oid IS NULL THEN pg_get_indexdef(i.indexrelid)
    ELSE format('ALTER TABLE public.%%I ADD CONSTRAINT %%I %%s', t.relname, c.conname, pg_get_constraintdef(c.oid)) END
FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid
LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.conrelid = i.indrelid
WHERE i.indrelid = %s::regclass ORDER BY i.indexrelid
"""
TRIGGERS = (
    "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal ORDER BY oid"
)
OPTIONS = "SELECT array_to_string(reloptions, ', ') FROM pg_class WHERE oid = %s::regclass"
GRANTS = """
SELECT privilege_type, CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
    is_grantable
FROM pg_class, aclexplode(relacl) WHERE oid = %s::regclass AND grantee <> relowner
"""


class RebuildIsRunning(Exception):
    """Another process is rebuilding; nothing was changed by us."""


class TablesAreBusy(Exception):
    """The new tables are ready, but somebody kept reading the old ones. Nothing was changed; safe to ask again."""


def rebuild(
    owner_conninfo: str,
    master_key: MasterKey,
    tables: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> int:
    """Make query tables anew.

    Args:
        owner_conninfo: Of a user that owns the tables and may create a schema in the database.
        tables: Names out of `TABLES`; None for all of them.
        progress: Told the position reached and the one aimed at, after each batch.

    Returns:
        The position that the tables stand at.

    Raises:
        RebuildIsRunning, TablesAreBusy: Nothing was changed; safe to ask again.
        PoisonEvent: An event that cannot be applied; nothing was changed.
        psycopg.DataError: A value that PostgreSQL cannot hold; nothing was changed, and the projector names the event.
        psycopg.OperationalError: The database is away. Nothing was changed, or everything.
    """
    names = tuple(TABLES if tables is None else tables)
    unknown = set(names) - set(TABLES)
    if unknown:
        raise ValueError(f"cannot rebuild {', '.join(sorted(unknown))}: there are {', '.join(TABLES)}")
    with (
        psycopg.connect(owner_conninfo, autocommit=True, connect_timeout=5) as connection,
        _alone(connection),
        without_pauses(),
    ):
        return _Rebuild(connection, master_key, names, progress or (lambda _position, _target: None)).run()


@contextlib.contextmanager
def _alone(connection: Connection[Any]) -> Iterator[None]:
    row = connection.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchone()
    if row is None or not row[0]:
        raise RebuildIsRunning
    drop = f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"
    connection.execute("SET client_min_messages = warning")
    connection.execute(drop)  # What a killed rebuild left.
    connection.execute(f"CREATE SCHEMA {SCHEMA}")
    connection.execute(f"SET search_path = {SCHEMA}, public")
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute(drop)
            # The server may notice only later that we left: whoever rebuilds next would find us here.
            connection.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))


class _Rebuild:
    """`run` reads from top to bottom. `position` is how far the new tables are."""

    def __init__(
        self, connection: Connection[Any], master_key: MasterKey, names: tuple[str, ...], progress: Progress
    ) -> None:
        self._connection = connection
        self._names = names
        self._is_whole = set(names) == set(TABLES)
        self._progress = progress
        self._fold = Fold(master_key)
        self._position = 0

    def run(self) -> int:
        for name in self._names:
            self._create(name)
        self._fill()
        for name in self._names:
            self._finish(name)
        while self._target() - self._position > BATCH_EVENTS_MAX:
            self._catch_up(self._target())
        return self._swap()

    def _target(self) -> int:
        """A table alone may not run ahead of the others: they share one position."""
        query = (LAST_POSITION, ()) if self._is_whole else (POSITION, (NAME,))
        row = self._connection.execute(*query).fetchone()
        return 0 if row is None else int(row[0])

    # ------------------------------------------------------------------ fresh tables

    def _create(self, name: str) -> None:
        options = self._one(OPTIONS, name)
        storage = f" WITH ({options})" if options else ""
        self._connection.execute(
            f"CREATE TABLE {SCHEMA}.{name} (LIKE public.{name} INCLUDING ALL EXCLUDING INDEXES){storage}"
        )

    def _finish(self, name: str) -> None:
        """Indexes, triggers and grants like the old table's, by the same names."""
        for (definition,) in self._all(INDEXES, name) + self._all(TRIGGERS, name):
            self._connection.execute(definition.replace(f"public.{name}", f"{SCHEMA}.{name}", 1))
        for privilege, grantee, is_grantable in self._all(GRANTS, name):
            option = " WITH GRANT OPTION" if is_grantable else ""
            self._connection.execute(f"GRANT {privilege} ON {SCHEMA}.{name} TO {grantee}{option}")
        self._connection.execute(f"ANALYZE {SCHEMA}.{name}")

    def _all(self, query: str, name: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, (f"public.{name}",)).fetchall()

    def _one(self, query: str, name: str) -> Any:
        return self._all(query, name)[0][0]

    # ------------------------------------------------------------------ folding

    def _fill(self) -> None:
        """The history so far: log rows as they come, state rows at the end."""
        target = self._target()
        while self._fold_batch(target):
            self._fold.add(self._connection, self._names)
            for changed in self._fold.changed.values():
                changed.clear()
        for table in STATE_TABLES:
            if table.name in self._names:
                rows = map(table.row, filter(table.is_there, self._fold.kept[table.name].values()))
                if first := next(rows, None):
                    told = (tuple(row.values()) for row in chain((first,), rows))
                    copy_rows(self._connection, table.name, first, told)

    def _catch_up(self, target: int) -> None:
        while self._fold_batch(target):
            self._fold.replace(self._connection, self._names)
            self._fold.add(self._connection, self._names)

    def _fold_batch(self, target: int) -> bool:
        batch = read_batch(self._connection, self._position, until=target) if self._position < target else []
        for stored in batch:
            try:
                self._fold.apply(decode(stored, is_digested=False))
            except Exception as error:
                raise PoisonEvent(f"position {stored.position}: {stored.name}: {type(error).__name__}") from error
        if not batch:
            return False
        self._fold.open(self._connection)
        self._position = batch[-1].position
        self._progress(self._position, target)
        return True

    # ------------------------------------------------------------------ swap

    def _swap(self) -> int:
        for _ in range(SWAP_TRIES_MAX):
            self._catch_up(self._target())
            try:
                with self._connection.transaction():
                    return self._swap_now()
            except psycopg.errors.LockNotAvailable:
                log.info("tables-are-busy", tables=self._names)
                time.sleep(0.2)
        raise TablesAreBusy

    def _swap_now(self) -> int:
        """Hold the projector, then the tables; only then fold the last few events, so that a busy table costs none."""
        self._connection.execute(f"SET LOCAL lock_timeout = '{SWAP_LOCK_TIMEOUT}'")
        row = self._connection.execute(f"{POSITION} FOR UPDATE", (NAME,)).fetchone()
        assert row is not None
        tables = sql.SQL(", ").join(sql.Identifier("public", name) for name in self._names)
        self._connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(tables))
        self._catch_up(row[0])
        for name in self._names:
            self._connection.execute(f"DROP TABLE public.{name}")
            self._connection.execute(f"ALTER TABLE {SCHEMA}.{name} SET SCHEMA public")
        if self._is_whole and self._position > row[0]:
            self._connection.execute(
                "UPDATE projections SET position = %s, error = NULL WHERE name = %s", (self._position, NAME)
            )
        self._connection.execute(NOTIFY, (str(max(self._position, row[0])),))
        return self._position
