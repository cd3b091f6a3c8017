"""What is owed to wallets, as rows: taken under a lease, done or tried again later, parked when nothing helps.

A row owes something while its synced revision is below the desired one. What was done is written as the revision it
was done for, so that a change in between stays owed. A worker that dies loses nothing but its lease.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias
from uuid import UUID

import psycopg

from projections.table import Queries, Row, dicts

Channel: TypeAlias = Literal["apple", "google", "google_class", "google_users", "google_sweep", "program"]

LEASE = timedelta(seconds=60)
TIMES_AGAIN_MAX = 3
ERROR_CHARACTERS_MAX = 500

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
KEEP = "UPDATE wallet_work SET leased_until = now() + %(lease)s WHERE channel = %(channel)s AND id = %(id)s"
DONE = """
UPDATE wallet_work w SET synced = greatest(w.synced, n.revision), failures = 0, last_error = NULL,
    last_status = %(status)s, last_done_at = now(), leased_until = NULL, look_again_at = CASE
        WHEN w.times_again < %(times)s THEN now() + %(look_after)s::interval * power(2, w.times_again) END
FROM unnest(%(ids)s::uuid[], %(revisions)s::bigint[]) AS n (id, revision)
WHERE w.channel = %(channel)s AND w.id = n.id
"""
FAILED = """
UPDATE wallet_work SET failures = failures + 1, last_error = %(error)s, last_status = %(status)s,
    due_at = now() + %(pause)s, leased_until = NULL, is_parked = %(is_parked)s
WHERE channel = %(channel)s AND id = %(id)s
"""
OWE_CLASS_AGAIN = """
UPDATE wallet_work SET synced = 0, due_at = now(), owed_since = now()
WHERE channel = 'google_class' AND id = %s AND synced >= desired
"""
# A provider that is stopped is tried at once too.
RETRY = """
WITH trial AS (UPDATE paces SET next_at = now() WHERE name LIKE '%% stopped')
UPDATE wallet_work SET is_parked = false, failures = 0, due_at = now(), owed_since = now()
WHERE synced < desired AND (is_parked OR failures > 0) AND (%(card)s::uuid IS NULL OR card_id = %(card)s)
RETURNING id
"""
# Each half by an index of its own: it is asked for again and again, and most rows owe nothing.
OWING = """(
    SELECT channel, owed_since, last_error, is_parked FROM wallet_work WHERE synced < desired AND NOT is_parked
    UNION ALL SELECT channel, owed_since, last_error, is_parked FROM wallet_work WHERE is_parked
) owing"""
BACKLOG = f"""
SELECT channel, count(*) FILTER (WHERE NOT is_parked), count(*) FILTER (WHERE is_parked), min(owed_since),
    greatest(extract(epoch FROM now() - min(owed_since)), 0)::float
FROM {OWING} GROUP BY channel ORDER BY channel
"""
ERRORS = f"""
SELECT channel, last_error, count(*) FROM {OWING} WHERE last_error IS NOT NULL
GROUP BY channel, last_error ORDER BY channel, last_error
"""
PARKED_COLUMNS = "channel, id, card_id, owed_since, last_error, last_status, failures, last_tried_at"
PARKED = f"""
SELECT {PARKED_COLUMNS} FROM wallet_work
WHERE is_parked AND (owed_since, id) > (%(since)s, %(id)s) AND (%(channel)s::text IS NULL OR channel = %(channel)s)
ORDER BY owed_since, id LIMIT %(limit)s
"""
LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Owed:
    """One row under our lease."""

    id: UUID
    card_id: UUID | None
    desired: int
    failures: int
    owed_since: datetime


async def keep(queries: Queries, channel: Channel, owed: Owed) -> None:
    """It is ours for another minute: who works for longer says so in time."""
    await queries.rows(KEEP, {"channel": channel, "id": owed.id, "lease": LEASE})


async def claim(queries: Queries, channel: Channel, limit: int) -> list[Owed]:
    """Up to so many rows whose time has come, ours for a minute."""
    asked = {"channel": channel, "limit": limit, "lease": LEASE}
    return [Owed(*row) for row in await queries.rows(CLAIM, asked)]


async def done(
    queries: Queries,
    channel: Channel,
    owed: Sequence[Owed],
    *,
    status: int | None = None,
    look_after: timedelta | None = None,
) -> None:
    """What was owed is told.

    Args:
        status: What the other side answered, as of HTTP.
        look_after: When to look whether it had an effect; None where that cannot be seen. Each time it had none and
            is told again the wait is twice as long, and after `TIMES_AGAIN_MAX` nobody looks any more.
    """
    told = {"ids": [row.id for row in owed], "revisions": [row.desired for row in owed], "channel": channel}
    await queries.rows(DONE, {**told, "status": status, "look_after": look_after, "times": TIMES_AGAIN_MAX})


async def failed(
    queries: Queries,
    channel: Channel,
    owed: Owed,
    *,
    error: str,
    pause: timedelta,
    is_parked: bool = False,
    status: int | None = None,
) -> None:
    """Again after the pause. A parked row waits for `retry`, or for the next change of what it is about."""
    said = error.replace("\0", "")[:ERROR_CHARACTERS_MAX]  # Some of it is another's words.
    told: Mapping[str, Any] = {"channel": channel, "id": owed.id, "error": said, "pause": pause, "status": status}
    await queries.rows(FAILED, {**told, "is_parked": is_parked})


async def owe_class_again(queries: Queries, program_id: UUID) -> None:
    """A program's class was told and is not at Google any more. Nothing happens where it is owed already."""
    await queries.rows(OWE_CLASS_AGAIN, (program_id,))


async def retry(queries: Queries, card_id: UUID | None = None) -> int:
    """Let what is parked or failing be tried at once: a card's, or everything. Returns how many rows."""
    return len(await queries.rows(RETRY, {"card": card_id}))


def retry_at_once(conninfo: str, card_id: UUID | None = None) -> int:
    """`retry` for who has no service at hand."""
    with psycopg.connect(conninfo, autocommit=True, connect_timeout=5) as connection:
        return len(connection.execute(RETRY, {"card": card_id}).fetchall())


async def parked(
    queries: Queries, *, after: tuple[datetime, UUID] | None, limit: int, channel: str | None = None
) -> list[Row]:
    """What was given up and why, longest owed first, from the row after `after` on."""
    since, id_ = after or (LONG_AGO, UUID(int=0))
    asked = {"since": since, "id": id_, "channel": channel, "limit": limit}
    return dicts(PARKED_COLUMNS, await queries.rows(PARKED, asked))


def parked_at_once(conninfo: str, limit: int) -> list[Row]:
    """`parked` for who has no service at hand: the first so many."""
    with psycopg.connect(conninfo, autocommit=True, connect_timeout=5) as connection:
        asked = {"since": LONG_AGO, "id": UUID(int=0), "channel": None, "limit": limit}
        return dicts(PARKED_COLUMNS, connection.execute(PARKED, asked).fetchall())


async def backlog(queries: Queries) -> list[Row]:
    """For each channel that owes something: how many wait, how many are parked, since when, and the errors' counts."""
    columns = "channel, waiting, parked, oldest_since, lag_seconds"
    told = dicts(columns, await queries.rows(BACKLOG))
    errors = await queries.rows(ERRORS)
    for row in told:
        row["errors"] = {error: count for channel, error, count in errors if channel == row["channel"]}
    return told


OF_CARD_COLUMNS = (
    "channel, id, desired, synced, owed_since, due_at, failures, last_error, last_status, last_tried_at, last_done_at,"
    " is_parked, asked_at, look_again_at, times_again"
)


async def at_google(queries: Queries, card_id: UUID, program_id: UUID | None) -> dict[str, Row]:
    """What Google was told of a card, as `google`, and of its program, as `google_class`; absent what is not there."""
    sql = (
        f"SELECT {OF_CARD_COLUMNS} FROM wallet_work"
        " WHERE channel = 'google' AND id = %s OR channel = 'google_class' AND id = %s"
    )
    return {row["channel"]: row for row in dicts(OF_CARD_COLUMNS, await queries.rows(sql, (card_id, program_id)))}


async def of_card(queries: Queries, card_id: UUID) -> list[Row]:
    """What each channel of a card was told, and what not."""
    sql = f"SELECT {OF_CARD_COLUMNS} FROM wallet_work WHERE card_id = %s ORDER BY channel, id"
    return dicts(OF_CARD_COLUMNS, await queries.rows(sql, (card_id,)))
