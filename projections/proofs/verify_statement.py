"""Verifies a card's statement. Copy this one file anywhere: it needs Python 3.9 and the package `cryptography`.

It knows nothing of the service that made the statement, and shares no code with what records events. The service
uses the functions of this file to check itself.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

HASH_BYTES = 32
ED25519 = b"\x01"
EM_DASH_SPACE = "\u2014 "
SIGNATURES_MAX = 64
NOTE_CHARACTERS_MAX = 100_000
KEY_TITLE = "loyalty-ledger sealing key"
STATEMENT_TITLE = "loyalty-ledger statement"
FORMAT = "loyalty-ledger statement 1"
FILE_BYTES_MAX = 256_000_000
DEPTH_MAX = 32
NUMBER_MAX = 2**63 - 1
KEYS_MAX = 1_000
SIZE_DIGITS_MAX = 18


class Kind(IntEnum):
    """What can be wrong, by exit code."""

    UNREADABLE = 3  # The file, or the file of a key.
    NOT_TEXT = 10  # Not UTF-8.
    NOT_JSON = 11
    DUPLICATE_KEY = 12  # Two readers would read two statements.
    NUMBER = 13  # NaN, an infinity, a fraction, or a number nobody counts to.
    TOO_DEEP = 14
    TRUNCATED = 15  # The file ends too early.
    SHAPE = 16  # JSON, and no statement.
    TOO_LARGE = 17
    WRONG_KEY = 20  # Nothing leads from the trusted key to what signed it.
    KEY_CHAIN = 21  # A key is not signed by itself and by the one before.
    CHECKPOINT = 22
    SIGNATURE = 23  # Of the statement itself.
    OTHER_CARD = 24
    REPLAYED = 25  # The checkpoint is not the one the statement was signed with.
    PAYLOAD = 30  # The bytes of an event are not those its hash is of.
    ORDER = 31
    MISSING = 32  # An event is not there, and later ones are.
    CHAIN = 33  # An event does not follow the one before it.
    TAIL = 34  # There are fewer events than were signed, or more.
    INCLUSION = 35  # An event is not in the signed tree: the history was written anew.
    BALANCE = 40  # The events do not add up to the balances they state.
    OLDER = 50  # The checkpoint is older than one that was kept.
    INCONSISTENT = 51  # The checkpoint does not go on from one that was kept.


class Fault(Exception):
    """What is wrong, in a sentence."""

    def __init__(self, kind: Kind, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


# ------------------------------------------------------------------ the tree: RFC 6962, section 2.1


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def leaf_data(position: int, digest: bytes) -> bytes:
    """What an event is in the tree: its position, 8 bytes big-endian, and its digest, which covers all the rest."""
    return position.to_bytes(8, "big") + digest


def root_from_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes]) -> bytes:
    """The root of a tree of that size that has this leaf hash there.

    Raises: Fault(INCLUSION) where the proof does not have the length it must have.

    Source: RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < size:
        raise Fault(Kind.INCLUSION, f"leaf {index} is not in a tree of {size}")
    node, last, root = index, size - 1, leaf
    for hash_ in proof:
        if last == 0:
            raise Fault(Kind.INCLUSION, "the inclusion proof is too long")
        if node & 1 or node == last:
            root = node_hash(hash_, root)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            root = node_hash(root, hash_)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise Fault(Kind.INCLUSION, "the inclusion proof is too short")
    return root


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """That the larger tree begins with all leaves of the smaller one, in order.

    Raises: Fault(INCONSISTENT).

    Source: RFC 9162, section 2.1.4.2.
    """
    wrong = Fault(Kind.INCONSISTENT, f"the tree of {new} does not go on from the tree of {old}")
    if not 0 <= old <= new:
        raise wrong
    if old in (0, new):
        if proof or (old == new and old_root != new_root) or (old == 0 and old_root != hashlib.sha256().digest()):
            raise wrong
        return
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    hashes = list(proof)
    if node == 0:  # The smaller tree is a whole subtree of the larger one, which whoever verifies knows already.
        hashes.insert(0, old_root)
    if not hashes:
        raise wrong
    first = second = hashes[0]
    for hash_ in hashes[1:]:
        if last == 0:
            raise wrong
        if node & 1 or node == last:
            first, second = node_hash(hash_, first), node_hash(hash_, second)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            second = node_hash(second, hash_)
        node, last = node >> 1, last >> 1
    if last != 0 or first != old_root or second != new_root:
        raise wrong


# ------------------------------------------------------------------ signed notes: C2SP signed-note, tlog-checkpoint


@dataclass(frozen=True)
class VerifierKey:
    """A public key with its name, as `name+id+base64`."""

    name: str
    public: bytes

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Raises: Fault(WRONG_KEY) where the text is no Ed25519 verifier key, or its id is another key's."""
        wrong = Fault(Kind.WRONG_KEY, "this is not a public key of the form name+id+base64")
        parts = text.strip().split("+", 2)
        if len(parts) != 3:
            raise wrong
        name, id_, encoded = parts
        raw = canonical_base64(encoded)
        if raw is None or len(raw) != 1 + HASH_BYTES or raw[:1] != ED25519 or not is_key_name(name):
            raise wrong
        key = cls(name, raw[1:])
        if id_ != key.id.hex():
            raise wrong
        return key

    @property
    def id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{b64encode(ED25519 + self.public).decode()}"

    def has_signed(self, text: str, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True


def is_key_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(c.isspace() or c < " " for c in name)


def canonical_base64(text: str) -> bytes | None:
    """The bytes; None where this is not how they are written."""
    try:
        raw = b64decode(text, validate=True)
    except ValueError:
        return None
    return raw if b64encode(raw).decode() == text else None


def open_note(note: str, keys: Sequence[VerifierKey], kind: Kind = Kind.CHECKPOINT) -> tuple[str, list[VerifierKey]]:
    """The text of a signed note, and who of these keys signed it. Signatures of others are ignored.

    Raises: Fault where it is no note, where none of the keys signed it, or one of them signed something else.
    """
    body, separator, signatures = note.rpartition("\n\n")
    text, lines = body + "\n", signatures.split("\n")
    is_clean = not any((c < " " and c != "\n") or "\ud800" <= c <= "\udfff" for c in note)
    if not separator or not is_clean or lines.pop() != "" or not 1 <= len(lines) <= SIGNATURES_MAX:
        raise Fault(kind, "this is not a signed note")
    if len(note) > NOTE_CHARACTERS_MAX:
        raise Fault(kind, "the signed note is too long")
    known = {(key.name, key.id): key for key in keys}
    signed: list[VerifierKey] = []
    for line in lines:
        name, space, encoded = line.removeprefix(EM_DASH_SPACE).partition(" ")
        raw = canonical_base64(encoded)
        if not line.startswith(EM_DASH_SPACE) or not space or not is_key_name(name) or raw is None or len(raw) < 5:
            raise Fault(kind, "a signature of the note cannot be read")
        key = known.get((name, raw[:4]))
        if key is None or key in signed:
            continue
        if not key.has_signed(text, raw[4:]):
            raise Fault(kind, f"the signature of {key.name}+{key.id.hex()} is not one of this text")
        signed.append(key)
    if not signed:
        raise Fault(Kind.WRONG_KEY, "none of the known keys signed this note")
    return text, signed


@dataclass(frozen=True)
class Checkpoint:
    """A tree as it was signed."""

    origin: str
    size: int
    root: bytes

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """The text of an opened note.

        Raises: Fault(CHECKPOINT) where it is no checkpoint. Further lines may follow, and are left alone.
        """
        lines = text.split("\n")
        wrong = Fault(Kind.CHECKPOINT, "this is not a checkpoint")
        if len(lines) < 4 or lines.pop() != "" or not all(lines):
            raise wrong
        origin, size, encoded, *_ = lines
        root = canonical_base64(encoded)
        is_number = size.isascii() and size.isdigit() and len(size) <= SIZE_DIGITS_MAX and str(int(size)) == size
        if not is_number or root is None or len(root) != HASH_BYTES:
            raise wrong
        return cls(origin, int(size), root)

    def __str__(self) -> str:
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"


# ------------------------------------------------------------------ JSON, read as strictly as it can be

BRACKETS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{\]}]', re.DOTALL)


def strict_json(raw: bytes, what: str) -> Any:
    """What the bytes say, if every reader would read the same.

    Raises: Fault, one kind for each way in which they do not.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":
            raise Fault(Kind.TRUNCATED, f"{what} ends too early") from None
        raise Fault(Kind.NOT_TEXT, f"{what} is not UTF-8 text") from None
    depth = 0
    for match in BRACKETS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(match[0], 0)
        if depth > DEPTH_MAX:
            raise Fault(Kind.TOO_DEEP, f"{what} is nested deeper than {DEPTH_MAX} levels")
    try:
        return json.loads(
            text,
            object_pairs_hook=lambda pairs: _unique(pairs, what),
            parse_int=lambda number: _whole(number, what),
            parse_float=lambda number: _no_number(number, what),
            parse_constant=lambda number: _no_number(number, what),
        )
    except RecursionError:
        raise Fault(Kind.TOO_DEEP, f"{what} is nested too deep") from None
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
            raise Fault(Kind.TRUNCATED, f"{what} ends too early") from None
        raise Fault(Kind.NOT_JSON, f"{what} is not JSON, from character {error.pos + 1} on") from None


def _unique(pairs: list[tuple[str, Any]], what: str) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Fault(Kind.DUPLICATE_KEY, f"{what} says something twice under one name")
    return found


def _whole(number: str, what: str) -> int:
    if len(number) > 20 or abs(int(number)) > NUMBER_MAX:
        _no_number("a number of more than 63 bits", what)
    return int(number)


def _no_number(number: str, what: str) -> NoReturn:
    raise Fault(Kind.NUMBER, f"{what} holds {number[:40]}, where only whole numbers can stand")


# ------------------------------------------------------------------ a statement, and what it must look like


@dataclass(frozen=True)
class Event:
    """An event of the card; without a proof where it is newer than the checkpoint."""

    position: int
    version: int
    name: str
    state: bytes
    hash: bytes
    index: int | None
    proof: list[bytes]


@dataclass(frozen=True)
class Statement:
    card_id: UUID
    events: list[Event]
    checkpoint: str
    statement: str
    keys: list[str]

    @classmethod
    def parse(cls, raw: bytes) -> Statement:
        """Raises: Fault."""
        if len(raw) > FILE_BYTES_MAX:
            raise Fault(Kind.TOO_LARGE, f"the file is larger than {FILE_BYTES_MAX // 1_000_000} MB")
        told = strict_json(raw, "the file")
        if not isinstance(told, dict) or told.get("format") != FORMAT:
            raise Fault(Kind.SHAPE, f"this is not a {FORMAT!r}")
        read = _Reader(told, "the statement")
        return cls(
            card_id=read.uuid("card_id"),
            events=[_event(one, n) for n, one in enumerate(read.items("events", dict), 1)],
            checkpoint=read.text("checkpoint"),
            statement=read.text("statement"),
            keys=read.items("keys", str),
        )


def _event(told: dict[str, Any], number: int) -> Event:
    what = f"event {number} of the list"
    read = _Reader(told, what)
    is_sealed = told.get("index") is not None
    return Event(
        position=read.number("position", 1),
        version=read.number("version", 1),
        name=read.text("name"),
        state=read.base64("state"),
        hash=read.hex("hash"),
        index=read.number("index", 0) if is_sealed else None,
        proof=[_hash(one, what) for one in read.items("proof", str)] if is_sealed else [],
    )


def _hash(text: str, what: str) -> bytes:
    raw = canonical_base64(text)
    if raw is None or len(raw) != HASH_BYTES:
        raise Fault(Kind.SHAPE, f"{what} has a proof that is not made of hashes")
    return raw


class _Reader:
    """The members of an object, each of the type it must have."""

    def __init__(self, told: dict[str, Any], what: str) -> None:
        self._told = told
        self._what = what

    def _given(self, name: str, kind: type) -> Any:
        value = self._told.get(name)
        if type(value) is not kind:
            raise Fault(Kind.SHAPE, f"{self._what} has no proper {name!r}")
        return value

    def text(self, name: str) -> str:
        text: str = self._given(name, str)
        if any("\ud800" <= c <= "\udfff" for c in text):
            raise Fault(Kind.SHAPE, f"{self._what} has no proper {name!r}")
        return text

    def number(self, name: str, least: int) -> int:
        number: int = self._given(name, int)
        if number < least:
            raise Fault(Kind.SHAPE, f"{self._what} has no proper {name!r}")
        return number

    def items(self, name: str, kind: type) -> list[Any]:
        items: list[Any] = self._given(name, list)
        if any(type(one) is not kind for one in items):
            raise Fault(Kind.SHAPE, f"{self._what} has no proper {name!r}")
        return items

    def base64(self, name: str) -> bytes:
        raw = canonical_base64(self.text(name))
        if raw is None:
            raise Fault(Kind.SHAPE, f"{self._what} has no proper {name!r}")
        return raw

    def hex(self, name: str) -> bytes:
        if not re.fullmatch("[0-9a-f]{64}", self.text(name)):
            raise Fault(Kind.SHAPE, f"{self._what} has no proper {name!r}")
        return bytes.fromhex(self.text(name))

    def uuid(self, name: str) -> UUID:
        try:
            found = UUID(self.text(name))
        except ValueError:
            found = None
        if found is None or str(found) != self.text(name):
            raise Fault(Kind.SHAPE, f"{self._what} has no proper {name!r}")
        return found


# ------------------------------------------------------------------ who signed what


def verify_keys(notes: Sequence[str], trusted: VerifierKey) -> list[VerifierKey]:
    """The keys of a ledger, oldest first, if each is signed by itself and by the one before, and we know one of them.

    Raises: Fault(KEY_CHAIN), Fault(WRONG_KEY).
    """
    if len(notes) > KEYS_MAX:
        raise Fault(Kind.KEY_CHAIN, f"there are more than {KEYS_MAX} keys")
    keys: list[VerifierKey] = []
    for number, note in enumerate(notes, 1):
        lines = note.split("\n")
        before = str(keys[-1]) if keys else "nothing"
        if len(lines) < 3 or lines[0] != KEY_TITLE or lines[2] != f"follows {before}":
            raise Fault(Kind.KEY_CHAIN, f"key {number} of the list does not follow the one before it")
        key = VerifierKey.parse(lines[1])
        signers = [*keys[-1:], key]
        try:
            signed = open_note(note, signers, Kind.KEY_CHAIN)[1]
        except Fault:
            signed = []
        if len(signed) != len(signers) or key.name != trusted.name:
            raise Fault(Kind.KEY_CHAIN, f"key {number} of the list is not signed by itself and by the one before it")
        keys.append(key)
    if trusted not in keys:
        raise Fault(Kind.WRONG_KEY, f"nothing leads from the key you trust, {trusted}, to those of this statement")
    return keys


@dataclass(frozen=True)
class Signed:
    """What was signed of a card: how many events it had, where they led to, and how many of them were in the tree."""

    card_id: str
    version: int
    head: bytes
    sealed: int
    tree: str
    at: str

    @classmethod
    def parse(cls, text: str) -> Signed:
        found = re.fullmatch(
            STATEMENT_TITLE + r"\ncard ([0-9a-f-]{36})\nversion ([0-9]{1,18})\nhead ([0-9a-f]{64})"
            r"\nsealed ([0-9]{1,18})\ntree ([0-9]{1,18} [A-Za-z0-9+/=]{44})\nat ([0-9T:+-]{1,40})\n",
            text,
        )
        if found is None:
            raise Fault(Kind.SIGNATURE, "what was signed is not a statement")
        card_id, version, head, sealed, tree, at = found.groups()
        return cls(card_id, int(version), bytes.fromhex(head), int(sealed), tree, at)

    def __str__(self) -> str:
        return (
            f"{STATEMENT_TITLE}\ncard {self.card_id}\nversion {self.version}\nhead {self.head.hex()}\n"
            f"sealed {self.sealed}\ntree {self.tree}\nat {self.at}\n"
        )


# ------------------------------------------------------------------ the history


def event_hash(stream_id: UUID, version: int, name: str, state: bytes) -> bytes:
    """SHA-256 over one zero byte and, each after its length, stream id, version, name and the bytes as stored."""
    parts = (stream_id.bytes, version.to_bytes(8, "big"), name.encode(), state)
    return hashlib.sha256(b"\x00" + b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()


def verify_history(card_id: UUID, events: Sequence[Event], signed: Signed, checkpoint: Checkpoint) -> list[Any]:
    """That these are the card's events: all of them, as they were sealed.

    Returns: What each event says, as JSON.
    """
    versions = [event.version for event in events]
    for event in events:
        if event_hash(card_id, event.version, event.name, event.state) != event.hash:
            raise Fault(Kind.PAYLOAD, f"the bytes of event {event.version} are not those its hash is of")
    if versions != sorted(set(versions)):
        raise Fault(Kind.ORDER, "the events are not in the order of their versions")
    for number, version in enumerate(versions, 1):
        if version != number:
            raise Fault(Kind.MISSING, f"event {number} is missing")
    head = hashlib.sha256(b"loyalty-ledger stream\x00" + card_id.bytes).digest()
    told: list[Any] = []
    for event in events:
        says = strict_json(event.state, f"event {event.version}")
        if not isinstance(says, dict) or says.get("prev") != head.hex():
            raise Fault(Kind.CHAIN, f"event {event.version} does not follow the one before it")
        told.append(says)
        head = event.hash
    if len(events) != signed.version:
        raise Fault(Kind.TAIL, f"there are {len(events)} events, and {signed.version} were signed")
    _verify_inclusion(events, signed, checkpoint)
    if head != signed.head:
        raise Fault(Kind.INCLUSION, "the newest event is not the one that was signed: the history was written anew")
    return told


def _verify_inclusion(events: Sequence[Event], signed: Signed, checkpoint: Checkpoint) -> None:
    position = index = -1
    for event in events[: signed.sealed]:
        if event.index is None:
            raise Fault(Kind.INCLUSION, f"event {event.version} has no proof that it is in the signed tree")
        leaf = leaf_hash(leaf_data(event.position, event.hash))
        if root_from_inclusion(event.index, checkpoint.size, leaf, event.proof) != checkpoint.root:
            raise Fault(
                Kind.INCLUSION,
                f"event {event.version} is not in the signed tree at position {event.position}, as it stands here: the"
                " history was written anew",
            )
        if event.position <= position or event.index <= index:
            raise Fault(Kind.ORDER, f"event {event.version} was recorded before the one before it")
        position, index = event.position, event.index


# ------------------------------------------------------------------ the balance

UNITS: dict[str, tuple[int, str, str]] = {
    "card-enrolled": (1, "stamps", "points"),
    "stamps-added": (1, "stamps", ""),
    "points-earned": (1, "", "points"),
    "reward-redeemed": (-1, "stamps_spent", "points_spent"),
    "earn-reversed": (-1, "stamps_taken", "points_taken"),
    "redemption-reversed": (1, "stamps_returned", "points_returned"),
    "units-adjusted": (1, "stamps", "points"),
    "units-forfeited": (-1, "stamps", "points"),
    "card-replaced": (-1, "stamps_moved", "points_moved"),
}
"""What each kind of event adds or takes: a sign, and the fields that hold stamps and points. Others move none."""


@dataclass
class Balance:
    stamps: int = 0
    points: int = 0
    sealed_fields: list[str] = field(default_factory=list)  # `name of the event: field`, each once.


def add_up(events: Sequence[Event], told: Sequence[Any]) -> Balance:
    """What the events come to, held against the balance that each of them states.

    Raises: Fault(BALANCE).
    """
    balance = Balance()
    for number, event in enumerate(events):
        data = told[number].get("data")
        if not isinstance(data, dict):
            raise Fault(Kind.SHAPE, f"event {event.version} says nothing")
        sign, stamps, points = UNITS.get(event.name, (0, "", ""))
        balance.stamps += sign * _units(data, stamps, event)
        balance.points += sign * _units(data, points, event)
        for name, held in (("stamps_after", balance.stamps), ("points_after", balance.points)):
            if name in data and data[name] != held:
                raise Fault(
                    Kind.BALANCE, f"event {event.version} states {name} {data[name]!r:.40}, and it comes to {held}"
                )
        for name, value in data.items():
            shown = f"{event.name}: {name}"
            if isinstance(value, dict) and set(value) == {"sealed"} and shown not in balance.sealed_fields:
                balance.sealed_fields.append(shown)
    return balance


def _units(data: dict[str, Any], name: str, event: Event) -> int:
    units = data.get(name, 0) if name else 0
    if type(units) is not int:
        raise Fault(Kind.BALANCE, f"event {event.version} states {name} that are no number")
    return units


# ------------------------------------------------------------------ all of it


@dataclass(frozen=True)
class Verified:
    statement: Statement
    signed: Signed
    checkpoint: Checkpoint
    balance: Balance

    def __str__(self) -> str:
        count, sealed = self.signed.version, self.signed.sealed
        lines = [
            f"This is the whole history of card {self.signed.card_id}, {count} events, as it was on {self.signed.at}.",
            f"Balance: {self.balance.stamps} stamps, {self.balance.points} points.",
            f"{sealed} of the events are in the tree of {self.checkpoint.size} that {self.checkpoint.origin} signed.",
        ]
        if sealed < count:
            lines.append(
                f"{count - sealed} are newer than that checkpoint: signed with this statement, and not yet in it."
            )
        if self.balance.sealed_fields:
            fields = ", ".join(self.balance.sealed_fields)
            lines.append(f"Covered by the proof, but encrypted, so not shown: {fields}.")
        return "\n".join(lines)


def verify(raw: bytes, trusted: VerifierKey, kept: str | None = None, consistency: bytes | None = None) -> Verified:
    """Verify a statement.

    Args:
        raw: The file.
        trusted: A public key of the ledger that did not come with the statement.
        kept: A checkpoint that was fetched earlier: the statement must not be older.
        consistency: The auditors' answer of /audit/consistency from the kept checkpoint to the statement's.

    Raises: Fault, with what is wrong first.
    """
    statement = Statement.parse(raw)
    keys = verify_keys(statement.keys, trusted)
    checkpoint = Checkpoint.parse(open_note(statement.checkpoint, keys)[0])
    if checkpoint.origin != trusted.name:
        raise Fault(Kind.CHECKPOINT, f"the checkpoint is of another ledger, {checkpoint.origin}")
    signed = Signed.parse(open_note(statement.statement, keys, Kind.SIGNATURE)[0])
    if signed.card_id != str(statement.card_id):
        raise Fault(Kind.OTHER_CARD, f"what was signed is about another card, {signed.card_id}")
    if signed.tree != f"{checkpoint.size} {b64encode(checkpoint.root).decode()}":
        raise Fault(Kind.REPLAYED, "the checkpoint is not the one this statement was signed with")
    told = verify_history(statement.card_id, statement.events, signed, checkpoint)
    verified = Verified(statement, signed, checkpoint, add_up(statement.events, told))
    if kept is not None:
        _hold_against(Checkpoint.parse(open_note(kept, keys)[0]), checkpoint, consistency)
    return verified


def _hold_against(kept: Checkpoint, checkpoint: Checkpoint, consistency: bytes | None) -> None:
    if checkpoint.size < kept.size:
        raise Fault(
            Kind.OLDER, f"the statement was made with a tree of {checkpoint.size}, and you know one of {kept.size}"
        )
    if checkpoint.size == kept.size or consistency is None:
        if checkpoint.size == kept.size and checkpoint.root != kept.root:
            raise Fault(Kind.INCONSISTENT, f"two different trees of {kept.size} were signed")
        return
    told = strict_json(consistency, "the consistency proof")
    if not isinstance(told, dict):
        raise Fault(Kind.SHAPE, "this is not a consistency proof")
    what = "the consistency proof"
    proof = [_hash(one, what) for one in _Reader(told, what).items("proof", str)]
    verify_consistency(kept.size, checkpoint.size, kept.root, checkpoint.root, proof)


def run(arguments: Sequence[str] | None = None) -> int:
    """Verify what the command line names and say so.

    Returns: The exit code: 0, or that of `Kind`.
    """
    parser = argparse.ArgumentParser(description="Verify a card's statement.")
    parser.add_argument("statement", type=Path, help="the statement, a JSON file")
    parser.add_argument("--key", required=True, help="the ledger's public key, name+id+base64, or a file that holds it")
    parser.add_argument("--kept", type=Path, help="a checkpoint you fetched earlier: the statement must not be older")
    parser.add_argument("--consistency", type=Path, help="the answer of /audit/consistency from that one on")
    asked = parser.parse_args(arguments)
    try:
        key = asked.key if asked.key.count("+") >= 2 else _read(Path(asked.key)).decode("utf-8", "replace")
        kept = None if asked.kept is None else _read(asked.kept).decode("utf-8", "replace")
        consistency = None if asked.consistency is None else _read(asked.consistency)
        verified = verify(_read(asked.statement), VerifierKey.parse(key), kept, consistency)
    except Fault as fault:
        sys.stderr.write(f"This does not hold: {fault}.\n")
        return int(fault.kind)
    sys.stdout.write(f"{verified}\n")
    return 0


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise Fault(Kind.UNREADABLE, f"{file} cannot be read: {error.strerror}") from None


if __name__ == "__main__":
    sys.exit(run())
