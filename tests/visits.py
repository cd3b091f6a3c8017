"""What customers, staff and the office do to a few cards, at random: stories for promises about whole histories."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID, uuid4

from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.commands.references import CardReference
from ledger.decision import Outcome
from ledger.errors import Refused
from tests.ledgers import CAKE, Shop, facts

What = Literal["stamp", "buy", "redeem", "cake", "adjust", "undo", "refund", "replace", "suspend", "close", "rules"]
OFTEN: tuple[What, ...] = ("stamp", "stamp", "stamp", "stamp", "buy", "redeem", "redeem", "cake", "undo", "refund")
SELDOM: tuple[What, ...] = ("adjust", "replace", "suspend", "close", "rules")


@dataclass(frozen=True)
class Visit:
    """`number` makes it concrete: how much, which entry. With `minutes` 0 it comes at once with the one before."""

    what: What
    card: int
    number: int
    minutes: int


VISITS = st.lists(
    st.builds(
        Visit,
        st.sampled_from(OFTEN * 3 + SELDOM),
        st.integers(0, 1),
        st.integers(0, 1000),
        st.sampled_from([0, 0, 5, 10, 20, 120, 1500]),
    ),
    min_size=10,
    max_size=40,
)

# A reward is refused, and the stamp that was missing given in the same round: the refusal is written after it.
OVERTAKEN = [
    Visit("stamp", 0, 1, 0),
    Visit("stamp", 1, 0, 30),
    Visit("redeem", 0, 0, 0),
    Visit("stamp", 0, 0, 0),
]
SUSPENDED = [Visit("buy", 0, 500, 5), Visit("suspend", 0, 0, 5), Visit("buy", 0, 500, 5), Visit("redeem", 0, 0, 5)]


@dataclass
class Clock:
    now: datetime = datetime(2026, 3, 28, 8, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Story:
    """A shop with two cards, and every decision that was made: by its id, whether it was accepted."""

    shop: Shop
    clock: Clock
    cards: list[UUID] = field(default_factory=list)
    decided: dict[UUID, bool] = field(default_factory=dict)
    entries: list[dict[str, Any]] = field(default_factory=list)

    async def play(self, visits: Sequence[Visit]) -> None:
        if not self.cards:
            self.cards = [await self.shop.card(name="Léa") for _ in range(2)]
        together: list[Visit] = []
        for visit in (*visits, None):
            if visit is not None and visit.minutes == 0:
                together.append(visit)
                continue
            await asyncio.gather(*(self._visit(one) for one in together))
            if visit is not None:
                self.clock.now += timedelta(minutes=visit.minutes)
                together = [visit]

    async def _visit(self, visit: Visit) -> None:
        try:
            outcome = await self._asked(visit)
        except Refused as refusal:
            if refusal.decision_id is not None:
                self.decided[refusal.decision_id] = False
            return
        if outcome is not None:
            entry = facts(outcome)
            self.entries.append(entry)
            self.decided[UUID(entry["entry_id"])] = True

    async def _asked(self, visit: Visit) -> Outcome | None:
        shop, till, number = self.shop, self.shop.ledger.till, visit.number
        card = self.cards[visit.card]
        reference = CardReference(str(card))
        match visit.what:
            case "stamp":
                return await shop.stamp(card, count=1 + number % 2)
            case "buy":
                return await till.earn(
                    reference,
                    purchase_amount_minor=number * 3,
                    paid_with_reward_minor=0,
                    currency="EUR",
                    asked=shop.asked(order_reference=f"order {number}"),
                )
            case "redeem" | "cake":
                return await shop.redeem(card, reward_id=CAKE.reward_id if visit.what == "cake" else None)
            case "adjust":
                stamps = number % 7 - 3 or 2
                return await till.adjust(reference, stamps=stamps, points=0, reason="?", asked=shop.asked())
            case "undo" | "refund":
                return await self._undo(number, visit.what == "refund")
            case _:
                await self._office(visit, reference)
                return None

    async def _undo(self, number: int, is_refund: bool) -> Outcome | None:
        wanted = [e for e in self.entries if (e["type"] == "points_earned") == is_refund]
        if not wanted:
            return None
        entry = wanted[-1 - number % min(len(wanted), 3)]
        amount = 1 + number if is_refund and number % 2 else None
        return await self.shop.ledger.till.reverse(
            UUID(entry["entry_id"]), amount_minor=amount, reason="?", asked=self.shop.asked()
        )

    async def _office(self, visit: Visit, reference: CardReference) -> None:
        shop, cards, number = self.shop, self.shop.ledger.cards, visit.number
        asked: dict[str, Any] = {"reason": "?", "caller": shop.caller}
        match visit.what:
            case "replace":
                made = facts(await cards.replace(reference, once=shop.once(uuid4().hex), **asked))
                self.cards[visit.card] = UUID(made["id"])
            case "suspend":
                await cards.suspend(reference, once=shop.once(uuid4().hex), **asked)
                if number % 2:
                    await cards.reinstate(reference, once=shop.once(uuid4().hex), **asked)
            case "close":
                if number % 3 == 0:
                    await cards.close(reference, once=shop.once(uuid4().hex), **asked)
                    self.cards[visit.card] = await shop.card(name="Léa")
            case "rules":
                target = 2 + number % 5
                await shop.ledger.programs.change(
                    shop.program_id,
                    lambda program, now: (
                        replace(program.rules_at(now), stamps_target=target, effective_from=now),
                        program.branding,
                        None,
                    ),
                    caller=shop.caller,
                )
