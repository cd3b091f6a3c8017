"""The stream itself, for auditors."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response

from api.bodies import StrictRoute
from api.dependencies import AdminOrAuditor, Projected, TheParts, TheReader
from api.errors import StatementUnavailable
from api.event_search import ANSWERS, Accept, AnyVendorsEventFilters, answer_search, told
from api.models import EventPage
from api.openapi import responses
from api.proof_models import Statement
from api.statements import answer_statement
from api.streams import TheStream
from ledger import errors
from ledger.commands.references import CardReference

router = APIRouter(tags=["audit"], route_class=StrictRoute)

Limit = Annotated[int, Query(ge=1, le=200)]


@router.get(
    "/cards/{card_id}/events",
    summary="A card's stream",
    response_model=EventPage,
    responses=responses(errors.CardNotFound),
)
async def list_card_events(
    card_id: UUID, _: AdminOrAuditor, reader: TheReader, after: Annotated[int, Query(ge=0)] = 0, limit: Limit = 50
) -> Any:
    """Oldest first, each with its hash and the one before it. `after` is a version."""
    reference = CardReference(str(card_id))
    reference.find(await reader.view(reference.streams), None)
    events = await reader.events(card_id, after=after, limit=limit)
    return {
        "items": [told(e) for e in events],
        "next_after": events[-1].version if len(events) == limit else None,
    }


@router.get(
    "/cards/{card_id}/statement",
    summary="A card's statement",
    response_model=Statement,
    responses=responses(errors.CardNotFound, StatementUnavailable),
)
async def read_any_statement(card_id: UUID, _: AdminOrAuditor, parts: TheParts) -> Response:
    """The card's whole history with proofs, signed: to be verified offline, by whoever has the public key."""
    return await answer_statement(parts, card_id, None)


@router.get("/events", summary="Search the whole stream", response_model=EventPage, responses=ANSWERS)
async def list_events(
    asked: Annotated[AnyVendorsEventFilters, Query()],
    _: AdminOrAuditor,
    reader: TheReader,
    position: Annotated[int, Projected],
    response: Response,
    stream: TheStream,
    accept: Accept = "",
) -> Any:
    """Every vendor's events by position. With no filter the stream itself, which no query table delays."""
    return await answer_search(
        reader,
        asked.wanted(asked.vendor_id),
        asked,
        position=position,
        accept=accept,
        response=response,
        stream=stream,
    )
