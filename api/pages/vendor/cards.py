"""Cards of a vendor: finding one, what happened to it, and what may be done with it."""

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, get_args
from unicodedata import normalize
from uuid import UUID

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.responses import Response

from api.cursors import decode_cursor
from api.dependencies import Public, facts
from api.pages.routing import PageRoute, read_form
from api.pages.vendor import entries
from api.pages.vendor.desk import FINE, Desk, Form, TheDesk, Wrong, filled, to, whole
from api.pages.words import STATUSES
from api.paging import LatestFirst, NewestFirst
from api.vendor import adjustments, stamps
from api.vendor import cards as api_cards
from api.vendor import customers as api_customers
from api.vendor import entries as api_entries
from api.vendor.till import Till
from ledger.card import Reversed
from ledger.commands.caller import utc_now
from ledger.commands.references import CardReference
from ledger.errors import EntryNotFound, Refused
from ledger.ids import new_id
from projections import loyalty_programs, loyalty_transactions

router = APIRouter(dependencies=[Public], route_class=PageRoute, include_in_schema=False)

SHOWN = 25
CONTACT_CHARACTERS_MAX = 254
ONCE = re.compile(r"[!-~]{1,255}")
CHOICES_MAX = 200
DETAILS = ("name", "email", "phone")
REVERSIBLE = ("stamp_earned", "points_earned", "stamp_redeemed", "points_redeemed")
DONE: Mapping[str, str] = {"suspend": "suspended", "reinstate": "reinstated", "close": "closed", "replace": "replaced"}


@router.get("/app/cards")
async def show_cards(desk: TheDesk, status: str = "", program_id: str = "", cursor: str = "") -> Response:
    """Newest first; by state and program."""
    desk.needs("read", "cards")
    return await _cards_page(desk, {"q": "", "status": status, "program_id": program_id}, cursor)


@router.post("/app/cards")
async def find_cards(desk: TheDesk) -> Response:
    """By number, email or phone too; a form, so that nobody's contact stands in an address. A single card is shown."""
    desk.needs("read", "cards")
    form = await read_form(desk.request)
    asked = {name: form.get(name, "").strip()[:CONTACT_CHARACTERS_MAX] for name in ("q", "status", "program_id")}
    asked["q"] = normalize("NFC", "".join(filter(str.isprintable, asked["q"])))
    if not asked["q"]:
        return to("/app/cards", **{name: value for name, value in asked.items() if value})
    return await _cards_page(desk, asked, form.get("cursor", ""))


async def _cards_page(desk: Desk, asked: dict[str, str], cursor: str) -> Response:
    window = NewestFirst(SHOWN, None if not cursor else decode_cursor(cursor, datetime, UUID))
    programs = await programs_of(desk)
    page = await api_cards.list_cards(
        desk.caller,
        desk.parts,
        window,
        UUID(asked["program_id"]) if asked["program_id"] in programs else None,
        asked["status"] if asked["status"] in STATUSES else None,  # type: ignore[arg-type]
        asked["q"] or None,
    )
    if asked["q"] and len(page["items"]) == 1 and not cursor:
        return to(f"/app/cards/{page['items'][0]['id']}")
    words, zone = desk.words, desk.vendor["timezone"]
    found = [
        {
            "id": card["id"],
            "number": grouped(card["card_number"]),
            "program": programs.get(str(card["program_id"]), ""),
            "balance": balance(card, desk),
            "status": words.text(STATUSES[card["status"]]),
            "kind": entries.STATUS_KINDS.get(card["status"], "plain"),
            "since": words.day(card["created_at"], zone),
        }
        for card in page["items"]
    ]
    return desk.page(
        "cards.html",
        cards=found,
        asked=asked,
        is_filtered=any(asked.values()),
        programs=list(programs.items()),
        statuses=[(code, words.text(name)) for code, name in STATUSES.items()],
        query={name: value for name, value in asked.items() if value},
        next_cursor=page["next_cursor"],
        is_first=not cursor,
    )


@router.get("/app/cards/{card_id}")
async def show_card(card_id: UUID, desk: TheDesk, cursor: str | None = None) -> Response:
    return await _card_page(desk, card_id, cursor=cursor)


async def _card_page(
    desk: Desk, card_id: UUID, wrong: Wrong = FINE, form: Form | None = None, cursor: str | None = None
) -> Response:
    desk.needs("read", "cards")
    parts, vendor_id = desk.parts, desk.caller.vendor_id
    reference = CardReference(str(card_id))
    card = await parts.ledger.cards.look_up(reference, vendor_id)
    window = LatestFirst(SHOWN, None if not cursor else decode_cursor(cursor, int)[0])
    rows = await loyalty_transactions.list_transactions(
        parts.reader, card_id=card_id, before=window.before, limit=window.ask
    )
    page = window.page(rows)
    staff = await entries.staff_names(parts.reader, vendor_id)
    told = [entries.told(row, desk.words, desk.vendor["timezone"], staff) for row in page["items"]]
    stream = await parts.reader.stream(card_id)
    assert stream is not None
    undone = {str(row["id"]) for row in page["items"] if _is_undone(row, stream.state.reversed)}
    allowed = [
        {"operation": one.operation, "why": one.refusal and desk.what_is_wrong(one.refusal).sentence}
        for one in await parts.ledger.till.allowed(reference, vendor_id)
        if _is_given(card["program"], one.operation)
    ]
    return desk.page(
        "card.html",
        wrong=wrong,
        card=card,
        number=grouped(card["card_number"]),
        balance=balance(card, desk),
        state=desk.words.text(STATUSES[card["status"]]),
        kind=entries.STATUS_KINDS.get(card["status"], "plain"),
        since=desk.words.day(card["created_at"], desk.vendor["timezone"]),
        days=entries.days(told),
        undone=undone,
        may_be_undone={str(row["id"]) for row in page["items"] if row["transaction_type"] in REVERSIBLE} - undone,
        allowed=allowed,
        next_cursor=page["next_cursor"],
        is_first=cursor is None,
        form=form or {},
    )


def _is_undone(row: Mapping[str, Any], done: Mapping[str, Reversed]) -> bool:
    """Whether nothing of an entry is left to take back: purchases may be refunded in part."""
    taken = done.get(str(row["id"]))
    return taken is not None and taken.amount_minor >= (row["purchase_amount_minor"] or 0)


def _is_given(program: Mapping[str, Any], operation: str) -> bool:
    """Whether this kind of program has it at all."""
    missing = {"stamp": "points", "earn": "stamps"}.get(operation)
    return bool(program["loyalty_type"] != missing)


@router.post("/app/cards/{card_id}/stamp")
async def stamp(card_id: UUID, desk: TheDesk) -> Response:
    """A stamp by hand, where the program asks for nobody's PIN."""

    async def act(form: Form) -> Response:
        given: dict[str, Any] = {"card": str(card_id), "count": whole(form.get("count") or "1")}
        return await stamps.stamp_card(stamps.StampRequest.model_validate(given), _till(desk, form, "earn"))

    return await _act(desk, card_id, "stamped", act)


@router.post("/app/cards/{card_id}/adjust")
async def adjust(card_id: UUID, desk: TheDesk) -> Response:
    async def act(form: Form) -> Response:
        given: dict[str, Any] = {"card": str(card_id), "reason": form.get("reason", "")}
        given |= {name: whole(text) for name, text in filled(form, "stamps_delta", "points_delta").items()}
        return await adjustments.adjust_balance(
            adjustments.AdjustmentRequest.model_validate(given), _till(desk, form, "adjust")
        )

    return await _act(desk, card_id, "adjusted", act)


@router.post("/app/cards/{card_id}/entries/{entry_id}/take-back")
async def take_back(card_id: UUID, entry_id: UUID, desk: TheDesk) -> Response:
    """An entry, with all that is left of it."""
    desk.needs("reverse")

    async def act(form: Form) -> Response:
        if (await desk.parts.reader.entry(entry_id, desk.caller.vendor_id)).stream_id != card_id:
            raise EntryNotFound
        asked = api_entries.ReversalRequest.model_validate({"reason": form.get("reason", "")})
        return await api_entries.reverse_entry(entry_id, asked, _till(desk, form, "reverse"))

    return await _act(desk, card_id, "taken-back", act, str(entry_id))


@router.post("/app/cards/{card_id}/customer")
async def correct_customer(card_id: UUID, desk: TheDesk) -> Response:
    """What is known of the holder, on all their cards: of this card's details, those that were changed in the form."""
    desk.needs("cards")

    async def act(form: Form) -> Response:
        card = await desk.parts.ledger.cards.look_up(CardReference(str(card_id)), desk.caller.vendor_id)
        given = {
            name: text or None
            for name in DETAILS
            if (text := form.get(name, "").strip()) != form.get(f"was-{name}", "") and name in form
        }
        asked = api_customers.DetailsRequest.model_validate(given)
        key = form.get("once") if ONCE.fullmatch(form.get("once", "")) else None
        return await api_customers.corrected(desk.request, desk.parts, card["customer_id"], asked, desk.caller, key)

    return await _act(desk, card_id, "corrected", act, "customer")


@router.post("/app/cards/{card_id}/life/{action}")
async def change_life(card_id: UUID, action: api_cards.Life, desk: TheDesk) -> Response:
    """Suspend, reinstate, close or replace. A replaced card leads to the new one."""
    assert action in get_args(api_cards.Life)
    desk.needs("cards")
    form = await read_form(desk.request)
    try:
        asked = api_cards.ReasonRequest.model_validate({"reason": form.get("reason", "")})
        command = getattr(desk.parts.ledger.cards, action)
        outcome = await command(CardReference(str(card_id)), reason=asked.reason, caller=desk.caller)
    except (ValidationError, Refused) as error:
        return await _card_page(desk, card_id, desk.what_is_wrong(error), {**form, "action": action})
    there = facts(outcome)["id"] if action == "replace" else card_id
    return to(f"/app/cards/{there}", done=DONE[action])


async def _act(
    desk: Desk, card_id: UUID, done: str, act: Callable[[Form], Awaitable[Response]], action: str = ""
) -> Response:
    """The card's page, once it tells of what was done; or what is wrong with the form, which is named by `action`."""
    form = await read_form(desk.request)
    try:
        answer = await act(form)
    except (ValidationError, Refused) as error:
        return await _card_page(desk, card_id, desk.what_is_wrong(error), {**form, "action": action})
    parts = desk.parts
    await parts.waiter.wait_for(
        int(answer.headers.get("X-Ledger-Position", 0)), timeout_seconds=parts.settings.min_position_wait_seconds
    )
    return to(f"/app/cards/{card_id}", done=done)


def _till(desk: Desk, form: Form, scope: str) -> Till:
    """The form asks once, however often it is sent."""
    desk.needs(scope)
    key = form.get("once", "")
    key = key if ONCE.fullmatch(key) else str(new_id())
    return Till(desk.request, desk.parts, desk.caller, key, None, None, is_dry_run=False)


# ------------------------------------------------------------------ words


async def programs_of(desk: Desk) -> dict[str, str]:
    """Names by id."""
    rows = await loyalty_programs.list_programs(
        desk.parts.reader, now=utc_now(), vendor_id=desk.caller.vendor_id, limit=CHOICES_MAX
    )
    return {str(row["id"]): row["name"] for row in rows}


def grouped(number: str) -> str:
    return " ".join(number[i : i + 4] for i in range(0, len(number), 4))


def balance(card: Mapping[str, Any], desk: Desk) -> str:
    """What a card holds, in words: `7 of 10 stamps`, `120 points`."""
    words, said = desk.words, []
    if card["stamps_target"] is not None:
        said.append(
            words.text(
                "{held} of {target} stamps", held=words.number(card["stamp_count"]), target=card["stamps_target"]
            )
        )
    if card["stamps_target"] is None or card["points_balance"]:
        points = card["points_balance"]
        said.append(words.count("{count} point", "{count} points", points))
    return ", ".join(said)
