"""Whatever happens in whatever order: in the end every registered phone shows the newest pass, and none went back.

`make schedules` plays ten thousand that nobody has tried yet. What it finds is printed as short as it still fails, with
its seed, and goes into FOUND. `SCHEDULES_FROM=<seed> make schedules` plays the same ones again.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.conftest import SERVER
from tests.databases import database
from tests.schedules.machine import Machine
from tests.schedules.schedule import Schedule, Step, schedule, shortened
from tests.schedules.world import play
from wallet_sync.dev_certificates import make_dev_certificates

FOUND: dict[str, Schedule] = {
    "a phone registered while its token was called bad": (
        Step("stamp", 0),
        Step("project"),
        Step("follow"),
        Step("time passes", number=1),
        Step("push", 0, "held"),
        Step("new token", 0, "bad"),
        Step("register and ask", 0),
        Step("answer", 0, "delivered"),
    ),
    "a phone registered while its token was called gone": (
        Step("stamp", 0),
        Step("project"),
        Step("follow"),
        Step("time passes", number=1),
        Step("push", 0, "held"),
        Step("new token", 0, "gone"),
        Step("register and ask", 0),
        Step("answer", 0, "delivered"),
    ),
    "a phone registered with what it knows of another pass": (
        Step("add", 1, number=2),
        Step("download", 1),
        Step("stamp", 1),
        Step("stamp", 0),
        Step("project"),
        Step("ask", 1),
        Step("register and ask", 1),
    ),
    "a registration and a stamp were followed at once": (Step("add", 1), Step("stamp", 1)),
    "a stamp came while a push was under way": (
        Step("stamp", 0),
        Step("project"),
        Step("follow"),
        Step("time passes", number=1),
        Step("push", 0, "held, delivered"),
        Step("ask", 0),
        Step("stamp", 0),
        Step("project"),
        Step("follow"),
        Step("answer", 0, "delivered"),
    ),
}
STEADY, STEADY_CHUNKS = 25, 4
MANY, MANY_CHUNKS = 100, 100
FROM = int(os.environ.get("SCHEDULES_FROM", "100000"))


@pytest.fixture(scope="module")
def machine(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    made = make_dev_certificates(tmp_path_factory.mktemp("certificates"), now=datetime.now(UTC))
    server = pytestconfig.stash[SERVER]
    with database(server.url, template=server.template) as url:
        machine = Machine(url, made)
        yield machine
        machine.close()


def holds(machine: Machine, seeds: range) -> None:
    for seed in seeds:
        steps = schedule(seed)
        try:
            play(machine, steps)
        except AssertionError as broken:
            told = "\n".join(f"  {step}" for step in shortened(steps, lambda some: fails(machine, some)))
            raise AssertionError(f"schedule {seed}: {broken}\n{told}") from broken


def fails(machine: Machine, steps: Schedule) -> bool:
    try:
        play(machine, steps)
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("steps", FOUND.values(), ids=FOUND)
def test_what_was_lost_once_is_not_lost_again(machine: Machine, steps: Schedule) -> None:
    play(machine, steps)


@pytest.mark.parametrize("chunk", range(STEADY_CHUNKS))
def test_every_phone_ends_with_the_newest_pass_and_none_goes_back(machine: Machine, chunk: int) -> None:
    holds(machine, range(chunk * STEADY, (chunk + 1) * STEADY))


@pytest.mark.schedules
@pytest.mark.timeout(900)
@pytest.mark.parametrize("chunk", range(MANY_CHUNKS))
def test_many_more(machine: Machine, chunk: int) -> None:
    holds(machine, range(FROM + chunk * MANY, FROM + (chunk + 1) * MANY))
