"""The API's description `/docs`, to read and to try: Swagger UI, from this service itself and under its policy."""

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from api.dependencies import Public
from api.pages.frame import page
from api.pages.routing import PageRoute

router = APIRouter(dependencies=[Public], route_class=PageRoute, include_in_schema=False)


@router.get("/docs")
async def show_docs(request: Request) -> HTMLResponse:
    return page(request, "api_docs.html")
