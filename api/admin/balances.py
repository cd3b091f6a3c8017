"""What cards and programs held at a business time, as it was known at a server time, for auditors."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter

from api.bodies import StrictRoute
from api.dependencies import AdminOrAuditor, Projected, TheLedger, TheReader
from api.models import CardBalance, OutstandingUnits
from api.openapi import responses
from api.time_travel import TwoTimes, card_balance
from ledger import errors
from projections.outstanding import outstanding

router = APIRouter(tags=["audit"], route_class=StrictRoute)


@router.get(
    "/cards/{card_id}/balance",
    summary="A card at a time",
    response_model=CardBalance,
    responses=responses(errors.CardNotFound),
)
async def read_any_card_balance(card_id: UUID, _: AdminOrAuditor, reader: TheReader, times: TwoTimes) -> Any:
    """What the card held at `as_of` by all that was known at `known_at`, added up from its own stream."""
    return await card_balance(reader, card_id, None, times)


@router.get(
    "/programs/{program_id}/outstanding",
    summary="A program's outstanding units at a time",
    response_model=OutstandingUnits,
    responses=responses(errors.ProgramNotFound),
    dependencies=[Projected],
)
async def read_outstanding_units(
    program_id: UUID, _: AdminOrAuditor, ledger: TheLedger, reader: TheReader, times: TwoTimes
) -> Any:
    """What the program's cards held together at `as_of` by all that was known at `known_at`, from the query tables."""
    await ledger.programs.find(program_id, None)
    found = await outstanding(reader, program_id, as_of=times.as_of, known_at=times.known_at)
    return {
        "program_id": program_id,
        "as_of": times.as_of,
        "known_at": times.known_at,
        "cards": found.cards,
        "stamps_outstanding": found.stamps_outstanding,
        "points_outstanding": found.points_outstanding,
        "entries": found.entries,
        "position": found.position,
    }
