"""A decision told: which rule, what it saw, when to try again, in the reader's language.

The vendor's route and the administration's differ only in whose decisions they find.
"""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Header

from api.languages import Language, negotiate, translate
from api.problems import problem_document
from ledger.attempts import EarnRefused, RedemptionRefused, ReversalRefused, StampRefused
from ledger.card import (
    EarnReversed,
    Entry,
    PointsEarned,
    RedemptionReversed,
    RewardRedeemed,
    StampsAdded,
    UnitsAdjusted,
)
from ledger.codec import to_plain
from ledger.commands.decisions import Explained, explain_entry, explain_refusal
from ledger.errors import Refused
from ledger.reader import Reader
from projections import refusals

OPERATIONS: dict[type[Any], str] = {
    StampsAdded: "stamp",
    StampRefused: "stamp",
    PointsEarned: "earn",
    EarnRefused: "earn",
    RewardRedeemed: "redeem",
    RedemptionRefused: "redeem",
    EarnReversed: "reverse",
    RedemptionReversed: "reverse",
    ReversalRefused: "reverse",
    UnitsAdjusted: "adjust",
}
ASKED: dict[type[Any], tuple[str, ...]] = {
    PointsEarned: ("purchase_amount_minor", "paid_with_reward_minor", "currency"),
    RewardRedeemed: ("reward_id",),
    UnitsAdjusted: ("stamps", "points", "reason"),
}
LIMITS: dict[type[Any], tuple[str, ...]] = {
    StampsAdded: ("daily_limit", "stamps_today", "cooldown_minutes", "next_stamp_at", "target"),
    PointsEarned: ("rate_points", "rate_minor", "minimum_minor", "points"),
    RewardRedeemed: ("stamps_spent", "points_spent"),
    EarnReversed: ("policy", "stamps_taken", "points_taken", "shortfall"),
    RedemptionReversed: ("stamps_returned", "points_returned"),
    UnitsAdjusted: (),
}
IMPORTED = "Taken over from another system: it was decided there."
STAMPED = (
    "With it {stamps_today} of {daily_limit} stamps were given that day,"
    " and the cooldown of {cooldown_minutes} minutes was over."
)
EARNED = "{points} points: {rate_points} for each {rate_minor} of {net_minor} in minor units, rounded down."
TOO_SMALL = (
    "No points: the purchase of {purchase_amount_minor} is below the minimum of {minimum_minor}, in minor units."
)
REDEEMED = "The card held {held}, the reward costs {needed}."
TAKEN_BACK = "{taken} units were taken back, {shortfall} could not be; the policy is {policy}."
RETURNED = "{returned} units came back to the card."
ADJUSTED = "Changed by hand: {reason}"
SENTENCES = (IMPORTED, STAMPED, EARNED, TOO_SMALL, REDEEMED, TAKEN_BACK, RETURNED, ADJUSTED)

AcceptLanguage = Annotated[str | None, Header(description="Of title and detail.")]


async def tell_decision(
    reader: Reader, decision_id: UUID, *, vendor_id: UUID | None, accept_language: str | None
) -> dict[str, Any]:
    """A decision by the id of its entry, or the `decision_id` of its refusal; any vendor's where `vendor_id` is None.

    Raises: EntryNotFound.
    """
    row = await refusals.read(reader, decision_id, vendor_id=vendor_id)
    if row is None:
        explained = await explain_entry(reader, decision_id, vendor_id)
    else:
        explained = await explain_refusal(reader, decision_id, row["card_id"], row["version"])
    return _told(explained, negotiate(accept_language))


def _told(explained: Explained, language: Language) -> dict[str, Any]:
    recorded, cause, rules = explained.recorded, explained.cause, explained.rules
    event = recorded.event
    told = {
        "id": explained.decision_id,
        "operation": OPERATIONS[type(event)],
        "card_id": explained.card_id,
        "card_version": explained.card_version,
        "program_id": recorded.envelope.program_id,
        "program_version": rules.version,
        "decided_at": explained.at,
        "staff_pin_id": event.staff_pin_id,
        "request_id": recorded.envelope.request_id,
        "card": {
            "status": explained.card.status,
            "stamps": explained.card.stamps,
            "points": explained.card.points,
            "last_stamp_at": explained.card.recent_stamps[-1].at if explained.card.recent_stamps else None,
        },
        "rules": to_plain(rules),
        "is_the_same_again": explained.is_the_same,
    }
    if isinstance(cause, Refused):
        document = problem_document(cause, language)
        return told | {
            "outcome": "refused",
            "code": document["code"],
            "title": document["title"],
            "detail": document["detail"],
            "asked": event.asked,
            "limit": cause.facts,
            "retry_at": cause.facts.get("retry_at"),
        }
    return told | {
        "outcome": "imported" if explained.is_imported else "accepted",
        "detail": _sentence(explained, cause, language),
        "asked": _asked(cause),
        "limit": {name: getattr(cause, name) for name in LIMITS[type(cause)]},
    }


def _asked(entry: Entry) -> dict[str, Any]:
    match entry:
        case StampsAdded():
            return {"count": entry.stamps}
        case EarnReversed() | RedemptionReversed():
            amount = {"amount_minor": entry.amount_minor} if isinstance(entry, EarnReversed) else {}
            return {"entry_id": entry.reverses_id, "reason": entry.reason, **amount}
        case _:
            return {name: getattr(entry, name) for name in ASKED[type(entry)]}


def _sentence(explained: Explained, entry: Entry, language: Language) -> str:
    if explained.is_imported:
        return translate(language, IMPORTED)
    match entry:
        case StampsAdded():
            return translate(language, STAMPED, **to_plain(entry))
        case PointsEarned():
            net_minor = entry.purchase_amount_minor - entry.paid_with_reward_minor
            is_too_small = entry.purchase_amount_minor < entry.minimum_minor
            return translate(language, TOO_SMALL if is_too_small else EARNED, net_minor=net_minor, **to_plain(entry))
        case RewardRedeemed():
            held = explained.card.stamps if entry.reward_id is None else explained.card.points
            return translate(language, REDEEMED, held=held, needed=entry.stamps_spent + entry.points_spent)
        case EarnReversed():
            return translate(language, TAKEN_BACK, taken=entry.stamps_taken + entry.points_taken, **to_plain(entry))
        case RedemptionReversed():
            return translate(language, RETURNED, returned=entry.stamps_returned + entry.points_returned)
        case UnitsAdjusted():
            return translate(language, ADJUSTED, reason=entry.reason)
