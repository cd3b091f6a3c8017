"""What `/stats` answers, counted a second time: from events as they are folded, beside the sums of the tables.

Figures are compared for each program, location and member of staff over the whole time. Days are left out: what they
are made of, time and zone, is compared row by row.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

from psycopg import Connection

from projections.differences import Differences
from projections.loyalty_transactions import Transaction
from projections.refusals import Refusal
from projections.statistics import ACTIVE_DAYS, FIGURES, Activity
from projections.table import Kept

TABLE = "statistics"
NAMES = tuple(f.name for f in fields(Activity))

Group: TypeAlias = tuple[UUID | None, UUID | None, UUID | None]
"""Program, location, member of staff."""

# Which entries a figure adds up, what of them, and by which sign.
SUMS: dict[str, tuple[str, int, int]] = {
    f"{unit}_{what}": (type_.format(unit=one), at, sign)
    for unit, one, at in (("stamps", "stamp", 1), ("points", "points", 2))
    for what, type_, sign in (
        ("issued", "{unit}_earned", 1),
        ("redeemed", "{unit}_redeemed", -1),
        ("reversed", "{unit}_reversed", -1),
        ("returned", "redemption_reversed", 1),
        ("adjusted", "{unit}_adjusted", 1),
        ("forfeited", "units_forfeited", -1),
    )
}
COUNTS: dict[str, tuple[str, ...]] = {
    "redemptions": ("stamp_redeemed", "points_redeemed"),
    "redemptions_reversed": ("redemption_reversed",),
    "purchases": ("points_earned",),
}
assert {"enrolments", *SUMS, *COUNTS} == set(NAMES)

ACTIVITY = f"""
SELECT program_id, location_id, staff_pin_id, {", ".join(FIGURES.values())}
FROM loyalty_transactions GROUP BY program_id, location_id, staff_pin_id
"""
CARDS = """
SELECT program_id, status, count(*), count(*) FILTER (
        WHERE greatest(last_stamp_at, last_points_at, last_redemption_at) >= %s
    ), sum(stamp_count)::bigint, sum(points_balance)::bigint
FROM loyalty_cards GROUP BY program_id, status
"""
CARD_COLUMNS = ("cards", "active_cards", "stamps_outstanding", "points_outstanding")
REFUSALS = "SELECT program_id, refusal, count(*) FROM refusals GROUP BY program_id, refusal"


class Counted:
    """What happened, as it is folded."""

    def __init__(self) -> None:
        self._happened: dict[tuple[Any, ...], list[int]] = {}
        self._refusals: Counter[tuple[UUID | None, str]] = Counter()

    def add(self, rows: Iterable[Transaction]) -> None:
        """Rows of loyalty_transactions, as events make them."""
        happened = self._happened
        for row in rows:
            is_new = row.related_card_id is None
            key = row.program_id, row.location_id, row.staff_pin_id, row.transaction_type, is_new
            counted = happened.get(key)
            if counted is None:
                counted = happened[key] = [0, 0, 0]
            counted[0] += 1
            counted[1] += row.stamps_delta
            counted[2] += row.points_delta

    def add_refusals(self, rows: Iterable[Refusal]) -> None:
        self._refusals.update((row.program_id, row.refusal) for row in rows)

    def compare(
        self, connection: Connection[Any], cards: Iterable[Kept], now: datetime, differences: Differences
    ) -> None:
        """Hold it against what the tables add up to.

        Args:
            cards: Every card as it is folded.
        """
        found = {tuple(row[:3]): tuple(row[3:]) for row in connection.execute(ACTIVITY, binary=True)}
        _compare(self._activity(), found, NAMES, (0,) * len(NAMES), differences)
        since = now - timedelta(days=ACTIVE_DAYS)
        outstanding = {tuple(row[:2]): tuple(row[2:]) for row in connection.execute(CARDS, (since,), binary=True)}
        _compare(_outstanding(cards, since), outstanding, CARD_COLUMNS, (0,) * len(CARD_COLUMNS), differences)
        refused = {tuple(row[:2]): (row[2],) for row in connection.execute(REFUSALS, binary=True)}
        counted = {key: (count,) for key, count in self._refusals.items()}
        _compare(counted, refused, ("refusals",), (0,), differences)

    def _activity(self) -> dict[tuple[Any, ...], tuple[int, ...]]:
        groups: dict[tuple[Any, ...], Counter[str]] = {}
        for (*group, type_, is_new), counted in self._happened.items():
            figures = groups.setdefault(tuple(group), Counter())
            if type_ == "card_enrolled" and is_new:
                figures["enrolments"] += counted[0]
            for name, (of, at, sign) in SUMS.items():
                if of == type_:
                    figures[name] += sign * counted[at]
            for name, types in COUNTS.items():
                if type_ in types:
                    figures[name] += counted[0]
        return {group: tuple(figures[name] for name in NAMES) for group, figures in groups.items()}


def _outstanding(cards: Iterable[Kept], since: datetime) -> dict[tuple[Any, ...], tuple[int, ...]]:
    sums: dict[tuple[Any, ...], list[int]] = {}
    for kept in cards:
        card = kept.state
        stamped = card.recent_stamps[-1].at if card.recent_stamps else None
        times = [at for at in (stamped, card.last_points_at, card.last_redemption_at) if at is not None]
        of = sums.setdefault((kept.program_id, card.status), [0, 0, 0, 0])
        of[0] += 1
        of[1] += bool(times) and max(times) >= since
        of[2] += card.stamps
        of[3] += card.points
    return {key: tuple(values) for key, values in sums.items()}


def _compare(
    expected: Mapping[Any, tuple[int, ...]],
    found: Mapping[Any, tuple[int, ...]],
    names: tuple[str, ...],
    nothing: tuple[int, ...],
    differences: Differences,
) -> None:
    """Figure by figure; a group that one side lacks is one without anything."""
    differences.rows[TABLE] += len(found)
    for group in sorted(expected.keys() | found.keys(), key=str):
        pairs = zip(names, expected.get(group, nothing), found.get(group, nothing), strict=True)
        for name, should_be, is_ in pairs:
            if should_be != is_:
                differences.add(TABLE, "/".join(str(part or "none") for part in group), name, should_be, is_)
