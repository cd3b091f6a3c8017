"""A vendor's own events, searched."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from api.bodies import StrictRoute
from api.dependencies import Projected, TheReader, VendorWith
from api.event_search import ANSWERS, Accept, EventFilters, answer_search
from api.models import EventPage
from api.streams import TheStream
from ledger.commands.caller import Caller

router = APIRouter(tags=["audit"], route_class=StrictRoute)


@router.get("/events", summary="Search one's own events", response_model=EventPage, responses=ANSWERS)
async def list_own_events(
    asked: Annotated[EventFilters, Query()],
    caller: Annotated[Caller, Depends(VendorWith("read"))],
    reader: TheReader,
    position: Annotated[int, Projected],
    response: Response,
    stream: TheStream,
    accept: Accept = "",
) -> Any:
    """What happened at this vendor, by position: entries, refusals, and changes of programs, PINs, keys and passes."""
    wanted = asked.wanted(caller.vendor_id)
    return await answer_search(
        reader, wanted, asked, position=position, accept=accept, response=response, stream=stream
    )
