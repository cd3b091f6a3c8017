"""Connections lost around the commit, thousands of times: whoever insists has each command exactly once."""

import asyncio
import random
import time
from collections import Counter
from uuid import UUID

import pytest

from api.logs import configure
from tests.faults.writers import Told, Written, command, nothing_missed_and_nothing_twice
from tests.ledger.test_committer import Chance, unlucky
from tests.ledgers import Shop, running_ledger

pytestmark = pytest.mark.faults

COMMANDS = 10_000
TILLS = 32
CARDS = 60
LOST_AFTER_COMMIT = 0.2
LOST_BEFORE_COMMIT = 0.05


def test_ten_thousand_commands_over_connections_that_break(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    luck = Chance(before=LOST_BEFORE_COMMIT, after=LOST_AFTER_COMMIT)
    troubles: Counter[str] = Counter()
    configure("json", "error")
    monkeypatch.setattr("ledger.commands.Committer", unlucky(luck))

    async def till(shop: Shop, n: int, cards: list[UUID]) -> list[Told]:
        rng = random.Random(n)
        count = COMMANDS // TILLS + (n < COMMANDS % TILLS)
        return [await command(shop, rng.choice(cards), f"{n}-{m}", rng, troubles) for m in range(count)]

    async def story() -> tuple[list[Told], float, int]:
        async with running_ledger(database_url) as ledger:
            shop = await Shop.opened(ledger)
            cards = [await shop.card() for _ in range(CARDS)]
            luck.lost.clear()
            began, rounds = time.monotonic(), ledger.committer.rounds
            tills = await asyncio.gather(*(till(shop, n, cards) for n in range(TILLS)))
            took = time.monotonic() - began
            return [told for of_one in tills for told in of_one], took, ledger.committer.rounds - rounds

    told, took, rounds = asyncio.run(story())
    assert len(told) == COMMANDS
    nothing_missed_and_nothing_twice(database_url, [], [Written(told, troubles)])
    assert luck.lost["after"] > 50
    print(  # noqa: T201
        f"\n{COMMANDS} commands of {TILLS} tills, connection lost after {luck.lost['after']} commits and before"
        f" {luck.lost['before']}: 0 lost, 0 doubled, {took:.1f} s in {rounds} rounds,"
        f" {sum(troubles.values())} asked again"
    )
