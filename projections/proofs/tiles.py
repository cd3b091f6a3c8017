"""Table tree_tiles: the tree's hashes, 256 neighbours to a row, so that a proof of any length reads a few rows.

Level 0 holds leaf hashes, with the positions of their events; each level above holds what stands over the full tiles
of the one below. What stands in between is worked out when it is asked for.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from psycopg import Connection

from ledger.stream import hashed
from projections.proofs.merkle import Node
from projections.proofs.verify_statement import HASH_BYTES, leaf_data, leaf_hash, node_hash
from projections.table import Queries

HEIGHT = 8
TILE_HASHES = 1 << HEIGHT

Place: TypeAlias = tuple[int, int]
"""Level and number of a tile."""

TILES = """
SELECT t.level, t.tile, t.hashes FROM tree_tiles t
JOIN unnest(%s::smallint[], %s::bigint[]) AS w (level, tile) ON t.level = w.level AND t.tile = w.tile
"""
TILE_OF_POSITION = """
SELECT tile, hashes, positions FROM tree_tiles
WHERE level = 0 AND positions[1] <= %s ORDER BY positions[1] DESC LIMIT 1
"""
ADD = """
INSERT INTO tree_tiles AS t (level, tile, hashes, positions)
SELECT w.level, w.tile, w.hashes, CASE WHEN w.level = 0 THEN w.positions::bigint[] END
FROM unnest(%s::smallint[], %s::bigint[], %s::bytea[], %s::text[]) AS w (level, tile, hashes, positions)
ON CONFLICT (level, tile) DO UPDATE
    SET hashes = t.hashes || excluded.hashes, positions = t.positions || excluded.positions
"""


def leaf_of(position: int, of: bytes, version: int, name: str, state: bytes) -> bytes:
    """The leaf hash of an event: over its position, and its digest, which covers everything else that is stored.

    `of` is the id of its stream, in 16 bytes.
    """
    return leaf_hash(leaf_data(position, hashed(of, version, name, state)))


def node_of(tile: Callable[[int, int], bytes]) -> Node:
    """The tree's nodes, out of its tiles."""

    def node(height: int, index: int) -> bytes:
        level, above = divmod(height, HEIGHT)
        first = index << above
        begin = first % TILE_HASHES * HASH_BYTES
        hashes = tile(level, first // TILE_HASHES)[begin : begin + (HASH_BYTES << above)]
        if len(hashes) != HASH_BYTES << above:
            raise TilesIncomplete(f"the tree has no node {index} at height {height}")
        return over(hashes)

    return node


class TilesIncomplete(Exception):
    """The table has fewer hashes than the tree it belongs to."""


def over(hashes: bytes) -> bytes:
    """What stands over neighbouring hashes, a power of two of them."""
    row = [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
    while len(row) > 1:
        row = [node_hash(left, right) for left, right in zip(row[::2], row[1::2], strict=True)]
    return row[0]


def wanted(ask: Callable[[Node], object]) -> set[Place]:
    """Which tiles a proof will need. What is asked for depends on sizes and indexes only, never on a hash."""
    places: set[Place] = set()

    def node(height: int, index: int) -> bytes:
        level, above = divmod(height, HEIGHT)
        places.add((level, (index << above) // TILE_HASHES))
        return bytes(HASH_BYTES)

    ask(node)
    return places


def as_columns(places: Iterable[Place]) -> tuple[list[int], list[int]]:
    """For `TILES`."""
    listed = list(places)
    return [level for level, _ in listed], [tile for _, tile in listed]


async def read_node(queries: Queries, places: Iterable[Place]) -> Node:
    """The tree's nodes, out of these tiles: see `wanted`."""
    return node_of(tiles_of(await queries.rows(TILES, as_columns(places))))


class GrowingTree:
    """The tree while it is appended to: tiles as they were read, and what was added since `write`."""

    def __init__(self, connection: Connection[Any], size: int) -> None:
        self.size = size
        self._connection = connection
        self._tiles: dict[Place, bytes] = {}
        self._added: dict[Place, bytes] = {}
        self._positions: dict[int, list[int]] = {}

    def append(self, position: int, leaf: bytes) -> None:
        """One more leaf, by its leaf hash."""
        self._positions.setdefault(self.size // TILE_HASHES, []).append(position)
        level, index, hash_ = 0, self.size, leaf
        self.size += 1
        while True:
            place = level, index // TILE_HASHES
            before = self._tile(*place) if index % TILE_HASHES else b""
            self._tiles[place] = before + hash_
            self._added[place] = self._added.get(place, b"") + hash_
            if (index + 1) % TILE_HASHES:
                return
            level, index, hash_ = level + 1, index // TILE_HASHES, over(self._tiles[place])

    @property
    def node(self) -> Node:
        return node_of(self._tile)

    def write(self) -> None:
        """Write what was added, within the caller's transaction."""
        places = list(self._added)
        positions = [
            "{" + ",".join(map(str, self._positions.get(tile, ()) if level == 0 else ())) + "}"
            for level, tile in places
        ]
        self._connection.execute(ADD, (*as_columns(places), [self._added[place] for place in places], positions))
        self._added, self._positions = {}, {}
        edge = {(level, (self.size >> HEIGHT * level) // TILE_HASHES) for level, _ in self._tiles}
        self._tiles = {place: hashes for place, hashes in self._tiles.items() if place in edge}

    def _tile(self, level: int, tile: int) -> bytes:
        place = level, tile
        if place not in self._tiles:
            rows = self._connection.execute(TILES, as_columns([place]), binary=True).fetchall()
            self._tiles[place] = bytes(rows[0][2]) if rows else b""
        return self._tiles[place]


def tiles_of(rows: Sequence[tuple[Any, ...]]) -> Callable[[int, int], bytes]:
    """The rows of `TILES` as `node_of` wants them. One that is not there is empty."""
    found = {(level, tile): bytes(hashes) for level, tile, hashes in rows}
    return lambda level, tile: found.get((level, tile), b"")
