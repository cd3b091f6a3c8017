"""`loyalty-ledger keys rotate-master`: a new master key, and everybody's key wrapped with it."""

from collections.abc import Callable

import psycopg

from api.database import Database, opened
from api.key_files import FOLDER, drop_previous, exchange_master_key, in_force, load_keys
from api.settings import Settings, SettingsError, variable
from ledger.master_keys import rotate
from ledger.recorder import APP_ROLE

Progress = Callable[[int, int], None]


def rotate_master(settings: Settings, progress: Progress) -> str:
    """Wrap everything anew, or go on with it.

    A key of the settings is exchanged in the settings, while the service goes on with both; one that is kept in the
    data directory is exchanged here, while nothing else runs.

    Returns: What was done and what is left to do, as sentences.

    Raises:
        SettingsError: It cannot begin like this; the text says what to do. Nothing was changed.
    """
    if settings.master_key is not None:
        if settings.master_key_previous is None:
            raise SettingsError(
                f"There is one master key, and two are needed. Make a new one with `openssl rand -base64 32`, set it as"
                f" {variable('master_key')} and the one so far as {variable('master_key_previous')}, restart every"
                " process of the service, and run this again."
            )
        with opened(settings) as database:
            count = _rotate(database, progress)
        return (
            f"{count} keys of people were wrapped anew. Take {variable('master_key_previous')} away, restart every"
            " process of the service, and destroy the old key wherever it is kept: what it wrapped in backups dies"
            " with it."
        )
    with opened(settings) as database:
        if database.server is None or database.server.pid is None:
            raise SettingsError("The service is running with the key that is to be exchanged. Stop it, run this again.")
        folder = settings.data_dir / FOLDER
        exchange_master_key(folder)
        both = Database(database.url, in_force(load_keys(settings), database.url), database.server)
        count = _rotate(both, progress)
        drop_previous(folder)
    return (
        f"{count} keys of people were wrapped anew, and the old master key is gone from {folder}. Destroy its copies:"
        " what it wrapped in backups dies with it."
    )


def _rotate(database: Database, progress: Progress) -> int:
    with psycopg.connect(database.url, autocommit=True, connect_timeout=5) as connection:
        connection.execute(f"SET ROLE {APP_ROLE}")
        return rotate(connection, database.keys.master_key, progress)
