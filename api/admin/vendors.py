"""Vendors and the keys of their systems."""

from http import HTTPStatus
from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter, Request, Response
from msgspec.structs import replace
from pydantic import Field

from api import doors
from api.bodies import StrictRoute
from api.dependencies import (
    NOBODY,
    AdminOnly,
    AdminOrAuditor,
    OptionalKey,
    Projected,
    TheLedger,
    TheParts,
    TheReader,
    admin_caller,
    answered,
    facts,
    maybe_once,
)
from api.models import ApiKey, NewApiKey, Page, Vendor
from api.openapi import responses
from api.paging import PageByTime
from api.session_models import SignInLink
from api.shapes import Body, Country, Currency, Language, Name, Slug, Timestamp, TimeZone
from ledger import errors
from ledger.vendor import Profile
from projections import vendors

router = APIRouter(tags=["vendors"], route_class=StrictRoute)

Scope = Literal["cards", "earn", "redeem", "reverse", "adjust", "programs", "pins", "read"]
PROBLEMS = responses(errors.VendorNotFound)


class VendorRequest(Body):
    name: Name
    code: Slug
    country: Country
    timezone: TimeZone
    currency: Currency
    languages: list[Language] = Field(min_length=1, max_length=4, examples=[["lb", "fr"]])


class VendorPatch(Body):
    """Whatever is given replaces what was."""

    name: Name | None = None
    country: Country | None = None
    timezone: TimeZone | None = None
    currency: Currency | None = None
    languages: list[Language] | None = Field(None, min_length=1, max_length=4)
    is_active: bool | None = Field(None, description="False suspends the vendor: its keys are refused.")


class ApiKeyRequest(Body):
    name: Name
    scopes: list[Scope] = Field(min_length=1, examples=[["cards", "earn", "redeem", "read"]])
    expires_at: Timestamp | None = None


@router.post(
    "/vendors",
    summary="Register a vendor",
    status_code=HTTPStatus.CREATED,
    response_model=Vendor,
    responses=responses(errors.CodeTaken),
)
async def register_vendor(
    request: Request, asked: VendorRequest, admin: AdminOnly, key: OptionalKey, ledger: TheLedger
) -> Response:
    """A new vendor. Its code is unique and stays."""
    outcome = await ledger.vendors.register(
        code=asked.code,
        profile=Profile(asked.name, asked.country, asked.timezone, asked.currency, tuple(asked.languages)),
        caller=admin_caller(request, admin),
        once=maybe_once(request, NOBODY, key, asked),
    )
    return answered(outcome, HTTPStatus.CREATED)


@router.get("/vendors", summary="List vendors", response_model=Page[Vendor], dependencies=[Projected])
async def list_vendors(_: AdminOrAuditor, reader: TheReader, window: PageByTime) -> Any:
    """Every vendor, newest first, from the query tables."""
    rows = await vendors.list_vendors(reader, before=window.before, limit=window.ask)
    return window.page(rows)


@router.get("/vendors/{vendor_id}", summary="Read a vendor", response_model=Vendor, responses=PROBLEMS)
async def read_vendor(vendor_id: UUID, _: AdminOrAuditor, ledger: TheLedger) -> Any:
    """A vendor as it is now."""
    return await ledger.vendors.find(vendor_id)


@router.patch("/vendors/{vendor_id}", summary="Change a vendor", response_model=Vendor, responses=PROBLEMS)
async def change_vendor(
    request: Request, vendor_id: UUID, asked: VendorPatch, admin: AdminOnly, parts: TheParts
) -> Response:
    """Change a vendor's profile, suspend or reinstate it."""

    def change(before: Profile) -> Profile:
        given: dict[str, Any] = asked.model_dump(exclude_none=True, exclude={"is_active", "languages"})
        if asked.languages is not None:
            given["languages"] = tuple(asked.languages)
        return replace(before, **given)

    outcome = await parts.ledger.vendors.update(
        vendor_id, change, is_active=asked.is_active, caller=admin_caller(request, admin)
    )
    parts.authenticator.forget()
    return answered(outcome, HTTPStatus.OK)


@router.post(
    "/vendors/{vendor_id}/api-keys",
    summary="Issue an API key",
    status_code=HTTPStatus.CREATED,
    response_model=NewApiKey,
    responses=PROBLEMS,
)
async def issue_api_key(
    request: Request, vendor_id: UUID, asked: ApiKeyRequest, admin: AdminOnly, ledger: TheLedger
) -> Any:
    """A key for one of the vendor's systems. It is shown this once; only its digest is kept."""
    key, outcome = await ledger.vendors.issue_key(
        vendor_id,
        name=asked.name,
        scopes=tuple(dict.fromkeys(asked.scopes)),
        expires_at=asked.expires_at,
        caller=admin_caller(request, admin),
    )
    return {"key": key, **facts(outcome)}


@router.get("/vendors/{vendor_id}/api-keys", summary="List API keys", response_model=Page[ApiKey], responses=PROBLEMS)
async def list_api_keys(vendor_id: UUID, _: AdminOrAuditor, ledger: TheLedger) -> Any:
    """A vendor's keys, without the keys themselves; revoked ones are gone."""
    return {"items": await ledger.vendors.keys(vendor_id), "next_cursor": None}


@router.delete(
    "/vendors/{vendor_id}/api-keys/{key_id}",
    summary="Revoke an API key",
    status_code=HTTPStatus.NO_CONTENT,
    responses=responses(errors.VendorNotFound, errors.ApiKeyNotFound),
)
async def revoke_api_key(request: Request, vendor_id: UUID, key_id: UUID, admin: AdminOnly, parts: TheParts) -> None:
    """The key is refused from now on."""
    await parts.ledger.vendors.revoke_key(vendor_id, key_id, caller=admin_caller(request, admin))
    parts.authenticator.forget()


@router.post(
    "/vendors/{vendor_id}/sign-in-links",
    summary="Make a sign-in link",
    status_code=HTTPStatus.CREATED,
    response_model=SignInLink,
    responses=PROBLEMS,
)
async def make_sign_in_link(vendor_id: UUID, _: AdminOnly, parts: TheParts) -> Any:
    """A link that signs in one person for this vendor, once, within 15 minutes. They may do all that a key may do."""
    url, expires_at = await doors.make_link(parts, vendor_id)
    return {"url": url, "expires_at": expires_at}
