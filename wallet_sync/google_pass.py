"""A Google Wallet pass: a program as a loyalty class, a card as a loyalty object.

Both are functions of what they are made from, hold no null, and name nobody in their ids. Sent whole each time, they
make every write the same write: repeats and late arrivals end where the newest one does.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias
from uuid import UUID

from ledger.translations import in_language
from wallet_sync.colours import Rgb, palette
from wallet_sync.pass_content import Line, PassContent, Texts, title

Kind: TypeAlias = Literal["loyaltyClass", "loyaltyObject"]

OWNED: Mapping[Kind, tuple[str, ...]] = {
    "loyaltyClass": (
        "issuerName",
        "localizedIssuerName",
        "programName",
        "localizedProgramName",
        "programLogo",
        "hexBackgroundColor",
        "reviewStatus",
        "multipleDevicesAndHoldersAllowedStatus",
        "homepageUri",
        "linksModuleData",
        "callbackOptions",
    ),
    "loyaltyObject": (
        "classId",
        "state",
        "barcode",
        "loyaltyPoints",
        "secondaryLoyaltyPoints",
        "heroImage",
        "textModulesData",
    ),
}
"""The fields that are ours to write. One that a rendering leaves out must go at Google too: a blocked card's code."""

DEFAULT_LANGUAGE = "en"
NAME_CHARACTERS_MAX = 20
URI_DESCRIPTION_CHARACTERS_MAX = 20
INT32_MAX = 2**31 - 1
ELSEWHERE = ("rewards", "privacy")  # Lines that are no text modules: the second balance, and a link of the class.

_ISSUER = re.compile(r"[0-9]+")
_SUFFIX = re.compile(r"[A-Za-z0-9._-]+")


def class_id(issuer_id: str, environment: str, program_id: UUID) -> str:
    """A program's class at Google: `3388000000012345678.live.prog.0195a1b0-…`. It is taken for ever.

    Args:
        environment: Keeps installations that share an issuer apart. Letters, digits, `.`, `_`, `-`.
    """
    return _id(issuer_id, f"{environment}.prog.{program_id}")


def object_id(issuer_id: str, environment: str, card_id: UUID) -> str:
    """A card's object at Google: `3388000000012345678.live.card.0195a1b0-…`. It is taken for ever."""
    return _id(issuer_id, f"{environment}.card.{card_id}")


def loyalty_class(
    program: Mapping[str, Any],
    merchant: str,
    texts: Texts,
    *,
    id: str,
    logo_url: str,
    callback_url: str | None,
    homepage_url: str | None = None,
) -> dict[str, Any]:
    """What all cards of a program share.

    Args:
        program: As `ProgramCommands.find` tells it, with its translations.
        merchant: The vendor's name. Names are cut at NAME_CHARACTERS_MAX, which is what a small phone shows.
        texts: Each of SENTENCES in every language the pass shall speak.
        id: By `class_id`.
        logo_url: A picture that everybody may fetch, by HTTPS, at least 660 pixels square.
        callback_url: Where Google tells that a card was saved or removed; by HTTPS. None: nowhere.
        homepage_url: The vendor's own page. None: no link.

    Returns:
        The class. Approved ones must say UNDER_REVIEW again with each change, so it always does.

    Source: Google Wallet REST reference, loyaltyclass.
    """
    shown: dict[str, Any] = {
        "id": id,
        **_named("issuerName", "localizedIssuerName", merchant, dict.fromkeys(texts, merchant)),
        **_named(
            "programName",
            "localizedProgramName",
            title(program),
            {language: title(in_language(program, language)) for language in texts},
        ),
        "programLogo": _image(logo_url, _localized(texts, "Loyalty card")),
        "hexBackgroundColor": _hex(palette(program.get("card_color"), None).background),
        "reviewStatus": "UNDER_REVIEW",
        "multipleDevicesAndHoldersAllowedStatus": "ONE_USER_ALL_DEVICES",
    }
    if homepage_url is not None:
        shown["homepageUri"] = {
            "id": "homepage",
            "uri": homepage_url,
            "description": _short(merchant, URI_DESCRIPTION_CHARACTERS_MAX),
        }
    if privacy := program.get("privacy_url"):
        link = {"id": "privacy", "uri": privacy, "description": "Privacy"}
        shown["linksModuleData"] = {"uris": [{**link, "localizedDescription": _localized(texts, "Privacy")}]}
    if callback_url is not None:
        shown["callbackOptions"] = {"url": callback_url}
    return shown


def loyalty_object(content: PassContent, *, id: str, class_id: str, hero_url: str | None) -> dict[str, Any]:
    """A card as its holder sees it. Only an active one has a code to scan.

    Args:
        id, class_id: By the functions of these names.
        hero_url: The picture of the card's progress, by HTTPS; another address for another progress. None: none.

    Source: Google Wallet REST reference, loyaltyobject.
    """
    texts = content.texts
    balance = content.balance
    shown: dict[str, Any] = {
        "id": id,
        "classId": class_id,
        "state": "INACTIVE" if content.is_voided else "ACTIVE",
        "loyaltyPoints": _points(balance, texts),
        "textModulesData": [_module(line, content) for line in _modules(content)],
    }
    if rewards := next((line for line in content.front if line.key == "rewards"), None):
        shown["secondaryLoyaltyPoints"] = _points(rewards, texts)
    if content.barcode is not None:
        code = {"type": "QR_CODE", "value": content.barcode, "alternateText": content.barcode_text}
        shown["barcode"] = {**code, "renderEncoding": "UTF_8"}
    if hero_url is not None:
        described = _localized(texts, balance.label, f": {balance.value}")
        shown["heroImage"] = _image(hero_url, described)
    return shown


def erased_object(*, id: str, class_id: str) -> dict[str, Any]:
    """What is left of a card whose holder was forgotten: with OWNED all else is removed at Google."""
    return {"id": id, "classId": class_id, "state": "INACTIVE"}


def _id(issuer_id: str, suffix: str) -> str:
    assert _ISSUER.fullmatch(issuer_id) and _SUFFIX.fullmatch(suffix)
    return f"{issuer_id}.{suffix}"


def _modules(content: PassContent) -> list[Line]:
    return [line for line in (*content.front, *content.back) if line.key not in ELSEWHERE]


def _module(line: Line, content: PassContent) -> dict[str, Any]:
    assert "." not in line.key
    texts, words = content.texts, content.words
    module = {
        "id": line.key,
        "header": line.label,
        "localizedHeader": _localized(texts, line.label),
        "body": line.value,
    }
    if line.key == "status":  # The one value that is a sentence of ours; all others are somebody's own words.
        return {**module, "localizedBody": _localized(texts, line.value)}
    if any(line.key in own for own in words.values()):
        said = {language: words.get(language, {}).get(line.key, line.value) for language in texts}
        return {**module, "localizedBody": _in_languages(said)}
    return module


def _points(line: Line, texts: Texts) -> dict[str, Any]:
    """Stamps are a text, `7/10`: Google knows only points. A number that its 32 bits do not hold is a text too."""
    value = line.value.replace(" ", "")
    is_number = value.removeprefix("-").isdecimal() and abs(int(value)) <= INT32_MAX
    balance: dict[str, Any] = {"int": int(value)} if is_number else {"string": value}
    return {"label": line.label, "localizedLabel": _localized(texts, line.label), "balance": balance}


def _named(field: str, localized_field: str, name: str, names: Mapping[str, str]) -> dict[str, Any]:
    """A vendor's own words, plain and by language."""
    short = {language: _short(said, NAME_CHARACTERS_MAX) for language, said in names.items()}
    return {field: _short(name, NAME_CHARACTERS_MAX), localized_field: _in_languages(short)}


def _localized(texts: Texts, sentence: str, after: str = "") -> dict[str, Any]:
    return _in_languages({language: known[sentence] + after for language, known in texts.items()})


def _in_languages(said: Mapping[str, str]) -> dict[str, Any]:
    values = [{"language": language, "value": value} for language, value in said.items()]
    default = next((v for v in values if v["language"] == DEFAULT_LANGUAGE), values[0])
    return {"defaultValue": default, "translatedValues": [v for v in values if v is not default]}


def _image(url: str, described: dict[str, Any]) -> dict[str, Any]:
    return {"sourceUri": {"uri": url}, "contentDescription": described}


def _short(text: str, characters_max: int) -> str:
    return text if len(text) <= characters_max else text[: characters_max - 1].rstrip() + "…"


def _hex(color: Rgb) -> str:
    return f"#{bytes(color).hex()}"
