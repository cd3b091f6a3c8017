"""Wakes the phones whose passes have come to another revision, and forgets those that Apple calls gone."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from ledger.commands import Ledger
from ledger.errors import StoreAway
from ledger.stream import Actor
from projections.table import Queries
from wallet_sync import breaker
from wallet_sync.apple_push import GIVE_UP_AFTER, ApplePush, Outcome, is_mass_bad, pause_after
from wallet_sync.wallet_work import LEASE, Owed, claim, done, failed

BATCH = 200
LOOK_AFTER = timedelta(hours=6)  # A phone that was woken has asked by then, if it is on.
ALARM_PAUSE = timedelta(minutes=5)  # Until certificate or topic may have been mended.
ACTOR = Actor("system", "wallet-sync", "none")

KNOWN_PHONE = {"accepted", "gone", "back_off"}  # Apple knows the token: host and certificate are right.
RESOLUTION = timedelta(microseconds=1)  # Of times in the database.

TOKENS = "SELECT id, push_token, updated_at FROM apple_device_registrations WHERE id = ANY(%s)"
CLAIM_OTHERS = """
WITH others AS (
    SELECT w.id FROM apple_device_registrations r
    JOIN apple_device_registrations o ON o.device_library_identifier = r.device_library_identifier
    JOIN wallet_work w ON w.channel = 'apple' AND w.id = o.id
    WHERE r.id = ANY(%(ids)s) AND o.id <> ALL(%(ids)s) AND w.synced < w.desired AND NOT w.is_parked
        AND w.failures = 0 AND (w.leased_until IS NULL OR w.leased_until < now())
    FOR UPDATE OF w SKIP LOCKED
)
UPDATE wallet_work w SET leased_until = now() + %(lease)s, last_tried_at = now() FROM others
WHERE w.channel = 'apple' AND w.id = others.id
RETURNING w.id, w.card_id, w.desired, w.failures, w.owed_since
"""

log = structlog.get_logger("wallet_sync.apple_pushes")


async def push_due(ledger: Ledger, push: ApplePush, clock: Callable[[], datetime], rng: random.Random) -> int:
    """Push to the phones whose time has come, each once however many of its passes changed.

    Where Apple refuses the topic or calls most tokens bad, all is stopped but for a trial now and then, and no token is
    believed to be bad until Apple has known one again.

    Returns: How many rows were taken; 0 where nothing is due.

    Raises: StoreAway. What was taken is taken again when its lease has ended.
    """
    queries = ledger.reader
    room = await breaker.room(queries, "apple", BATCH)
    taken = await claim(queries, "apple", room) if room else []
    if not taken:
        return 0
    taken += await _claim_others(queries, taken)
    tokens = await queries.rows(TOKENS, ([row.id for row in taken],))
    token_of = {row[0]: row[1] for row in tokens}
    registered_at = {row[0]: row[2] for row in tokens}
    by_token: dict[str, list[Owed]] = defaultdict(list)
    for row in taken:
        if row.id in token_of:
            by_token[token_of[row.id]].append(row)
    await done(queries, "apple", [row for row in taken if row.id not in token_of])  # Gone from the tables by now.
    outcomes = dict(zip(by_token, await asyncio.gather(*map(push.push, by_token)), strict=True))
    bad = sum(outcome.what == "bad_token" for outcome in outcomes.values())
    answers = {outcome.what for outcome in outcomes.values()}
    is_trial, is_well = room < BATCH, bool(answers & KNOWN_PHONE)
    spares_bad = is_mass_bad(len(outcomes), bad) or (is_trial and not is_well)
    if spares_bad and bad:
        log.error("apns-calls-most-tokens-bad", tokens=len(outcomes), bad=bad)
    if (spares_bad and bad) or "stop_topic" in answers:
        await breaker.stop(queries, "apple")
    elif is_trial and is_well:
        await breaker.go_on(queries, "apple")
    for token, outcome in outcomes.items():
        try:
            await _settle(ledger, by_token[token], outcome, clock(), rng, registered_at, spares_bad=spares_bad)
        except StoreAway:
            raise
        except Exception as failure:
            log.exception("apns-answer-not-settled")
            for row in by_token[token]:
                name, is_over = type(failure).__name__, _is_over(row, clock())
                await failed(queries, "apple", row, error=name, pause=ALARM_PAUSE, is_parked=is_over)
    return len(taken)


async def _claim_others(queries: Queries, taken: list[Owed]) -> list[Owed]:
    """What else these phones are owed, be it due a moment later: they ask for all their passes when they wake."""
    asked = {"ids": [row.id for row in taken], "lease": LEASE}
    return [Owed(*row) for row in await queries.rows(CLAIM_OTHERS, asked)]


async def _settle(
    ledger: Ledger,
    owed: list[Owed],
    outcome: Outcome,
    now: datetime,
    rng: random.Random,
    registered_at: Mapping[UUID, datetime],
    *,
    spares_bad: bool,
) -> None:
    queries, error = ledger.reader, outcome.reason or f"status {outcome.status}"
    match outcome.what:
        case "accepted":
            await done(queries, "apple", owed, status=outcome.status, look_after=LOOK_AFTER)
        case "gone" | "bad_token" if not spares_bad:
            for row in owed:
                assert row.card_id is not None
                # This token is meant, not one that the phone registered with while the push was on its way.
                after_this_one = registered_at[row.id] + RESOLUTION
                gone_at = outcome.gone_at if outcome.what == "gone" else after_this_one
                is_forgotten = gone_at is not None and await ledger.passes.forget(
                    row.card_id, row.id, gone_at=min(gone_at, after_this_one), actor=ACTOR
                )
                if is_forgotten:
                    await done(queries, "apple", [row])
                else:
                    await failed(queries, "apple", row, error=error, status=outcome.status, pause=ALARM_PAUSE)
        case "our_mistake":
            log.error("apns-refused", error=error)
            for row in owed:
                await failed(
                    queries, "apple", row, error=error, status=outcome.status, pause=ALARM_PAUSE, is_parked=True
                )
        case "stop_topic" | "gone" | "bad_token":
            log.error("apns-stopped", error=error)
            for row in owed:
                is_over = _is_over(row, now)
                await failed(
                    queries, "apple", row, error=error, status=outcome.status, pause=ALARM_PAUSE, is_parked=is_over
                )
        case "back_off" | "retry":
            for row in owed:
                pause, is_over = pause_after(row.failures + 1, outcome, rng) or ALARM_PAUSE, _is_over(row, now)
                await failed(queries, "apple", row, error=error, status=outcome.status, pause=pause, is_parked=is_over)


def _is_over(row: Owed, now: datetime) -> bool:
    return row.failures > 0 and now - row.owed_since > GIVE_UP_AFTER
