"""Every vendor's programs, and statistics over everything."""

from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter

from api.bodies import StrictRoute
from api.dependencies import AdminOrAuditor, Projected, TheLedger, TheReader
from api.models import Page, Program
from api.openapi import responses
from api.paging import PageByTime, TimeRange
from ledger import errors
from ledger.commands.caller import utc_now
from projections import loyalty_programs
from projections.statistics import Statistics, statistics

router = APIRouter(tags=["programs"], route_class=StrictRoute)

PROBLEMS = responses(errors.ProgramNotFound)


@router.get("/programs", summary="List all programs", response_model=Page[Program], dependencies=[Projected])
async def list_all_programs(
    _: AdminOrAuditor,
    reader: TheReader,
    window: PageByTime,
    vendor_id: UUID | None = None,
    loyalty_type: Literal["stamps", "points", "hybrid"] | None = None,
    is_active: bool | None = None,
) -> Any:
    """Every vendor's programs, newest first, from the query tables."""
    rows = await loyalty_programs.list_programs(
        reader,
        now=utc_now(),
        vendor_id=vendor_id,
        loyalty_type=loyalty_type,
        is_active=is_active,
        before=window.before,
        limit=window.ask,
    )
    return window.page(rows)


@router.get("/programs/{program_id}", summary="Read any program", response_model=Program, responses=PROBLEMS)
async def read_any_program(program_id: UUID, _: AdminOrAuditor, ledger: TheLedger) -> Any:
    """A program as it is now, whoever's it is."""
    return await ledger.programs.find(program_id, None)


@router.get(
    "/programs/{program_id}/stats",
    summary="Statistics of any program",
    tags=["statistics"],
    response_model=Statistics,
    responses=PROBLEMS,
    dependencies=[Projected],
)
async def read_any_program_statistics(
    program_id: UUID, _: AdminOrAuditor, ledger: TheLedger, reader: TheReader, between: TimeRange
) -> Any:
    """Cards, units and redemptions, with series by local day, from the query tables."""
    await ledger.programs.find(program_id, None)
    return await statistics(reader, now=utc_now(), program_id=program_id, start=between.start, end=between.end)


@router.get(
    "/stats",
    summary="Statistics of everything",
    tags=["statistics"],
    response_model=Statistics,
    dependencies=[Projected],
)
async def read_all_statistics(_: AdminOrAuditor, reader: TheReader, between: TimeRange) -> Any:
    """Over all vendors, with series by UTC day, from the query tables."""
    return await statistics(reader, now=utc_now(), start=between.start, end=between.end)
