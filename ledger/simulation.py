"""What would have been under other rules: one customer's history, decided once more.

Each recorded command is decided again by the very functions that decided it. Beside it stands what was, so that the
two can be compared. What customers would have done otherwise, nobody knows: they come and ask just as they did.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias, get_args
from uuid import UUID

from msgspec.structs import replace

from ledger.again import Decided, InputsUnknown, decide_again, reverses
from ledger.attempts import AttemptEvent
from ledger.card import (
    Card,
    CardClosed,
    CardEnrolled,
    CardEvent,
    CardReplaced,
    Entry,
    PointsEarned,
    RedemptionReversed,
    RewardRedeemed,
    StampsAdded,
    UnitsAdjusted,
    UnitsForfeited,
    evolve,
)
from ledger.card_life import close, replace_lost
from ledger.earning import cycle_of
from ledger.errors import Refused
from ledger.program import Program, Rules, Target
from ledger.rewards import standing

Change: TypeAlias = Callable[[Rules], Rules]

OTHER_VERSIONS = 1_000_000  # Added to a version's number where it holds beside the one that it was made from.


def under(program: Program, change: Change, start: datetime | None) -> Program:
    """The program as if its rules had been changed so, from `start` on, or from ever where that is None."""
    if start is None:
        rules = tuple(change(one) for one in program.rules)
        changed = {one.version: one for one in rules}
        return replace(program, rules=rules, targets=tuple(_target(one, change, changed) for one in program.targets))
    then = program.rules_at(start)
    kept = tuple(one for one in program.rules if one.effective_from < start)
    later = (replace(then, effective_from=max(start, then.effective_from)), *_after(program.rules, start, then.version))
    rules = tuple(change(replace(one, version=one.version + OTHER_VERSIONS)) for one in later)
    before = tuple(target for target in program.targets if target.effective_from < start)
    in_force = replace(before[-1], effective_from=start) if before else None
    ahead = tuple(target for target in program.targets if target.effective_from >= start)
    changed = {one.version - OTHER_VERSIONS: one for one in rules}
    others = (*((in_force,) if in_force else ()), *ahead)
    targets = tuple(replace(_target(one, change, changed), version=one.version + OTHER_VERSIONS) for one in others)
    return replace(program, rules=(*kept, *rules), targets=(*before, *targets))


def _after(rules: tuple[Rules, ...], start: datetime, but: int) -> tuple[Rules, ...]:
    return tuple(one for one in rules if one.effective_from >= start and one.version != but)


def _target(target: Target, change: Change, changed: dict[int, Rules]) -> Target:
    """A target of rules that are past is changed as they would have been."""
    rules = changed.get(target.version) or change(
        Rules(
            target.version,
            target.effective_from,
            "UTC",
            stamps_target=target.stamps,
            raised_target=target.raised_target,
        )
    )
    assert rules.stamps_target is not None
    return replace(target, stamps=rules.stamps_target, raised_target=rules.raised_target)


# ------------------------------------------------------------------ figures


@dataclass(slots=True)
class Figures:
    """What an account, or all of them, earned and is owed. Money is in minor units; reversals are taken off.

    Args:
        liability_minor: What the units outstanding are worth: stamps as their share of the stamp reward's value, points
            by the reward that gives most for them.
    """

    stamps_earned: int = 0
    points_earned: int = 0
    rewards_redeemed: int = 0
    rewards_value_minor: int = 0
    rewards_available: int = 0
    stamps_outstanding: int = 0
    points_outstanding: int = 0
    liability_minor: int = 0

    def add(self, other: "Figures") -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(frozen=True, slots=True)
class Step:
    """One event of the account, in the order of the decisions. `other` is the program under the other rules."""

    event: Any
    recorded_at: datetime
    is_imported: bool
    program: Program
    other: Program


Verdicts: TypeAlias = Counter[tuple[str | None, str | None]]
"""How often a decision was refused by the first and would be by the second. None stands for accepted."""


@dataclass(slots=True)
class _Side:
    card: Card | None = None
    rewards: dict[UUID, RewardRedeemed] = field(default_factory=dict)
    redeemed: int = 0
    value_minor: int = 0

    def take(self, event: CardEvent) -> None:
        self.card = evolve(self.card, event)
        if isinstance(event, RewardRedeemed):
            self.rewards[event.entry_id] = event
            self.redeemed += 1
            self.value_minor += event.reward_value_minor or 0
        elif isinstance(event, RedemptionReversed):
            self.redeemed -= 1
            self.value_minor -= self.rewards[event.reverses_id].reward_value_minor or 0

    def figures(self, program: Program, now: datetime) -> Figures:
        card = self.card
        if card is None:
            return Figures()
        stands = standing(card, program, now)
        return Figures(
            stamps_earned=card.total_stamps_earned,
            points_earned=card.total_points_earned,
            rewards_redeemed=self.redeemed,
            rewards_value_minor=self.value_minor,
            rewards_available=stands.rewards_available,
            stamps_outstanding=card.stamps,
            points_outstanding=card.points,
            liability_minor=_liability_minor(card, program, stands.stamps_target, now),
        )


def _liability_minor(card: Card, program: Program, target: int | None, now: datetime) -> int:
    value = program.rules_at(now).stamps_reward_value_minor
    stamps = max(card.stamps, 0) * value // target if value and target else 0
    worth = (max(card.points, 0) * (one.value_minor or 0) // one.points_cost for one in program.rewards)
    return stamps + max(worth, default=0)


# ------------------------------------------------------------------ an account


class Account:
    """A customer's card, and those that replaced it. Hold one at a time: it grows with its own history only."""

    def __init__(self, start: datetime | None) -> None:
        self.was, self.would = _Side(), _Side()
        self.verdicts: Verdicts = Counter()
        self.unknown = 0
        self._start = start
        self._entries: dict[UUID, CardEvent] = {}
        self._carried: CardEvent | None = None

    def take(self, step: Step) -> None:
        """The next event, as it was and as it would be."""
        event = step.event
        if not isinstance(event, AttemptEvent):
            self.was.take(event)
        is_other = self._start is None or step.recorded_at >= self._start
        events: list[CardEvent] = []
        if not is_other:
            events = [] if isinstance(event, AttemptEvent) else [event]
        elif isinstance(event, get_args(Decided)) and not step.is_imported:
            events = self._decided(step)
        else:
            events = self._followed(step)
        for one in events:
            self.would.take(one)
            if isinstance(one, get_args(Entry)):
                self._entries[one.entry_id] = one

    def _decided(self, step: Step) -> list[CardEvent]:
        event: Decided = step.event
        refused_by = event.refusal if isinstance(event, AttemptEvent) else None
        entry_id = UUID(int=len(self._entries)) if isinstance(event, AttemptEvent) else event.entry_id
        assert self.would.card is not None
        try:
            undone = reverses(event)
            original = None if undone is None else self._entries.get(undone)
            events = decide_again(event, self.would.card, step.other, original, entry_id=entry_id)
        except InputsUnknown:
            self.unknown += 1
            self.verdicts[refused_by, refused_by] += 1
            return []
        except Refused as refusal:
            self.verdicts[refused_by, type(refusal).__name__] += 1
            return []
        self.verdicts[refused_by, None] += 1
        return events

    def _followed(self, step: Step) -> list[CardEvent]:
        """What no rule decides: the same happens to the card, whatever it holds by then."""
        event, card, rules = step.event, self.would.card, step.other.rules_at(step.recorded_at)
        if isinstance(event, CardEnrolled):
            if event.replaces is not None and self._carried is not None:
                return [self._carried]
            return [replace(event, cycle_version=rules.version)]
        assert card is not None
        match event:
            case UnitsForfeited():
                return []  # With the closing that follows.
            case CardClosed():
                return close(card, entry_id=UUID(int=0), reason=event.reason, now=event.at)
            case CardReplaced():
                (ended, *_), (self._carried, *_) = replace_lost(
                    card,
                    new_card=event.replaced_by,
                    number=card.number,
                    qr_token=card.qr_token,
                    old_card=UUID(int=0),
                    reason=event.reason,
                    now=event.at,
                )
                return [ended]
            case StampsAdded() | PointsEarned() | RewardRedeemed() | UnitsAdjusted():
                return [_told_again(event, card, rules)]
            case _:
                return [] if isinstance(event, AttemptEvent) else [event]


def _told_again(
    event: StampsAdded | PointsEarned | RewardRedeemed | UnitsAdjusted, card: Card, rules: Rules
) -> CardEvent:
    """An imported entry: taken at its word, added to what the card holds."""
    match event:
        case StampsAdded():
            return replace(event, cycle_version=cycle_of(card, rules), stamps_after=card.stamps + event.stamps)
        case PointsEarned():
            return replace(event, points_after=card.points + event.points)
        case RewardRedeemed():
            return replace(
                event,
                cycle_redeemed=card.cycle_version,
                cycle_version=rules.version if event.stamps_spent else card.cycle_version,
                stamps_after=card.stamps - event.stamps_spent,
                points_after=card.points - event.points_spent,
            )
        case UnitsAdjusted():
            return replace(
                event,
                cycle_version=cycle_of(card, rules),
                stamps_after=card.stamps + event.stamps,
                points_after=card.points + event.points,
            )
