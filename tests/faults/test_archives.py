"""Archives of a large ledger: made, verified and loaded in the same memory as those of a small one, and how fast.

Alone: `pytest -n 0 -s -m faults tests/faults/test_archives.py`. `LOYALTY_ARCHIVE_EVENTS=10000,1000000` for larger ones.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import pytest

from projections.proofs.sealer import Sealer
from projections.proofs.sealing_keys import read_key
from tests.api.test_cli import environment
from tests.benchmarks.population import Place, populate
from tests.databases import database, directory_for_servers, durable_server
from tests.faults.test_memory import Memory
from tests.service import MASTER_KEY, REAL, ServiceProcess, service_process

pytestmark = pytest.mark.faults

EVENTS_EACH = 10
SIZES = tuple(int(size) for size in os.environ.get("LOYALTY_ARCHIVE_EVENTS", "10000,100000").split(","))
GROWTH_MB_MAX = 40.0  # The follower of the query tables keeps up to 10 000 rows, of either size.


class Ran(NamedTuple):
    seconds: float
    most_mb: float


@pytest.fixture
def folder() -> Iterator[Path]:
    with directory_for_servers(in_memory=False) as folder:
        yield folder


def ran(*words: str, url: str, key_file: Path) -> Ran:
    """A command that must succeed: what it took, and the most memory it had."""
    settings = environment(url, LOYALTY_SEALING_KEY_FILE=str(key_file))
    began = time.monotonic()
    with subprocess.Popen([REAL, *words], env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        with Memory(process.pid) as memory:
            said = process.stdout.read().decode()
    assert process.returncode == 0, said
    return Ran(time.monotonic() - began, memory.most_mb)


def filled(service: ServiceProcess, events: int) -> str:
    till = service.shop()
    program = till.program(stamps_target=1000)
    place = Place(service.database_url, MASTER_KEY, UUID(till.vendor_id), UUID(program["id"]))
    populate(place, events // EVENTS_EACH, EVENTS_EACH)
    return str(service.rows("SELECT code FROM vendors WHERE id = %s", till.vendor_id)[0]["code"])


@pytest.mark.timeout(1800)
def test_a_large_ledger_takes_no_more_memory_than_a_small_one(folder: Path) -> None:
    figures: dict[int, dict[str, Ran]] = {}
    with durable_server() as server:
        server_url = server.start()
        for events in SIZES:
            key_file, file, part = folder / str(events) / "key", folder / f"{events}.ndjson", folder / f"{events}.part"
            with database(server_url, upgraded=True) as url, database(server_url) as new_url:
                with service_process(folder / "log", url) as service:
                    code = filled(service, events)
                Sealer(url, key_file, new_key_name="shop.example/ledger").catch_up()
                key = str(read_key(key_file).verifier)
                figures[events] = took = {}
                took["make"] = ran("archive", "make", str(file), "--everything", url=url, key_file=key_file)
                took["make, of a vendor"] = ran(
                    "archive", "make", str(part), "--vendor", code, url=url, key_file=key_file
                )
                took["verify"] = ran("archive", "verify", str(file), "--key", key, url=url, key_file=key_file)
                took["load"] = ran("archive", "load", str(file), "--key", key, url=new_url, key_file=key_file)
    smallest, largest = figures[min(SIZES)], figures[max(SIZES)]
    for what, most in largest.items():
        print(  # noqa: T201
            f"\n{what}: {max(SIZES):,} events in {most.seconds:.1f} s with {most.most_mb:.0f} MB,"
            f" {min(SIZES):,} in {smallest[what].seconds:.1f} s with {smallest[what].most_mb:.0f} MB",
            end="",
        )
    assert {what: most for what, most in largest.items() if most.most_mb > smallest[what].most_mb + GROWTH_MB_MAX} == {}
