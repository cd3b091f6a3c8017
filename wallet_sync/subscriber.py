"""Follows the stream, as far as the query tables have come, and notes what each wallet is owed.

Position and what is owed move on in one transaction, and only from the position that was read: any number may run,
each event counts once, and a crash leaves nothing out.
"""

import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import structlog
from psycopg import Connection

from ledger.commands.caller import utc_now
from ledger.recorder import APP_ROLE
from ledger.stream import Recorded, decode
from ledger.wallet_pass import AppleDeviceRegistered, AppleDeviceUnregistered, ApplePassIssued, GooglePassCreated
from projections.read_model import NAME as QUERY_TABLES
from projections.read_model import POSITION, read_batch
from wallet_sync import revisions
from wallet_sync.changes import POSITION as PASS_POSITION
from wallet_sync.changes import SHOWN

NAME = "wallets"
POLL_SECONDS = 0.5
PAUSE_SECONDS = 1.0
FAILED_PAUSE_SECONDS = 10.0
VENDOR_NAMES = ("vendor-updated", "vendor-suspended", "vendor-reinstated")

ENTER = "INSERT INTO projections (name) VALUES (%s) ON CONFLICT (name) DO NOTHING"
MOVE_ON = """
UPDATE projections SET position = %s, error = NULL, updated_at = clock_timestamp() WHERE name = %s AND position = %s
"""
# Once it stands in the tables that it is registered, a phone asks: it knows what there was by then, and no more.
OWE_PHONES = f"""
INSERT INTO wallet_work (channel, id, card_id, desired, synced, due_at)
SELECT 'apple', n.id, n.card_id, w.revision, w.revision - (n.position < {PASS_POSITION})::int, %s
FROM unnest(%s::uuid[], %s::uuid[], %s::bigint[]) AS n (id, card_id, position) JOIN ({SHOWN}) ON c.id = n.card_id
WHERE w.card_id IS NOT NULL
ON CONFLICT (channel, id) DO UPDATE SET
    synced = excluded.synced, desired = excluded.desired, due_at = excluded.due_at, owed_since = now(), failures = 0,
    last_error = NULL, is_parked = false, look_again_at = NULL, times_again = 0
"""
FORGET_PHONES = "DELETE FROM wallet_work WHERE channel = 'apple' AND id = ANY(%s)"
# Nothing may be saved before it is there: a new object does not wait for the card to come to rest.
OWE_OBJECTS = """
INSERT INTO wallet_work (channel, id, card_id, desired, synced)
SELECT 'google', p.card_id, p.card_id, p.revision, 0 FROM wallet_passes p WHERE p.card_id = ANY(%s)
ON CONFLICT (channel, id) DO UPDATE SET
    desired = excluded.desired, synced = 0, due_at = now(), owed_since = now(), failures = 0, is_parked = false
"""
OWE_CLASSES = """
INSERT INTO wallet_work (channel, id, desired, synced, due_at)
SELECT channel, id, desired, synced, now() FROM unnest(%s::uuid[]) AS p (id),
    (VALUES ('google_class', %s, 0), ('google_sweep', 1, 1)) AS c (channel, desired, synced)
ON CONFLICT (channel, id) DO NOTHING
"""
OWE_CHANGED_CLASSES = """
UPDATE wallet_work SET desired = %(position)s, owed_since = now(), due_at = now(), failures = 0, is_parked = false
WHERE channel = 'google_class'
    AND id IN (SELECT id FROM loyalty_programs WHERE id = ANY(%(ids)s) OR vendor_id = ANY(%(ids)s))
"""
OWE_PROGRAMS = """
INSERT INTO wallet_work (channel, id, desired, synced)
SELECT 'program', id, %(position)s, 0 FROM loyalty_programs WHERE id = ANY(%(ids)s) OR vendor_id = ANY(%(ids)s)
ON CONFLICT (channel, id) DO UPDATE SET
    desired = greatest(excluded.desired, wallet_work.desired + 1), owed_since = now(), due_at = now(), failures = 0,
    is_parked = false
"""

CARDS_AT_ONCE = 500
LEASE = timedelta(seconds=60)
CLAIM_PROGRAM = """
UPDATE wallet_work SET leased_until = now() + %(lease)s, last_tried_at = now() WHERE channel = 'program' AND id = (
    SELECT id FROM wallet_work
    WHERE channel = 'program' AND synced < desired AND NOT is_parked AND due_at <= now()
        AND (leased_until IS NULL OR leased_until < now())
    ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED
) RETURNING id, desired
"""
NEXT_CARDS = "SELECT card_id FROM wallet_passes WHERE program_id = %s AND card_id > %s ORDER BY card_id LIMIT %s"
KEEP_PROGRAM = "UPDATE wallet_work SET leased_until = now() + %(lease)s WHERE channel = 'program' AND id = %(id)s"
# Looked at again when rules that are announced come into force: no event says that their day has come.
PROGRAM_DONE = """
UPDATE wallet_work SET synced = greatest(synced, %(position)s), last_done_at = now(), leased_until = NULL,
    look_again_at = (
        SELECT min((told ->> 'effective_from')::timestamptz)
        FROM loyalty_programs p, jsonb_array_elements(p.state -> 'rules') AS versions (told)
        WHERE p.id = %(id)s AND (told ->> 'effective_from')::timestamptz > %(begun_at)s
    )
WHERE channel = 'program' AND id = %(id)s
"""


class Subscriber:
    """Any number may run; they take turns by chance. A program's cards are looked at in between, some at a time."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._program: _Program | None = None

    def run(self, stop: threading.Event) -> None:
        """Follow until `stop` is set; whatever happens, go on where it was."""
        while not stop.is_set():
            try:
                with connected(self._conninfo) as connection:
                    connection.execute("LISTEN projected")
                    while not stop.is_set():
                        if not advance(connection, utc_now()) and not self._look_at_program(connection):
                            for _ in connection.notifies(timeout=POLL_SECONDS, stop_after=1):
                                pass
            except psycopg.Error as error:
                log.warning("subscriber-interrupted", error=type(error).__name__, again_in_seconds=PAUSE_SECONDS)
                stop.wait(PAUSE_SECONDS)
            except Exception:  # An event of a newer release, say: nothing is passed over, and the lag is told.
                log.exception("subscriber-failed", again_in_seconds=FAILED_PAUSE_SECONDS)
                self._program = None
                stop.wait(FAILED_PAUSE_SECONDS)

    def catch_up(self) -> None:
        """Take in everything that stands in the query tables by now."""
        with connected(self._conninfo) as connection:
            while advance(connection, utc_now()) or self._look_at_program(connection):
                pass

    def _look_at_program(self, connection: Connection[Any]) -> bool:
        """Revise the next cards of a program that changed; False where none did."""
        if self._program is None:
            row = connection.execute(CLAIM_PROGRAM, {"lease": LEASE}).fetchone()
            if row is None:
                return False
            self._program = _Program(row[0], row[1], after=UUID(int=0), begun_at=utc_now())
        program = self._program
        with connection.transaction():
            found = connection.execute(NEXT_CARDS, (program.id, program.after, CARDS_AT_ONCE)).fetchall()
            revisions.revise(connection, [card_id for (card_id,) in found], utc_now(), nudges=True)
            if found:
                program.after = found[-1][0]
                connection.execute(KEEP_PROGRAM, {"lease": LEASE, "id": program.id})
            else:
                connection.execute(PROGRAM_DONE, asdict(program))
                self._program = None
        return True


@dataclass(slots=True)
class _Program:
    """Whose passes are being looked at, for what position, and up to which card. A crash begins it anew."""

    id: UUID
    position: int
    after: UUID
    begun_at: datetime


log = structlog.get_logger("wallet_sync.subscriber")


def connected(conninfo: str) -> Connection[Any]:
    connection = psycopg.connect(conninfo, autocommit=True, connect_timeout=5)
    connection.execute(f"SET ROLE {APP_ROLE}")
    connection.execute(ENTER, (NAME,))
    return connection


def advance(connection: Connection[Any], now: datetime) -> int:
    """Take in the next batch.

    Returns: How many events it had; 0 where the tables show no more. Somebody else's batch counts as one of ours.
    """
    before, tables = (_position(connection, name) for name in (NAME, QUERY_TABLES))
    if before >= tables:
        return 0
    batch = read_batch(connection, before, until=tables)
    events = [decode(stored, is_digested=False) for stored in batch]
    with connection.transaction():
        after = batch[-1].position if batch else tables
        if connection.execute(MOVE_ON, (after, NAME, before)).rowcount == 1:
            _take_in(connection, events, after, now)
    return max(len(batch), 1)


def _take_in(connection: Connection[Any], events: Sequence[Recorded], position: int, now: datetime) -> None:
    issued: dict[UUID, UUID] = {}
    at_google: dict[UUID, UUID] = {}
    phones: dict[UUID, tuple[UUID, int] | None] = {}
    cards: set[UUID] = set()
    around: set[UUID] = set()
    for recorded in events:
        event, kind = recorded.event, recorded.envelope.stream_type
        if isinstance(event, ApplePassIssued):
            assert recorded.envelope.program_id is not None
            issued[event.card_id] = recorded.envelope.program_id
        elif isinstance(event, GooglePassCreated):
            assert recorded.envelope.program_id is not None
            at_google[event.card_id] = recorded.envelope.program_id
        elif isinstance(event, AppleDeviceRegistered):
            assert recorded.position is not None
            phones[event.registration_id] = event.card_id, recorded.position
        elif isinstance(event, AppleDeviceUnregistered):
            phones[event.registration_id] = None
        elif kind == "card":
            cards.add(recorded.stream_id)
        elif kind == "program" or recorded.name in VENDOR_NAMES:
            around.add(recorded.stream_id)
    new = issued | at_google
    if new:
        revisions.begin(connection, list(new.items()), now)
    there = [(id_, *found) for id_, found in phones.items() if found is not None]
    # A new phone's pass is held too: nobody may come to another revision before they can see the phone.
    revisions.revise(connection, cards | new.keys() | {card_id for _, card_id, _ in there}, now, changed=cards)
    if at_google:
        connection.execute(OWE_CLASSES, (sorted(set(at_google.values())), position))
        connection.execute(OWE_OBJECTS, (list(at_google),))
    if there:
        connection.execute(OWE_PHONES, (now + revisions.QUIET, *map(list, zip(*there, strict=True))))
    if gone := [id_ for id_, found in phones.items() if found is None]:
        connection.execute(FORGET_PHONES, (gone,))
    if around:
        connection.execute(OWE_PROGRAMS, {"position": position, "ids": list(around)})
        connection.execute(OWE_CHANGED_CLASSES, {"position": position, "ids": list(around)})


def _position(connection: Connection[Any], name: str) -> int:
    row = connection.execute(POSITION, (name,)).fetchone()
    return 0 if row is None else int(row[0])
