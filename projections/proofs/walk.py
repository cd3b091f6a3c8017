"""The store in the order of positions, held against the tree and the checkpoints over it.

It reads in pages, keeps a page in memory and a few hashes more, and holds no lock and no snapshot for longer than a
page: so it can run beside everything else, at once or a little at a time.
"""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias
from uuid import UUID

from psycopg import Connection

from ledger.stream import hashed
from projections.proofs.checkpoints import COLUMNS, GIVEN_UP, Sealed
from projections.proofs.findings import Findings, Found
from projections.proofs.links import Links
from projections.proofs.merkle import Frontier
from projections.proofs.sealing_keys import trusted_keys
from projections.proofs.tiles import TILE_HASHES, over
from projections.proofs.verify_statement import HASH_BYTES, Checkpoint, Fault, VerifierKey, leaf_data, leaf_hash

TILES_AT_ONCE = 8

LEAVES = """
SELECT hashes, positions FROM tree_tiles WHERE level = 0 AND tile >= %s AND tile < %s ORDER BY tile
"""
UPPER = "SELECT tile, hashes FROM tree_tiles WHERE level = %s AND tile >= %s AND tile <= %s ORDER BY tile"
BETWEEN = """
SELECT notification_id, uuid_send(originator_id), originator_version, coalesce(topic, ''), coalesce(state, '')
FROM stored_events WHERE notification_id > %s AND notification_id <= %s ORDER BY notification_id
"""
BEFORE_ALL = """
SELECT notification_id, originator_id FROM stored_events
WHERE notification_id < 1 OR notification_id IS NULL ORDER BY notification_id LIMIT 1
"""
SIGNED = f"""
SELECT {COLUMNS} FROM checkpoints
WHERE (tree_size, number) > (%s, %s) AND number <= %s ORDER BY tree_size, number LIMIT 100
"""

Leaf: TypeAlias = tuple[int, bytes]
"""Position and leaf hash of an event."""


def walk_tree(
    connection: Connection[Any],
    trusted: VerifierKey,
    kept: Checkpoint | None,
    last: Sealed,
    links: Links,
    findings: Findings,
) -> Iterator[Findings]:
    """Every event up to the newest checkpoint, a page at each step. What follows what is added to `links`."""
    try:  # After the newest checkpoint was read: its key is there, even if keys are rotated meanwhile.
        keys = trusted_keys(connection, trusted)
    except Fault as fault:
        findings.add(Found("keys-changed", str(fault)))
        keys = [trusted]
    for at, of in connection.execute(BEFORE_ALL):
        findings.add(Found("event-added", "an event was put in before the first place", at, of))
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
        walk.compare(sealed, [_leaf(links, *row) for row in stored], [row[1] for row in stored])
        position = findings.position = until
        findings.sealed_events += len(stored)
        findings.events += len(stored)
        findings.read += len(stored)
        yield findings
    walk.end()
    if position != last.position:
        sentence = f"checkpoint {last.number} is said to reach position {last.position}, its tree ends at {position}"
        findings.add(Found("checkpoint-changed", sentence, position))
    _look_further_above(connection, last.size, findings)


def _leaf(links: Links, position: int, of: bytes, version: int, name: str, state: bytes) -> Leaf:
    """As the stored event makes it. What it follows is added to `links` on the way: its digest is needed for both."""
    digest = hashed(of, version, name, state)
    links.add_event(of, version, digest, state)
    return position, leaf_hash(leaf_data(position, digest))


def _leaves(rows: Sequence[tuple[Any, ...]]) -> list[Leaf]:
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

    def compare(self, sealed: Sequence[Leaf], stored: Sequence[Leaf], owners: Sequence[bytes]) -> None:
        """The next leaves, as they were kept and as stored events make them, and whose events those are."""
        if stored == sealed:
            self._agree(sealed)
            return
        others = iter([(*leaf, of) for leaf, of in zip(stored, owners, strict=True)])
        other = next(others, None)
        for position, hash_ in sealed:
            while other is not None and other[0] < position:
                self._add_stranger(*other)
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
            self._add_stranger(*stranger)

    def _agree(self, leaves: Sequence[Leaf]) -> None:
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

    def _add_stranger(self, position: int, hash_: bytes, of: bytes) -> None:
        self._stored.append(hash_)
        self._differ("event-added", "an event was put in after its place was sealed", position, of)

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
