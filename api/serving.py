"""Running the service: HTTP, its followers beside it, and an embedded database that is brought back when it dies."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI

from api.child import Child
from api.database import Database
from api.key_files import in_force, load_keys
from api.logs import configure
from api.main import create_app
from api.pages.customer.open_cards import leave_all
from api.settings import Settings, read_settings, variable

REVIVE_SECONDS = 0.25
PROXIES = [
    "127.0.0.0/8",
    "::1",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "fc00::/7",
    "fe80::/10",
]
"""Where a proxy of one's own stands: this machine and private networks (RFC 1918, 3927, 4193 and 4291)."""

log = structlog.get_logger("api.serving")


class Server(uvicorn.Server):
    """Lets those go who wait on it before it waits for everybody to be answered."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        leave_all()
        await super().shutdown(sockets)


def run_all(settings: Settings, database: Database, *, projects: bool, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; with `projects` processes beside this one keep tables and phones up, and seal."""
    wanted: dict[str, Sequence[str | None]] = {"api.projecting": (), "api.sealing": for_sealing(settings)}
    if settings.has_wallets:
        wanted["api.syncing"] = ()
    children = [
        Child(
            module,
            database.url,
            database.keys.master_key,
            log_format=settings.log_format,
            log_level=settings.log_level,
            more=more,
        )
        for module, more in (wanted.items() if projects else ())
    ]
    # uvicorn raises the signal again once it has shut down; then ours lets the blocks around it end in order.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    server = Server(_config(settings, create_app(settings, database.keys, database.url)))
    try:
        # On the loop that uvicorn gives its workers too: uvloop, where it is to be had.
        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            runner.run(_serve(server, settings, database, children, ready))
    except KeyboardInterrupt:
        pass
    finally:
        for child in children:
            child.stop()


async def _serve(
    server: uvicorn.Server,
    settings: Settings,
    database: Database,
    children: Sequence[Child],
    ready: Callable[[str], None],
) -> None:
    revival = asyncio.create_task(_keep_alive(server, database, children))
    announcement = asyncio.create_task(_announce(server, settings, ready))
    try:
        await server.serve()
    finally:
        revival.cancel()
        announcement.cancel()


async def _keep_alive(server: uvicorn.Server, database: Database, children: Sequence[Child]) -> None:
    """The embedded server and the children, back within a moment.

    The embedded server is started from this, the main thread: its life is tied to it. Children begin once tills are
    served: earlier, their start would take the processors from ours.
    """
    while True:
        await asyncio.sleep(REVIVE_SECONDS)
        try:
            database.revive()
        except Exception as error:
            log.error("database-not-revived", error=type(error).__name__)
        try:
            for child in children if server.started else ():
                child.keep_running()
        except OSError as error:
            log.error("child-not-started", error=type(error).__name__)


async def _announce(server: uvicorn.Server, settings: Settings, ready: Callable[[str], None]) -> None:
    while not server.started:
        await asyncio.sleep(0.02)
    port = settings.port
    for listening in server.servers:
        for listener in listening.sockets:
            port = listener.getsockname()[1]
    ready(f"http://{settings.host}:{port}")


def serve_with_workers(settings: Settings, database: Database, workers: int) -> None:
    """Several processes on one port. They find database and keys in their environment."""
    os.environ[variable("database_url")] = database.url
    os.environ[variable("admin_key")] = database.keys.admin_key
    os.environ[variable("master_key")] = database.keys.master_key.to_base64()
    if database.keys.master_key.previous is not None:
        os.environ[variable("master_key_previous")] = database.keys.master_key.previous.to_base64()
    uvicorn.run(
        "api.serving:app_of_worker",
        factory=True,
        workers=workers,
        host=settings.host,
        port=settings.port,
        **_OPTIONS,
        timeout_graceful_shutdown=int(settings.shutdown_seconds_max),
        proxy_headers=settings.trust_proxy,
        forwarded_allow_ips=os.environ.get("FORWARDED_ALLOW_IPS") or PROXIES,
    )


def app_of_worker() -> object:
    """The application of one worker process, whose server is uvicorn's own."""
    settings = read_settings()
    configure(settings.log_format, settings.log_level)
    assert settings.database_url is not None
    url = settings.database_url.get_secret_value()
    for number in (signal.SIGINT, signal.SIGTERM):
        _let_go_at(number)
    return create_app(settings, in_force(load_keys(settings), url), url)


def _let_go_at(number: int) -> None:
    """Before the server hears of the signal."""
    server = signal.getsignal(number)

    def heard(number: int, frame: FrameType | None) -> None:
        leave_all()
        if callable(server):
            server(number, frame)

    signal.signal(number, heard)


_OPTIONS: dict[str, Any] = {
    "log_config": None,
    "access_log": False,
    "server_header": False,
    "date_header": True,
    "lifespan": "on",
    "timeout_keep_alive": 30,
    "backlog": 2048,
}


def _config(settings: Settings, app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        **_OPTIONS,
        timeout_graceful_shutdown=int(settings.shutdown_seconds_max),
        proxy_headers=settings.trust_proxy,
        forwarded_allow_ips=os.environ.get("FORWARDED_ALLOW_IPS") or PROXIES,
    )


def for_sealing(settings: Settings) -> tuple[str, str | None]:
    """Where the sealing key lies, and the name of a first one where it is made by itself: with the embedded database.

    With a database of one's own whoever keeps the keys makes it.
    """
    return str(settings.sealing_key_path), settings.checkpoint_name if settings.is_embedded else None
