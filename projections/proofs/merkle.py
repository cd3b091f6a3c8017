"""The Merkle tree of RFC 6962: appended to, and proved with, from nodes that somebody keeps.

A node is named by its height and its index: node (0, 7) is the eighth leaf, node (3, 0) stands over the first eight.
Only nodes that are full are ever asked for: they never change again.
"""

from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import TypeAlias

from projections.proofs.verify_statement import node_hash

Node: TypeAlias = Callable[[int, int], bytes]
"""Gives the hash of a full node by height and index."""

EMPTY_ROOT = sha256().digest()


class Frontier:
    """The right edge of a growing tree: all that is needed to go on, one hash for each one bit of its size."""

    __slots__ = ("_edge", "size")

    def __init__(self) -> None:
        self.size = 0
        self._edge: list[bytes] = []  # The largest subtree first.

    def append(self, hash_: bytes) -> None:
        """One more leaf, by its leaf hash."""
        edge, rest = self._edge, self.size
        while rest & 1:
            hash_ = sha256(b"\x01" + edge.pop() + hash_).digest()  # Not by `node_hash`: a third faster.
            rest >>= 1
        edge.append(hash_)
        self.size += 1

    def and_then(self, hashes: Iterable[bytes]) -> "Frontier":
        """Another one that went on with these leaves."""
        grown = Frontier()
        grown.size, grown._edge = self.size, self._edge.copy()
        for hash_ in hashes:
            grown.append(hash_)
        return grown

    def root(self) -> bytes:
        """The root as it is now."""
        if not self._edge:
            return EMPTY_ROOT
        *edge, root = self._edge
        for hash_ in reversed(edge):
            root = node_hash(hash_, root)
        return root


def root(size: int, node: Node) -> bytes:
    """The root of a tree's first `size` leaves."""
    return subtree(0, size, node) if size else EMPTY_ROOT


def subtree(low: int, high: int, node: Node) -> bytes:
    """What stands over the leaves from `low` up to before `high`, of which there is at least one."""
    count = high - low
    if count & (count - 1) == 0 and low % count == 0:
        return node(count.bit_length() - 1, low // count)
    middle = low + _left(count)
    return node_hash(subtree(low, middle, node), subtree(middle, high, node))


def inclusion_proof(index: int, size: int, node: Node) -> list[bytes]:
    """What leads from a leaf to the root of the tree's first `size` leaves, nearest first.

    Source: RFC 6962, section 2.1.1.
    """
    assert 0 <= index < size
    low, high, proof = 0, size, []
    while high - low > 1:
        middle = low + _left(high - low)
        if index < middle:
            proof.append(subtree(middle, high, node))
            high = middle
        else:
            proof.append(subtree(low, middle, node))
            low = middle
    return proof[::-1]


def consistency_proof(old: int, new: int, node: Node) -> list[bytes]:
    """That the first `new` leaves begin with the first `old`.

    Source: RFC 6962, section 2.1.2.
    """
    assert 0 <= old <= new
    if old in (0, new):
        return []
    low, high, proof = 0, new, []
    is_whole = True  # Whether the part that is looked at is, so far, the old tree itself: known without being told.
    while old != high:
        middle = low + _left(high - low)
        if old <= middle:
            proof.append(subtree(middle, high, node))
            high = middle
        else:
            proof.append(subtree(low, middle, node))
            low, is_whole = middle, False
    if not is_whole:
        proof.append(subtree(low, high, node))
    return proof[::-1]


def _left(count: int) -> int:
    """How many of so many leaves stand on the left: the largest power of two that is less."""
    return 1 << ((count - 1).bit_length() - 1)
