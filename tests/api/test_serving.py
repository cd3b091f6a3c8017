"""One process or several, on the same kind of loop; and both ways of stopping it end in order."""

import asyncio
import os
import signal
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from api import serving
from api.database import Database
from api.key_files import Keys
from api.settings import Settings
from tests.callers import ADMIN_KEY
from tests.clock import PATIENCE_SECONDS, eventually
from tests.databases import database, durable_server
from tests.service import MASTER_KEY, REAL, ServiceProcess, sealing


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
        folder = tmp_path_factory.mktemp("served")
        service = ServiceProcess((REAL, "run"), folder / "log", url, **sealing(url, folder))
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


def projector_of(served: ServiceProcess) -> psutil.Process:
    """It starts a moment after the service answers."""
    assert served.process is not None
    parent = psutil.Process(served.process.pid)

    def found() -> list[psutil.Process]:
        return [child for child in parent.children() if "api.projecting" in child.cmdline()]

    eventually(found)
    (projector,) = found()
    return projector


def holder(served: ServiceProcess) -> str | None:
    """Who keeps the tables up."""
    name: str | None = served.rows("SELECT holder FROM projections WHERE name = 'query_tables'")[0]["holder"]
    return name


def test_tills_come_before_what_follows(stopped: ServiceProcess) -> None:
    served = stopped.start().ready()
    assert served.process is not None
    ours, follows = served.process.pid, projector_of(served)
    assert follows.nice() > psutil.Process(ours).nice()
    assert os.getsid(follows.pid) == os.getsid(ours)  # Where Linux groups by session, niceness counts inside of one.
    assert os.getpgid(follows.pid) != os.getpgid(ours)  # Ctrl-C is for us alone.
    served.kill()


def test_a_projector_that_died_is_started_again(stopped: ServiceProcess) -> None:
    served = stopped.start().ready()
    eventually(lambda: holder(served))
    died = holder(served)
    projector_of(served).kill()
    eventually(lambda: holder(served) not in (None, died))
    served.kill()


def test_killed_it_leaves_no_projector_behind(stopped: ServiceProcess) -> None:
    projector = projector_of(stopped.start().ready())
    stopped.kill()
    projector.wait(PATIENCE_SECONDS)
    assert holder(stopped) is None


def test_what_is_recorded_is_sealed(stopped: ServiceProcess) -> None:
    served = stopped.start().ready()
    vendor = served.admin.vendor()
    eventually(lambda: served.rows("SELECT number FROM checkpoints"))
    assert served.events(vendor["id"])
    served.kill()
