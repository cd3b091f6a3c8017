"""The kept tree: whatever size it has, its tiles prove what the tree itself would."""

from hashlib import sha256

import psycopg
import pytest

from projections.proofs.findings import Findings
from projections.proofs.merkle import Frontier, consistency_proof, inclusion_proof, root
from projections.proofs.tiles import TILES, GrowingTree, TilesIncomplete, as_columns, node_of, tiles_of, wanted
from projections.proofs.verify_statement import root_from_inclusion, verify_consistency
from projections.proofs.walk import _look_further_above

SIZE = 256 * 256 + 300  # Three levels of tiles.


@pytest.fixture(scope="module")
def leaves() -> list[bytes]:
    return [sha256(str(n).encode()).digest() for n in range(SIZE)]


def test_three_levels_of_tiles_are_the_tree(database_url: str, leaves: list[bytes]) -> None:
    frontier, roots = Frontier(), {}
    with psycopg.connect(database_url, autocommit=True) as connection:
        written = 0
        for until in (1, 255, 256, 257, 1000, 65_535, 65_536, 65_537, SIZE):
            tree = GrowingTree(connection, written)  # Each time as after a restart.
            for n in range(written, until):
                tree.append(2 * n + 1, leaves[n])
                frontier.append(leaves[n])
            roots[until] = frontier.root()
            assert root(until, tree.node) == roots[until]
            if written:
                proof = consistency_proof(written, until, tree.node)
                verify_consistency(written, until, roots[written], roots[until], proof)
            tree.write()
            assert root(until, tree.node) == roots[until]
            written = until
        for index in (0, 1, 255, 256, 40_000, 65_535, 65_536, SIZE - 1):
            places = wanted(lambda node, index=index: inclusion_proof(index, SIZE, node))
            assert len(places) <= 8
            node = node_of(tiles_of(connection.execute(TILES, as_columns(places), binary=True).fetchall()))
            proof = inclusion_proof(index, SIZE, node)
            assert root_from_inclusion(index, SIZE, leaves[index], proof) == roots[SIZE]
        findings = Findings()
        _look_further_above(connection, SIZE, findings)
        assert findings.first == {}
        connection.execute("UPDATE tree_tiles SET hashes = sha256(hashes) WHERE level = 2")
        _look_further_above(connection, SIZE, findings)
        assert set(findings.first) == {"tree-changed"}
        row = connection.execute("SELECT positions FROM tree_tiles WHERE level = 0 AND tile = 1").fetchone()
        assert row is not None and row[0] == [2 * n + 1 for n in range(256, 512)]


def test_a_tree_that_lost_a_tile_proves_nothing(database_url: str, leaves: list[bytes]) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        tree = GrowingTree(connection, 0)
        for n in range(600):
            tree.append(n + 1, leaves[n])
        tree.write()
        connection.execute("DELETE FROM tree_tiles WHERE level = 0 AND tile = 1")
        with pytest.raises(TilesIncomplete):
            inclusion_proof(300, 600, GrowingTree(connection, 600).node)
