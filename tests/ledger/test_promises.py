"""The promises of the whole, tried on stories nobody wrote: any order of visits, refunds, losses and new rules."""

from datetime import date, datetime
from itertools import pairwise
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ledger import card_life
from ledger.card import Card, CardEvent, PointsEarned, RewardRedeemed, StampsAdded
from ledger.codec import from_json, to_json
from ledger.errors import AlreadyReversed, Refused
from ledger.program import ReversalPolicy
from ledger.stream import EVENT_NAMES, NAME_OF
from tests.examples import MINUTE, MONDAY, REWARD_ID, hybrid_program, rules_changed
from tests.given import Till, fold, refused

Undoable = StampsAdded | PointsEarned | RewardRedeemed


class OneCard(RuleBasedStateMachine):
    """A card, and beside it a simple account of what must be true."""

    @initialize(
        policy=st.sampled_from(["allow_negative", "within_balance", "reject"]),
        cooldown=st.sampled_from([0, 15, 90]),
        limit=st.integers(1, 5),
    )
    def open(self, policy: ReversalPolicy, cooldown: int, limit: int) -> None:
        self.policy, self.cooldown, self.limit = policy, cooldown, limit
        self.now: datetime = MONDAY
        self.till = Till(
            hybrid_program(
                stamps_target=3,
                max_stamps_per_scan=min(3, limit),
                reversal_policy=policy,
                cooldown_minutes=cooldown,
                max_daily_stamps=limit,
            )
        )
        self.undoable: list[Undoable] = []
        self.undone: list[Undoable] = []
        self.refunded: dict[str, int] = {}
        self.stamps = self.points = 0

    # -------------------------------------------------------------- what happens

    @rule(minutes=st.integers(0, 40) | st.integers(0, 3000))
    def wait(self, minutes: int) -> None:
        self.now += minutes * MINUTE

    @rule(count=st.integers(1, 3))
    def stamp(self, count: int) -> None:
        told = self.till.standing(self.now).stamps_target
        event = self.attempt(lambda: self.till.stamp(self.now, count), stamps=count)
        assert event is None or event.target == told, "a stamp counts toward the target that was told"

    @rule(amount=st.integers(0, 5000), paid=st.integers(0, 5000))
    def buy(self, amount: int, paid: int) -> None:
        event = self.attempt(lambda: self.till.earn(self.now, amount, paid=min(paid, amount)))
        if event is not None:
            self.points += event.points

    @rule()
    def redeem_stamps(self) -> None:
        told = self.till.standing(self.now).stamps_target
        event = self.attempt(lambda: self.till.redeem(self.now))
        if event is not None:
            self.stamps -= event.stamps_spent
            assert event.stamps_spent == told, "a reward costs what was told"

    @rule()
    def redeem_points(self) -> None:
        self.attempt(lambda: self.till.redeem(self.now, REWARD_ID), points=-50)

    @rule(stamps=st.integers(-3, 5).filter(bool))
    def adjust(self, stamps: int) -> None:
        self.attempt(lambda: self.till.adjust(self.now, stamps=stamps), stamps=stamps)

    @precondition(lambda self: self.undoable)
    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.undoable))
        if isinstance(entry, RewardRedeemed):
            if self.attempt(
                lambda: self.till.give_back(self.now, entry), stamps=entry.stamps_spent, points=entry.points_spent
            ):
                self.done(entry)
            return
        left = 0
        if isinstance(entry, PointsEarned):
            left = entry.purchase_amount_minor - self.refunded.get(str(entry.entry_id), 0)
        part = data.draw(st.none() | st.integers(1, left)) if left else None
        event = self.attempt(lambda: self.till.take_back(self.now, entry, part))
        if event is not None:
            self.stamps -= event.stamps_taken
            self.points -= event.points_taken
            self.refunded[str(entry.entry_id)] = event.total_amount_reversed
            if part in (None, left):
                self.done(entry)
                total = entry.points if isinstance(entry, PointsEarned) else entry.stamps
                assert event.total_units_reversed == total, "any split ends at the same total"

    @precondition(lambda self: self.undone)
    @rule(data=st.data())
    def undo_again(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.undone))
        with refused(AlreadyReversed, entry_id=entry.entry_id):
            if isinstance(entry, RewardRedeemed):
                self.till.give_back(self.now, entry)
            else:
                self.till.take_back(self.now, entry)

    @rule(cost=st.integers(1, 6), immediate=st.booleans())
    def change_target(self, cost: int, immediate: bool) -> None:
        if cost != self.till.program.rules_at(self.now).stamps_target:
            raised = "immediate" if immediate else "grandfather"
            self.till.change_program(
                rules_changed(self.till.program, self.now, stamps_target=cost, raised_target=raised)
            )

    @precondition(lambda self: self.till.card.status == "active")
    @rule()
    def suspend(self) -> None:
        self.till.record(card_life.suspend(self.till.card, reason="lost", now=self.now))

    @precondition(lambda self: self.till.card.status == "suspended")
    @rule()
    def reinstate(self) -> None:
        self.till.record(card_life.reinstate(self.till.card, reason="found", now=self.now))

    @rule()
    def lose(self) -> None:
        self.till.lose(self.now)

    # -------------------------------------------------------------- what must be true

    @invariant()
    def the_balance_is_what_happened(self) -> None:
        assert (self.till.card.stamps, self.till.card.points) == (self.stamps, self.points)

    @invariant()
    def nothing_is_below_zero_but_by_policy(self) -> None:
        if self.policy != "allow_negative":
            assert self.till.card.stamps >= 0 and self.till.card.points >= 0
        assert self.till.card.points_redeemed >= 0 and self.till.card.rewards_redeemed >= 0

    @invariant()
    def a_replay_ends_at_the_same_card(self) -> None:
        assert fold([stored_and_read(event) for event in self.till.events]) == self.till.card
        assert from_json(Card, to_json(self.till.card)) == self.till.card

    @invariant()
    def cooldown_and_daily_limit_hold(self) -> None:
        standing = [entry for entry in self.undoable if isinstance(entry, StampsAdded)]
        for before, after in pairwise(standing):
            assert after.at - before.at >= self.cooldown * MINUTE
        days: dict[date, int] = {}
        for entry in standing:
            days[entry.local_date] = days.get(entry.local_date, 0) + entry.stamps
        assert all(stamps <= self.limit for stamps in days.values())

    @invariant()
    def a_card_does_not_grow_with_its_history(self) -> None:
        assert len(self.till.card.recent_stamps) <= self.limit + 1

    @invariant()
    def what_a_card_says_is_what_it_gets(self) -> None:
        stands = self.till.standing(self.now)
        assert stands.stamps_target is not None and stands.stamps_until_reward is not None
        assert (stands.stamps_until_reward == 0) == (self.till.card.stamps >= stands.stamps_target)

    # -------------------------------------------------------------- pieces

    def attempt(self, decide: Any, stamps: int = 0, points: int = 0) -> Any:
        """The event, or None where it was refused; a refusal changes nothing."""
        before = self.till.card, len(self.till.events)
        try:
            event = decide()
        except Refused:
            assert (self.till.card, len(self.till.events)) == before
            return None
        self.stamps += stamps
        self.points += points
        if isinstance(event, Undoable):
            self.undoable.append(event)
        return event

    def done(self, entry: Undoable) -> None:
        self.undoable.remove(entry)
        self.undone.append(entry)


def stored_and_read(event: CardEvent) -> CardEvent:
    again: CardEvent = from_json(EVENT_NAMES[NAME_OF[type(event)]], to_json(event))
    return again


OneCard.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestOneCard = OneCard.TestCase
