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
from ledger.decision import Stream
from ledger.stream import Actor, Channel
from ledger.vendor import ApiKey

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
    channel: Channel = "pos"
    terminal_id: str | None = None  # Of a paired till, as all below.
    location_id: UUID | None = None
    program_id: UUID | None = None


class Authenticator:
    def __init__(self, vendors: VendorCommands, *, admin_key: str, auditor_key: str | None) -> None:
        self._vendors = vendors
        self._admin = _digest(admin_key)
        self._auditor = _digest(auditor_key) if auditor_key else None
        self._remembered: dict[bytes | UUID, tuple[float, ApiKey, Principal]] = {}

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

    async def of_key(self, vendor_id: UUID, key_id: UUID) -> tuple[Principal, ApiKey]:
        """The caller that a session with this vendor's key stands for.

        Raises: Unauthenticated where the key is revoked or expired, or the vendor suspended.
        """
        known = self._known(key_id)
        if known is None:
            known = self._keep(key_id, await self._vendors.key_of(vendor_id, key_id))
        key, principal = known
        return principal, key

    def mark(self, kind: Literal["admin", "auditor"]) -> str:
        """What a session keeps of the administrator's or auditor's key: another key has another mark."""
        digest = self._admin if kind == "admin" else self._auditor
        return "" if digest is None else sha256(b"mark:" + digest).hexdigest()[:32]

    def still(self, kind: Literal["admin", "auditor"], mark: str) -> Principal:
        """The caller that a session with this mark stands for. Raises: Unauthenticated where the key is another now."""
        if not mark or not hmac.compare_digest(mark, self.mark(kind)):
            raise Unauthenticated
        return Principal(kind, Actor("admin", kind, "session"), channel="admin_ui")

    async def _vendor(self, key: str, digest: bytes) -> Principal:
        known = self._known(digest)
        if known is None:
            known = self._keep(digest, await self._vendors.holder_of(key))
        return known[1]

    def _known(self, name: bytes | UUID) -> tuple[ApiKey, Principal] | None:
        known = self._remembered.get(name)
        if known is None or time.monotonic() - known[0] >= REMEMBERED_SECONDS:
            return None
        _, key, principal = known
        return (key, principal) if key.expires_at is None or datetime.now(UTC) < key.expires_at else None

    def _keep(self, name: bytes | UUID, found: tuple[Stream, ApiKey] | None) -> tuple[ApiKey, Principal]:
        if found is None:
            self._remembered.pop(name, None)
            raise Unauthenticated
        stream, key = found
        principal = Principal(
            "api_key",
            Actor("api_key", str(key.key_id), "bearer"),
            stream.stream_id,
            key.key_id,
            frozenset(key.scopes),
        )
        if len(self._remembered) >= REMEMBERED_MAX:
            self._remembered.clear()
        self._remembered[name] = (time.monotonic(), key, principal)
        return key, principal

    def forget(self) -> None:
        """After a key was revoked here: nobody is remembered any longer."""
        self._remembered.clear()


def _digest(key: str) -> bytes:
    return sha256(key.encode()).digest()
