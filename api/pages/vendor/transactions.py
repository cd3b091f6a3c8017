"""All entries of a vendor, on a page and as a file for a spreadsheet."""

import csv
from collections.abc import AsyncIterator
from datetime import MAXYEAR, MINYEAR, date, datetime, time, timedelta
from io import StringIO
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter
from starlette.responses import Response, StreamingResponse

from api.cursors import decode_cursor
from api.dependencies import Public
from api.event_search import cell
from api.pages.routing import PageRoute
from api.pages.vendor import entries
from api.pages.vendor.cards import programs_of
from api.pages.vendor.desk import Desk, TheDesk
from api.paging import LatestFirst
from api.streams import TheStream
from projections import loyalty_transactions

router = APIRouter(dependencies=[Public], route_class=PageRoute, include_in_schema=False)

SHOWN = 50
CSV_ROWS_MAX = 100_000
CSV_ROWS_AT_ONCE = 1_000
COLUMNS = (
    "id",
    "occurred_at",
    "transaction_type",
    "card_id",
    "program_id",
    "stamps_delta",
    "points_delta",
    "stamps_balance_after",
    "points_balance_after",
    "purchase_amount_minor",
    "refund_amount_minor",
    "currency",
    "reward_description",
    "reason",
    "order_reference",
    "external_ref",
    "reverses_id",
    "staff_pin_id",
    "location_id",
    "terminal_id",
    "authenticated_by",
    "channel",
)


@router.get("/app/transactions")
async def show_transactions(
    desk: TheDesk, program_id: str = "", kind: str = "", first: str = "", last: str = "", cursor: str | None = None
) -> Response:
    desk.needs("read", "cards")
    asked = {"program_id": program_id, "kind": kind, "first": _day(first), "last": _day(last)}
    programs = await programs_of(desk)
    window = LatestFirst(SHOWN, None if not cursor else decode_cursor(cursor, int)[0])
    rows = await loyalty_transactions.list_transactions(
        desk.parts.reader, **_wanted(desk, programs, asked), before=window.before, limit=window.ask
    )
    page = window.page(rows)
    staff = await entries.staff_names(desk.parts.reader, desk.caller.vendor_id)
    told = [entries.told(row, desk.words, desk.vendor["timezone"], staff) for row in page["items"]]
    return desk.page(
        "transactions.html",
        days=entries.days(told),
        asked=asked,
        is_filtered=any(asked.values()),
        query={name: value for name, value in asked.items() if value},
        programs=list(programs.items()),
        kinds=[(code, desk.words.text(name)) for code, name in KINDS_ASKED],
        next_cursor=page["next_cursor"],
        is_first=cursor is None,
    )


KINDS_ASKED = (
    ("earned", "Stamps and purchases"),
    ("redeemed", "Rewards"),
    ("undone", "Taken back"),
    ("adjusted", "Changed by hand"),
    ("cards", "Cards"),
)
TYPES: dict[str, tuple[str, ...]] = {
    "earned": ("stamp_earned", "points_earned"),
    "redeemed": ("stamp_redeemed", "points_redeemed"),
    "undone": ("stamp_reversed", "points_reversed", "redemption_reversed"),
    "adjusted": ("stamp_adjusted", "points_adjusted", "units_forfeited"),
    "cards": ("card_enrolled", "card_status_changed", "card_details_changed"),
}


@router.get("/app/transactions.csv")
async def download_transactions(
    desk: TheDesk, stream: TheStream, program_id: str = "", kind: str = "", first: str = "", last: str = ""
) -> Response:
    """The same entries, up to a hundred thousand, newest first. Times are the vendor's, with their offset."""
    desk.needs("read", "cards")
    asked = {"program_id": program_id, "kind": kind, "first": first, "last": last}
    wanted = _wanted(desk, await programs_of(desk), asked)
    stream.begin()
    name = f"entries-{desk.vendor['code']}.csv"
    return StreamingResponse(
        _lines(desk, wanted),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


async def _lines(desk: Desk, wanted: dict[str, Any]) -> AsyncIterator[str]:
    zone = ZoneInfo(desk.vendor["timezone"])
    # The mark tells spreadsheets that it is UTF-8.
    yield "\ufeff" + _line(COLUMNS)
    before, count = None, 0
    while count < CSV_ROWS_MAX:
        rows = await loyalty_transactions.list_transactions(
            desk.parts.reader, **wanted, before=before, limit=CSV_ROWS_AT_ONCE
        )
        if not rows:
            return
        for row in rows:
            shown = row | {"occurred_at": row["occurred_at"].astimezone(zone).isoformat(timespec="seconds")}
            yield _line(tuple(_cell(shown[column]) for column in COLUMNS))
        before, count = rows[-1]["position"], count + len(rows)


def _line(cells: tuple[Any, ...]) -> str:
    written = StringIO()
    csv.writer(written).writerow(cells)
    return written.getvalue()


def _cell(value: Any) -> Any:
    """Numbers as they are; text so that no spreadsheet runs it."""
    if value is None or isinstance(value, int):
        return value
    return cell(str(value))


def _wanted(desk: Desk, programs: dict[str, str], asked: dict[str, str]) -> dict[str, Any]:
    """What was asked for, as the table's reader is told. What makes no sense is not asked for."""
    zone = ZoneInfo(desk.vendor["timezone"])
    last = _midnight(asked["last"], zone)
    return {
        "vendor_id": desk.caller.vendor_id,
        "program_id": UUID(asked["program_id"]) if asked["program_id"] in programs else None,
        "types": TYPES.get(asked["kind"]),
        "start": _midnight(asked["first"], zone),
        "end": None if last is None else last + timedelta(days=1),
    }


def _day(text: str) -> str:
    """A day as it was given; nothing where it is none."""
    return text if _midnight(text, ZoneInfo("UTC")) is not None else ""


def _midnight(text: str, zone: ZoneInfo) -> datetime | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return datetime.combine(day, time(), zone) if MINYEAR < day.year < MAXYEAR else None
