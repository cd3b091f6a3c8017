"""What phones ask that carry a pass: to be told of changes, what changed, and the pass as it is now.

Source: Apple's "Adding a Web Service to Update Passes". Answers have the statuses it names and, but for the pass and
the list, no body. What counts as a change of a pass stands in `wallet_sync.changes`.
"""

import hmac
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from http import HTTPStatus
from typing import Annotated, Any

import orjson
import structlog
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.background import BackgroundTask

from api.bodies import StrictRoute
from api.dependencies import Parts, Public, TheLedger, TheParts, TheReader
from api.errors import AppleWalletOff, AppleWalletUnavailable, MalformedRequest
from api.middleware import request_id_of
from api.openapi import responses
from api.wallets import AppleWallet
from ledger.commands import Ledger
from ledger.commands.caller import Caller
from ledger.commands.references import CardReference
from ledger.decision import Stream
from ledger.errors import CardIsErased, CardNotFound, RateLimited, StoreAway
from ledger.reader import Reader
from ledger.stream import Actor
from wallet_sync import farewells
from wallet_sync.apple_certificates import AppleKeysUnfit
from wallet_sync.apple_pass import MEDIA_TYPE
from wallet_sync.changes import change_of, changed_since, note_asked, note_fetched, with_another_token

router = APIRouter(tags=["apple"], dependencies=[Public], route_class=StrictRoute)

TABLES_SECONDS_MAX = 0.5  # A phone is answered within a second.
LOG_LINES_MAX = 100
LOG_CHARACTERS_MAX = 2_000
LOGS_PER_MINUTE = RateLimitItemPerMinute(30)
LOG_STATUSES = ("400", "401", "404", "429", "500", "503")
DEVICE = re.compile(r"[\x21-\x7e]{1,128}")
PUSH_TOKEN = re.compile(r"[0-9A-Fa-f]{1,256}")

_log_limiter = MovingWindowRateLimiter(MemoryStorage())
log = structlog.get_logger("api.public.apple_web_service")

# ------------------------------------------------------------------ who asks


async def _apple(parts: TheParts) -> AppleWallet:
    if parts.apple is None:
        raise AppleWalletOff
    return parts.apple


Apple = Annotated[AppleWallet, Depends(_apple)]


async def _shown_pass(
    pass_type_id: str,
    serial_number: str,
    apple: Apple,
    parts: TheParts,
    ledger: TheLedger,
    authorization: Annotated[str, Header(description="`ApplePass` and the pass's own token.")] = "",
) -> Stream | None:
    """The pass named in the path, if the token belongs to it. Unknown passes cost as much as wrong tokens."""
    scheme, _, token = authorization.partition(" ")
    expected = apple.token_of(pass_type_id, serial_number)
    is_right = hmac.compare_digest(token.encode(errors="replace"), expected.encode())
    schemes = ("applepass", "androidpass") if parts.settings.apple_android_readers else ("applepass",)
    found = await ledger.passes.find_apple(pass_type_id, serial_number)
    return found if is_right and scheme.lower() in schemes else None


ShownPass = Annotated[Stream | None, Depends(_shown_pass)]


def _phone(request: Request, found: Stream) -> Caller:
    assert found.vendor_id is not None
    return Caller(found.vendor_id, Actor("customer", "phone", "apple_pass"), "wallet", request_id_of(request.scope))


def _unauthorized() -> Response:
    return Response(status_code=HTTPStatus.UNAUTHORIZED, headers={"WWW-Authenticate": "ApplePass"})


# ------------------------------------------------------------------ registrations


async def register_device(
    request: Request, device: str, found: ShownPass, parts: TheParts, ledger: TheLedger, reader: TheReader
) -> Response:
    """201 where the phone is new to the pass, 200 where it was registered.

    A new push token replaces the old one in all of the phone's registrations.
    """
    if found is None:
        return _unauthorized()
    token = _object(await request.body()).get("pushToken")
    if not DEVICE.fullmatch(device):
        raise MalformedRequest(what="device", why="it has 1 to 128 visible ASCII characters")
    if not isinstance(token, str) or not PUSH_TOKEN.fullmatch(token):
        raise MalformedRequest(what="body", why="pushToken is not hexadecimal")
    try:
        outcome = await ledger.passes.register(found, device=device, push_token=token, caller=_phone(request, found))
    except CardIsErased:
        return _unauthorized()
    positions = [outcome.position]
    for serial in await with_another_token(reader, device, found.state.pass_type_id, token):
        positions.append(await _exchange_token(request, ledger, found.state.pass_type_id, serial, device, token))
    await _in_the_tables(parts, max((one for one in positions if one is not None), default=None))
    created = orjson.loads(outcome.answer)["created"]
    return Response(status_code=HTTPStatus.CREATED if created else HTTPStatus.OK)


async def _exchange_token(
    request: Request, ledger: Ledger, pass_type_id: str, serial: str, device: str, token: str
) -> int | None:
    """Returns: The position of what was recorded, None where nothing was."""
    other = await ledger.passes.find_apple(pass_type_id, serial)
    if other is None:
        return None
    try:
        outcome = await ledger.passes.exchange_token(
            other, device=device, push_token=token, caller=_phone(request, other)
        )
    except CardIsErased:
        return None
    return outcome.position


async def unregister_device(
    request: Request, device: str, found: ShownPass, parts: TheParts, ledger: TheLedger
) -> Response:
    """200, also where the phone was not registered."""
    if found is None:
        return _unauthorized()
    outcome = await ledger.passes.unregister(found, device=device, caller=_phone(request, found))
    await _in_the_tables(parts, outcome.position)
    return Response(status_code=HTTPStatus.OK)


async def _in_the_tables(parts: Parts, position: int | None) -> None:
    """The phone asks next what changed, which the tables answer. Late tables are no error of the phone's."""
    if position is not None:
        await parts.waiter.wait_for(position, timeout_seconds=TABLES_SECONDS_MAX)


async def list_changed_passes(
    device: str,
    pass_type_id: str,
    _: Apple,
    parts: TheParts,
    reader: TheReader,
    passes_updated_since: Annotated[
        str | None, Query(alias="passesUpdatedSince", description="The `lastUpdated` of the answer before.")
    ] = None,
) -> Response:
    """The phone's passes that changed since; 204 where none did. Without a token: who knows the phone's id may ask."""
    if not (DEVICE.fullmatch(device) and DEVICE.fullmatch(pass_type_id)):
        return Response(status_code=HTTPStatus.NO_CONTENT)
    erased = await farewells.asked(reader, parts.master_key, device, pass_type_id)
    serials, tag = await changed_since(reader, device, pass_type_id, passes_updated_since, erased)
    noting = BackgroundTask(_noted, note_asked, reader, device, pass_type_id)
    if not serials:
        return Response(status_code=HTTPStatus.NO_CONTENT, background=noting)
    told = {"serialNumbers": serials, "lastUpdated": tag}
    return Response(orjson.dumps(told), media_type="application/json", background=noting)


# ------------------------------------------------------------------ the pass


async def read_pass(
    found: ShownPass,
    apple: Apple,
    ledger: TheLedger,
    reader: TheReader,
    if_modified_since: Annotated[str | None, Header()] = None,
) -> Response:
    """The pass as its card is now, whatever led here; a card that cannot be used comes as a voided pass.

    Of a card whose holder was forgotten each phone that was registered gets an empty pass, and an hour later 401.
    """
    if found is None:
        return _unauthorized()
    if await ledger.people.is_erased(found):
        return await _farewell(found, apple, ledger, reader)
    change = await change_of(reader, found.state.card_id)
    headers = {"Last-Modified": format_datetime(change.last_modified, usegmt=True), "Cache-Control": "no-store"}
    assert found.parent_id is not None
    noting = BackgroundTask(_noted, note_fetched, reader, found.state.card_id, found.parent_id, change)
    if _is_not_older(if_modified_since, change.last_modified):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers, background=noting)
    content = await _made(apple, ledger, found)
    if content is None:
        return _unauthorized()
    return Response(content, media_type=MEDIA_TYPE, headers=headers, background=noting)


async def _farewell(found: Stream, apple: AppleWallet, ledger: Ledger, reader: Reader) -> Response:
    position = await farewells.owed(reader, found.state.pass_type_id, found.state.serial_number)
    content = None if position is None else await _made(apple, ledger, found)
    if position is None or content is None:
        return _unauthorized()
    await farewells.heard(reader, found.state.pass_type_id, found.state.serial_number)
    change = await change_of(reader, found.state.card_id)  # The tables may trail, and nudges were counted already.
    last_modified = replace(change, position=max(change.position, position)).last_modified
    headers = {"Last-Modified": format_datetime(last_modified, usegmt=True), "Cache-Control": "no-store"}
    return Response(content, media_type=MEDIA_TYPE, headers=headers)


async def _made(apple: AppleWallet, ledger: Ledger, found: Stream) -> bytes | None:
    try:
        card = await ledger.cards.look_up(CardReference(str(found.state.card_id)), None)
    except (CardNotFound, CardIsErased):
        return None
    vendor = await ledger.vendors.find(card["vendor_id"])
    try:
        _, content = await apple.make(card, card["program"], vendor["name"], unless=None)
    except AppleKeysUnfit as unfit:
        log.warning("apple-wallet-unfit", error=str(unfit))
        raise AppleWalletUnavailable from None
    return content


async def _noted(note: Callable[..., Awaitable[None]], *told: Any) -> None:
    """The phone has its answer: what could not be noted costs it nothing, and at most another push."""
    with suppress(StoreAway):
        await note(*told)


def _is_not_older(text: str | None, changed_at: datetime) -> bool:
    try:
        return text is not None and parsedate_to_datetime(text).astimezone(UTC) >= changed_at
    except (ValueError, OverflowError):
        return False


# ------------------------------------------------------------------ what phones complain of


async def take_log(request: Request, _: Apple, parts: TheParts) -> Response:
    """Complaints are counted by what they are about; their words are nobody's we know, and are not kept."""
    address = request.client.host if request.client else "unknown"
    if not _log_limiter.hit(LOGS_PER_MINUTE, "apple log", address):
        raise RateLimited(retry_after_seconds=60)
    lines = _object(await request.body()).get("logs")
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise MalformedRequest(what="body", why="logs is not a list of texts")
    parts.phone_log.update(complaint(line[:LOG_CHARACTERS_MAX]) for line in lines[:LOG_LINES_MAX])
    return Response(status_code=HTTPStatus.OK)


def complaint(line: str) -> str:
    """What a phone's line is about: a status we gave it, a tag that did not move, or something else."""
    if "remained the same" in line:
        return "tag_unchanged"
    status = re.search(r"\b[1-5]\d\d\b", line.partition(": ")[2])
    return f"status_{status[0]}" if status and status[0] in LOG_STATUSES else "other"


def _object(body: bytes) -> dict[str, Any]:
    """Phones may say more than we know of, and say it under any media type."""
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        told = None
    if not isinstance(told, dict):
        raise MalformedRequest(what="body", why="it is not a JSON object")
    return told


# ------------------------------------------------------------------ addresses

PASS: dict[int | str, dict[str, Any]] = {
    200: {"content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}, "description": "The pass."},
    304: {"description": "It has not changed since."},
    401: {"description": "The token is not that pass's, or there is no such pass."},
}
DONE: dict[int | str, dict[str, Any]] = {200: {"description": "Done, or done before."}, 401: PASS[401]}
CREATED: dict[int | str, dict[str, Any]] = {
    200: {"description": "It was registered."},
    201: {"description": "It is now."},
    401: PASS[401],
}
CHANGED: dict[int | str, dict[str, Any]] = {
    200: {"description": "Serial numbers and the tag for the next time."},
    204: {"description": "Nothing has changed."},
}

_REGISTRATIONS = "/devices/{device}/registrations/{pass_type_id}"
_ROUTES: tuple[tuple[str, str, Any, str, dict[int | str, dict[str, Any]]], ...] = (
    ("POST", _REGISTRATIONS + "/{serial_number}", register_device, "Register a phone for a pass", CREATED),
    ("DELETE", _REGISTRATIONS + "/{serial_number}", unregister_device, "Unregister a phone", DONE),
    ("GET", _REGISTRATIONS, list_changed_passes, "List the passes that changed", CHANGED),
    ("GET", "/passes/{pass_type_id}/{serial_number}", read_pass, "The pass as it is now", PASS),
    ("POST", "/log", take_log, "Take in what a phone complains of", {200: {"description": "Counted."}}),
)


def _add_routes() -> None:
    """Each as documented, and as clients write it that join addresses blindly: `//v1`, and a slash at the end."""
    for method, path, endpoint, summary, told in _ROUTES:
        for before, after in (("", ""), ("/", ""), ("", "/"), ("/", "/")):
            router.add_api_route(
                f"/apple{before}/v1{path}{after}",
                endpoint,
                methods=[method],
                summary=summary,
                response_class=Response,
                responses=responses(AppleWalletOff, AppleWalletUnavailable, RateLimited, StoreAway) | told,
                include_in_schema=not before and not after,
            )


_add_routes()
