"""Every sentence in every language, with every fact in its place."""

import ast
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from importlib.resources import files
from pathlib import Path
from string import Formatter

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from api import decisions
from api.languages import FILES, LANGUAGES, Language, negotiate, translate, translate_count
from api.problem_pages import AGAIN, CHANGE, HEADINGS, LATER, LOOK
from api.problems import PROBLEMS
from api.validation import MESSAGES, NOT_VALID
from ledger.errors import Refused
from wallet_sync.pass_content import SENTENCES
from wallet_sync.support import HINTS

ROOT = Path(__file__).parents[2]


def catalogue(language: Language) -> Catalog:
    with files("api").joinpath("locales", FILES[language]).open("rb") as source:
        return read_po(source, locale=language)


def names(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def texts(value: str | list[str] | tuple[str, ...] | None) -> list[str]:
    return [value or ""] if isinstance(value, str | None) else list(value)


def reasons() -> Iterator[str]:
    """The sentences given to `invalid(code, sentence)`, and every `why=`, wherever they are written."""
    for file in (*(ROOT / "ledger").rglob("*.py"), *(ROOT / "api").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call):
                continue
            if getattr(node.func, "id", "") == "invalid" and isinstance(node.args[1], ast.Constant):
                yield str(node.args[1].value)
            for keyword in node.keywords:
                if keyword.arg == "why" and isinstance(keyword.value, ast.Constant):
                    yield (
                        re.sub(r"[0-9]+", "{n}", text)
                        if len(re.findall(r"[0-9]+", text := str(keyword.value.value))) == 1
                        else text
                    )
                elif keyword.arg == "why" and isinstance(keyword.value, ast.JoinedStr):
                    yield "".join(
                        str(part.value) if isinstance(part, ast.Constant) else "{n}" for part in keyword.value.values
                    )


def needed() -> set[str]:
    sentences = {problem.title for problem in PROBLEMS.values()} | {*MESSAGES.values(), NOT_VALID}
    sentences |= {kind.sentence for kind in PROBLEMS if issubclass(kind, Refused)}
    return (
        sentences
        | set(reasons())
        | {*HEADINGS, LATER, AGAIN, LOOK, CHANGE}
        | {*SENTENCES}
        | {*HINTS.values()}
        | {*decisions.SENTENCES}
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_sentence_is_missing(language: Language) -> None:
    there = {texts(message.id)[0] for message in catalogue(language) if message.id and all(texts(message.string))}
    assert sorted(needed() - there) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_the_same_sentences_with_the_same_facts(language: Language) -> None:
    english = {texts(message.id)[0] for message in catalogue("en")}
    assert {texts(message.id)[0] for message in catalogue(language)} == english
    wrong = [
        message.id
        for message in catalogue(language)
        for text in texts(message.string)
        if message.id and names(text) not in [names(sentence) for sentence in texts(message.id)]
    ]
    assert wrong == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_sentence_is_empty_or_unsure(language: Language) -> None:
    assert [m.id for m in catalogue(language) if m.id and (m.fuzzy or not all(texts(m.string)))] == []


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("de", "de"),
        ("de-AT,fr;q=0.8", "de"),
        ("fr;q=0.2, lb;q=0.9", "lb"),
        ("lu", "lb"),
        ("LB-LU", "lb"),
        ("pt, nl;q=0.5", "en"),
        ("pt, fr;q=0.1", "fr"),
        ("*", "en"),
        ("fr;q=0, de;q=0.5", "de"),
        ("fr;q=banana", "en"),
        (",,;;q=1,", "en"),
        ("x" * 100_000, "en"),
    ],
)
def test_the_language_is_the_best_one_both_sides_know(header: str | None, language: str) -> None:
    assert negotiate(header) == language


def test_moments_are_read_aloud_in_utc() -> None:
    sentence = "this PIN is locked until {retry_at}; the shop can unlock it"
    at = datetime.fromisoformat("2026-03-29T12:15:00.250+02:00")
    assert "2026-03-29T10:15:00Z" in translate("fr", sentence, retry_at=at)
    assert translate("en", "{a} {b}", a=date(2026, 3, 29), b=datetime(2026, 1, 1, tzinfo=UTC)).startswith("2026-03-29 ")


def test_an_unknown_sentence_stays_as_it_is_and_a_missing_fact_is_named() -> None:
    assert translate("de", "nobody said {this} before") == "nobody said (this unknown) before"


def test_braces_in_a_fact_are_no_placeholders() -> None:
    assert translate("en", "another vendor uses the code {code}", code="{code}{0}") == (
        "Another vendor uses the code {code}{0}."
    )


@pytest.mark.parametrize(
    ("language", "count", "text"),
    [
        ("en", 1, "1 stamp"),
        ("en", 0, "0 stamps"),
        ("fr", 0, "0 tampon"),
        ("fr", 2, "2 tampons"),
        ("lb", 2, "2 Stempelen"),
    ],
)
def test_counts_follow_each_grammar(language: Language, count: int, text: str) -> None:
    assert translate_count(language, "{count} stamp", "{count} stamps", count) == text
