"""A card's page for whoever checks it: its history, the card at any version, and whether the history holds.

Auditors and administrators see every card; a vendor sees its own, of which the API tells it everything here too.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import HTMLResponse, Response

from api.decisions import tell_decision
from api.dependencies import AnyPrincipal, TheParts, TheReader, VendorWith
from api.pages.card_story import Line, difference, lines, newest_first, refused
from api.pages.customer.showing import places
from api.pages.frame import accent_address, language_of, page
from api.pages.routing import PageRoute
from api.pages.words import STATUSES, Words
from ledger.commands.caller import utc_now
from ledger.commands.references import CardReference
from ledger.decision import Stream
from ledger.errors import EntryNotFound
from ledger.program import Program, target_in_force
from ledger.reader import Reader
from projections import refusals, staff_pins
from projections.proofs.card_history import Checked, Doubt, History, doubts, read_history, verify_card
from projections.proofs.sealing_keys import SealingRefused
from projections.proofs.verify_statement import Kind

router = APIRouter(route_class=PageRoute, include_in_schema=False)
log = structlog.get_logger("api.pages.audit_card")

LINES_PER_PAGE = 50
REFUSALS_MAX = 200
STAFF_MAX = 200
Version = Annotated[int | None, Query(ge=1, le=2**31)]

FAULTS = {
    Kind.WRONG_KEY: "Nothing leads from the key in force to those that signed.",
    Kind.KEY_CHAIN: "A key is not signed by itself and by the one before.",
    Kind.CHECKPOINT: "The newest checkpoint, or its signature, is not right.",
    Kind.PAYLOAD: "The bytes of an event were changed.",
    Kind.ORDER: "The events are in another order than they were recorded in.",
    Kind.MISSING: "An event is missing, and later ones are there.",
    Kind.CHAIN: "An event does not follow the one before it.",
    Kind.INCLUSION: "An event is not in the signed tree: the history was written anew.",
    Kind.BALANCE: "The events do not add up to the balances they state.",
}
OTHER_FAULT = "The statement of this card does not hold."
DOUBTS = {
    "changed": "Version {version} is not what was recorded.",
    "unlinked": "Version {version} does not follow the one before it.",
    "missing": "Version {version} is missing.",
    "added": "Version {version} was put in from outside.",
}
SENTENCES = (*FAULTS.values(), OTHER_FAULT, *DOUBTS.values())


async def whose(request: Request, principal: AnyPrincipal) -> UUID | None:
    """The vendor whose cards may be seen; None: everybody's. Raises: ScopeMissing, as the API's events do."""
    if principal.kind != "api_key":
        return None
    return VendorWith("read").caller(request, principal, None).vendor_id


Whose = Annotated[UUID | None, Depends(whose)]


@dataclass(frozen=True, slots=True)
class Looked:
    """A card as it is looked at, with everything that is told of it."""

    stream: Stream
    program: Stream
    history: History
    doubts: Mapping[int, Doubt]
    lines: Sequence[Line]
    staff: Mapping[UUID, str]  # What the shop calls them, by the id of their PIN.
    words: Words
    zone: str

    @property
    def newest(self) -> int:
        return self.lines[-1].version or 1 if self.lines else 1

    def at(self, version: int) -> Line | None:
        return next((line for line in self.lines if line.version == version), None)


async def _look(request: Request, reader: Reader, card_id: UUID, vendor_id: UUID | None) -> Looked:
    """Raises: CardNotFound."""
    reference = CardReference(str(card_id))
    view = await reader.view(reference.streams)
    stream = reference.find(view, vendor_id)
    program = view.stream(stream.parent_id) if stream.parent_id else None
    assert program is not None and stream.vendor_id is not None, "a card has a program, and both a vendor"
    history, words = await read_history(reader, card_id), Words(language_of(request.scope))
    pins = await staff_pins.list_pins(reader, stream.vendor_id, limit=STAFF_MAX)
    staff = {pin["id"]: pin["staff_id"] for pin in pins}
    # A long history is work for a thread: tills go on meanwhile.
    found = await asyncio.to_thread(doubts, history)
    told = await asyncio.to_thread(lines, words, history, found, staff)
    zone = program.state.rules_at(utc_now()).timezone
    return Looked(stream, program, history, found, told, staff, words, zone)


@router.get("/audit/cards/{card_id}")
async def show_card(
    request: Request,
    card_id: UUID,
    vendor_id: Whose,
    parts: TheParts,
    version: Version = None,
    against: Version = None,
    before: Version = None,
    verify: bool = False,
) -> HTMLResponse:
    """The whole page: the card at `version`, its history below `before`, and on request the server's verification."""
    looked = await _look(request, parts.reader, card_id, vendor_id)
    checked, refusal = None, None
    if verify:
        try:
            checked = await verify_card(parts.reader, parts.settings.sealing_key_path, looked.history, utc_now())
        except SealingRefused as refused_:
            log.warning("no-statement", error=str(refused_))
            refusal = looked.words.text("Nothing can be verified at the moment: no statement can be signed.")
    shown, older = await _page_of(parts.reader, looked, before)
    branding = looked.program.state.branding
    return page(
        request,
        "audit/card.html",
        accent=accent_address(branding.card_color, branding.card_secondary_color),
        looked=looked,
        is_vendor=vendor_id is not None,
        lines=shown,
        older=older,
        before=before,
        replay=await _replayed(looked, parts.reader, vendor_id, version, against),
        alarm=_doubts_told(looked, looked.doubts),
        checked=checked,
        verdict=[] if checked is None else _verdict(looked, checked),
        no_verdict=refusal,
        **_drawn(looked.words),
        statement=f"/api/v1/{'vendor' if vendor_id else 'admin'}/loyalty/cards/{card_id}/statement",
    )


@router.get("/audit/cards/{card_id}/replay")
async def show_replay(
    request: Request,
    card_id: UUID,
    vendor_id: Whose,
    reader: TheReader,
    version: Version = None,
    against: Version = None,
) -> HTMLResponse:
    """The part of the page that changes with the slider."""
    looked = await _look(request, reader, card_id, vendor_id)
    return page(
        request,
        "audit/replay.html",
        **_drawn(looked.words),
        looked=looked,
        replay=await _replayed(looked, reader, vendor_id, version, against),
    )


@router.get("/audit/cards/{card_id}/decisions/{decision_id}")
async def show_decision(
    request: Request, card_id: UUID, decision_id: UUID, vendor_id: Whose, reader: TheReader
) -> Response:
    """Why something was refused, or accepted. Raises: EntryNotFound, also where it is about another card."""
    looked = await _look(request, reader, card_id, vendor_id)
    decision = await _decision(reader, looked, decision_id, vendor_id)
    if decision["card_id"] != card_id:
        raise EntryNotFound
    return page(request, "audit/decision.html", looked=looked, decision=decision, is_vendor=vendor_id is not None)


async def _decision(reader: Reader, looked: Looked, decision_id: UUID, vendor_id: UUID | None) -> dict[str, Any]:
    """As the API tells it; what only refusals have is None for others."""
    told = await tell_decision(reader, decision_id, vendor_id=vendor_id, accept_language=looked.words.language)
    return {"title": None, "retry_at": None, **told}


def _drawn(words: Words) -> dict[str, Any]:
    return {"statuses": {status: words.text(text) for status, text in STATUSES.items()}}


async def _page_of(reader: Reader, looked: Looked, before: int | None) -> tuple[list[Line], int | None]:
    """Events below a version with the refusals between them, newest first, and where the next page begins."""
    end = len(looked.lines) if before is None else sum((line.version or 0) < before for line in looked.lines)
    shown = list(looked.lines[max(end - LINES_PER_PAGE, 0) : end])
    after = looked.lines[end].recorded_at if end < len(looked.lines) else None
    is_last = end <= LINES_PER_PAGE
    since = None if is_last or not shown else shown[0].recorded_at
    found = await refusals.list_refusals(
        reader, card_id=looked.stream.stream_id, start=since, end=after, limit=REFUSALS_MAX
    )
    merged = newest_first(shown, [refused(looked.words, one, looked.staff) for one in found])
    return merged, None if is_last else shown[0].version


async def _replayed(
    looked: Looked, reader: Reader, vendor_id: UUID | None, version: int | None, against: int | None
) -> dict[str, Any]:
    """The card at one version, and what is different from another one: the one before, unless asked otherwise."""
    version = min(version or looked.newest, looked.newest)
    against = max(min(version - 1 if against is None else against, looked.newest), 0)
    line, other = looked.at(version), looked.at(against)
    card = None if line is None else line.after
    compared = card is not None and (against == 0 or (other is not None and other.after is not None))
    decision = None
    if line is not None and line.decision_id is not None and not looked.doubts:
        with contextlib.suppress(EntryNotFound):  # It was decided elsewhere, or by nobody.
            decision = await _decision(reader, looked, line.decision_id, vendor_id)
    face = None if card is None or line is None else _face(looked.program.state, line)
    return {
        "version": version,
        "against": against,
        "line": line,
        "card": card,
        "face": face,
        "places": None if face is None else places(face),
        "difference": difference(looked.words, other.after if other else None, card, looked.zone)
        if compared and card is not None
        else None,
        "decision": decision,
    }


def _face(program: Program, line: Line) -> dict[str, Any]:
    """What is drawn of the card, by the rules that were in force for it then."""
    assert line.after is not None and line.recorded_at is not None
    target = target_in_force(
        program.targets,
        program.rules_at(line.recorded_at),
        cycle_version=line.after.cycle_version,
        now=line.recorded_at,
    )
    return {"stamps_target": target, "stamp_count": line.after.stamps, "points_balance": line.after.points}


def _doubts_told(looked: Looked, found: Mapping[int, Doubt]) -> list[str]:
    """The first version that does not hold, and how; empty where all do."""
    return [looked.words.text(DOUBTS[doubt], version=version) for version, doubt in list(found.items())[:1]]


def _verdict(looked: Looked, checked: Checked) -> list[str]:
    """What the server's verification found wrong, the first bad version first."""
    told = _doubts_told(looked, checked.doubts)
    if checked.fault is not None:
        told.append(looked.words.text(FAULTS.get(checked.fault.kind, OTHER_FAULT)))
    return told
