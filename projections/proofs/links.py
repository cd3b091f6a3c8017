"""Whether each event follows the one before it, and each state row the newest, without a second look at any event.

An event names the digest of the one it follows, a state row that of the newest. So whatever there is to follow, the
beginning of each history included, is followed by exactly one event or state row. A keyed hash of it is added where it
is, and taken away where it is followed: in the end nothing is left. The key is made for one look, so nobody can put in
what cancels out. That no version stands twice is for the database's primary keys.

There is a sum for each few hundred histories, so that only among those it has to be looked for what does not hold.
"""

from bisect import bisect_left
from collections.abc import Generator, Iterable, Iterator, Sequence
from hashlib import blake2b
from secrets import token_bytes
from typing import Any
from uuid import UUID

from psycopg import Connection

from ledger.stream import first_prev, hashed, prev_of
from projections.proofs.chains import FIRST_ID, LAST_ID, state_rows
from projections.proofs.findings import Findings

ROWS_AT_ONCE = 2_000
KEYED_BYTES = 16
HISTORIES_A_SUM = 500

LAST_OF_EACH_SUM = """
SELECT uuid_send(stream_id) FROM (SELECT stream_id, row_number() OVER (ORDER BY stream_id) AS n FROM streams) AS counted
WHERE n %% %s = 0 ORDER BY n
"""
UNSEALED = """
SELECT uuid_send(originator_id), originator_version, coalesce(topic, ''), coalesce(state, ''), notification_id
FROM stored_events WHERE notification_id > %s ORDER BY notification_id LIMIT %s
"""
SINCE = """
SELECT uuid_send(originator_id), originator_version, coalesce(topic, ''), coalesce(state, '')
FROM stored_events WHERE notification_id > %s AND originator_id >= %s AND originator_id <= %s
"""


class Links:
    """What there is to follow, less what is followed; a sum for each stretch of histories by their ids."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._keyed = blake2b(key=token_bytes(KEYED_BYTES), digest_size=KEYED_BYTES)
        self._lasts = [last for (last,) in connection.execute(LAST_OF_EACH_SUM, (HISTORIES_A_SUM,), binary=True)]
        self._left = [0] * (len(self._lasts) + 1)

    @property
    def hold(self) -> bool:
        """Whether nothing is left, once all events and state rows were added."""
        return not any(self._left)

    def to_follow(self, named: Iterable[UUID]) -> list[tuple[UUID, UUID]]:
        """Among which histories something is left, or one was named, from one id to another."""
        lasts = [UUID(bytes=last) for last in self._lasts]
        firsts = [FIRST_ID, *(UUID(int=last.int + 1) for last in lasts)]
        stretches = zip(firsts, [*lasts, LAST_ID], strict=True)
        at_named = {bisect_left(self._lasts, of.bytes) for of in named}
        return [of for at, of in enumerate(stretches) if self._left[at] or at in at_named]

    def add_event(self, of: bytes, version: int, digest: bytes, state: bytes) -> None:
        """`of` is the id of its stream, in 16 bytes."""
        left = self._hash(of, version, digest.hex()) - self._hash(of, version - 1, prev_of(state) or "")
        self._left[bisect_left(self._lasts, of)] += left

    def add_state_row(self, of: bytes, version: int, head: str) -> None:
        """The history that it is of has a beginning, which an event must follow: a row of version 0 cannot."""
        left = self._hash(of, 0, first_prev(UUID(bytes=of))) - self._hash(of, version or -1, head)
        self._left[bisect_left(self._lasts, of)] += left

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
