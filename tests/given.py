"""Rules told as given, when, then; and a till for longer stories.

`given(events).when(decision, what was asked).then(events)` or `.refused(Error, facts)`. Both return the state, so a
test can go on looking.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any, TypeVar
from uuid import UUID

import pytest

from ledger import card as cards
from ledger import card_life, earning, reversal, rewards
from ledger.card import (
    Card,
    CardEvent,
    EarnReversed,
    PointsEarned,
    RedemptionReversed,
    RewardRedeemed,
    StampsAdded,
    UnitsAdjusted,
)
from ledger.errors import Refused
from ledger.program import Program
from ledger.reversal import Asker
from tests import examples

E = TypeVar("E")
ANYBODYS = Asker(None, may_reverse_any=True)


def fold(events: Sequence[Any], state: Any = None) -> Any:
    """The state after these events of one stream. The module of an event knows how."""
    for event in events:
        state = sys.modules[type(event).__module__].evolve(state, event)
    return state


@contextmanager
def refused(error: type[Refused], **facts: Any) -> Iterator[None]:
    """What happens inside is refused by exactly this error, and it says these facts."""
    with pytest.raises(Refused) as caught:
        yield
    assert type(caught.value) is error, f"refused, but by {caught.value!r}"
    assert {name: caught.value.facts.get(name) for name in facts} == facts


@dataclass(frozen=True)
class Given:
    state: Any
    program: Program | None

    def when(self, decision: Callable[..., Sequence[Any]], **asked: Any) -> "When":
        """A decision over the state (and, for a card under a program, the program) and what was asked."""
        around = [part for part in (self.state, self.program) if part is not None]
        return When(self.state, lambda: decision(*around, **asked))


@dataclass(frozen=True)
class When:
    before: Any
    decide: Callable[[], Sequence[Any]]

    def then(self, *expected: Any) -> Any:
        events = self.decide()
        assert tuple(events) == expected
        return fold(events, self.before)

    def then_one(self, event: type[Any], **facts: Any) -> Any:
        """One event of this type, of which only these facts matter here."""
        events = self.decide()
        assert [type(e) for e in events] == [event]
        assert {name: getattr(events[0], name) for name in facts} == facts
        return fold(events, self.before)

    def refused(self, error: type[Refused], **facts: Any) -> Any:
        with refused(error, **facts):
            self.decide()
        return self.before


def given(*events: Any, under: Program | None = None) -> Given:
    return Given(fold(events), under)


class Till:
    """One card under one program, through a longer story. Each call decides, records and returns the event."""

    def __init__(self, program: Program, *, enrolled: cards.CardEnrolled | None = None) -> None:
        self.program = program
        self.events: list[CardEvent] = []
        self._entries = count(1)
        self._card: Card | None = None
        self._apply([examples.ENROLLED if enrolled is None else enrolled])

    @property
    def card(self) -> Card:
        assert self._card is not None
        return self._card

    def stamp(self, now: datetime, stamps: int = 1, by: UUID | None = None) -> StampsAdded:
        return self._one(
            StampsAdded,
            earning.stamp(self.card, self.program, entry_id=self._entry_id(), count=stamps, now=now, staff_pin_id=by),
        )

    def earn(self, now: datetime, amount_minor: int, *, paid: int = 0, by: UUID | None = None) -> PointsEarned:
        return self._one(
            PointsEarned,
            earning.earn_points(
                self.card,
                self.program,
                entry_id=self._entry_id(),
                purchase_amount_minor=amount_minor,
                paid_with_reward_minor=paid,
                currency=self.program.currency,
                now=now,
                staff_pin_id=by,
            ),
        )

    def redeem(self, now: datetime, reward_id: UUID | None = None, by: UUID | None = None) -> RewardRedeemed:
        return self._one(
            RewardRedeemed,
            rewards.redeem(
                self.card, self.program, entry_id=self._entry_id(), reward_id=reward_id, now=now, staff_pin_id=by
            ),
        )

    def adjust(self, now: datetime, *, stamps: int = 0, points: int = 0) -> UnitsAdjusted:
        return self._one(
            UnitsAdjusted,
            earning.adjust(
                self.card,
                self.program,
                entry_id=self._entry_id(),
                stamps=stamps,
                points=points,
                reason="counted again",
                now=now,
            ),
        )

    def take_back(
        self,
        now: datetime,
        earned: StampsAdded | PointsEarned,
        amount_minor: int | None = None,
        *,
        asker: Asker = ANYBODYS,
    ) -> EarnReversed:
        return self._one(EarnReversed, self._reversal(now, earned, amount_minor, asker))

    def give_back(self, now: datetime, redeemed: RewardRedeemed, *, asker: Asker = ANYBODYS) -> RedemptionReversed:
        return self._one(RedemptionReversed, self._reversal(now, redeemed, None, asker))

    def change_program(self, event: Any) -> None:
        self.program = fold([event], self.program)

    def lose(self, now: datetime) -> cards.CardReplaced:
        """The card is lost: from here on this is the till of its replacement."""
        ended, enrolled = card_life.replace_lost(
            self.card,
            new_card=examples.NEW_CARD_ID,
            number="400000000010",
            qr_token=examples.sealed("qr_token"),
            old_card=examples.CARD_ID,
            reason="lost",
            now=now,
        )
        event = self._one(cards.CardReplaced, ended)
        self.events, self._card = [], None
        self._apply(enrolled)
        return event

    def record(self, events: Sequence[CardEvent]) -> None:
        """Events of a card's life, decided elsewhere."""
        self._apply(events)

    def standing(self, now: datetime) -> rewards.Standing:
        return rewards.standing(self.card, self.program, now)

    def _reversal(self, now: datetime, original: CardEvent, amount: int | None, asker: Asker) -> list[CardEvent]:
        return reversal.reverse(
            self.card,
            self.program,
            original,
            entry_id=self._entry_id(),
            amount_minor=amount,
            reason="given in error",
            asker=asker,
            now=now,
        )

    def _entry_id(self) -> UUID:
        return UUID(int=next(self._entries))

    def _one(self, kind: type[E], events: Sequence[CardEvent]) -> E:
        (event,) = events
        assert isinstance(event, kind)
        self._apply(events)
        return event

    def _apply(self, events: Sequence[CardEvent]) -> None:
        self.events += events
        self._card = fold(events, self._card)
