"""Any vendor's customers as persons: all that is held about them told, and forgotten."""

from dataclasses import replace
from http import HTTPStatus
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from api.auth import Principal
from api.bodies import StrictRoute
from api.customer_models import Customer, CustomerExport, ErasureReceipt
from api.dependencies import AdminOnly, AdminOrAuditor, OptionalKey, TheParts, admin_caller
from api.shapes import ErasureRequest
from api.vendor.customers import ERASED, EXPORTED, KNOWN, erased, exported, found
from ledger.commands.caller import Caller

router = APIRouter(prefix="/vendors/{vendor_id}", tags=["customers"], route_class=StrictRoute)


@router.get("/customers/{customer_id}", summary="Read any customer", response_model=Customer, responses=KNOWN)
async def read_any_customer(vendor_id: UUID, customer_id: UUID, _: AdminOrAuditor, parts: TheParts) -> Any:
    """A customer's cards, and the receipt if they were forgotten; nothing personal."""
    return await found(parts, customer_id, vendor_id)


@router.post(
    "/customers/{customer_id}/export",
    summary="Tell everything that is held about any customer",
    response_model=CustomerExport,
    responses=EXPORTED,
)
async def export_any_customer(vendor_id: UUID, customer_id: UUID, _: AdminOnly, parts: TheParts) -> Any:
    """Everything, opened: give it to the person themselves and to nobody else. Nothing is changed."""
    return await exported(parts, customer_id, vendor_id)


@router.post(
    "/customers/{customer_id}/erasure",
    summary="Forget any customer",
    status_code=HTTPStatus.CREATED,
    response_model=ErasureReceipt,
    responses=ERASED,
)
async def erase_any_customer(
    request: Request,
    vendor_id: UUID,
    customer_id: UUID,
    asked: ErasureRequest,
    admin: AdminOnly,
    key: OptionalKey,
    parts: TheParts,
) -> Response:
    """Forget a customer for good: there is no way back. Their cards keep their counts, and lose their holder."""
    return await erased(request, parts, customer_id, asked, _for(request, admin, vendor_id), key)


def _for(request: Request, admin: Principal, vendor_id: UUID) -> Caller:
    return replace(admin_caller(request, admin), vendor_id=vendor_id)
