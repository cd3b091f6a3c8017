"""Who works here: PINs, what each may do, and ending a lock."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.responses import Response

from api.dependencies import Public
from api.pages.routing import PageRoute, read_form
from api.pages.vendor.desk import FINE, Desk, Form, TheDesk, Wrong, filled, to
from api.vendor.pins import PinChange, PinRequest
from ledger.commands.caller import utc_now
from ledger.errors import Refused
from projections import staff_pins

router = APIRouter(dependencies=[Public], route_class=PageRoute, include_in_schema=False)

SHOWN_MAX = 200
ROLES: Mapping[str, str] = {"staff": "Staff", "manager": "Manager"}


@router.get("/app/staff")
async def show_staff(desk: TheDesk) -> Response:
    return await _page(desk)


async def _page(desk: Desk, wrong: Wrong = FINE, form: Form | None = None) -> Response:
    """Where a form was refused, it is shown as it was sent, without the PIN."""
    desk.needs("read", "pins")
    rows = await staff_pins.list_pins(desk.parts.reader, desk.caller.vendor_id, is_active=True, limit=SHOWN_MAX)
    return desk.page(
        "staff.html",
        wrong=wrong,
        form=form or {},
        roles=[(code, desk.words.text(name)) for code, name in ROLES.items()],
        people=[_told(desk, row) for row in sorted(rows, key=lambda row: (row["name"] or "").casefold())],
        can_change="pins" in desk.caller.may,
    )


def _told(desk: Desk, row: Mapping[str, Any]) -> dict[str, Any]:
    zone, words = desk.vendor["timezone"], desk.words
    locked = row["locked_until"]
    is_locked = locked is not None and locked > utc_now()
    return {
        "id": str(row["id"]),
        "name": row["name"] or row["staff_id"],
        "staff_id": row["staff_id"],
        "role": row["role"],
        "role_name": words.text(ROLES[row["role"]]),
        "locked_until": words.clock(locked, zone) if is_locked else None,
        "last_used": words.moment(row["last_used_at"], zone) if row["last_used_at"] else None,
    }


@router.post("/app/staff")
async def add(desk: TheDesk) -> Response:
    desk.needs("pins")
    form = await read_form(desk.request)
    name = form.get("name", "").strip()
    try:
        asked = PinRequest.model_validate(
            {
                "staff_id": form.get("staff_id", "").strip() or _identifier(name),
                "name": name,
                "pin": form.get("pin", ""),
                "role": form.get("role", "staff"),
            }
        )
        await desk.parts.ledger.staff.create(
            staff_id=asked.staff_id,
            name=asked.name,
            pin=asked.pin.get_secret_value(),
            program_id=None,
            role=asked.role,
            operations=None,
            caller=desk.caller,
        )
    except (ValidationError, Refused) as error:
        return await _page(desk, desk.what_is_wrong(error), {**form, "pin": "", "about": "new"})
    return to("/app/staff", done="added")


def _identifier(name: str) -> str:
    """What the till's systems may call somebody, made of their name."""
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name.lower())
    return plain.strip("-")[:40] or "staff"


@router.post("/app/staff/{pin_id}")
async def change(pin_id: UUID, desk: TheDesk) -> Response:
    """Name, role, and a new PIN where one is given."""
    desk.needs("pins")
    form = await read_form(desk.request)
    try:
        asked = PinChange.model_validate(filled(form, "name", "pin", "role"))
        await desk.parts.ledger.staff.change(
            pin_id,
            name=asked.name,
            pin=None if asked.pin is None else asked.pin.get_secret_value(),
            role=asked.role,
            operations=None,
            caller=desk.caller,
        )
    except (ValidationError, Refused) as error:
        return await _page(desk, desk.what_is_wrong(error), {**form, "pin": "", "about": str(pin_id)})
    return to("/app/staff", done="saved")


@router.post("/app/staff/{pin_id}/unlock")
async def unlock(pin_id: UUID, desk: TheDesk) -> Response:
    desk.needs("pins")
    await desk.parts.ledger.staff.unlock(pin_id, caller=desk.caller)
    return to("/app/staff", done="unlocked")


@router.post("/app/staff/{pin_id}/remove")
async def remove(pin_id: UUID, desk: TheDesk) -> Response:
    desk.needs("pins")
    await desk.parts.ledger.staff.revoke(pin_id, caller=desk.caller)
    return to("/app/staff", done="removed")
