"""The store history by history: which version, link or head it is that does not hold."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from psycopg import Connection

from ledger.stream import first_prev, hashed, prev_of
from projections.proofs.findings import Findings, Found

STREAMS_AT_ONCE = 500
ROWS_AT_ONCE = 1_000

STREAMS = """
SELECT uuid_send(stream_id), version, encode(head, 'hex') FROM streams
WHERE stream_id >= %s AND stream_id <= %s ORDER BY stream_id LIMIT %s
"""
HISTORIES = """
SELECT uuid_send(originator_id), originator_version, notification_id, coalesce(topic, ''), coalesce(state, '')
FROM stored_events WHERE originator_id >= %s AND originator_id <= %s ORDER BY originator_id, originator_version
"""
FIRST_ID, LAST_ID = UUID(int=0), UUID(int=2**128 - 1)


def follow_chains(
    connection: Connection[Any], findings: Findings, first: UUID = FIRST_ID, last: UUID = LAST_ID
) -> Iterator[Findings]:
    """Versions, links, order and head of every history from one id to another, a page at each step."""
    begin: UUID | None = first
    while begin is not None:
        with connection.transaction():
            streams, end, following = state_rows(connection, begin, STREAMS_AT_ONCE, last)
            with connection.cursor("histories", binary=True) as cursor:
                cursor.execute(HISTORIES, (begin, end))
                _chains(cursor, {row[0]: row[1:] for row in streams}, findings)
        begin = following
        yield findings


def state_rows(
    connection: Connection[Any], begin: UUID, count: int, last: UUID = LAST_ID
) -> tuple[list[Any], UUID, UUID | None]:
    """At most so many state rows from this id on. The transaction, in which nothing came before, gets a snapshot.

    Returns: Rows of id, version and head; up to which id they are all there are; where the next begin, None at the end.
    """
    connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    rows = connection.execute(STREAMS, (begin, last, count), binary=True).fetchall()
    end = UUID(bytes=rows[-1][0]) if len(rows) == count else last
    return rows, end, None if end == last else UUID(int=end.int + 1)


def _chains(cursor: Any, streams: dict[bytes, Any], findings: Findings) -> None:
    """Each history's versions, links and head; what is left of `streams` has no events."""
    whose, version, head, before = b"", 0, "", 0
    while rows := cursor.fetchmany(ROWS_AT_ONCE):
        for of, at, position, name, state in rows:
            if of != whose:
                _end_history(whose, version, head, before, streams, findings)
                whose, version, head, before = of, 0, first_prev(UUID(bytes=of)), 0
                findings.histories += 1
            version += 1
            if at != version:
                sentence = f"version {version} is missing, {at} follows"
                findings.add(Found("version-missing", sentence, position, UUID(bytes=of)))
                version = at
            elif prev_of(state) != head:
                sentence = f"version {at} does not follow the one before it"
                findings.add(Found("chain-broken", sentence, position, UUID(bytes=of)))
            if position <= before:
                sentence = f"version {at} stands before the one before it"
                findings.add(Found("order-changed", sentence, position, UUID(bytes=of)))
            head, before = hashed(of, at, name, state).hex(), position
        findings.events += len(rows)
        findings.read += len(rows)
    _end_history(whose, version, head, before, streams, findings)
    for of, (version, _) in streams.items():
        findings.add(Found("head-differs", f"all of its {version} events are missing", None, UUID(bytes=of)))


def _end_history(
    whose: bytes, version: int, head: str, position: int, streams: dict[bytes, Any], findings: Findings
) -> None:
    if not whose:
        return
    kept, stream_id = streams.pop(whose, None), UUID(bytes=whose)
    if kept is None:
        findings.add(Found("head-differs", "it has events and no state row", position, stream_id))
    elif kept != (version, head):
        sentence = f"its state row is of version {kept[0]}, its newest event is {version}"
        if kept[0] == version:
            sentence = f"its newest event, {version}, is not the one its state row is of"
        findings.add(Found("head-differs", sentence, position, stream_id))
