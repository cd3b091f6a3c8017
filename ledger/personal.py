"""Personal and secret text inside an event: plain until the event is recorded, ciphertext ever after."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Secret:
    """A name, an address, a token, a PIN's hash.

    Exactly one of the two is set. `sealed` reads `version.field.ciphertext`: the event and the field it was sealed
    for, and base64url of nonce and AES-256-GCM ciphertext (see `ledger/seal.py`). Neither is ever printed.
    """

    plain: str | None = field(default=None, repr=False)
    sealed: str | None = field(default=None, repr=False)
