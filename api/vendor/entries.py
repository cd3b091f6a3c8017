"""Undoing an entry by a new one."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from pydantic import Field

from api.bodies import StrictRoute
from api.models import Entry
from api.shapes import MoneyMinor, Reason
from api.vendor.responses import TILL_PROBLEMS
from api.vendor.till import StaffedRequest, Till, TillWith

router = APIRouter(tags=["entries"], route_class=StrictRoute)


class ReversalRequest(StaffedRequest):
    reason: Reason
    amount_minor: MoneyMinor | None = Field(
        None, ge=1, description="The part of a purchase to refund; absent, all that is left.", examples=[500]
    )


@router.post(
    "/entries/{entry_id}/reversal",
    summary="Reverse an entry",
    status_code=HTTPStatus.CREATED,
    response_model=Entry,
    responses=TILL_PROBLEMS,
)
async def reverse_entry(
    entry_id: UUID, asked: ReversalRequest, till: Annotated[Till, Depends(TillWith("reverse", "earn", "redeem"))]
) -> Response:
    """Take an earn or a redemption back; partial refunds add up to exactly what was earned.

    A key with the scope `reverse` and managers may undo any entry, staff their own last one within ten minutes.
    """
    return await till.run(
        asked,
        lambda command: till.commands.reverse(
            entry_id, amount_minor=asked.amount_minor, reason=asked.reason, asked=command
        ),
    )
