"""A card in Google Wallet: the link that saves it, the pictures on it, and what Google tells of it."""

import asyncio
import time
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import APIRouter, Header, Path, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from api.bodies import StrictRoute
from api.dependencies import Parts, Public, TheLedger, TheParts, TheReader, public_caller
from api.errors import GoogleCallbackRefused, GoogleWalletOff, GoogleWalletUnavailable, NotFoundHere
from api.google_wallet import GoogleAccountUnfit, GoogleWallet
from api.middleware import leave_place
from api.openapi import responses
from api.public.cards import QrToken, held
from ledger import errors
from ledger.reader import Reader
from wallet_sync.google_callback import CallbackRefused

WRITTEN_SECONDS_MAX = 10.0
WRITTEN_POLL_SECONDS = 0.05
WRITTEN_POLL_SECONDS_MAX = 0.5

# One failure may be that its class was still on its way.
IS_WRITTEN = "SELECT synced > 0, is_parked OR failures > 1 FROM wallet_work WHERE channel = 'google' AND id = %s"
# What was told already counts once. Who saved the card is asked, not believed.
TAKE_IN = """
WITH gone AS (DELETE FROM google_nonces WHERE expires_at < now()),
told AS (
    INSERT INTO google_nonces (nonce, expires_at) VALUES (%(nonce)s, %(expires_at)s)
    ON CONFLICT (nonce) DO NOTHING RETURNING nonce
)
INSERT INTO wallet_work AS w (channel, id, card_id, desired, synced)
SELECT 'google_users', c.id, c.id, 1, 0 FROM told JOIN loyalty_cards c ON c.id = %(card_id)s
ON CONFLICT (channel, id) DO UPDATE SET
    desired = w.desired + 1, due_at = now(), owed_since = now(), failures = 0, is_parked = false
"""

router = APIRouter(tags=["public"], dependencies=[Public], route_class=StrictRoute)

log = structlog.get_logger("api.public.google")


@router.get(
    "/cards/{qr_code_data}/google",
    summary="The link that saves the card in Google Wallet",
    response_class=Response,
    status_code=HTTPStatus.FOUND,
    responses=responses(errors.CardNotFound, errors.CardIsErased, GoogleWalletOff, GoogleWalletUnavailable)
    | {
        200: {
            "content": {"application/json": {"schema": {"type": "object", "properties": {"url": {"type": "string"}}}}},
            "description": "The same link as JSON, for who accepts `application/json`.",
        },
        302: {"description": "To Google, where the card is saved."},
    },
)
async def save_to_google(
    request: Request,
    qr_code_data: QrToken,
    parts: TheParts,
    ledger: TheLedger,
    reader: TheReader,
    accept: Annotated[str, Header()] = "",
) -> Response:
    """Made when it is asked for: whoever has the link may save the card, so it is neither kept nor logged.

    The first time, it waits until the card is written at Google.
    """
    google = _google(parts)
    card = await held(ledger, qr_code_data)
    card_id, program_id = UUID(str(card["id"])), UUID(str(card["program_id"]))
    await ledger.passes.create_at_google(
        card_id,
        class_id=google.issuer.class_id(program_id),
        object_id=google.issuer.object_id(card_id),
        caller=public_caller(request, card["vendor_id"]),
    )
    await _written(request, reader, google, card_id)
    try:
        url = google.link(card_id, program_id)
    except GoogleAccountUnfit as unfit:
        log.warning("google-wallet-unfit", error=str(unfit))
        raise GoogleWalletUnavailable from None
    headers = {"Cache-Control": "no-store"}
    if "application/json" in accept:
        return JSONResponse({"url": url}, headers=headers)
    return RedirectResponse(url, HTTPStatus.FOUND, headers)


@router.get(
    "/pictures/{name}/{seal}.png",
    summary="A picture on a Google pass",
    response_class=Response,
    responses=responses(GoogleWalletOff)
    | {200: {"content": {"image/png": {}}, "description": "The picture; it never changes."}},
)
async def read_picture(
    name: Annotated[str, Path(pattern=r"^[a-z0-9-]{1,64}$")],
    seal: Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")],
    parts: TheParts,
) -> Response:
    """Drawn by what its name says: stamps and colours, and nothing about a card."""
    content = await _google(parts).picture(name, seal)
    if content is None:
        raise NotFoundHere
    return Response(content, media_type="image/png", headers={"Cache-Control": "public, max-age=31536000, immutable"})


@router.post(
    "/google/callback",
    summary="Take in what Google tells",
    response_class=Response,
    responses=responses(GoogleWalletOff, GoogleWalletUnavailable, GoogleCallbackRefused)
    | {200: {"description": "Taken in, or known already."}},
)
async def take_google_callback(request: Request, parts: TheParts, reader: TheReader) -> Response:
    """A card was saved or removed. Believed only with Google's signature for this issuer; Google is asked later."""
    google = _google(parts)
    try:
        told = await google.believed(await request.body())
    except CallbackRefused as refused:
        log.warning("google-callback-refused", reason=refused.reason)
        raise GoogleCallbackRefused from None
    if told is None:
        raise GoogleWalletUnavailable
    card_id = google.issuer.card_of(told.object_id)
    if card_id is not None:  # Another installation of this issuer may have written the class.
        facts: dict[str, Any] = {"nonce": told.nonce, "expires_at": told.expires_at, "card_id": card_id}
        await reader.rows(TAKE_IN, facts)
    return Response(status_code=HTTPStatus.OK)


def _google(parts: Parts) -> GoogleWallet:
    if parts.google is None:
        raise GoogleWalletOff
    return parts.google


async def _written(request: Request, reader: Reader, google: GoogleWallet, card_id: UUID) -> None:
    """Wait until the object is at Google, beside a limited number of others; tills have their own places.

    Raises: GoogleWalletUnavailable where that failed, takes too long, or too many wait.
    """
    if google.waiting.locked():
        raise GoogleWalletUnavailable
    leave_place(request.scope)
    until, pause = time.monotonic() + WRITTEN_SECONDS_MAX, WRITTEN_POLL_SECONDS
    async with google.waiting:
        while time.monotonic() < until:
            rows = await reader.rows(IS_WRITTEN, (card_id,))
            if rows and rows[0][0]:
                return
            if rows and rows[0][1]:
                break
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, WRITTEN_POLL_SECONDS_MAX)
    raise GoogleWalletUnavailable
