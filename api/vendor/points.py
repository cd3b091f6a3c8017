"""Points for purchases."""

from http import HTTPStatus
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Response
from pydantic import Field, model_validator

from api.models import Entry
from api.openapi import operation_id
from api.shapes import CardReference as CardText
from api.shapes import Currency, ExternalRef, MoneyMinor, OrderReference
from api.validation import invalid
from api.vendor.responses import TILL_PROBLEMS
from api.vendor.till import PREFIX, StaffedRequest, Till, TillRoute, TillWith
from ledger.commands.references import CardReference

router = APIRouter(prefix=PREFIX, tags=["points"], route_class=TillRoute, generate_unique_id_function=operation_id)


class EarnRequest(StaffedRequest):
    card: CardText
    purchase_amount_minor: MoneyMinor = Field(
        description="The whole purchase in the currency's minor unit.", examples=[1250]
    )
    paid_with_reward_minor: MoneyMinor = Field(
        0, description="The part that was paid with a reward; it earns nothing.", examples=[0]
    )
    currency: Currency
    order_reference: OrderReference | None = None
    external_ref: ExternalRef | None = None

    @model_validator(mode="after")
    def _reward_is_part_of_the_purchase(self) -> Self:
        if self.paid_with_reward_minor > self.purchase_amount_minor:
            raise invalid("too_large", "must not be more than the purchase")
        return self


@router.post(
    "/points",
    summary="Earn points for a purchase",
    status_code=HTTPStatus.CREATED,
    response_model=Entry,
    responses=TILL_PROBLEMS,
)
async def earn_points(asked: EarnRequest, till: Annotated[Till, Depends(TillWith("earn"))]) -> Response:
    """Points by the program's rate, rounded down once. A purchase below the minimum earns nothing and says so."""
    return await till.run(
        asked,
        lambda command: till.commands.earn(
            CardReference(asked.card),
            purchase_amount_minor=asked.purchase_amount_minor,
            paid_with_reward_minor=asked.paid_with_reward_minor,
            currency=asked.currency,
            asked=command,
        ),
        order_reference=asked.order_reference,
        external_ref=asked.external_ref,
    )
