"""Being forgotten, asked for by the holder themselves on their card's page.

The link alone opens the card, and a link can be photographed. So whoever gave an email or a phone types it once more;
of everybody else nothing is known by which they could be told from a stranger, and the link must do.
"""

import hmac
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from limits import RateLimitItemPerHour
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.responses import Response

from api.dependencies import Parts, Public, TheParts, facts
from api.languages import translate
from api.middleware import request_id_of
from api.pages.customer.cards import card_of
from api.pages.frame import accent_address, language_of, page
from api.pages.routing import PageRoute, read_form
from api.people import phone_number
from ledger.commands.caller import Caller, just_this
from ledger.errors import RateLimited
from ledger.stream import Actor
from ledger.translations import in_language

WRONG_PER_HOUR = RateLimitItemPerHour(5)
NOT_IT = "This is not what was given when the card was opened."
NOT_TICKED = "Please tick this box if you really want this."

_limiter = MovingWindowRateLimiter(MemoryStorage())

router = APIRouter(dependencies=[Public], route_class=PageRoute, include_in_schema=False)


@router.get("/c/{token}/delete")
async def ask(request: Request, token: str, parts: TheParts) -> Response:
    """What deleting means, before it is done."""
    return await _question(request, parts, token, await card_of(parts, token), {})


@router.post("/c/{token}/delete")
async def forget(request: Request, token: str, parts: TheParts) -> Response:
    """Forget the holder for good, by the command that a vendor would use."""
    card = await card_of(parts, token)
    sent = await read_form(request)
    language = language_of(request.scope, card["language"])
    errors = {}
    if sent.get("sure") != "yes":
        errors["sure"] = translate(language, NOT_TICKED)
    elif (known := known_by(card)) is not None:
        vendor = await parts.ledger.vendors.find(card["vendor_id"])
        if not _limiter.test(WRONG_PER_HOUR, "delete", str(card["id"])):
            raise RateLimited(retry_after_seconds=3_600)
        if not is_same(sent.get("known", ""), card["customer"][known], vendor["country"]):
            _limiter.hit(WRONG_PER_HOUR, "delete", str(card["id"]))
            errors["known"] = translate(language, NOT_IT)
    if errors:
        return await _question(request, parts, token, card, errors)
    outcome = await parts.ledger.people.erase(
        UUID(str(card["customer_id"])),
        reason="asked",
        caller=Caller(
            card["vendor_id"], Actor("customer", "holder", "qr_token"), "public", request_id_of(request.scope)
        ),
        once=just_this(),
        expects_phones=parts.apple is not None,
    )
    if outcome.position is not None:
        await parts.waiter.wait_for(outcome.position, timeout_seconds=parts.settings.min_position_wait_seconds)
    return page(
        request,
        "customer/deleted.html",
        own_language=card["language"],
        receipt=facts(outcome),
        zone=card["program"]["timezone"],
        token=token,
        **_looks(request, card),
    )


def known_by(card: dict[str, Any]) -> str | None:
    """By which of their details a holder can show that it is them; None where none was given."""
    return next((name for name in ("email", "phone") if card["customer"][name]), None)


def is_same(typed: str, known: str, country: str) -> bool:
    """Whether somebody typed the address or the number that is known, however they write it."""
    ways = {typed.strip().lower(), phone_number(typed[:32], country) or ""}
    return any(hmac.compare_digest(way.encode(), known.encode()) for way in ways)


async def _question(
    request: Request, parts: Parts, token: str, card: dict[str, Any], errors: dict[str, str]
) -> Response:
    vendor = await parts.ledger.vendors.find(card["vendor_id"])
    return page(
        request,
        "customer/delete.html",
        own_language=card["language"],
        status=422 if errors else 200,
        token=token,
        vendor=vendor["name"],
        known_by=known_by(card),
        errors=errors,
        **_looks(request, card),
    )


def _looks(request: Request, card: dict[str, Any]) -> dict[str, Any]:
    program = in_language(card["program"], language_of(request.scope, card["language"]))
    return {
        "title": program["card_name"] or program["name"],
        "accent": accent_address(program["card_color"], program["card_secondary_color"]),
    }
