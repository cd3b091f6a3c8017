"""Undoing an earlier entry by a new one. What is undone stays in the history."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never
from uuid import UUID

from ledger.card import (
    Card,
    CardEvent,
    EarnReversed,
    PointsEarned,
    RedemptionReversed,
    Reversed,
    RewardRedeemed,
    StampsAdded,
    entry_type,
    must_be_open,
)
from ledger.errors import (
    AlreadyReversed,
    InvalidValue,
    NotReversible,
    ReversalExceedsBalance,
    ReversalExceedsEntry,
    StaffNotAllowed,
)
from ledger.program import Program, ReversalPolicy

UNDO_WINDOW = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who wants an entry undone. Managers and API keys with the scope may undo any, staff their own last one."""

    staff_pin_id: UUID | None
    may_reverse_any: bool


def reverse(
    card: Card,
    program: Program,
    original: CardEvent,
    *,
    entry_id: UUID,
    amount_minor: int | None,
    reason: str,
    asker: Asker,
    now: datetime,
) -> list[CardEvent]:
    """Take an earn or a redemption back, whole, or a purchase in part by `amount_minor`.

    Partial refunds are cumulative: whatever the split, the total taken back ends at exactly what was earned.
    A suspended card may be put right; a card that has ended not.
    """
    assert amount_minor is None or amount_minor >= 1
    must_be_open(card)
    match original:
        case StampsAdded():
            _must_be_whole(amount_minor)
            _must_be_allowed(card, original, asker, now)
            taken = original.stamps
            return [_earn_reversed(card, program, original, entry_id, taken, 0, Reversed(taken, 0), reason, asker, now)]
        case PointsEarned():
            _must_be_allowed(card, original, asker, now)
            units, amount, total = _share(card, original, amount_minor)
            return [_earn_reversed(card, program, original, entry_id, units, amount, total, reason, asker, now)]
        case RewardRedeemed():
            _must_be_whole(amount_minor)
            _must_be_allowed(card, original, asker, now)
            return [_redemption_reversed(card, original, entry_id, reason, asker, now)]
        case _:
            raise NotReversible(entry_type=entry_type(original))


def _must_be_whole(amount_minor: int | None) -> None:
    if amount_minor is not None:
        raise InvalidValue(field="amount_minor", why="only a purchase can be refunded in part")


def _must_be_allowed(
    card: Card, original: StampsAdded | PointsEarned | RewardRedeemed, asker: Asker, now: datetime
) -> None:
    done = card.reversed.get(str(original.entry_id))
    is_partial = isinstance(original, PointsEarned) and (
        done is not None and done.amount_minor < original.purchase_amount_minor
    )
    if done is not None and not is_partial:
        raise AlreadyReversed(entry_id=original.entry_id)
    if asker.may_reverse_any:
        return
    last = card.last_entry
    is_own_last = (
        last is not None
        and last.entry_id == original.entry_id
        and asker.staff_pin_id is not None
        and last.staff_pin_id == asker.staff_pin_id
        and now - last.at <= UNDO_WINDOW
    )
    if not is_own_last:
        raise StaffNotAllowed


def _share(card: Card, original: PointsEarned, amount_minor: int | None) -> tuple[int, int, Reversed]:
    """Units and amount this refund takes back, and the totals after it.

    What stays earned is computed from the purchase that is left, by the rate of that day; so the last partial refund
    takes whatever rounding left over.
    """
    done = card.reversed.get(str(original.entry_id), Reversed(0, 0))
    left_minor = original.purchase_amount_minor - done.amount_minor
    asked_minor = left_minor if amount_minor is None else amount_minor
    if asked_minor > left_minor:
        raise ReversalExceedsEntry(left_minor=left_minor, asked_minor=asked_minor)
    kept_minor = left_minor - asked_minor
    if kept_minor == 0:
        units_in_all = original.points
    else:
        net_kept = max(kept_minor - original.paid_with_reward_minor, 0)
        units_in_all = original.points - min(net_kept * original.rate_points // original.rate_minor, original.points)
    total_amount = original.purchase_amount_minor - kept_minor
    return units_in_all - done.units, asked_minor, Reversed(units_in_all, total_amount)


def _taken(held: int, units: int, policy: ReversalPolicy) -> tuple[int, int]:
    """What the policy lets be taken from a balance, and the shortfall."""
    match policy:
        case "allow_negative":
            return units, 0
        case "within_balance":
            taken = min(units, max(held, 0))
            return taken, units - taken
        case "reject":
            if units and held < units:
                raise ReversalExceedsBalance(held=held, needed=units)
            return units, 0
        case _:
            assert_never(policy)


def _earn_reversed(
    card: Card,
    program: Program,
    original: StampsAdded | PointsEarned,
    entry_id: UUID,
    units: int,
    amount_minor: int,
    total: Reversed,
    reason: str,
    asker: Asker,
    now: datetime,
) -> EarnReversed:
    rules = program.rules_at(now)
    is_stamps = isinstance(original, StampsAdded)
    taken, shortfall = _taken(card.stamps if is_stamps else card.points, units, rules.reversal_policy)
    stamps, points = (taken, 0) if is_stamps else (0, taken)
    recent = tuple(stamp for stamp in card.recent_stamps if stamp.entry_id != original.entry_id)
    return EarnReversed(
        at=now,
        entry_id=entry_id,
        reverses_id=original.entry_id,
        reason=reason,
        policy=rules.reversal_policy,
        stamps_taken=stamps,
        points_taken=points,
        shortfall=shortfall,
        amount_minor=amount_minor,
        is_stamps=is_stamps,
        total_units_reversed=total.units,
        total_amount_reversed=total.amount_minor,
        last_stamp_at=recent[-1].at if recent else None,
        stamps_after=card.stamps - stamps,
        points_after=card.points - points,
        staff_pin_id=asker.staff_pin_id,
    )


def _redemption_reversed(
    card: Card, original: RewardRedeemed, entry_id: UUID, reason: str, asker: Asker, now: datetime
) -> RedemptionReversed:
    cycle_version = card.cycle_version
    if original.stamps_spent:  # The stamps come back with the target they had.
        cycle_version = min(cycle_version, original.cycle_redeemed)
    return RedemptionReversed(
        at=now,
        entry_id=entry_id,
        reverses_id=original.entry_id,
        reason=reason,
        stamps_returned=original.stamps_spent,
        points_returned=original.points_spent,
        cycle_version=cycle_version,
        stamps_after=card.stamps + original.stamps_spent,
        points_after=card.points + original.points_spent,
        staff_pin_id=asker.staff_pin_id,
    )
