"""The start page `/`: what this is, and the way to each part of it. It says nothing about anybody."""

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from api.dependencies import Public
from api.pages.frame import page
from api.pages.routing import PageRoute

router = APIRouter(dependencies=[Public], route_class=PageRoute, include_in_schema=False)


@router.get("/")
async def show_start(request: Request) -> HTMLResponse:
    return page(request, "start.html")
