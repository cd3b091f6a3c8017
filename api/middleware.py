"""What happens to every request before and after its endpoint, in plain ASGI.

Outermost first: a request gets its id, its log line and the headers every answer carries; then it is admitted or sent
away at once; then its body is read, up to a limit. What fails anywhere inside is answered as a problem document.
"""

import asyncio
import random
import re
from collections.abc import Callable, Mapping
from time import perf_counter
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import MalformedRequest, TooLarge, TooSlow
from api.logs import log_request
from api.problems import REQUEST_ID, send_problem
from api.sessions import SET_COOKIE
from ledger.errors import Overloaded
from ledger.ids import new_id

ALWAYS_ANSWERED = ("/health/live", "/health/ready", "/metrics")
RETRY_SECONDS_MAX = 3

# As they go over the wire: names in lower case.
OF_ALL = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))
OF_HTTPS = ((b"strict-transport-security", b"max-age=31536000; includeSubDomains"),)
OF_THE_API = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)

_SANE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")


def request_id_of(scope: Scope) -> str:
    """The id of this request; empty outside of `Requests`."""
    return str(scope.get(REQUEST_ID, ""))


class Requests:
    """Id, log line, headers, and a problem document for whatever nobody expected.

    Args:
        public_url: With https, browsers are told to use nothing else.
    """

    def __init__(self, app: ASGIApp, public_url: str = "") -> None:
        self.app = app
        self._always = OF_ALL + OF_HTTPS if urlsplit(public_url).scheme == "https" else OF_ALL

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _SANE_ID.fullmatch(given) else str(new_id())
        scope[REQUEST_ID] = request_id
        began, status = perf_counter(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add_headers(message, scope, request_id)
            await send(message)

        bound = structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self.app(scope, receive, answer)
        except Exception as error:
            if status:  # Half an answer is out already: only the server can end it.
                raise
            await send_problem(error, scope, receive, answer)
        finally:
            milliseconds = round((perf_counter() - began) * 1000, 1)
            log_request(scope["method"], route_of(scope), status, milliseconds, request_id)
            structlog.contextvars.reset_contextvars(**bound)

    def _add_headers(self, message: Message, scope: Scope, request_id: str) -> None:
        """Those that every answer carries, where it does not say otherwise itself."""
        said = message["headers"] = list(message["headers"])
        names = {name for name, _ in said}
        said.append((b"x-request-id", request_id.encode()))
        said += [header for header in self._always if header[0] not in names]
        if scope["path"].startswith("/api/"):
            said += [header for header in OF_THE_API if header[0] not in names]
        if SET_COOKIE in scope and b"set-cookie" not in names:
            said.append((b"set-cookie", scope[SET_COOKIE].encode()))


PLACE = "loyalty_ledger.place"  # Where in the scope stands how a request gives its place back.


def leave_place(scope: Scope) -> None:
    """Give back the place of a request that from here on only waits for its reader. Whoever calls this limits those."""
    leave = scope.get(PLACE)
    if leave is not None:
        leave()


class Admission:
    """At most so many requests at once: one more is refused at once, so that those admitted are answered soon.

    Args:
        is_waiting: Says of a request that it will only wait, and is limited by somebody else.
    """

    def __init__(
        self,
        app: ASGIApp,
        in_flight_max: int,
        always_answered: tuple[str, ...] = ALWAYS_ANSWERED,
        is_waiting: Callable[[Scope], bool] = lambda _: False,
    ) -> None:
        self.app = app
        self._is_waiting = is_waiting
        self._in_flight_max = in_flight_max
        self._always_answered = always_answered
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self._always_answered or self._is_waiting(scope):
            await self.app(scope, receive, send)
            return
        if self._in_flight >= self._in_flight_max:
            # Those sent away come back at different times.
            await send_problem(
                Overloaded(retry_after_seconds=random.randint(1, RETRY_SECONDS_MAX)), scope, receive, send
            )
            return
        self._in_flight += 1
        is_held = True

        def leave() -> None:
            nonlocal is_held
            self._in_flight -= is_held
            is_held = False

        scope[PLACE] = leave
        try:
            await self.app(scope, receive, send)
        finally:
            leave()


class StraightToTheTill:
    """Routes that are asked most: found by their path alone and answered past the router. All else goes on."""

    def __init__(self, app: ASGIApp, routes: Mapping[str, BaseRoute]) -> None:
        self.app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if route is None:
            await self.app(scope, receive, send)
            return
        scope["route"] = route
        await route.handle(scope, receive, send)


class BodyLimit:
    """Reads the whole body, up to a size and within a time, before anybody works on the request.

    Args:
        larger: For paths that begin with the key, another size. The longest key counts.
    """

    def __init__(
        self, app: ASGIApp, bytes_max: int, seconds_max: float, larger: Mapping[str, int] | None = None
    ) -> None:
        self.app = app
        self._bytes_max = bytes_max
        self._seconds_max = seconds_max
        self._larger = sorted((larger or {}).items(), key=lambda item: -len(item[0]))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        declared = headers.get("content-length")
        if declared is None and "transfer-encoding" not in headers and not _is_unframed(scope):
            await self.app(scope, receive, send)
            return
        limit_bytes = next((most for path, most in self._larger if scope["path"].startswith(path)), self._bytes_max)
        if declared is not None and not (declared.isascii() and declared.isdigit() and len(declared) < 20):
            await send_problem(MalformedRequest(what="Content-Length", why="it is not a number"), scope, receive, send)
            return
        if declared is not None and int(declared) > limit_bytes:
            await send_problem(TooLarge(limit_bytes=limit_bytes), scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._seconds_max):
                body = await _read(receive, limit_bytes)
        except TimeoutError:
            await send_problem(TooSlow(limit_seconds=self._seconds_max), scope, receive, send)
            return
        except TooLarge as error:
            await send_problem(error, scope, receive, send)
            return
        if body is None:  # The caller left: nobody is there to answer.
            return
        await self.app(scope, _once_more(body, receive), send)


def _is_unframed(scope: Scope) -> bool:
    """Whether a body may come without a header that says so: not in HTTP/1."""
    return not str(scope.get("http_version", "1.1")).startswith("1")


async def _read(receive: Receive, limit_bytes: int) -> bytes | None:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > limit_bytes:
            raise TooLarge(limit_bytes=limit_bytes)
        if not message.get("more_body", False):
            return bytes(body)


def _once_more(body: bytes, receive: Receive) -> Receive:
    """The body that was read, as one message; then whatever the server says next."""
    is_told = False

    async def again() -> Message:
        nonlocal is_told
        if is_told:
            return await receive()
        is_told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def route_of(scope: Scope) -> str:
    """The path that was asked with its parameters by name, since one of them may be a card's token; - for no route."""
    if "route" not in scope:
        return "-"
    parameters = {str(value): f"{{{name}}}" for name, value in scope.get("path_params", {}).items()}
    path = str(scope["path"])
    for value in parameters:
        if "/" in value:
            path = path.replace(value, parameters[value])
    return "/".join(parameters.get(segment, segment) for segment in path.split("/"))
