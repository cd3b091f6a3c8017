"""The designer of a program: a form, and beside it the phone as the wallets will show it.

What the phone shows is made by the same functions as the passes, out of what the form says, by the program's own rules.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from markupsafe import Markup
from pydantic import ValidationError
from starlette.responses import Response

from api.dependencies import Public, facts, once_for
from api.languages import LANGUAGES
from api.pages.routing import PageRoute, read_form
from api.pages.vendor.cards import ONCE
from api.pages.vendor.desk import FINE, Desk, Form, TheDesk, Wrong, to
from api.pages.vendor.preview import TYPES, phone
from api.pages.vendor.program_form import REWARDS_SHOWN, STARTS, asked_of, beside, changed, form_of, version
from api.pages.words import NAMES
from api.vendor.programs import ProgramPatch, ProgramRequest, change_program
from ledger.commands.caller import utc_now
from ledger.errors import InvalidValue, Refused, VersionMismatch
from ledger.ids import derived, new_id
from ledger.program import Branding, Rules
from projections import loyalty_programs
from wallet_sync.colours import palette

router = APIRouter(dependencies=[Public], route_class=PageRoute, include_in_schema=False)

SHOWN_MAX = 200
ASKED_FOR = {"name": "A name, which they may leave out", "email": "An email address", "phone": "A phone number"}
REVERSAL_POLICIES = (
    ("allow_negative", "The balance falls below nothing"),
    ("within_balance", "Only what is left is taken"),
    ("reject", "Nothing is taken, it is refused"),
)
MORE = ("reversal_policy", "raised_target", "wind_down_days")  # Shown when asked for, or when one is wrong.
RAISED_TARGETS = (
    ("grandfather", "Cards that were begun keep theirs until they are full"),
    ("immediate", "All cards need them at once"),
)


@router.get("/app/programs")
async def show_programs(desk: TheDesk) -> Response:
    desk.needs("read", "programs")
    rows = await loyalty_programs.list_programs(
        desk.parts.reader, now=utc_now(), vendor_id=desk.caller.vendor_id, limit=SHOWN_MAX
    )
    shown = [{**row, "kind": desk.words.text(dict(TYPES)[row["loyalty_type"]]), "sheet": _swatch(row)} for row in rows]
    return desk.page("programs.html", programs=shown)


def _swatch(row: Mapping[str, Any]) -> Markup:
    """The card's colours as a small drawing: pages carry no style of their own."""
    colors = palette(row["card_color"], row["card_secondary_color"])
    ground, stamp = (f"#{bytes(color).hex()}" for color in (colors.background, colors.accent))
    return Markup(
        '<svg class="swatch" viewBox="0 0 60 38" width="60" height="38" aria-hidden="true" focusable="false">'
        '<rect width="60" height="38" rx="7" fill="{}"/><circle cx="16" cy="19" r="6" fill="{}"/>'
        '<circle cx="32" cy="19" r="6" fill="{}"/></svg>'
    ).format(ground, stamp, stamp)


@router.get("/app/programs/new")
async def show_new(desk: TheDesk) -> Response:
    desk.needs("programs")
    return await _designer(desk, None, STARTS)


@router.get("/app/programs/{program_id}")
async def show_program(program_id: UUID, desk: TheDesk) -> Response:
    desk.needs("read", "programs")
    program = await desk.parts.ledger.programs.find(program_id, desk.caller.vendor_id)
    return await _designer(desk, program, form_of(program))


@router.post("/app/programs/preview")
async def preview(desk: TheDesk) -> Response:
    """The phone for what the form says at the moment, while somebody types."""
    desk.needs("read", "programs")
    form = await read_form(desk.request)
    return desk.page("phone.html", phone=await phone(desk, form))


@router.post("/app/programs/new")
async def create(desk: TheDesk) -> Response:
    desk.needs("programs")
    form = await read_form(desk.request)
    try:
        asked = ProgramRequest.model_validate(
            {"loyalty_type": form.get("loyalty_type", ""), **asked_of(form, desk.vendor["currency"])}
        )
        key = form["once"] if ONCE.fullmatch(form.get("once", "")) else str(new_id())
        once = once_for(desk.request, desk.caller.vendor_id, key, asked)
        outcome = await desk.parts.ledger.programs.create(
            loyalty_type=asked.loyalty_type,
            currency=asked.currency,
            timezone=asked.timezone,
            rules=lambda now, zone: asked.rules(Rules(1, now, zone)),
            branding=asked.branding(Branding(asked.name)),
            rewards=[r.reward(derived("reward", once.command_id, n)) for n, r in enumerate(asked.points_rewards or [])],
            is_active=asked.is_active,
            caller=desk.caller,
            once=once,
        )
    except (ValidationError, Refused) as error:
        return await _designer(desk, None, form, beside(desk.what_is_wrong(error), form))
    return to(f"/app/programs/{facts(outcome)['id']}", done="published")


@router.post("/app/programs/{program_id}")
async def publish(program_id: UUID, desk: TheDesk) -> Response:
    """What differs becomes a new version, unless somebody else published another one meanwhile."""
    desk.needs("programs")
    form = await read_form(desk.request)
    program = await desk.parts.ledger.programs.find(program_id, desk.caller.vendor_id)
    try:
        if form.get("rules_version", "") != str(program["rules_version"]):
            raise VersionMismatch(version=program["version"])  # Announced rules came into force while it was filled in.
        asked = ProgramPatch.model_validate(changed(form, program))
        if asked.effective_from is not None and asked.effective_from < utc_now():
            raise InvalidValue(field="effective_from", why="lies in the past")
        await change_program(program_id, asked, desk.caller, version(form), desk.parts.ledger)
    except (ValidationError, Refused) as error:
        return await _designer(desk, program, form, beside(desk.what_is_wrong(error), form))
    after = await desk.parts.ledger.programs.find(program_id, desk.caller.vendor_id)
    is_announced = len(after["pending_rules"]) > len(program["pending_rules"])
    return to(f"/app/programs/{program_id}", done="announced" if is_announced else "published")


@router.post("/app/programs/{program_id}/activate")
async def activate(program_id: UUID, desk: TheDesk) -> Response:
    desk.needs("programs")
    await desk.parts.ledger.programs.activate(program_id, caller=desk.caller)
    return to(f"/app/programs/{program_id}", done="activated")


@router.post("/app/programs/{program_id}/deactivate")
async def deactivate(program_id: UUID, desk: TheDesk) -> Response:
    desk.needs("programs")
    await desk.parts.ledger.programs.deactivate(program_id, caller=desk.caller)
    return to(f"/app/programs/{program_id}", done="deactivated")


def _announced(program: Mapping[str, Any], desk: Desk) -> list[dict[str, Any]]:
    """Versions whose day is to come. Of two for one moment, the later one holds."""
    versions = {rules["effective_from"]: rules["version"] for rules in program["pending_rules"]}
    return [
        {"version": version, "begins": desk.words.moment(begins, program["timezone"])}
        for begins, version in versions.items()
    ]


async def _designer(desk: Desk, program: Mapping[str, Any] | None, form: Form, wrong: Wrong = FINE) -> Response:
    return desk.page(
        "designer.html",
        wrong=wrong,
        program=program,
        form={"language": desk.language, **form},
        types=[(code, desk.words.text(name)) for code, name in TYPES],
        languages=[(code, NAMES[code]) for code in LANGUAGES],
        wrong_in={name.partition("-")[0] for name in wrong.fields},
        others=[(code, NAMES[code]) for code in desk.vendor["languages"][1:]],
        currency=program["currency"] if program else desk.vendor["currency"],
        more_is_wrong=not wrong.fields.keys().isdisjoint(MORE),
        announced=_announced(program, desk) if program else [],
        asked_for=[(name, desk.words.text(label)) for name, label in ASKED_FOR.items()],
        reversal_policies=[(code, desk.words.text(said)) for code, said in REVERSAL_POLICIES],
        raised_targets=[(code, desk.words.text(said)) for code, said in RAISED_TARGETS],
        rewards=range(REWARDS_SHOWN),
        phone=await phone(desk, form),
        can_change="programs" in desk.caller.may,
    )
