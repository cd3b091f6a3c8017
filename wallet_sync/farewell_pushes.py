"""Wakes the phones of forgotten persons, once each, so that they fetch the pass that says nothing any more."""

import asyncio
import random
from datetime import timedelta
from uuid import UUID

import structlog

from ledger.personal import Secret
from ledger.seal import MasterKey, SealBroken, unseal
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

log = structlog.get_logger("wallet_sync.farewell_pushes")


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
