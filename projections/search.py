"""Events found by what they are about: where, when, on which card, by whom.

Every event has a row in one of three tables, which tell the positions of those wanted; what happened is then read from
the stream. Each way to ask has an index that ends in the position, so a page costs what it holds, not what there is.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, TypeAlias, get_args
from uuid import UUID

from ledger.card import CardEvent
from ledger.ids import wallet_pass_id
from ledger.stream import NAME_OF, Recorded, Stored, decode
from projections.refusals import KINDS as REFUSED
from projections.table import Queries

PAGE_EVENTS = 200
POSITION_MAX = 2**63 - 1

Order: TypeAlias = Literal["oldest", "newest"]

ENTRY_NAMES = frozenset(NAME_OF[cls] for cls in get_args(CardEvent))
REFUSAL_KINDS = {NAME_OF[cls]: kind for cls, kind in REFUSED.items()}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of event: its name, and with a type only those of its entries."""

    event_name: str
    entry_type: str | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """From a moment on, before another; None: without an end."""

    start: datetime | None = None
    end: datetime | None = None

    @property
    def is_open(self) -> bool:
        return self.start is None and self.end is None


ALWAYS = Span()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look for: everything that is named must be so.

    Args:
        card_id: Of the card's history, its refusals and its passes.
        staff_pin_id: Of whom the staff member with this PIN did, and what was done to the PIN.
        reference: The till's, or another system's.
        command_id: Of a command with an Idempotency-Key: the last event it led to, or its refusal.
        after, until: Positions; the second is included.
    """

    vendor_id: UUID | None = None
    card_id: UUID | None = None
    program_id: UUID | None = None
    staff_pin_id: UUID | None = None
    location_id: UUID | None = None
    terminal_id: str | None = None
    actor_id: str | None = None
    reference: str | None = None
    command_id: UUID | None = None
    kinds: tuple[Kind, ...] | None = None
    recorded: Span = ALWAYS
    occurred: Span = ALWAYS
    after: int = 0
    until: int = POSITION_MAX


@dataclass(frozen=True, slots=True)
class _Table:
    """Where a filter is found in a table: conditions of which any may be so, and no two are so of one row.

    A filter that is not named finds nothing there. The first column of an index decides what is read: those of
    `OF_A_VENDOR` are looked up vendor by vendor.
    """

    name: str
    filters: Mapping[str, tuple[str, ...]]
    recorded_at: str = "recorded_at"
    occurred_at: str = "occurred_at"


BY_KEY = "position = (SELECT position FROM idempotency_keys WHERE command_id = %(command_id)s)"
OF_ALL = {
    "program_id": ("program_id = %(program_id)s",),
    "location_id": ("location_id = %(location_id)s",),
    "terminal_id": ("terminal_id = %(terminal_id)s",),
    "actor_id": ("actor_id = %(actor_id)s",),
}
BY_STAFF = "actor_id = %(staff_pin_id)s::text AND actor_type = 'staff'"
ENTRIES = _Table(
    "loyalty_transactions",
    OF_ALL
    | {
        "card_id": ("card_id = %(card_id)s",),
        "staff_pin_id": (BY_STAFF,),
        "reference": (
            "order_reference = %(reference)s",
            "external_ref = %(reference)s AND order_reference IS DISTINCT FROM %(reference)s",
        ),
        "command_id": (BY_KEY,),
    },
)
REFUSALS = _Table(
    "refusals",
    OF_ALL
    | {
        "card_id": ("card_id = %(card_id)s",),
        "staff_pin_id": (BY_STAFF,),
        "command_id": ("id = %(command_id)s",),
    },
    recorded_at="at",
    occurred_at="at",
)
OTHERS = _Table(
    "other_events",
    OF_ALL
    | {
        "card_id": ("stream_id = %(pass_id)s",),
        "staff_pin_id": ("stream_id = %(staff_pin_id)s", f"{BY_STAFF} AND stream_id <> %(staff_pin_id)s"),
        "command_id": (BY_KEY,),
    },
)
OF_A_VENDOR = ("terminal_id", "actor_id", "staff_pin_id", "reference", "kinds")
BY_ITSELF = ("card_id", "command_id", "reference")  # So few rows that no time need narrow them.

EVENTS = """
SELECT originator_id, originator_version, topic, state, notification_id FROM ({found}) AS found
JOIN stored_events ON notification_id = found.position ORDER BY notification_id {direction}
"""
WHOLE_STREAM = """
SELECT notification_id AS position FROM stored_events
WHERE notification_id > %(after)s AND notification_id <= %(until)s
ORDER BY notification_id {direction} LIMIT %(limit)s
"""
BRANCH = "SELECT position FROM {table} WHERE {conditions} ORDER BY position {direction} LIMIT %(limit)s"
NOTHING = "SELECT position FROM other_events WHERE false"
OF_EACH_VENDOR = "SELECT branch.position FROM vendors AS v CROSS JOIN LATERAL ({branch}) AS branch"
# Clocks differ and histories are imported, so positions do not follow times. The first and the last of each day, out of
# an index, leave out no event of these days and hardly any other.
DAYS = """
SELECT min(low), max(high)
FROM (SELECT min({day}) AS first, max({day}) AS last FROM {table} WHERE {some}) AS days
CROSS JOIN LATERAL generate_series(
    CASE WHEN first IS NOT NULL THEN greatest(first, ({start})::date)::timestamp END,
    least(last, ({end})::date)::timestamp, interval '1 day'
) AS of (day)
CROSS JOIN LATERAL (
    SELECT (SELECT min(position) FROM {table} WHERE {some} AND {day} = of.day::date) AS low,
        (SELECT max(position) FROM {table} WHERE {some} AND {day} = of.day::date) AS high
) AS bounds
"""


async def page(
    queries: Queries, wanted: Wanted, *, order: Order = "oldest", limit: int = PAGE_EVENTS
) -> list[Recorded]:
    """The first events of all that are wanted, by position.

    Raises: StoreAway where the database is away; asking again is safe.

    Source: the stream, found by tables loyalty_transactions, refusals and other_events, which trail it by a few
        milliseconds; where nothing but positions is asked for, the stream alone.
    """
    within = await narrowed(queries, wanted)
    return [] if within is None else await _read(queries, within, order, limit)


async def pages(queries: Queries, wanted: Wanted, *, order: Order = "oldest") -> AsyncIterator[list[Recorded]]:
    """Everything that is wanted, a page at a time: no connection is held while somebody works on a page.

    Raises and Source: as `page`.
    """
    within = await narrowed(queries, wanted)
    while within is not None:
        events = await _read(queries, within, order, PAGE_EVENTS)
        if events:
            yield events
        within = _beyond(within, events[-1], order) if len(events) == PAGE_EVENTS else None


def between(wanted: Wanted, after: int = 0, until: int = POSITION_MAX) -> Wanted:
    """The same, behind one position and up to another."""
    return replace(wanted, after=max(wanted.after, after), until=min(wanted.until, until))


def _beyond(wanted: Wanted, event: Recorded, order: Order) -> Wanted:
    assert event.position is not None
    return between(wanted, after=event.position) if order == "oldest" else between(wanted, until=event.position - 1)


# ------------------------------------------------------------------ statements


async def _read(queries: Queries, wanted: Wanted, order: Order, limit: int) -> list[Recorded]:
    rows = await queries.rows(statement(wanted, order), parameters(wanted) | {"limit": limit})
    return [decode(Stored(*row)) for row in rows]


def statement(wanted: Wanted, order: Order) -> str:
    """The SELECT of one page. `parameters` says what it is given."""
    direction = "" if order == "oldest" else "DESC"
    if not _named(wanted):
        return EVENTS.format(found=WHOLE_STREAM.format(direction=direction), direction=direction)
    branches = " UNION ALL ".join(f"({branch})" for branch in _branches(wanted, order)) or NOTHING
    found = f"SELECT position FROM ({branches}) AS branches ORDER BY position {direction} LIMIT %(limit)s"
    return EVENTS.format(found=found, direction=direction)


def parameters(wanted: Wanted) -> dict[str, Any]:
    kinds = wanted.kinds or ()
    return {
        **{name: getattr(wanted, name) for name in ("after", "until", "vendor_id", *OF_ALL, "card_id", "reference")},
        "staff_pin_id": wanted.staff_pin_id,
        "command_id": wanted.command_id,
        "pass_id": None if wanted.card_id is None else wallet_pass_id(wanted.card_id),
        **{f"name_{number}": kind.event_name for number, kind in enumerate(kinds)},
        **{f"refused_{number}": REFUSAL_KINDS.get(kind.event_name) for number, kind in enumerate(kinds)},
        **{f"type_{number}": kind.entry_type for number, kind in enumerate(kinds)},
        "recorded_from": wanted.recorded.start,
        "recorded_to": wanted.recorded.end,
        "occurred_from": wanted.occurred.start,
        "occurred_to": wanted.occurred.end,
    }


def _named(wanted: Wanted) -> set[str]:
    """Which filters there are, beside positions."""
    names = {"vendor_id", "kinds", *ENTRIES.filters}
    spans = {name for name in ("recorded", "occurred") if not getattr(wanted, name).is_open}
    return spans | {name for name in names if getattr(wanted, name) is not None}


def _branches(wanted: Wanted, order: Order) -> Iterator[str]:
    """One for each table and each way in which its rows may be wanted. No two find the same row."""
    named = _named(wanted)
    is_indexed = named & {*OF_A_VENDOR, "program_id", "location_id"}
    direction = {
        ("oldest", False): "",
        ("newest", False): "DESC",
        ("oldest", True): "NULLS FIRST",
        ("newest", True): "DESC NULLS LAST",
    }[order, bool(is_indexed)]
    for table in (ENTRIES, REFUSALS, OTHERS):
        for conditions in _conditions(table, wanted, named):
            if wanted.vendor_id is not None:
                conditions = ["vendor_id = %(vendor_id)s", *conditions]
            elif named.intersection(OF_A_VENDOR) and not named & {"card_id", "program_id", "location_id"}:
                conditions = ["vendor_id = v.id", *conditions]
            branch = BRANCH.format(table=table.name, conditions=" AND ".join(conditions), direction=direction)
            yield OF_EACH_VENDOR.format(branch=branch) if "vendor_id = v.id" in conditions else branch


def _conditions(table: _Table, wanted: Wanted, named: set[str]) -> list[list[str]]:
    ways: list[list[str]] = [["position > %(after)s", "position <= %(until)s"]]
    for name in sorted(named - {"vendor_id", "kinds", "recorded", "occurred"}):
        ways = [[*way, condition] for way in ways for condition in table.filters.get(name, ())]
    for name, column in (("recorded", table.recorded_at), ("occurred", table.occurred_at)):
        span: Span = getattr(wanted, name)
        since = [f"{column} >= %({name}_from)s"] if span.start is not None else []
        before = [f"{column} < %({name}_to)s"] if span.end is not None else []
        ways = [[*way, *since, *before] for way in ways]
    if wanted.kinds is not None:
        kinds = [_kind(table, number, kind) for number, kind in enumerate(wanted.kinds) if _table_of(kind) is table]
        ways = [[*way, *condition] for way in ways for condition in kinds]
    return ways


def _table_of(kind: Kind) -> _Table:
    if kind.event_name in ENTRY_NAMES:
        return ENTRIES
    return REFUSALS if kind.event_name in REFUSAL_KINDS else OTHERS


def _kind(table: _Table, number: int, kind: Kind) -> list[str]:
    if table is REFUSALS:
        return [f"kind = %(refused_{number})s"]
    only = [] if kind.entry_type is None else [f"transaction_type = %(type_{number})s"]
    return [f"event_name = %(name_{number})s", *only]


# ------------------------------------------------------------------ times


async def narrowed(queries: Queries, wanted: Wanted) -> Wanted | None:
    """The same, between the positions that its times can be found at; None where nothing was recorded then.

    Raises: StoreAway where the database is away; asking again is safe.
    """
    named = _named(wanted)
    if named.intersection(BY_ITSELF):
        return wanted
    for name in named & {"recorded", "occurred"}:
        sql = " UNION ALL ".join(f"({days})" for days in _days(name))
        span: Span = getattr(wanted, name)
        given = {"start": span.start, "end": span.end}
        ((low, high),) = await queries.rows(f"SELECT min(b.min), max(b.max) FROM ({sql}) AS b", given)
        if low is None:
            return None
        wanted = between(wanted, low - 1, high)
    return wanted


def _days(name: str) -> Iterator[str]:
    """Of each table; what occurred when it was recorded stands in the one index, the rest in the other."""
    ways: Sequence[tuple[str, str, str]] = [
        ("loyalty_transactions", "recorded_at", "true"),
        ("refusals", "at", "true"),
        ("other_events", "recorded_at", "true"),
    ]
    if name == "occurred":
        ways = [*ways] + [
            (table, "occurred_at", "occurred_at <> recorded_at") for table in ("loyalty_transactions", "other_events")
        ]
    at = "%({})s::timestamptz AT TIME ZONE 'UTC'"
    for table, column, some in ways:
        day = f"(({column} AT TIME ZONE 'UTC')::date)"
        yield DAYS.format(table=table, day=day, some=some, start=at.format("start"), end=at.format("end"))
