"""Signing: notes and checkpoints as C2SP's signed-note and tlog-checkpoint have them, by Ed25519."""

import os
from base64 import b64decode, b64encode
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from projections.proofs.verify_statement import ED25519, EM_DASH_SPACE, HASH_BYTES, VerifierKey, is_key_name

PREFIX = "PRIVATE+KEY+"


class SigningKeyUnfit(Exception):
    """What should be a signing key is none. The text tells nothing of what it is."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and its name, which is the origin of every checkpoint it signs."""

    name: str
    seed: bytes = field(repr=False)

    @classmethod
    def new(cls, name: str) -> "SigningKey":
        assert is_key_name(name)
        return cls(name, os.urandom(HASH_BYTES))

    @classmethod
    def parse(cls, text: str) -> "SigningKey":
        """From the one line that Go's sumdb tools keep such keys in.

        Raises: SigningKeyUnfit.
        """
        try:
            name, id_, encoded = text.strip().removeprefix(PREFIX).split("+", 2)
            raw = b64decode(encoded, validate=True)
        except ValueError:
            raise SigningKeyUnfit("this is not a signing key") from None
        is_right = text.startswith(PREFIX) and len(raw) == 1 + HASH_BYTES and raw[:1] == ED25519 and is_key_name(name)
        if not is_right or cls(name, raw[1:]).verifier.id.hex() != id_:
            raise SigningKeyUnfit("this is not a signing key")
        return cls(name, raw[1:])

    def to_text(self) -> str:
        return f"{PREFIX}{self.name}+{self.verifier.id.hex()}+{b64encode(ED25519 + self.seed).decode()}"

    @property
    def verifier(self) -> VerifierKey:
        return VerifierKey(self.name, Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw())


def sign(text: str, *keys: SigningKey) -> str:
    """The signed note of a text of whole lines."""
    assert text.endswith("\n") and not text.startswith("\n")
    return text + "\n" + "".join(_signature(text, key) for key in keys)


def _signature(text: str, key: SigningKey) -> str:
    signature = Ed25519PrivateKey.from_private_bytes(key.seed).sign(text.encode())
    return f"{EM_DASH_SPACE}{key.name} {b64encode(key.verifier.id + signature).decode()}\n"
