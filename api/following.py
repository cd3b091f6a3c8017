"""One follower of the stream by itself, where the service is several processes on several machines."""

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from api.database import Database
from api.serving import REVIVE_SECONDS, for_sealing
from api.settings import Settings
from api.syncing import sync
from projections.proofs.sealer import Sealer
from projections.read_model import Projector


def project_until_stopped(database: Database) -> None:
    """Keep the query tables up until SIGINT or SIGTERM."""
    _until_stopped(database, Projector(database.url, database.keys.master_key).run)


def sync_until_stopped(settings: Settings, database: Database) -> None:
    """Keep the wallets up until SIGINT or SIGTERM."""
    _until_stopped(database, lambda stop: sync(settings, database.url, database.keys.master_key, stop))


def seal_until_stopped(settings: Settings, database: Database) -> None:
    """Seal what is recorded until SIGINT or SIGTERM."""
    key_path, new_key_name = for_sealing(settings)
    _until_stopped(database, Sealer(database.url, Path(key_path), new_key_name=new_key_name).run)


def _until_stopped(database: Database, work: Callable[[threading.Event], None]) -> None:
    stop = threading.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, lambda *_: stop.set())
    thread = threading.Thread(target=work, args=(stop,))
    thread.start()
    while thread.is_alive():
        thread.join(REVIVE_SECONDS)
        if not stop.is_set():
            with suppress(Exception):
                database.revive()
