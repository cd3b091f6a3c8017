"""The administration's pages: figures over everything, shops and their keys, programs, and how the service is doing.

The administrator changes things here; an auditor reads. Everything is asked of the functions that answer the API.
"""

import platform
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from api import doors
from api.admin.system import read_system
from api.admin.vendors import revoke_api_key
from api.admin.wallets import retry_card_wallet, retry_wallets
from api.auth import Principal
from api.dependencies import AdminOnly, AdminOrAuditor, Parts, TheParts, TheReader
from api.errors import NotFoundHere
from api.pages.chart import bars
from api.pages.frame import page
from api.pages.routing import PageRoute, read_form
from api.paging import PageByTime
from ledger.commands.caller import utc_now
from ledger.reader import Reader
from projections import loyalty_programs, vendors
from projections.proofs import monitor
from projections.read_model import status
from projections.statistics import statistics
from wallet_sync import wallet_work

router = APIRouter(route_class=PageRoute, include_in_schema=False)

RANGES = (7, 30, 90)
RANGE_DEFAULT = 30
PARKED_SHOWN = 20
PROGRAMS_OF_A_SHOP_MAX = 200
RENEW_DAYS = 30  # As `loyalty-ledger doctor` warns.
VERSION = "SELECT current_setting('server_version')"

YesNo = Literal["", "yes", "no"]
LoyaltyType = Literal["", "stamps", "points", "hybrid"]


# ------------------------------------------------------------------ figures


@router.get("/admin")
async def show_overview(
    request: Request,
    principal: AdminOrAuditor,
    parts: TheParts,
    days: Annotated[int, Query(ge=1, le=366)] = RANGE_DEFAULT,
) -> HTMLResponse:
    """Everything over the last days, beside whether the service is well."""
    now = utc_now()
    told = await statistics(parts.reader, now=now, start=now - timedelta(days=days))
    return page(
        request,
        "admin/overview.html",
        **_frame(principal, "overview"),
        told=told,
        total=asdict(told.total),
        days=days,
        ranges=RANGES,
        chart=bars({day: activity.stamps_issued for day, activity in told.by_day.items()}, days=days, today=now.date()),
        health=await _health(principal, parts),
    )


# ------------------------------------------------------------------ shops and programs


@router.get("/admin/vendors")
async def show_vendors(
    request: Request, principal: AdminOrAuditor, reader: TheReader, window: PageByTime, active: YesNo = ""
) -> HTMLResponse:
    rows = await vendors.list_vendors(reader, is_active=_flag(active), before=window.before, limit=window.ask)
    listed = window.page(rows)
    return page(request, "admin/vendors.html", **_frame(principal, "vendors"), listed=listed, active=active)


@router.get("/admin/programs")
async def show_programs(
    request: Request,
    principal: AdminOrAuditor,
    reader: TheReader,
    window: PageByTime,
    active: YesNo = "",
    kind: LoyaltyType = "",
) -> HTMLResponse:
    rows = await loyalty_programs.list_programs(
        reader,
        now=utc_now(),
        loyalty_type=kind or None,
        is_active=_flag(active),
        before=window.before,
        limit=window.ask,
    )
    listed = window.page(rows)
    names = await _names(reader, {row["vendor_id"] for row in listed["items"]})
    return page(
        request,
        "admin/programs.html",
        **_frame(principal, "programs"),
        listed=listed,
        names=names,
        active=active,
        kind=kind,
    )


@router.get("/admin/vendors/{vendor_id}")
async def show_vendor(request: Request, vendor_id: UUID, principal: AdminOrAuditor, parts: TheParts) -> HTMLResponse:
    """Raises: VendorNotFound."""
    return await _vendor(request, vendor_id, principal, parts)


@router.post("/admin/vendors/{vendor_id}/sign-in-link")
async def make_sign_in_link(request: Request, vendor_id: UUID, admin: AdminOnly, parts: TheParts) -> HTMLResponse:
    """The shop's page with a link that signs in one person, once. It is shown this once."""
    return await _vendor(request, vendor_id, admin, parts, link=await doors.make_link(parts, vendor_id))


@router.post("/admin/vendors/{vendor_id}/api-keys/{key_id}/revoke")
async def revoke_key(request: Request, vendor_id: UUID, key_id: UUID, admin: AdminOnly, parts: TheParts) -> Response:
    await revoke_api_key(request, vendor_id, key_id, admin, parts)
    return RedirectResponse(f"/admin/vendors/{vendor_id}#keys", 303)


async def _vendor(
    request: Request, vendor_id: UUID, principal: Principal, parts: Parts, link: Any = None
) -> HTMLResponse:
    shop = await parts.ledger.vendors.find(vendor_id)
    return page(
        request,
        "admin/vendor.html",
        **_frame(principal, "vendors"),
        shop=shop,
        keys=await parts.ledger.vendors.keys(vendor_id),
        programs=await loyalty_programs.list_programs(
            parts.reader, now=utc_now(), vendor_id=vendor_id, limit=PROGRAMS_OF_A_SHOP_MAX
        ),
        link=link,
        now=utc_now(),
    )


# ------------------------------------------------------------------ how the service is doing


@router.get("/admin/health")
async def show_health(
    request: Request, principal: AdminOrAuditor, parts: TheParts, retried: Annotated[int | None, Query(ge=0)] = None
) -> HTMLResponse:
    return page(
        request,
        "admin/health.html",
        **_frame(principal, "health"),
        health=await _health(principal, parts),
        parked=await wallet_work.parked(parts.reader, after=None, limit=PARKED_SHOWN),
        retried=retried,
        renew_days=RENEW_DAYS,
        google=parts.google is not None,
        apple=parts.apple is not None,
        versions={
            "service": request.app.version,
            "python": platform.python_version(),
            "postgres": (await parts.reader.rows(VERSION))[0][0],
        },
    )


@router.post("/admin/health/retry")
async def retry(request: Request, admin: AdminOnly, reader: TheReader) -> Response:
    """What is parked or failing is tried at once: one card's, where the form names one, or everything."""
    card = (await read_form(request)).get("card_id")
    try:
        card_id = UUID(card) if card else None
    except ValueError:
        raise NotFoundHere from None
    if card_id is None:
        told = await retry_wallets(admin, reader)
    else:
        told = await retry_card_wallet(card_id, admin, reader)
    return RedirectResponse(f"/admin/health?retried={told['retried']}", 303)


async def _health(principal: Principal, parts: Parts) -> dict[str, Any]:
    """What `/system` answers, with the last check of the store apart from what follows the stream."""
    told: dict[str, Any] = await read_system(principal, parts)
    times = {one["name"]: one["updated_at"] for one in await status(parts.reader)}
    check = next((one for one in told["projections"] if one["name"] == monitor.NAME), None)
    followers = [one | {"updated_at": times.get(one["name"])} for one in told["projections"] if one is not check]
    return told | {
        "followers": followers,
        "check": check and check | {"updated_at": times.get(monitor.NAME)},
        "is_well": not any(one["error"] for one in told["projections"]),
        "parked": sum(one["parked"] for one in told["wallets"]["backlog"]),
        "waiting": sum(one["waiting"] for one in told["wallets"]["backlog"]),
    }


def _frame(principal: Principal, tab: str) -> dict[str, Any]:
    return {"is_vendor": False, "may_change": principal.kind == "admin", "tab": tab}


def _flag(text: YesNo) -> bool | None:
    return {"yes": True, "no": False}.get(text)


async def _names(reader: Reader, vendor_ids: set[UUID]) -> dict[UUID, str]:
    rows = [await vendors.read(reader, vendor_id) for vendor_id in vendor_ids]
    return {row["id"]: row["name"] for row in rows if row is not None}
