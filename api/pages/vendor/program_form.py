"""What the designer's form says: a program as its fields, and the fields as the API's request body."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from api.currencies import exponent
from api.languages import LANGUAGES, Language
from api.pages.vendor.desk import Form, Wrong, filled, whole
from api.pages.words import NAMES
from wallet_sync.colours import palette

REWARDS_SHOWN = 5
WORDS = ("card_name", "stamps_reward_description", "terms_text", "privacy_url", "logo_url")  # Empty, there are none.
TEXTS = ("name", "card_color", "card_secondary_color", "reversal_policy", "raised_target")
TRANSLATED = ("card_name", "stamps_reward_description", "terms_text")  # `fr-card_name` is the French one.
NUMBERS = ("stamps_target", "cooldown_minutes", "max_daily_stamps", "max_stamps_per_scan", "wind_down_days")
ASKED_FOR = ("name", "email", "phone")  # `asks-name` is ticked where customers are asked for it.
REWARD_FIELDS = {"points_cost": "points", "value_minor": "value"}
OF_STAMPS = ("stamps_target", "stamps_reward_description", "stamps_reward_value_minor", "raised_target")
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
    "asks-name": "yes",
    "reversal_policy": "allow_negative",
    "raised_target": "grandfather",
    "wind_down_days": "90",
}


def form_of(program: Mapping[str, Any]) -> dict[str, str]:
    """What the form says of a program as it is."""
    said = {name: program[name] for name in (*WORDS, *TEXTS, *NUMBERS, "loyalty_type", "version", "rules_version")}
    form = {name: "" if value is None else str(value) for name, value in said.items()}
    form |= _colors_of(program)
    form["require_staff_pin"] = "yes" if program["require_staff_pin"] else ""
    form |= {f"asks-{name}": "yes" for name in program["enrolment_fields"]}
    worth, least = program["stamps_reward_value_minor"], program["minimum_purchase_minor"]
    form["stamps_reward_value"] = "" if worth is None else _major(worth, program["currency"])
    form["minimum_purchase"] = _major(least, program["currency"]) if least else ""
    if program["earn_rate"] is not None:
        form["rate_points"] = str(program["earn_rate"]["points"])
        form["rate_money"] = _major(program["earn_rate"]["per_minor"], program["currency"])
    for number, reward in enumerate(program["points_rewards"][:REWARDS_SHOWN]):
        form[f"reward-{number}-id"] = str(reward["id"])
        form[f"reward-{number}-name"] = reward["name"]
        form[f"reward-{number}-points"] = str(reward["points_cost"])
        worth = reward["value_minor"]
        form[f"reward-{number}-value"] = "" if worth is None else _major(worth, program["currency"])
        form |= {f"{language}-reward-{number}-name": said["name"] for language, said in reward["translations"].items()}
    for language, words in program["translations"].items():
        form |= {f"{language}-{name}": text for name, text in words.items()}
    return form


def _colors_of(program: Mapping[str, Any]) -> dict[str, str]:
    """The colours of the card: where none was chosen, those it has by itself."""
    own = palette(program["card_color"], program["card_secondary_color"])
    return {
        "card_color": program["card_color"] or f"#{bytes(own.background).hex()}",
        "card_secondary_color": program["card_secondary_color"] or f"#{bytes(own.accent).hex()}",
    }


def changed(form: Form, program: Mapping[str, Any]) -> dict[str, Any]:
    """What the form asks of a program there is. What that does not show stays, such as a sixth reward."""
    given = asked_of({**form, "loyalty_type": program["loyalty_type"]}, program["currency"])
    for name, shown in _colors_of(program).items():
        if program[name] is None and given.get(name) == shown:
            del given[name]
    if set(given["enrolment_fields"]) == set(program["enrolment_fields"]):
        del given["enrolment_fields"]
    given["translations"] = _not_shown(form, program) | given["translations"]
    if "points_rewards" in given:
        before = {str(reward["id"]): reward for reward in program["points_rewards"]}
        given["points_rewards"] = [
            *(_as_before(form, reward, before.get(reward.get("id", ""))) for reward in given["points_rewards"]),
            *({**reward, "id": str(reward["id"])} for reward in program["points_rewards"][REWARDS_SHOWN:]),
        ]
    if begins := form.get("effective_from", ""):
        given["effective_from"] = _moment(begins, program["timezone"])
    return given


def _moment(text: str, zone: str) -> str:
    """What a browser's field for a day and a time of day says, where the program is; else the text as it is."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).isoformat()
    except ValueError:
        return text


def _as_before(form: Form, reward: dict[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any]:
    if before is None:
        return reward
    translations = _not_shown(form, before) | reward["translations"]
    return {**reward, "translations": translations}


def _not_shown(form: Form, thing: Mapping[str, Any]) -> dict[str, Any]:
    shown = _languages(form)
    return {language: words for language, words in thing["translations"].items() if language not in shown}


def _languages(form: Form) -> list[Language]:
    """Those that the form has fields for, filled in or not."""
    return [language for language in LANGUAGES if f"{language}-{TRANSLATED[0]}" in form]


def asked_of(form: Form, currency: str) -> dict[str, Any]:
    """The API's request body that the form means; what belongs to another kind of program is left out."""
    kind, languages = form.get("loyalty_type", ""), _languages(form)
    given: dict[str, Any] = dict(filled(form, *TEXTS))
    given |= {name: form[name].strip() or None for name in WORDS if name in form}
    given |= {name: whole(text) for name, text in filled(form, *NUMBERS).items()}
    given["require_staff_pin"] = form.get("require_staff_pin") == "yes"
    given["enrolment_fields"] = [name for name in ASKED_FOR if form.get(f"asks-{name}") == "yes"]
    given["stamps_reward_value_minor"] = _minor(form.get("stamps_reward_value", ""), currency)
    given["translations"] = {
        language: {name: form.get(f"{language}-{name}", "") for name in TRANSLATED} for language in languages
    }
    if kind == "points":
        for name in OF_STAMPS:
            for words in (given, *given["translations"].values()):
                words.pop(name, None)
    else:
        given.setdefault("stamps_target", None)
    if kind in ("points", "hybrid"):
        given["earn_rate"] = {
            "points": whole(form.get("rate_points")),
            "per_minor": _minor(form.get("rate_money", ""), currency),
        }
        given["minimum_purchase_minor"] = _minor(form.get("minimum_purchase", ""), currency) or 0
        given["points_rewards"] = [
            {
                "name": name,
                "points_cost": whole(form.get(f"reward-{n}-points")),
                "value_minor": _minor(form.get(f"reward-{n}-value", ""), currency),
                "translations": {each: {"name": form.get(f"{each}-reward-{n}-name", "")} for each in languages},
                **_known(form.get(f"reward-{n}-id", "")),
            }
            for n in range(REWARDS_SHOWN)
            if (name := form.get(f"reward-{n}-name", "").strip())
        ]
    return given


def _known(reward_id: str) -> dict[str, str]:
    return {"id": reward_id} if reward_id else {}


def beside(wrong: Wrong, form: Form) -> Wrong:
    """The API's names of fields as the form has them; of a language that has no fields there, a sentence above all."""
    rows = [n for n in range(REWARDS_SHOWN) if form.get(f"reward-{n}-name", "").strip()]
    shown, sentence = _languages(form), wrong.sentence
    names = {
        "earn_rate": "rate_money",
        "earn_rate.points": "rate_points",
        "earn_rate.per_minor": "rate_money",
        "stamps_reward_value_minor": "stamps_reward_value",
        "minimum_purchase_minor": "minimum_purchase",
        "enrolment_fields": "asks",
    }
    fields = {}
    for name, why in wrong.fields.items():
        match name.split("."):
            case ["translations", language, _] if language not in shown:
                sentence = next(f"{name}: {why}" for code, name in NAMES.items() if code == language)
            case ["translations", language, text]:
                fields[f"{language}-{text}"] = why
            case ["points_rewards", number, "translations", language, *_] if int(number) < len(rows):
                fields[f"{language}-reward-{rows[int(number)]}-name"] = why
            case ["points_rewards", number, *part] if int(number) < len(rows):
                fields[f"reward-{rows[int(number)]}-{REWARD_FIELDS.get('.'.join(part), 'name')}"] = why
            case _:
                fields[names.get(name, name)] = why
    return replace(wrong, fields=fields, sentence=sentence)


def version(form: Form) -> int | None:
    text = form.get("version", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _major(minor: int, currency: str) -> str:
    digits = exponent(currency)
    return f"{minor / 10**digits:.{digits}f}".removesuffix("." + "0" * digits)


def _minor(text: str, currency: str) -> Any:
    """Minor units of what somebody wrote with a point or a comma; what is no amount stays text."""
    digits = exponent(currency)
    text = text.strip()
    head, _, tail = text.replace(",", ".").partition(".")
    if not (head.isascii() and head.isdigit() and len(head) <= 13 and len(tail) <= digits):
        return text or None
    if tail and not (tail.isascii() and tail.isdigit()):
        return text
    return int(head + tail.ljust(digits, "0"))
