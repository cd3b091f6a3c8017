"""Where auditors begin: finding a card, what was signed last and by which key, and whether the last check held."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from api.cursors import POSITION_MAX
from api.dependencies import AdminOrAuditor, TheReader
from api.pages.frame import language_of, page
from api.pages.routing import PageRoute, read_form
from api.pages.words import Words
from ledger.commands.references import CardReference
from ledger.errors import CardNotFound
from projections.proofs import monitor
from projections.proofs.checkpoints import read_page, read_restores
from projections.proofs.sealing_keys import read_recorded
from projections.read_model import status

router = APIRouter(route_class=PageRoute, include_in_schema=False)

CHECKPOINTS_SHOWN = 5
CARD_CHARACTERS_MAX = 100


@router.get("/audit")
async def show_start(request: Request, _: AdminOrAuditor, reader: TheReader) -> HTMLResponse:
    return await _start(request, reader)


@router.post("/audit")
async def find_card(request: Request, _: AdminOrAuditor, reader: TheReader) -> Response:
    """To the card with this id, number or QR code; a form, so that no QR code stands in an address."""
    asked = (await read_form(request)).get("card", "").strip()[:CARD_CHARACTERS_MAX]
    reference = CardReference(asked.replace(" ", ""))
    try:
        found = reference.find(await reader.view(reference.streams, reference.claims), None)
    except CardNotFound:
        return await _start(request, reader, asked=asked, is_unknown=True)
    return RedirectResponse(f"/audit/cards/{found.stream_id}", 303)


async def _start(request: Request, reader: Any, *, asked: str = "", is_unknown: bool = False) -> HTMLResponse:
    words = Words(language_of(request.scope))
    projections = {one["name"]: one for one in await status(reader)}
    return page(
        request,
        "audit/start.html",
        status=404 if is_unknown else 200,
        is_vendor=False,
        asked=asked,
        error=words.text("There is no such card.") if is_unknown else None,
        checkpoints=await read_page(reader, before=POSITION_MAX, limit=CHECKPOINTS_SHOWN),
        keys=await read_recorded(reader),
        restores=await read_restores(reader),
        check=projections.get(monitor.NAME),
    )
