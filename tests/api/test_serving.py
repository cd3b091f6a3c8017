"""One process or several, on the same kind of loop; and both ways of stopping it end in order."""

import asyncio
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from api import serving
from api.database import Database
from api.key_files import Keys
from api.settings import Settings
from tests.databases import database, durable_server
from tests.service import ADMIN_KEY, MASTER_KEY, REAL, ServiceProcess


@pytest.fixture
def signals_as_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("signals_as_before")
def test_one_process_runs_on_the_loop_that_several_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    uvloop = pytest.importorskip("uvloop")
    loops: list[object] = []

    async def serve(*_: Any) -> None:
        loops.append(asyncio.get_running_loop())

    monkeypatch.setattr(serving, "_serve", serve)
    nowhere = Database("", Keys(ADMIN_KEY, None, MASTER_KEY, None), None)
    serving.run_all(Settings(), nowhere, projects=False, ready=print)
    assert [type(loop) for loop in loops] == [uvloop.Loop]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with (
        durable_server() as server,
        database(server.start(), upgraded=True) as url,
    ):
        service = ServiceProcess((REAL, "run"), tmp_path_factory.mktemp("served") / "log", url)
        yield service
        service.end()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_it_ends_in_order_when_it_is_told_to(stopped: ServiceProcess, how: signal.Signals) -> None:
    served = stopped.start().ready()
    assert served.process is not None
    served.http.get("/health/live")  # A connection that is kept open holds nobody up.
    served.process.send_signal(how)
    assert served.process.wait(15) == 0, served.last_words()
    assert "Traceback" not in served.last_words()
