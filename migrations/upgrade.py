"""Bring a database to a revision, whoever else is trying to do so at the same moment.

Each revision is plain SQL in its own transaction: after a failure the database stands at the one before.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, NullPool, create_engine, text

from migrations.apart import AWAY, BUSY, UpgradeIsBusy

LOCK = 4_801_207_306_571_022_413  # Any number, as long as nobody else locks it in our database.
LOCK_WAIT_SECONDS_MAX = 600.0
LOCK_POLL_SECONDS = 0.1
TRY_LOCK = text("SELECT pg_try_advisory_lock(:key)")


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database up to a revision. Being there already is fine.

    Args:
        url: A libpq URI or conninfo string; of several hosts, the first that accepts writes is taken. It
            must lead to PostgreSQL itself, not to a pooler in transaction mode: the lock is the session's.
        revision: Such as `0001`, or `head`.

    Raises:
        UpgradeIsBusy: Safe to ask again.
        psycopg.OperationalError: The database is away. Safe to ask again.
    """
    with _locked(url) as connection:
        command.upgrade(_config(connection), revision)


def downgrade(url: str, revision: str) -> None:
    """Take the database down to a revision; `base` leaves nothing of ours, data included.

    Raises:
        UpgradeIsBusy: Safe to ask again.
        psycopg.OperationalError: The database is away. Safe to ask again.
    """
    with _locked(url) as connection:
        command.downgrade(_config(connection), revision)


def current(url: str) -> str | None:
    """The revision the database is at; None for one without any."""
    with _connected(url) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head() -> str:
    """The newest revision this code knows."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    assert newest is not None
    return newest


def _config(connection: Connection | None = None) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    # Alembic wants SQLAlchemy's connection, and libpq knows best how to open it from our URL.
    with closing(psycopg.connect(url, target_session_attrs="read-write")) as opened:
        engine = create_engine("postgresql+psycopg://", creator=lambda: opened, poolclass=NullPool)
        with engine.connect() as connection:
            yield connection


@contextmanager
def _locked(url: str) -> Iterator[Connection]:
    with _connected(url) as connection:
        # Waiting inside PostgreSQL would hold a snapshot, and a CREATE INDEX CONCURRENTLY of the process that
        # has the lock would wait for it in turn.
        deadline = time.monotonic() + LOCK_WAIT_SECONDS_MAX
        while not connection.execute(TRY_LOCK, {"key": LOCK}).scalar_one():
            connection.rollback()
            if time.monotonic() > deadline:
                raise UpgradeIsBusy(
                    f"another process is still upgrading after {LOCK_WAIT_SECONDS_MAX:g} seconds: "
                    "pg_locks names it, as locktype advisory"
                )
            time.sleep(LOCK_POLL_SECONDS)
        connection.commit()  # Alembic begins and commits by itself only outside a transaction.
        yield connection
    # Closing the connection gives the lock back, whatever happened.


def main() -> None:
    """Bring the database whose URL is on the input to the newest revision; `migrations.apart` reads the outcome."""
    try:
        upgrade(sys.stdin.read())
    except UpgradeIsBusy as error:
        sys.stderr.write(str(error))
        sys.exit(BUSY)
    except psycopg.OperationalError as error:
        sys.stderr.write(str(error))
        sys.exit(AWAY)


if __name__ == "__main__":
    main()
