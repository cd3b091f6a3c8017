"""The promises of the whole, kept by whatever tills ask in whatever order, with crashes in between.

A crash takes the process: its connection breaks before or after the commit, its ledger is thrown away, a new one
opens on the same database, and the till asks again under the same key. The model below knows the rules only from the
outside: it adds up what was answered.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, ClassVar
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from ledger.commands import Ledger
from ledger.commands.cards import Customer
from ledger.commands.references import CardReference
from ledger.committer import APPEND, Committer
from ledger.decision import Outcome
from ledger.errors import Refused, StoreAway
from projections.check import check
from projections.read_model import Projector
from projections.rebuild import TABLES, rebuild
from tests.ledgers import CAKE, MASTER_KEY, Luck, Shop, Unlucky, facts, heads, rows, running_ledger

QUICKLY = settings(
    max_examples=12,
    stateful_step_count=50,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
START = datetime(2026, 3, 28, 22, 0, tzinfo=UTC)  # A night before the clocks change.
ZONE = ZoneInfo("Europe/Luxembourg")
COOLDOWN = timedelta(minutes=15)
DAILY_LIMIT = 4
TARGET = 5
RARELY = st.sampled_from([False, False, False, False, True])
AT_THE_TILL = ("stamp", "stamp", "stamp", "buy", "buy", "redeem stamps", "redeem points", "adjust")
REVERSIBLE = ("stamp", "purchase", "redemption")


class OneCrash(Luck):
    """Nothing, or a crash around the very next write."""

    def __init__(self) -> None:
        self.next: str | None = None

    def _now(self, when: str) -> bool:
        if self.next != when:
            return False
        self.next = None
        return True

    def breaks_before(self) -> bool:
        return self._now("before")

    def breaks_after(self) -> bool:
        return self._now("after")


class Crashed(Exception):
    """What a process that is gone answers."""


class MortalCommitter(Committer):
    """Where the connection breaks, its process is gone too: it settles nothing."""

    luck: ClassVar[OneCrash]

    async def _connected(self) -> Any:
        return Unlucky(await super()._connected(), self.luck, APPEND)

    async def _recover(self, batch: list[Any], error: Any) -> None:
        self._fail(batch, Crashed())
        await self._disconnect()


@dataclass
class Entry:
    """One acknowledged entry, as the till remembers it."""

    card: UUID
    entry_id: UUID
    kind: str
    at: datetime
    units: int = 0
    amount_minor: int = 0
    refunded_minor: int = 0
    taken_back: int = 0
    is_reversed: bool = False


@dataclass
class Model:
    stamps: Counter[UUID] = field(default_factory=Counter)
    points: Counter[UUID] = field(default_factory=Counter)
    entries: list[Entry] = field(default_factory=list)
    debtors: set[UUID] = field(default_factory=set)


class Tills(RuleBasedStateMachine):
    """A vendor's tills, on a clock that only goes on when told to."""

    url: ClassVar[str]
    cards = Bundle("cards")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.luck = MortalCommitter.luck = OneCrash()
        self.now = START
        self.model = Model()
        self.suspended: set[UUID] = set()
        self.asked: list[tuple[Callable[[Shop], Awaitable[Outcome]], Any]] = []
        self.resources = AsyncExitStack()
        self.shop: Shop

    def teardown(self) -> None:
        try:
            if hasattr(self, "shop") and sys.exc_info()[0] is None:
                self.everything_adds_up()
        finally:
            self.loop.run_until_complete(self.resources.aclose())
            self.loop.close()

    # ------------------------------------------------------------------ the process

    async def _open(self) -> Ledger:
        return await self.resources.enter_async_context(running_ledger(self.url, lambda: self.now))

    async def _reopen(self) -> None:
        await self.resources.aclose()
        self.resources = AsyncExitStack()
        self.shop = self.shop.at(await self._open())

    def ask(self, command: Callable[[Shop, str], Awaitable[Outcome]], crash: str | None) -> dict[str, Any] | Refused:
        """Ask until it is answered or refused: once, and again where the process crashed."""
        key = uuid4().hex
        before = heads(self.url)
        self.luck.next = crash
        answer = self.loop.run_until_complete(self._insist(lambda shop: command(shop, key)))
        self.luck.next = None
        if isinstance(answer, Refused):
            assert heads(self.url) == before, "a refusal changed a stream"
        self.asked.append(((lambda shop: command(shop, key)), answer))
        return answer if isinstance(answer, Refused) else facts(answer)

    async def _insist(self, command: Callable[[Shop], Awaitable[Outcome]]) -> Outcome | Refused:
        while True:
            try:
                return await command(self.shop)
            except (Crashed, StoreAway):
                await self._reopen()
            except Refused as refusal:
                return refusal

    # ------------------------------------------------------------------ rules

    @initialize(target=cards, policy=st.sampled_from(["allow_negative", "within_balance", "reject"]))
    def a_shop_opens(self, policy: str) -> Any:
        async def opened() -> list[UUID]:
            self.shop = await Shop.opened(
                await self._open(),
                stamps_target=TARGET,
                cooldown_minutes=15,
                max_daily_stamps=DAILY_LIMIT,
                max_stamps_per_scan=3,
                rate_points=3,
                rate_minor=100,
                reversal_policy=policy,
            )
            return [await self.shop.card(name="Léa") for _ in range(2)]

        self.policy = policy
        return multiple(*self.loop.run_until_complete(opened()))

    crashes = st.sampled_from([None, None, None, "before", "after"])

    @rule(minutes=st.sampled_from([60 * 9, 15, 14, 60 * 24, -30]))
    def time_passes(self, minutes: int) -> None:
        """Sometimes backwards: a wall clock does."""
        self.now += timedelta(minutes=minutes)

    @rule(card=cards, what=st.sampled_from(AT_THE_TILL), number=st.integers(0, 2_000), crash=crashes)
    def at_the_till(self, card: UUID, what: str, number: int, crash: str | None) -> None:
        """One rule for everything that happens often, so that it does."""
        self.now += timedelta(minutes=number % 40)
        match what:
            case "stamp":
                self.stamp(card, 1 + number % 3, crash)
            case "buy":
                self.buy(card, number, crash)
            case "adjust":
                self.adjust(card, number % 9 - 4 or 2, crash)
            case "redeem stamps":
                self.redeem(card, None, crash)
            case "redeem points":
                self.redeem(card, CAKE.reward_id, crash)

    def stamp(self, card: UUID, count: int, crash: str | None) -> None:
        self._entered(card, "stamp", self.ask(lambda shop, key: shop.stamp(card, key, count=count), crash))

    def buy(self, card: UUID, amount_minor: int, crash: str | None) -> None:
        def command(shop: Shop, key: str) -> Awaitable[Outcome]:
            return shop.ledger.till.earn(
                CardReference(str(card)),
                purchase_amount_minor=amount_minor,
                paid_with_reward_minor=0,
                currency="EUR",
                asked=shop.asked(key),
            )

        entry = self._entered(card, "purchase", self.ask(command, crash))
        if entry is not None:
            entry.amount_minor = amount_minor
            assert entry.units == amount_minor * 3 // 100

    def redeem(self, card: UUID, reward: UUID | None, crash: str | None) -> None:
        held = self.model.stamps[card] if reward is None else self.model.points[card]
        price = TARGET if reward is None else CAKE.points_cost
        entry = self._entered(
            card, "redemption", self.ask(lambda shop, key: shop.redeem(card, key, reward_id=reward), crash)
        )
        assert entry is None or held >= price

    def adjust(self, card: UUID, stamps: int, crash: str | None) -> None:
        def command(shop: Shop, key: str) -> Awaitable[Outcome]:
            reference = CardReference(str(card))
            return shop.ledger.till.adjust(reference, stamps=stamps, points=0, reason="?", asked=shop.asked(key))

        self._entered(card, "adjustment", self.ask(command, crash))

    @rule(data=st.data(), crash=crashes)
    def reverse(self, data: st.DataObject, crash: str | None) -> None:
        if not self.model.entries:
            return
        likely = [entry for entry in self.model.entries if entry.kind in REVERSIBLE and not entry.is_reversed]
        entry = data.draw(st.sampled_from(likely or self.model.entries))
        amount_minor = None
        if entry.kind == "purchase":
            amount_minor = data.draw(st.none() | st.integers(1, 2_000))

        def command(shop: Shop, key: str) -> Awaitable[Outcome]:
            return shop.ledger.till.reverse(
                entry.entry_id, amount_minor=amount_minor, reason="?", asked=shop.asked(key)
            )

        told = self.ask(command, crash)
        if isinstance(told, Refused):
            return
        assert not entry.is_reversed, "reversed twice"
        assert entry.kind in REVERSIBLE
        back = self._entered(entry.card, "reversal", told)
        assert back is not None
        entry.refunded_minor += (entry.amount_minor - entry.refunded_minor) if amount_minor is None else amount_minor
        entry.taken_back += -told["points_delta"] + told.get("shortfall", 0) if entry.kind == "purchase" else 0
        entry.is_reversed = entry.kind != "purchase" or entry.refunded_minor >= entry.amount_minor
        assert entry.refunded_minor <= entry.amount_minor
        assert entry.taken_back <= max(entry.units, 0)
        if entry.kind == "purchase" and entry.is_reversed:
            assert entry.taken_back == entry.units, "some split of refunds ended elsewhere"
        if min(self.model.stamps[entry.card], self.model.points[entry.card]) < 0:
            assert self.policy == "allow_negative"
            self.model.debtors.add(entry.card)

    @rule(card=cards, crash=crashes, is_meant=RARELY)
    def life(self, card: UUID, crash: str | None, is_meant: bool) -> None:
        is_suspended = card in self.suspended
        if not is_suspended and not is_meant:
            return
        action = "reinstate" if is_suspended else "suspend"
        self.suspended ^= {card}

        def command(shop: Shop, key: str) -> Awaitable[Outcome]:
            change: Callable[..., Awaitable[Outcome]] = getattr(shop.ledger.cards, action)
            return change(CardReference(str(card)), reason="?", caller=shop.caller, once=shop.once(key))

        assert not isinstance(self.ask(command, crash), Refused)

    @rule(target=cards, card=consumes(cards), crash=crashes, is_meant=RARELY)
    def replace_lost(self, card: UUID, crash: str | None, is_meant: bool) -> Any:
        if not is_meant:
            return card

        def command(shop: Shop, key: str) -> Awaitable[Outcome]:
            return shop.ledger.cards.replace(
                CardReference(str(card)), reason="Lost", caller=shop.caller, once=shop.once(key)
            )

        told = self.ask(command, crash)
        assert not isinstance(told, Refused)
        new, model = UUID(told["id"]), self.model
        if card in self.suspended:
            self.suspended ^= {card, new}
        model.stamps[new], model.points[new] = model.stamps.pop(card, 0), model.points.pop(card, 0)
        for entry in model.entries:
            if entry.card == card:
                entry.card = new
        if card in model.debtors:
            model.debtors.add(new)
        return new

    @rule(data=st.data(), in_another_process=st.booleans())
    def ask_again(self, data: st.DataObject, in_another_process: bool) -> None:
        """The same key, at any later time: the same answer, and no stream moves."""
        if not self.asked:
            return
        if in_another_process:
            self.loop.run_until_complete(self._reopen())
        command, answer = self.asked[data.draw(st.integers(0, len(self.asked) - 1))]
        before = heads(self.url)
        again = self.loop.run_until_complete(self._insist(command))
        assert heads(self.url) == before
        if isinstance(answer, Outcome):
            assert isinstance(again, Outcome) and again.is_replay
            assert (again.answer, again.position) == (answer.answer, answer.position)
        elif isinstance(again, Refused) and again.is_replay:
            assert type(again) is type(answer)
            assert again.facts == answer.facts

    # ------------------------------------------------------------------ what is promised

    def _entered(self, card: UUID, kind: str, told: dict[str, Any] | Refused) -> Entry | None:
        if isinstance(told, Refused):
            return None
        card = UUID(told["card_id"])
        self.model.stamps[card] += told["stamps_delta"]
        self.model.points[card] += told["points_delta"]
        assert (told["stamp_count"], told["points_balance"]) == (self.model.stamps[card], self.model.points[card])
        units = told["stamps_delta"] if kind == "stamp" else told["points_delta"]
        entry = Entry(card, UUID(told["entry_id"]), kind, datetime.fromisoformat(told["recorded_at"]), units)
        self.model.entries.append(entry)
        return entry

    @invariant()
    def no_balance_is_below_zero_but_by_policy(self) -> None:
        for balances in (self.model.stamps, self.model.points):
            assert {card for card, held in balances.items() if held < 0} <= self.model.debtors

    @invariant()
    def the_limits_hold(self) -> None:
        stamps: dict[UUID, list[Entry]] = {}
        for entry in self.model.entries:
            if entry.kind == "stamp" and not entry.is_reversed:
                stamps.setdefault(entry.card, []).append(entry)
        for entries in stamps.values():
            entries.sort(key=lambda entry: entry.at)
            days: Counter[Any] = Counter()
            for entry in entries:
                days[entry.at.astimezone(ZONE).date()] += entry.units
            assert max(days.values()) <= DAILY_LIMIT
            assert all(b.at - a.at >= COOLDOWN for a, b in pairwise(entries))

    def everything_adds_up(self) -> None:
        for card in {*self.model.stamps, *self.model.points}:
            found = self.loop.run_until_complete(self.shop.read(card))
            assert (found["stamp_count"], found["points_balance"]) == (self.model.stamps[card], self.model.points[card])
        Projector(self.url, MASTER_KEY).catch_up()
        assert check(self.url, MASTER_KEY) == []
        per_entry = "SELECT 1 FROM loyalty_transactions GROUP BY id HAVING count(*) > 1"
        assert rows(self.url, per_entry) == []


@pytest.fixture
def mortal(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("ledger.commands.Committer", MortalCommitter)
    MortalCommitter.luck = OneCrash()
    return database_url


def test_tills_in_any_order_with_crashes_in_between(mortal: str) -> None:
    class TillsHere(Tills):
        url = mortal

    run_state_machine_as_test(TillsHere, settings=QUICKLY)
    digest = "SELECT md5(coalesce(string_agg(t::text, E'\\n' ORDER BY t::text), '')) FROM {} t"
    live = {table: rows(mortal, digest.format(table)) for table in TABLES}
    rebuild(mortal, MASTER_KEY)
    assert {table: rows(mortal, digest.format(table)) for table in TABLES} == live


@settings(QUICKLY, max_examples=40)
@given(
    purchase=st.integers(1, 10_000),
    splits=st.lists(st.integers(1, 4_000), max_size=6),
    rate=st.tuples(st.integers(1, 7), st.integers(1, 300)),
)
def test_any_split_of_refunds_ends_where_one_refund_does(
    refunds: tuple[asyncio.AbstractEventLoop, Ledger], purchase: int, splits: list[int], rate: tuple[int, int]
) -> None:
    loop, ledger = refunds

    async def story() -> None:
        shop = await Shop.opened(ledger, "points", stamps_target=None, rate_points=rate[0], rate_minor=rate[1])
        card = (await ledger.cards.enrol(shop.program_id, Customer(), caller=shop.caller)).answer
        reference = CardReference(facts(Outcome(card, None))["id"])
        earned = facts(
            await ledger.till.earn(
                reference,
                purchase_amount_minor=purchase,
                paid_with_reward_minor=0,
                currency="EUR",
                asked=shop.asked(),
            )
        )
        left, parts = purchase, []
        for part in splits:
            if part < left:
                parts.append(part)
                left -= part
        for amount_minor in [*parts, None]:
            entry = facts(
                await ledger.till.reverse(
                    UUID(earned["entry_id"]), amount_minor=amount_minor, reason="?", asked=shop.asked()
                )
            )
            assert 0 <= entry["points_balance"] <= earned["points_delta"]
        assert entry["points_balance"] == 0

    loop.run_until_complete(story())


@pytest.fixture
def refunds(database_url: str) -> Iterator[tuple[asyncio.AbstractEventLoop, Ledger]]:
    loop, resources = asyncio.new_event_loop(), AsyncExitStack()
    ledger = loop.run_until_complete(resources.enter_async_context(running_ledger(database_url)))
    yield loop, ledger
    loop.run_until_complete(resources.aclose())
    loop.close()
