"""What anybody may read of a program."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Response

from api.bodies import StrictRoute
from api.dependencies import Public, TheLedger, TheReader
from api.languages import negotiate
from api.models import Page, PublicProgram
from api.openapi import responses
from ledger import errors
from ledger.commands.caller import utc_now
from ledger.translations import in_language
from projections import loyalty_programs

router = APIRouter(tags=["public"], dependencies=[Public], route_class=StrictRoute)

SHOWN = (
    "id",
    "name",
    "loyalty_type",
    "stamps_target",
    "stamps_reward_description",
    "points_rewards",
    "currency",
    "is_active",
    "card_name",
    "card_color",
    "card_secondary_color",
    "logo_url",
    "hero_image_url",
    "terms_text",
    "privacy_url",
    "enrolment_fields",
)


AcceptLanguage = Annotated[str | None, Header(description="In which language the program is told.")]


def shown(program: dict[str, Any], accept_language: str | None) -> dict[str, Any]:
    """A program in its reader's words, without what is only the vendor's business."""
    told = in_language(program, negotiate(accept_language))
    return {name: told[name] for name in SHOWN if name in told}


@router.get(
    "/vendors/{code}/programs",
    summary="A vendor's programs",
    response_model=Page[PublicProgram],
    responses=responses(errors.VendorNotFound),
)
async def list_public_programs(
    code: str, ledger: TheLedger, reader: TheReader, response: Response, accept_language: AcceptLanguage = None
) -> Any:
    """The active programs a customer of this vendor can join, in the language of Accept-Language."""
    response.headers["Vary"] = "Accept-Language"
    vendor = await ledger.vendors.by_code(code)
    rows = await loyalty_programs.list_programs(
        reader, now=utc_now(), vendor_id=vendor.stream_id, is_active=True, limit=200
    )
    return {"items": [shown(row, accept_language) for row in rows], "next_cursor": None}


@router.get(
    "/programs/{program_id}",
    summary="Read a program as a customer",
    response_model=PublicProgram,
    responses=responses(errors.ProgramNotFound),
)
async def read_public_program(
    program_id: UUID, ledger: TheLedger, response: Response, accept_language: AcceptLanguage = None
) -> Any:
    """The offer, as it is now, in the language of Accept-Language."""
    response.headers["Vary"] = "Accept-Language"
    return shown(await ledger.programs.find(program_id, None), accept_language)
