"""The whole store held against what was signed: once in the order of positions, for the tree, once history by history.

It reads in pages, keeps a page in memory and a few hashes more, and holds no lock and no snapshot for longer than a
page: so it can run beside everything else, at once or a little at a time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import UUID

import orjson
from psycopg import Connection

from ledger.stream import first_prev, hashed
from projections.proofs.checkpoints import COLUMNS, GIVEN_UP, Sealed, newest
from projections.proofs.merkle import Frontier
from projections.proofs.sealing_keys import trusted_keys
from projections.proofs.tiles import TILE_HASHES, leaf_of, over
from projections.proofs.verify_statement import HASH_BYTES, Checkpoint, Fault, VerifierKey

TILES_AT_ONCE = 8
STREAMS_AT_ONCE = 500
ROWS_AT_ONCE = 1_000

LEAVES = """
SELECT hashes, positions FROM tree_tiles WHERE level = 0 AND tile >= %s AND tile < %s ORDER BY tile
"""
UPPER = "SELECT tile, hashes FROM tree_tiles WHERE level = %s AND tile >= %s AND tile <= %s ORDER BY tile"
BETWEEN = """
SELECT notification_id, uuid_send(originator_id), originator_version, topic, state FROM stored_events
WHERE notification_id > %s AND notification_id <= %s ORDER BY notification_id
"""
SIGNED = f"""
SELECT {COLUMNS} FROM checkpoints
WHERE (tree_size, number) > (%s, %s) AND number <= %s ORDER BY tree_size, number LIMIT 100
"""
STREAMS = """
SELECT uuid_send(stream_id), version, encode(head, 'hex') FROM streams
WHERE stream_id >= %s ORDER BY stream_id LIMIT %s
"""
HISTORIES = """
SELECT uuid_send(originator_id), originator_version, notification_id, topic, state FROM stored_events
WHERE originator_id >= %s AND originator_id <= %s ORDER BY originator_id, originator_version
"""
LAST_ID = UUID(int=2**128 - 1)


@dataclass(frozen=True, slots=True)
class Found:
    """Something that is not as it was sealed, with the place where it shows first."""

    kind: str
    sentence: str
    position: int | None = None
    stream_id: UUID | None = None

    def __str__(self) -> str:
        at = "" if self.position is None else f" at position {self.position}"
        of = "" if self.stream_id is None else f" of stream {self.stream_id}"
        return f"{self.kind}{at}{of}: {self.sentence}"


@dataclass(slots=True)
class Findings:
    """The first of each kind, and how much was looked at."""

    first: dict[str, Found] = field(default_factory=dict)
    faults: int = 0
    sealed_events: int = 0
    checkpoints: int = 0
    given_up: int = 0  # Checkpoints of a past that an operator gave up.
    events: int = 0
    histories: int = 0
    position: int = 0  # The last one that was held against the tree.

    def add(self, found: Found) -> None:
        self.faults += 1
        self.first.setdefault(found.kind, found)


def verify_store(
    connection: Connection[Any], trusted: VerifierKey | None, kept: Checkpoint | None = None
) -> Iterator[Findings]:
    """Everything in the store against everything that was signed, a page at each step.

    Args:
        connection: In autocommit.
        trusted: A public key that is not from the database; None where nothing was ever sealed.
        kept: A checkpoint somebody fetched earlier, opened: the tree must hold it too.

    Yields: The same findings again and again, with more in them.
    """
    findings = Findings()
    yield from _tree(connection, trusted, kept, findings)
    yield from _histories(connection, findings)


# ------------------------------------------------------------------ by position: the tree


Leaf: TypeAlias = tuple[int, bytes, bytes]
"""Position and leaf hash of an event, and the id of its stream."""


def _tree(
    connection: Connection[Any], trusted: VerifierKey | None, kept: Checkpoint | None, findings: Findings
) -> Iterator[Findings]:
    last = newest(connection)
    if last is None or trusted is None:
        return
    try:  # After the newest checkpoint was read: its key is there, even if keys are rotated meanwhile.
        keys = trusted_keys(connection, trusted)
    except Fault as fault:
        findings.add(Found("keys-changed", str(fault)))
        keys = [trusted]
    walk = _Walk(findings, _signed(connection, keys, kept, last.number, findings))
    position = 0
    for first_tile in range(0, -(-last.size // TILE_HASHES), TILES_AT_ONCE):
        rows = connection.execute(LEAVES, (first_tile, first_tile + TILES_AT_ONCE), binary=True).fetchall()
        expected = min(last.size - first_tile * TILE_HASHES, TILES_AT_ONCE * TILE_HASHES)
        sealed = _leaves(rows)[:expected]
        if len(sealed) < expected or any(len(hashes) > TILE_HASHES * HASH_BYTES for hashes, _ in rows):
            findings.add(Found("tree-changed", f"leaves from {first_tile * TILE_HASHES} on are not there", position))
            return
        _look_above(connection, first_tile, rows, findings)
        until = sealed[-1][0]
        stored = connection.execute(BETWEEN, (position, until), binary=True).fetchall()
        walk.compare(sealed, [(row[0], leaf_of(*row), row[1]) for row in stored])
        position = findings.position = until
        findings.sealed_events += len(stored)
        yield findings
    walk.end()
    _look_further_above(connection, last.size, findings)


def _leaves(rows: Sequence[tuple[Any, ...]]) -> list[tuple[int, bytes]]:
    """Positions and leaf hashes as they were kept."""
    return [
        (position, bytes(hashes[at * HASH_BYTES : (at + 1) * HASH_BYTES]))
        for hashes, positions in rows
        for at, position in enumerate(positions)
    ]


def _signed(
    connection: Connection[Any], keys: Sequence[VerifierKey], kept: Checkpoint | None, last: int, findings: Findings
) -> Iterator[Checkpoint]:
    """Every tree that was signed, smallest first; those of a past that was given up are left out and counted."""
    row = connection.execute(GIVEN_UP).fetchone()
    given_up = 0 if row is None else int(row[0])
    waiting = kept
    place: tuple[int, int] = (-1, 0)
    position = 0
    while page := [Sealed(*row) for row in connection.execute(SIGNED, (*place, last), binary=True).fetchall()]:
        for sealed in page:
            place, position = (sealed.size, sealed.number), sealed.position
            if waiting is not None and waiting.size <= sealed.size:
                yield waiting
                waiting = None
            if sealed.number <= given_up:
                findings.given_up += 1
                continue
            findings.checkpoints += 1
            try:
                yield sealed.opened(keys)
            except Fault as fault:
                findings.add(Found("checkpoint-changed", f"checkpoint {sealed.number}: {fault}", sealed.position))
    if waiting is not None:
        sentence = f"a checkpoint over {waiting.size} events is known, and the tree ends here, with {place[0]}"
        findings.add(Found("tree-cut", sentence, position))


class _Walk:
    """Along the tree from checkpoint to checkpoint, with the hashes of one stretch in hand.

    Where what is stored and what was kept differ, the signed root says which of them is right.
    """

    def __init__(self, findings: Findings, signed: Iterator[Checkpoint]) -> None:
        self._findings = findings
        self._signed = signed
        self._next = next(signed, None)
        self._frontier = Frontier()
        self._kept: list[bytes] = []
        self._stored: list[bytes] = []
        self._differing: list[Found] = []
        self._position = 0

    def compare(self, sealed: Sequence[tuple[int, bytes]], stored: Sequence[Leaf]) -> None:
        """The next leaves, as they were kept and as the stored events make them."""
        if [leaf[:2] for leaf in stored] == sealed:
            self._agree(sealed)
            return
        others = iter(stored)
        other = next(others, None)
        for position, hash_ in sealed:
            while other is not None and other[0] < position:
                self._add_stranger(other)
                other = next(others, None)
            self._kept.append(hash_)
            if other is None or other[0] != position:
                self._differ("event-missing", "an event that was sealed is not there", position, None)
            else:
                self._stored.append(other[1])
                if other[1] != hash_:
                    self._differ("event-changed", "an event is not what was sealed", position, other[2])
                other = next(others, None)
            self._position = position
            self._at_checkpoints()
        for stranger in [] if other is None else [other, *others]:
            self._add_stranger(stranger)

    def _agree(self, leaves: Sequence[tuple[int, bytes]]) -> None:
        """Leaves that are as they were kept: from one checkpoint to the next at once."""
        while leaves:
            missing = len(leaves) if self._next is None else self._next.size - self._frontier.size - len(self._kept)
            some, leaves = leaves[: max(missing, 1)], leaves[max(missing, 1) :]
            hashes = [hash_ for _, hash_ in some]
            self._kept += hashes
            self._stored += hashes
            self._position = some[-1][0]
            self._at_checkpoints()

    def end(self) -> None:
        for found in self._differing:
            self._findings.add(found)

    def _add_stranger(self, leaf: Leaf) -> None:
        self._stored.append(leaf[1])
        self._differ("event-added", "an event was put in after its place was sealed", leaf[0], leaf[2])

    def _differ(self, kind: str, sentence: str, position: int, of: bytes | None) -> None:
        self._differing.append(Found(kind, sentence, position, None if of is None else UUID(bytes=of)))

    def _at_checkpoints(self) -> None:
        """Compare roots, where so many leaves were signed."""
        while self._next is not None and self._next.size <= self._frontier.size + len(self._kept):
            if self._next.size == self._frontier.size + len(self._kept):
                self._compare_roots(self._next.root, self._next.size)
            self._next = next(self._signed, None)

    def _compare_roots(self, root: bytes, size: int) -> None:
        right = self._frontier.and_then(self._kept)
        stored = self._frontier.and_then(self._stored) if self._differing else right
        if self._differing and stored.root() == root:
            sentence = "what was kept of the tree is not what was signed"
            self._findings.add(Found("tree-changed", sentence, self._differing[0].position))
            right = stored
        else:
            for found in self._differing:
                self._findings.add(found)
            if right.root() != root:
                sentence = f"the events up to here are not those of the signed tree of {size}"
                self._findings.add(Found("root-differs", sentence, self._position))
        self._frontier, self._kept, self._stored, self._differing = right, [], [], []


def _look_above(
    connection: Connection[Any], first_tile: int, rows: Sequence[tuple[Any, ...]], findings: Findings
) -> None:
    """What stands over full tiles of leaves."""
    above = first_tile // TILE_HASHES
    found = connection.execute(UPPER, (1, above, above), binary=True).fetchall()
    hashes = bytes(found[0][1]) if found else b""
    for tile, (below, positions) in enumerate(rows, first_tile):
        at = tile % TILE_HASHES * HASH_BYTES
        if len(below) == TILE_HASHES * HASH_BYTES and over(bytes(below)) != hashes[at : at + HASH_BYTES]:
            findings.add(Found("tree-changed", "what was kept of the tree does not fit together", positions[0]))


def _look_further_above(connection: Connection[Any], size: int, findings: Findings) -> None:
    """The levels over that: a row for 65 536 events, and fewer."""
    level, count = 1, size // TILE_HASHES
    while count >= TILE_HASHES:
        above = b"".join(bytes(row[1]) for row in connection.execute(UPPER, (level + 1, 0, count), binary=True))
        for tile, hashes in connection.execute(UPPER, (level, 0, count // TILE_HASHES - 1), binary=True):
            if over(bytes(hashes)) != above[tile * HASH_BYTES : (tile + 1) * HASH_BYTES]:
                findings.add(Found("tree-changed", f"what was kept of the tree does not fit together at level {level}"))
        level, count = level + 1, count // TILE_HASHES


# ------------------------------------------------------------------ history by history: the chains


def _histories(connection: Connection[Any], findings: Findings) -> Iterator[Findings]:
    begin: UUID | None = UUID(int=0)
    while begin is not None:
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            streams = connection.execute(STREAMS, (begin, STREAMS_AT_ONCE), binary=True).fetchall()
            is_last = len(streams) < STREAMS_AT_ONCE
            end = LAST_ID if is_last else UUID(bytes=streams[-1][0])
            with connection.cursor("histories", binary=True) as cursor:
                cursor.execute(HISTORIES, (begin, end))
                _chains(cursor, {row[0]: row[1:] for row in streams}, findings)
        begin = None if is_last else UUID(int=end.int + 1)
        yield findings


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


def prev_of(state: bytes) -> str | None:
    """What an event says it follows. Written first, so it need not be parsed."""
    if state[:9] == b'{"prev":"' and state[73:75] == b'",':
        return state[9:73].decode("ascii", "replace")
    try:
        told = orjson.loads(state)
    except orjson.JSONDecodeError:
        return None
    return told.get("prev") if isinstance(told, dict) else None
