"""What the ledger recorded about itself: that tables were held against the stream, and what came of it.

One stream for the whole ledger, which belongs to no vendor. Nothing in it tells of a person: counts, and where.
"""

from datetime import datetime

from msgspec import Struct

PLACES_MAX = 20


class ProjectionChecked(Struct, frozen=True):
    """The stream was added up again and compared with what stands in the tables."""

    at: datetime  # What the tables said at this moment was compared.
    position: int  # Of the query tables.
    last_position: int  # The stream's: state rows and look-ups were compared there.
    rows: dict[str, int]  # Compared, by table.
    differences: int
    places: tuple[str, ...]  # The first of them as table, row and column; never a value.
    duration_ms: int


class Audit(Struct, frozen=True):
    checks: int
    last: ProjectionChecked


def evolve(audit: Audit | None, event: ProjectionChecked) -> Audit:
    return Audit(1 if audit is None else audit.checks + 1, event)
