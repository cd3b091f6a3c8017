"""Files of cards brought in from another system, a batch at a time: events, claims and progress in one transaction.

What is left behind is what tills would have left: chains, state rows, claims, the persons' keys, and a row that finds
each entry. An import that was interrupted goes on behind its last batch; nothing happens twice.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import Any
from uuid import UUID

import psycopg
from psycopg import Connection
from psycopg.rows import class_row

from ledger import history
from ledger.card import evolve
from ledger.codec import from_json, to_plain
from ledger.commands import answers
from ledger.commands.caller import Caller
from ledger.commands.references import card_of_claim, contact_claim, number_claim, qr_claim, reference_claim
from ledger.committer import APPEND, is_clash
from ledger.decision import Claim, Once, Owner, Stream
from ledger.history import Past
from ledger.ids import derived, new_card_number, new_qr_token
from ledger.program import Program
from ledger.recorder import APP_ROLE
from ledger.round import NewEvent, NewKey, Round
from ledger.seal import MasterKey, SubjectKey
from ledger.stream import NAME_OF, Actor, digest, encode_beside, first_prev, sealed

BATCH_EVENTS = 1_000  # A batch holds the store's lock for some tens of milliseconds, and tills wait for it.
TRIES_MAX = 5
TURN = 76022

# As for rounds: every look-up is by primary key. Nobody waits for an import, so it may wait for others.
SESSION = f"""
SET ROLE {APP_ROLE};
SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off;
SET plan_cache_mode = force_generic_plan;
SET lock_timeout = '30s'; SET statement_timeout = '60s'
"""
COLUMNS = "id, vendor_id, program_id, file_sha256, lines_total, lines_done, cards, entries, started_at, finished_at"
FIND = f"SELECT {COLUMNS} FROM imports WHERE id = %s"
BEGIN = f"""
INSERT INTO imports (id, vendor_id, program_id, file_sha256, lines_total) VALUES (%s, %s, %s, %s, %s)
RETURNING {COLUMNS}
"""
MOVE_ON = """
UPDATE imports SET lines_done = %s, cards = %s, entries = %s WHERE id = %s AND lines_done = %s AND finished_at IS NULL
"""
FINISH = f"UPDATE imports SET lines_done = lines_total, finished_at = now() WHERE id = %s RETURNING {COLUMNS}"
PROGRAMS = "SELECT stream_id, vendor_id, parent_id, version, head, state FROM streams WHERE stream_id = ANY(%b)"
TAKEN = """
SELECT c.kind, c.scope, c.value FROM unnest(%b::text[], %b::uuid[], %b::bytea[]) AS w (kind, scope, value)
JOIN claims c ON c.scope = w.scope AND c.value = w.value AND c.kind = w.kind
"""
SUBJECT_KEYS = "SELECT subject_id, vendor_id, wrapped_key FROM subject_keys WHERE subject_id = ANY(%b)"
NEW_SUBJECT_KEYS = """
INSERT INTO subject_keys (subject_id, vendor_id, master_key_id, wrapped_key)
SELECT * FROM unnest(%b::uuid[], %b::uuid[], %b::text[], %b::bytea[])
"""


class ImportStopped(Exception):
    """It could not go on. What is in stays in; the same file may be given again, and goes on there."""


@dataclass(frozen=True, slots=True)
class Import:
    """A file of one vendor, and how far it has come."""

    id: UUID
    vendor_id: UUID
    program_id: UUID | None  # Of lines that name none.
    file_sha256: bytes
    lines_total: int
    lines_done: int
    cards: int
    entries: int
    started_at: datetime
    finished_at: datetime | None

    @property
    def caller(self) -> Caller:
        return Caller(self.vendor_id, Actor("system", "import", "command_line"), "import", f"import-{self.id}")

    def card_id(self, line: int) -> UUID:
        """The card that a line makes, however often the file is read."""
        return derived("imported card", self.id, line)

    def entry_id(self, line: int, word: str) -> UUID:
        return self.id_of()(line, word)

    def id_of(self) -> history.IdOf:
        """`entry_id` for many entries."""
        name = str(self.id)
        return lambda line, word: derived("imported entry", name, line, word)


def import_id(vendor_id: UUID, file_sha256: bytes) -> UUID:
    return derived("import", vendor_id, file_sha256.hex())


def find(connection: Connection[Any], vendor_id: UUID, file_sha256: bytes) -> Import | None:
    """The import of this very file; None where it was never begun."""
    with connection.cursor(row_factory=class_row(Import)) as cursor:
        return cursor.execute(FIND, (import_id(vendor_id, file_sha256),)).fetchone()


def begin(
    connection: Connection[Any], vendor_id: UUID, file_sha256: bytes, *, program_id: UUID | None, lines_total: int
) -> Import:
    given = (import_id(vendor_id, file_sha256), vendor_id, program_id, file_sha256, lines_total)
    with connection.cursor(row_factory=class_row(Import)) as cursor:
        begun = cursor.execute(BEGIN, given).fetchone()
    assert begun is not None
    return begun


def finish(connection: Connection[Any], importing: Import) -> Import:
    with connection.cursor(row_factory=class_row(Import)) as cursor:
        finished = cursor.execute(FINISH, (importing.id,)).fetchone()
    assert finished is not None
    return finished


def take_turn(connection: Connection[Any], vendor_id: UUID, file_sha256: bytes) -> bool:
    """Whether this session may import the file: it then has it to itself until it ends, however it ends."""
    number = int.from_bytes(import_id(vendor_id, file_sha256).bytes[:4], signed=True)
    row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", (TURN, number)).fetchone()
    return row is not None and bool(row[0])


# ------------------------------------------------------------------ batches


@dataclass(frozen=True, slots=True)
class _Around:
    """What a batch must know of the database before it is told in events."""

    programs: dict[UUID, Stream]
    taken: set[Claim]
    numbers: set[str]  # That cards of this batch have: none is drawn twice.
    subjects: dict[UUID, SubjectKey]
    new_subjects: list[SubjectKey]


@dataclass(frozen=True, slots=True)
class _Batch:
    """Cards told in events, and how far the import has come before and after them."""

    before: Import
    after: Import
    round: Round
    around: _Around


def record(
    connection: Connection[Any],
    reading: Connection[Any],
    importing: Import,
    batches: Iterable[Sequence[Past]],
    master_key: MasterKey,
    clock: Callable[[], datetime],
) -> Iterator[Import]:
    """Record cards, each batch in one transaction with how far the import has come.

    While the database writes one batch, the next one is told in events.

    Args:
        connection: With autocommit, and `SESSION` executed on it. Only this function uses it meanwhile.
        reading: Another one, with autocommit.
        clock: The time they are recorded at; no entry of them lies later.

    Returns:
        The import as it stands, after each batch.

    Raises:
        ImportStopped: A line cannot be recorded any more, or somebody else goes on with the import. What was told
            before is recorded, nothing of that batch is.
        psycopg.OperationalError: The outcome of the last batch is unknown; `find` tells how far it has come.
    """

    def written() -> Import:
        """The batch under way, once it is in; told again where it clashed."""
        assert batch is not None and writing is not None
        try:
            writing.result()
        except psycopg.Error as error:
            if not is_clash(error):
                raise
            return _recorded(connection, batch.before, told, master_key, clock)
        return batch.after

    batch: _Batch | None = None
    writing: Future[None] | None = None
    told: Sequence[Past] = ()
    with ThreadPoolExecutor(1, thread_name_prefix="import") as writer:
        for pasts in batches:
            following = _told(reading, batch.after if batch else importing, pasts, master_key, clock())
            if writing is not None:
                yield written()
            batch, told = following, pasts
            writing = writer.submit(_write, connection, batch, master_key)
        if writing is not None:
            yield written()


def _recorded(
    connection: Connection[Any],
    importing: Import,
    pasts: Sequence[Past],
    master_key: MasterKey,
    clock: Callable[[], datetime],
) -> Import:
    """After a clash it is told again, with other numbers, other keys or newer rules, as the clash may want it."""
    for _ in range(TRIES_MAX):
        batch = _told(connection, importing, pasts, master_key, clock())
        try:
            _write(connection, batch, master_key)
        except psycopg.Error as error:
            if not is_clash(error):
                raise
        else:
            return batch.after
    lines = f"lines {pasts[0].line} to {pasts[-1].last_line}"
    raise ImportStopped(f"{lines}: a number, customer or reference in them is in use by now")


def _write(connection: Connection[Any], batch: _Batch, master_key: MasterKey) -> None:
    fresh = sorted(batch.around.new_subjects, key=lambda subject: subject.subject_id)
    after, before = batch.after, batch.before
    with connection.transaction(), connection.cursor(binary=True) as cursor:
        cursor.execute(
            NEW_SUBJECT_KEYS,
            (
                [subject.subject_id for subject in fresh],
                [subject.vendor_id for subject in fresh],
                [master_key.key_id] * len(fresh),
                [master_key.wrap(subject) for subject in fresh],
            ),
        )
        cursor.execute(MOVE_ON, (after.lines_done, after.cards, after.entries, after.id, before.lines_done))
        if cursor.rowcount != 1:
            raise ImportStopped("somebody else goes on with this import")
        cursor.execute(APPEND, batch.round.parameters(), prepare=True)


def _told(
    connection: Connection[Any],
    importing: Import,
    pasts: Sequence[Past],
    master_key: MasterKey,
    now: datetime,
) -> _Batch:
    around = _read(connection, importing, pasts, master_key)
    round_ = Round()
    for program in around.programs.values():
        round_.read_versions[program.stream_id] = program.version
    try:
        for past in pasts:
            _add(round_, importing, past, around, master_key, now)
    except history.LineRefused as refused:
        raise ImportStopped(str(refused)) from refused
    after = replace(
        importing,
        lines_done=pasts[-1].last_line,
        cards=importing.cards + len(pasts),
        entries=importing.entries + len(round_.new_keys),
    )
    return _Batch(importing, after, round_, around)


def _read(
    connection: Connection[Any],
    importing: Import,
    pasts: Sequence[Past],
    master_key: MasterKey,
) -> _Around:
    contacts = [claim for past in pasts for claim in _contacts(importing, past, master_key)]
    wanted = ([c.kind for c in contacts], [c.scope for c in contacts], [c.value for c in contacts])
    subject_ids = list({_subject_id(importing, past) for past in pasts})
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(PROGRAMS, (list({past.program_id for past in pasts}),)).fetchall()
        programs = {
            id_: Stream(id_, "program", vendor_id, parent_id, version, head.hex(), from_json(Program, state))
            for id_, vendor_id, parent_id, version, head, state in rows
        }
        taken = {Claim(*row) for row in cursor.execute(TAKEN, wanted).fetchall()}
        rows = cursor.execute(SUBJECT_KEYS, (subject_ids,)).fetchall()
    subjects = {row[0]: master_key.unwrap(*row) for row in rows}
    fresh = [master_key.new_subject(id_, importing.vendor_id) for id_ in subject_ids if id_ not in subjects]
    numbers = {past.number for past in pasts if past.number is not None}
    return _Around(programs, taken, numbers, subjects | {subject.subject_id: subject for subject in fresh}, fresh)


def _add(round_: Round, importing: Import, past: Past, around: _Around, master_key: MasterKey, now: datetime) -> None:
    """A card with its whole past: its events, its state row, its claims, and a key that finds each entry."""
    card_id, program_stream = importing.card_id(past.line), around.programs[past.program_id]
    program: Program = program_stream.state
    rules = program.rules_at(now)
    number, token = past.number or _new_number(around.numbers), new_qr_token()
    envelope = replace(importing.caller, occurred_at=past.enrolled_at).envelope(
        "card", now, program_id=past.program_id, program_version=rules.version
    )
    shared = to_plain(envelope)
    subject = around.subjects[_subject_id(importing, past)]
    first = sealed(history.enrolled(past, rules, number=number, qr_token=token), subject, stream_id=card_id, version=1)
    card = evolve(None, first)
    version, head = 0, first_prev(card_id)
    told = history.told(card, past, program, rules, importing.id_of())
    for _, entry_id, event, after in chain([(past.line, None, first, card)], told):
        version, card, name = version + 1, after, NAME_OF[type(event)]
        shared["occurred_at"] = event.at
        state = encode_beside(event, shared, head)
        head = digest(card_id, version, name, state)
        round_.events.append(NewEvent(card_id, version, name, state))
        if entry_id is not None:
            # The entry's id is derived from the file, so nobody can send it again: there is no answer to keep.
            once = Once(entry_id, importing.file_sha256)
            round_.new_keys.append(NewKey(once, importing.vendor_id, card_id, version, len(round_.events), None))

    round_.read_versions[card_id] = 0
    round_.changed[card_id] = Stream(card_id, "card", importing.vendor_id, past.program_id, version, head, card)
    whole_card = Owner(card_id, None)
    round_.claimed[number_claim(number)] = whole_card
    round_.claimed[qr_claim(token)] = whole_card
    round_.claimed[card_of_claim(past.program_id, past.customer_id)] = whole_card
    for claim in _contacts(importing, past, master_key):
        if claim not in around.taken:
            round_.claimed.setdefault(claim, Owner(past.customer_id, None))
    for line, reference in past.references():
        owner = Owner(card_id, importing.entry_id(line, "entry"))
        round_.claimed[reference_claim(past.program_id, reference)] = owner


def _new_number(numbers: set[str]) -> str:
    while (number := new_card_number()) in numbers:
        pass
    numbers.add(number)
    return number


def _contacts(importing: Import, past: Past, master_key: MasterKey) -> list[Claim]:
    given = (("email", past.email), ("phone", past.phone))
    return [contact_claim(master_key, importing.vendor_id, kind, value) for kind, value in given if value]


def _subject_id(importing: Import, past: Past) -> UUID:
    return derived(*answers.subject_of(importing.vendor_id, past.customer_id))
