"""What a program owed its customers at one time, as it was known at another: units on cards not yet redeemed."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from projections.table import Queries


@dataclass(frozen=True, slots=True)
class Outstanding:
    """Sums over the entries counted.

    Args:
        cards: Cards given out, those that ended included; each replacement is one more.
        stamps_outstanding, points_outstanding: What all cards held together; a card in debt counts against it.
        entries: How many were counted.
        position: Of the last one counted, in the order of recording; None where there was none.
    """

    cards: int
    stamps_outstanding: int
    points_outstanding: int
    entries: int
    position: int | None


# Without `as_of` every row passes, and the index still finds the program's.
OUTSTANDING = """
SELECT count(*) FILTER (WHERE transaction_type = 'card_enrolled'), coalesce(sum(stamps_delta), 0)::bigint,
    coalesce(sum(points_delta), 0)::bigint, count(*), max(position)
FROM loyalty_transactions
WHERE program_id = %(program_id)s
    AND occurred_at <= coalesce(%(as_of)s::timestamptz, 'infinity')
    AND recorded_at <= coalesce(%(known_at)s::timestamptz, 'infinity')
"""


async def outstanding(
    queries: Queries, program_id: UUID, *, as_of: datetime | None, known_at: datetime | None
) -> Outstanding:
    """A program's outstanding units.

    Args:
        as_of: Counts what happened until then, that moment included; None for no bound.
        known_at: Counts what was recorded until then, that moment included; None for no bound.

    Raises:
        StoreAway: The database is away, or took too long. Asking again is safe.

    Source:
        Table loyalty_transactions, which trails the stream by a few milliseconds. The deltas of a card's rows add up to
        its balance, so those of a program's rows add up to the sum of its cards. PostgreSQL adds them up: one row comes
        back, after a look at every entry the program had by then.
    """
    asked = {"program_id": program_id, "as_of": as_of, "known_at": known_at}
    (row,) = await queries.rows(OUTSTANDING, asked)
    return Outstanding(*row)
