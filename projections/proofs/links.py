"""Whether each event follows the one before it, and each state row the newest, without a second look at any event.

An event names the digest of the one it follows, a state row that of the newest. So whatever there is to follow, the
beginning of each history included, is followed by exactly one event or state row. A keyed hash of it is added where it
is, and taken away where it is followed: in the end nothing is left. The key is made for one look, so nobody can put in
what cancels out. That no version stands twice is for the database's primary keys.
"""

from collections.abc import Generator, Iterator, Sequence
from hashlib import blake2b
from secrets import token_bytes
from typing import Any
from uuid import UUID

from psycopg import Connection

from ledger.stream import first_prev, hashed, prev_of
from projections.proofs.chains import FIRST_ID, state_rows
from projections.proofs.findings import Findings

ROWS_AT_ONCE = 2_000
KEYED_BYTES = 16

UNSEALED = """
SELECT uuid_send(originator_id), originator_version, coalesce(topic, ''), coalesce(state, ''), notification_id
FROM stored_events WHERE notification_id > %s ORDER BY notification_id LIMIT %s
"""
SINCE = """
SELECT uuid_send(originator_id), originator_version, coalesce(topic, ''), coalesce(state, '')
FROM stored_events WHERE notification_id > %s AND originator_id >= %s AND originator_id <= %s
"""


class Links:
    """What there is to follow, less what is followed."""

    def __init__(self) -> None:
        self._keyed = blake2b(key=token_bytes(KEYED_BYTES), digest_size=KEYED_BYTES)
        self._left = 0

    @property
    def hold(self) -> bool:
        """Whether nothing is left, once all events and state rows were added."""
        return self._left == 0

    def add_event(self, of: bytes, version: int, digest: bytes, state: bytes) -> None:
        """`of` is the id of its stream, in 16 bytes."""
        self._left += self._hash(of, version, digest.hex()) - self._hash(of, version - 1, prev_of(state) or "")

    def add_state_row(self, of: bytes, version: int, head: str) -> None:
        """The history that it is of has a beginning, which an event must follow: a row of version 0 cannot."""
        self._left += self._hash(of, 0, first_prev(UUID(bytes=of))) - self._hash(of, version or -1, head)

    def _hash(self, of: bytes, version: int, digest: str) -> int:
        hash_ = self._keyed.copy()  # Half the time of making one.
        hash_.update(of + version.to_bytes(16, "big", signed=True) + digest.encode())
        return int.from_bytes(hash_.digest(), "big")


def add_unsealed(
    connection: Connection[Any], links: Links, position: int, findings: Findings
) -> Generator[Findings, None, int]:
    """Every event after this position, a page at each step.

    Returns: The position of the last one. Events are committed in the order of positions, so none is missing before it.
    """
    while rows := connection.execute(UNSEALED, (position, ROWS_AT_ONCE), binary=True).fetchall():
        _add([row[:4] for row in rows], links, findings)
        position = rows[-1][4]
        yield findings
        if len(rows) < ROWS_AT_ONCE:
            break
    return position


def add_state_rows(connection: Connection[Any], links: Links, position: int, findings: Findings) -> Iterator[Findings]:
    """Every state row, a page at each step, with the events of their histories that came after this position."""
    begin: UUID | None = FIRST_ID
    while begin is not None:
        with connection.transaction():
            rows, end, following = state_rows(connection, begin, ROWS_AT_ONCE)
            since = connection.execute(SINCE, (position, begin, end), binary=True, prepare=False).fetchall()
        _add(since, links, findings)
        for row in rows:
            links.add_state_row(*row)
        findings.histories += len(rows)
        begin = following
        yield findings


def _add(events: Sequence[tuple[Any, ...]], links: Links, findings: Findings) -> None:
    for of, version, name, state in events:
        links.add_event(of, version, hashed(of, version, name, state), state)
    findings.events += len(events)
    findings.read += len(events)
