"""Table loyalty_transactions: the audit log as a table, one row for each event of a card, append-only.

The deltas of a card's rows add up to its balance: a replacement takes its units along in both cards' rows.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from msgspec import Struct

from ledger.card import (
    CardClosed,
    CardEnrolled,
    CardErased,
    CardEvent,
    CardReinstated,
    CardReplaced,
    CardSuspended,
    CustomerDetailsChanged,
    EarnReversed,
    PointsEarned,
    QrTokenRotated,
    RedemptionReversed,
    RewardRedeemed,
    StampsAdded,
    UnitsAdjusted,
    UnitsForfeited,
    entry_type,
)
from ledger.ids import derived
from ledger.stream import Recorded
from projections.table import Kept, LogTable, Queries, Row, dicts

COLUMNS = (
    "id, card_id, program_id, vendor_id, location_id, terminal_id, staff_pin_id, actor_type, actor_id,"
    " authenticated_by, channel, request_id, causation_id, transaction_type, event_name, stamps_delta, points_delta,"
    " stamps_balance_after, points_balance_after, purchase_amount_minor, net_amount_minor, refund_amount_minor,"
    " currency, order_reference, external_ref, reward_id, reward_description, reward_value_minor, reverses_id,"
    " shortfall, related_card_id, status_after, reason, local_date, program_version, occurred_at, recorded_at,"
    " position, card_version"
)


class Transaction(Struct, frozen=True):
    """A row, by its columns."""

    id: UUID
    card_id: UUID
    program_id: UUID | None
    vendor_id: UUID
    location_id: UUID | None
    terminal_id: str | None
    staff_pin_id: UUID | None
    actor_type: str
    actor_id: str
    authenticated_by: str
    channel: str
    request_id: str
    causation_id: UUID | None
    transaction_type: str
    event_name: str
    stamps_delta: int
    points_delta: int
    stamps_balance_after: int
    points_balance_after: int
    purchase_amount_minor: int | None
    net_amount_minor: int | None
    refund_amount_minor: int | None
    currency: str | None
    order_reference: str | None
    external_ref: str | None
    reward_id: UUID | None
    reward_description: str | None
    reward_value_minor: int | None
    reverses_id: UUID | None
    shortfall: int | None
    related_card_id: UUID | None
    status_after: str
    reason: str | None
    local_date: date | None
    program_version: int | None
    occurred_at: datetime
    recorded_at: datetime
    position: int | None
    card_version: int


class Told(Struct, frozen=True, kw_only=True):
    """What only some kinds of events tell."""

    stamps_delta: int = 0
    points_delta: int = 0
    purchase_amount_minor: int | None = None
    net_amount_minor: int | None = None
    refund_amount_minor: int | None = None
    currency: str | None = None
    order_reference: str | None = None
    external_ref: str | None = None
    reward_id: UUID | None = None
    reward_description: str | None = None
    reward_value_minor: int | None = None
    reverses_id: UUID | None = None
    shortfall: int | None = None
    related_card_id: UUID | None = None
    reason: str | None = None
    local_date: date | None = None


def row(recorded: Recorded, kept: Kept | None) -> Transaction:
    """The row of one event, with the card as it is after it."""
    assert kept is not None
    event, envelope, actor, card = recorded.event, recorded.envelope, recorded.envelope.actor, kept.state
    told = _told_by(event)
    return Transaction(  # By position, which takes half the time: a history has millions.
        getattr(event, "entry_id", None) or derived("transaction", recorded.stream_id, recorded.version),
        recorded.stream_id,
        kept.program_id,
        kept.vendor_id,
        envelope.location_id,
        envelope.terminal_id,
        getattr(event, "staff_pin_id", None),
        actor.type,
        actor.id,
        actor.authenticated_by,
        envelope.channel,
        envelope.request_id,
        envelope.causation_id,
        entry_type(event),
        recorded.name,
        told.stamps_delta,
        told.points_delta,
        card.stamps,
        card.points,
        told.purchase_amount_minor,
        told.net_amount_minor,
        told.refund_amount_minor,
        told.currency,
        told.order_reference,
        told.external_ref,
        told.reward_id,
        told.reward_description,
        told.reward_value_minor,
        told.reverses_id,
        told.shortfall,
        told.related_card_id,
        card.status,
        told.reason,
        told.local_date,
        envelope.program_version,
        envelope.occurred_at,
        envelope.recorded_at,
        recorded.position,
        recorded.version,
    )


def _told_by(event: Any) -> Told:
    match event:
        case StampsAdded():
            return Told(
                stamps_delta=event.stamps,
                order_reference=event.order_reference,
                external_ref=event.external_ref,
                local_date=event.local_date,
            )
        case PointsEarned():
            return Told(
                points_delta=event.points,
                purchase_amount_minor=event.purchase_amount_minor,
                net_amount_minor=event.purchase_amount_minor - event.paid_with_reward_minor,
                currency=event.currency,
                order_reference=event.order_reference,
                external_ref=event.external_ref,
            )
        case RewardRedeemed():
            return Told(
                stamps_delta=-event.stamps_spent,
                points_delta=-event.points_spent,
                order_reference=event.order_reference,
                external_ref=event.external_ref,
                reward_id=event.reward_id,
                reward_description=event.reward_description,
                reward_value_minor=event.reward_value_minor,
            )
        case EarnReversed():
            return Told(
                stamps_delta=-event.stamps_taken,
                points_delta=-event.points_taken,
                refund_amount_minor=event.amount_minor,
                reverses_id=event.reverses_id,
                shortfall=event.shortfall,
                reason=event.reason,
            )
        case RedemptionReversed():
            return Told(
                stamps_delta=event.stamps_returned,
                points_delta=event.points_returned,
                reverses_id=event.reverses_id,
                reason=event.reason,
            )
        case UnitsAdjusted():
            return Told(stamps_delta=event.stamps, points_delta=event.points, reason=event.reason)
        case UnitsForfeited():
            return Told(stamps_delta=-event.stamps, points_delta=-event.points)
        case CardEnrolled():
            return Told(stamps_delta=event.stamps, points_delta=event.points, related_card_id=event.replaces)
        case CardSuspended() | CardReinstated() | CardClosed():
            return Told(reason=event.reason)
        case CardReplaced():
            return Told(
                stamps_delta=-event.stamps_moved,
                points_delta=-event.points_moved,
                related_card_id=event.replaced_by,
                reason=event.reason,
            )
        case CustomerDetailsChanged() | QrTokenRotated() | CardErased():
            return Told()
        case _:
            raise AssertionError(f"no deltas for {type(event).__name__}")


ENTRY_TYPES: dict[str, tuple[type[CardEvent], ...]] = {
    "card_enrolled": (CardEnrolled,),
    "stamp_earned": (StampsAdded,),
    "points_earned": (PointsEarned,),
    "stamp_redeemed": (RewardRedeemed,),
    "points_redeemed": (RewardRedeemed,),
    "stamp_reversed": (EarnReversed,),
    "points_reversed": (EarnReversed,),
    "redemption_reversed": (RedemptionReversed,),
    "stamp_adjusted": (UnitsAdjusted,),
    "points_adjusted": (UnitsAdjusted,),
    "units_forfeited": (UnitsForfeited,),
    "card_status_changed": (CardSuspended, CardReinstated, CardReplaced, CardClosed, CardErased),
    "card_details_changed": (CustomerDetailsChanged, QrTokenRotated),
}
"""What `entry_type` says, and of which events it does."""

LOYALTY_TRANSACTIONS = LogTable("loyalty_transactions", ("card",), row)


# ------------------------------------------------------------------ readers


async def read(queries: Queries, entry_id: UUID) -> Row | None:
    """One entry.

    Raises: StoreAway where the database is away; asking again is safe.

    Source: table loyalty_transactions, which trails the stream by a few milliseconds.
    """
    sql = f"SELECT {COLUMNS} FROM loyalty_transactions WHERE id = %s"
    found = dicts(COLUMNS, await queries.rows(sql, (entry_id,)))
    return found[0] if found else None


LIST = f"""
SELECT {COLUMNS} FROM loyalty_transactions
WHERE (%(vendor_id)s::uuid IS NULL OR vendor_id = %(vendor_id)s)
    AND (%(program_id)s::uuid IS NULL OR program_id = %(program_id)s)
    AND (%(card_id)s::uuid IS NULL OR card_id = %(card_id)s)
    AND (%(staff_pin_id)s::uuid IS NULL OR staff_pin_id = %(staff_pin_id)s)
    AND (%(location_id)s::uuid IS NULL OR location_id = %(location_id)s)
    AND (%(types)s::text[] IS NULL OR transaction_type = ANY(%(types)s))
    AND (%(start)s::timestamptz IS NULL OR occurred_at >= %(start)s)
    AND (%(end)s::timestamptz IS NULL OR occurred_at < %(end)s)
    AND (%(before)s::bigint IS NULL OR position < %(before)s)
ORDER BY position DESC LIMIT %(limit)s
"""


async def list_transactions(
    queries: Queries,
    *,
    vendor_id: UUID | None = None,
    program_id: UUID | None = None,
    card_id: UUID | None = None,
    staff_pin_id: UUID | None = None,
    location_id: UUID | None = None,
    types: Sequence[str] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[Row]:
    """Newest first by the order of recording; `start` included, `end` excluded, both in business time.

    `before` is the position of the last row of the page before.

    Raises: StoreAway. Asking again is safe.
    """
    asked: dict[str, Any] = {
        "vendor_id": vendor_id,
        "program_id": program_id,
        "card_id": card_id,
        "staff_pin_id": staff_pin_id,
        "location_id": location_id,
        "types": None if types is None else list(types),
        "start": start,
        "end": end,
    }
    return dicts(COLUMNS, await queries.rows(LIST, {**asked, "before": before, "limit": limit}))
