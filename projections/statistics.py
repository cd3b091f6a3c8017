"""What happened and what is outstanding: for one program, one vendor or everything.

Everything is counted from the query tables in business time (`occurred_at`); a day is a day in the program's time zone.
"""

from dataclasses import dataclass, field, fields
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from projections.table import Queries

ACTIVE_DAYS = 30


@dataclass(frozen=True, slots=True)
class Activity:
    """What happened in a time range. All counts are positive, but the adjustments, which are sums of signed changes.

    Units that a replacement carries from a lost card to the new one are neither issued nor redeemed.
    """

    enrolments: int = 0
    stamps_issued: int = 0
    points_issued: int = 0
    stamps_redeemed: int = 0
    points_redeemed: int = 0
    stamps_reversed: int = 0
    points_reversed: int = 0
    stamps_returned: int = 0
    points_returned: int = 0
    stamps_adjusted: int = 0
    points_adjusted: int = 0
    stamps_forfeited: int = 0
    points_forfeited: int = 0
    redemptions: int = 0
    redemptions_reversed: int = 0
    purchases: int = 0


@dataclass(frozen=True, slots=True)
class Statistics:
    """`cards`, `active_cards` and `…_outstanding` are as of now; the rest happened in the range asked for.

    Args:
        active_cards: Cards with an earn or a redemption within the last 30 days.
        stamps_outstanding, points_outstanding: What the cards hold.
        by_day: By local day, oldest first, without gaps between the first and the last day with activity.
        by_location, by_staff: The key None stands for entries without one.
    """

    cards: int
    cards_by_status: dict[str, int]
    active_cards: int
    stamps_outstanding: int
    points_outstanding: int
    total: Activity
    refusals: dict[str, int]
    by_day: dict[date, Activity] = field(default_factory=dict)
    by_program: dict[UUID, Activity] = field(default_factory=dict)
    by_location: dict[UUID | None, Activity] = field(default_factory=dict)
    by_staff: dict[UUID | None, Activity] = field(default_factory=dict)


_SCOPE = """
    (%(vendor_id)s::uuid IS NULL OR {t}.vendor_id = %(vendor_id)s)
    AND (%(program_id)s::uuid IS NULL OR {t}.program_id = %(program_id)s)
"""
_RANGE = """
    AND (%(start)s::timestamptz IS NULL OR {at} >= %(start)s)
    AND (%(end)s::timestamptz IS NULL OR {at} < %(end)s)
"""
CARDS = f"""
SELECT status, count(*), count(*) FILTER (
        WHERE greatest(last_stamp_at, last_points_at, last_redemption_at) >= %(active_since)s::timestamptz
    ), sum(stamp_count)::bigint, sum(points_balance)::bigint
FROM loyalty_cards c WHERE {_SCOPE.format(t="c")} GROUP BY status
"""


def _sum(type_: str, delta: str, sign: str = "") -> str:
    return f"coalesce(sum({sign}{delta}_delta) FILTER (WHERE transaction_type = '{type_}'), 0)::bigint"


def _count(*types: str) -> str:
    wanted = ", ".join(f"'{type_}'" for type_ in types)
    return f"count(*) FILTER (WHERE transaction_type IN ({wanted}))"


FIGURES: dict[str, str] = {
    # A replacement card is not a new customer.
    "enrolments": "count(*) FILTER (WHERE transaction_type = 'card_enrolled' AND related_card_id IS NULL)",
    "stamps_issued": _sum("stamp_earned", "stamps"),
    "points_issued": _sum("points_earned", "points"),
    "stamps_redeemed": _sum("stamp_redeemed", "stamps", "-"),
    "points_redeemed": _sum("points_redeemed", "points", "-"),
    "stamps_reversed": _sum("stamp_reversed", "stamps", "-"),
    "points_reversed": _sum("points_reversed", "points", "-"),
    "stamps_returned": _sum("redemption_reversed", "stamps"),
    "points_returned": _sum("redemption_reversed", "points"),
    "stamps_adjusted": _sum("stamp_adjusted", "stamps"),
    "points_adjusted": _sum("points_adjusted", "points"),
    "stamps_forfeited": _sum("units_forfeited", "stamps", "-"),
    "points_forfeited": _sum("units_forfeited", "points", "-"),
    "redemptions": _count("stamp_redeemed", "points_redeemed"),
    "redemptions_reversed": _count("redemption_reversed"),
    "purchases": _count("points_earned"),
}
assert list(FIGURES) == [f.name for f in fields(Activity)]

# All groupings in one pass over the range; grouping() says which one a row belongs to.
ACTIVITY = f"""
SELECT grouping(day, program_id, location_id, staff_pin_id), day, program_id, location_id, staff_pin_id,
    {", ".join(FIGURES.values())}
FROM (
    SELECT t.*, (t.occurred_at AT TIME ZONE p.timezone)::date AS day
    FROM loyalty_transactions t JOIN loyalty_programs p ON p.id = t.program_id
    WHERE {_SCOPE.format(t="t")} {_RANGE.format(at="t.occurred_at")}
) AS happened
GROUP BY GROUPING SETS ((), (day), (program_id), (location_id), (staff_pin_id))
"""
REFUSALS = f"""
SELECT refusal, count(*) FROM refusals r
WHERE {_SCOPE.format(t="r")} {_RANGE.format(at="r.at")}
GROUP BY refusal ORDER BY count(*) DESC, refusal
"""
TOTAL, BY_DAY, BY_PROGRAM, BY_LOCATION, BY_STAFF = 0b1111, 0b0111, 0b1011, 0b1101, 0b1110


async def statistics(
    queries: Queries,
    *,
    now: datetime,
    vendor_id: UUID | None = None,
    program_id: UUID | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> Statistics:
    """Figures of a program, a vendor (every program of it) or, with neither, everything.

    Args:
        start, end: The range in business time; `start` included, `end` excluded, None for no bound.

    Raises:
        StoreAway: The database is away. Asking again is safe.

    Source:
        Tables loyalty_cards, loyalty_transactions and refusals, which trail the stream by a few milliseconds.
    """
    asked: dict[str, Any] = {"vendor_id": vendor_id, "program_id": program_id, "start": start, "end": end}
    cards = await queries.rows(CARDS, {**asked, "active_since": now - timedelta(days=ACTIVE_DAYS)})
    refusals = await queries.rows(REFUSALS, asked)
    groups: dict[int, dict[Any, Activity]] = {TOTAL: {}, BY_DAY: {}, BY_PROGRAM: {}, BY_LOCATION: {}, BY_STAFF: {}}
    for grouping, day, program, location, staff, *figures in await queries.rows(ACTIVITY, asked):
        key = {TOTAL: None, BY_DAY: day, BY_PROGRAM: program, BY_LOCATION: location, BY_STAFF: staff}[grouping]
        groups[grouping][key] = Activity(*figures)
    return Statistics(
        cards=sum(row[1] for row in cards),
        cards_by_status={row[0]: row[1] for row in sorted(cards)},
        active_cards=sum(row[2] for row in cards),
        stamps_outstanding=sum(row[3] for row in cards),
        points_outstanding=sum(row[4] for row in cards),
        total=groups[TOTAL].get(None, Activity()),
        refusals=dict(refusals),
        by_day=_without_gaps(groups[BY_DAY]),
        by_program=groups[BY_PROGRAM],
        by_location=groups[BY_LOCATION],
        by_staff=groups[BY_STAFF],
    )


def _without_gaps(days: dict[date, Activity]) -> dict[date, Activity]:
    if not days:
        return {}
    first, last = min(days), max(days)
    every = (first + timedelta(days=n) for n in range((last - first).days + 1))
    return {day: days.get(day, Activity()) for day in every}


VISITORS = f"""
SELECT count(DISTINCT card_id) FROM loyalty_transactions t
WHERE {_SCOPE.format(t="t")} {_RANGE.format(at="t.occurred_at")}
    AND transaction_type IN ('stamp_earned', 'points_earned', 'stamp_redeemed', 'points_redeemed')
"""


async def visitors(queries: Queries, *, vendor_id: UUID, start: datetime, end: datetime) -> int:
    """How many of a vendor's cards earned or redeemed something in a range; bounds and source as for `statistics`."""
    asked = {"vendor_id": vendor_id, "program_id": None, "start": start, "end": end}
    return int((await queries.rows(VISITORS, asked))[0][0])
