"""What is measured, running: a PostgreSQL for each kind of disk, the service on it, and the peers.

Everything runs with the settings of production, and nothing stays behind.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import psycopg

from migrations.local_postgres import SERVER_SETTINGS, LocalPostgres
from tests.benchmarks.peers import DATABASE_VARIABLE
from tests.clock import eventually
from tests.databases import BIN_DIR, directory_for_servers
from tests.service import REAL, ServiceProcess, free_port, sealing, service_process

CONNECTIONS_MAX = "400"
DISKS: dict[str, dict[str, str]] = {
    "fast": {},
    # Each flush is waited for a millisecond longer, as by block storage in a cloud.
    "slow": {"commit_delay": "1000", "commit_siblings": "0"},
}
START_SECONDS = 30.0
CAUGHT_UP_SECONDS = 120.0
SEALED_SECONDS = 1_800  # Ten million events from the beginning, beside a projector.


@contextmanager
def disk(kind: str) -> Iterator[str]:
    """URL of a server on a disk of that kind."""
    settings = {**SERVER_SETTINGS, "max_connections": CONNECTIONS_MAX, **DISKS[kind]}
    with (
        directory_for_servers(in_memory=False) as directory,
        LocalPostgres(directory / kind, settings=settings, bin_dir=BIN_DIR) as url,
    ):
        yield url


@contextmanager
def whole_service(database_url: str) -> Iterator[ServiceProcess]:
    """`loyalty-ledger run` on a database that was upgraded: projections and checkpoints beside the API."""
    with TemporaryDirectory() as folder, service(database_url, "run", **sealing(database_url, Path(folder))) as process:
        yield process


@contextmanager
def service(database_url: str, *command: str, **environment: str) -> Iterator[ServiceProcess]:
    """`loyalty-ledger` with this subcommand, as its users run it."""
    with TemporaryDirectory() as directory:
        log = Path(directory) / "service.log"
        with service_process(log, database_url, command=(REAL, *command), **environment) as process:
            try:
                yield process
            finally:
                complaints = [line for line in log.read_text().splitlines() if line.startswith("{")]
                if complaints:
                    sys.stderr.write("\n".join(["The service said:", *complaints[-20:], ""]))


@contextmanager
def peer(module: str, database_url: str = "") -> Iterator[int]:
    """The port of a peer, run by uvicorn as ours is."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", f"{module}:app", "--port", str(port), "--no-access-log"]
    process = subprocess.Popen(
        [*command, "--log-level", "warning"],
        env=os.environ | {DATABASE_VARIABLE: database_url},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: _answers(port), START_SECONDS)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def prepare_crud(database_url: str, cards: Sequence[str]) -> None:
    subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.peers.crud_stamp"],
        env=os.environ | {DATABASE_VARIABLE: database_url},
        input="\n".join(cards),
        text=True,
        check=True,
        timeout=60,
    )


def _answers(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/openapi.json").status_code == 200
    except httpx2.TransportError:
        return False


def wait_for_seal(database_url: str) -> float:
    """Wait until everything recorded so far is sealed, for the same reason."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        (recorded,) = connection.execute("SELECT count(*) FROM stored_events").fetchone() or (0,)
        sql = "SELECT coalesce(max(tree_size), 0) >= %s FROM checkpoints"
        return eventually(lambda: (connection.execute(sql, (recorded,)).fetchone() or (False,))[0], SEALED_SECONDS)


def wait_for_tables(database_url: str) -> float:
    """Wait until the query tables have caught up: a projector at work takes the machine from whoever is next."""
    sql = """
    SELECT position >= (SELECT coalesce(max(notification_id), 0) FROM stored_events) FROM projections
    WHERE name = 'query_tables'
    """
    with psycopg.connect(database_url, autocommit=True) as connection:
        return eventually(lambda: (connection.execute(sql).fetchone() or (False,))[0], CAUGHT_UP_SECONDS)
