"""A loyalty card: what can happen to it, and what it holds afterwards.

Balances are what the events add up to. A decision is a function of the card, the program and what was asked; it
returns events or raises a refusal, and reads no clock, setting or database. `evolve` only moves fields.
"""

from datetime import date, datetime
from typing import Literal, TypeAlias, assert_never
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from ledger.errors import CardIsClosed, CardIsErased, CardIsReplaced, CardIsSuspended
from ledger.personal import Secret

NOTHING = Secret(sealed="")  # Where a secret was that nobody can open any more.

Status: TypeAlias = Literal["active", "suspended", "closed", "replaced", "erased"]


# ------------------------------------------------------------------ events


class CardEnrolled(Struct, frozen=True):
    """A customer has a card. A replacement brings along what the lost card held."""

    at: datetime
    customer_id: UUID
    number: str
    qr_token: Secret
    language: str
    cycle_version: int  # The rules version whose target the first cycle counts toward.
    name: Secret | None = None
    email: Secret | None = None
    phone: Secret | None = None
    has_consented: bool = False
    replaces: UUID | None = None
    stamps: int = 0
    points: int = 0
    total_stamps_earned: int = 0
    rewards_redeemed: int = 0
    total_points_earned: int = 0
    points_redeemed: int = 0
    reversed: dict[str, "Reversed"] = {}
    recent_stamps: tuple["RecentStamp", ...] = ()
    last_points_at: datetime | None = None
    last_redemption_at: datetime | None = None


class StampsAdded(Struct, frozen=True):
    at: datetime
    entry_id: UUID
    stamps: int
    local_date: date  # The day in the program's time zone, decided once.
    stamps_today: int
    daily_limit: int
    cooldown_minutes: int
    next_stamp_at: datetime
    target: int
    cycle_version: int
    stamps_after: int
    points_after: int
    staff_pin_id: UUID | None = None
    order_reference: str | None = None
    external_ref: str | None = None


class PointsEarned(Struct, frozen=True):
    at: datetime
    entry_id: UUID
    points: int
    purchase_amount_minor: int
    paid_with_reward_minor: int
    currency: str
    rate_points: int
    rate_minor: int
    minimum_minor: int
    stamps_after: int
    points_after: int
    staff_pin_id: UUID | None = None
    order_reference: str | None = None
    external_ref: str | None = None


class RewardRedeemed(Struct, frozen=True):
    at: datetime
    entry_id: UUID
    reward_id: UUID | None  # None: the stamp reward.
    reward_description: str
    reward_value_minor: int | None
    stamps_spent: int  # The price that day: a later price must not rewrite the past.
    points_spent: int
    cycle_redeemed: int  # The cycle it ended; a reversal returns to it.
    cycle_version: int  # The next cycle counts toward this version's target.
    stamps_after: int
    points_after: int
    staff_pin_id: UUID | None = None
    order_reference: str | None = None
    external_ref: str | None = None


class EarnReversed(Struct, frozen=True):
    at: datetime
    entry_id: UUID
    reverses_id: UUID
    reason: str
    policy: str
    stamps_taken: int
    points_taken: int
    shortfall: int  # Units the policy `within_balance` could not take.
    amount_minor: int
    is_stamps: bool
    total_units_reversed: int  # Over all reversals of that entry, shortfalls included.
    total_amount_reversed: int
    last_stamp_at: datetime | None  # The newest unreversed stamp that still matters to the cooldown.
    stamps_after: int
    points_after: int
    staff_pin_id: UUID | None = None


class RedemptionReversed(Struct, frozen=True):
    at: datetime
    entry_id: UUID
    reverses_id: UUID
    reason: str
    stamps_returned: int
    points_returned: int
    cycle_version: int
    stamps_after: int
    points_after: int
    staff_pin_id: UUID | None = None


class UnitsAdjusted(Struct, frozen=True):
    at: datetime
    entry_id: UUID
    stamps: int
    points: int
    reason: str
    cycle_version: int
    stamps_after: int
    points_after: int
    staff_pin_id: UUID | None = None


class CardSuspended(Struct, frozen=True):
    at: datetime
    reason: str


class CardReinstated(Struct, frozen=True):
    at: datetime
    reason: str


class CardReplaced(Struct, frozen=True):
    """This card ended; everything it held stands on `replaced_by`."""

    at: datetime
    reason: str
    replaced_by: UUID
    stamps_moved: int
    points_moved: int


class UnitsForfeited(Struct, frozen=True):
    at: datetime
    entry_id: UUID
    stamps: int
    points: int


class CardClosed(Struct, frozen=True):
    at: datetime
    reason: str


class CustomerDetailsChanged(Struct, frozen=True):
    at: datetime
    language: str
    name: Secret | None = None
    email: Secret | None = None
    phone: Secret | None = None


class QrTokenRotated(Struct, frozen=True):
    """Understood by every reader; no command records it: a lost card is replaced."""

    at: datetime
    qr_token: Secret


class CardErased(Struct, frozen=True):
    """The person behind the card was forgotten. What the card counts stays; whose it was, nobody can tell any more."""

    at: datetime


CardEvent: TypeAlias = (
    CardEnrolled
    | StampsAdded
    | PointsEarned
    | RewardRedeemed
    | EarnReversed
    | RedemptionReversed
    | UnitsAdjusted
    | CardSuspended
    | CardReinstated
    | CardReplaced
    | UnitsForfeited
    | CardClosed
    | CustomerDetailsChanged
    | QrTokenRotated
    | CardErased
)
Entry: TypeAlias = StampsAdded | PointsEarned | RewardRedeemed | EarnReversed | RedemptionReversed | UnitsAdjusted


def entry_type(event: CardEvent) -> str:
    """What tills and tables call it; the name of a class is our own affair."""
    match event:
        case StampsAdded():
            return "stamp_earned"
        case PointsEarned():
            return "points_earned"
        case RewardRedeemed():
            return "stamp_redeemed" if event.reward_id is None else "points_redeemed"
        case EarnReversed():
            return "stamp_reversed" if event.is_stamps else "points_reversed"
        case RedemptionReversed():
            return "redemption_reversed"
        case UnitsAdjusted():
            return "stamp_adjusted" if event.stamps else "points_adjusted"
        case UnitsForfeited():
            return "units_forfeited"
        case CardEnrolled():
            return "card_enrolled"
        case CardSuspended() | CardReinstated() | CardReplaced() | CardClosed() | CardErased():
            return "card_status_changed"
        case CustomerDetailsChanged() | QrTokenRotated():
            return "card_details_changed"
        case _:
            assert_never(event)


# ------------------------------------------------------------------ state


class RecentStamp(Struct, frozen=True):
    """A stamp that still matters to cooldown or daily limit."""

    entry_id: UUID
    at: datetime
    local_date: date
    stamps: int


class Reversed(Struct, frozen=True):
    """How much of an entry was taken back so far."""

    units: int
    amount_minor: int


class LastEntry(Struct, frozen=True):
    entry_id: UUID
    at: datetime
    staff_pin_id: UUID | None


class Card(Struct, frozen=True):
    customer_id: UUID
    number: str
    qr_token: Secret
    language: str
    cycle_version: int
    enrolled_at: datetime
    last_at: datetime
    status: Status = "active"
    stamps: int = 0
    points: int = 0
    total_stamps_earned: int = 0
    rewards_redeemed: int = 0
    total_points_earned: int = 0
    points_redeemed: int = 0
    recent_stamps: tuple[RecentStamp, ...] = ()
    reversed: dict[str, Reversed] = {}
    last_entry: LastEntry | None = None
    replaced_by: UUID | None = None
    last_points_at: datetime | None = None
    last_redemption_at: datetime | None = None
    name: Secret | None = None
    email: Secret | None = None
    phone: Secret | None = None
    has_consented: bool = False


def evolve(card: Card | None, event: CardEvent) -> Card:
    """The card after one more event. Never checks: it must be able to read ten-year-old history."""
    if isinstance(event, CardEnrolled):
        return _enrolled(event)
    assert card is not None, "a card's first event is its enrolment"
    at = event.at
    match event:
        case StampsAdded():
            return replace(
                card,
                last_at=at,
                stamps=event.stamps_after,
                total_stamps_earned=card.total_stamps_earned + event.stamps,
                cycle_version=event.cycle_version,
                recent_stamps=(
                    *_still_recent(card.recent_stamps, event),
                    RecentStamp(event.entry_id, event.at, event.local_date, event.stamps),
                ),
                last_entry=LastEntry(event.entry_id, event.at, event.staff_pin_id),
            )
        case PointsEarned():
            return replace(
                card,
                last_at=at,
                points=event.points_after,
                total_points_earned=card.total_points_earned + event.points,
                last_points_at=event.at,
                last_entry=LastEntry(event.entry_id, event.at, event.staff_pin_id),
            )
        case RewardRedeemed():
            return replace(
                card,
                last_at=at,
                stamps=event.stamps_after,
                points=event.points_after,
                cycle_version=event.cycle_version,
                rewards_redeemed=card.rewards_redeemed + (event.stamps_spent > 0),
                points_redeemed=card.points_redeemed + event.points_spent,
                last_redemption_at=event.at,
                last_entry=LastEntry(event.entry_id, event.at, event.staff_pin_id),
            )
        case EarnReversed():
            return replace(
                card,
                last_at=at,
                stamps=event.stamps_after,
                points=event.points_after,
                total_stamps_earned=card.total_stamps_earned - event.stamps_taken,
                total_points_earned=card.total_points_earned - event.points_taken,
                recent_stamps=tuple(stamp for stamp in card.recent_stamps if stamp.entry_id != event.reverses_id),
                reversed=card.reversed
                | {str(event.reverses_id): Reversed(event.total_units_reversed, event.total_amount_reversed)},
                last_entry=LastEntry(event.entry_id, event.at, event.staff_pin_id),
            )
        case RedemptionReversed():
            returned = event.stamps_returned + event.points_returned
            return replace(
                card,
                last_at=at,
                stamps=event.stamps_after,
                points=event.points_after,
                cycle_version=event.cycle_version,
                rewards_redeemed=card.rewards_redeemed - (event.stamps_returned > 0),
                points_redeemed=card.points_redeemed - event.points_returned,
                reversed=card.reversed | {str(event.reverses_id): Reversed(returned, 0)},
                last_entry=LastEntry(event.entry_id, event.at, event.staff_pin_id),
            )
        case UnitsAdjusted():
            return replace(
                card,
                last_at=at,
                cycle_version=event.cycle_version,
                stamps=event.stamps_after,
                points=event.points_after,
                last_entry=LastEntry(event.entry_id, event.at, event.staff_pin_id),
            )
        case CardSuspended():
            return replace(card, last_at=at, status="suspended")
        case CardReinstated():
            return replace(card, last_at=at, status="active")
        case CardReplaced():
            return replace(card, last_at=at, status="replaced", stamps=0, points=0, replaced_by=event.replaced_by)
        case UnitsForfeited():
            return replace(card, last_at=at, stamps=card.stamps - event.stamps, points=card.points - event.points)
        case CardClosed():
            return replace(card, last_at=at, status="closed")
        case CustomerDetailsChanged():
            return replace(
                card,
                last_at=at,
                language=event.language,
                name=event.name,
                email=event.email,
                phone=event.phone,
            )
        case QrTokenRotated():
            return replace(card, last_at=at, qr_token=event.qr_token)
        case CardErased():
            return replace(card, last_at=at, status="erased", name=None, email=None, phone=None, qr_token=NOTHING)
        case _:
            assert_never(event)


def _enrolled(event: CardEnrolled) -> Card:
    return Card(
        customer_id=event.customer_id,
        number=event.number,
        qr_token=event.qr_token,
        language=event.language,
        cycle_version=event.cycle_version,
        enrolled_at=event.at,
        last_at=event.at,
        stamps=event.stamps,
        points=event.points,
        total_stamps_earned=event.total_stamps_earned,
        rewards_redeemed=event.rewards_redeemed,
        total_points_earned=event.total_points_earned,
        points_redeemed=event.points_redeemed,
        recent_stamps=event.recent_stamps,
        reversed=event.reversed,
        last_points_at=event.last_points_at,
        last_redemption_at=event.last_redemption_at,
        name=event.name,
        email=event.email,
        phone=event.phone,
        has_consented=event.has_consented,
    )


def _still_recent(stamps: tuple[RecentStamp, ...], event: StampsAdded) -> tuple[RecentStamp, ...]:
    """Those that can still matter: today's, and the newest before, which a cooldown may reach back to."""
    if stamps and stamps[-1].local_date == event.local_date:
        return stamps  # What the day's stamp before this one left.
    today = tuple(stamp for stamp in stamps if stamp.local_date == event.local_date)
    before = tuple(stamp for stamp in stamps if stamp.local_date != event.local_date)
    return before[-1:] + today


# ------------------------------------------------------------------ what every decision asks first


def must_be_open(card: Card) -> None:
    """Refuse anything on a card that has ended."""
    match card.status:
        case "replaced":
            raise CardIsReplaced
        case "erased":
            raise CardIsErased
        case "closed":
            raise CardIsClosed
        case "active" | "suspended":
            return
        case _:
            assert_never(card.status)


def must_be_active(card: Card) -> None:
    must_be_open(card)
    if card.status == "suspended":
        raise CardIsSuspended
