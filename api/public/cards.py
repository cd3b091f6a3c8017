"""A card in its holder's hand: joining, looking, scanning. The QR token is what a holder shows to be known."""

from http import HTTPStatus
from io import BytesIO
from typing import Annotated, Any, Literal
from uuid import UUID

import segno
from fastapi import APIRouter, Header, Path, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from api.bodies import StrictRoute
from api.dependencies import (
    OptionalKey,
    Public,
    TheLedger,
    TheParts,
    TheReader,
    answered,
    facts,
    maybe_once,
    public_caller,
)
from api.languages import negotiate
from api.limits import Enrolments
from api.models import Enrolment, HeldCard
from api.openapi import responses
from api.people import Email, Phone
from api.public.programs import AcceptLanguage, shown
from api.shapes import Body, Language, Name
from ledger import errors
from ledger.commands.cards import Customer
from ledger.commands.references import CardReference
from ledger.errors import CardNotFound
from ledger.ids import derived

router = APIRouter(tags=["public"], dependencies=[Public], route_class=StrictRoute)

QrToken = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{32}$", description="What the card's QR code says.")]
HELD = (
    "card_number",
    "qr_code_data",
    "status",
    "language",
    "stamp_count",
    "points_balance",
    "stamps_target",
    "stamps_until_reward",
    "rewards_available",
    "next_stamp_at",
    "version",
    "updated_at",
)


class JoinRequest(Body):
    name: Name | None = None
    email: Email | None = None
    phone: Phone | None = None
    language: Language | None = None
    consent: Literal[True] = Field(description="The customer accepts the terms; without it there is no card.")


@router.post(
    "/programs/{program_id}/enrolments",
    summary="Join a program",
    status_code=HTTPStatus.CREATED,
    response_model=Enrolment,
    responses=responses(errors.ProgramNotFound, errors.ProgramIsInactive, errors.CardIsErased, errors.RateLimited),
)
async def join_program(
    request: Request,
    program_id: UUID,
    asked: JoinRequest,
    key: OptionalKey,
    parts: TheParts,
    reader: TheReader,
    enrolments: Enrolments,
) -> Any:
    """A card of one's own. Whether an email or phone has a card already, nobody learns: it is always a new card.

    Asked again under the same key, it is the same one.
    """
    program = await parts.ledger.programs.find(program_id, None)
    vendor_id: UUID = program["vendor_id"]
    once = maybe_once(request, derived("public", vendor_id), key, asked)  # Apart from the keys of the tills.
    if once is None or not await reader.is_used(once):
        await enrolments.count(request)
    outcome = await parts.ledger.cards.enrol(
        program_id,
        Customer(None, asked.name, asked.email, asked.phone, asked.language or "en", has_consented=True),
        caller=public_caller(request, vendor_id),
        once=once,
        is_trusted=False,
    )
    card = facts(outcome)
    token, base = card["qr_code_data"], parts.settings.public_url
    response = answered(outcome, HTTPStatus.CREATED)
    body = {
        "card_number": card["card_number"],
        "qr_code_data": token,
        "links": {
            "card": f"{base}/c/{token}",
            "apple_pass": None if parts.apple is None else f"{base}/api/v1/loyalty/cards/{token}/apple.pkpass",
            "google_save": None if parts.google is None else f"{base}/api/v1/loyalty/cards/{token}/google",
        },
        "card_version": card["version"],
    }
    headers = {k: v for k, v in response.headers.items() if k not in ("content-length", "content-type")}
    return JSONResponse(body, HTTPStatus.CREATED, headers)


@router.get(
    "/cards/{qr_code_data}",
    summary="Read one's card",
    response_model=HeldCard,
    responses=responses(errors.CardNotFound, errors.CardIsReplaced)
    | {304: {"description": "It is still the version named in If-None-Match."}},
)
async def read_held_card(
    qr_code_data: QrToken,
    ledger: TheLedger,
    response: Response,
    if_none_match: Annotated[str | None, Header()] = None,
    accept_language: AcceptLanguage = None,
) -> Any:
    """The holder's view, from the card's own stream, with its version as ETag; its program in Accept-Language."""
    found = await _not_replaced(ledger, qr_code_data)
    etag = f'"{found["version"]}-{found["program"]["version"]}-{negotiate(accept_language)}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache", "Vary": "Accept-Language"}
    if if_none_match is not None and etag in if_none_match:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    response.headers.update(headers)
    return {name: found[name] for name in HELD} | {"program": shown(found["program"], accept_language)}


@router.get(
    "/cards/{qr_code_data}/qr.svg",
    summary="The card's QR code",
    response_class=Response,
    responses=responses(errors.CardNotFound) | {200: {"content": {"image/svg+xml": {}}, "description": "The QR code."}},
)
async def draw_qr_code(qr_code_data: QrToken, ledger: TheLedger) -> Response:
    """An SVG to show at the till."""
    await _not_replaced(ledger, qr_code_data)
    drawn = BytesIO()
    segno.make_qr(qr_code_data, error="m").save(drawn, kind="svg", scale=8, border=4, light="white")
    return Response(drawn.getvalue(), media_type="image/svg+xml", headers={"Cache-Control": "no-store"})


async def held(ledger: TheLedger, token: str) -> dict[str, Any]:
    """The card with this QR code, whatever became of it.

    Raises: CardNotFound, also where the code was exchanged since, or the person was forgotten.
    """
    found = await ledger.cards.look_up(CardReference(token), None)
    if found["qr_code_data"] != token:
        raise CardNotFound
    return found


async def _not_replaced(ledger: TheLedger, token: str) -> dict[str, Any]:
    found = await held(ledger, token)
    if found["status"] == "replaced":
        raise errors.CardIsReplaced
    return found
