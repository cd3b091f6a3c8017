"""A small application with everything the edge gives it, and no ledger behind: for questions about HTTP alone."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.testclient import TestClient
from pydantic import Field

from api import openapi, problems
from api.bodies import StrictRoute
from api.cursors import LIMIT_DEFAULT, After, Limit, decode_cursor
from api.middleware import Admission, BodyLimit, Requests
from api.openapi import responses
from api.shapes import (
    Body,
    CardReference,
    Count,
    Currency,
    ExternalRef,
    HexColor,
    HttpsUrl,
    Language,
    MoneyMinor,
    Name,
    Pin,
    Timestamp,
    TimeZone,
    Uuid,
)
from ledger import errors

BODY_BYTES_MAX = 4_096
SECRET = "40711704"  # So long that no identifier or moment has it by chance.


class Shape(Body):
    """Any one field of it may be asked about."""

    card: CardReference | None = None
    pin: Pin | None = None
    name: Name | None = None
    count: Count = 1
    amount: MoneyMinor | None = None
    currency: Currency | None = None
    timezone: TimeZone | None = None
    language: Language | None = None
    color: HexColor | None = None
    logo_url: HttpsUrl | None = None
    at: Timestamp | None = None
    external_ref: ExternalRef | None = None
    staff_pin_id: Uuid | None = None
    facts: dict[str, Any] = Field(default_factory=dict)


def tiny_app(*raised: Exception, in_flight_max: int = 50, public_url: str = "") -> FastAPI:
    """`POST /api/v1/vendor/shapes` takes a Shape; `GET …/raise/{place}` raises the error given at that place."""
    app = FastAPI(generate_unique_id_function=openapi.operation_id)
    router = APIRouter(prefix="/api/v1/vendor", route_class=StrictRoute, tags=["shapes"])

    @router.post("/shapes", summary="Take a shape", responses=responses(errors.NotFound, errors.PinLocked))
    async def take_shape(shape: Shape) -> dict[str, Any]:
        return {**shape.model_dump(mode="json"), "is_secret": str(shape.pin)}

    @router.get("/pages", summary="Show a page", response_model=None)
    async def show_page(limit: Limit = LIMIT_DEFAULT, cursor: After = None) -> dict[str, Any]:
        return {"limit": limit, "after": decode_cursor(cursor, datetime, UUID) if cursor else None}

    @router.get("/cards/{card_id}", summary="Show a card")
    async def show_card(card_id: Uuid, at: Annotated[Timestamp | None, Query()] = None) -> dict[str, Any]:
        return {"card": str(card_id), "at": at}

    @router.get("/raise/{place}", summary="Refuse", include_in_schema=False)
    async def refuse(place: int, request: Request) -> None:
        raise raised[place]

    @router.get("/tokens/{token}", summary="Show a token", include_in_schema=False)
    async def show_token(token: str) -> dict[str, str]:
        return {}

    app.include_router(router)

    @app.get("/health/live", summary="Live", include_in_schema=False)
    async def live() -> dict[str, str]:
        return {}

    problems.install(app)
    openapi.install(app, [{"name": "shapes", "description": "Shapes."}])
    app.add_middleware(BodyLimit, bytes_max=BODY_BYTES_MAX, seconds_max=0.5, larger={"/api/v1/vendor/large": 100_000})
    app.add_middleware(Admission, in_flight_max=in_flight_max)
    app.add_middleware(Requests, public_url=public_url)
    return app


def client(*raised: Exception, **settings: Any) -> TestClient:
    return TestClient(tiny_app(*raised, **settings))


def refused(error: Exception, **headers: str) -> Any:
    """The response to a request that ends in this error."""
    return client(error).get("/api/v1/vendor/raise/0", headers={k.replace("_", "-"): v for k, v in headers.items()})


def posted(**fields: Any) -> Any:
    return client().post("/api/v1/vendor/shapes", json=fields)


def posted_raw(body: bytes, content_type: str = "application/json") -> Any:
    return client().post("/api/v1/vendor/shapes", content=body, headers={"content-type": content_type})
