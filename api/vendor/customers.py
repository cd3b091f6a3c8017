"""A vendor's customers as persons: what is held about them, all of it told, and all of it forgotten."""

from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Request, Response

from api.bodies import StrictRoute
from api.customer_models import Customer, CustomerExport, ErasureReceipt
from api.dependencies import OptionalKey, Parts, TheParts, VendorWith, answered, maybe_once
from api.openapi import responses
from api.shapes import ErasureRequest
from ledger.commands.caller import Caller, just_this
from ledger.errors import CustomerIsErased, CustomerNotFound, KeyReused, StoreAway
from projections.proofs.receipts import signed

router = APIRouter(tags=["customers"], route_class=StrictRoute)

ToRead = Annotated[Caller, Depends(VendorWith("read", "cards"))]
ToAnswerFor = Annotated[Caller, Depends(VendorWith("cards"))]

KNOWN = responses(CustomerNotFound, StoreAway)
EXPORTED = responses(CustomerNotFound, CustomerIsErased, StoreAway)
ERASED = responses(CustomerNotFound, CustomerIsErased, KeyReused, StoreAway)


@router.get("/customers/{customer_id}", summary="Read a customer", response_model=Customer, responses=KNOWN)
async def read_customer(customer_id: UUID, caller: ToRead, parts: TheParts) -> Any:
    """A customer's cards, and the receipt if they were forgotten; nothing personal."""
    return await found(parts, customer_id, caller.vendor_id)


@router.post(
    "/customers/{customer_id}/export",
    summary="Tell everything that is held about a customer",
    response_model=CustomerExport,
    responses=EXPORTED,
)
async def export_customer(customer_id: UUID, caller: ToAnswerFor, parts: TheParts) -> Any:
    """Everything, opened: give it to the person themselves and to nobody else. Nothing is changed."""
    return await exported(parts, customer_id, caller.vendor_id)


@router.post(
    "/customers/{customer_id}/erasure",
    summary="Forget a customer",
    status_code=HTTPStatus.CREATED,
    response_model=ErasureReceipt,
    responses=ERASED,
)
async def erase_customer(
    request: Request,
    customer_id: UUID,
    asked: ErasureRequest,
    caller: ToAnswerFor,
    key: OptionalKey,
    parts: TheParts,
) -> Response:
    """Forget a customer for good: there is no way back. Their cards keep their counts, and lose their holder."""
    return await erased(request, parts, customer_id, asked, caller, key)


async def found(parts: Parts, customer_id: UUID, vendor_id: UUID) -> dict[str, Any]:
    """With the receipt signed by the key of today."""
    told = await parts.ledger.people.find(customer_id, vendor_id)
    if told["receipt"] is not None:
        told["receipt"] = await _signed(parts, told["receipt"])
    return told


async def exported(parts: Parts, customer_id: UUID, vendor_id: UUID) -> dict[str, Any]:
    """Once what was recorded so far stands in the query tables, or nearly."""
    await parts.waiter.wait_for(
        await parts.reader.last_position(), timeout_seconds=parts.settings.min_position_wait_seconds
    )
    return await parts.ledger.people.export(customer_id, vendor_id)


async def erased(
    request: Request, parts: Parts, customer_id: UUID, asked: ErasureRequest, caller: Caller, key: str | None
) -> Response:
    """Answered when the query tables have followed, or after a moment: they will, whatever happens."""
    outcome = await parts.ledger.people.erase(
        customer_id,
        reason=asked.reason,
        caller=caller,
        once=maybe_once(request, caller.vendor_id, key, asked) or just_this(),
        expects_phones=parts.apple is not None,
    )
    if outcome.position is not None:
        await parts.waiter.wait_for(outcome.position, timeout_seconds=parts.settings.min_position_wait_seconds)
    receipt = await _signed(parts, orjson.loads(outcome.answer))
    return answered(replace(outcome, answer=orjson.dumps(receipt).decode()), HTTPStatus.CREATED)


async def _signed(parts: Parts, receipt: dict[str, Any]) -> dict[str, Any]:
    told = ErasureReceipt.model_validate(receipt).model_dump(mode="json", exclude={"signature", "keys"})
    return await signed(parts.reader, parts.settings.sealing_key_path, told)
