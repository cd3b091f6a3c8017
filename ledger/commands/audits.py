"""Recording that the tables were compared with the stream, for whoever did it outside of the service."""

from uuid import UUID

import psycopg

from ledger.audit import ProjectionChecked
from ledger.committer import APPEND
from ledger.decision import Append
from ledger.ids import derived, new_id
from ledger.recorder import APP_ROLE
from ledger.round import READ, Round
from ledger.stream import Actor, Envelope

AUDIT_ID = derived("audit")
NO_VENDOR = UUID(int=0)  # An envelope names one; this is nobody's.
TRIES_MAX = 5
MOVED_ON = "LL001"


def record_check(conninfo: str, checked: ProjectionChecked) -> int:
    """Record that it was checked.

    Returns: The event's position.

    Raises:
        psycopg.Error: The database is away, or others record checks all the time. Recorded again, it is there twice,
            which tells nothing wrong.
    """
    with psycopg.connect(conninfo, autocommit=True, connect_timeout=5) as connection:
        connection.execute(f"SET ROLE {APP_ROLE}")
        for tries_left in reversed(range(TRIES_MAX)):
            cursor = connection.cursor(binary=True)
            nothing: dict[str, list[object]] = {"kinds": [], "scopes": [], "values": [], "keys": []}
            view = Round()
            view.take_in(cursor.execute(READ, {"streams": [AUDIT_ID], **nothing}).fetchall())
            view.absent([AUDIT_ID])
            view.notes.append(_append(checked))
            view.write_notes()
            try:
                row = cursor.execute(APPEND, view.parameters()).fetchone()
            except psycopg.Error as error:
                if error.sqlstate not in (MOVED_ON, psycopg.errors.UniqueViolation.sqlstate) or not tries_left:
                    raise
                continue
            assert row is not None
            return int(row[0][-1])
    raise AssertionError("the last try returns or raises")


def _append(checked: ProjectionChecked) -> Append:
    envelope = Envelope(
        stream_type="audit",
        vendor_id=NO_VENDOR,
        channel="system",
        actor=Actor("system", "check", "command"),
        request_id=str(new_id()),
        recorded_at=checked.at,
        occurred_at=checked.at,
    )
    return Append(AUDIT_ID, "audit", None, [checked], envelope)
