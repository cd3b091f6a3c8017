"""Table refusals: which rule said no to whom, with its facts."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from ledger.attempts import AttemptEvent, EarnRefused, RedemptionRefused, ReversalRefused, StampRefused
from ledger.ids import derived
from ledger.stream import Recorded
from projections.table import Kept, LogTable, Queries, Row, dicts

KINDS: dict[type[AttemptEvent], str] = {
    StampRefused: "stamp",
    EarnRefused: "earn",
    RedemptionRefused: "redemption",
    ReversalRefused: "reversal",
}
COLUMNS = (
    "id, card_id, program_id, vendor_id, kind, refusal, facts, staff_pin_id, location_id, terminal_id,"
    " actor_type, actor_id, channel, request_id, at, version, position"
)


def decision_of(recorded: Recorded) -> UUID:
    """By which it can be asked why; those recorded before there was such an id got one of their place."""
    decision_id: UUID | None = recorded.event.decision_id
    return decision_id or derived("refusal", recorded.stream_id, recorded.version)


class Refusal(Struct, frozen=True):
    """A row, by its columns."""

    id: UUID
    card_id: UUID | None
    program_id: UUID | None
    vendor_id: UUID
    kind: str
    refusal: str
    facts: dict[str, str | int]
    staff_pin_id: UUID | None
    location_id: UUID | None
    terminal_id: str | None
    actor_type: str
    actor_id: str
    channel: str
    request_id: str
    at: datetime
    version: int
    position: int | None


def row(recorded: Recorded, _: Kept | None) -> Refusal:
    event: AttemptEvent = recorded.event
    envelope = recorded.envelope
    return Refusal(
        id=decision_of(recorded),
        card_id=event.card_id,
        program_id=envelope.program_id,
        vendor_id=envelope.vendor_id,
        kind=KINDS[type(event)],
        refusal=event.refusal,
        facts=event.facts,
        staff_pin_id=event.staff_pin_id,
        location_id=envelope.location_id,
        terminal_id=envelope.terminal_id,
        actor_type=envelope.actor.type,
        actor_id=envelope.actor.id,
        channel=envelope.channel,
        request_id=envelope.request_id,
        at=event.at,
        version=recorded.version,
        position=recorded.position,
    )


REFUSALS = LogTable("refusals", ("attempts",), row)


# ------------------------------------------------------------------ readers

LIST = f"""
SELECT {COLUMNS} FROM refusals
WHERE (%(vendor_id)s::uuid IS NULL OR vendor_id = %(vendor_id)s)
    AND (%(program_id)s::uuid IS NULL OR program_id = %(program_id)s)
    AND (%(card_id)s::uuid IS NULL OR card_id = %(card_id)s)
    AND (%(start)s::timestamptz IS NULL OR at >= %(start)s)
    AND (%(end)s::timestamptz IS NULL OR at < %(end)s)
    AND (%(before)s::bigint IS NULL OR position < %(before)s)
ORDER BY position DESC LIMIT %(limit)s
"""


async def list_refusals(
    queries: Queries,
    *,
    vendor_id: UUID | None = None,
    program_id: UUID | None = None,
    card_id: UUID | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[Row]:
    """Newest first, `start` included, `end` excluded. `before` is the position of the last row of the page before.

    Raises: StoreAway where the database is away; asking again is safe.

    Source: table refusals, which trails the stream by a few milliseconds.
    """
    asked = {"vendor_id": vendor_id, "program_id": program_id, "card_id": card_id, "start": start, "end": end}
    return dicts(COLUMNS, await queries.rows(LIST, {**asked, "before": before, "limit": limit}))


READ = f"SELECT {COLUMNS} FROM refusals WHERE id = %s AND (%s::uuid IS NULL OR vendor_id = %s)"


async def read(queries: Queries, refusal_id: UUID, *, vendor_id: UUID | None = None) -> Row | None:
    """One refusal, of any vendor where `vendor_id` is None; None where there is no such row (yet).

    Raises: StoreAway where the database is away; asking again is safe.

    Source: table refusals, which trails the stream by a few milliseconds.
    """
    found = await queries.rows(READ, (refusal_id, vendor_id, vendor_id))
    return dicts(COLUMNS, found)[0] if found else None
