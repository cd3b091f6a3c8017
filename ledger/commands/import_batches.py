"""One batch of an import: cards told in events, then written in one transaction with how far the import has come.

What is left behind is what tills would have left: chains, state rows, claims, the persons' keys, and a row that finds
each entry.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import Any
from uuid import UUID

from psycopg import Connection

from ledger import history
from ledger.card import evolve
from ledger.codec import from_json, to_plain
from ledger.commands import answers
from ledger.commands.imports import Import, ImportStopped
from ledger.commands.references import card_of_claim, contact_claim, number_claim, qr_claim, reference_claim
from ledger.committer import APPEND
from ledger.decision import Claim, Once, Owner, Stream
from ledger.history import Past
from ledger.ids import derived, new_card_number, new_qr_token
from ledger.program import Program
from ledger.round import NewEvent, NewKey, Round
from ledger.seal import MasterKey, SubjectKey
from ledger.stream import NAME_OF, digest, encode_beside, first_prev, sealed

MOVE_ON = """
UPDATE imports SET lines_done = %s, cards = %s, entries = %s WHERE id = %s AND lines_done = %s AND finished_at IS NULL
"""
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


@dataclass(frozen=True, slots=True)
class _Around:
    """What a batch must know of the database before it is told in events."""

    programs: dict[UUID, Stream]
    taken: set[Claim]
    numbers: set[str]  # That cards of this batch have: none is drawn twice.
    subjects: dict[UUID, SubjectKey]
    new_subjects: list[SubjectKey]


@dataclass(frozen=True, slots=True)
class Batch:
    """Cards, and what is written for them."""

    pasts: Sequence[Past]
    round: Round
    around: _Around


def told(
    connection: Connection[Any], importing: Import, pasts: Sequence[Past], master_key: MasterKey, now: datetime
) -> Batch:
    """Cards told in events, with what the database holds by now. It may move on until they are written.

    Args:
        connection: With autocommit, and `SESSION` executed on it.
        now: The time they are recorded at; no entry of them lies later.

    Raises:
        ImportStopped: A line cannot be recorded any more.
        psycopg.OperationalError: The database went away. Safe to ask again.
    """
    around = _read(connection, importing, pasts, master_key)
    round_ = Round()
    for program in around.programs.values():
        round_.read_versions[program.stream_id] = program.version
    try:
        for past in pasts:
            _add(round_, importing, past, around, master_key, now)
    except history.LineRefused as refused:
        raise ImportStopped(str(refused)) from refused
    return Batch(pasts, round_, around)


def write(connection: Connection[Any], before: Import, batch: Batch, master_key: MasterKey) -> Import:
    """Write a batch, all of it or nothing.

    Args:
        before: The import as the batch in front left it.

    Returns:
        The import as it stands now.

    Raises:
        ImportStopped: Somebody else goes on with the import. Nothing of the batch is recorded.
        psycopg.Error: Of a clash, where something moved on since it was told; nothing of it is recorded. Else its
            outcome is unknown, and `find` tells how far the import has come.
    """
    fresh = sorted(batch.around.new_subjects, key=lambda subject: subject.subject_id)
    after = replace(
        before,
        lines_done=batch.pasts[-1].last_line,
        cards=before.cards + len(batch.pasts),
        entries=before.entries + len(batch.round.new_keys),
    )
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
    return after


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
