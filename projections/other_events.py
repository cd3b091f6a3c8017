"""Table other_events: a row for each event of a vendor, program, PIN, pass, person or check, by which it is found.

With `loyalty_transactions` and `refusals` it makes a row for every event there is. What happened stands in the stream.
"""

from ledger.stream import Recorded
from projections.table import Kept, LogTable, Row


def row(recorded: Recorded, _: Kept | None) -> Row:
    envelope = recorded.envelope
    return {
        "position": recorded.position,
        "stream_id": recorded.stream_id,
        "stream_type": envelope.stream_type,
        "version": recorded.version,
        "event_name": recorded.name,
        "vendor_id": envelope.vendor_id,
        "program_id": envelope.program_id,
        "location_id": envelope.location_id,
        "terminal_id": envelope.terminal_id,
        "actor_type": envelope.actor.type,
        "actor_id": envelope.actor.id,
        "occurred_at": envelope.occurred_at,
        "recorded_at": envelope.recorded_at,
    }


OTHER_EVENTS = LogTable(
    "other_events", ("vendor", "program", "staff_pin", "wallet_pass", "subject", "audit"), row, key="position"
)
