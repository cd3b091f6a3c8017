"""A file to import, read from its first line on: NDJSON or CSV to lines, lines to cards with their past.

Never more than one card lies in memory. What cannot be read is noted with its line, and reading goes on behind it.
"""

import csv
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from api.import_lines import FIELDS, AnyLine, CardLine, Numbered, Scheme, parsed, past_of
from ledger.history import Past

NDJSON_SUFFIXES = (".ndjson", ".jsonl")
CSV_SUFFIXES = (".csv",)
LINE_BYTES_MAX = 65_536
READ_BYTES = 1 << 20
CARD_LINES_MAX = 10_000
SHOWN_MAX = 100
WHOLE_FIELDS = frozenset(name for name in FIELDS if name in {"stamps", "points"} or name.endswith("_minor")) | {
    "total_stamps_earned",
    "stamps_redeemed",
    "total_points_earned",
    "points_redeemed",
}
_WHOLE = re.compile(r"-?[0-9]{1,15}")
_TRUTHS = {"true": True, "false": False}


@dataclass(slots=True)
class Findings:
    """What is wrong with a file: the first sentences by line, and how many there are."""

    shown: list[tuple[int, str]] = field(default_factory=list)
    count: int = 0

    def add(self, line: int, sentence: str) -> None:
        self.count += 1
        if len(self.shown) < SHOWN_MAX:
            self.shown.append((line, sentence))


@dataclass(frozen=True, slots=True)
class Source:
    """A file as it was looked at: its digest, and how many lines it has."""

    path: Path
    sha256: bytes
    lines: int

    @classmethod
    def of(cls, path: Path) -> "Source":
        hasher, lines, last = hashlib.sha256(), 0, b"\n"
        with path.open("rb") as file:
            while part := file.read(READ_BYTES):
                hasher.update(part)
                lines += part.count(b"\n")
                last = part[-1:]
        return cls(path, hasher.digest(), lines + (last != b"\n"))


@dataclass(frozen=True, slots=True)
class Raw:
    """A line before its shape is known. Where even its fields cannot be told, `wrong` says why."""

    begins: int
    ends: int
    plain: dict[str, Any]
    wrong: str | None = None


def raw_lines(path: Path, *, after: int = 0) -> Iterator[Raw]:
    """The lines behind line `after`, empty ones left out."""
    return _csv(path, after) if path.suffix.lower() in CSV_SUFFIXES else _ndjson(path, after)


def _ndjson(path: Path, after: int) -> Iterator[Raw]:
    with path.open("rb", buffering=READ_BYTES) as file:
        for number, text in enumerate(islice(_limited(file), after, None), after + 1):
            if len(text) > LINE_BYTES_MAX:
                yield Raw(number, number, {}, f"is longer than {LINE_BYTES_MAX} bytes")
            elif text.strip():
                try:
                    plain = orjson.loads(text.removeprefix(b"\xef\xbb\xbf") if number == 1 else text)
                except orjson.JSONDecodeError:
                    yield Raw(number, number, {}, "is not JSON in UTF-8")
                    continue
                is_object = isinstance(plain, dict)
                yield Raw(number, number, plain if is_object else {}, None if is_object else "is not a JSON object")


def _limited(file: Any) -> Iterator[bytes]:
    """Lines, of which an endless one is read in pieces and given by its beginning."""
    while text := file.readline(LINE_BYTES_MAX + 2):
        rest = text
        while rest and not rest.endswith(b"\n"):
            rest = file.readline(LINE_BYTES_MAX)
        yield text


def _csv(path: Path, after: int) -> Iterator[Raw]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        header = file.readline(LINE_BYTES_MAX)
        file.seek(0)
        is_semicolon = header.count(";") > header.count(",")  # As spreadsheets write it where the comma is decimal.
        rows = csv.reader(file, delimiter=";" if is_semicolon else ",", strict=True)
        try:
            names = [name.strip() for name in next(rows, [])]
            if wrong := _header_is_wrong(names):
                yield Raw(1, rows.line_num, {}, wrong)
                return
            begins = rows.line_num + 1
            for row in rows:
                if rows.line_num > after and any(cell.strip() for cell in row):
                    fits = len(row) <= len(names) or not any(row[len(names) :])
                    plain = {n: _cell(n, cell.strip()) for n, cell in zip(names, row, strict=False) if cell.strip()}
                    yield Raw(begins, rows.line_num, plain, None if fits else "has more cells than there are columns")
                begins = rows.line_num + 1
        except csv.Error:
            yield Raw(rows.line_num, rows.line_num, {}, "is not CSV: a quote is open or a cell is too long")


def _header_is_wrong(names: list[str]) -> str | None:
    unknown = [name for name in names if name not in FIELDS]
    if unknown:
        known = ", ".join(sorted(FIELDS))
        return f"{len(unknown)} columns have names that are no field, the {names.index(unknown[0]) + 1}. first;" + (
            f" fields are {known}"
        )
    return "names a column twice" if len(set(names)) < len(names) else None


def _cell(name: str, text: str) -> Any:
    if name in WHOLE_FIELDS:
        return int(text) if _WHOLE.fullmatch(text) else text
    return _TRUTHS.get(text.lower(), text) if name == "has_consented" else text


# ------------------------------------------------------------------ cards


@dataclass(slots=True)
class _Group:
    """A card's line and what follows it."""

    card: Numbered
    entries: list[Numbered] = field(default_factory=list)
    is_broken: bool = False


@dataclass(frozen=True, slots=True)
class Context:
    """What lines are read against.

    `scheme_of` finds the program of an id, or the default one for None; a text says why there is none.
    """

    vendor_id: UUID
    country: str
    now: datetime
    scheme_of: Callable[[UUID | None], Scheme | str]


def pasts(lines: Iterator[Raw], context: Context, findings: Findings) -> Iterator[Past]:
    """Cards with their past, one after the other. What is wrong is added to `findings`, and that card left out."""
    group: _Group | None = None
    has_lost_card = False  # The card's own line was wrong: what follows it is not to blame.
    for raw in lines:
        line = _line(raw, findings)
        is_card = isinstance(line, CardLine) or (line is None and raw.plain.get("type", "card") == "card")
        if is_card:
            if group is not None:
                yield from _finished(group, context, findings)
            group = None if line is None else _Group(Numbered(raw.begins, raw.ends, line))
            has_lost_card = line is None
        elif group is None:
            if line is not None and not has_lost_card:
                findings.add(raw.begins, "comes before any card: a card's lines follow its own")
        elif line is None:
            group.is_broken = True
        elif wrong := _is_not_of(line, group):
            findings.add(raw.begins, wrong)
            group.is_broken = True
        else:
            group.entries.append(Numbered(raw.begins, raw.ends, line))
    if group is not None:
        yield from _finished(group, context, findings)


def _line(raw: Raw, findings: Findings) -> AnyLine | None:
    if raw.wrong is not None:
        findings.add(raw.begins, raw.wrong)
        return None
    found = parsed(raw.plain)
    if isinstance(found, list):
        for sentence in found:
            findings.add(raw.begins, sentence)
        return None
    return found


def _is_not_of(line: AnyLine, group: _Group) -> str | None:
    card = group.card.line
    for name in ("customer", "card_number", "program"):
        given = getattr(line, name)
        if given is not None and given != getattr(card, name):
            return f"names another {name} than the card it follows (line {group.card.begins})"
    if len(group.entries) >= CARD_LINES_MAX:
        return f"is more than {CARD_LINES_MAX} lines of one card"
    return None


def _finished(group: _Group, context: Context, findings: Findings) -> Iterator[Past]:
    if group.is_broken:
        return
    scheme = context.scheme_of(group.card.line.program)
    if isinstance(scheme, str):
        findings.add(group.card.begins, scheme)
        return
    found = past_of(
        group.card,
        group.entries,
        scheme,
        vendor_id=context.vendor_id,
        country=context.country,
        now=context.now,
    )
    if isinstance(found, Past):
        yield found
        return
    for line, sentence in found:
        findings.add(line, sentence)
