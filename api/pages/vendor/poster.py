"""The poster of a program: one page to print, whose code leads to joining."""

from uuid import UUID

from fastapi import APIRouter
from starlette.responses import Response

from api.dependencies import Public
from api.languages import LANGUAGES, known
from api.pages.frame import accent_address
from api.pages.routing import PageRoute
from api.pages.vendor.desk import TheDesk
from api.pages.vendor.keys import qr
from api.pages.words import NAMES, Words
from ledger.translations import in_language

SHORT = 18

router = APIRouter(dependencies=[Public], route_class=PageRoute, include_in_schema=False)


@router.get("/app/programs/{program_id}/poster")
async def show_poster(program_id: UUID, desk: TheDesk, language: str = "") -> Response:
    """In the language of the shop's customers, whatever the reader's is."""
    desk.needs("read", "programs")
    spoken = known(language) or known(desk.vendor["languages"][0]) or desk.language
    program = in_language(await desk.parts.ledger.programs.find(program_id, desk.caller.vendor_id), spoken)
    url = f"{desk.parts.settings.public_url}/j/{program_id}"
    return desk.page(
        "poster.html",
        program=program,
        accent=accent_address(program["card_color"], program["card_secondary_color"]),
        poster=Words(spoken),
        spoken=spoken,
        languages=[(code, NAMES[code]) for code in LANGUAGES],
        cheapest=min(program["points_rewards"], key=lambda reward: int(reward["points_cost"]), default=None),
        url=url,
        qr=qr(url),
        unbroken=unbroken,
    )


def unbroken(text: str) -> str:
    """A short reward on one line: it reads better."""
    return text.replace(" ", "\u00a0") if len(text) <= SHORT else text
