"""The database a command works on: a server of one's own, or the embedded one, checked and migrated."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from api.key_files import Keys, in_force, load_keys
from api.settings import Settings
from migrations.apart import upgrade
from migrations.local_postgres import LocalPostgres
from migrations.preconditions import check_server

ROOTS_DATA_DIR = Path("/var/lib/loyalty-ledger")


@dataclass(frozen=True, slots=True)
class Database:
    """`url` for everybody; `server` where it is ours to bring back when it dies."""

    url: str
    keys: Keys
    server: LocalPostgres | None

    def revive(self) -> None:
        """Start the embedded server again if it died. From the main thread; a no-op while it lives."""
        if self.server is not None and self.server.pid is None:
            self.server.start()


@contextmanager
def opened(settings: Settings, *, migrates: bool = True) -> Iterator[Database]:
    """The database of these settings, running and fit; the embedded server stops with the block, if it is ours.

    Raises:
        SettingsError, LocalPostgresError, ServerUnfit, UpgradeIsBusy: Each says what to do. Nothing was changed.
    """
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
        yield Database(url, _prepared(settings, url, migrates, has_history=False), None)
        return
    folder = embedded_data_dir(settings.data_dir)
    server = LocalPostgres(folder, bin_dir=settings.pg_bin)
    had_history = (folder / "cluster" / "PG_VERSION").exists()
    url = server.start()
    try:
        yield Database(url, _prepared(settings, url, migrates, has_history=had_history), server)
    finally:
        server.stop()


def _prepared(settings: Settings, url: str, migrates: bool, *, has_history: bool) -> Keys:
    keys = load_keys(settings, has_history=has_history)
    check_server(url)
    if not migrates:
        return keys
    upgrade(url)
    return in_force(keys, url)


def embedded_data_dir(data_dir: Path) -> Path:
    """Where the embedded server keeps its files: in the data directory.

    PostgreSQL refuses to run as root and is run as another user, who cannot enter a data directory below, say, /root.
    Then it lives in /var/lib/loyalty-ledger, in a directory of this data directory's own.
    """
    wanted = data_dir.expanduser().resolve() / "postgres"
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    if not is_root or all(_is_open(parent) for parent in wanted.parents):
        return wanted
    own = hashlib.sha256(os.fsencode(wanted)).hexdigest()[:12]
    base = ROOTS_DATA_DIR if _is_open(ROOTS_DATA_DIR.parent) else Path(tempfile.gettempdir()) / "loyalty-ledger"
    return base / own


def _is_open(folder: Path) -> bool:
    """Whether anybody may pass through; what does not exist yet will be made so."""
    return not folder.exists() or bool(folder.stat().st_mode & 0o001)
