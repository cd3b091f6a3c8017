"""Work beside the API in processes of their own: requests and that work do not wait for each other's turn.

A child lives as long as its input stays open. Whoever started it may be killed: then it ends in order, and nothing is
left.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import orjson
import psycopg
import structlog

from api.logs import configure
from ledger.master_keys import in_force
from ledger.seal import MasterKey

RESTART_SECONDS = 1.0  # At most one start in so long, should it die again and again.
STOP_SECONDS = 10.0
NICENESS = 10  # Where processors are short tills come first: what follows may be a moment later, a queue may not.

log = structlog.get_logger("api.child")


class Child:
    """A process that runs a module of ours, until `stop`.

    Args:
        module: What it runs; its `main` calls `told`.
        log_format, log_level: As in the settings: its lines go where ours go.
        more: What this module wants to know besides, so that it need not read the settings.
    """

    def __init__(
        self,
        module: str,
        database_url: str,
        master_key: MasterKey,
        *,
        log_format: str,
        log_level: str,
        more: Sequence[str | None] = (),
    ) -> None:
        self._module = module
        # On its input rather than in its environment, which others on the machine may read.
        before = master_key.previous
        keys = [master_key.to_base64(), None if before is None else before.to_base64()]
        self._told = orjson.dumps([database_url, keys, log_format, log_level, more]) + b"\n"
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._restarts = 0

    def keep_running(self) -> None:
        """Start it, also again if it died; a no-op while it lives.

        Raises:
            OSError: The system has no place for another process. Safe to ask again.
        """
        if self._process is None:
            self._start()
        elif self._process.poll() is not None and time.monotonic() - self._started_at >= RESTART_SECONDS:
            self._restarts += 1
            log.error(
                "child-died", module=self._module, error=f"exit {self._process.returncode}", restarts=self._restarts
            )
            self._close()
            self._start()

    def stop(self) -> None:
        """Let it finish its batch and give its lease back."""
        if self._process is None:
            return
        self._close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()  # Nothing is lost: a batch is a transaction.
            self._process.wait()

    def _start(self) -> None:
        self._started_at = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            # Ctrl-C is for us: it ends when we do, once the last request is answered. In a session of its own it would
            # have a fair share however nice it is: where Linux groups by session, niceness counts inside of one.
            process_group=0,
        )
        ours = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, self._process.pid, ours + NICENESS)  # From its first import.
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # It died at once; the next look finds that out.
            self._process.stdin.write(self._told)
            self._process.stdin.flush()

    def _close(self) -> None:
        assert self._process is not None and self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()


@dataclass(frozen=True, slots=True)
class Told:
    """What a child is told when it begins. `stop` is set when it shall end."""

    database_url: str
    master_key: MasterKey
    stop: threading.Event
    more: Sequence[str | None]


def told() -> Told:
    """Read what the parent wrote, and be what it asks for: quiet, and gone when it is gone."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # It may write to a terminal whose foreground it is not in.
    database_url, (key, before), log_format, log_level, more = orjson.loads(sys.stdin.buffer.readline())
    configure(log_format, log_level)
    threading.Thread(target=_stop_with_input, args=(stop,), daemon=True).start()
    given = MasterKey(MasterKey.from_base64(key).key, None if before is None else MasterKey.from_base64(before))
    with psycopg.connect(database_url, autocommit=True, connect_timeout=5) as connection:
        return Told(database_url, in_force(connection, given), stop, more)


def _stop_with_input(stop: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    stop.set()
