"""Events searched: what may be asked for, a page that goes on both ways, and everything at once as CSV or NDJSON."""

import asyncio
import csv
import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

import orjson
from fastapi import Header, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from api.cursors import CURSOR_CHARACTERS_MAX, LIMIT_DEFAULT, LIMIT_MAX, POSITION_MAX, decode_cursor, encode_cursor
from api.errors import MalformedRequest, TooManyStreams
from api.openapi import responses
from api.shapes import Line, Timestamp
from api.streams import Stream
from api.validation import invalid
from ledger.codec import to_plain
from ledger.ids import command_id
from ledger.reader import Reader
from ledger.stream import EVENT_NAMES, NAME_OF, Recorded
from projections import search
from projections.loyalty_transactions import ENTRY_TYPES
from projections.search import Kind, Order, Span, Wanted

AT_ONCE = 50  # Events made into text before others get their turn: about two milliseconds.

# ------------------------------------------------------------------ what may be asked


def _kinds(text: str) -> str:
    known = {*EVENT_NAMES, *ENTRY_TYPES}
    if not set(text.split(",")) <= known:
        raise invalid("not_allowed", "must be one of {expected}", expected=", ".join(sorted(known)))
    return text


Kinds = Annotated[str, Field(max_length=1000), AfterValidator(_kinds)]
Position = Annotated[int, Field(ge=0, le=2**62)]


class EventFilters(BaseModel):
    """What is not known here is refused: a mistyped filter would let everything through."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    card_id: UUID | None = Field(None, description="The card's history, its refusals and its passes.")
    program_id: UUID | None = None
    staff_pin_id: UUID | None = Field(None, description="What this member of staff did, and what befell the PIN.")
    location_id: UUID | None = None
    terminal_id: Annotated[str, Field(max_length=64, pattern=r"^[\x21-\x7e]+$")] | None = None
    actor_id: Annotated[Line, Field(min_length=1, max_length=100)] | None = Field(
        None, description="Who did it: the id of a key or a PIN, `admin`, `anonymous` …"
    )
    type: Kinds | None = Field(
        None,
        description="Names of events (`stamps-added`, `stamp-refused`) or types of entries (`stamp_earned`), any of"
        " them, separated by commas.",
    )
    reference: Annotated[Line, Field(min_length=1, max_length=202)] | None = Field(
        None, description="An entry's `order_reference` or `external_ref`."
    )
    idempotency_key: Annotated[str, Field(max_length=255, pattern=r"^[\x21-\x7e]+$")] | None = Field(
        None, description="The last event that the command under this key led to, or its refusal."
    )
    start: Timestamp | None = Field(None, alias="from", description="Recorded from this moment on.")
    end: Timestamp | None = Field(None, alias="to", description="Recorded before this moment.")
    occurred_from: Timestamp | None = Field(None, description="The same in business time.")
    occurred_to: Timestamp | None = None
    after: Position = Field(0, description="A position; events after it are answered.")
    order: Order = Field("oldest", description="Which come first, by position.")
    limit: Annotated[int, Field(ge=1, le=LIMIT_MAX)] = Field(
        LIMIT_DEFAULT, description="Events on a page; CSV and NDJSON have no pages."
    )
    cursor: Annotated[str, Field(max_length=CURSOR_CHARACTERS_MAX)] | None = Field(
        None, description="`next_cursor` or `previous_cursor` of another page."
    )
    min_position: Position | None = Field(
        None, description="Wait, for a moment, until this position is in the query tables."
    )

    @field_validator("end", "occurred_to")
    @classmethod
    def _ends_after_it_begins(cls, end: Any, told: ValidationInfo) -> Any:
        start = told.data.get("start" if told.field_name == "end" else "occurred_from")
        if start is not None and end is not None and end < start:
            raise invalid("too_small", "must not lie before the beginning")
        return end

    @property
    def kinds(self) -> str | None:
        return self.type

    def wanted(self, vendor_id: UUID | None) -> Wanted:
        """Raises: RequestValidationError where a key is asked for and it is not said whose."""
        if self.idempotency_key is not None and vendor_id is None:
            raise RequestValidationError([{"type": "missing", "loc": ("query", "vendor_id")}])
        return Wanted(
            vendor_id=vendor_id,
            card_id=self.card_id,
            program_id=self.program_id,
            staff_pin_id=self.staff_pin_id,
            location_id=self.location_id,
            terminal_id=self.terminal_id,
            actor_id=self.actor_id,
            reference=self.reference,
            command_id=command_id(vendor_id, self.idempotency_key) if vendor_id and self.idempotency_key else None,
            kinds=None if self.kinds is None else kinds_of(self.kinds),
            recorded=Span(self.start, self.end),
            occurred=Span(self.occurred_from, self.occurred_to),
            after=self.after,
        )


class AnyVendorsEventFilters(EventFilters):
    vendor_id: UUID | None = None
    names: Kinds | None = Field(None, description="The same as `type`, as it was called first.")

    @field_validator("names")
    @classmethod
    def _is_not_said_twice(cls, names: Any, told: ValidationInfo) -> Any:
        if names is not None and told.data.get("type") is not None:
            raise invalid("not_allowed", "must be left out")
        return names

    @property
    def kinds(self) -> str | None:
        return self.type or self.names


def kinds_of(text: str) -> tuple[Kind, ...]:
    """Kinds of events out of names and types. A type of entry that a named event has is not asked for twice."""
    asked = dict.fromkeys(text.split(","))
    names = [Kind(name) for name in asked if name in EVENT_NAMES]
    types = [Kind(NAME_OF[cls], type_) for type_ in asked for cls in ENTRY_TYPES.get(type_, ())]
    return (*names, *(kind for kind in types if kind.event_name not in asked))


# ------------------------------------------------------------------ a page


def told(recorded: Recorded) -> dict[str, Any]:
    """An event as it stands in the stream; what is sealed stays sealed."""
    return {
        "position": recorded.position,
        "stream_id": recorded.stream_id,
        "version": recorded.version,
        "name": recorded.name,
        "occurred_at": recorded.envelope.occurred_at,
        "recorded_at": recorded.envelope.recorded_at,
        "hash": recorded.digest,
        "prev_hash": recorded.prev,
        "envelope": to_plain(recorded.envelope),
        "data": to_plain(recorded.event),
    }


Side: TypeAlias = Literal["after", "before"]
SIDE: dict[Order, Side] = {"oldest": "after", "newest": "before"}
OTHER: dict[Side, Side] = {"after": "before", "before": "after"}


@dataclass(frozen=True, slots=True)
class FoundPage:
    """Events, and cursors of the pages beside them; `next_after`, where all of the next one is behind a position."""

    events: Sequence[Recorded]
    next_after: int | None
    next_cursor: str | None
    previous_cursor: str | None


async def answer_page(reader: Reader, wanted: Wanted, asked: EventFilters) -> dict[str, Any]:
    """One page, and where the next and the previous one begin."""
    found = await find_page(reader, wanted, asked)
    return {
        "items": [told(event) for event in found.events],
        "next_after": found.next_after,
        "next_cursor": found.next_cursor,
        "previous_cursor": found.previous_cursor,
    }


async def find_page(reader: Reader, wanted: Wanted, asked: EventFilters) -> FoundPage:
    """A page as it stands in the stream.

    A cursor is a side of a position. Positions are given in the order of recording, so whatever is recorded meanwhile
    moves no page.

    Raises: MalformedRequest for another list's cursor; StoreAway.
    """
    ahead = SIDE[asked.order]
    side, position = (ahead, None) if asked.cursor is None else _place(asked.cursor)
    if position is not None:
        wanted = (
            search.between(wanted, after=position) if side == "after" else search.between(wanted, until=position - 1)
        )
    found = await search.page(reader, wanted, order="oldest" if side == "after" else "newest", limit=asked.limit + 1)
    items, is_more = found[: asked.limit], len(found) > asked.limit
    goes_ahead = side == ahead
    if not goes_ahead:
        items.reverse()
    return FoundPage(
        events=items,
        next_after=items[-1].position if is_more and ahead == side == "after" else None,
        next_cursor=_cursor(ahead, items[-1:], position) if is_more or not goes_ahead else None,
        previous_cursor=_cursor(OTHER[ahead], items[:1], position)
        if (is_more if not goes_ahead else position is not None)
        else None,
    )


def _place(cursor: str) -> tuple[Side, int]:
    side, position = decode_cursor(cursor, str, int)
    if side not in OTHER:
        raise MalformedRequest(what="cursor", why="take it from next_cursor of the page before")
    return side, position


def _cursor(side: Side, edge: list[Recorded], position: int | None) -> str:
    """Beyond the event at the edge; of an empty page, back to where it was come from."""
    if edge and edge[0].position is not None:
        return encode_cursor(side, edge[0].position)
    assert position is not None
    return encode_cursor(side, min(position + 1, POSITION_MAX) if side == "before" else max(position - 1, 0))


# ------------------------------------------------------------------ everything at once

ENVELOPE = (
    "stream_type",
    "vendor_id",
    "program_id",
    "program_version",
    "location_id",
    "terminal_id",
    "channel",
    "request_id",
    "causation_id",
    "schema",
)
COLUMNS = (
    *("position", "recorded_at", "occurred_at", "name", "stream_id", "version"),
    *ENVELOPE,
    *("actor_type", "actor_id", "actor_authenticated_by", "hash", "prev_hash", "data"),
)
RISKY = tuple("=+-@\t\r\n'＝＋－＠")
"""What a cell of a table is taken for a formula for when it begins with it; and the mark that keeps it from it."""
RISKY_INSIDE = re.compile(r"[;\t\r\n]\s*[=+\-@＝＋－＠]")
"""The same behind what some spreadsheets take for the end of a cell, whatever the quotes say."""


def cell(value: Any) -> Any:
    """A text that a spreadsheet might run stands behind an apostrophe, as one that begins with an apostrophe does.

    Source: OWASP, CSV Injection.
    """
    is_risky = isinstance(value, str) and (value.startswith(RISKY) or RISKY_INSIDE.search(value))
    return f"'{value}" if is_risky else value


def csv_row(event: dict[str, Any]) -> list[Any]:
    envelope, actor = event["envelope"], event["envelope"]["actor"]
    plain = {**event, **{name: envelope.get(name) for name in ENVELOPE}}
    plain |= {f"actor_{name}": actor[name] for name in ("type", "id", "authenticated_by")}
    plain |= {name: event[name].isoformat().replace("+00:00", "Z") for name in ("recorded_at", "occurred_at")}
    plain["data"] = orjson.dumps(event["data"], option=orjson.OPT_UTC_Z).decode()
    return [cell(str(value) if isinstance(value, UUID) else value) for value in map(plain.get, COLUMNS)]


def _csv(events: Iterable[Recorded]) -> bytes:
    text = StringIO()
    csv.writer(text).writerows(csv_row(told(event)) for event in events)
    return text.getvalue().encode()


def _ndjson(events: Iterable[Recorded]) -> bytes:
    return b"".join(orjson.dumps(told(event), option=orjson.OPT_UTC_Z) + b"\n" for event in events)


Writes: TypeAlias = Callable[[Iterable[Recorded]], bytes]
FORMATS: dict[str, tuple[str, bytes, Writes] | None] = {
    "application/json": None,
    "*/*": None,
    "application/*": None,
    "text/csv": ("events.csv", (",".join(COLUMNS) + "\r\n").encode(), _csv),
    "text/*": ("events.csv", (",".join(COLUMNS) + "\r\n").encode(), _csv),
    "application/x-ndjson": ("events.ndjson", b"", _ndjson),
}
Accept = Annotated[
    str, Header(description="`application/json`, or everything as `text/csv` or `application/x-ndjson`.")
]
ANSWERS: dict[int | str, dict[str, Any]] = responses(TooManyStreams) | {
    200: {
        "description": "A page; as CSV or NDJSON everything that was recorded by now, oldest or newest first.",
        "content": {
            "text/csv": {"schema": {"type": "string"}, "example": ",".join(COLUMNS)},
            "application/x-ndjson": {"schema": {"type": "string"}},
        },
    }
}


def accepted(accept: str) -> str:
    """Which of the formats somebody would rather have; JSON where they name none of them.

    Source: RFC 9110, 12.5.1.
    """
    best, most = "application/json", 0.0
    for part in accept.lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        weight = next((piece[2:] for piece in parameters if piece.startswith("q=")), "1")
        try:
            quality = float(weight)
        except ValueError:
            continue
        if kind in FORMATS and quality > most:
            best, most = kind, quality
    return best


async def answer_search(
    reader: Reader,
    wanted: Wanted,
    asked: EventFilters,
    *,
    position: int,
    accept: str,
    response: Response,
    stream: Stream,
) -> Any:
    """A page as JSON, or everything that was recorded by now as CSV or NDJSON.

    Args:
        position: How far the query tables are.
        response: Of the page; the rest is a response of its own.

    Raises: StoreAway, TooManyStreams before anything was sent. Later the answer breaks off: `after` goes on from there.
    """
    found = accepted(accept)
    form = FORMATS[found]
    if form is None:
        response.headers["Vary"] = "Accept"
        return await answer_page(reader, wanted, asked)
    if asked.cursor is not None:
        raise RequestValidationError([{"type": "none_required", "loc": ("query", "cursor")}])
    name, head, write = form
    stream.begin()
    pages = search.pages(reader, search.between(wanted, until=await reader.last_position()), order=asked.order)
    first: list[Recorded] = await anext(pages, [])
    headers = {
        "Vary": "Accept",
        "Content-Disposition": f'attachment; filename="{name}"',
        "X-Ledger-Position": str(position),
    }
    kind = "text/csv" if write is _csv else found
    return StreamingResponse(_written(head, first, pages, write), media_type=kind, headers=headers)


async def _written(
    head: bytes, first: list[Recorded], pages: AsyncIterator[list[Recorded]], write: Writes
) -> AsyncIterator[bytes]:
    yield head
    events = first
    while events:
        for start in range(0, len(events), AT_ONCE):
            yield write(events[start : start + AT_ONCE])
            await asyncio.sleep(0)
        events = await anext(pages, [])
