"""Bringing a file in: looked at as a whole first, then recorded batch by batch, and never twice.

A file is known by its SHA-256. One that is finished is not read again; one that was interrupted goes on behind its
last batch.
"""

import csv
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any
from uuid import UUID

import psycopg
from psycopg import Connection

from api.import_files import READ_BYTES, Context, Findings, Source, pasts, raw_lines
from api.import_lines import Scheme
from api.import_spool import keep, kept
from ledger import history
from ledger.card import evolve
from ledger.codec import from_json
from ledger.commands.caller import utc_now
from ledger.commands.import_claims import Clash, clashes
from ledger.commands.import_turns import helping, record
from ledger.commands.imports import SESSION, Import, ImportStopped, begin, find, finish, take_turn
from ledger.commands.references import code_claim
from ledger.history import LineRefused, Past
from ledger.program import Program
from ledger.seal import MasterKey
from ledger.vendor import Vendor
from projections.fold import without_pauses

NOBODY = UUID(int=0)
BATCH_EVENTS = 1_000  # A batch holds the store's lock for some tens of milliseconds, and tills wait for it.
HELPED_LINES = 20_000  # Shorter files are in before a second process has started.
REPORT_CARDS = 1_000

VENDOR = """
SELECT s.stream_id, s.state FROM claims c JOIN streams s USING (stream_id)
WHERE c.kind = %s AND c.scope = %s AND c.value = %s
"""
PROGRAM = "SELECT state FROM streams WHERE stream_id = %s AND vendor_id = %s AND stream_type = 'program'"
PROGRAMS = "SELECT stream_id FROM streams WHERE vendor_id = %s AND stream_type = 'program' LIMIT 2"
NUMBERS = "SELECT stream_id, state::jsonb ->> 'number' FROM streams WHERE stream_id = ANY(%s)"

# What is wanted twice: by another line, or by what is there already.
CLASHES: dict[str, tuple[str, str]] = {
    "card_number": ("card_number is also on line {other}", "card_number is a card's already"),
    "open_card": (
        "the customer also has a card in this program on line {other}",
        "the customer has an open card in this program already",
    ),
    "customer_email": (
        "email is also on line {other}: say whose it is by customer",
        "email belongs to a customer already: say whose it is by customer",
    ),
    "customer_phone": (
        "phone is also on line {other}: say whose it is by customer",
        "phone belongs to a customer already: say whose it is by customer",
    ),
    "external_ref": ("external_ref is also on line {other}", "external_ref is recorded already"),
}

Progress = Callable[[str, int, int], None]


class FileRefused(Exception):
    """What is wrong with a file. Nothing of it was recorded, unless an earlier run recorded some of its lines."""

    def __init__(self, findings: Findings) -> None:
        super().__init__(f"{findings.count} errors")
        self.findings = findings


@dataclass(frozen=True, slots=True)
class Done:
    """A file that is in. `was_there` where an earlier run had finished it, and this one changed nothing."""

    importing: Import
    was_there: bool
    began_after: int


def import_file(
    url: str,
    master_key: MasterKey,
    path: Path,
    *,
    code: str,
    program_id: UUID | None = None,
    progress: Progress = lambda _title, _done, _total: None,
    clock: Callable[[], datetime] = utc_now,
    report: Path | None = None,
) -> Done:
    """Import a file for a vendor.

    Args:
        url: A database at the newest revision. A service may be running on it.
        program_id: Of cards that name no program; None takes the vendor's only one.
        progress: Told what is being done, how many lines are done, and how many there are.
        report: Where to write which line became which card, as CSV.

    Raises:
        FileRefused: Something in the file is wrong, or clashes with what is there.
        ImportStopped: It cannot go on. What is in stays in, and the same file goes on there when it is given again.
        psycopg.OperationalError: The database went away; the same holds.
    """
    with (
        without_pauses(),
        psycopg.connect(url, autocommit=True, connect_timeout=5) as connection,
        psycopg.connect(url, autocommit=True, connect_timeout=5) as reading,
    ):
        vendor_id, vendor = _vendor(connection, code)
        source = Source.of(path)
        if not take_turn(connection, vendor_id, source.sha256):
            raise ImportStopped("this file is being imported already, by somebody else")
        known = find(connection, vendor_id, source.sha256)
        began_after = known.lines_done if known else 0
        if known and known.finished_at:
            importing = known
        else:
            if known and known.program_id != program_id:
                raise ImportStopped("this import was begun with another --program")
            schemes = _Schemes(reading, vendor_id, program_id)  # The other one is busy with the claims.
            context = Context(vendor_id, vendor.profile.country, clock(), schemes.scheme_of)
            is_long = source.lines - began_after >= HELPED_LINES
            with (
                TemporaryFile(buffering=READ_BYTES) as aside,
                helping(url, master_key) if is_long else nullcontext() as helper,  # It starts during the check.
            ):
                _check(connection, source, context, master_key, aside, after=began_after, progress=progress)
                if Source.of(path) != source:
                    raise ImportStopped("the file was changed while it was read")
                connection.execute(SESSION)
                importing = known or begin(
                    connection, vendor_id, source.sha256, program_id=program_id, lines_total=source.lines
                )
                now = _Forward(clock, context.now)
                for moved_on in record(connection, helper, importing, kept(aside), master_key, now):
                    progress("Importing", moved_on.lines_done, source.lines)
                importing = finish(connection, importing)
        if report is not None:
            _report(connection, source, importing, report)
        return Done(importing, known is not None and known.finished_at is not None, began_after)


# ------------------------------------------------------------------ before anything is written


def _check(
    connection: Connection[Any],
    source: Source,
    context: Context,
    master_key: MasterKey,
    aside: IO[bytes],
    *,
    after: int,
    progress: Progress,
) -> None:
    """Raises: FileRefused."""
    findings, cards = Findings(), 0

    def read() -> Iterator[Past]:
        nonlocal cards
        for past in pasts(raw_lines(source.path, after=after), context, findings):
            cards += 1
            progress("Checking", past.last_line, source.lines)
            if _adds_up(past, context, findings):
                yield past

    found = clashes(connection, keep(read(), aside, events=BATCH_EVENTS), context.vendor_id, master_key)
    for clash in found.shown:
        findings.add(clash.line, _clashing(clash))
    findings.count += found.count - len(found.shown)
    if not cards and not findings.count and not after:
        findings.add(1, "the file holds no card")
    if findings.count:
        findings.shown.sort()
        raise FileRefused(findings)


def _adds_up(past: Past, context: Context, findings: Findings) -> bool:
    """Whether the card's past can have happened: the very events are made that will be recorded."""
    scheme = context.scheme_of(past.program_id)
    assert isinstance(scheme, Scheme)
    rules = scheme.program.rules_at(context.now)
    card = evolve(None, history.enrolled(past, rules, number=past.number or "", qr_token=""))
    try:
        for _ in history.told(card, past, scheme.program, rules, lambda _line, _word: NOBODY):
            pass
    except LineRefused as refused:
        findings.add(refused.line, str(refused.refusal))
        return False
    return True


def _clashing(clash: Clash) -> str:
    within, against = CLASHES[clash.kind]
    return against if clash.other is None else within.format(other=clash.other)


# ------------------------------------------------------------------ writing


class _Forward:
    """A clock that never steps back."""

    def __init__(self, clock: Callable[[], datetime], begins_at: datetime) -> None:
        self._clock, self._at = clock, begins_at

    def __call__(self) -> datetime:
        self._at = max(self._at, self._clock())
        return self._at


def _report(connection: Connection[Any], source: Source, importing: Import, report: Path) -> None:
    """Line, customer as the file names them, card id and number, for each card of the file."""
    lines = (raw for raw in raw_lines(source.path) if raw.plain.get("type", "card") == "card")
    with report.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("line", "customer", "card_id", "card_number"))
        while some := list(islice(lines, REPORT_CARDS)):
            ids = [importing.card_id(raw.begins) for raw in some]
            numbers = dict(connection.execute(NUMBERS, (ids,)).fetchall())
            rows.writerows(
                (raw.begins, raw.plain.get("customer", ""), card_id, numbers.get(card_id, ""))
                for raw, card_id in zip(some, ids, strict=True)
            )


# ------------------------------------------------------------------ what is around


def _vendor(connection: Connection[Any], code: str) -> tuple[UUID, Vendor]:
    claim = code_claim(code)
    row = connection.execute(VENDOR, (claim.kind, claim.scope, claim.value)).fetchone()
    if row is None:
        raise ImportStopped(f"there is no vendor with the code {code}")
    return row[0], from_json(Vendor, row[1])


class _Schemes:
    """The vendor's programs, each read once."""

    def __init__(self, connection: Connection[Any], vendor_id: UUID, program_id: UUID | None) -> None:
        self._connection = connection
        self._vendor_id = vendor_id
        self._known: dict[UUID | None, Scheme | str] = {}
        if program_id is None:
            found = connection.execute(PROGRAMS, (vendor_id,)).fetchall()
            if len(found) == 1:
                program_id = found[0][0]
        if program_id is not None:
            self._known[None] = self.scheme_of(program_id)
            if isinstance(self._known[None], str):
                raise ImportStopped(f"--program: {self._known[None]}")

    def scheme_of(self, program_id: UUID | None) -> Scheme | str:
        if program_id not in self._known:
            self._known[program_id] = self._read(program_id)
        return self._known[program_id]

    def _read(self, program_id: UUID | None) -> Scheme | str:
        if program_id is None:
            return "names no program, and the vendor has not just one: say --program"
        row = self._connection.execute(PROGRAM, (program_id, self._vendor_id)).fetchone()
        if row is None:
            return "this vendor has no such program"
        program = from_json(Program, row[0])
        return Scheme(program_id, program) if program.is_active else "this program is not active"
