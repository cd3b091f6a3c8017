"""What is owed to wallets, as rows: taken under a lease, done or tried again later, parked when nothing helps.

A row owes something while its synced revision is below the desired one. What was done is written as the revision it
was done for, so that a change in between stays owed. A worker that dies loses nothing but its lease.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias
from uuid import UUID

import psycopg

from projections.table import Queries, Row, dicts

Channel: TypeAlias = Literal["apple", "google", "google_class", "google_users", "google_sweep", "program"]

LEASE = timedelta(seconds=60)

CLAIM = """
WITH due AS (
    SELECT channel, id FROM wallet_work
    WHERE channel = %(channel)s AND synced < desired AND NOT is_parked AND due_at <= now()
        AND (leased_until IS NULL OR leased_until < now())
    ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
UPDATE wallet_work w SET leased_until = now() + %(lease)s, last_tried_at = now() FROM due
WHERE w.channel = due.channel AND w.id = due.id
RETURNING w.id, w.card_id, w.desired, w.failures, w.owed_since
"""
DONE = """
UPDATE wallet_work w SET synced = greatest(w.synced, n.revision), failures = 0, last_error = NULL,
    last_done_at = now(), leased_until = NULL
FROM unnest(%s::uuid[], %s::bigint[]) AS n (id, revision) WHERE w.channel = %s AND w.id = n.id
"""
FAILED = """
UPDATE wallet_work SET failures = failures + 1, last_error = %(error)s, due_at = now() + %(pause)s,
    leased_until = NULL, is_parked = %(is_parked)s
WHERE channel = %(channel)s AND id = %(id)s
"""
RETRY = """
UPDATE wallet_work SET is_parked = false, failures = 0, due_at = now(), owed_since = now()
WHERE synced < desired AND (is_parked OR failures > 0) AND (%(card)s::uuid IS NULL OR card_id = %(card)s)
RETURNING id
"""
BACKLOG = """
SELECT channel, count(*) FILTER (WHERE NOT is_parked), count(*) FILTER (WHERE is_parked), min(owed_since)
FROM wallet_work WHERE synced < desired GROUP BY channel ORDER BY channel
"""
ERRORS = """
SELECT channel, last_error, count(*) FROM wallet_work WHERE synced < desired AND last_error IS NOT NULL
GROUP BY channel, last_error ORDER BY channel, last_error
"""


@dataclass(frozen=True, slots=True)
class Owed:
    """One row under our lease."""

    id: UUID
    card_id: UUID | None
    desired: int
    failures: int
    owed_since: datetime


async def claim(queries: Queries, channel: Channel, limit: int) -> list[Owed]:
    """Up to so many rows whose time has come, ours for a minute."""
    asked = {"channel": channel, "limit": limit, "lease": LEASE}
    return [Owed(*row) for row in await queries.rows(CLAIM, asked)]


async def done(queries: Queries, channel: Channel, owed: Sequence[Owed]) -> None:
    await queries.rows(DONE, ([row.id for row in owed], [row.desired for row in owed], channel))


async def failed(
    queries: Queries, channel: Channel, owed: Owed, *, error: str, pause: timedelta, is_parked: bool = False
) -> None:
    """Again after the pause. A parked row waits for `retry`, or for the next change of its program."""
    told: Mapping[str, Any] = {"channel": channel, "id": owed.id, "error": error, "pause": pause}
    await queries.rows(FAILED, {**told, "is_parked": is_parked})


async def retry(queries: Queries, card_id: UUID | None = None) -> int:
    """Let what is parked or failing be tried at once: a card's, or everything. Returns how many rows."""
    return len(await queries.rows(RETRY, {"card": card_id}))


def retry_at_once(conninfo: str, card_id: UUID | None = None) -> int:
    """`retry` for who has no service at hand."""
    with psycopg.connect(conninfo, autocommit=True, connect_timeout=5) as connection:
        return len(connection.execute(RETRY, {"card": card_id}).fetchall())


async def backlog(queries: Queries) -> list[Row]:
    """For each channel that owes something: how many wait, how many are parked, since when, and the errors' counts."""
    columns = "channel, waiting, parked, oldest_since"
    told = dicts(columns, await queries.rows(BACKLOG))
    errors = await queries.rows(ERRORS)
    for row in told:
        row["errors"] = {error: count for channel, error, count in errors if channel == row["channel"]}
    return told


async def of_card(queries: Queries, card_id: UUID) -> list[Row]:
    """What each channel of a card was told, and what not."""
    columns = (
        "channel, id, desired, synced, owed_since, due_at, failures, last_error, last_tried_at, last_done_at, is_parked"
    )
    sql = f"SELECT {columns} FROM wallet_work WHERE card_id = %s ORDER BY channel, id"
    return dicts(columns, await queries.rows(sql, (card_id,)))
