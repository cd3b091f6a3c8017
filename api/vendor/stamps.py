"""Stamping a card."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import Field

from api.models import Entry
from api.openapi import operation_id
from api.shapes import CardReference as CardText
from api.shapes import Count, ExternalRef, OrderReference
from api.vendor.responses import TILL_PROBLEMS
from api.vendor.till import PREFIX, StaffedRequest, Till, TillRoute, TillWith
from ledger.commands.references import CardReference

router = APIRouter(prefix=PREFIX, tags=["stamps"], route_class=TillRoute, generate_unique_id_function=operation_id)


class StampRequest(StaffedRequest):
    card: CardText
    count: Count = Field(1, description="How many stamps; the program says how many are allowed at once.")
    order_reference: OrderReference | None = None
    external_ref: ExternalRef | None = None


@router.post(
    "/stamps",
    summary="Stamp a card",
    status_code=HTTPStatus.CREATED,
    response_model=Entry,
    responses=TILL_PROBLEMS,
)
async def stamp_card(asked: StampRequest, till: Annotated[Till, Depends(TillWith("earn"))]) -> Response:
    """Add stamps to a card, unless cooldown, daily limit or the card's state forbid it.

    Sending the same Idempotency-Key again changes nothing and answers the same.
    """
    return await till.run(
        asked,
        lambda command: till.commands.stamp(CardReference(asked.card), count=asked.count, asked=command),
        order_reference=asked.order_reference,
        external_ref=asked.external_ref,
    )
