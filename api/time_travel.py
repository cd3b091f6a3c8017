"""The two times a balance may be asked for, and the answer for a card: the same for auditors and its vendor."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query

from api.shapes import Timestamp
from ledger import balance
from ledger.commands.references import CardReference
from ledger.reader import Reader


@dataclass(frozen=True, slots=True)
class Times:
    """`as_of` is business time, `known_at` the server's; both count what lies on the moment, None counts all."""

    as_of: datetime | None
    known_at: datetime | None


async def _two_times(
    as_of: Annotated[
        Timestamp | None,
        Query(description="Counts what happened until this moment, included: business time. Absent: everything."),
    ] = None,
    known_at: Annotated[
        Timestamp | None,
        Query(description="Counts what was recorded until this moment, included: the server's time. Absent: all."),
    ] = None,
) -> Times:
    return Times(as_of, known_at)


TwoTimes = Annotated[Times, Depends(_two_times)]


async def card_balance(reader: Reader, card_id: UUID, vendor_id: UUID | None, times: Times) -> dict[str, Any]:
    """A card's balance at these times. `vendor_id` says whose card it must be; None finds anybody's.

    Raises:
        CardNotFound: There is no such card, or it is somebody else's.
        StoreAway: The database is away. Asking again is safe.
    """
    reference = CardReference(str(card_id))
    stream = reference.find(await reader.view(reference.streams), vendor_id)
    found = await balance.read(reader, card_id, as_of=times.as_of, known_at=times.known_at)
    return {
        "card_id": card_id,
        "program_id": stream.parent_id,
        "vendor_id": stream.vendor_id,
        "as_of": times.as_of,
        "known_at": times.known_at,
        "status": found.status,
        "stamp_count": found.stamps,
        "total_stamps_earned": found.total_stamps_earned,
        "stamps_redeemed": found.rewards_redeemed,
        "points_balance": found.points,
        "total_points_earned": found.total_points_earned,
        "points_redeemed": found.points_redeemed,
        "events": found.events,
        "card_version": found.card_version,
        "position": found.position,
    }
