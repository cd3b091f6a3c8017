"""Why an entry was accepted, or refused: what was asked, what the decision saw, and what it says when made again."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeAlias, cast, get_args
from uuid import UUID

from ledger import card as cards
from ledger import program as programs
from ledger.again import Decided, InputsUnknown, decide_again, reverses
from ledger.attempts import AttemptEvent
from ledger.card import Card, CardEvent, Entry
from ledger.errors import EntryNotFound, Refused
from ledger.ids import attempts_id
from ledger.program import Program, Rules
from ledger.reader import Reader
from ledger.remembered import refusal_again
from ledger.stream import Recorded

Cause: TypeAlias = Entry | Refused


@dataclass(frozen=True, slots=True)
class Explained:
    """A decision with all it was made of. Times are UTC, units whole, money in minor units."""

    decision_id: UUID
    card_id: UUID
    recorded: Recorded
    cause: Cause  # The entry, or the refusal with its facts.
    card: Card  # As the decision saw it, after `card_version` of its events.
    card_version: int
    program: Program
    is_the_same: bool | None  # What deciding again says; None where it was decided elsewhere, or asks for the unknown.

    @property
    def at(self) -> datetime:
        at: datetime = self.recorded.event.at
        return at

    @property
    def rules(self) -> Rules:
        """Those it was decided under."""
        return self.program.rules_at(self.at)

    @property
    def is_imported(self) -> bool:
        return self.recorded.envelope.channel == "import"


async def explain_entry(reader: Reader, entry_id: UUID, vendor_id: UUID | None) -> Explained:
    """An accepted decision, of any vendor where `vendor_id` is None.

    Raises: EntryNotFound where no decision of a till made that entry, or it is another vendor's.

    Source: the streams of the card and its program, read anew and folded.
    """
    recorded = await reader.entry(entry_id, vendor_id)
    if not isinstance(recorded.event, get_args(Entry)):
        raise EntryNotFound
    program = await _program(reader, recorded, None)
    return await _explained(reader, entry_id, recorded, recorded.stream_id, recorded.version - 1, program)


async def explain_refusal(reader: Reader, decision_id: UUID, card_id: UUID, version: int) -> Explained:
    """A refused decision: the event of that version on the card's attempts stream.

    Source: as of `explain_entry`. What was recorded before refusals said what they saw is put in order by position.
    """
    (recorded,) = await reader.events(attempts_id(card_id), after=version - 1, until=version)
    event: AttemptEvent = recorded.event
    program = await _program(reader, recorded, event.program_events)
    seen = event.card_version
    if seen is None:
        seen = sum(_is_before(before, recorded) for before in await reader.events(card_id))
    return await _explained(reader, decision_id, recorded, card_id, seen, program)


async def _program(reader: Reader, recorded: Recorded, events_seen: int | None) -> Program:
    program_id = recorded.envelope.program_id
    assert program_id is not None
    program: Program | None = None
    for number, event in enumerate(await reader.events(program_id), 1):
        if number <= events_seen if events_seen is not None else _is_before(event, recorded):
            program = programs.evolve(program, event.event)
    assert program is not None
    return program


def _is_before(one: Recorded, other: Recorded) -> bool:
    assert one.position is not None and other.position is not None
    return one.position < other.position


async def _explained(
    reader: Reader, decision_id: UUID, recorded: Recorded, card_id: UUID, seen: int, program: Program
) -> Explained:
    card: Card | None = None
    for before in await reader.events(card_id, until=seen):
        card = cards.evolve(card, before.event)
    assert card is not None
    event: Decided = recorded.event
    cause = refusal_again(event.refusal, event.facts) if isinstance(event, AttemptEvent) else event
    explained = Explained(decision_id, card_id, recorded, cause, card, seen, program, None)
    if explained.is_imported:
        return explained
    try:
        said = await _said_again(reader, explained)
    except InputsUnknown:
        return explained
    return replace(explained, is_the_same=_plain(said) == _plain(cause))


async def _said_again(reader: Reader, explained: Explained) -> Cause:
    event: Decided = explained.recorded.event
    undone = reverses(event)
    original: CardEvent | None = None
    if undone is not None:
        original = (await reader.entry(undone, explained.recorded.envelope.vendor_id)).event
    try:
        made = decide_again(event, explained.card, explained.program, original, entry_id=explained.decision_id)
    except Refused as refusal:
        return refusal
    return cast(Entry, made[0])


def _plain(cause: Cause) -> Any:
    return (
        (type(cause), {name: str(fact) for name, fact in cause.facts.items()}) if isinstance(cause, Refused) else cause
    )
