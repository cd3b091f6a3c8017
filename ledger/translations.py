"""A shop's own words in several languages. The plain words stand wherever a language has none of its own."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct


class Translations(Struct, frozen=True):
    """One text in other languages than the shop wrote it in; at least one."""

    en: str | None = None
    fr: str | None = None
    de: str | None = None
    lb: str | None = None


LANGUAGES = Translations.__struct_fields__


def translations(words: Mapping[str, str | None]) -> Translations | None:
    """By language as they are given; None where no language has any."""
    given = {language: text for language, text in words.items() if text}
    return Translations(**given) if given else None


def by_language(**texts: Translations | None) -> dict[str, dict[str, str]]:
    """What each language says, by the name of the text: `{"fr": {"card_name": "Carte café"}}`."""
    told: dict[str, dict[str, str]] = {}
    for name, text in texts.items():
        if text is not None:
            for language in LANGUAGES:
                if words := getattr(text, language):
                    told.setdefault(language, {})[name] = words
    return told


def in_language(program: Mapping[str, Any], language: str) -> dict[str, Any]:
    """A program as a reader of that language should see it.

    Args:
        program: As `answers.program` tells it, with `translations` beside its words and those of its rewards.

    Returns:
        The same with one text for each: that language's own, else the plain one. No `translations` are left.
    """
    told = _said(program, language)
    return {**told, "points_rewards": [_said(reward, language) for reward in program["points_rewards"]]}


def languages_of(program: Mapping[str, Any]) -> list[str]:
    """In which languages a program as answered has words of its own, or one of its rewards."""
    spoken = set(program["translations"]).union(*(reward["translations"] for reward in program["points_rewards"]))
    return sorted(spoken)


def _said(thing: Mapping[str, Any], language: str) -> dict[str, Any]:
    words: Mapping[str, str] = thing["translations"].get(language, {})
    return {name: words.get(name, value) for name, value in thing.items() if name != "translations"}
