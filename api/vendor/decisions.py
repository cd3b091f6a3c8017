"""Why an entry was accepted or refused, for the vendor whose card it is."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends

from api.bodies import StrictRoute
from api.decisions import AcceptLanguage, tell_decision
from api.dependencies import Projected, TheReader, VendorWith
from api.models import Decision
from api.openapi import responses
from ledger import errors
from ledger.commands.caller import Caller

router = APIRouter(tags=["decisions"], route_class=StrictRoute)


@router.get(
    "/decisions/{decision_id}",
    summary="Why it was accepted or refused",
    response_model=Decision,
    responses=responses(errors.EntryNotFound),
    dependencies=[Projected],
)
async def read_decision(
    decision_id: UUID,
    caller: Annotated[Caller, Depends(VendorWith("read"))],
    reader: TheReader,
    accept_language: AcceptLanguage = None,
) -> Any:
    """By an entry's id, or the `decision_id` of a refusal: the rule, what it saw, and whether it still says so."""
    return await tell_decision(reader, decision_id, vendor_id=caller.vendor_id, accept_language=accept_language)
