"""Personal data and PIN hashes as ciphertext, with a key for each person.

A person's key is random, wrapped by the master key and kept in a table of its own. Destroying that row makes every
sealed field of the person unreadable and leaves every hash over the stored bytes valid.
"""

import hmac
import os
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from ledger.personal import Secret

KEY_BYTES = 32
NONCE_BYTES = 12


class SealBroken(Exception):
    """A sealed field or a wrapped key cannot be opened: another key, or bytes that were changed."""


@dataclass(frozen=True, slots=True)
class SubjectKey:
    """One person's key, unwrapped. It lives as long as a command."""

    subject_id: UUID
    vendor_id: UUID
    key: bytes = field(repr=False)


CARRIED = (
    "PIN pepper",
    "apple authentication tokens",
    "apple registrations",
    "apple serial numbers",
    "device digests",
    "farewells",
    "fingerprints",
    "look-ups",
    "picture addresses",
    "staff sessions",
    "tills",
)
"""What stays when the master key changes: phones, PINs and rows depend on it, and none of it opens a person's data."""


@dataclass(frozen=True, slots=True)
class MasterKey:
    """32 bytes from the settings, outside the database. Every other key derives from it or is wrapped by it.

    Where it took another one's place, `previous` still opens what that one wrapped, and `carried` holds what goes on as
    it was, by purpose.
    """

    key: bytes = field(repr=False)
    previous: "MasterKey | None" = field(default=None, repr=False)
    carried: Mapping[str, bytes] = field(default_factory=dict, repr=False, hash=False)

    def __post_init__(self) -> None:
        if len(self.key) != KEY_BYTES:
            raise ValueError(f"a master key has {KEY_BYTES} bytes, this one has {len(self.key)}")

    @classmethod
    def from_base64(cls, text: str) -> "MasterKey":
        """Raises: ValueError where the text is not 32 bytes in base64."""
        return cls(b64decode(text, validate=True))

    def to_base64(self) -> str:
        return b64encode(self.key).decode()

    @property
    def key_id(self) -> str:
        """Names the key without telling it."""
        return self.derive("key id").hex()[:16]

    def derive(self, purpose: str) -> bytes:
        """32 bytes for one purpose."""
        return self.carried.get(purpose) or hmac.digest(self.key, b"loyalty-ledger:" + purpose.encode(), "sha256")

    def new_subject(self, subject_id: UUID, vendor_id: UUID) -> SubjectKey:
        return SubjectKey(subject_id, vendor_id, os.urandom(KEY_BYTES))

    def wrap(self, subject: SubjectKey) -> bytes:
        """Source: RFC 3394."""
        return aes_key_wrap(self.derive("subject keys"), subject.key)

    def unwrap(self, subject_id: UUID, vendor_id: UUID, wrapped: bytes) -> SubjectKey:
        """Raises: SealBroken where another master key wrapped it."""
        return SubjectKey(subject_id, vendor_id, self._unwrapped("subject keys", wrapped))

    def wrap_carried(self, purpose: str) -> bytes:
        """What was carried for a purpose, to be kept in the database."""
        return aes_key_wrap(self.derive("carried keys"), self.carried[purpose])

    def unwrap_carried(self, wrapped: bytes) -> bytes:
        """Raises: SealBroken where another master key wrapped it."""
        return self._unwrapped("carried keys", wrapped)

    def _unwrapped(self, purpose: str, wrapped: bytes) -> bytes:
        for master in (self, self.previous):
            if master is not None:
                with suppress(InvalidUnwrap):
                    return aes_key_unwrap(master.derive(purpose), wrapped)
        raise SealBroken("this key was wrapped by another master key")

    def farewell_key(self, id_: UUID, vendor_id: UUID) -> SubjectKey:
        """What seals a push token of somebody who was forgotten, until it was used."""
        return SubjectKey(id_, vendor_id, self.derive("farewells"))

    def lookup(self, vendor_id: UUID, kind: str, value: str) -> bytes:
        """What finds a person by email or phone: equal for equal values of one vendor, tells nothing else."""
        return hmac.digest(self.derive("look-ups"), f"{vendor_id}:{kind}:{value}".encode(), "sha256")

    def lookup_address(self, address: str) -> str:
        """What stands for a network address where requests are counted."""
        return hmac.digest(self.derive("addresses"), address.encode(), "sha256").hex()[:32]


def seal(secret: Secret, subject: SubjectKey, *, stream_id: UUID, version: int, name: str) -> Secret:
    """The secret as it stands in the event: AES-256-GCM bound to stream, version and field."""
    assert secret.plain is not None
    nonce = os.urandom(NONCE_BYTES)
    sealed = AESGCM(subject.key).encrypt(nonce, secret.plain.encode(), _bound_to(stream_id, version, name))
    return Secret(sealed=f"{version}.{name}.{urlsafe_b64encode(nonce + sealed).decode()}")


def unseal(secret: Secret, subject: SubjectKey, *, stream_id: UUID) -> Secret:
    """The secret in plain text again.

    Raises:
        SealBroken: It was sealed under another key, for another stream, or was changed since.
    """
    assert secret.sealed is not None
    try:
        version, name, text = secret.sealed.split(".", 2)
        raw = b64decode(text, altchars=b"-_", validate=True)
        plain = AESGCM(subject.key).decrypt(
            raw[:NONCE_BYTES], raw[NONCE_BYTES:], _bound_to(stream_id, int(version), name)
        )
    except (InvalidTag, ValueError, OverflowError):
        raise SealBroken(f"a field of stream {stream_id} cannot be opened") from None
    return Secret(plain=plain.decode())


def _bound_to(stream_id: UUID, version: int, name: str) -> bytes:
    return stream_id.bytes + version.to_bytes(8, "big") + name.encode()


def farewell_digest(master_key: MasterKey, device: str) -> bytes:
    """What stands for a phone of somebody who was forgotten, until it was told."""
    return hmac.digest(master_key.derive("farewells"), device.encode(), "sha256")


def digest_of(token: str) -> bytes:
    """What stands in the database for a bearer token."""
    return sha256(token.encode()).digest()
