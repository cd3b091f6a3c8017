"""Whatever happens in whatever order: in the end every phone and Google show what is newest, and never went back.

`make schedules` plays thousands that nobody has tried yet. What it finds is printed as short as it still fails, with
its seed, and goes into FOUND. `SCHEDULES_FROM=<seed> make schedules` plays the same ones again.
"""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import pytest

from tests.conftest import SERVER
from tests.databases import database
from tests.schedules.google_world import play_google
from tests.schedules.machine import Machine
from tests.schedules.schedule import APPLE, GOOGLE, Schedule, Step, What, schedule, shortened
from tests.schedules.world import play
from wallet_sync.dev_certificates import make_dev_certificates


class Wallet(NamedTuple):
    what: What
    play: Callable[[Machine, Schedule], None]
    steady: int  # Schedules in each chunk of the ordinary tests.


WALLETS = {"apple": Wallet(APPLE, play, 25), "google": Wallet(GOOGLE, play_google, 15)}

FOUND: dict[str, Schedule] = {
    "a phone took in a pass that was suspended for a moment": (
        Step("suspend or reinstate", 0),
        Step("add", 0, number=2),
        Step("suspend or reinstate", 0),
    ),
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
FOUND_AT_GOOGLE: dict[str, Schedule] = {
    "a card was written as it was suspended for a moment": (
        Step("stamp", 0),
        Step("project"),
        Step("follow"),
        Step("time passes", number=1),
        Step("suspend or reinstate", 0),
        Step("write", 0, "ok"),
        Step("suspend or reinstate", 0),
    ),
    "a stamp came while a write was under way": (
        Step("stamp", 0),
        Step("project"),
        Step("follow"),
        Step("write", 0, "stamp meanwhile", number=1),
        Step("answer", 0, "ok"),
    ),
    "a class vanished that nobody wrote to before the night": (Step("class vanishes"), Step("night")),
    "the account was refused when nothing but the comparison was due": (
        Step("night", number=5),
        Step("write", 1, "403", number=5),
    ),
}
STEADY_CHUNKS = 1
MANY, MANY_CHUNKS = 100, 50  # For each wallet.
FROM = int(os.environ.get("SCHEDULES_FROM", "100000"))


@pytest.fixture(scope="module")
def machine(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    made = make_dev_certificates(tmp_path_factory.mktemp("certificates"), now=datetime.now(UTC))
    server = pytestconfig.stash[SERVER]
    with database(server.url, template=server.template) as url:
        machine = Machine(url, made, tmp_path_factory.mktemp("account"))
        yield machine
        machine.close()


def holds(machine: Machine, wallet: Wallet, seeds: range) -> None:
    for seed in seeds:
        steps = schedule(seed, wallet.what)
        try:
            wallet.play(machine, steps)
        except AssertionError as broken:
            told = "\n".join(f"  {step}" for step in shortened(steps, lambda some: fails(machine, wallet, some)))
            raise AssertionError(f"schedule {seed}: {broken}\n{told}") from broken


def fails(machine: Machine, wallet: Wallet, steps: Schedule) -> bool:
    try:
        wallet.play(machine, steps)
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("steps", FOUND.values(), ids=FOUND)
def test_what_was_lost_once_is_not_lost_again(machine: Machine, steps: Schedule) -> None:
    play(machine, steps)


@pytest.mark.parametrize("steps", FOUND_AT_GOOGLE.values(), ids=FOUND_AT_GOOGLE)
def test_what_was_lost_once_at_google_is_not_lost_again(machine: Machine, steps: Schedule) -> None:
    play_google(machine, steps)


@pytest.mark.parametrize("chunk", range(STEADY_CHUNKS))
@pytest.mark.parametrize("wallet", WALLETS)
def test_every_wallet_ends_with_the_newest_pass_and_none_goes_back(machine: Machine, wallet: str, chunk: int) -> None:
    steady = WALLETS[wallet].steady
    holds(machine, WALLETS[wallet], range(chunk * steady, (chunk + 1) * steady))


@pytest.mark.schedules
@pytest.mark.timeout(900)
@pytest.mark.parametrize("chunk", range(MANY_CHUNKS))
@pytest.mark.parametrize("wallet", WALLETS)
def test_many_more(machine: Machine, wallet: str, chunk: int) -> None:
    holds(machine, WALLETS[wallet], range(FROM + chunk * MANY, FROM + (chunk + 1) * MANY))
