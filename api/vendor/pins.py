"""Staff PINs and staff sessions."""

from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from api.bodies import StrictRoute
from api.dependencies import (
    OptionalKey,
    Projected,
    TheLedger,
    TheReader,
    VendorWith,
    answered,
    maybe_once,
)
from api.models import Page, StaffPin, StaffSession
from api.paging import PageByTime
from api.shapes import Body, Identifier, Name, Pin, Uuid
from api.vendor.responses import PIN_PROBLEMS, READ_PROBLEMS
from ledger.commands.caller import Caller
from projections import staff_pins

router = APIRouter(tags=["staff"], route_class=StrictRoute)

ToRead = Annotated[Caller, Depends(VendorWith("read", "pins"))]
ToChange = Annotated[Caller, Depends(VendorWith("pins"))]
ToWork = Annotated[Caller, Depends(VendorWith("earn", "redeem", "reverse", "adjust", "pins"))]

Operations = list[Literal["stamp", "earn", "redeem", "reverse", "adjust"]]


class PinRequest(Body):
    staff_id: Identifier = Field(description="The vendor's own name for the staff member.", examples=["marie"])
    name: Name
    pin: Pin
    program_id: Uuid | None = Field(None, description="Absent: every program of the vendor.")
    role: Literal["staff", "manager"] = "staff"
    operations: Operations | None = Field(None, description="Absent: what the role usually may.")


class PinChange(Body):
    name: Name | None = None
    pin: Pin | None = None
    role: Literal["staff", "manager"] | None = None
    operations: Operations | None = None


class SessionRequest(Body):
    pin: Pin
    terminal_id: Identifier | None = Field(None, description="Binds the session to this till.", examples=["till-1"])


@router.get("/pins", summary="List staff PINs", response_model=Page[StaffPin], dependencies=[Projected])
async def list_pins(caller: ToRead, reader: TheReader, window: PageByTime) -> Any:
    """The vendor's staff, newest first, from the query tables."""
    return window.page(await staff_pins.list_pins(reader, caller.vendor_id, before=window.before, limit=window.ask))


@router.post(
    "/pins",
    summary="Create a staff PIN",
    status_code=HTTPStatus.CREATED,
    response_model=StaffPin,
    responses=PIN_PROBLEMS,
)
async def create_pin(
    request: Request, asked: PinRequest, caller: ToChange, key: OptionalKey, ledger: TheLedger
) -> Response:
    """A PIN for a staff member. It is never answered again."""
    outcome = await ledger.staff.create(
        staff_id=asked.staff_id,
        name=asked.name,
        pin=asked.pin.get_secret_value(),
        program_id=asked.program_id,
        role=asked.role,
        operations=None if asked.operations is None else tuple(asked.operations),
        caller=caller,
        once=maybe_once(request, caller.vendor_id, key, asked),
    )
    return answered(outcome, HTTPStatus.CREATED)


@router.get("/pins/{pin_id}", summary="Read a staff PIN", response_model=StaffPin, responses=READ_PROBLEMS)
async def read_pin(pin_id: UUID, caller: ToRead, ledger: TheLedger) -> Any:
    """A staff member's role, operations and lock, as they are now."""
    return await ledger.staff.find(pin_id, caller.vendor_id)


@router.patch("/pins/{pin_id}", summary="Change a staff PIN", response_model=StaffPin, responses=PIN_PROBLEMS)
async def change_pin(pin_id: UUID, asked: PinChange, caller: ToChange, ledger: TheLedger) -> Response:
    """Change what is given. Sessions opened before end with it."""
    outcome = await ledger.staff.change(
        pin_id,
        name=asked.name,
        pin=None if asked.pin is None else asked.pin.get_secret_value(),
        role=asked.role,
        operations=None if asked.operations is None else tuple(asked.operations),
        caller=caller,
    )
    return answered(outcome, HTTPStatus.OK)


@router.delete(
    "/pins/{pin_id}", summary="Remove a staff PIN", status_code=HTTPStatus.NO_CONTENT, responses=PIN_PROBLEMS
)
async def remove_pin(pin_id: UUID, caller: ToChange, ledger: TheLedger) -> None:
    """The PIN and its sessions are refused from now on."""
    await ledger.staff.revoke(pin_id, caller=caller)


@router.post("/pins/{pin_id}/unlock", summary="Unlock a staff PIN", response_model=StaffPin, responses=PIN_PROBLEMS)
async def unlock_pin(pin_id: UUID, caller: ToChange, ledger: TheLedger) -> Response:
    """End a lock. Nothing happens where there is none."""
    return answered(await ledger.staff.unlock(pin_id, caller=caller), HTTPStatus.OK)


@router.post(
    "/pins/{pin_id}/sessions",
    summary="Open a staff session",
    status_code=HTTPStatus.CREATED,
    response_model=StaffSession,
    responses=PIN_PROBLEMS,
)
async def open_staff_session(pin_id: UUID, asked: SessionRequest, caller: ToWork, ledger: TheLedger) -> Any:
    """Check the PIN once, and get a token to send as Staff-Session beside the key.

    It ends after five minutes without use, after eight hours, and at once when the PIN is changed, locked or removed.
    """
    caller = replace(caller, terminal_id=asked.terminal_id or caller.terminal_id)
    token, expires_at, ends_at = await ledger.staff.open_session(
        pin_id, asked.pin.get_secret_value(), terminal_id=caller.terminal_id, caller=caller
    )
    return {"token": token, "expires_at": expires_at, "session_ends_at": ends_at}
