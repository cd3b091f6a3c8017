"""Tables vendors and api_keys: merchants, and every key ever issued to them, revoked ones included."""

from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from ledger.stream import Recorded
from ledger.vendor import ApiKeyIssued, ApiKeyRevoked, Scope, Vendor, evolve
from projections.table import Kept, Queries, Row, StateTable, dicts, json_of

COLUMNS = "id, code, name, country, timezone, currency, languages, is_active, version, position, created_at, updated_at"
KEY_COLUMNS = "key_id, vendor_id, name, prefix, scopes, issued_at, expires_at, revoked_at, version, position"


def row(kept: Kept) -> Row:
    vendor: Vendor = kept.state
    return {
        "id": kept.id,
        "code": vendor.code,
        "name": vendor.profile.name,
        "country": vendor.profile.country,
        "timezone": vendor.profile.timezone,
        "currency": vendor.profile.currency,
        "languages": list(vendor.profile.languages),
        "is_active": vendor.is_active,
        "version": kept.version,
        "position": kept.position,
        "created_at": vendor.created_at,
        "updated_at": vendor.last_at,
        "state": json_of(vendor),
    }


def _vendor_id(recorded: Recorded) -> UUID | None:
    return recorded.stream_id if recorded.envelope.stream_type == "vendor" else None


VENDORS = StateTable("vendors", Vendor, _vendor_id, evolve, row, vendor_column="id")


class IssuedKey(Struct, frozen=True):
    """A key from its issue on. A vendor's own state forgets it when it is revoked."""

    name: str
    digest: str
    prefix: str
    scopes: tuple[Scope, ...]
    issued_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


def evolve_key(key: IssuedKey | None, event: Any) -> IssuedKey:
    if isinstance(event, ApiKeyIssued):
        return IssuedKey(event.name, event.digest, event.prefix, event.scopes, event.at, event.expires_at)
    assert key is not None, "a key is issued before it is revoked"
    return replace(key, revoked_at=event.at)


def key_row(kept: Kept) -> Row:
    key: IssuedKey = kept.state
    return {
        "key_id": kept.id,
        "vendor_id": kept.vendor_id,
        "name": key.name,
        "digest": key.digest,
        "prefix": key.prefix,
        "scopes": list(key.scopes),
        "issued_at": key.issued_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "version": kept.version,
        "position": kept.position,
        "state": json_of(key),
    }


def _key_id(recorded: Recorded) -> UUID | None:
    return recorded.event.key_id if isinstance(recorded.event, ApiKeyIssued | ApiKeyRevoked) else None


API_KEYS = StateTable("api_keys", IssuedKey, _key_id, evolve_key, key_row, key="key_id")


# ------------------------------------------------------------------ readers


async def read(queries: Queries, vendor_id: UUID) -> Row | None:
    """One vendor.

    Raises: StoreAway where the database is away; asking again is safe. So do all readers here.

    Source: table vendors, which trails the stream by a few milliseconds.
    """
    found = dicts(COLUMNS, await queries.rows(f"SELECT {COLUMNS} FROM vendors WHERE id = %s", (vendor_id,)))
    return found[0] if found else None


async def read_by_code(queries: Queries, code: str) -> Row | None:
    found = dicts(COLUMNS, await queries.rows(f"SELECT {COLUMNS} FROM vendors WHERE code = %s", (code,)))
    return found[0] if found else None


LIST = f"""
SELECT {COLUMNS} FROM vendors
WHERE (%(at)s::timestamptz IS NULL OR (created_at, id) < (%(at)s, %(id)s::uuid))
    AND (%(is_active)s::boolean IS NULL OR is_active = %(is_active)s)
ORDER BY created_at DESC, id DESC LIMIT %(limit)s
"""


async def list_vendors(
    queries: Queries, *, is_active: bool | None = None, before: tuple[datetime, UUID] | None = None, limit: int = 50
) -> list[Row]:
    """Newest first. `before` is `(created_at, id)` of the last row of the page before."""
    at, id_ = before or (None, None)
    return dicts(COLUMNS, await queries.rows(LIST, {"at": at, "id": id_, "is_active": is_active, "limit": limit}))


async def list_api_keys(queries: Queries, vendor_id: UUID) -> list[Row]:
    """Every key the vendor ever had, newest first, without its digest."""
    sql = f"SELECT {KEY_COLUMNS} FROM api_keys WHERE vendor_id = %s ORDER BY issued_at DESC, key_id DESC"
    return dicts(KEY_COLUMNS, await queries.rows(sql, (vendor_id,)))
