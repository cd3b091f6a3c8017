"""Request bodies as strict JSON: what a tolerant parser would let through is refused before anything looks at it."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response


def parse_json(body: bytes) -> Any:
    """One JSON value. NaN, Infinity, 1e999, lone surrogates, bytes that are no UTF-8 and depths over 1024 are none.

    Raises: json.JSONDecodeError, without the document in it.

    Source: RFC 8259.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise json.JSONDecodeError(error.msg, "", 0) from None


class StrictRequest(Request):
    async def json(self) -> Any:
        return parse_json(await self.body())


class StrictRoute(APIRoute):
    """A route whose JSON body is strict JSON, and says so when it is something else: `APIRouter(route_class=…)`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            request = StrictRequest(request.scope, request.receive)
            if self.body_field is not None and await request.body() and not is_json(request):
                raise HTTPException(415)
            return await handle(request)

        return strictly


def is_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
