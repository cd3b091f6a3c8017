"""What the till's routes share: the staff member who acts, and the retry that must not act twice.

Nothing is asked as often as these commands. A `TillRoute` is documented by FastAPI from its signature, and answered
without FastAPI's solving of dependencies, which would cost more than the rest of a stamp.
"""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from json import JSONDecodeError
from typing import Annotated, Any

from fastapi import Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import Field, TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from api.auth import Principal
from api.bodies import is_json, parse_json
from api.dependencies import (
    AnyPrincipal,
    ExpectedVersion,
    Parts,
    RequiredKey,
    TerminalId,
    VendorWith,
    answered,
    expected_version,
    idempotency_key,
    idempotency_key_optional,
    once_for,
    parts_of,
    principal_of,
)
from api.shapes import Body, Pin, Timestamp, Uuid
from ledger.commands.caller import Caller, utc_now
from ledger.commands.staff import StaffSession
from ledger.commands.till import Asked, TillCommands
from ledger.decision import Once, Outcome
from ledger.errors import InvalidValue, PinRequired, StaffSessionInvalid

PREFIX = "/api/v1/vendor/loyalty"
AT_ONCE = timedelta(minutes=1)
LATE_MAX = timedelta(days=7)


class StaffedRequest(Body):
    """A body that may name the staff member who acts."""

    staff_pin_id: Uuid | None = Field(None, description="Who acts. Not needed with a Staff-Session.")
    pin: Pin | None = Field(None, description="Their PIN, 4 to 8 digits.")
    location_id: Uuid | None = Field(None, description="Where it happens.")
    occurred_at: Timestamp | None = Field(
        None,
        description="When it happened at the till, by the till's clock. More than a minute ago, up to 7 days: it is"
        " recorded as of then, as done without a connection; the rules hold as of now.",
    )


@dataclass(frozen=True, slots=True)
class Till:
    """One request of a till: who acts is proven, and a retry finds its first answer, before anything is decided."""

    request: Request
    parts: Parts
    caller: Caller
    key: str
    expected_version: int | None
    session_token: str | None
    is_dry_run: bool

    @property
    def commands(self) -> TillCommands:
        return self.parts.ledger.till

    async def run(
        self,
        body: StaffedRequest,
        command: Callable[[Asked], Awaitable[Outcome]],
        *,
        order_reference: str | None = None,
        external_ref: str | None = None,
    ) -> Response:
        caller = replace(self.caller, location_id=body.location_id) if body.location_id else self.caller
        too_late: InvalidValue | None = None
        try:
            caller = _dated(caller, body.occurred_at)
        except InvalidValue as error:
            too_late = error
        session = None
        if self.session_token is not None:
            session = self.parts.ledger.staff.session(self.session_token, caller=caller)
            caller = replace(caller, staff=session.staff, terminal_id=session.terminal_id or caller.terminal_id)
        elif (body.staff_pin_id is None) != (body.pin is None):
            raise PinRequired
        staff_id = session.staff.pin_id if session else body.staff_pin_id
        once = once_for(self.request, caller.vendor_id, self.key, body, staff_id)
        if too_late is not None:  # What was recorded in time finds its answer for as long as it is remembered.
            return self._answer(await self._known_or(once, too_late), session)

        async def ask(acting: Caller) -> Outcome:
            return await command(
                Asked(
                    acting,
                    once,
                    order_reference=order_reference,
                    external_ref=external_ref,
                    expected_version=self.expected_version,
                    is_dry_run=self.is_dry_run,
                )
            )

        if session is not None:
            if not session.is_running:
                return self._answer(await self._known_or(once, StaffSessionInvalid()), session)
            return self._answer(await ask(caller), session)
        if body.pin is None:
            return self._answer(await ask(caller), None)
        async with self.parts.in_flight.alone(once.command_id):
            outcome = None if self.is_dry_run else await self.parts.reader.known(once)
            if outcome is None:
                assert body.staff_pin_id is not None
                staff = await self.parts.ledger.staff.prove(
                    body.staff_pin_id, body.pin.get_secret_value(), caller=caller
                )
                outcome = await ask(replace(caller, staff=staff))
        return self._answer(outcome, None)

    async def _known_or(self, once: Once, error: Exception) -> Outcome:
        outcome = await self.parts.reader.known(once)
        if outcome is None:
            raise error
        return outcome

    def _answer(self, outcome: Outcome, session: StaffSession | None) -> Response:
        response = answered(outcome, 200 if self.is_dry_run else 201)
        if session is not None and session.is_running:
            response.headers["Staff-Session"] = session.renewed
        return response


def _dated(caller: Caller, occurred_at: datetime | None) -> Caller:
    """Tills' clocks are never quite right: a time to come is now. Raises: InvalidValue for what is too long ago."""
    ago = timedelta(0) if occurred_at is None else utc_now() - occurred_at
    if ago > LATE_MAX:
        raise InvalidValue(field="occurred_at", why="lies more than 7 days back")
    return replace(caller, occurred_at=occurred_at, channel="offline") if ago > AT_ONCE else caller


class TillWith(VendorWith):
    """A vendor's key with any one of these scopes, and everything a till says beside the body."""

    async def __call__(  # type: ignore[override]
        self,
        request: Request,
        principal: AnyPrincipal,
        key: RequiredKey,
        version: ExpectedVersion,
        x_terminal_id: TerminalId = None,
        staff_session: Annotated[str | None, Header(description="A staff member's session token.")] = None,
        dry_run: Annotated[bool, Query(description="Answer what would happen, and record nothing.")] = False,
    ) -> Till:
        return self.till(request, principal, key, version, x_terminal_id, staff_session, dry_run)

    async def read(self, request: Request) -> Till:
        """The same, out of the request itself."""
        headers = {name: value.decode("latin-1") for name, value in reversed(request.scope["headers"])}
        principal = await principal_of(request, headers.get(b"authorization"))
        terminal_id = headers.get(b"x-terminal-id")
        is_dry_run = False
        if terminal_id is not None:
            terminal_id = _valid(_TERMINAL_ID, terminal_id, "header", "x-terminal-id")
        if request.scope["query_string"] and "dry_run" in request.query_params:
            is_dry_run = _valid(_DRY_RUN, request.query_params["dry_run"], "query", "dry_run")
        return self.till(
            request,
            principal,
            await idempotency_key(await idempotency_key_optional(headers.get(b"idempotency-key"))),
            await expected_version(headers.get(b"if-match")),
            terminal_id,
            headers.get(b"staff-session"),
            is_dry_run,
        )

    def till(
        self,
        request: Request,
        principal: Principal,
        key: str,
        version: int | None,
        terminal_id: str | None,
        staff_session: str | None,
        is_dry_run: bool,
    ) -> Till:
        caller = self.caller(request, principal, terminal_id)
        return Till(request, parts_of(request), caller, key, version, staff_session, is_dry_run)


class TillRoute(APIRoute):
    """A POST whose endpoint takes `asked`, a body, and `till`, of a `TillWith`, and nothing else."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Without what FastAPI puts around an endpoint. The middleware answers whatever is raised."""
        if scope["method"] != "POST":
            await super().handle(scope, receive, send)
            return
        response = await self._answer(Request(scope, receive, send))
        await response(scope, receive, send)

    @cached_property
    def _answer(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return self.get_route_handler()

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint = self.endpoint
        (till_with,) = (d.call for d in self.dependant.dependencies if isinstance(d.call, TillWith))
        assert self.body_field is not None and self.body_field.field_info.annotation is not None
        body: TypeAdapter[Any] = TypeAdapter(self.body_field.field_info.annotation)

        async def handle(request: Request) -> Response:
            sent = await request.body()
            if sent and not is_json(request):
                raise HTTPException(415)
            try:
                plain = parse_json(sent) if sent else None
            except JSONDecodeError as error:
                raise RequestValidationError([{"type": "json_invalid", "loc": ("body",)}]) from error
            till = await till_with.read(request)
            if not sent:
                raise RequestValidationError([{"type": "missing", "loc": ("body",)}])
            asked = _valid(body, plain, "body")
            answer: Response = await endpoint(asked=asked, till=till)
            return answer

        return handle


_TERMINAL_ID: TypeAdapter[str | None] = TypeAdapter(TerminalId)
_DRY_RUN: TypeAdapter[bool] = TypeAdapter(bool)


def _valid(adapter: TypeAdapter[Any], value: Any, *where: str) -> Any:
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        found = [{**e, "loc": (*where, *e["loc"])} for e in error.errors(include_url=False, include_input=False)]
        raise RequestValidationError(found) from error
