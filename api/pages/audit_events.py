"""The search of events as a page: the filters of the API's search, its pages, and the same as a file.

Auditors and administrators search everything, a vendor what happened at it: each what the API tells them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.responses import HTMLResponse, Response

from api.dependencies import Projected, TheReader
from api.errors import MalformedRequest
from api.event_search import AnyVendorsEventFilters, EventFilters, answer_search, find_page
from api.pages.audit_card import Whose
from api.pages.event_story import Story, story
from api.pages.frame import language_of, page
from api.pages.routing import PageRoute
from api.pages.words import Words
from api.streams import Stream, TheStream
from api.validation import described
from ledger.commands.references import CardReference
from ledger.errors import CardNotFound
from ledger.reader import Reader
from ledger.stream import Recorded
from projections import staff_pins, vendors
from projections.search import Wanted

router = APIRouter(route_class=PageRoute, include_in_schema=False)

SHOWN = 50
ORDER = "newest"  # Unless asked otherwise.
STAFF_MAX = 500

# What a person chooses from: any of the events and entries that belong together, as the API's `type` takes them.
KINDS: Mapping[str, tuple[str, str]] = {
    "earned": ("Stamps and purchases", "stamp_earned,points_earned"),
    "redeemed": ("Rewards redeemed", "stamp_redeemed,points_redeemed"),
    "undone": ("Taken back", "stamp_reversed,points_reversed,redemption_reversed"),
    "adjusted": ("Changed by hand", "stamp_adjusted,points_adjusted,units_forfeited"),
    "cards": ("Cards", "card_enrolled,card_status_changed,card_details_changed"),
    "refused": ("Refused", "stamp-refused,earn-refused,redemption-refused,reversal-refused"),
    "staff": (
        "Staff and PINs",
        "staff-pin-created,staff-pin-changed,staff-pin-rejected,staff-pin-accepted,staff-pin-locked,staff-pin-unlocked,"
        "staff-pin-revoked,staff-session-opened",
    ),
    "programs": (
        "Programs",
        "program-created,program-rules-changed,program-branding-changed,program-activated,program-deactivated,"
        "reward-defined,reward-changed,reward-retired",
    ),
    "shops": (
        "Shops and keys",
        "vendor-registered,vendor-updated,vendor-suspended,vendor-reinstated,api-key-issued,api-key-revoked",
    ),
    "wallets": (
        "Passes in phones",
        "apple-pass-issued,apple-device-registered,apple-device-unregistered,google-pass-created,google-pass-saved,"
        "google-pass-removed",
    ),
    "people": ("People forgotten", "subject-key-destroyed,card-erased"),
    "checks": ("Checks of the tables", "projection-checked"),
}
COMMON = ("card", "kind", "from", "to")
RARE = (
    *("vendor_id", "program_id", "location_id", "terminal_id", "staff_pin_id", "actor_id", "reference"),
    *("idempotency_key", "type", "occurred_from", "occurred_to", "order"),
)
FIRST_DAYS, LAST_DAYS = ("from", "occurred_from"), ("to", "occurred_to")
NO_CARD, NO_NUMBER = "There is no such card.", "Type its number or its id."
NO_NAME = "One of these is no name of an event."
TWICE = "Choose one of both: a kind at the top, or names here."


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for, as it was typed, and as the search takes it; or what is wrong with it, by field."""

    typed: Mapping[str, str]
    filters: EventFilters | None
    wanted: Wanted | None
    wrong: Mapping[str, str]

    @property
    def query(self) -> str:
        """The same filter in an address, from its beginning."""
        return urlencode({name: value for name, value in self.typed.items() if name != "cursor"})

    @property
    def has_rare(self) -> bool:
        return any(name in self.typed or name in self.wrong for name in RARE)


@router.get("/audit/events")
async def show_events(request: Request, vendor_id: Whose, reader: TheReader) -> HTMLResponse:
    """Newest first, unless asked otherwise."""
    words = Words(language_of(request.scope))
    asked = await _asked(request, reader, words, vendor_id)
    found = None
    if asked.filters is not None and asked.wanted is not None:
        found = await find_page(reader, asked.wanted, asked.filters)
    events = [] if found is None else found.events
    staff = await _staff(reader, events)
    told = [story(words, event, staff) for event in events]
    return page(
        request,
        "audit/events.html",
        status=422 if asked.wrong else 200,
        is_vendor=vendor_id is not None,
        asked=asked,
        is_filtered=any(name not in ("order", "cursor", "limit") for name in asked.typed),
        kinds=[(name, words.text(label)) for name, (label, _) in KINDS.items()],
        found=found,
        stories=told,
        numbers=await _numbers(reader, told),
        shops={} if vendor_id is not None else await _shops(reader, events),
    )


@router.get("/audit/events.csv")
async def download_csv(
    request: Request, vendor_id: Whose, reader: TheReader, position: Annotated[int, Projected], stream: TheStream
) -> Response:
    return await _everything(request, vendor_id, reader, position, stream, "text/csv")


@router.get("/audit/events.ndjson")
async def download_ndjson(
    request: Request, vendor_id: Whose, reader: TheReader, position: Annotated[int, Projected], stream: TheStream
) -> Response:
    return await _everything(request, vendor_id, reader, position, stream, "application/x-ndjson")


async def _everything(
    request: Request, vendor_id: UUID | None, reader: Reader, position: int, stream: Stream, accept: str
) -> Response:
    """All that the filter finds, as the API writes it. Raises: MalformedRequest, for a filter that makes no sense."""
    asked = await _asked(request, reader, Words(language_of(request.scope)), vendor_id)
    if asked.filters is None or asked.wanted is None:
        raise MalformedRequest(what="request", why="one of its filters makes no sense")
    answer: Response = await answer_search(
        reader, asked.wanted, asked.filters, position=position, accept=accept, response=Response(), stream=stream
    )
    answer.headers["Cache-Control"] = "no-store"
    return answer


# ------------------------------------------------------------------ what is asked


async def _asked(request: Request, reader: Reader, words: Words, vendor_id: UUID | None) -> Asked:
    """A vendor asks of itself alone, and cannot name another one."""
    sent = {name: value.strip() for name, value in request.query_params.items()}
    typed = {name: value for name, value in sent.items() if value and (name, value) != ("order", ORDER)}
    given: dict[str, Any] = {name: value for name, value in typed.items() if name not in ("card", "kind")}
    wrong: dict[str, str] = {}
    if "card" in typed:
        try:
            given["card_id"] = await _card(reader, typed["card"], vendor_id)
        except CardNotFound:
            wrong["card"] = words.text(NO_CARD if _is_name(typed["card"]) else NO_NUMBER)
    if "kind" in typed and "type" in typed:
        wrong["type"] = words.text(TWICE)
    elif typed.get("kind", "") in KINDS:
        given["type"] = KINDS[typed["kind"]][1]
    elif "kind" in typed:
        wrong["kind"] = words.text(NO_NAME)
    given |= {name: _midnight(given[name], 0) for name in FIRST_DAYS if name in given}
    given |= {name: _midnight(given[name], 1) for name in LAST_DAYS if name in given}
    kind = AnyVendorsEventFilters if vendor_id is None else EventFilters
    try:
        filters = kind.model_validate({"order": ORDER, "limit": SHOWN, **given})
        wanted = filters.wanted(vendor_id or getattr(filters, "vendor_id", None))
    except (ValidationError, RequestValidationError) as error:
        for one in described(error.errors(), words.language):
            field, message = one["field"], one["message"]
            if field == "type":
                wrong.setdefault(field, words.text(NO_NAME))
            elif field in (*COMMON, *RARE):
                wrong.setdefault(field, f"{message[:1].upper()}{message[1:]}.")
            else:
                wrong.setdefault("", f"{field}: {message}.")
        return Asked(typed, None, None, wrong)
    return Asked(typed, None, None, wrong) if wrong else Asked(typed, filters, wanted, wrong)


def _is_name(text: str) -> bool:
    """Whether this is a number or an id; a QR code is a secret, and stands in no address of ours."""
    reference = CardReference(text.replace(" ", ""))
    return reference.stream_id is not None or text.replace(" ", "").isdecimal()


async def _card(reader: Reader, text: str, vendor_id: UUID | None) -> UUID:
    """Raises: CardNotFound, also for another vendor's."""
    if not _is_name(text):
        raise CardNotFound
    reference = CardReference(text.replace(" ", ""))
    return reference.find(await reader.view(reference.streams, reference.claims), vendor_id).stream_id


def _midnight(text: str, days: int) -> str:
    """The beginning of a day in UTC, or of so many days later; what is no day is left to the search to read."""
    try:
        day = date.fromisoformat(text) if len(text) == len("2026-03-29") else None
        return text if day is None else f"{day + timedelta(days=days)}T00:00:00Z"
    except (ValueError, OverflowError):
        return text


# ------------------------------------------------------------------ what is around the events found


async def _staff(reader: Reader, events: Sequence[Recorded]) -> dict[UUID, str]:
    """What shops call their staff, by PIN, where staff had a part in it."""
    shops = {
        event.envelope.vendor_id
        for event in events
        if event.envelope.stream_type == "staff_pin" or getattr(event.event, "staff_pin_id", None) is not None
    }
    pins = [pin for shop in shops for pin in await staff_pins.list_pins(reader, shop, limit=STAFF_MAX)]
    return {pin["id"]: pin["staff_id"] for pin in pins}


async def _numbers(reader: Reader, told: Sequence[Story]) -> dict[UUID, str]:
    """Numbers of the cards, by their ids."""
    ids = list({one.card_id for one in told if one.card_id is not None})
    view = await reader.view(ids) if ids else None
    cards = {id_: view.stream(id_) for id_ in ids} if view is not None else {}
    return {id_: card.state.number for id_, card in cards.items() if card is not None}


async def _shops(reader: Reader, events: Sequence[Recorded]) -> dict[UUID, str]:
    rows = [await vendors.read(reader, id_) for id_ in {event.envelope.vendor_id for event in events}]
    return {row["id"]: row["name"] for row in rows if row is not None}
