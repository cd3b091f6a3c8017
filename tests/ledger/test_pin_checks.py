"""The checks of PINs around the rules: one at a time and in order, and a limit for each till and hour."""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from ledger.commands import Ledger
from ledger.commands.staff import TERMINAL_FAILURES_PER_HOUR, StaffCommands
from ledger.errors import PinBusy, PinInvalid, RateLimited
from tests.examples import HOUR, MINUTE, MONDAY, STAFF_ID
from tests.given import refused
from tests.ledgers import Shop, running_ledger

SECOND = MINUTE / 60


class Clock:
    def __init__(self, at: datetime) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at


def tell(url: str, story: Callable[[Ledger], Coroutine[Any, Any, None]], clock: Clock) -> None:
    async def told() -> None:
        async with running_ledger(url, clock) as ledger:
            await story(ledger)

    asyncio.run(told())


def test_a_till_that_guesses_waits_for_the_next_hour_of_the_ledgers_clock(database_url: str) -> None:
    clock = Clock(MONDAY + 59 * MINUTE + 50 * SECOND)

    async def story(ledger: Ledger) -> None:
        shop = await Shop.opened(ledger)

        async def guess() -> None:
            await ledger.staff.prove(uuid4(), "2000", caller=shop.caller)

        for _ in range(TERMINAL_FAILURES_PER_HOUR):
            with refused(PinInvalid):
                await guess()
        with refused(RateLimited, retry_after_seconds=10):
            await guess()
        clock.at = MONDAY + HOUR
        with refused(PinInvalid):
            await guess()

    tell(database_url, story, clock)


def test_who_waits_for_a_check_is_not_overtaken(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    asking = 0

    async def take_turn(*_: object) -> None:
        nonlocal asking
        asking += 1
        assert asking == 1, "of one process, one at a time asks the database for its turn"
        await asyncio.sleep(0.02)
        asking -= 1

    monkeypatch.setattr(StaffCommands, "_take_turn", take_turn)

    async def story(ledger: Ledger) -> None:
        async def twice() -> None:
            async with ledger.staff._turn(STAFF_ID):
                order.append("first")
                await asyncio.sleep(0.05)
            async with ledger.staff._turn(STAFF_ID):  # At once: who waits was told, and has not moved yet.
                order.append("first again")

        async def once() -> None:
            await asyncio.sleep(0.01)
            async with ledger.staff._turn(STAFF_ID):
                order.append("second")

        await asyncio.gather(twice(), once())

    tell(database_url, story, Clock(MONDAY))
    assert order == ["first", "second", "first again"]


def test_no_queue_is_kept_for_a_pin_that_nobody_asks_about(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.commands.staff.TURN_WAIT_SECONDS", 0.05)

    async def story(ledger: Ledger) -> None:
        async def give_up(pin_id: UUID) -> None:
            with refused(PinBusy):
                async with ledger.staff._turn(pin_id):
                    pass

        async with ledger.staff._turn(STAFF_ID):
            await give_up(STAFF_ID)
            assert len(ledger.staff._queues) == 1
        gc.collect()  # What was refused keeps its traceback for a while.
        assert len(ledger.staff._queues) == 0

    tell(database_url, story, Clock(MONDAY))
