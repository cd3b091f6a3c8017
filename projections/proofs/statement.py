"""A card's statement: its events as they are stored, with everything that proves them, in one JSON document.

What it says is signed when it is asked for: a proof of inclusion shows that an event is there, and only a signature can
say that there is no other one after it.
"""

import asyncio
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from ledger.errors import InvalidValue
from ledger.stream import digest
from projections.proofs.checkpoints import Sealed, read_newest
from projections.proofs.merkle import Node, inclusion_proof
from projections.proofs.notes import SigningKey, sign
from projections.proofs.sealing_keys import RecordedKey, SealingRefused, read_key, read_recorded
from projections.proofs.tiles import TILE_HASHES, read_node, wanted
from projections.proofs.verify_statement import FORMAT, Signed
from projections.table import Queries

EVENTS_MAX = 20_000  # A card that is stamped five times a day has that many after ten years.
PROVED_AT_ONCE = 200  # Each may need a tile of its own, 8 kB.

EVENTS = """
SELECT notification_id, originator_version, topic, state FROM stored_events
WHERE originator_id = %s ORDER BY originator_version LIMIT %s
"""
# Where in the tree each position stands: the tile that begins before it, and its place there.
INDEXES = """
SELECT w.position, t.tile, array_position(t.positions, w.position)
FROM unnest(%s::bigint[]) AS w (position) CROSS JOIN LATERAL (
    SELECT tile, positions FROM tree_tiles
    WHERE level = 0 AND positions[1] <= w.position ORDER BY positions[1] DESC LIMIT 1
) AS t
"""

Row = tuple[int, int, str, bytes]


async def statement(queries: Queries, key_file: Path, card_id: UUID, now: datetime) -> dict[str, Any]:
    """The statement of a card that exists, ready to be written as JSON.

    Raises:
        SealingRefused: Nothing was sealed yet, or there is no key to sign with here.
        InvalidValue: The card has more events than a statement may hold.
        StoreAway: Safe to ask again.
    """
    recorded, sealed = await read_recorded(queries), await read_newest(queries)
    if sealed is None:
        raise SealingRefused("nothing was sealed yet")
    key = await asyncio.to_thread(_key, key_file, recorded)
    rows: Sequence[Any] = await queries.rows(EVENTS, (card_id, EVENTS_MAX + 1))
    if len(rows) > EVENTS_MAX:
        raise InvalidValue(field="card_id", why=f"has more than {EVENTS_MAX} events, too many for one statement")
    events: list[dict[str, Any]] = []
    for first in range(0, len(rows), PROVED_AT_ONCE):
        events += await _proved(queries, card_id, rows[first : first + PROVED_AT_ONCE], sealed)
    signed = Signed(
        card_id=str(card_id),
        version=len(events),
        head=bytes.fromhex(events[-1]["hash"]),
        sealed=sum(event["index"] is not None for event in events),
        tree=f"{sealed.size} {b64encode(sealed.root).decode()}",
        at=now.isoformat(timespec="seconds"),
    )
    return {
        "format": FORMAT,
        "card_id": str(card_id),
        "events": events,
        "checkpoint": sealed.note,
        "statement": sign(str(signed), key),
        "keys": [one.note for one in recorded],
    }


def _key(file: Path, recorded: Sequence[RecordedKey]) -> SigningKey:
    """The key to sign with; during a rotation either will do, as both lead to the other."""
    key = read_key(file)
    if str(key.verifier) not in {one.verifier_key for one in recorded}:
        raise SealingRefused(f"the key in {file} was never recorded")
    return key


async def _proved(queries: Queries, card_id: UUID, rows: Sequence[Row], sealed: Sealed) -> list[dict[str, Any]]:
    """Some of the events, each with the proof that it is in the tree, if it is."""
    found = await queries.rows(INDEXES, ([row[0] for row in rows],))
    places = {position: tile * TILE_HASHES + at - 1 for position, tile, at in found if at is not None}
    indexes = {position: index for position, index in places.items() if index < sealed.size}

    def prove_all(node: Node) -> dict[int, list[bytes]]:
        return {position: inclusion_proof(index, sealed.size, node) for position, index in indexes.items()}

    node = await read_node(queries, wanted(prove_all))
    proofs = await asyncio.to_thread(prove_all, node)
    return [
        {
            "position": position,
            "version": version,
            "name": name,
            "state": b64encode(state).decode(),
            "hash": digest(card_id, version, name, state),
            "index": indexes.get(position),
            "proof": [b64encode(hash_).decode() for hash_ in proofs.get(position, ())],
        }
        for position, version, name, state in rows
    ]
