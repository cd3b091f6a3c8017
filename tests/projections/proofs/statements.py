"""A statement with nothing random in it, and what somebody could make of it.

`python -m tests.projections.proofs.statements` prints it into the guide for auditors.
"""

import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from ledger.stream import NAME_OF, digest, encode, first_prev
from projections.proofs.merkle import inclusion_proof, root
from projections.proofs.notes import SigningKey, sign
from projections.proofs.sealing_keys import key_text
from projections.proofs.verify_statement import (
    FORMAT,
    Checkpoint,
    Signed,
    VerifierKey,
    leaf_data,
    leaf_hash,
    node_hash,
)
from tests.examples import CARD_ID, DAY, ENROLLED, MONDAY, REDEEMED, STAMPED, envelope

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "auditing.md"
BEGIN, END = "<!-- statement -->", "<!-- /statement -->"

ORIGIN = "shop.example/ledger"
KEY = SigningKey(ORIGIN, sha256(b"the printed key").digest())
NEXT_KEY = SigningKey(ORIGIN, sha256(b"the one after it").digest())
STRANGER = SigningKey(ORIGIN, sha256(b"somebody else's").digest())
NOW = datetime(2026, 3, 4, 9, tzinfo=UTC)
POSITIONS = (3, 4, 7, 8)  # What else happened in the shop stands in between.
EVENTS = (
    ENROLLED,
    replace(STAMPED, stamps=6, stamps_after=6),
    replace(STAMPED, at=MONDAY + DAY, stamps=5, stamps_after=11),
    replace(REDEEMED, at=MONDAY + DAY, stamps_spent=10, points_spent=0, stamps_after=1, points_after=0),
)


def history(events: Sequence[Any] = EVENTS) -> list[tuple[str, bytes]]:
    """Names and bytes of a card's events, each following the one before."""
    told: list[tuple[str, bytes]] = []
    prev = first_prev(CARD_ID)
    for version, event in enumerate(events, 1):
        name = NAME_OF[type(event)]
        state = encode(event, envelope("card"), prev)
        prev = digest(CARD_ID, version, name, state)
        told.append((name, state))
    return told


@dataclass(frozen=True)
class Tree:
    """All leaves of a small ledger."""

    leaves: tuple[bytes, ...]

    def node(self, height: int, index: int) -> bytes:
        if height == 0:
            return self.leaves[index]
        return node_hash(self.node(height - 1, 2 * index), self.node(height - 1, 2 * index + 1))

    @property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint(ORIGIN, len(self.leaves), root(len(self.leaves), self.node))


def tree_of(told: Sequence[tuple[str, bytes]], size: int = 9, positions: Sequence[int] = POSITIONS) -> Tree:
    """The card's events at their positions, and something else at all others."""
    hashes = {
        position: bytes.fromhex(digest(CARD_ID, version, *told[version - 1]))
        for version, position in enumerate(positions[: len(told)], 1)
    }
    every = range(1, size + 1)
    return Tree(tuple(leaf_hash(leaf_data(n, hashes.get(n, sha256(str(n).encode()).digest()))) for n in every))


def key_notes(*keys: SigningKey) -> list[str]:
    notes, before = [], None
    for key in keys:
        text = key_text(key.verifier, before.verifier if before else None, 0, MONDAY)
        notes.append(sign(text, *([before] if before else []), key))
        before = key
    return notes


def made(
    told: Sequence[tuple[str, bytes]] | None = None,
    *,
    tree: Tree | None = None,
    positions: Sequence[int] = POSITIONS,
    key: SigningKey = KEY,
    keys: Sequence[SigningKey] = (KEY,),
) -> dict[str, Any]:
    """The statement as an honest service makes it, over these events and in this tree."""
    told = history() if told is None else told
    tree = tree_of(told, positions=positions) if tree is None else tree
    size = len(tree.leaves)
    events = [event(told, version, position, tree) for version, position in enumerate(positions[: len(told)], 1)]
    signed = Signed(
        card_id=str(CARD_ID),
        version=len(events),
        head=bytes.fromhex(events[-1]["hash"]),
        sealed=sum(one["index"] is not None for one in events),
        tree=f"{size} {b64encode(tree.checkpoint.root).decode()}",
        at=NOW.isoformat(),
    )
    return {
        "format": FORMAT,
        "card_id": str(CARD_ID),
        "events": events,
        "checkpoint": sign(str(tree.checkpoint), key),
        "statement": sign(str(signed), key),
        "keys": key_notes(*keys),
    }


def event(told: Sequence[tuple[str, bytes]], version: int, position: int, tree: Tree) -> dict[str, Any]:
    name, state = told[version - 1]
    size = len(tree.leaves)
    proof = inclusion_proof(position - 1, size, tree.node) if position <= size else []
    return {
        "position": position,
        "version": version,
        "name": name,
        "state": b64encode(state).decode(),
        "hash": digest(CARD_ID, version, name, state),
        "index": position - 1 if position <= size else None,
        "proof": [b64encode(hash_).decode() for hash_ in proof],
    }


def public_key() -> VerifierKey:
    return KEY.verifier


def printed() -> str:
    """What stands in the guide between its markers."""
    return f"```json\n{json.dumps(made(), indent=1, ensure_ascii=False)}\n```"


if __name__ == "__main__":
    before, _, rest = GUIDE.read_text(encoding="utf-8").partition(BEGIN)
    GUIDE.write_text(f"{before}{BEGIN}\n{printed()}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
