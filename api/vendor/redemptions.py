"""Swapping units for rewards."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import Field

from api.models import Entry
from api.openapi import operation_id
from api.shapes import CardReference as CardText
from api.shapes import ExternalRef, OrderReference, Uuid
from api.vendor.responses import TILL_PROBLEMS
from api.vendor.till import PREFIX, StaffedRequest, Till, TillRoute, TillWith
from ledger.commands.references import CardReference

router = APIRouter(prefix=PREFIX, tags=["redemptions"], route_class=TillRoute, generate_unique_id_function=operation_id)


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
async def redeem_reward(asked: RedemptionRequest, till: Annotated[Till, Depends(TillWith("redeem"))]) -> Response:
    """One use of a reward. It takes exactly its price and leaves the rest on the card."""
    return await till.run(
        asked,
        lambda command: till.commands.redeem(CardReference(asked.card), reward_id=asked.reward_id, asked=command),
        order_reference=asked.order_reference,
        external_ref=asked.external_ref,
    )
