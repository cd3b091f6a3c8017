"""The card's page: what it holds, its code to show, its history; told of changes while it is open, kept for offline."""

import asyncio
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from starlette.responses import JSONResponse, Response

from api.dependencies import Parts, Public, TheParts
from api.pages import assets
from api.pages.customer.open_cards import Changes
from api.pages.customer.showing import goals, grouped, history, places, qr_code
from api.pages.customer.wallet_buttons import buttons
from api.pages.frame import accent_address, language_of, page, page_headers, render
from api.pages.routing import PageRoute
from api.pages.words import Words
from api.public.cards import held
from api.shapes import looks_like_qr
from ledger.commands.caller import utc_now
from ledger.errors import CardIsErased, CardIsReplaced, CardNotFound
from ledger.translations import in_language
from projections import loyalty_transactions
from wallet_sync.colours import palette
from wallet_sync.pass_strip import LARGE_LOGO_PIXELS, large_logo

HISTORY_MAX = 20
ICON_SECONDS = 86_400

router = APIRouter(dependencies=[Public], route_class=PageRoute, include_in_schema=False)


@router.get("/c/worker.js")
async def read_worker() -> Response:
    """The script that shows cards without a connection. It stands here, since it may only see what stands beside it."""
    worker = assets.all_assets()["card-worker.js"]
    headers = {**page_headers("en"), "Cache-Control": "no-cache"}
    return Response(worker.content, media_type=worker.media_type, headers=headers)


@router.get("/c/{token}")
async def show_card(request: Request, token: str, parts: TheParts) -> Response:
    """The whole page."""
    card = await card_of(parts, token)
    shown = await _shown(request, parts, card)
    return page(
        request,
        "customer/card.html",
        own_language=card["language"],
        **shown,
    )


@router.get("/c/{token}/live")
async def show_live_part(
    request: Request, token: str, parts: TheParts, if_none_match: Annotated[str, Header()] = ""
) -> Response:
    """What changes on the page; 304 where it did not."""
    shown = await _shown(request, parts, await card_of(parts, token))
    language = language_of(request.scope, shown["card"]["language"])
    headers = {**page_headers(language), "ETag": shown["tag"]}
    if shown["tag"] in if_none_match:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    content = render("customer/live.html", language, request.scope, **shown)
    return Response(content, media_type="text/html", headers=headers)


@router.get("/c/{token}/changes")
async def tell_changes(token: str, parts: TheParts) -> Response:
    """Server-sent events: one each time the card changed. Whether there is such a card is not looked up."""
    if not looks_like_qr(token):
        raise CardNotFound
    return Changes(parts.open_cards, token)


@router.get("/c/{token}/card.webmanifest")
async def describe_app(request: Request, token: str, parts: TheParts) -> Response:
    """The card as something that can be put on a phone's first screen."""
    card = await card_of(parts, token)
    program = in_language(card["program"], language_of(request.scope, card["language"]))
    background = "#" + bytes(palette(program["card_color"], None).background).hex()
    told = {
        "name": program["card_name"] or program["name"],
        "short_name": program["card_name"] or program["name"],
        "start_url": f"/c/{token}",
        "scope": "/c/",
        "id": f"/c/{token}",
        "display": "standalone",
        "background_color": background,
        "theme_color": background,
        "icons": [
            {
                "src": f"/c/{token}/icon.png",
                "sizes": f"{LARGE_LOGO_PIXELS}x{LARGE_LOGO_PIXELS}",
                "type": "image/png",
                "purpose": purpose,
            }
            for purpose in ("any", "maskable")
        ],
    }
    headers = {"Cache-Control": "no-store"}
    return JSONResponse(told, headers=headers, media_type="application/manifest+json")


@router.get("/c/{token}/icon.png")
async def draw_icon(token: str, parts: TheParts) -> Response:
    """The program's mark in its colours."""
    program = (await card_of(parts, token))["program"]
    colours = palette(program["card_color"], program["card_secondary_color"])
    content = await asyncio.to_thread(large_logo, colours)
    return Response(content, media_type="image/png", headers={"Cache-Control": f"private, max-age={ICON_SECONDS}"})


async def card_of(parts: Parts, token: str) -> dict[str, Any]:
    """The card whose page this is.

    Raises: CardNotFound, CardIsReplaced, CardIsErased.
    """
    if not looks_like_qr(token):
        raise CardNotFound
    card = await held(parts.ledger, token)
    if card["status"] == "replaced":
        raise CardIsReplaced
    if card["status"] == "erased":
        raise CardIsErased
    return card


async def _shown(request: Request, parts: Parts, card: dict[str, Any]) -> dict[str, Any]:
    """What both the page and its changing part name. The history comes from the query tables, a moment later."""
    words = Words(language_of(request.scope, card["language"]))
    program = in_language(card["program"], words.language)
    token, agent = card["qr_code_data"], request.headers.get("user-agent", "")
    vendor = await parts.ledger.vendors.find(card["vendor_id"])
    rows = await loyalty_transactions.list_transactions(parts.reader, card_id=card["id"], limit=HISTORY_MAX)
    newest = rows[0]["position"] if rows else 0
    return {
        "card": card,
        "program": program,
        "title": program["card_name"] or program["name"],
        "vendor": vendor["name"],
        "places": places(card),
        "goals": goals(card, program),
        "history": history(rows, words, program["timezone"]),
        "code": qr_code(token),
        "buttons": buttons(parts, token, agent) if card["status"] == "active" else [],
        "number": grouped(card["card_number"]),
        "now": utc_now(),
        "tag": f'"{card["version"]}-{program["version"]}-{newest}-{words.language}-{assets.digest()}"',
        "accent": accent_address(program["card_color"], program["card_secondary_color"]),
    }
