"""One page of a list, newest first, and a range of time: what list endpoints are given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query

from api.cursors import LIMIT_DEFAULT, After, Limit, decode_cursor, page_of
from api.errors import MalformedRequest
from api.shapes import Timestamp


@dataclass(frozen=True, slots=True)
class NewestFirst:
    """A page ordered by creation: `before` is where the last page ended."""

    limit: int
    before: tuple[datetime, UUID] | None

    @property
    def ask(self) -> int:
        """One more than shown: it says that there is another page."""
        return self.limit + 1

    def page(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        items, cursor = page_of(rows, self.limit, lambda row: (row["created_at"], row["id"]))
        return {"items": items, "next_cursor": cursor}


@dataclass(frozen=True, slots=True)
class LatestFirst:
    """A page ordered by position: `before` is where the last page ended."""

    limit: int
    before: int | None

    @property
    def ask(self) -> int:
        return self.limit + 1

    def page(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        items, cursor = page_of(rows, self.limit, lambda row: (row["position"],))
        return {"items": items, "next_cursor": cursor}


async def _newest_first(limit: Limit = LIMIT_DEFAULT, cursor: After = None) -> NewestFirst:
    return NewestFirst(limit, None if cursor is None else decode_cursor(cursor, datetime, UUID))


async def _latest_first(limit: Limit = LIMIT_DEFAULT, cursor: After = None) -> LatestFirst:
    return LatestFirst(limit, None if cursor is None else decode_cursor(cursor, int)[0])


@dataclass(frozen=True, slots=True)
class Between:
    start: datetime | None
    end: datetime | None


async def _between(
    start: Annotated[Timestamp | None, Query(alias="from", description="From this moment on, RFC 3339.")] = None,
    end: Annotated[Timestamp | None, Query(alias="to", description="Before this moment, RFC 3339.")] = None,
) -> Between:
    if start is not None and end is not None and end < start:
        raise MalformedRequest(what="time range", why="it ends before it begins")
    return Between(start, end)


PageByTime = Annotated[NewestFirst, Depends(_newest_first)]
PageByPosition = Annotated[LatestFirst, Depends(_latest_first)]
TimeRange = Annotated[Between, Depends(_between)]
