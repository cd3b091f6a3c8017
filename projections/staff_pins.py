"""Table staff_pins: who may act at a till, with what, and whether they are locked out."""

from datetime import datetime
from uuid import UUID

from ledger.staff_pin import StaffPin, evolve
from ledger.stream import Recorded
from projections.table import Kept, Opened, Queries, Row, StateTable, dicts, json_of

COLUMNS = (
    "id, vendor_id, program_id, staff_id, name, role, operations, is_active, failed_attempts, locks_in_a_row,"
    " locked_until, last_used_at, version, position, created_at, updated_at"
)


def row(kept: Kept) -> Row:
    pin: StaffPin = kept.state
    return {
        "id": kept.id,
        "vendor_id": kept.vendor_id,
        "program_id": pin.program_id,
        "staff_id": pin.staff_id,
        "name": kept.opened(pin.name),
        "role": pin.role,
        "operations": list(pin.operations),
        "pin_hash": kept.opened(pin.pin_hash),
        "is_active": pin.is_active,
        "failed_attempts": len(pin.failures),
        "locks_in_a_row": pin.locks_in_a_row,
        "locked_until": pin.locked_until,
        "last_used_at": kept.beside.get("last_used_at"),
        "version": kept.version,
        "position": kept.position,
        "created_at": pin.created_at,
        "updated_at": pin.last_at,
        "state": json_of(pin),
    }


def used_pin(recorded: Recorded) -> UUID | None:
    """The PIN that somebody acted with, wherever the event stands."""
    if recorded.name in ("staff-pin-accepted", "staff-session-opened"):
        return recorded.stream_id
    pin_id: UUID | None = getattr(recorded.event, "staff_pin_id", None)
    return pin_id


def _id(recorded: Recorded) -> UUID | None:
    return recorded.stream_id if recorded.envelope.stream_type == "staff_pin" else None


def _subject(kept: Kept) -> UUID:
    return kept.id


STAFF_PINS = StateTable(
    "staff_pins",
    StaffPin,
    _id,
    evolve,
    row,
    program_column="program_id",
    beside=("last_used_at",),
    secrets=(Opened("name", "name"), Opened("pin_hash", "pin_hash")),
    subject=_subject,
)


# ------------------------------------------------------------------ readers


async def read(queries: Queries, pin_id: UUID) -> Row | None:
    """One PIN, never its hash. `name` is None where the person was forgotten.

    Raises: StoreAway where the database is away; asking again is safe.

    Source: table staff_pins, which trails the stream by a few milliseconds.
    """
    found = dicts(COLUMNS, await queries.rows(f"SELECT {COLUMNS} FROM staff_pins WHERE id = %s", (pin_id,)))
    return found[0] if found else None


LIST = f"""
SELECT {COLUMNS} FROM staff_pins
WHERE vendor_id = %(vendor_id)s
    AND (%(program_id)s::uuid IS NULL OR program_id IS NULL OR program_id = %(program_id)s)
    AND (%(is_active)s::boolean IS NULL OR is_active = %(is_active)s)
    AND (%(at)s::timestamptz IS NULL OR (created_at, id) < (%(at)s, %(id)s::uuid))
ORDER BY created_at DESC, id DESC LIMIT %(limit)s
"""


async def list_pins(
    queries: Queries,
    vendor_id: UUID,
    *,
    program_id: UUID | None = None,
    is_active: bool | None = None,
    before: tuple[datetime, UUID] | None = None,
    limit: int = 50,
) -> list[Row]:
    """A vendor's PINs, newest first; with `program_id` those that may act in that program.

    `before` is `(created_at, id)` of the last row of the page before.
    """
    at, id_ = before or (None, None)
    asked = {"vendor_id": vendor_id, "program_id": program_id, "is_active": is_active}
    return dicts(COLUMNS, await queries.rows(LIST, {**asked, "at": at, "id": id_, "limit": limit}))
