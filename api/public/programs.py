"""What anybody may read of a program."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter

from api.bodies import StrictRoute
from api.dependencies import Public, TheLedger, TheReader
from api.models import Page, PublicProgram
from api.openapi import responses
from ledger import errors
from ledger.commands.caller import utc_now
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


def shown(program: dict[str, Any]) -> dict[str, Any]:
    """A program without what is only the vendor's business."""
    return {name: program[name] for name in SHOWN if name in program}


@router.get(
    "/vendors/{code}/programs",
    summary="A vendor's programs",
    response_model=Page[PublicProgram],
    responses=responses(errors.VendorNotFound),
)
async def list_public_programs(code: str, ledger: TheLedger, reader: TheReader) -> Any:
    """The active programs a customer of this vendor can join."""
    vendor = await ledger.vendors.by_code(code)
    rows = await loyalty_programs.list_programs(
        reader, now=utc_now(), vendor_id=vendor.stream_id, is_active=True, limit=200
    )
    return {"items": [shown(row) for row in rows], "next_cursor": None}


@router.get(
    "/programs/{program_id}",
    summary="Read a program as a customer",
    response_model=PublicProgram,
    responses=responses(errors.ProgramNotFound),
)
async def read_public_program(program_id: UUID, ledger: TheLedger) -> Any:
    """The offer, as it is now."""
    return shown(await ledger.programs.find(program_id, None))
