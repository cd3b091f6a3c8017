"""The service as its users meet it: a real server on a free port.

`Service` runs in a thread of the test, `ServiceProcess` as a process of its own. Both are told their database.
`python -m tests.service` is the command's own serving without its look at the server: tests' servers are forgetful.
"""

import atexit
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import httpx2
import psycopg
import uvicorn
from psycopg.rows import dict_row
from pydantic import SecretStr

from api import serving
from api.database import Database
from api.key_files import Keys, in_force, load_keys
from api.logs import configure
from api.main import create_app
from api.settings import Settings, read_settings
from ledger.commands.caller import utc_now
from ledger.seal import MasterKey
from migrations.upgrade import upgrade
from projections.check import Difference, check
from projections.proofs.sealer import Sealer, connected
from projections.proofs.sealing_keys import make_first_key
from projections.read_model import Projector
from projections.rebuild import TABLES
from tests.callers import ADMIN_KEY, AUDITOR_KEY, PUBLIC, Admin, Client, Till
from tests.clock import PATIENCE_SECONDS, eventually

MASTER_KEY = MasterKey(bytes(range(32)))
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
PORTS = iter(range(20_000 + 1_000 * (WORKER % 12), 32_000))


class Served:
    """What tests ask of a running service, wherever it runs."""

    http: httpx2.Client
    database_url: str

    @property
    def admin(self) -> Admin:
        return Admin(self.http)

    @property
    def auditor(self) -> Admin:
        return Admin(self.http, AUDITOR_KEY)

    @property
    def public(self) -> Client:
        return Client(self.http, PUBLIC)

    def till(self, key: str, vendor_id: str = "") -> Till:
        return Till(self.http, key, vendor_id)

    def shop(self, *scopes: str, **vendor: Any) -> Till:
        """A new vendor's till, with a key that may do everything, or just what is named."""
        made = self.admin.vendor(**vendor)
        return self.till(self.admin.api_key(made["id"], *scopes)["key"], made["id"])

    def catch_up(self) -> int:
        """Wait until everything recorded stands in the query tables."""
        return Projector(self.database_url, MASTER_KEY).catch_up()

    def differences(self) -> list[Difference]:
        """What the tables say otherwise than the stream, once they have caught up."""
        self.catch_up()
        return check(self.database_url, MASTER_KEY)

    def rows(self, sql: str, *parameters: Any) -> list[dict[str, Any]]:
        """Straight from the database, as its owner."""
        with psycopg.connect(self.database_url, autocommit=True, row_factory=dict_row) as connection:
            cursor = connection.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    def events(self, stream_id: str, *names: str) -> list[dict[str, Any]]:
        """A stream's events, oldest first, by version and name; only those named."""
        rows = self.rows(
            "SELECT originator_version AS version, topic AS name FROM stored_events WHERE originator_id = %s"
            " ORDER BY originator_version",
            stream_id,
        )
        return [row for row in rows if not names or row["name"] in names]

    def heads(self) -> dict[str, str]:
        """Version and head of every stream but those of refusals: what a refusal must leave as it was."""
        rows = self.rows("SELECT stream_id, version, head FROM streams WHERE stream_type <> 'attempts'")
        return {str(row["stream_id"]): f"{row['version']}:{bytes(row['head']).hex()}" for row in rows}

    def tables(self) -> dict[str, str]:
        """A digest of each query table: equal where the rows are."""
        sql = "SELECT md5(coalesce(string_agg(t::text, E'\\n' ORDER BY t::text), '')) AS digest FROM {} t"
        return {table: self.rows(sql.format(table))[0]["digest"] for table in TABLES}


KEY_FILES = TemporaryDirectory(prefix="sealing-keys-")
atexit.register(KEY_FILES.cleanup)


class Service(Served):
    """The application behind a real HTTP server, and a projector, in threads of this process."""

    def __init__(self, database_url: str, **settings: Any) -> None:
        self.database_url = database_url
        self._settings = Settings(
            **{
                "database_url": SecretStr(database_url),
                "admin_key": SecretStr(ADMIN_KEY),
                "auditor_key": SecretStr(AUDITOR_KEY),
                "master_key": SecretStr(MASTER_KEY.to_base64()),
                "port": 0,
                "log_level": "error",
                "enrolments_per_hour": 1_000,
                "sealing_key_file": Path(KEY_FILES.name) / uuid4().hex / "sealing_key",
                **settings,
            }
        )
        self._keys = Keys(ADMIN_KEY, AUDITOR_KEY, MASTER_KEY, None)
        self._stop = threading.Event()
        self._server: uvicorn.Server | None = None
        self._threads: list[threading.Thread] = []

    def start(self) -> "Service":
        configure(self._settings.log_format, self._settings.log_level)
        app = create_app(self._settings, self._keys, self.database_url)
        server = self._server = serving.Server(serving._config(self._settings, app))
        projector = Projector(self.database_url, MASTER_KEY)
        self._stop.clear()
        self._threads = [
            threading.Thread(target=server.run, name="service"),
            threading.Thread(target=projector.run, args=(self._stop,), name="projector"),
        ]
        for thread in self._threads:
            thread.start()
        eventually(lambda: server.started or not self._threads[0].is_alive())
        assert server.started, "the service did not start"
        port = server.servers[0].sockets[0].getsockname()[1]
        self.http = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS)
        return self

    def seal(self) -> None:
        """Put everything recorded under a signed checkpoint."""
        Sealer(self.database_url, self._settings.sealing_key_path, new_key_name="shop.example/ledger").catch_up()

    def stop(self) -> None:
        self.http.close()
        self._stop.set()
        if self._server is not None:
            self._server.should_exit = True
        for thread in self._threads:
            thread.join()

    def stop_projecting(self) -> None:
        """From now on the query tables follow only when `catch_up` is called."""
        self._stop.set()
        self._threads[1].join()

    def __enter__(self) -> "Service":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class ServiceProcess(Served):
    """A service in a process of its own, to be killed at will; started again it is found at the same address.

    Args:
        command: What to run: `TESTS_OWN`, or a subcommand of the real command, which refuses a forgetful database.
        environment: Beside the keys and the port, which are set.
    """

    def __init__(self, command: Sequence[str], log: Path, database_url: str = "", **environment: str) -> None:
        self.database_url = database_url
        self.port = free_port()
        self.http = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=PATIENCE_SECONDS)
        self._command = command
        self.log = log
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("LOYALTY_")},
            "LOYALTY_ADMIN_KEY": ADMIN_KEY,
            "LOYALTY_AUDITOR_KEY": AUDITOR_KEY,
            "LOYALTY_MASTER_KEY": MASTER_KEY.to_base64(),
            "LOYALTY_PORT": str(self.port),
            "LOYALTY_LOG_LEVEL": "warning",
            "LOYALTY_ENROLMENTS_PER_HOUR": "1000",
            **({"LOYALTY_DATABASE_URL": database_url} if database_url else {}),
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "ServiceProcess":
        """Start it; it need not be ready yet."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        return self

    def ready(self) -> "ServiceProcess":
        eventually(self._is_ready, explain=self.last_words)
        return self

    def _is_ready(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.last_words()
        try:
            return self.http.get("/health/ready", timeout=2).status_code == 200
        except httpx2.TransportError:
            return False

    def last_words(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """In order, and if that does not help by force."""
        self.http.close()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()


TESTS_OWN = (sys.executable, "-m", "tests.service")
REAL = str(Path(sys.executable).with_name("loyalty-ledger"))


def sealing(database_url: str, folder: Path) -> dict[str, str]:
    """The setting with which a service signs checkpoints over this database, whose first key is made."""
    upgrade(database_url)
    file = folder / "sealing_key"
    with connected(database_url) as connection:
        make_first_key(connection, file, "shop.example/ledger", utc_now())
    return {"LOYALTY_SEALING_KEY_FILE": str(file)}


@contextmanager
def service_process(
    log: Path, database_url: str = "", *, command: Sequence[str] = TESTS_OWN, **environment: str
) -> Iterator[ServiceProcess]:
    process = ServiceProcess(command, log, database_url, **environment)
    try:
        yield process.start().ready()
    finally:
        process.end()


def free_port() -> int:
    """One of this worker's own, below those that the system hands out: nobody takes it until it is used."""
    for port in PORTS:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def main() -> None:
    settings = read_settings()
    configure(settings.log_format, settings.log_level)
    assert settings.database_url is not None
    url = settings.database_url.get_secret_value()
    database = Database(url, in_force(load_keys(settings), url), None)
    serving.run_all(settings, database, projects=True, ready=print)


if __name__ == "__main__":
    main()
