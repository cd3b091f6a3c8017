"""The upgrade in a process of its own: a service keeps nothing of the memory that Alembic and SQLAlchemy take."""

import subprocess
import sys

import psycopg

BUSY = 75  # sysexits.h: try again later.
AWAY = 69  # The same: a service is unavailable.


class UpgradeIsBusy(Exception):
    """Another process has been changing this database's shape for too long; nothing was changed by us."""


def upgrade(url: str) -> None:
    """Bring the database up to the newest revision, as `migrations.upgrade.upgrade` does.

    Raises:
        UpgradeIsBusy, psycopg.OperationalError: As there. Safe to ask again.
        UpgradeFailed: With what the process said; the database stands at the last revision that went well.
    """
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


class UpgradeFailed(Exception):
    """A revision could not be reached; the message is that of the process that tried."""
