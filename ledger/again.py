"""A recorded decision made once more: out of what its event says was asked, by the functions that made it."""

from typing import TypeAlias
from uuid import UUID

from ledger import earning, reversal, rewards
from ledger.attempts import AttemptEvent, EarnRefused, RedemptionRefused, ReversalRefused, StampRefused
from ledger.card import (
    Card,
    CardEvent,
    EarnReversed,
    Entry,
    PointsEarned,
    RedemptionReversed,
    RewardRedeemed,
    StampsAdded,
    UnitsAdjusted,
)
from ledger.errors import EntryNotFound
from ledger.program import Program
from ledger.reversal import Asker

Decided: TypeAlias = Entry | AttemptEvent


class InputsUnknown(Exception):
    """A refusal recorded before refusals said what was asked: it cannot be decided again."""


def reverses(event: Decided) -> UUID | None:
    """The entry that was to be undone; None where something else was asked.

    Raises: InputsUnknown.
    """
    match event:
        case EarnReversed() | RedemptionReversed():
            return event.reverses_id
        case ReversalRefused():
            return UUID(str(_asked(event)["entry_id"]))
        case _:
            return None


def decide_again(
    event: Decided, card: Card, program: Program, original: CardEvent | None, *, entry_id: UUID
) -> list[CardEvent]:
    """What the rules of `program` say to what was asked then, of `card` as it is given.

    Args:
        original: The entry that `reverses` names; None where there is none.
        entry_id: Of the entry it leads to. Where one was made then: that one's.

    Returns:
        The events of the decision. Over the card and the program as they were they equal what was recorded.

    Raises:
        Refused: By the same error with the same facts, where it was refused over them.
        InputsUnknown: It does not say what was asked.
    """
    now = event.at
    match event:
        case StampsAdded():
            return earning.stamp(
                card,
                program,
                entry_id=entry_id,
                count=event.stamps,
                now=now,
                staff_pin_id=event.staff_pin_id,
                order_reference=event.order_reference,
                external_ref=event.external_ref,
            )
        case StampRefused():
            count = int(_asked(event)["count"])
            return earning.stamp(
                card, program, entry_id=entry_id, count=count, now=now, staff_pin_id=event.staff_pin_id
            )
        case PointsEarned():
            return earning.earn_points(
                card,
                program,
                entry_id=entry_id,
                purchase_amount_minor=event.purchase_amount_minor,
                paid_with_reward_minor=event.paid_with_reward_minor,
                currency=event.currency,
                now=now,
                staff_pin_id=event.staff_pin_id,
                order_reference=event.order_reference,
                external_ref=event.external_ref,
            )
        case EarnRefused():
            asked = _asked(event)
            return earning.earn_points(
                card,
                program,
                entry_id=entry_id,
                purchase_amount_minor=int(asked["purchase_amount_minor"]),
                paid_with_reward_minor=int(asked["paid_with_reward_minor"]),
                currency=str(asked["currency"]),
                now=now,
                staff_pin_id=event.staff_pin_id,
            )
        case RewardRedeemed():
            return rewards.redeem(
                card,
                program,
                entry_id=entry_id,
                reward_id=event.reward_id,
                now=now,
                staff_pin_id=event.staff_pin_id,
                order_reference=event.order_reference,
                external_ref=event.external_ref,
            )
        case RedemptionRefused():
            reward = _asked(event).get("reward_id")
            reward_id = None if reward is None else UUID(str(reward))
            return rewards.redeem(
                card, program, entry_id=entry_id, reward_id=reward_id, now=now, staff_pin_id=event.staff_pin_id
            )
        case UnitsAdjusted():
            return earning.adjust(
                card,
                program,
                entry_id=entry_id,
                stamps=event.stamps,
                points=event.points,
                reason=event.reason,
                now=now,
                staff_pin_id=event.staff_pin_id,
            )
        case EarnReversed() | RedemptionReversed() | ReversalRefused():
            return _reverse_again(event, card, program, original, entry_id)


def _reverse_again(
    event: EarnReversed | RedemptionReversed | ReversalRefused,
    card: Card,
    program: Program,
    original: CardEvent | None,
    entry_id: UUID,
) -> list[CardEvent]:
    """Who may undo is the staff's affair, not the program's: whoever was let through or not then, is so again."""
    reason, amount_minor = "", None
    if isinstance(event, ReversalRefused):
        amount = _asked(event).get("amount_minor")
        amount_minor = None if amount is None else int(amount)
    else:
        reason = event.reason
        if isinstance(event, EarnReversed):
            amount_minor = event.amount_minor or None
    if original is None:
        raise EntryNotFound
    return reversal.reverse(
        card,
        program,
        original,
        entry_id=entry_id,
        amount_minor=amount_minor,
        reason=reason,
        asker=Asker(event.staff_pin_id, may_reverse_any=True),
        now=event.at,
    )


def _asked(event: AttemptEvent) -> dict[str, str | int]:
    """For a stamp refused long ago: there was hardly ever more than one asked, and a daily limit says how many."""
    if event.asked is not None:
        return event.asked
    if isinstance(event, StampRefused):
        return {"count": event.facts.get("asked", 1)}
    if isinstance(event, RedemptionRefused) and event.refusal == "NotEnoughStamps":
        return {}
    raise InputsUnknown
