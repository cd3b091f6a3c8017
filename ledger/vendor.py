"""A vendor: the merchant, and the API keys of its systems."""

from datetime import datetime
from typing import Literal, TypeAlias, assert_never
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from ledger.errors import ApiKeyNotFound, InvalidValue

Scope: TypeAlias = Literal["cards", "earn", "redeem", "reverse", "adjust", "programs", "pins", "read"]
SCOPES: tuple[Scope, ...] = ("cards", "earn", "redeem", "reverse", "adjust", "programs", "pins", "read")
API_KEYS_MAX = 200

# How the prefix of a key begins, by what it is for. Those of people and tills are never shown: their browser's cookie
# stands for them.
KEY_PREFIX = "llk_"
LINK_PREFIX = "link_"
TILL_PREFIX = "till_"


# ------------------------------------------------------------------ events


class Profile(Struct, frozen=True):
    name: str
    country: str
    timezone: str
    currency: str
    languages: tuple[str, ...]


class VendorRegistered(Struct, frozen=True):
    at: datetime
    code: str
    profile: Profile


class VendorUpdated(Struct, frozen=True):
    at: datetime
    profile: Profile


class VendorSuspended(Struct, frozen=True):
    at: datetime


class VendorReinstated(Struct, frozen=True):
    at: datetime


class ApiKeyIssued(Struct, frozen=True):
    """Only a digest of the key is ever stored."""

    at: datetime
    key_id: UUID
    name: str
    digest: str
    prefix: str
    scopes: tuple[Scope, ...]
    expires_at: datetime | None


class ApiKeyRevoked(Struct, frozen=True):
    at: datetime
    key_id: UUID


VendorEvent: TypeAlias = (
    VendorRegistered | VendorUpdated | VendorSuspended | VendorReinstated | ApiKeyIssued | ApiKeyRevoked
)


# ------------------------------------------------------------------ state


class ApiKey(Struct, frozen=True):
    key_id: UUID
    name: str
    digest: str
    prefix: str
    scopes: tuple[Scope, ...]
    issued_at: datetime
    expires_at: datetime | None

    def is_valid(self, now: datetime) -> bool:
        return self.expires_at is None or now < self.expires_at


class Vendor(Struct, frozen=True):
    code: str
    profile: Profile
    created_at: datetime
    last_at: datetime
    is_active: bool = True
    api_keys: tuple[ApiKey, ...] = ()  # Revoked ones are gone from here; the stream remembers them.

    def api_key(self, key_id: UUID) -> ApiKey:
        for key in self.api_keys:
            if key.key_id == key_id:
                return key
        raise ApiKeyNotFound


def evolve(vendor: Vendor | None, event: VendorEvent) -> Vendor:
    """The vendor after one more event. Never checks."""
    if isinstance(event, VendorRegistered):
        return Vendor(event.code, event.profile, created_at=event.at, last_at=event.at)
    assert vendor is not None, "a vendor's first event is its registration"
    vendor = replace(vendor, last_at=event.at)
    match event:
        case VendorUpdated():
            return replace(vendor, profile=event.profile)
        case VendorSuspended():
            return replace(vendor, is_active=False)
        case VendorReinstated():
            return replace(vendor, is_active=True)
        case ApiKeyIssued():
            key = ApiKey(event.key_id, event.name, event.digest, event.prefix, event.scopes, event.at, event.expires_at)
            return replace(vendor, api_keys=(*vendor.api_keys, key))
        case ApiKeyRevoked():
            return replace(vendor, api_keys=tuple(key for key in vendor.api_keys if key.key_id != event.key_id))
        case _:
            assert_never(event)


# ------------------------------------------------------------------ decisions


def register(*, code: str, profile: Profile, now: datetime) -> list[VendorEvent]:
    return [VendorRegistered(now, code, profile)]


def update(vendor: Vendor, *, profile: Profile, is_active: bool | None, now: datetime) -> list[VendorEvent]:
    """What differs becomes events; what does not, none."""
    events: list[VendorEvent] = []
    if profile != vendor.profile:
        events.append(VendorUpdated(now, profile))
    if is_active is not None and is_active != vendor.is_active:
        events.append(VendorReinstated(now) if is_active else VendorSuspended(now))
    return events


def issue_api_key(
    vendor: Vendor,
    *,
    key_id: UUID,
    name: str,
    digest: str,
    prefix: str,
    scopes: tuple[Scope, ...],
    expires_at: datetime | None,
    now: datetime,
) -> list[VendorEvent]:
    """Keys of people who signed in by a link and are long gone make room for the new one."""
    if expires_at is not None and expires_at <= now:
        raise InvalidValue(field="expires_at", why="lies in the past")
    gone = [key for key in vendor.api_keys if key.prefix.startswith(LINK_PREFIX) and not key.is_valid(now)]
    if len(vendor.api_keys) - len(gone) >= API_KEYS_MAX:
        raise InvalidValue(field="name", why=f"a vendor has at most {API_KEYS_MAX} keys, revoke one first")
    return [
        *(ApiKeyRevoked(now, key.key_id) for key in gone),
        ApiKeyIssued(now, key_id, name, digest, prefix, scopes, expires_at),
    ]


def revoke_api_key(vendor: Vendor, *, key_id: UUID, now: datetime) -> list[VendorEvent]:
    vendor.api_key(key_id)
    return [ApiKeyRevoked(now, key_id)]
