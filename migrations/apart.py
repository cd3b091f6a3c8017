"""The upgrade in a process of its own: a service keeps nothing of the memory that Alembic and SQLAlchemy take."""

import subprocess
import sys
from pathlib import Path

import psycopg

BUSY = 75  # sysexits.h: try again later.
AWAY = 69  # The same: a service is unavailable.
NEWEST = max(file.name[:4] for file in (Path(__file__).parent / "versions").glob("[0-9]*.py"))


class UpgradeIsBusy(Exception):
    """Another process has been changing this database's shape for too long; nothing was changed by us."""


def upgrade(url: str) -> None:
    """Bring the database up to the newest revision, as `migrations.upgrade.upgrade` does; at once where it is there.

    Raises:
        UpgradeIsBusy, psycopg.OperationalError: As there. Safe to ask again.
        UpgradeFailed: With what the process said; the database stands at the last revision that went well.
    """
    if _revision(url) == NEWEST:
        return
    done = subprocess.run(
        [sys.executable, "-P", "-m", "migrations.upgrade"], input=url, capture_output=True, text=True, check=False
    )
    said = done.stderr.strip()
    if done.returncode == BUSY:
        raise UpgradeIsBusy(said)
    if done.returncode == AWAY:
        raise psycopg.OperationalError(said)
    if done.returncode:
        raise UpgradeFailed(said)


def _revision(url: str) -> str | None:
    """Where the database stands; None where it was never upgraded."""
    with psycopg.connect(url, target_session_attrs="read-write", autocommit=True) as connection:
        try:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except psycopg.errors.UndefinedTable:
            return None
    return None if found is None else str(found[0])


class UpgradeFailed(Exception):
    """A revision could not be reached; the message is that of the process that tried."""
