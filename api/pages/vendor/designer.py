"""The designer of a program: a form, and beside it the phone as the wallets will show it.

What the phone shows is made by the same functions as the passes, out of what the form says, by the program's own rules.
"""

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from io import BytesIO
from typing import Any
from uuid import UUID

import segno
from fastapi import APIRouter
from markupsafe import Markup
from pydantic import ValidationError
from starlette.responses import Response

from api.currencies import exponent
from api.dependencies import Public, facts, once_for
from api.languages import LANGUAGES, Language, known
from api.pages.frame import accent_address
from api.pages.routing import PageRoute, read_form
from api.pages.vendor.cards import ONCE
from api.pages.vendor.desk import FINE, Desk, Form, TheDesk, Wrong, filled, to, whole
from api.pages.words import NAMES
from api.vendor.programs import ProgramPatch, ProgramRequest, change_program
from api.wallets import pass_texts
from ledger import program as programs
from ledger.commands import answers
from ledger.commands.caller import utc_now
from ledger.decision import Stream
from ledger.errors import Refused
from ledger.ids import derived, new_id
from ledger.program import Branding, Program, Rules
from projections import loyalty_programs
from wallet_sync.colours import SHAPE_CONTRAST_MIN, contrast, palette, parsed
from wallet_sync.pass_content import PassContent, pass_content
from wallet_sync.pass_strip import marks, strip

router = APIRouter(dependencies=[Public], route_class=PageRoute, include_in_schema=False)

REWARDS_SHOWN = 5
SHOWN_MAX = 200
TYPES = (("stamps", "Stamps"), ("points", "Points"), ("hybrid", "Stamps and points"))
TEXTS = (
    "name",
    "card_name",
    "stamps_reward_description",
    "terms_text",
    "privacy_url",
    "card_color",
    "card_secondary_color",
)
NUMBERS = ("stamps_target", "cooldown_minutes", "max_daily_stamps", "max_stamps_per_scan")
STARTS: dict[str, str] = {
    "loyalty_type": "stamps",
    "name": "",
    "stamps_target": "10",
    "card_color": "#1f3a52",
    "card_secondary_color": "#f2c14e",
    "cooldown_minutes": "15",
    "max_daily_stamps": "5",
    "max_stamps_per_scan": "1",
    "rate_points": "1",
    "rate_money": "1",
    "require_staff_pin": "yes",
}


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
            {"loyalty_type": form.get("loyalty_type", ""), **_asked(form, desk.vendor["currency"])}
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
        return await _designer(desk, None, form, _beside(desk.what_is_wrong(error)))
    return to(f"/app/programs/{facts(outcome)['id']}", done="published")


@router.post("/app/programs/{program_id}")
async def publish(program_id: UUID, desk: TheDesk) -> Response:
    """What differs becomes a new version, unless somebody else published another one meanwhile."""
    desk.needs("programs")
    form = await read_form(desk.request)
    program = await desk.parts.ledger.programs.find(program_id, desk.caller.vendor_id)
    try:
        asked = ProgramPatch.model_validate(_changed(form, program))
        await change_program(program_id, asked, desk.caller, _version(form), desk.parts.ledger)
    except (ValidationError, Refused) as error:
        return await _designer(desk, program, form, _beside(desk.what_is_wrong(error)))
    return to(f"/app/programs/{program_id}", done="published")


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


async def _designer(desk: Desk, program: Mapping[str, Any] | None, form: Form, wrong: Wrong = FINE) -> Response:
    return desk.page(
        "designer.html",
        wrong=wrong,
        program=program,
        form={"language": desk.language, **form},
        types=[(code, desk.words.text(name)) for code, name in TYPES],
        languages=[(code, NAMES[code]) for code in LANGUAGES],
        currency=program["currency"] if program else desk.vendor["currency"],
        rewards=range(REWARDS_SHOWN),
        phone=await phone(desk, form),
        can_change="programs" in desk.caller.may,
    )


# ------------------------------------------------------------------ the form


def form_of(program: Mapping[str, Any]) -> dict[str, str]:
    """What the form says of a program as it is."""
    said = {name: program[name] for name in (*TEXTS, *NUMBERS, "loyalty_type", "version", "minimum_purchase_minor")}
    form = {name: "" if value is None else str(value) for name, value in said.items()}
    form |= _colors_of(program)
    form["require_staff_pin"] = "yes" if program["require_staff_pin"] else ""
    if program["earn_rate"] is not None:
        form["rate_points"] = str(program["earn_rate"]["points"])
        form["rate_money"] = _major(program["earn_rate"]["per_minor"], program["currency"])
    for number, reward in enumerate(program["points_rewards"][:REWARDS_SHOWN]):
        form[f"reward-{number}-id"] = str(reward["id"])
        form[f"reward-{number}-name"] = reward["name"]
        form[f"reward-{number}-points"] = str(reward["points_cost"])
    return form


def _colors_of(program: Mapping[str, Any]) -> dict[str, str]:
    """The colours of the card: where none was chosen, those it has by itself."""
    own = palette(program["card_color"], program["card_secondary_color"])
    return {
        "card_color": program["card_color"] or f"#{bytes(own.background).hex()}",
        "card_secondary_color": program["card_secondary_color"] or f"#{bytes(own.accent).hex()}",
    }


def _changed(form: Form, program: Mapping[str, Any]) -> dict[str, Any]:
    """What the form asks of a program there is. What it does not show stays: more rewards, what they are worth."""
    given = _asked({**form, "loyalty_type": program["loyalty_type"]}, program["currency"])
    for name, shown in _colors_of(program).items():
        if program[name] is None and given.get(name) == shown:
            del given[name]
    if "points_rewards" in given:
        worth = {str(reward["id"]): reward["value_minor"] for reward in program["points_rewards"]}
        given["points_rewards"] = [
            *({**reward, "value_minor": worth.get(reward.get("id", ""))} for reward in given["points_rewards"]),
            *({**reward, "id": str(reward["id"])} for reward in program["points_rewards"][REWARDS_SHOWN:]),
        ]
    return given


def _asked(form: Form, currency: str) -> dict[str, Any]:
    """The API's request body that the form means; what belongs to another kind of program is left out."""
    kind = form.get("loyalty_type", "")
    given: dict[str, Any] = dict(filled(form, *TEXTS))
    given |= {name: whole(text) for name, text in filled(form, *NUMBERS).items()}
    given["require_staff_pin"] = form.get("require_staff_pin") == "yes"
    if kind == "points":
        for name in ("stamps_target", "stamps_reward_description"):
            given.pop(name, None)
    else:
        given.setdefault("stamps_target", None)
    if kind in ("points", "hybrid"):
        given["earn_rate"] = {
            "points": whole(form.get("rate_points")),
            "per_minor": _minor(form.get("rate_money", ""), currency),
        }
        given["points_rewards"] = [
            {
                "name": name,
                "points_cost": whole(form.get(f"reward-{n}-points")),
                **_known(form.get(f"reward-{n}-id", "")),
            }
            for n in range(REWARDS_SHOWN)
            if (name := form.get(f"reward-{n}-name", "").strip())
        ]
    return given


def _known(reward_id: str) -> dict[str, str]:
    return {"id": reward_id} if reward_id else {}


def _beside(wrong: Wrong) -> Wrong:
    """The API's names of fields as the form has them."""
    names = {"earn_rate": "rate_money", "earn_rate.points": "rate_points", "earn_rate.per_minor": "rate_money"}
    fields = {}
    for name, sentence in wrong.fields.items():
        if name.startswith("points_rewards."):
            _, number, part = (name + ".name").split(".")[:3]
            fields[f"reward-{number}-{'points' if part == 'points_cost' else 'name'}"] = sentence
        else:
            fields[names.get(name, name)] = sentence
    return replace(wrong, fields=fields)


def _version(form: Form) -> int | None:
    text = form.get("version", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _major(minor: int, currency: str) -> str:
    digits = exponent(currency)
    text = f"{minor / 10**digits:.{digits}f}"
    return text.rstrip("0").rstrip(".") if digits else text


def _minor(text: str, currency: str) -> Any:
    """Minor units of what somebody wrote with a point or a comma; what is no amount stays text."""
    digits = exponent(currency)
    head, _, tail = text.strip().replace(",", ".").partition(".")
    if not (head.isascii() and head.isdigit() and len(head) < 10 and len(tail) <= digits):
        return text or None
    if tail and not (tail.isascii() and tail.isdigit()):
        return text
    return int(head + tail.ljust(digits, "0"))


# ------------------------------------------------------------------ the phone


async def phone(desk: Desk, form: Form) -> dict[str, Any]:
    """The front and back of a card half full, as wallets show it, and whether its colours can be told apart."""
    language = known(form.get("language", "")) or desk.language
    program = _program(desk, form)
    content = pass_content(
        _card(program),
        program,
        pass_texts(),
        merchant=desk.vendor["name"],
        issuer=desk.parts.settings.apple_contact or desk.parts.settings.public_url,
    )
    colors = palette(content.color, content.secondary_color)
    pictures = await asyncio.to_thread(_pictures, content)
    return {
        "content": content,
        "said": _said(content, language),
        "language": language,
        "sheet": accent_address(content.color, content.secondary_color),
        "is_faint": _is_faint(content, colors.background),
        "code": Markup(_code(content.barcode or "")),
        **pictures,
    }


def _pictures(content: PassContent) -> dict[str, str | None]:
    colors = palette(content.color, content.secondary_color)
    drawn = strip(colors, content.progress)["strip@2x.png"] if content.progress else None
    return {"strip": _data(drawn), "logo": _data(marks(colors)["logo@2x.png"])}


def _data(picture: bytes | None) -> str | None:
    return None if picture is None else "data:image/png;base64," + b64encode(picture).decode()


def _said(content: PassContent, language: Language) -> dict[str, Any]:
    """The lines in one language. A value that is a sentence of ours is told in it too."""
    texts = content.texts[language]
    return {
        "balance": (texts[content.balance.label], content.balance.value),
        "front": [(texts[line.label], texts.get(line.value, line.value)) for line in content.front],
        "back": [(texts[line.label], line.value) for line in content.back],
    }


def _is_faint(content: PassContent, background: Any) -> bool:
    """Whether the stamps' colour has to be moved to be seen on the card."""
    if not content.secondary_color:
        return False
    return contrast(parsed(content.secondary_color), background) < SHAPE_CONTRAST_MIN


def _program(desk: Desk, form: Form) -> dict[str, Any]:
    """The program that the form means, as far as it makes sense yet; never recorded."""
    now = utc_now()
    given = _asked(form, desk.vendor["currency"])
    kind = form.get("loyalty_type", "stamps")
    for _ in range(len(given) + 1):
        try:
            asked = ProgramRequest.model_validate(
                {"loyalty_type": kind if kind in dict(TYPES) else "stamps", **given, "name": given.get("name") or "…"}
            )
            break
        except ValidationError as error:
            # What does not fit is left out until it does: the rest is shown meanwhile.
            for one in error.errors(include_url=False, include_input=False):
                given.pop(str(one["loc"][0]), None)
    rules = asked.rules(Rules(1, now, desk.vendor["timezone"]))
    if asked.loyalty_type != "points" and rules.stamps_target is None:
        rules = replace(rules, stamps_target=10)
    return answers.program(_stream(asked, rules, desk, now), now)


def _stream(asked: ProgramRequest, rules: Rules, desk: Desk, now: datetime) -> Stream:
    rewards = [reward.reward(new_id()) for reward in asked.points_rewards or []]
    created = programs.ProgramCreated(
        now, asked.loyalty_type, desk.vendor["currency"], rules, asked.branding(Branding(asked.name))
    )
    state: Program = programs.evolve(None, created)
    return Stream(new_id(), "program", desk.caller.vendor_id, None, 1, "", replace(state, rewards=tuple(rewards)))


def _card(program: Mapping[str, Any]) -> dict[str, Any]:
    """A card in the middle of its life."""
    target, costs = program["stamps_target"], [reward["points_cost"] for reward in program["points_rewards"]]
    return {
        "status": "active",
        "stamp_count": None if target is None else max(1, target * 6 // 10),
        "stamps_target": target,
        "points_balance": min(costs, default=100) * 6 // 10 if program["loyalty_type"] != "stamps" else 0,
        "rewards_available": 0,
        "card_number": "927826510269",
        "qr_code_data": "preview",
        "customer": {"name": "Anna"},
    }


def _code(text: str) -> str:
    written = BytesIO()
    segno.make_qr(text, error="m").save(written, kind="svg", border=0, xmldecl=False, svgns=True, omitsize=True)
    return written.getvalue().decode()
