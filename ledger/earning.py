"""Units in: stamps with their anti-fraud rules, points from purchases, adjustments by hand."""

from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from ledger.card import (
    Card,
    CardEvent,
    PointsEarned,
    StampsAdded,
    UnitsAdjusted,
    must_be_active,
    must_be_open,
)
from ledger.errors import (
    CurrencyMismatch,
    InvalidValue,
    NotEnoughPoints,
    NotEnoughStamps,
    ProgramTypeMismatch,
    StampCooldown,
    StampDailyLimit,
)
from ledger.program import Program, Rules, must_earn, target_in_force

UNITS_MAX = 1_000_000_000  # A balance beyond this is a mistake somewhere; it also keeps every sum in 64 bits.


def stamp(
    card: Card,
    program: Program,
    *,
    entry_id: UUID,
    count: int,
    now: datetime,
    staff_pin_id: UUID | None = None,
    order_reference: str | None = None,
    external_ref: str | None = None,
) -> list[CardEvent]:
    """Add `count` stamps, unless the card's or the program's rules forbid it."""
    assert count >= 1
    must_be_active(card)
    must_earn(program)
    rules = program.rules_at(now)
    if program.loyalty_type == "points" or rules.stamps_target is None:
        raise ProgramTypeMismatch(loyalty_type=program.loyalty_type)
    if count > rules.max_stamps_per_scan:
        raise InvalidValue(field="count", why=f"at most {rules.max_stamps_per_scan} stamps at once")
    today = now.astimezone(ZoneInfo(rules.timezone)).date()
    used = stamps_on(card, today)
    left = max(rules.max_daily_stamps - used, 0)
    possible_at = cooldown_ends(card, rules)
    if count > left:
        tomorrow = day_begins(today + timedelta(days=1), rules.timezone)
        raise StampDailyLimit(
            retry_at=max(tomorrow, possible_at or tomorrow),
            daily_limit=rules.max_daily_stamps,
            stamps_today=used,
            asked=count,
            remaining_today=left,
        )
    if possible_at is not None and now < possible_at:
        raise StampCooldown(retry_at=possible_at, cooldown_minutes=rules.cooldown_minutes, remaining_today=left)
    cycle_version = cycle_of(card, rules)
    target = target_in_force(program.targets, rules, cycle_version=cycle_version, now=now)
    assert target is not None
    return [
        StampsAdded(
            at=now,
            entry_id=entry_id,
            stamps=count,
            local_date=today,
            stamps_today=used + count,
            daily_limit=rules.max_daily_stamps,
            cooldown_minutes=rules.cooldown_minutes,
            next_stamp_at=next_stamp_after(rules, today, used + count, now),
            target=target,
            cycle_version=cycle_version,
            stamps_after=within(card.stamps + count),
            points_after=card.points,
            staff_pin_id=staff_pin_id,
            order_reference=order_reference,
            external_ref=external_ref,
        )
    ]


def earn_points(
    card: Card,
    program: Program,
    *,
    entry_id: UUID,
    purchase_amount_minor: int,
    paid_with_reward_minor: int,
    currency: str,
    now: datetime,
    staff_pin_id: UUID | None = None,
    order_reference: str | None = None,
    external_ref: str | None = None,
) -> list[CardEvent]:
    """Points for a purchase: `net_minor * rate_points // rate_minor`, once, rounded down.

    Below the program's minimum purchase the entry is recorded with no points, so that the till sees why and the
    reference is used up.
    """
    assert purchase_amount_minor >= 0 and 0 <= paid_with_reward_minor <= purchase_amount_minor
    must_be_active(card)
    must_earn(program)
    rules = program.rules_at(now)
    if program.loyalty_type == "stamps" or rules.rate_points is None or rules.rate_minor is None:
        raise ProgramTypeMismatch(loyalty_type=program.loyalty_type)
    if currency != program.currency:
        raise CurrencyMismatch(expected=program.currency, given=currency)
    net_minor = purchase_amount_minor - paid_with_reward_minor
    counts = purchase_amount_minor >= rules.minimum_purchase_minor
    points = net_minor * rules.rate_points // rules.rate_minor if counts else 0
    return [
        PointsEarned(
            at=now,
            entry_id=entry_id,
            points=points,
            purchase_amount_minor=purchase_amount_minor,
            paid_with_reward_minor=paid_with_reward_minor,
            currency=currency,
            rate_points=rules.rate_points,
            rate_minor=rules.rate_minor,
            minimum_minor=rules.minimum_purchase_minor,
            stamps_after=card.stamps,
            points_after=within(card.points + points),
            staff_pin_id=staff_pin_id,
            order_reference=order_reference,
            external_ref=external_ref,
        )
    ]


def adjust(
    card: Card,
    program: Program,
    *,
    entry_id: UUID,
    stamps: int,
    points: int,
    reason: str,
    now: datetime,
    staff_pin_id: UUID | None = None,
) -> list[CardEvent]:
    """A signed change by hand. It never takes more than the card holds; a suspended card may be put right."""
    assert bool(stamps) != bool(points)
    must_be_open(card)
    if (stamps and program.loyalty_type == "points") or (points and program.loyalty_type == "stamps"):
        raise ProgramTypeMismatch(loyalty_type=program.loyalty_type)
    if stamps < 0 and card.stamps + stamps < 0:
        raise NotEnoughStamps(held=card.stamps, needed=-stamps)
    if points < 0 and card.points + points < 0:
        raise NotEnoughPoints(held=card.points, needed=-points)
    return [
        UnitsAdjusted(
            at=now,
            entry_id=entry_id,
            stamps=stamps,
            points=points,
            reason=reason,
            cycle_version=cycle_of(card, program.rules_at(now)),
            stamps_after=within(card.stamps + stamps),
            points_after=within(card.points + points),
            staff_pin_id=staff_pin_id,
        )
    ]


def cycle_of(card: Card, rules: Rules) -> int:
    """A cycle begins with its first stamp: until then, and in debt, the newest target is the card's target."""
    return card.cycle_version if card.stamps > 0 else rules.version


def stamps_on(card: Card, day: date) -> int:
    """Accepted, unreversed stamps of that local day."""
    return sum(stamp.stamps for stamp in card.recent_stamps if stamp.local_date == day)


def cooldown_ends(card: Card, rules: Rules) -> datetime | None:
    """When the cooldown after the last unreversed stamp is over; None where there is none."""
    if not card.recent_stamps:
        return None
    return card.recent_stamps[-1].at + timedelta(minutes=rules.cooldown_minutes)


def next_stamp(card: Card, rules: Rules, now: datetime) -> datetime:
    """The first moment from `now` on at which one stamp would pass cooldown and daily limit."""
    today = now.astimezone(ZoneInfo(rules.timezone)).date()
    earliest = max(now, cooldown_ends(card, rules) or now)
    if stamps_on(card, today) >= rules.max_daily_stamps:
        earliest = max(earliest, day_begins(today + timedelta(days=1), rules.timezone))
    return earliest


def day_begins(day: date, timezone: str) -> datetime:
    """Midnight in the time zone, in UTC; days are 23 or 25 hours long where clocks change, and that is right."""
    return datetime.combine(day, time(), tzinfo=ZoneInfo(timezone)).astimezone(UTC)


def next_stamp_after(rules: Rules, today: date, used: int, now: datetime) -> datetime:
    """When the next stamp is possible after one at `now`, with which `used` are given that day."""
    possible_at = now + timedelta(minutes=rules.cooldown_minutes)
    if used >= rules.max_daily_stamps:
        possible_at = max(possible_at, day_begins(today + timedelta(days=1), rules.timezone))
    return possible_at


def within(balance: int) -> int:
    """The balance, unless it is more than a card can hold."""
    if balance > UNITS_MAX:
        raise InvalidValue(field="balance", why=f"a card holds at most {UNITS_MAX} units")
    return balance
