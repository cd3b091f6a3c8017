"""Google's signatures under what it tells of saved cards, made by the specification alone.

The rule under test reads them; nothing here comes from it.
"""

import json
import struct
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

ISSUER = "3388000000012345678"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ROOT = ec.generate_private_key(ec.SECP256R1())
INTERMEDIATE = ec.generate_private_key(ec.SECP256R1())
STRANGER = ec.generate_private_key(ec.SECP256R1())


def milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def spki(key: Any) -> str:
    public = key.public_key()
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return b64encode(der).decode()


def signature(key: ec.EllipticCurvePrivateKey, *parts: str) -> str:
    content = b""
    for part in parts:
        encoded = part.encode("utf-8")
        content += struct.pack("<I", len(encoded)) + encoded
    return b64encode(key.sign(content, ec.ECDSA(SHA256()))).decode()


def escaped(value: Any) -> str:
    """As Google writes JSON into JSON: without spaces, `=` as an escape."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).replace("=", "\\u003d")


@dataclass
class Signer:
    """Google, as far as callbacks go."""

    sender: str = "GooglePayPasses"
    protocol: str = "ECv2SigningOnly"
    issuer: str = ISSUER
    root: ec.EllipticCurvePrivateKey = ROOT
    intermediate: ec.EllipticCurvePrivateKey = INTERMEDIATE
    message_key: ec.EllipticCurvePrivateKey = INTERMEDIATE
    key_expires: datetime = NOW + HOUR
    expires: datetime = NOW + HOUR
    told: dict[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        key = {"keyValue": spki(self.intermediate), "keyExpiration": str(milliseconds(self.key_expires))}
        told = {
            "classId": f"{ISSUER}.test.prog.a",
            "objectId": f"{ISSUER}.test.card.b",
            "eventType": "save",
            "expTimeMillis": milliseconds(self.expires),
            "count": 1,
            "nonce": "0cfe3927",
            **self.told,
        }
        signed_key, signed_message = escaped(key), escaped(told)
        return {
            "signature": signature(self.message_key, self.sender, self.issuer, self.protocol, signed_message),
            "intermediateSigningKey": {
                "signedKey": signed_key,
                "signatures": [signature(self.root, self.sender, self.protocol, signed_key)],
            },
            "protocolVersion": self.protocol,
            "signedMessage": signed_message,
        }

    def message(self) -> bytes:
        return json.dumps(self.body()).encode()


def document(**given_: Any) -> bytes:
    key = {"keyValue": spki(ROOT), "protocolVersion": "ECv2SigningOnly", "keyExpiration": milliseconds(NOW + HOUR)}
    return json.dumps({"keys": [{**key, "keyExpiration": str(key["keyExpiration"]), **given_}]}).encode()
