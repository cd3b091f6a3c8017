"""What Google tells after a card was saved or removed, believed only when Google's keys have signed it for us.

Signed content is read byte for byte as it came: nothing is parsed and written again before it is verified.
"""

from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

Event: TypeAlias = Literal["save", "del"]

PROTOCOL = "ECv2SigningOnly"
SENDER = "GooglePayPasses"
KEYS_URL = "https://pay.google.com/gp/m/issuer/keys"
MESSAGE_BYTES_MAX = 65_536
SIGNATURES_MAX = 8
NONCE_CHARACTERS_MAX = 200
EVENTS: Mapping[str, Event] = {"save": "save", "del": "del"}
MILLISECONDS_MAX = 253_402_300_799_999  # The end of the year 9999.


class CallbackRefused(Exception):
    """The message is not to be believed. `reason` is a constant word, safe to log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class RootKey:
    """One of Google's own keys."""

    key: ec.EllipticCurvePublicKey
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Callback:
    """A card was saved ("save") or its holder removed it ("del"). Order and number of deliveries are not promised."""

    class_id: str
    object_id: str
    event: Event
    nonce: str  # The same in each delivery of one event.
    expires_at: datetime


def root_keys(document: bytes, now: datetime) -> tuple[RootKey, ...]:
    """Those of Google's keys that count for callbacks, now.

    Args:
        document: What KEYS_URL answers. Keep it until the earliest `expires_at`, not for one signature.

    Raises:
        CallbackRefused: `bad_keys`: the document is none.
    """
    try:
        listed = orjson.loads(document)["keys"]
        valid = [key for key in listed if key.get("protocolVersion") == PROTOCOL and "keyExpiration" in key]
        keys = tuple(RootKey(_public_key(key["keyValue"]), _time(key["keyExpiration"])) for key in valid)
    except (KeyError, TypeError, AttributeError, ValueError, UnsupportedAlgorithm):
        raise CallbackRefused("bad_keys") from None
    return tuple(key for key in keys if key.expires_at > now)


def verified(
    message: bytes, *, issuer_id: str, root_keys: Sequence[RootKey], now: datetime, sender: str = SENDER
) -> Callback:
    """What a message says, once every signature in it was found in order.

    Args:
        message: The request's body.
        issuer_id: Ours, from the settings: others' messages are signed as well.
        root_keys: By the function of that name.
        now: Aware.
        sender: Who Google says it is when it signs.

    Raises:
        CallbackRefused: `too_large`, `malformed`, `wrong_protocol`, `untrusted_key` (by no root key of ours),
            `key_expired`, `bad_signature` (changed, or meant for another issuer), `expired`, `not_ours`,
            `unknown_event`. Nothing in a refused message may be used.

    Returns:
        The event. That its nonce is new remains to be seen.

    Source: Google Wallet, "Use callbacks"; Google Pay, "Payment data cryptography", ECv2.
    """
    if len(message) > MESSAGE_BYTES_MAX:
        raise CallbackRefused("too_large")
    try:
        return _verified(message, issuer_id, root_keys, now, sender)
    except (KeyError, TypeError, ValueError, UnsupportedAlgorithm):
        raise CallbackRefused("malformed") from None


def _verified(message: bytes, issuer_id: str, roots: Sequence[RootKey], now: datetime, sender: str) -> Callback:
    outer = _object(orjson.loads(message))
    if outer["protocolVersion"] != PROTOCOL:
        raise CallbackRefused("wrong_protocol")
    intermediate = _object(outer["intermediateSigningKey"])
    signed_key, signed_message = _text(intermediate["signedKey"]), _text(outer["signedMessage"])
    signatures = intermediate["signatures"]
    if not isinstance(signatures, list) or len(signatures) > SIGNATURES_MAX:
        raise ValueError("signatures")
    endorsed = _lv(sender, PROTOCOL, signed_key)
    decoded = [_base64(signature) for signature in signatures]
    valid = [root.key for root in roots if root.expires_at > now]
    if not any(_is_signed(key, signature, endorsed) for key in valid for signature in decoded):
        raise CallbackRefused("untrusted_key")
    key = _object(orjson.loads(signed_key))
    if _time(key["keyExpiration"]) <= now:
        raise CallbackRefused("key_expired")
    told = _lv(sender, issuer_id, PROTOCOL, signed_message)
    if not _is_signed(_public_key(key["keyValue"]), _base64(outer["signature"]), told):
        raise CallbackRefused("bad_signature")
    return _callback(_object(orjson.loads(signed_message)), issuer_id, now)


def _callback(told: Mapping[str, Any], issuer_id: str, now: datetime) -> Callback:
    event = EVENTS.get(_text(told["eventType"]))
    if event is None:
        raise CallbackRefused("unknown_event")
    class_id, object_id = _text(told["classId"]), _text(told["objectId"])
    nonce, expires_at = _text(told["nonce"]), _time(told["expTimeMillis"])
    if not 0 < len(nonce) <= NONCE_CHARACTERS_MAX:
        raise ValueError("nonce")
    if expires_at <= now:
        raise CallbackRefused("expired")
    if not (class_id.startswith(f"{issuer_id}.") and object_id.startswith(f"{issuer_id}.")):
        raise CallbackRefused("not_ours")
    return Callback(class_id, object_id, event, nonce, expires_at)


def _lv(*parts: str) -> bytes:
    """Each part with its length before it: four bytes, the smallest first, counting bytes of UTF-8."""
    encoded = [part.encode() for part in parts]
    return b"".join(len(part).to_bytes(4, "little") + part for part in encoded)


def _is_signed(key: ec.EllipticCurvePublicKey, signature: bytes, content: bytes) -> bool:
    try:
        key.verify(signature, content, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def _public_key(value: Any) -> ec.EllipticCurvePublicKey:
    key = load_der_public_key(_base64(value))
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("key")
    return key


def _base64(value: Any) -> bytes:
    return b64decode(_text(value), validate=True)


def _time(value: Any) -> datetime:
    """Milliseconds since 1970, as a number or in a text."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError("time")
    milliseconds = int(value)
    if not 0 <= milliseconds <= MILLISECONDS_MAX:
        raise ValueError("time")
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("text")
    return value


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("object")
    return value
