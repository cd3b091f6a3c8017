"""Statistics over all of a vendor's programs."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from api.bodies import StrictRoute
from api.dependencies import Projected, TheReader, VendorWith
from api.paging import TimeRange
from ledger.commands.caller import Caller, utc_now
from projections.statistics import Statistics, statistics

router = APIRouter(tags=["statistics"], route_class=StrictRoute)


@router.get("/stats", summary="Statistics of the vendor", response_model=Statistics, dependencies=[Projected])
async def read_vendor_statistics(
    caller: Annotated[Caller, Depends(VendorWith("read", "programs"))],
    reader: TheReader,
    between: TimeRange,
) -> Any:
    """Over all programs, with series by the vendor's local day, from the query tables."""
    return await statistics(reader, now=utc_now(), vendor_id=caller.vendor_id, start=between.start, end=between.end)
