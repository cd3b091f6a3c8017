"""The stream itself, for auditors."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response

from api.bodies import StrictRoute
from api.dependencies import AdminOrAuditor, TheParts, TheReader
from api.errors import StatementUnavailable
from api.models import EventPage
from api.openapi import responses
from api.proof_models import Statement
from api.statements import answer_statement
from ledger import errors
from ledger.codec import to_plain
from ledger.commands.references import CardReference
from ledger.stream import EVENT_NAMES, Recorded

router = APIRouter(tags=["audit"], route_class=StrictRoute)

Limit = Annotated[int, Query(ge=1, le=200)]


def told(recorded: Recorded) -> dict[str, Any]:
    """An event as it stands in the stream; what is sealed stays sealed."""
    return {
        "position": recorded.position,
        "stream_id": recorded.stream_id,
        "version": recorded.version,
        "name": recorded.name,
        "occurred_at": recorded.envelope.occurred_at,
        "recorded_at": recorded.envelope.recorded_at,
        "hash": recorded.digest,
        "prev_hash": recorded.prev,
        "envelope": to_plain(recorded.envelope),
        "data": to_plain(recorded.event),
    }


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


@router.get("/events", summary="The whole stream", response_model=EventPage)
async def list_events(
    _: AdminOrAuditor,
    reader: TheReader,
    after: Annotated[int, Query(ge=0, le=2**62, description="A position; events after it are answered.")] = 0,
    limit: Limit = 50,
    names: Annotated[
        str | None, Query(max_length=1000, description="Event names, separated by commas; absent, all.")
    ] = None,
) -> Any:
    """Every vendor's events by position, oldest first."""
    wanted = None if names is None else [name for name in names.split(",") if name in EVENT_NAMES]
    events = await reader.log(after=after, limit=limit, names=wanted)
    return {
        "items": [told(e) for e in events],
        "next_after": events[-1].position if len(events) == limit else None,
    }
