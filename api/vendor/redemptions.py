"""Swapping units for rewards."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import Field

from api.bodies import StrictRoute
from api.dependencies import TheLedger, VendorWith
from api.models import Entry
from api.shapes import CardReference as CardText
from api.shapes import ExternalRef, OrderReference, Uuid
from api.vendor.responses import TILL_PROBLEMS
from api.vendor.till import StaffedRequest, Till
from ledger.commands.caller import Caller
from ledger.commands.references import CardReference

router = APIRouter(tags=["redemptions"], route_class=StrictRoute)


class RedemptionRequest(StaffedRequest):
    card: CardText
    reward_id: Uuid | None = Field(None, description="One of the program's point rewards; absent, the stamp reward.")
    order_reference: OrderReference | None = None
    external_ref: ExternalRef | None = None


@router.post(
    "/redemptions",
    summary="Redeem a reward",
    status_code=HTTPStatus.CREATED,
    response_model=Entry,
    responses=TILL_PROBLEMS,
)
async def redeem_reward(
    asked: RedemptionRequest,
    caller: Annotated[Caller, Depends(VendorWith("redeem"))],
    till: Till,
    ledger: TheLedger,
) -> Response:
    """One use of a reward. It takes exactly its price and leaves the rest on the card."""
    return await till.run(
        caller,
        asked,
        lambda command: ledger.till.redeem(CardReference(asked.card), reward_id=asked.reward_id, asked=command),
        order_reference=asked.order_reference,
        external_ref=asked.external_ref,
    )
