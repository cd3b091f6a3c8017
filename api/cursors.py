"""Long lists, a page at a time: an opaque cursor says where the last page ended.

A cursor is a place in an order, not a permission: whoever sends another one sees what their key may see.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

import orjson
from fastapi import Query
from pydantic import BaseModel, Field

from api.errors import MalformedRequest

LIMIT_DEFAULT = 50
LIMIT_MAX = 200
CURSOR_CHARACTERS_MAX = 400
POSITION_MAX = 2**63 - 1  # PostgreSQL's bigint.

Item = TypeVar("Item")
Part = int | str | UUID | datetime

Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description="Items on a page.", examples=[LIMIT_DEFAULT])]
After = Annotated[
    str | None,
    Query(max_length=CURSOR_CHARACTERS_MAX, description="`next_cursor` of the page before. Absent: the first page."),
]


class Page(BaseModel, Generic[Item]):
    """A part of a list."""

    items: list[Item]
    next_cursor: str | None = Field(
        description="Send it as `cursor` for the next page; null on the last one.", examples=["WzQyXQ"]
    )


def page_of(rows: Sequence[Item], limit: int, place: Callable[[Item], Sequence[Part]]) -> tuple[list[Item], str | None]:
    """The rows of one page and the cursor of the next.

    Args:
        rows: As read with `LIMIT limit + 1`: the one too many says that there is more.
        place: What a row is ordered by, in the order's own order.
    """
    shown = list(rows[:limit])
    return shown, encode_cursor(*place(shown[-1])) if len(rows) > limit else None


def encode_cursor(*parts: Part) -> str:
    return urlsafe_b64encode(orjson.dumps(parts, option=orjson.OPT_UTC_Z)).rstrip(b"=").decode()


def decode_cursor(cursor: str, *kinds: type[Part]) -> tuple[Any, ...]:
    """The parts of a cursor, each of the kind asked for: int, str, UUID or datetime.

    Raises: MalformedRequest for what `encode_cursor` never wrote.
    """
    try:
        raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        parts = orjson.loads(raw)
        if not isinstance(parts, list) or len(parts) != len(kinds):
            raise ValueError("another kind of cursor")
        return tuple(_part(part, kind) for part, kind in zip(parts, kinds, strict=True))
    except (ValueError, OverflowError):
        raise MalformedRequest(what="cursor", why="take it from next_cursor of the page before") from None


def _part(part: Any, kind: type[Part]) -> Part:
    if kind is int and type(part) is int and 0 <= part <= POSITION_MAX:
        return part
    if kind is not int and isinstance(part, str) and "\0" not in part:
        if kind is UUID:
            return UUID(part)
        if kind is datetime:
            return datetime.fromisoformat(part).astimezone(UTC)
        return part
    raise ValueError("another kind of part")
