"""Table one_time_codes: sign-in links and pairing codes. Each opens one door once, within minutes.

Kept as a digest under a key of ours, so that nobody who reads the table can find a short code by trying them all.
"""

import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol, TypeAlias
from uuid import UUID

from psycopg.types.json import Jsonb

from ledger.seal import MasterKey

Purpose: TypeAlias = Literal["sign-in", "till"]

PUT = """
WITH gone AS (DELETE FROM one_time_codes WHERE expires_at < %(now)s)
INSERT INTO one_time_codes (digest, purpose, vendor_id, details, expires_at)
VALUES (%(digest)s, %(purpose)s, %(vendor_id)s, %(details)s, %(expires_at)s)
"""
# Whoever deletes the row is the one who used the code: of two at one moment only one finds it.
TAKE = """
DELETE FROM one_time_codes WHERE digest = %(digest)s AND purpose = %(purpose)s
RETURNING vendor_id, details, expires_at
"""


class Rows(Protocol):
    async def rows(self, sql: str, parameters: dict[str, Any], /) -> list[tuple[Any, ...]]: ...


@dataclass(frozen=True, slots=True)
class Taken:
    vendor_id: UUID
    details: dict[str, Any]


def row(
    master_key: MasterKey,
    purpose: Purpose,
    code: str,
    *,
    vendor_id: UUID,
    details: dict[str, Any],
    now: datetime,
    expires_at: datetime,
) -> dict[str, Any]:
    """The parameters of `PUT`."""
    return {
        "digest": _digest(master_key, purpose, code),
        "purpose": purpose,
        "vendor_id": vendor_id,
        "details": Jsonb(details),
        "now": now,
        "expires_at": expires_at,
    }


async def take(store: Rows, master_key: MasterKey, purpose: Purpose, code: str, *, now: datetime) -> Taken | None:
    """What a code stands for, and the code is used up; None for one that is unknown, used or too old.

    Raises: StoreAway where the database is away: then it may be used up or not.
    """
    found = await store.rows(TAKE, {"digest": _digest(master_key, purpose, code), "purpose": purpose})
    if not found or found[0][2] <= now:
        return None
    return Taken(found[0][0], found[0][1])


def _digest(master_key: MasterKey, purpose: Purpose, code: str) -> bytes:
    return hmac.digest(master_key.derive("one-time codes"), f"{purpose}:{code}".encode(), "sha256")
