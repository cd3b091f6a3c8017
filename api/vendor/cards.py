"""A vendor's cards: enrolment, look-up, life, history."""

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated, Any, Literal, get_args
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from api.bodies import StrictRoute
from api.dependencies import (
    ExpectedVersion,
    OptionalKey,
    Parts,
    Projected,
    TheLedger,
    TheParts,
    TheReader,
    VendorWith,
    answered,
    facts,
    maybe_once,
)
from api.errors import StatementUnavailable
from api.limits import Lookups
from api.models import Card, CardBalance, LookedUpCard, Page, Transaction
from api.openapi import responses
from api.paging import PageByPosition, PageByTime, TimeRange
from api.people import PHONE_CHARACTERS_MAX, Email, PhoneText, normal_email, phone_number
from api.problems import PROBLEMS
from api.proof_models import Statement
from api.shapes import Body, Language, Name, Reason, Search, Uuid
from api.shapes import CardReference as CardText
from api.statements import answer_statement
from api.time_travel import TwoTimes, card_balance
from api.vendor.responses import CARD_PROBLEMS, PROGRAM_PROBLEMS, READ_PROBLEMS
from ledger.commands.caller import Caller, utc_now
from ledger.commands.cards import Customer
from ledger.commands.references import CardReference
from ledger.decision import Outcome
from ledger.errors import CardIsBusy, CardIsErased, CardNotFound, InvalidValue, NotFound, ProgramIsInactive, RateLimited
from projections import loyalty_cards, loyalty_transactions
from projections.loyalty_cards import Sought

router = APIRouter(tags=["cards"], route_class=StrictRoute)

BEGINNING = re.compile(r"[0-9]{1,12}")

ToRead = Annotated[Caller, Depends(VendorWith("read", "cards"))]
ToLookUp = Annotated[Caller, Depends(VendorWith("cards", "read", "earn", "redeem"))]
ToChange = Annotated[Caller, Depends(VendorWith("cards"))]


class CustomerNamed(Body):
    """Whom the card is for. Found again by id, email or phone."""

    id: Uuid | None = Field(None, description="The vendor's own id of the customer, a UUID.")
    name: Name | None = None
    email: Email | None = None
    phone: PhoneText | None = Field(None, description="With its country's prefix, or as dialled in the vendor's.")


class EnrolmentRequest(Body):
    customer: CustomerNamed = Field(default_factory=CustomerNamed)
    language: Language | None = None


class LookupRequest(Body):
    card: CardText


class ReasonRequest(Body):
    reason: Reason


@router.post(
    "/programs/{program_id}/cards",
    summary="Enrol a customer",
    status_code=HTTPStatus.CREATED,
    response_model=Card,
    responses=PROGRAM_PROBLEMS
    | responses(ProgramIsInactive, CardIsBusy, CardIsErased)
    | {200: {"model": Card, "description": "The customer has a card: this one."}},
)
async def enrol_customer(
    request: Request,
    program_id: UUID,
    asked: EnrolmentRequest,
    caller: ToChange,
    key: OptionalKey,
    ledger: TheLedger,
) -> Response:
    """Give a customer a card. Found by id, email or phone, one who has an open card gets that one."""
    customer, phone = asked.customer, None
    if customer.phone is not None:
        vendor = await ledger.vendors.find(caller.vendor_id)
        phone = phone_number(customer.phone, vendor["country"])
        if phone is None:
            raise InvalidValue(field="customer.phone", why="is not a phone number")
    outcome = await ledger.cards.enrol(
        program_id,
        Customer(customer.id, customer.name, customer.email, phone, asked.language or "en"),
        caller=caller,
        once=maybe_once(request, caller.vendor_id, key, asked),
    )
    is_new = facts(outcome)["created"]
    return answered(outcome, HTTPStatus.CREATED if is_new else HTTPStatus.OK)


@router.get("/cards", summary="List cards", response_model=Page[Card], dependencies=[Projected])
async def list_cards(
    caller: ToRead,
    parts: TheParts,
    window: PageByTime,
    program_id: UUID | None = None,
    status: Literal["active", "suspended", "closed", "replaced", "erased"] | None = None,
    q: Annotated[Search | None, Query(description="The beginning of a card number, or a whole email or phone.")] = None,
) -> Any:
    """The vendor's cards, newest first, from the query tables."""
    rows = await loyalty_cards.list_cards(
        parts.reader,
        now=utc_now(),
        vendor_id=caller.vendor_id,
        program_id=program_id,
        status=status,
        sought=await _sought(parts, caller.vendor_id, q) if q else None,
        before=window.before,
        limit=window.ask,
    )
    return window.page(rows)


async def _sought(parts: Parts, vendor_id: UUID, text: str) -> Sought:
    """What may be meant: a number or its beginning, a phone however it is written, an email, an id, a QR code."""
    compact = "".join(text.split())
    if "@" in text:
        return Sought(contact=parts.master_key.lookup(vendor_id, "email", normal_email(compact)).hex())
    if len(text) <= PHONE_CHARACTERS_MAX and not any(map(str.isalpha, text)):
        phone = phone_number(text, (await parts.ledger.vendors.find(vendor_id))["country"])
        contact = None if phone is None else parts.master_key.lookup(vendor_id, "phone", phone).hex()
        return Sought(number=compact if BEGINNING.fullmatch(compact) else None, contact=contact)
    with suppress(ValueError):
        return Sought(named=UUID(compact))
    return Sought(qr=compact)


@router.post(
    "/cards/lookup",
    summary="Look a card up",
    response_model=LookedUpCard,
    responses=responses(NotFound, RateLimited),
)
async def look_card_up(asked: LookupRequest, caller: ToLookUp, ledger: TheLedger, lookups: Lookups) -> Any:
    """A card by id, number or QR data, from its own stream: what it holds, what is allowed now, and why not."""
    try:
        found = await ledger.cards.look_up(CardReference(asked.card), caller.vendor_id)
    except CardNotFound:
        lookups.count_miss(caller)
        raise
    found["allowed"] = [
        {"operation": a.operation, "is_allowed": a.refusal is None, **_why_not(a.refusal)}
        for a in await ledger.till.allowed(CardReference(asked.card), caller.vendor_id)
    ]
    return found


def _why_not(refusal: Exception | None) -> dict[str, Any]:
    if refusal is None:
        return {}
    return {"code": PROBLEMS[type(refusal)].code, "retry_at": getattr(refusal, "retry_at", None)}


@router.get("/cards/{card_id}", summary="Read a card", response_model=Card, responses=READ_PROBLEMS)
async def read_card(card_id: UUID, caller: ToRead, ledger: TheLedger, response: Response) -> Any:
    """The card as it is now, from its own stream, with its version as ETag."""
    found = await ledger.cards.look_up(CardReference(str(card_id)), caller.vendor_id)
    response.headers["ETag"] = f'"{found["version"]}"'
    return found


@router.get("/cards/{card_id}/balance", summary="A card at a time", response_model=CardBalance, responses=READ_PROBLEMS)
async def read_card_balance(card_id: UUID, caller: ToRead, reader: TheReader, times: TwoTimes) -> Any:
    """What the card held at `as_of` by all that was known at `known_at`, added up from its own stream."""
    return await card_balance(reader, card_id, caller.vendor_id, times)


@router.get(
    "/cards/{card_id}/transactions",
    summary="A card's entries",
    tags=["transactions"],
    response_model=Page[Transaction],
    responses=READ_PROBLEMS,
    dependencies=[Projected],
)
async def list_card_transactions(
    card_id: UUID, caller: ToRead, ledger: TheLedger, reader: TheReader, window: PageByPosition, between: TimeRange
) -> Any:
    """Everything that happened to a card, newest first, from the query tables."""
    await ledger.cards.look_up(CardReference(str(card_id)), caller.vendor_id)
    rows = await loyalty_transactions.list_transactions(
        reader, card_id=card_id, start=between.start, end=between.end, before=window.before, limit=window.ask
    )
    return window.page(rows)


@router.get(
    "/cards/{card_id}/statement",
    summary="A card's statement",
    response_model=Statement,
    responses=responses(CardNotFound, StatementUnavailable),
)
async def read_statement(card_id: UUID, caller: ToRead, parts: TheParts) -> Response:
    """The card's whole history with proofs, signed: to be verified offline, by whoever has the public key."""
    return await answer_statement(parts, card_id, caller.vendor_id)


@router.get(
    "/transactions",
    summary="All entries",
    tags=["transactions"],
    response_model=Page[Transaction],
    dependencies=[Projected],
)
async def list_transactions(
    caller: ToRead,
    reader: TheReader,
    window: PageByPosition,
    between: TimeRange,
    program_id: UUID | None = None,
    transaction_type: Annotated[str | None, Query(max_length=40, pattern="^[a-z_]+$")] = None,
) -> Any:
    """Everything that happened on the vendor's cards, newest first, from the query tables."""
    rows = await loyalty_transactions.list_transactions(
        reader,
        vendor_id=caller.vendor_id,
        program_id=program_id,
        types=None if transaction_type is None else [transaction_type],
        start=between.start,
        end=between.end,
        before=window.before,
        limit=window.ask,
    )
    return window.page(rows)


Life = Literal["suspend", "reinstate", "close", "replace"]
WHAT: dict[Life, tuple[str, str]] = {
    "suspend": ("Suspend a card", "Nothing is earned or redeemed until it is reinstated; it can be put right."),
    "reinstate": ("Reinstate a card", "A suspended card can be used again."),
    "close": ("Close a card", "What is left is forfeited. The customer may enrol again."),
    "replace": ("Replace a lost card", "Everything moves to a new card, which is answered; the old one is gone (410)."),
}


def _life(action: Life) -> Callable[..., Awaitable[Response]]:
    async def change_card(
        request: Request,
        card_id: UUID,
        asked: ReasonRequest,
        caller: ToChange,
        key: OptionalKey,
        expected: ExpectedVersion,
        ledger: TheLedger,
    ) -> Response:
        command: Callable[..., Awaitable[Outcome]] = getattr(ledger.cards, action)
        outcome = await command(
            CardReference(str(card_id)),
            reason=asked.reason,
            caller=caller,
            once=maybe_once(request, caller.vendor_id, key, asked),
            expected_version=expected,
        )
        return answered(outcome, HTTPStatus.CREATED if action == "replace" else HTTPStatus.OK)

    return change_card


for _action in get_args(Life):
    router.add_api_route(
        f"/cards/{{card_id}}/{_action}",
        _life(_action),
        methods=["POST"],
        name=f"{_action}_card",
        summary=WHAT[_action][0],
        description=WHAT[_action][1],
        status_code=HTTPStatus.CREATED if _action == "replace" else HTTPStatus.OK,
        response_model=Card,
        responses=CARD_PROBLEMS,
    )
