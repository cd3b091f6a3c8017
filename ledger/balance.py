"""What a card held at one time, as it was known at another: its history added up, from the stream.

`known_at` cuts by the server's time: within a card that is the order of recording, so what is left is a beginning of
the stream. `as_of` cuts by business time: an entry that came late changes it, wherever in the stream it stands. Each
event counts with what it changed when it was recorded, so without `as_of` the sum is the card as it was.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from ledger.card import Card, Status
from ledger.reader import Reader
from ledger.stream import Recorded, evolve

PAGE_EVENTS = 500


@dataclass(frozen=True, slots=True)
class Balance:
    """Sums over the events counted. All zero, and without a status, before the first of them.

    Args:
        rewards_redeemed: Rewards redeemed with stamps.
        status: Where the newest change of it led to: by business time where that was asked for, else by the server's.
        events: How many were counted.
        card_version, position: Of the last event counted, in the order of recording.
    """

    stamps: int = 0
    points: int = 0
    total_stamps_earned: int = 0
    rewards_redeemed: int = 0
    total_points_earned: int = 0
    points_redeemed: int = 0
    status: Status | None = None
    status_since: datetime | None = None
    events: int = 0
    card_version: int = 0
    position: int | None = None


def counted(balance: Balance, before: Card | None, recorded: Recorded, after: Card, at: datetime) -> Balance:
    """The balance with one more event, which took the card from `before` to `after`.

    Args:
        at: The event's time in the order asked for: which of two statuses is the newer one.
    """

    def change(name: str) -> int:
        was: int = 0 if before is None else getattr(before, name)
        now: int = getattr(after, name)
        return now - was

    has_status = before is None or before.status != after.status
    is_newest = balance.status_since is None or at >= balance.status_since
    return replace(
        balance,
        stamps=balance.stamps + change("stamps"),
        points=balance.points + change("points"),
        total_stamps_earned=balance.total_stamps_earned + change("total_stamps_earned"),
        rewards_redeemed=balance.rewards_redeemed + change("rewards_redeemed"),
        total_points_earned=balance.total_points_earned + change("total_points_earned"),
        points_redeemed=balance.points_redeemed + change("points_redeemed"),
        status=after.status if has_status and is_newest else balance.status,
        status_since=at if has_status and is_newest else balance.status_since,
        events=balance.events + 1,
        card_version=recorded.version,
        position=recorded.position,
    )


async def read(reader: Reader, card_id: UUID, *, as_of: datetime | None, known_at: datetime | None) -> Balance:
    """A card's balance, in a memory that does not depend on how long its history is.

    Args:
        as_of: Counts what happened until then, that moment included; None for no bound.
        known_at: Counts what was recorded until then, that moment included; None for no bound.

    Raises:
        StoreAway: The database is away. Asking again is safe.

    Source:
        The card's own stream, so nothing is missing that was recorded before the question.
    """
    balance, card, version = Balance(), None, 0
    while events := await reader.events(card_id, after=version, limit=PAGE_EVENTS):
        for recorded in events:
            if known_at is not None and recorded.envelope.recorded_at > known_at:
                return balance
            before, card = card, evolve("card", card, recorded.event)
            at = recorded.envelope.recorded_at if as_of is None else recorded.envelope.occurred_at
            if as_of is None or at <= as_of:
                balance = counted(balance, before, recorded, card, at)
        version = events[-1].version
        if len(events) < PAGE_EVENTS:
            break
    return balance
