"""The first page of a vendor: how it goes, and what to do next."""

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter
from starlette.responses import Response

from api.dependencies import Public
from api.pages.chart import bars
from api.pages.routing import PageRoute
from api.pages.vendor import entries
from api.pages.vendor.desk import Desk, TheDesk
from ledger.commands.caller import utc_now
from ledger.vendor import TILL_PREFIX
from projections import loyalty_programs, loyalty_transactions, staff_pins
from projections.statistics import Activity, statistics, visitors

router = APIRouter(dependencies=[Public], route_class=PageRoute, include_in_schema=False)

DAYS = 30
ENTRIES_SHOWN = 8


@router.get("/app")
async def show_home(desk: TheDesk) -> Response:
    """Four numbers of the last thirty days beside those of the thirty before, in the vendor's days."""
    if not desk.caller.may.intersection(("read", "programs")):
        return desk.page("home.html", figures=[], chart=None, entries=[], steps=[], has_numbers=False)
    reader, vendor_id, zone = desk.parts.reader, desk.caller.vendor_id, ZoneInfo(desk.vendor["timezone"])
    today = utc_now().astimezone(zone).date()
    ends, starts, before = (_midnight(today + timedelta(days=n), zone) for n in (1, 1 - DAYS, 1 - 2 * DAYS))
    now_told = await statistics(reader, now=utc_now(), vendor_id=vendor_id, start=starts, end=ends)
    then_told = await statistics(reader, now=utc_now(), vendor_id=vendor_id, start=before, end=starts)
    people = [
        await visitors(reader, vendor_id=vendor_id, start=start, end=end)
        for start, end in ((starts, ends), (before, starts))
    ]
    rows = await loyalty_transactions.list_transactions(reader, vendor_id=vendor_id, limit=ENTRIES_SHOWN)
    staff = await entries.staff_names(reader, vendor_id)
    return desk.page(
        "home.html",
        figures=_figures(desk, now_told.total, then_told.total, people),
        chart=bars({day: _visits(told) for day, told in now_told.by_day.items()}, days=DAYS, today=today),
        entries=[entries.told(row, desk.words, desk.vendor["timezone"], staff) for row in rows],
        steps=await _steps(desk, now_told.cards),
        has_numbers=True,
    )


def _figures(desk: Desk, now: Activity, before: Activity, people: list[int]) -> list[dict[str, Any]]:
    words = desk.words
    units = (
        ("Stamps given", now.stamps_issued, before.stamps_issued)
        if now.stamps_issued or before.stamps_issued or not now.points_issued
        else ("Points given", now.points_issued, before.points_issued)
    )
    told = (
        ("Customers who came", people[0], people[1]),
        ("New cards", now.enrolments, before.enrolments),
        units,
        ("Rewards redeemed", now.redemptions, before.redemptions),
    )
    return [
        {
            "label": words.text(label),
            "value": words.number(value),
            "change": _change(value, earlier),
            "before": words.number(earlier),
        }
        for label, value, earlier in told
    ]


def _change(value: int, earlier: int) -> int | None:
    """In whole percent; None where there was nothing before."""
    return None if earlier == 0 else round((value - earlier) * 100 / earlier)


def _visits(activity: Activity) -> int:
    """Stamps and purchases."""
    return activity.stamps_issued + activity.purchases


async def _steps(desk: Desk, cards: int) -> list[dict[str, Any]]:
    """What a new shop does first, until all of it is done."""
    parts, vendor_id = desk.parts, desk.caller.vendor_id
    programs = await loyalty_programs.list_programs(
        parts.reader, now=utc_now(), vendor_id=vendor_id, is_active=True, limit=1
    )
    staff = await staff_pins.list_pins(parts.reader, vendor_id, is_active=True, limit=1)
    keys = await parts.ledger.vendors.keys(vendor_id)
    poster = f"/app/programs/{programs[0]['id']}/poster" if programs else "/app/programs"
    steps = (
        ("Design your card", "/app/programs/new", bool(programs)),
        ("Add who works here", "/app/staff", bool(staff)),
        ("Pair the till", "/app/keys", any(key["prefix"].startswith(TILL_PREFIX) for key in keys)),
        ("Put up the poster, and welcome your first customer", poster, cards > 0),
    )
    if all(is_done for _, _, is_done in steps):
        return []
    return [{"text": desk.words.text(text), "href": href, "is_done": is_done} for text, href, is_done in steps]


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone)
