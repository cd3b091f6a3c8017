"""Mends what drifted: phones that were woken and never came, rules whose day has come, and once a night everything.

Each is one statement that many may send: who comes second finds nothing left to do.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from ledger.errors import StoreAway
from projections.table import Queries, Row, dicts
from wallet_sync.apple_certificates import AppleKeysUnfit
from wallet_sync.apple_key_ring import KeyRing

TURN_SECONDS = 5.0
AT_ONCE = 500
SWEEP_AT = timedelta(hours=3)  # Of the day in UTC, when shops are closed.
SWEEP = UUID(int=0)

# A phone was reached if it asked after it was told, and somebody fetched what there is. Else it is told again, unless
# something newer is owed to it anyway. A program is owed again when the rules it announced come into force.
LOOK_AGAIN = """
WITH due AS (
    SELECT w.channel, w.id, w.synced >= w.desired AND (
        w.channel = 'program' OR p.fetched_revision IS NULL OR p.fetched_revision < p.revision
        OR w.asked_at IS NULL OR w.asked_at < w.last_tried_at
    ) AS is_missed
    FROM wallet_work w LEFT JOIN wallet_passes p ON p.card_id = w.card_id
    WHERE w.look_again_at <= now() AND (w.leased_until IS NULL OR w.leased_until < now())
    ORDER BY w.look_again_at LIMIT %s FOR UPDATE OF w SKIP LOCKED
)
UPDATE wallet_work w SET look_again_at = NULL,
    desired = CASE WHEN is_missed AND w.channel = 'program' THEN w.desired + 1 ELSE w.desired END,
    synced = CASE WHEN is_missed AND w.channel <> 'program' THEN w.desired - 1 ELSE w.synced END,
    times_again = CASE WHEN is_missed AND w.channel <> 'program' THEN w.times_again + 1 ELSE w.times_again END,
    owed_since = CASE WHEN is_missed THEN now() ELSE w.owed_since END,
    due_at = CASE WHEN is_missed THEN now() ELSE w.due_at END
FROM due WHERE w.channel = due.channel AND w.id = due.id
RETURNING is_missed
"""
# One more row of work, whose revision is the number of a day: whoever writes the new day lets all programs be owed.
SWEEP_IF_DUE = """
WITH night AS (
    INSERT INTO wallet_work AS w (channel, id, desired, synced, last_done_at)
    VALUES ('sweep', %(sweep)s, %(day)s, %(day)s, now())
    ON CONFLICT (channel, id) DO UPDATE SET
        desired = excluded.desired, synced = excluded.synced, last_done_at = excluded.last_done_at
    WHERE w.synced < excluded.synced
    RETURNING 1
), at_google AS (
    UPDATE wallet_work SET desired = desired + 1, owed_since = now(), due_at = now(), failures = 0, is_parked = false
    FROM night WHERE channel = 'google_sweep' AND (synced >= desired OR is_parked)
)
INSERT INTO wallet_work AS w (channel, id, desired, synced)
SELECT 'program', program_id, 1, 0 FROM (SELECT DISTINCT program_id FROM wallet_passes) p, night
ON CONFLICT (channel, id) DO UPDATE SET
    desired = w.desired + 1, owed_since = now(), due_at = now(), failures = 0, is_parked = false
WHERE w.synced >= w.desired OR w.is_parked
RETURNING id
"""
# Days before a certificate ends: one line in the log for each.
WARN_DAYS = (30, 14)
ALARM_DAYS = (7, 1)
LAST_SWEEP = """
SELECT s.last_done_at, count(p.id) FILTER (WHERE p.synced < p.desired), count(p.id), max(p.last_done_at)
FROM wallet_work s
LEFT JOIN wallet_work p ON p.channel = 'program' AND (p.due_at >= s.last_done_at OR p.synced < p.desired)
WHERE s.channel = 'sweep' GROUP BY s.last_done_at
"""


async def look_again(queries: Queries) -> int:
    """Look at the rows whose time to do so has come; what had no effect is owed again.

    Returns: How many are owed again.

    Raises: StoreAway. Asking again is safe.
    """
    looked, owed = AT_ONCE, 0
    while looked == AT_ONCE:
        rows = await queries.rows(LOOK_AGAIN, (AT_ONCE,))
        looked, owed = len(rows), owed + sum(is_missed for (is_missed,) in rows)
    return owed


async def sweep_if_due(queries: Queries, now: datetime) -> int:
    """Once a night let every pass be looked at again: what changed without anybody noticing is noticed then.

    Returns: How many programs are owed by it; 0 where somebody did this night's already.

    Raises: StoreAway. Asking again is safe.
    """
    return len(await queries.rows(SWEEP_IF_DUE, {"sweep": SWEEP, "day": night_of(now)}))


def night_of(now: datetime) -> int:
    """The number of the last night whose sweep was due by `now`: days since 1970, changing at `SWEEP_AT`."""
    return (now - SWEEP_AT - datetime(1970, 1, 1, tzinfo=UTC)).days


async def last_sweep(queries: Queries) -> Row | None:
    """When the last sweep began, how far it is, and when it ended; None where there was none yet."""
    columns = "begun_at, programs_left, programs, ended_at"
    told = dicts(columns, await queries.rows(LAST_SWEEP))
    for row in told:
        row["ended_at"] = None if row["programs_left"] else row["ended_at"] or row["begun_at"]
    return told[0] if told else None


# ------------------------------------------------------------------ the loop


class Upkeep:
    """All of it, turn by turn. What was said once is not said again until it is another thing."""

    def __init__(self, queries: Queries, ring: KeyRing | None, clock: Callable[[], datetime]) -> None:
        self._queries = queries
        self._ring = ring
        self._clock = clock
        self._night: int | None = None
        self._told: int | None = None

    async def turn(self) -> None:
        """Raises: StoreAway. What was not done is done in the next turn."""
        self._look_at_certificate()
        if owed := await look_again(self._queries):
            log.info("wallet-told-again", count=owed)
        night = night_of(now := self._clock())
        if night != self._night:
            if programs := await sweep_if_due(self._queries, now):
                log.info("wallet-sweep", count=programs)
            self._night = night

    def _look_at_certificate(self) -> None:
        if self._ring is None:
            return
        now = self._clock()
        try:
            days_left = self._ring.signer(now).days_left(now)
        except AppleKeysUnfit:
            return  # Told by whoever needs it.
        mark = passed_mark(days_left)
        if mark is not None and mark != self._told:
            tell = log.error if mark in ALARM_DAYS else log.warning
            tell("certificate-ends-soon", provider="apple", days_left=days_left)
        self._told = mark


def passed_mark(days_left: int) -> int | None:
    """The last mark a certificate has passed on the way to its end: 30, 14, 7 or 1 days; None before the first."""
    return min((mark for mark in (*WARN_DAYS, *ALARM_DAYS) if days_left <= mark), default=None)


@asynccontextmanager
async def kept_up(queries: Queries, ring: KeyRing | None, clock: Callable[[], datetime]) -> AsyncIterator[None]:
    """Turn after turn, beside what the block does."""
    task = asyncio.create_task(_turn_forever(Upkeep(queries, ring, clock)))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _turn_forever(upkeep: Upkeep) -> None:
    while True:
        try:
            await upkeep.turn()
        except StoreAway:
            pass
        except Exception:
            log.exception("upkeep-failed")
        await asyncio.sleep(TURN_SECONDS)


log = structlog.get_logger("wallet_sync.upkeep")
