"""The phone beside the designer: the card as wallets will show it, out of what the form says at the moment."""

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from io import BytesIO
from typing import Any

import segno
from markupsafe import Markup
from msgspec.structs import replace
from pydantic import ValidationError

from api.languages import Language, known
from api.pages.frame import accent_address
from api.pages.vendor.desk import Desk, Form
from api.pages.vendor.program_form import asked_of
from api.vendor.programs import ProgramRequest
from api.wallets import pass_texts
from ledger import program as programs
from ledger.commands import answers
from ledger.commands.caller import utc_now
from ledger.decision import Stream
from ledger.ids import new_id
from ledger.program import Branding, Program, Rules
from wallet_sync.colours import SHAPE_CONTRAST_MIN, contrast, palette, parsed
from wallet_sync.pass_content import TITLE, PassContent, pass_content
from wallet_sync.pass_strip import marks, strip

TYPES = (("stamps", "Stamps"), ("points", "Points"), ("hybrid", "Stamps and points"))


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
    """Title and lines in one language: the labels are ours, the values the shop's."""
    texts, values = content.texts[language], {**content.values, **content.words.get(language, {})}
    return {
        "title": values[TITLE],
        "balance": (texts[content.balance.label], content.balance.value),
        "front": [(texts[line.label], values[line.key]) for line in content.front],
        "back": [(texts[line.label], values[line.key]) for line in content.back],
    }


def _is_faint(content: PassContent, background: Any) -> bool:
    """Whether the stamps' colour has to be moved to be seen on the card."""
    if not content.secondary_color:
        return False
    return contrast(parsed(content.secondary_color), background) < SHAPE_CONTRAST_MIN


def _program(desk: Desk, form: Form) -> dict[str, Any]:
    """The program that the form means, as far as it makes sense yet; never recorded."""
    now = utc_now()
    given = asked_of(form, desk.vendor["currency"])
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
