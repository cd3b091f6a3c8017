"""A card's history as it stands in the store, row by row, with what speaks against each row.

Bytes that somebody changed are shown as they are: a row that can no longer be read is told as such, and is no error.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeAlias
from uuid import UUID

import msgspec
import orjson

from ledger.errors import CardNotFound
from ledger.reader import Reader
from ledger.stream import Recorded, Stored, decode, digest, first_prev
from projections.proofs.sealing_keys import read_key
from projections.proofs.statement import EVENTS_MAX, statement
from projections.proofs.verify_statement import (
    Checkpoint,
    Event,
    Fault,
    Statement,
    Verified,
    VerifierKey,
    leaf_data,
    leaf_hash,
    open_note,
    root_from_inclusion,
    verify,
    verify_keys,
)

Doubt: TypeAlias = Literal["changed", "unlinked", "missing", "added"]

STATE = "SELECT version, encode(head, 'hex') FROM streams WHERE stream_id = %s"
EVENTS = """
SELECT notification_id, originator_version, topic, state FROM stored_events
WHERE originator_id = %s ORDER BY originator_version LIMIT %s
"""
ONE_MOMENT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"


@dataclass(frozen=True, slots=True)
class Row:
    """A stored event. `prev` and `recorded` are None where the bytes do not say it any more."""

    position: int
    version: int
    name: str
    digest: str
    prev: str | None
    recorded: Recorded | None


@dataclass(frozen=True, slots=True)
class History:
    """Everything stored of a card at one moment, oldest first, beside version and head of its state row."""

    card_id: UUID
    rows: Sequence[Row]
    version: int
    head: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What the verifier said of the card's statement, and which versions do not hold."""

    doubts: Mapping[int, Doubt]
    verified: Verified | None
    fault: Fault | None

    @property
    def holds(self) -> bool:
        return self.fault is None and not self.doubts


async def read_history(reader: Reader, card_id: UUID) -> History:
    """A card's history, with at most as many events as a statement may hold.

    Raises:
        CardNotFound: There is no such stream.
        StoreAway: The database is away. Asking again is safe.
    """
    async with reader.connection() as connection, connection.transaction():
        await connection.execute(ONE_MOMENT)
        state = await (await connection.execute(STATE, (card_id,))).fetchone()
        stored = await (await connection.execute(EVENTS, (card_id, EVENTS_MAX), binary=True)).fetchall()
    if state is None:
        raise CardNotFound
    rows = await asyncio.to_thread(lambda: [_row(card_id, *one) for one in stored])
    return History(card_id, rows, *state)


def _row(card_id: UUID, position: int, version: int, name: str, state: bytes) -> Row:
    try:
        recorded = decode(Stored(card_id, version, name, state, position))
    except (KeyError, ValueError, TypeError, msgspec.MsgspecError):
        return Row(position, version, name, digest(card_id, version, name, state), _prev(state), None)
    return Row(position, version, name, recorded.digest, recorded.prev, recorded)


def _prev(state: bytes) -> str | None:
    try:
        told = orjson.loads(state)
    except orjson.JSONDecodeError:
        return None
    prev = told.get("prev") if isinstance(told, dict) else None
    return prev if isinstance(prev, str) else None


def doubts(history: History, in_tree: Mapping[int, bool] | None = None) -> dict[int, Doubt]:
    """The versions that do not hold, lowest first; empty where everything fits together.

    Each is judged by the best witness there is: the signed tree where it was sealed, else the event after it, which
    names its hash, and for the newest one the state row.

    Args:
        in_tree: By version, whether the event as it stands is in the signed tree; versions that were not sealed, or
            all of them, are left out.
    """
    sealed, there, found = in_tree or {}, {row.version: row for row in history.rows}, dict[int, Doubt]()
    for version in range(max(history.version, *there, 0), 0, -1):
        row = there.get(version)
        if row is None:
            found[version] = "missing"
        elif version > history.version:
            found[version] = "added"
        elif not sealed.get(version, _is_as_witnessed(row, history, there, found)):
            found[version] = "changed"
    before: str | None = first_prev(history.card_id)
    for version in sorted(there):
        row = there[version]
        if version not in found and before is not None and row.prev != before:
            found[version] = "unlinked"
        before = None if version in found else row.digest
    return dict(sorted(found.items()))


def _is_as_witnessed(row: Row, history: History, there: Mapping[int, Row], found: Mapping[int, Doubt]) -> bool:
    """True also where the only witness does not hold itself."""
    if row.version == history.version:
        return row.digest == history.head
    following = there.get(row.version + 1)
    return following is None or row.version + 1 in found or following.prev == row.digest


async def verify_card(reader: Reader, key_file: Path, history: History, now: datetime) -> Checked:
    """The card's statement made and verified as `loyalty-ledger verify` does, by the key kept outside the database.

    Raises:
        SealingRefused: Nothing was sealed yet, or there is no key to verify with.
        StoreAway: Safe to ask again.
    """
    told = await statement(reader, key_file, history.card_id, now)
    return await asyncio.to_thread(_checked, orjson.dumps(told), read_key(key_file).verifier, history)


def _checked(raw: bytes, trusted: VerifierKey, history: History) -> Checked:
    try:
        return Checked(doubts(history), verify(raw, trusted), None)
    except Fault as fault:
        return Checked(doubts(history, _in_tree(Statement.parse(raw), trusted)), None, fault)


def _in_tree(stated: Statement, trusted: VerifierKey) -> dict[int, bool]:
    """Empty where what was signed cannot be trusted itself."""
    try:
        checkpoint = Checkpoint.parse(open_note(stated.checkpoint, verify_keys(stated.keys, trusted))[0])
    except Fault:
        return {}
    return {event.version: _is_in(event, checkpoint) for event in stated.events if event.index is not None}


def _is_in(event: Event, checkpoint: Checkpoint) -> bool:
    assert event.index is not None
    leaf = leaf_hash(leaf_data(event.position, event.hash))
    try:
        return root_from_inclusion(event.index, checkpoint.size, leaf, event.proof) == checkpoint.root
    except Fault:
        return False
