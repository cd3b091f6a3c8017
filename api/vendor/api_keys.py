"""The vendor's own keys, and the pairing of tills, each of which has one."""

from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import Field

from api import doors
from api.admin.vendors import ApiKeyRequest
from api.bodies import StrictRoute
from api.dependencies import AnyPrincipal, TheLedger, TheParts, TheReader, VendorWith, facts
from api.models import ApiKey, NewApiKey, Page
from api.openapi import responses
from api.session_models import Pairing, TillDesk
from api.shapes import Body, Name, Uuid
from ledger import errors
from ledger.commands.caller import Caller, utc_now
from projections import loyalty_programs, staff_pins

router = APIRouter(tags=["keys"], route_class=StrictRoute)

LIST_MAX = 200

ToRead = Annotated[Caller, Depends(VendorWith("read", "pins"))]
ToChange = Annotated[Caller, Depends(VendorWith("pins"))]
ToWork = Annotated[Caller, Depends(VendorWith("cards", "earn", "redeem", "reverse", "read"))]


class PairingRequest(Body):
    name: Name = Field(description="What the till is called in the list of keys.", examples=["Counter left"])
    location_id: Uuid | None = Field(None, description="Where it stands: recorded with everything it does.")
    program_id: Uuid | None = Field(None, description="The program it shows first.")


@router.get("/api-keys", summary="List my API keys", response_model=Page[ApiKey])
async def list_my_api_keys(caller: ToRead, ledger: TheLedger) -> Any:
    """The vendor's keys, without the keys themselves; revoked ones are gone.

    `prefix` begins with `till_` for a paired till and with `link_` for somebody who signed in by a link.
    """
    return {"items": await ledger.vendors.keys(caller.vendor_id), "next_cursor": None}


@router.post(
    "/api-keys",
    summary="Issue an API key of mine",
    status_code=HTTPStatus.CREATED,
    response_model=NewApiKey,
    responses=responses(errors.CallerRevoked),
)
async def issue_my_api_key(asked: ApiKeyRequest, caller: ToChange, ledger: TheLedger) -> Any:
    """A key for a system of one's own, with no scope that the caller does not have. It is shown this once."""
    scopes = tuple(dict.fromkeys(asked.scopes))
    doors.must_hold(caller, scopes)
    key, outcome = await ledger.vendors.issue_key(
        caller.vendor_id, name=asked.name, scopes=scopes, expires_at=asked.expires_at, caller=caller
    )
    return {"key": key, **facts(outcome)}


@router.delete(
    "/api-keys/{key_id}",
    summary="Revoke an API key of mine",
    status_code=HTTPStatus.NO_CONTENT,
    responses=responses(errors.ApiKeyNotFound),
)
async def revoke_my_api_key(key_id: UUID, caller: ToChange, parts: TheParts) -> None:
    """The key is refused from now on: a till is no longer paired, whoever signed in by a link is signed out.

    Only who has all its scopes may revoke it.
    """
    vendors = parts.ledger.vendors
    found = next((key for key in await vendors.keys(caller.vendor_id) if key["id"] == key_id), None)
    if found is None:
        raise errors.ApiKeyNotFound
    doors.must_hold(caller, tuple(found["scopes"]))
    await vendors.revoke_key(caller.vendor_id, key_id, caller=caller)
    parts.authenticator.forget()


@router.post(
    "/till-pairings",
    summary="Pair a till",
    status_code=HTTPStatus.CREATED,
    response_model=Pairing,
    responses=responses(errors.ProgramNotFound),
)
async def pair_till(asked: PairingRequest, caller: ToChange, parts: TheParts) -> Any:
    """A code for a device at the counter, to be used once within 15 minutes.

    The device gets a key of its own with the scopes cards, earn, redeem and reverse, which the caller must have as
    well. Revoking it ends the pairing.
    """
    code, expires_at = await doors.make_pairing_code(
        parts, caller, name=asked.name, location_id=asked.location_id, program_id=asked.program_id
    )
    url = f"{parts.settings.public_url}/till/pair?code={quote(code)}"
    return {"code": code, "url": url, "expires_at": expires_at}


@router.get("/till", summary="What a till needs to begin", response_model=TillDesk)
async def read_till(caller: ToWork, principal: AnyPrincipal, ledger: TheLedger, reader: TheReader) -> Any:
    """The vendor, its active programs with their rules, and who works there by name: all that a till shows at first.

    A paired till asks with its cookie and the header X-Till.
    """
    vendor = await ledger.vendors.find(caller.vendor_id)
    key = next((key for key in await ledger.vendors.keys(caller.vendor_id) if key["id"] == caller.api_key_id), None)
    programs = await loyalty_programs.list_programs(
        reader, now=utc_now(), vendor_id=caller.vendor_id, is_active=True, limit=LIST_MAX
    )
    staff = await staff_pins.list_pins(reader, caller.vendor_id, is_active=True, limit=LIST_MAX)
    return {
        "vendor": {name: vendor[name] for name in ("id", "name", "country", "timezone", "currency", "languages")},
        "programs": programs,
        "staff": sorted(
            ({"id": pin["id"], "name": pin["name"]} for pin in staff if pin["name"]),
            key=lambda one: one["name"].casefold(),
        ),
        "terminal": {
            "key_id": caller.api_key_id,
            "name": key and key["name"],
            "terminal_id": caller.terminal_id,
            "location_id": caller.location_id,
            "program_id": principal.program_id,
        },
    }
