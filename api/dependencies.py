"""What endpoints are given: the ledger, the caller and what they may do, the retry's identity, a version to match.

Every route names its caller in its signature: `AdminOnly`, `AdminOrAuditor` or `VendorWith(scopes)`. A route without
one of them is public, and says so with `Public`.
"""

import hmac
from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated, Any, cast
from uuid import UUID

import orjson
from fastapi import Depends, Header, Query, Request, Response

from api.auth import Authenticator, Principal
from api.errors import (
    IdempotencyKeyMalformed,
    IdempotencyKeyMissing,
    MalformedRequest,
    ScopeMissing,
)
from api.google_wallet import GoogleWallet
from api.in_flight import InFlight
from api.middleware import request_id_of
from api.pages.customer.open_cards import OpenCards
from api.sessions import Sessions
from api.settings import Settings
from api.wallets import AppleWallet
from ledger.commands import Ledger
from ledger.commands.caller import Caller, once
from ledger.decision import Once, Outcome
from ledger.reader import Reader
from ledger.seal import MasterKey
from ledger.stream import Actor
from projections.positions import Waiter

NOBODY = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything the service is made of, put together once in `api.main`."""

    settings: Settings
    ledger: Ledger
    reader: Reader
    master_key: MasterKey
    fingerprint_key: bytes = field(repr=False)  # Of what was asked under an Idempotency-Key.
    authenticator: Authenticator
    sessions: Sessions
    in_flight: InFlight
    waiter: Waiter
    apple: AppleWallet | None  # None where no Pass Type ID is set.
    google: GoogleWallet | None  # None where no issuer is set.
    open_cards: OpenCards
    phone_log: Counter[str] = field(default_factory=Counter)  # What phones complained of, since the start.
    streams: Counter[UUID | str] = field(default_factory=Counter)  # Long answers being read, by the key they are for.


def parts_of(request: Request) -> Parts:
    return cast(Parts, request.app.state.parts)


# Dependencies are `async` although they wait for nothing: FastAPI would run each of them in a thread.


async def _parts(request: Request) -> Parts:
    return parts_of(request)


TheParts = Annotated[Parts, Depends(_parts)]


async def _ledger(parts: TheParts) -> Ledger:
    return parts.ledger


async def _reader(parts: TheParts) -> Reader:
    return parts.reader


TheLedger = Annotated[Ledger, Depends(_ledger)]
TheReader = Annotated[Reader, Depends(_reader)]

# ------------------------------------------------------------------ who asks


async def principal_of(request: Request, authorization: str | None) -> Principal:
    """Who asks: by a key in the header, and without that header by the session of a browser."""
    parts = parts_of(request)
    if authorization is None:
        return await parts.sessions.identify(request)
    return await parts.authenticator.identify(authorization)


async def _principal(request: Request) -> Principal:
    return await principal_of(request, request.headers.get("authorization"))


AnyPrincipal = Annotated[Principal, Depends(_principal)]


async def _admin(principal: AnyPrincipal) -> Principal:
    if principal.kind != "admin":
        raise ScopeMissing(needed="admin")
    return principal


async def _admin_or_auditor(principal: AnyPrincipal) -> Principal:
    if principal.kind == "api_key":
        raise ScopeMissing(needed="admin")
    return principal


AdminOnly = Annotated[Principal, Depends(_admin)]
AdminOrAuditor = Annotated[Principal, Depends(_admin_or_auditor)]


async def public() -> None:
    """Marks a route that anybody may call."""


Public = Depends(public)


TerminalId = Annotated[str | None, Header(max_length=64, pattern=r"^[\x21-\x7e]+$", description="Which till asks.")]


class VendorWith:
    """A vendor's key with any one of these scopes. What it sees and changes is that vendor's."""

    def __init__(self, *scopes: str) -> None:
        self.scopes = scopes

    async def __call__(self, request: Request, principal: AnyPrincipal, x_terminal_id: TerminalId = None) -> Caller:
        return self.caller(request, principal, x_terminal_id)

    def caller(self, request: Request, principal: Principal, terminal_id: str | None) -> Caller:
        """Raises: ScopeMissing."""
        if principal.kind != "api_key" or principal.vendor_id is None:
            raise ScopeMissing(needed=self.scopes[0])
        if not principal.scopes.intersection(self.scopes):
            raise ScopeMissing(needed=self.scopes[0])
        return Caller(
            vendor_id=principal.vendor_id,
            actor=principal.actor,
            channel=principal.channel,
            request_id=request_id_of(request.scope),
            api_key_id=principal.key_id,
            may=principal.scopes,
            terminal_id=principal.terminal_id or terminal_id,
            location_id=principal.location_id,
        )


def admin_caller(request: Request, principal: Principal) -> Caller:
    return Caller(NOBODY, principal.actor, "admin_ui", request_id_of(request.scope), may=frozenset({"admin"}))


def public_caller(request: Request, vendor_id: UUID) -> Caller:
    return Caller(vendor_id, Actor("customer", "anonymous", "none"), "public", request_id_of(request.scope))


# ------------------------------------------------------------------ once


async def idempotency_key_optional(
    idempotency_key: Annotated[
        str | None,
        Header(description="1 to 255 visible ASCII characters. The same request again under it changes nothing."),
    ] = None,
) -> str | None:
    if idempotency_key is None:
        return None
    if not 1 <= len(idempotency_key) <= 255 or not all("\x21" <= c <= "\x7e" for c in idempotency_key):
        raise IdempotencyKeyMalformed
    return idempotency_key


async def idempotency_key(key: Annotated[str | None, Depends(idempotency_key_optional)]) -> str:
    if key is None:
        raise IdempotencyKeyMissing
    return key


OptionalKey = Annotated[str | None, Depends(idempotency_key_optional)]
RequiredKey = Annotated[str, Depends(idempotency_key)]


def once_for(request: Request, scope: UUID, key: str, body: Any, staff: object = None) -> Once:
    """The retry's identity: vendor and key, with a fingerprint of method, path, body without PIN, and acting staff.

    The fingerprint outlives the person a body names: nobody without our key can try names on it.
    """
    is_patch = request.method == "PATCH"  # There null is not the same as nothing.
    asked = body.model_dump(mode="json", exclude={"pin"}, exclude_unset=is_patch) if body is not None else {}
    parts = (request.method, request.scope["path"], str(staff))
    body_bytes = orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)
    what = "\0".join(parts).encode() + b"\0" + body_bytes
    return once(scope, key, hmac.digest(parts_of(request).fingerprint_key, what, "sha256"))


def maybe_once(request: Request, scope: UUID, key: str | None, body: Any) -> Once | None:
    return None if key is None else once_for(request, scope, key, body)


# ------------------------------------------------------------------ versions and positions


async def expected_version(
    if_match: Annotated[str | None, Header(description='The version it must have, as `"7"`.')] = None,
) -> int | None:
    if if_match is None or if_match == "*":
        return None
    text = if_match.removeprefix("W/").strip('"')
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise MalformedRequest(what="If-Match", why="it names no version of ours")
    return int(text)


ExpectedVersion = Annotated[int | None, Depends(expected_version)]


async def _projected(
    response: Response,
    parts: TheParts,
    min_position: Annotated[
        int | None,
        Query(ge=0, le=2**62, description="Wait, for a moment, until this position is in the query tables."),
    ] = None,
) -> int:
    position = await parts.waiter.wait_for(min_position or 0, timeout_seconds=parts.settings.min_position_wait_seconds)
    response.headers["X-Ledger-Position"] = str(position)
    return position


Projected = Depends(_projected)

# ------------------------------------------------------------------ answers


def answered(outcome: Outcome, status: int, *, more: bytes = b"", headers: dict[str, str] | None = None) -> Response:
    """The outcome as a response: what was stored for this command, with its position.

    The bytes are those of the first answer, whoever asks again.
    """
    body = outcome.answer.encode()
    position = b'"position":' + (b"null" if outcome.position is None else str(outcome.position).encode())
    response = Response(
        body[:-1] + b"," + position + more + b"}", status, media_type="application/json", headers=headers
    )
    if outcome.is_replay:
        response.headers["Idempotent-Replayed"] = "true"
    if outcome.position is not None:
        response.headers["X-Ledger-Position"] = str(outcome.position)
    return response


def facts(outcome: Outcome) -> dict[str, Any]:
    answer: dict[str, Any] = orjson.loads(outcome.answer)
    return answer
