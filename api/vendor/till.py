"""What the till's routes share: the staff member who acts, and the retry that must not act twice."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated, Any

from fastapi import Depends, Header, Query, Request, Response
from pydantic import Field

from api.dependencies import ExpectedVersion, Parts, RequiredKey, TheParts, answered, once_for
from api.shapes import Body, Pin, Uuid
from ledger.commands.caller import Caller
from ledger.commands.staff import StaffSession
from ledger.commands.till import Asked
from ledger.decision import Outcome
from ledger.errors import PinRequired, StaffSessionInvalid


class StaffedRequest(Body):
    """A body that may name the staff member who acts."""

    staff_pin_id: Uuid | None = Field(None, description="Who acts. Not needed with a Staff-Session.")
    pin: Pin | None = Field(None, description="Their PIN, 4 to 8 digits.")
    location_id: Uuid | None = Field(None, description="Where it happens.")


class TillRequest:
    """One request of a till: who acts is proven, and a retry finds its first answer, before anything is decided."""

    def __init__(
        self,
        request: Request,
        parts: TheParts,
        key: RequiredKey,
        expected_version: ExpectedVersion,
        staff_session: Annotated[str | None, Header(description="A staff member's session token.")] = None,
        dry_run: Annotated[bool, Query(description="Answer what would happen, and record nothing.")] = False,
    ) -> None:
        self._request = request
        self._parts: Parts = parts
        self._key = key
        self._expected_version = expected_version
        self._session_token = staff_session
        self._is_dry_run = dry_run

    async def run(
        self,
        caller: Caller,
        body: StaffedRequest,
        command: Callable[[Asked], Awaitable[Outcome]],
        *,
        order_reference: str | None = None,
        external_ref: str | None = None,
    ) -> Response:
        caller = replace(caller, location_id=body.location_id)
        session = None
        if self._session_token is not None:
            session = self._parts.ledger.staff.session(self._session_token, caller=caller)
            caller = replace(caller, staff=session.staff, terminal_id=session.terminal_id or caller.terminal_id)
        elif (body.staff_pin_id is None) != (body.pin is None):
            raise PinRequired
        staff_id = session.staff.pin_id if session else body.staff_pin_id
        once = once_for(self._request, caller.vendor_id, self._key, body, staff_id)

        async def ask(acting: Caller) -> Outcome:
            return await command(
                Asked(
                    acting,
                    once,
                    order_reference=order_reference,
                    external_ref=external_ref,
                    expected_version=self._expected_version,
                    is_dry_run=self._is_dry_run,
                )
            )

        if session is not None:
            if not session.is_running:
                return self._answer(await self._known_or(once, StaffSessionInvalid()), session)
            return self._answer(await ask(caller), session)
        if body.pin is None:
            return self._answer(await ask(caller), None)
        async with self._parts.in_flight.alone(once.command_id):
            outcome = None if self._is_dry_run else await self._parts.reader.known(once)
            if outcome is None:
                assert body.staff_pin_id is not None
                staff = await self._parts.ledger.staff.prove(
                    body.staff_pin_id, body.pin.get_secret_value(), caller=caller
                )
                outcome = await ask(replace(caller, staff=staff))
        return self._answer(outcome, None)

    async def _known_or(self, once: Any, error: Exception) -> Outcome:
        outcome = await self._parts.reader.known(once)
        if outcome is None:
            raise error
        return outcome

    def _answer(self, outcome: Outcome, session: StaffSession | None) -> Response:
        response = answered(outcome, 200 if self._is_dry_run else 201)
        if session is not None and session.is_running:
            response.headers["Staff-Session"] = session.renewed
        return response


Till = Annotated[TillRequest, Depends(TillRequest)]
