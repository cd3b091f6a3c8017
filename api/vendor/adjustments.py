"""Putting a balance right by hand."""

from http import HTTPStatus
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Response
from pydantic import model_validator

from api.bodies import StrictRoute
from api.models import Entry
from api.shapes import CardReference as CardText
from api.shapes import Delta, Reason
from api.validation import invalid
from api.vendor.responses import TILL_PROBLEMS
from api.vendor.till import StaffedRequest, Till, TillWith
from ledger.commands.references import CardReference

router = APIRouter(tags=["adjustments"], route_class=StrictRoute)


class AdjustmentRequest(StaffedRequest):
    card: CardText
    stamps_delta: Delta | None = None
    points_delta: Delta | None = None
    reason: Reason

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if bool(self.stamps_delta) == bool(self.points_delta):
            raise invalid("not_allowed", "exactly one of stamps_delta and points_delta must be given")
        return self


@router.post(
    "/adjustments",
    summary="Adjust a balance",
    status_code=HTTPStatus.CREATED,
    response_model=Entry,
    responses=TILL_PROBLEMS,
)
async def adjust_balance(asked: AdjustmentRequest, till: Annotated[Till, Depends(TillWith("adjust"))]) -> Response:
    """A signed change with a reason. It never takes more than the card holds."""
    return await till.run(
        asked,
        lambda command: till.commands.adjust(
            CardReference(asked.card),
            stamps=asked.stamps_delta or 0,
            points=asked.points_delta or 0,
            reason=asked.reason,
            asked=command,
        ),
    )
