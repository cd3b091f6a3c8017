"""A vendor's customers as persons: what is held about them, put right, all of it told, and all of it forgotten."""

from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from api.bodies import StrictRoute
from api.customer_models import CorrectedCustomer, Customer, CustomerExport, ErasureReceipt
from api.dependencies import OptionalKey, Parts, TheParts, VendorWith, answered, maybe_once
from api.openapi import responses
from api.people import Email, PhoneText, phone_number
from api.shapes import Body, ErasureRequest, Language, Name
from ledger.commands.caller import Caller, just_this
from ledger.errors import CardIsBusy, CustomerIsErased, CustomerNotFound, InvalidValue, KeyReused, StoreAway
from projections.proofs.receipts import signed

router = APIRouter(tags=["customers"], route_class=StrictRoute)

ToRead = Annotated[Caller, Depends(VendorWith("read", "cards"))]
ToAnswerFor = Annotated[Caller, Depends(VendorWith("cards"))]

KNOWN = responses(CustomerNotFound, StoreAway)
EXPORTED = responses(CustomerNotFound, CustomerIsErased, StoreAway)
CORRECTED = responses(CustomerNotFound, CustomerIsErased, CardIsBusy, KeyReused, StoreAway)
ERASED = responses(CustomerNotFound, CustomerIsErased, KeyReused, StoreAway)


@router.get("/customers/{customer_id}", summary="Read a customer", response_model=Customer, responses=KNOWN)
async def read_customer(customer_id: UUID, caller: ToRead, parts: TheParts) -> Any:
    """A customer's cards, and the receipt if they were forgotten; nothing personal."""
    return await found(parts, customer_id, caller.vendor_id)


class DetailsRequest(Body):
    """What is given takes the place of what was; what is left out stays. `null` takes away, but for the language."""

    name: Name | None = None
    email: Email | None = None
    phone: PhoneText | None = Field(None, description="With its country's prefix, or as dialled in the vendor's.")
    language: Language | None = None


@router.patch(
    "/customers/{customer_id}",
    summary="Correct a customer's details",
    response_model=CorrectedCustomer,
    responses=CORRECTED,
)
async def correct_customer(
    request: Request,
    customer_id: UUID,
    asked: DetailsRequest,
    caller: ToAnswerFor,
    key: OptionalKey,
    parts: TheParts,
) -> Response:
    """Name, email, phone or language, on all their cards. They are found by what is given from then on.

    An email or phone that leads to another customer goes on leading there.
    """
    return await corrected(request, parts, customer_id, asked, caller, key)


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


async def corrected(
    request: Request, parts: Parts, customer_id: UUID, asked: DetailsRequest, caller: Caller, key: str | None
) -> Response:
    given = asked.model_dump(include=asked.model_fields_set)
    if asked.phone is not None:
        vendor = await parts.ledger.vendors.find(caller.vendor_id)
        given["phone"] = phone_number(asked.phone, vendor["country"])
        if given["phone"] is None:
            raise InvalidValue(field="phone", why="is not a phone number")
    if asked.language is None:
        given.pop("language", None)
    outcome = await parts.ledger.corrections.correct(
        customer_id, given, caller=caller, once=maybe_once(request, caller.vendor_id, key, asked)
    )
    return answered(outcome, HTTPStatus.OK)


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
