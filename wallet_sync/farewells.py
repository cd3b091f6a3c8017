"""The last thing a forgotten person's phones hear: their pass is void and says nothing any more.

A row for each phone holds a keyed digest of its name and its push token, sealed. The token goes when it was used, the
row when the phone has fetched the empty pass, and both after a week, which is how long Apple keeps a push.
"""

import asyncio
import random
from datetime import timedelta
from uuid import UUID

import structlog

from ledger.personal import Secret
from ledger.seal import MasterKey, SealBroken, farewell_digest, unseal
from projections.table import Queries
from wallet_sync.apple_push import ApplePush, pause_after

BATCH = 200
LEASE = timedelta(seconds=60)
ALARM_PAUSE = timedelta(minutes=5)

LAPSED = "DELETE FROM wallet_farewells WHERE until < now()"
# The query tables come first: a phone that asks must find what it is woken for.
TAKE = """
UPDATE wallet_farewells SET due_at = now() + %(lease)s WHERE id IN (
    SELECT id FROM wallet_farewells
    WHERE push_token IS NOT NULL AND due_at <= now()
        AND position <= (SELECT position FROM projections WHERE name = 'query_tables')
    ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
) RETURNING id, vendor_id, push_token, failures
"""
SAID = "UPDATE wallet_farewells SET push_token = NULL WHERE id = %s"
AGAIN = "UPDATE wallet_farewells SET due_at = now() + %s, failures = failures + 1 WHERE id = %s"
ASKED = """
UPDATE wallet_farewells SET asked_at = now() WHERE device_digest = %s AND pass_type_id = %s AND until > now()
RETURNING serial_number, position
"""
OWED = """
SELECT max(position) FROM wallet_farewells WHERE serial_number = %s AND pass_type_id = %s AND until > now()
"""
HEARD = """
DELETE FROM wallet_farewells WHERE id = (
    SELECT id FROM wallet_farewells WHERE serial_number = %s AND pass_type_id = %s
    ORDER BY asked_at DESC NULLS LAST, id LIMIT 1
)
"""

log = structlog.get_logger("wallet_sync.farewells")


async def push_farewells(queries: Queries, master_key: MasterKey, push: ApplePush, rng: random.Random) -> int:
    """Wake the phones whose turn it is, and let go of those that were never reached.

    Returns: How many were tried.

    Raises: StoreAway. Whoever was taken is taken again within a minute.
    """
    await queries.rows(LAPSED)
    taken = await queries.rows(TAKE, {"lease": LEASE, "limit": BATCH})
    await asyncio.gather(*(_push(queries, master_key, push, rng, *row) for row in taken))
    return len(taken)


async def _push(
    queries: Queries,
    master_key: MasterKey,
    push: ApplePush,
    rng: random.Random,
    id_: UUID,
    vendor_id: UUID,
    sealed: str,
    failures: int,
) -> None:
    try:
        token = unseal(Secret(sealed=sealed), master_key.farewell_key(id_, vendor_id), stream_id=id_).plain
    except SealBroken:
        log.error("farewell-cannot-be-opened")
        token = None
    if token is None:
        await queries.rows(SAID, (id_,))
        return
    outcome = await push.push(token)
    match outcome.what:
        case "accepted" | "gone" | "bad_token":
            await queries.rows(SAID, (id_,))
        case "back_off" | "retry":
            await queries.rows(AGAIN, (pause_after(failures + 1, outcome, rng) or ALARM_PAUSE, id_))
        case "stop_topic" | "our_mistake":
            log.error("apns-refused", error=outcome.reason or f"status {outcome.status}")
            await queries.rows(AGAIN, (ALARM_PAUSE, id_))


async def asked(queries: Queries, master_key: MasterKey, device: str, pass_type_id: str) -> list[tuple[str, int]]:
    """Serial numbers of passes that this phone should fetch once more, each with the position of its erasure."""
    rows = await queries.rows(ASKED, (farewell_digest(master_key, device), pass_type_id))
    return [(serial, position) for serial, position in rows]


async def owed(queries: Queries, pass_type_id: str, serial: str) -> int | None:
    """The position of the erasure, where some phone has yet to fetch the empty pass; None where none has."""
    ((position,),) = await queries.rows(OWED, (serial, pass_type_id))
    return None if position is None else int(position)


async def heard(queries: Queries, pass_type_id: str, serial: str) -> None:
    """A phone fetched the empty pass: the one that asked last."""
    await queries.rows(HEARD, (serial, pass_type_id))
