"""A card's life: suspended and reinstated, closed, replaced when lost, erased; and whom it is for."""

from datetime import datetime
from uuid import UUID

from ledger.card import (
    Card,
    CardClosed,
    CardEnrolled,
    CardErased,
    CardEvent,
    CardReinstated,
    CardReplaced,
    CardSuspended,
    CustomerDetailsChanged,
    UnitsForfeited,
    must_be_active,
    must_be_open,
)
from ledger.errors import CardIsErased, CardIsNotSuspended
from ledger.personal import Secret


def suspend(card: Card, *, reason: str, now: datetime) -> list[CardEvent]:
    must_be_active(card)
    return [CardSuspended(now, reason)]


def reinstate(card: Card, *, reason: str, now: datetime) -> list[CardEvent]:
    must_be_open(card)
    if card.status != "suspended":
        raise CardIsNotSuspended
    return [CardReinstated(now, reason)]


def close(card: Card, *, entry_id: UUID, reason: str, now: datetime) -> list[CardEvent]:
    """Closing forfeits what is left, by an event of its own, so that no unit ever disappears unsaid."""
    must_be_open(card)
    forfeited: list[CardEvent] = []
    if card.stamps or card.points:
        forfeited = [UnitsForfeited(now, entry_id, card.stamps, card.points)]
    return [*forfeited, CardClosed(now, reason)]


def replace_lost(
    card: Card, *, new_card: UUID, number: str, qr_token: Secret, old_card: UUID, reason: str, now: datetime
) -> tuple[list[CardEvent], list[CardEvent]]:
    """What happens to the lost card, and what to its replacement: balances, limits, refunds and last times move along.

    `card` must carry its personal secrets opened, because they are sealed anew for the new card.
    """
    must_be_open(card)
    ended: list[CardEvent] = [CardReplaced(now, reason, new_card, card.stamps, card.points)]
    enrolled: list[CardEvent] = [
        CardEnrolled(
            at=now,
            customer_id=card.customer_id,
            number=number,
            qr_token=qr_token,
            language=card.language,
            cycle_version=card.cycle_version,
            name=card.name,
            email=card.email,
            phone=card.phone,
            has_consented=card.has_consented,
            replaces=old_card,
            stamps=card.stamps,
            points=card.points,
            total_stamps_earned=card.total_stamps_earned,
            rewards_redeemed=card.rewards_redeemed,
            total_points_earned=card.total_points_earned,
            points_redeemed=card.points_redeemed,
            reversed=card.reversed,
            recent_stamps=card.recent_stamps,
            last_points_at=card.last_points_at,
            last_redemption_at=card.last_redemption_at,
        )
    ]
    if card.status == "suspended":
        enrolled.append(CardSuspended(now, reason))
    return ended, enrolled


def change_details(
    card: Card,
    *,
    language: str,
    name: Secret | None,
    email: Secret | None,
    phone: Secret | None,
    now: datetime,
) -> list[CardEvent]:
    """What is known of its holder, as a whole; of a card that has ended too, for as long as it has a holder."""
    if card.status == "erased":
        raise CardIsErased
    return [CustomerDetailsChanged(now, language, name, email, phone)]


def erase(card: Card, *, now: datetime) -> list[CardEvent]:
    """No event where it is erased already. A card that ended another way is erased too: it has a name on it."""
    return [] if card.status == "erased" else [CardErased(now)]
