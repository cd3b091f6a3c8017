"""Stops asking a provider that refuses all of us, and tries one thing now and then until it is well again.

A row stands for a provider that is stopped: every worker sees it, and a restart does not forget it.
"""

from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from projections.table import Queries

Provider: TypeAlias = Literal["apple", "google"]

TRY_AFTER = timedelta(seconds=30)

IS_TO_BE_TRIED = "SELECT next_at <= now() FROM paces WHERE name = %s"
STOP = """
INSERT INTO paces (name, next_at) VALUES (%s, now() + %s) ON CONFLICT (name) DO UPDATE SET next_at = excluded.next_at
"""
GO_ON = "DELETE FROM paces WHERE name = %s"
STOPPED = "SELECT split_part(name, ' ', 1), next_at FROM paces WHERE name LIKE '%% stopped' ORDER BY name"


async def room(queries: Queries, provider: Provider, most: int) -> int:
    """How much may be asked of a provider now: `most`, or while it is stopped 1 after each pause, and 0 in between."""
    rows = await queries.rows(IS_TO_BE_TRIED, (_name(provider),))
    return int(rows[0][0]) if rows else most


async def stop(queries: Queries, provider: Provider) -> None:
    """What it answered is about us, not about what was asked: more of it would be refused too."""
    await queries.rows(STOP, (_name(provider), TRY_AFTER))


async def go_on(queries: Queries, provider: Provider) -> None:
    """It took something again."""
    await queries.rows(GO_ON, (_name(provider),))


async def stopped(queries: Queries) -> dict[Provider, datetime]:
    """Which providers are stopped, and from when each is tried again.

    Raises: StoreAway. Asking again is safe.
    """
    return dict(await queries.rows(STOPPED))


def _name(provider: Provider) -> str:
    return f"{provider} stopped"
