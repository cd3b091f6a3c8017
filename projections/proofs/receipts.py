"""The receipt that a person was forgotten, signed with the sealing key: whoever keeps it can prove it, offline.

What is signed is the receipt itself, as JSON with its members in order of their names: nothing in it can be changed.
"""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from projections.proofs.notes import sign
from projections.proofs.sealing_keys import SealingRefused, read_key, read_recorded
from projections.proofs.verify_statement import Fault, Kind, VerifierKey, open_note, strict_json, verify_keys
from projections.table import Queries

TITLE = "loyalty-ledger erasure receipt"
NOT_SIGNED = ("signature", "keys", "position")  # What is put beside the receipt when it is answered.


async def signed(queries: Queries, key_file: Path, told: Mapping[str, Any]) -> dict[str, Any]:
    """The receipt with the service's signature over it, and the notes of all public keys.

    Args:
        told: JSON-ready.

    Returns: With `signature` None where there is no key to sign with here.
    """
    recorded = await read_recorded(queries)
    try:
        key = await asyncio.to_thread(read_key, key_file)
    except SealingRefused:
        return {**told, "signature": None, "keys": []}
    if str(key.verifier) not in {one.verifier_key for one in recorded}:
        return {**told, "signature": None, "keys": []}
    return {**told, "signature": sign(_text(told), key), "keys": [one.note for one in recorded]}


def is_receipt(raw: bytes) -> bool:
    """Whether a file is one of these rather than a card's statement."""
    try:
        told = strict_json(raw, "the file")
    except Fault:
        return False
    return isinstance(told, dict) and "receipt_id" in told


def verify_receipt(raw: bytes, trusted: VerifierKey) -> dict[str, Any]:
    """Verify a receipt.

    Args:
        trusted: A public key of the ledger that did not come with the receipt.

    Returns: The receipt.

    Raises: Fault.
    """
    told = strict_json(raw, "the receipt")
    note = told.get("signature") if isinstance(told, dict) else None
    keys = told.get("keys") if isinstance(told, dict) else None
    if not isinstance(note, str) or not isinstance(keys, list) or not all(isinstance(one, str) for one in keys):
        raise Fault(Kind.SHAPE, "this receipt is not signed")
    text, _ = open_note(note, verify_keys(keys, trusted), Kind.SIGNATURE)
    if text != _text(told):
        raise Fault(Kind.SIGNATURE, "the receipt is not what was signed")
    return dict(told)


def run(file: Path, key: str) -> int:
    """Verify the receipt in a file and say so.

    Returns: The exit code: 0, or that of `Kind`.
    """
    try:
        trusted = VerifierKey.parse(key if key.count("+") >= 2 else Path(key).read_text(encoding="utf-8"))
        told = verify_receipt(file.read_bytes(), trusted)
    except OSError as error:
        sys.stderr.write(f"This does not hold: {error.filename} cannot be read: {error.strerror}.\n")
        return int(Kind.UNREADABLE)
    except Fault as fault:
        sys.stderr.write(f"This does not hold: {fault}.\n")
        return int(fault.kind)
    cards = len(told.get("cards", ()))
    sys.stdout.write(
        f"Customer {told.get('customer_id')} was forgotten on {told.get('erased_at')}, with {cards} cards:"
        f" {trusted.name} signed it.\n"
    )
    return 0


def _text(told: Mapping[str, Any]) -> str:
    kept = {name: value for name, value in told.items() if name not in NOT_SIGNED}
    return f"{TITLE}\n{orjson.dumps(kept, option=orjson.OPT_SORT_KEYS).decode()}\n"
