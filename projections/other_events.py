"""Table other_events: a row for each event of a vendor, program, PIN, pass, person or check, by which it is found.

With `loyalty_transactions` and `refusals` it makes a row for every event there is. What happened stands in the stream.
"""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from ledger.stream import Recorded
from projections.table import Kept, LogTable


class OtherEvent(Struct, frozen=True):
    """A row, by its columns."""

    position: int | None
    stream_id: UUID
    stream_type: str
    version: int
    event_name: str
    vendor_id: UUID
    program_id: UUID | None
    location_id: UUID | None
    terminal_id: str | None
    actor_type: str
    actor_id: str
    occurred_at: datetime
    recorded_at: datetime


def row(recorded: Recorded, _: Kept | None) -> OtherEvent:
    envelope = recorded.envelope
    return OtherEvent(
        position=recorded.position,
        stream_id=recorded.stream_id,
        stream_type=envelope.stream_type,
        version=recorded.version,
        event_name=recorded.name,
        vendor_id=envelope.vendor_id,
        program_id=envelope.program_id,
        location_id=envelope.location_id,
        terminal_id=envelope.terminal_id,
        actor_type=envelope.actor.type,
        actor_id=envelope.actor.id,
        occurred_at=envelope.occurred_at,
        recorded_at=envelope.recorded_at,
    )


OTHER_EVENTS = LogTable(
    "other_events", ("vendor", "program", "staff_pin", "wallet_pass", "subject", "audit"), row, key="position"
)
