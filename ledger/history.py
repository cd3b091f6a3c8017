"""A card's past as another system kept it, told in our events: decided elsewhere, added up here.

What happened is taken at its word: no cooldown, no daily limit and no earn rate is applied to it. What cannot have
happened is refused: a balance below zero, another currency, units the program does not give.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias, assert_never
from uuid import UUID
from zoneinfo import ZoneInfo

from ledger.card import (
    Card,
    CardEnrolled,
    CardEvent,
    PointsEarned,
    RewardRedeemed,
    StampsAdded,
    UnitsAdjusted,
    evolve,
)
from ledger.earning import cycle_of, next_stamp_after, stamps_on, within
from ledger.errors import (
    CurrencyMismatch,
    InvalidValue,
    NotEnoughPoints,
    NotEnoughStamps,
    ProgramTypeMismatch,
    Refused,
)
from ledger.personal import Secret
from ledger.program import Program, Rules, target_in_force

OPENING_REASON = "opening balance"

IdOf: TypeAlias = Callable[[int, str], UUID]
"""The id of the entry that a line makes; the word tells two entries of one line apart."""


class LineRefused(Exception):
    """What a line says cannot have happened."""

    def __init__(self, line: int, refusal: Refused) -> None:
        super().__init__(f"line {line}: {refusal}")
        self.line = line
        self.refusal = refusal


# ------------------------------------------------------------------ what a file says


@dataclass(frozen=True, slots=True)
class OpeningBalance:
    """What the card held when its history here begins."""

    line: int
    at: datetime
    stamps: int
    points: int


@dataclass(frozen=True, slots=True)
class StampsGiven:
    line: int
    at: datetime
    stamps: int
    order_reference: str | None = None
    external_ref: str | None = None


@dataclass(frozen=True, slots=True)
class PointsGiven:
    line: int
    at: datetime
    points: int
    purchase_amount_minor: int = 0
    paid_with_reward_minor: int = 0
    currency: str | None = None  # None: the program's.
    order_reference: str | None = None
    external_ref: str | None = None


@dataclass(frozen=True, slots=True)
class RewardTaken:
    """With `reward_id` for points, without for stamps."""

    line: int
    at: datetime
    stamps: int
    points: int
    reward_id: UUID | None = None
    description: str | None = None  # None: the program's stamp reward.
    value_minor: int | None = None
    order_reference: str | None = None
    external_ref: str | None = None


@dataclass(frozen=True, slots=True)
class Adjustment:
    line: int
    at: datetime
    stamps: int
    points: int
    reason: str


PastEntry: TypeAlias = OpeningBalance | StampsGiven | PointsGiven | RewardTaken | Adjustment


@dataclass(frozen=True, slots=True)
class Lifetime:
    """What was ever earned and redeemed before the history here begins."""

    stamps_earned: int = 0
    rewards_redeemed: int = 0
    points_earned: int = 0
    points_redeemed: int = 0


@dataclass(frozen=True, slots=True)
class Past:
    """A card with all that happened on it, oldest first. Email and phone are in their normal form."""

    line: int
    last_line: int
    program_id: UUID
    customer_id: UUID
    is_named: bool  # The file says which customer; else email and phone must be nobody else's.
    enrolled_at: datetime
    language: str
    number: str | None = None  # None: a new one.
    name: str | None = field(default=None, repr=False)
    email: str | None = field(default=None, repr=False)
    phone: str | None = field(default=None, repr=False)
    has_consented: bool = False
    lifetime: Lifetime = Lifetime()
    entries: tuple[PastEntry, ...] = ()

    def references(self) -> Iterator[tuple[int, str]]:
        """Line and text of each external reference."""
        for entry in self.entries:
            if isinstance(entry, StampsGiven | PointsGiven | RewardTaken) and entry.external_ref is not None:
                yield entry.line, entry.external_ref


# ------------------------------------------------------------------ told in events


def enrolled(past: Past, rules: Rules, *, number: str, qr_token: str) -> CardEnrolled:
    """The card's first event: no units yet, but what was earned and redeemed before."""
    return CardEnrolled(
        at=past.enrolled_at,
        customer_id=past.customer_id,
        number=number,
        qr_token=Secret(qr_token),
        language=past.language,
        cycle_version=rules.version,
        name=_secret(past.name),
        email=_secret(past.email),
        phone=_secret(past.phone),
        has_consented=past.has_consented,
        total_stamps_earned=past.lifetime.stamps_earned,
        rewards_redeemed=past.lifetime.rewards_redeemed,
        total_points_earned=past.lifetime.points_earned,
        points_redeemed=past.lifetime.points_redeemed,
    )


def told(
    card: Card, past: Past, program: Program, rules: Rules, id_of: IdOf
) -> Iterator[tuple[int, UUID, CardEvent, Card]]:
    """The events after the enrolment.

    Args:
        card: As it was enrolled.
        rules: Those in force at the import. They fill in what only we know, such as the target of the cycle.

    Returns:
        For each event its line, its entry's id, itself, and the card after it.

    Raises:
        LineRefused: At the first line that cannot have happened.
    """
    for entry in past.entries:
        try:
            if entry.at < past.enrolled_at:
                raise InvalidValue(field="occurred_at", why="lies before the card's enrolled_at")
            events = _events_of(entry, card, program, rules, id_of)
        except Refused as refusal:
            raise LineRefused(entry.line, refusal) from refusal
        for entry_id, event in events:
            card = evolve(card, event)
            yield entry.line, entry_id, event, card


def _events_of(
    entry: PastEntry, card: Card, program: Program, rules: Rules, id_of: IdOf
) -> list[tuple[UUID, CardEvent]]:
    match entry:
        case StampsGiven():
            event_id = id_of(entry.line, "entry")
            return [(event_id, _stamped(entry, card, program, rules, event_id))]
        case PointsGiven():
            event_id = id_of(entry.line, "entry")
            return [(event_id, _earned(entry, card, program, rules, event_id))]
        case RewardTaken():
            event_id = id_of(entry.line, "entry")
            return [(event_id, _redeemed(entry, card, program, rules, event_id))]
        case Adjustment():
            event_id = id_of(entry.line, "entry")
            return [(event_id, _adjusted(entry, card, program, rules, event_id, entry.stamps, entry.points))]
        case OpeningBalance():
            events: list[tuple[UUID, CardEvent]] = []
            for word, stamps, points in (("stamps", entry.stamps, 0), ("points", 0, entry.points)):
                if stamps or points:
                    event_id = id_of(entry.line, word)
                    event = _adjusted(entry, card, program, rules, event_id, stamps, points)
                    card = evolve(card, event)
                    events.append((event_id, event))
            return events
        case _:
            assert_never(entry)


def _stamped(entry: StampsGiven, card: Card, program: Program, rules: Rules, entry_id: UUID) -> StampsAdded:
    _must_give(program, stamps=True)
    day = entry.at.astimezone(ZoneInfo(rules.timezone)).date()
    used = stamps_on(card, day) + entry.stamps
    cycle_version = cycle_of(card, rules)
    target = target_in_force(program.targets, rules, cycle_version=cycle_version, now=entry.at)
    assert target is not None
    return StampsAdded(
        at=entry.at,
        entry_id=entry_id,
        stamps=entry.stamps,
        local_date=day,
        stamps_today=used,
        daily_limit=rules.max_daily_stamps,
        cooldown_minutes=rules.cooldown_minutes,
        next_stamp_at=next_stamp_after(rules, day, used, entry.at),
        target=target,
        cycle_version=cycle_version,
        stamps_after=within(card.stamps + entry.stamps),
        points_after=card.points,
        order_reference=entry.order_reference,
        external_ref=entry.external_ref,
    )


def _earned(entry: PointsGiven, card: Card, program: Program, rules: Rules, entry_id: UUID) -> PointsEarned:
    _must_give(program, stamps=False)
    if entry.currency is not None and entry.currency != program.currency:
        raise CurrencyMismatch(expected=program.currency, given=entry.currency)
    if entry.paid_with_reward_minor > entry.purchase_amount_minor:
        raise InvalidValue(field="paid_with_reward_minor", why="is more than the purchase")
    rate_points, rate_minor = _rate(entry, rules)
    return PointsEarned(
        at=entry.at,
        entry_id=entry_id,
        points=entry.points,
        purchase_amount_minor=entry.purchase_amount_minor,
        paid_with_reward_minor=entry.paid_with_reward_minor,
        currency=program.currency,
        rate_points=rate_points,
        rate_minor=rate_minor,
        minimum_minor=0,
        stamps_after=card.stamps,
        points_after=within(card.points + entry.points),
        order_reference=entry.order_reference,
        external_ref=entry.external_ref,
    )


def _rate(entry: PointsGiven, rules: Rules) -> tuple[int, int]:
    """By which a partial refund is counted: the program's rate where that explains the points, else the purchase's."""
    assert rules.rate_points is not None and rules.rate_minor is not None
    net_minor = entry.purchase_amount_minor - entry.paid_with_reward_minor
    if net_minor == 0 or net_minor * rules.rate_points // rules.rate_minor == entry.points:
        return rules.rate_points, rules.rate_minor
    return entry.points, net_minor


def _redeemed(entry: RewardTaken, card: Card, program: Program, rules: Rules, entry_id: UUID) -> RewardRedeemed:
    _must_give(program, stamps=entry.reward_id is None)
    _must_hold(card, stamps=entry.stamps, points=entry.points)
    description, value_minor = entry.description, entry.value_minor
    if description is None:
        description = rules.stamps_reward_description or ""
        value_minor = rules.stamps_reward_value_minor if value_minor is None else value_minor
    return RewardRedeemed(
        at=entry.at,
        entry_id=entry_id,
        reward_id=entry.reward_id,
        reward_description=description,
        reward_value_minor=value_minor,
        stamps_spent=entry.stamps,
        points_spent=entry.points,
        cycle_redeemed=card.cycle_version,
        cycle_version=rules.version if entry.stamps else card.cycle_version,
        stamps_after=card.stamps - entry.stamps,
        points_after=card.points - entry.points,
        order_reference=entry.order_reference,
        external_ref=entry.external_ref,
    )


def _adjusted(
    entry: OpeningBalance | Adjustment,
    card: Card,
    program: Program,
    rules: Rules,
    entry_id: UUID,
    stamps: int,
    points: int,
) -> UnitsAdjusted:
    _must_give(program, stamps=stamps != 0)
    _must_hold(card, stamps=-stamps, points=-points)
    return UnitsAdjusted(
        at=entry.at,
        entry_id=entry_id,
        stamps=stamps,
        points=points,
        reason=OPENING_REASON if isinstance(entry, OpeningBalance) else entry.reason,
        cycle_version=cycle_of(card, rules),
        stamps_after=within(card.stamps + stamps),
        points_after=within(card.points + points),
    )


def _must_give(program: Program, *, stamps: bool) -> None:
    if program.loyalty_type == ("points" if stamps else "stamps"):
        raise ProgramTypeMismatch(loyalty_type=program.loyalty_type)


def _must_hold(card: Card, *, stamps: int, points: int) -> None:
    if stamps > 0 and card.stamps < stamps:
        raise NotEnoughStamps(held=card.stamps, needed=stamps)
    if points > 0 and card.points < points:
        raise NotEnoughPoints(held=card.points, needed=points)


def _secret(text: str | None) -> Secret | None:
    return None if text is None else Secret(text)
