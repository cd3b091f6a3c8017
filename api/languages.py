"""Every sentence a person reads, in the four languages of the house.

A sentence is asked for by its English text, with its facts by name. The texts live in `locales/*.po` and are read
once; Luxembourgish is `lb` everywhere but in its file's name, `lu`, and in the alias callers may send.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import cache, lru_cache
from gettext import GNUTranslations
from importlib.resources import files
from io import BytesIO
from typing import Any, Literal, TypeAlias

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

Language: TypeAlias = Literal["en", "fr", "de", "lb"]
LANGUAGES: tuple[Language, ...] = ("en", "fr", "de", "lb")
DEFAULT_LANGUAGE: Language = "en"
ALIASES: Mapping[str, Language] = {"lu": "lb", "ltz": "lb"}
FILES: Mapping[Language, str] = {"en": "en.po", "fr": "fr.po", "de": "de.po", "lb": "lu.po"}
HEADER_CHARACTERS_MAX = 200

_RANGE = re.compile(r"\s*([A-Za-z]{1,8}|\*)(?:-[A-Za-z0-9-]+)?\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?))?\s*")


def load() -> None:
    """Read all texts now, rather than at the first refusal."""
    for language in LANGUAGES:
        _texts(language)


def known(language: str) -> Language | None:
    """The language by its own code or an alias; None for one we do not speak."""
    code = language.lower()
    if code in LANGUAGES:
        return code
    return ALIASES.get(code)


@lru_cache(maxsize=512)
def negotiate(accept_language: str | None) -> Language:
    """The language to answer in.

    Args:
        accept_language: The header as it came. Regions are ignored, equal weights count in order.

    Returns:
        The best language both sides know; English where there is none.

    Source: RFC 9110, 12.5.4.
    """
    best, best_weight = DEFAULT_LANGUAGE, 0.0
    for part in (accept_language or "")[:HEADER_CHARACTERS_MAX].split(","):
        if not (match := _RANGE.fullmatch(part)):
            continue
        language = DEFAULT_LANGUAGE if match[1] == "*" else known(match[1])
        weight = float(match[2] or 1)
        if language is not None and weight > best_weight:
            best, best_weight = language, weight
    return best


def translate(language: Language, sentence: str, /, **facts: Any) -> str:
    """The sentence in that language with its facts filled in.

    A sentence nobody has translated stays English, a fact nobody gave is named as unknown: neither is an error in
    front of a customer.
    """
    return _texts(language).gettext(sentence).format_map(_Facts(facts)) if sentence else ""


def translate_count(language: Language, one: str, many: str, count: int, /, **facts: Any) -> str:
    """The same where the grammar depends on a number, which the sentence calls `{count}`.

    A fact of that name says how the number is written.
    """
    return _texts(language).ngettext(one, many, count).format_map(_Facts({"count": count, **facts}))


@cache
def _texts(language: Language) -> GNUTranslations:
    with files("api").joinpath("locales", FILES[language]).open("rb") as source:
        catalogue = read_po(source, locale=language)
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return GNUTranslations(compiled)


class _Facts(dict[str, Any]):
    """Facts as they are read aloud: moments in UTC as RFC 3339 writes them."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        super().__init__({name: _read_aloud(value) for name, value in facts.items()})

    def __missing__(self, name: str) -> str:
        return f"({name} unknown)"


def _read_aloud(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(sorted(map(str, value)) if isinstance(value, set | frozenset) else map(str, value))
    return value
