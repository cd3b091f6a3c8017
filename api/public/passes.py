"""A card as a pass in its holder's phone."""

from email.utils import format_datetime
from http import HTTPStatus
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Header, Request, Response

from api.bodies import StrictRoute
from api.dependencies import Public, TheLedger, TheParts, TheReader, public_caller
from api.errors import AppleWalletOff, AppleWalletUnavailable
from api.openapi import responses
from api.public.cards import QrToken, held
from ledger import errors
from wallet_sync.apple_certificates import AppleKeysUnfit
from wallet_sync.apple_pass import MEDIA_TYPE
from wallet_sync.changes import change_of

router = APIRouter(tags=["public"], dependencies=[Public], route_class=StrictRoute)

log = structlog.get_logger("api.public.passes")


@router.get(
    "/cards/{qr_code_data}/apple.pkpass",
    summary="The card's pass for Apple Wallet",
    response_class=Response,
    responses=responses(errors.CardNotFound, errors.CardIsErased, AppleWalletOff, AppleWalletUnavailable)
    | {
        200: {"content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}, "description": "The pass."},
        304: {"description": "It still says what the pass named in If-None-Match says."},
    },
)
async def download_apple_pass(
    request: Request,
    qr_code_data: QrToken,
    parts: TheParts,
    ledger: TheLedger,
    reader: TheReader,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Signed when it is asked for, as the card is now. A card that cannot be used comes as a voided pass.

    Its serial number is recorded before the first byte leaves: a phone may register the moment it has the pass.
    """
    if parts.apple is None:
        raise AppleWalletOff
    known = await held(ledger, qr_code_data)
    await ledger.passes.issue_apple(
        known["id"],
        pass_type_id=parts.apple.pass_type_id,
        serial_number=parts.apple.serial_of(known["id"]),
        caller=public_caller(request, known["vendor_id"]),
    )
    change = await change_of(reader, known["id"])
    card = await held(ledger, qr_code_data)  # As it is after that: no change may hide behind a time that counts it.
    program: dict[str, Any] = card["program"]
    vendor = await ledger.vendors.find(card["vendor_id"])
    try:
        tag, content = await parts.apple.make(card, program, vendor["name"], unless=if_none_match)
    except AppleKeysUnfit as unfit:
        log.warning("apple-wallet-unfit", error=str(unfit))
        raise AppleWalletUnavailable from None
    headers = {
        "ETag": tag,
        "Last-Modified": format_datetime(change.last_modified, usegmt=True),
        "Cache-Control": "no-store",
    }
    if content is None:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    headers["Content-Disposition"] = 'attachment; filename="card.pkpass"'
    return Response(content, media_type=MEDIA_TYPE, headers=headers)
