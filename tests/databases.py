"""Databases for tests: one server for the run, a copied database for each test, and servers to be killed.

Nothing stays behind, in memory or on disk; what a killed run left is cleared away by the next.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psutil
import psycopg

from migrations.local_postgres import TEST_SETTINGS, LocalPostgres
from migrations.upgrade import upgrade

SERVER_URL_VARIABLE = "LOYALTY_TEST_DATABASE_URL"
BIN_DIR = Path(os.environ["LOYALTY_PG_BIN"]) if "LOYALTY_PG_BIN" in os.environ else None
"""Where the programs of the tests' own servers are; None takes the embedded ones."""

MEMORY = Path("/dev/shm")
MEMORY_BYTES_MIN = 2_000_000_000  # A container often has 64 MB there: too little for a server.


@contextmanager
def directory_for_servers(*, in_memory: bool = True) -> Iterator[Path]:
    """An empty directory that the server's user may enter even where root runs the tests; removed afterwards.

    pytest's own `tmp_path` lies below a directory that only its user may enter.
    """
    is_roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= MEMORY_BYTES_MIN
    base = MEMORY if in_memory and is_roomy else Path(tempfile.gettempdir())
    _remove_leftovers(base)
    directory = Path(tempfile.mkdtemp(prefix=f"ledger-tests-{os.getpid()}-", dir=base))
    directory.chmod(0o711)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def _remove_leftovers(base: Path) -> None:
    """A run that was killed could not clean up, and memory is dear."""
    for leftover in base.glob("ledger-tests-*-*"):
        if not psutil.pid_exists(int(leftover.name.split("-")[2])):
            shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def shared_server() -> Iterator[str]:
    """URL, as superuser, of the server for the whole run: the one named in the environment, or our own."""
    if url := os.environ.get(SERVER_URL_VARIABLE):
        yield url
        return
    with (
        directory_for_servers() as directory,
        LocalPostgres(directory / "shared", settings=TEST_SETTINGS, bin_dir=BIN_DIR) as url,
    ):
        yield url


@contextmanager
def database(server_url: str, *, template: str = "template0", upgraded: bool = False) -> Iterator[str]:
    """URL of a new database on a server, dropped afterwards."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    url = urlsplit(server_url)._replace(path=f"/{name}").geturl()
    try:
        if upgraded:
            upgrade(url)
        yield url
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def durable_server() -> Iterator[LocalPostgres]:
    """A server of one's own on a real disk with the settings of production, to be killed at will.

    It is not started: `start()` gives the URL of an empty database, and brings it back after a kill.
    """
    with directory_for_servers(in_memory=False) as directory:
        server = LocalPostgres(directory / "durable", bin_dir=BIN_DIR)
        try:
            yield server
        finally:
            server.stop()
