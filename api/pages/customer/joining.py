"""Joining a program from its poster: the offer, at most two fields, consent, one button."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Request
from pydantic import TypeAdapter, ValidationError
from starlette.responses import RedirectResponse, Response

from api.dependencies import Parts, Public, TheParts, facts, public_caller
from api.languages import Language, translate
from api.limits import Enrolments
from api.pages.customer.showing import goals, places
from api.pages.frame import accent_address, language_of, page
from api.pages.routing import PageRoute, read_form
from api.people import Email, PhoneText, phone_number
from api.shapes import Name
from api.validation import described
from ledger.commands.caller import once, utc_now
from ledger.commands.cards import Customer
from ledger.errors import ProgramNotFound, VendorNotFound
from ledger.ids import derived
from ledger.translations import in_language
from projections import loyalty_programs

CONSENT = "consent"
SHAPES: Mapping[str, TypeAdapter[Any]] = {
    "name": TypeAdapter(Name),
    "email": TypeAdapter(Email),
    "phone": TypeAdapter(PhoneText),
}
MISSING = {
    "email": "Please enter your email address.",
    "phone": "Please enter your phone number.",
    CONSENT: "Please tick this box, or there can be no card.",
}
WRONG = {
    "email": "This does not look like an email address.",
    "phone": "This does not look like a phone number.",
}

router = APIRouter(dependencies=[Public], route_class=PageRoute, include_in_schema=False)


@router.get("/j/{name}")
async def offer(request: Request, name: str, parts: TheParts) -> Response:
    """The offer of a program, by its id. By a vendor's code: its one program, or which ones there are."""
    program_id = _id(name)
    if program_id is None:
        return await _programs_of(request, parts, name)
    program = await parts.ledger.programs.find(program_id, None)
    return await _form(request, parts, program, {"form": str(uuid4())}, {})


@router.post("/j/{name}")
async def join(request: Request, name: str, parts: TheParts, enrolments: Enrolments) -> Response:
    """A new card, and its page. The same form sent again leads to the same card."""
    program_id = _id(name)
    if program_id is None:
        raise ProgramNotFound
    program = await parts.ledger.programs.find(program_id, None)
    sent = await read_form(request)
    language = language_of(request.scope)
    vendor = await parts.ledger.vendors.find(program["vendor_id"])
    given, errors = _given(program, sent, vendor["country"], language)
    form = _id(sent.get("form", ""))
    if errors or form is None:
        return await _form(request, parts, program, {"form": str(uuid4()), **sent}, errors)
    # What counts is the form, not what stood in it: sent again after a change, it is still the same person's card.
    this_form = once(derived("page", program_id), str(form), b"enrolment")
    if not await parts.reader.is_used(this_form):
        await enrolments.count(request)
    outcome = await parts.ledger.cards.enrol(
        program_id,
        Customer(None, given.get("name"), given.get("email"), given.get("phone"), language, has_consented=True),
        caller=public_caller(request, program["vendor_id"]),
        once=this_form,
        is_trusted=False,
    )
    return RedirectResponse(f"/c/{facts(outcome)['qr_code_data']}#new", 303, {"Cache-Control": "no-store"})


def _given(
    program: Mapping[str, Any], sent: Mapping[str, str], country: str, language: Language
) -> tuple[dict[str, str], dict[str, str]]:
    """What was entered in its normal form, and what is wrong with it in the person's language, by field."""
    given, errors = {}, {}
    for field in program["enrolment_fields"]:
        text = sent.get(field, "").strip()
        if not text:
            if field in MISSING:
                errors[field] = translate(language, MISSING[field])
            continue
        try:
            value = SHAPES[field].validate_python(text)
        except ValidationError as error:
            told = described(error.errors(include_url=False, include_input=False), language)[0]["message"]
            errors[field] = translate(language, WRONG[field]) if field in WRONG else told
            continue
        value = phone_number(value, country) if field == "phone" else value
        if value is None:
            errors[field] = translate(language, WRONG[field])
        else:
            given[field] = value
    if sent.get(CONSENT) != "yes":
        errors[CONSENT] = translate(language, MISSING[CONSENT])
    return given, errors


async def _form(
    request: Request,
    parts: Parts,
    program: dict[str, Any],
    values: Mapping[str, str],
    errors: Mapping[str, str],
) -> Response:
    vendor = await parts.ledger.vendors.find(program["vendor_id"])
    program = in_language(program, language_of(request.scope))
    nothing_yet = {"stamp_count": 0, "points_balance": 0, "stamps_target": program["stamps_target"]}
    return page(
        request,
        "customer/join.html",
        status=422 if errors else 200,
        program=program,
        title=program["card_name"] or program["name"],
        vendor=vendor["name"],
        places=places(nothing_yet),
        goals=goals(nothing_yet, program),
        card=nothing_yet,
        values=values,
        errors=errors,
        accent=accent_address(program["card_color"], program["card_secondary_color"]),
    )


async def _programs_of(request: Request, parts: Parts, code: str) -> Response:
    try:
        vendor = await parts.ledger.vendors.by_code(code)
    except VendorNotFound:
        raise ProgramNotFound from None
    found = await loyalty_programs.list_programs(
        parts.reader, now=utc_now(), vendor_id=vendor.stream_id, is_active=True, limit=50
    )
    if len(found) == 1:
        return RedirectResponse(f"/j/{found[0]['id']}", 303, {"Cache-Control": "no-store"})
    told = [in_language(program, language_of(request.scope)) for program in found]
    return page(request, "customer/programs.html", programs=told, vendor=vendor.state.profile.name)


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
