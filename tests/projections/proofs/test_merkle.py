"""The tree, held against the certificate-transparency vectors and against RFC 6962's definition, word by word."""

from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st

from projections.proofs.merkle import EMPTY_ROOT, Frontier, consistency_proof, inclusion_proof, root
from projections.proofs.verify_statement import (
    Fault,
    Kind,
    leaf_hash,
    node_hash,
    root_from_inclusion,
    verify_consistency,
)

# From certificate-transparency, cpp/merkletree/merkle_tree_test.cc and merkle_verifier_test.cc.
LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
INCLUSION: dict[tuple[int, int], tuple[str, ...]] = {
    (0, 1): (),
    (0, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (5, 8): (
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 3): ("fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",),
    (1, 5): (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ),
}
CONSISTENCY: dict[tuple[int, int], tuple[str, ...]] = {
    (1, 1): (),
    (1, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (6, 8): (
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 5): (
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ),
}

SIZES = st.integers(1, 70)


class Naive:
    """A tree that keeps its leaves, and nothing else: MTH of RFC 6962, section 2.1, as it stands there."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.hashes = [leaf_hash(leaf) for leaf in leaves]

    def node(self, height: int, index: int) -> bytes:
        width = 1 << height
        assert (index + 1) * width <= len(self.hashes), "only full nodes are asked for"
        return self.over(self.hashes[index * width : (index + 1) * width])

    def root(self, size: int) -> bytes:
        return self.over(self.hashes[:size])

    def over(self, hashes: Sequence[bytes]) -> bytes:
        if not hashes:
            return sha256().digest()
        if len(hashes) == 1:
            return hashes[0]
        k = 1
        while 2 * k < len(hashes):
            k *= 2
        return node_hash(self.over(hashes[:k]), self.over(hashes[k:]))


def numbered(count: int) -> Naive:
    return Naive([str(n).encode() for n in range(count)])


def test_roots_of_every_size_are_the_published_ones() -> None:
    tree, frontier = Naive(LEAVES), Frontier()
    for size, published in enumerate(ROOTS):
        assert root(size, tree.node).hex() == published == frontier.root().hex()
        if size < len(LEAVES):
            frontier.append(leaf_hash(LEAVES[size]))
    assert EMPTY_ROOT.hex() == ROOTS[0]


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_inclusion_proofs_are_the_published_ones(index: int, size: int) -> None:
    proof = inclusion_proof(index, size, Naive(LEAVES).node)
    assert tuple(hash_.hex() for hash_ in proof) == INCLUSION[index, size]
    assert root_from_inclusion(index, size, leaf_hash(LEAVES[index]), proof).hex() == ROOTS[size]


@pytest.mark.parametrize(("old", "new"), CONSISTENCY)
def test_consistency_proofs_are_the_published_ones(old: int, new: int) -> None:
    proof = consistency_proof(old, new, Naive(LEAVES).node)
    assert tuple(hash_.hex() for hash_ in proof) == CONSISTENCY[old, new]
    verify_consistency(old, new, bytes.fromhex(ROOTS[old]), bytes.fromhex(ROOTS[new]), proof)


@hypothesis_given(SIZES)
def test_appending_one_by_one_comes_to_the_same_root(size: int) -> None:
    tree, frontier = numbered(size), Frontier()
    for hash_ in tree.hashes:
        frontier.append(hash_)
    assert frontier.root() == tree.root(size) == root(size, tree.node)


@hypothesis_given(st.data(), SIZES)
def test_every_leaf_is_proved_where_it_is_and_nowhere_else(data: st.DataObject, size: int) -> None:
    tree = numbered(size)
    index, other = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, size, tree.node)
    assert len(proof) <= (size - 1).bit_length()
    assert root_from_inclusion(index, size, tree.hashes[index], proof) == tree.root(size)
    if other != index:
        assert not leads_to(tree.root(size), other, size, tree.hashes[index], proof)
        assert not leads_to(tree.root(size), index, size, tree.hashes[other], proof)


@hypothesis_given(st.data(), SIZES)
def test_a_proof_with_one_hash_more_less_or_changed_proves_nothing(data: st.DataObject, size: int) -> None:
    tree = numbered(size)
    index = data.draw(st.integers(0, size - 1))
    proof, leaf, told = inclusion_proof(index, size, tree.node), tree.hashes[index], tree.root(size)
    assert not leads_to(told, index, size, leaf, [*proof, bytes(32)])
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        assert not leads_to(told, index, size, leaf, proof[:at] + proof[at + 1 :])
        assert not leads_to(told, index, size, leaf, [*proof[:at], sha256(proof[at]).digest(), *proof[at + 1 :]])


@hypothesis_given(st.data(), SIZES)
def test_a_tree_is_proved_to_go_on_from_each_smaller_one(data: st.DataObject, new: int) -> None:
    tree = numbered(new)
    old = data.draw(st.integers(0, new))
    proof = consistency_proof(old, new, tree.node)
    verify_consistency(old, new, tree.root(old), tree.root(new), proof)
    for wrong in ([*proof, bytes(32)], proof[:-1]):
        if wrong != proof:
            with pytest.raises(Fault):
                verify_consistency(old, new, tree.root(old), tree.root(new), wrong)


@hypothesis_given(st.data(), SIZES)
def test_a_tree_with_another_past_is_not_proved_to_go_on(data: st.DataObject, new: int) -> None:
    tree = numbered(new)
    old = data.draw(st.integers(1, new))
    changed = data.draw(st.integers(0, old - 1))
    before = Naive([b"changed" if n == changed else str(n).encode() for n in range(old)])
    with pytest.raises(Fault) as raised:
        verify_consistency(old, new, before.root(old), tree.root(new), consistency_proof(old, new, tree.node))
    assert raised.value.kind is Kind.INCONSISTENT


def test_a_smaller_tree_never_goes_on_from_a_larger_one() -> None:
    tree = numbered(8)
    with pytest.raises(Fault):
        verify_consistency(8, 6, tree.root(8), tree.root(6), [])


def test_a_tree_is_not_proved_under_another_size() -> None:
    tree = numbered(2)
    with pytest.raises(Fault):
        verify_consistency(1, 3, tree.root(1), tree.root(2), consistency_proof(1, 2, tree.node))


def test_an_inner_node_is_no_leaf() -> None:
    tree = numbered(2)
    assert leaf_hash(tree.hashes[0] + tree.hashes[1]) != tree.root(2)


def leads_to(told: bytes, index: int, size: int, leaf: bytes, proof: list[bytes]) -> bool:
    try:
        return root_from_inclusion(index, size, leaf, proof) == told
    except Fault:
        return False
