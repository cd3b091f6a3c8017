"""Who is asking: admin and auditor keys from the settings, vendors' API keys from the ledger.

A key is compared by its digest in constant time. A vendor's key is remembered for a second; whether it is still valid
when something is recorded, the ledger checks in the same transaction.
"""

import hmac
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Literal
from uuid import UUID

from api.errors import Unauthenticated
from ledger.commands.vendors import VendorCommands
from ledger.stream import Actor

REMEMBERED_SECONDS = 1.0
REMEMBERED_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller. `vendor_id` is None for admins and auditors, who see every vendor."""

    kind: Literal["admin", "auditor", "api_key"]
    actor: Actor
    vendor_id: UUID | None = None
    key_id: UUID | None = None
    scopes: frozenset[str] = frozenset()


class Authenticator:
    def __init__(self, vendors: VendorCommands, *, admin_key: str, auditor_key: str | None) -> None:
        self._vendors = vendors
        self._admin = _digest(admin_key)
        self._auditor = _digest(auditor_key) if auditor_key else None
        self._remembered: dict[bytes, tuple[float, datetime | None, Principal]] = {}

    async def identify(self, authorization: str | None) -> Principal:
        """The caller behind an Authorization header.

        Raises: Unauthenticated, the same for no key, an unknown, an expired and a revoked one.
        """
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise Unauthenticated
        digest = _digest(key)
        if hmac.compare_digest(digest, self._admin):
            return Principal("admin", Actor("admin", "admin", "admin_key"))
        if self._auditor is not None and hmac.compare_digest(digest, self._auditor):
            return Principal("auditor", Actor("admin", "auditor", "auditor_key"))
        return await self._vendor(key, digest)

    async def _vendor(self, key: str, digest: bytes) -> Principal:
        now = time.monotonic()
        known = self._remembered.get(digest)
        if known is not None and now - known[0] < REMEMBERED_SECONDS:
            _, expires_at, principal = known
            if expires_at is None or datetime.now(UTC) < expires_at:
                return principal
        found = await self._vendors.holder_of(key)
        if found is None:
            self._remembered.pop(digest, None)
            raise Unauthenticated
        stream, api_key = found
        principal = Principal(
            "api_key",
            Actor("api_key", str(api_key.key_id), "bearer"),
            stream.stream_id,
            api_key.key_id,
            frozenset(api_key.scopes),
        )
        if len(self._remembered) >= REMEMBERED_MAX:
            self._remembered.clear()
        self._remembered[digest] = (now, api_key.expires_at, principal)
        return principal

    def forget(self) -> None:
        """After a key was revoked here: nobody is remembered any longer."""
        self._remembered.clear()


def _digest(key: str) -> bytes:
    return sha256(key.encode()).digest()
