"""One round: the state rows that were read, the decisions on them in order, and everything they add.

Nothing here waits or talks to the database. Two commands on one card simply follow each other; a refusal is its own
answer and disturbs nobody.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ledger import errors
from ledger.codec import from_json, to_json
from ledger.decision import Append, Claim, Command, Decision, Once, Outcome, Owner, Stream
from ledger.errors import KeyReused, Refused
from ledger.remembered import answer_text, kept, kept_refusal, recalled, repeated
from ledger.stream import NAME_OF, STREAM_KINDS, Recorded, digest, encode, evolve, first_prev, sealed

# Everything the commands of a round name, and the programs and vendors around it, in one round trip.
READ = """
WITH owned AS (
    SELECT c.kind, c.scope, c.value, c.stream_id, c.entry_id
    FROM unnest(%(kinds)b::text[], %(scopes)b::uuid[], %(values)b::bytea[]) AS w (kind, scope, value)
    JOIN claims c ON c.scope = w.scope AND c.value = w.value AND c.kind = w.kind
), named AS (
    SELECT unnest(%(streams)b::uuid[]) AS stream_id UNION SELECT stream_id FROM owned
), near AS (
    SELECT s.* FROM named JOIN streams s USING (stream_id)
), around AS (
    SELECT parent_id AS stream_id FROM near UNION SELECT vendor_id FROM near EXCEPT SELECT stream_id FROM named
)
SELECT 0, stream_id, stream_type, vendor_id, parent_id, version, head, state FROM near
UNION ALL
SELECT 0, s.stream_id, s.stream_type, s.vendor_id, s.parent_id, s.version, s.head, s.state
FROM around JOIN streams s USING (stream_id)
UNION ALL
SELECT 1, stream_id, kind, scope, entry_id, NULL, value, NULL FROM owned
UNION ALL
SELECT 2, k.command_id, NULL, k.vendor_id, NULL, k.position, k.fingerprint, k.answer
FROM unnest(%(keys)b::uuid[]) AS w (command_id) JOIN idempotency_keys k USING (command_id)
"""


class RoundSpoiled(Exception):
    """A command failed in a way no rule foresees. Nothing of its round was written."""

    def __init__(self, command: Command, mistake: Exception) -> None:
        super().__init__(type(mistake).__name__)
        self.command = command
        self.mistake = mistake


@dataclass(slots=True)
class Result:
    """What a command's future will be told once the round is written."""

    outcome: Outcome | None = None
    error: Exception | None = None
    last_event: int | None = None  # Which of the round's events, counted from 1, is its last.
    is_stored: bool = False  # It was there before this round.
    is_told: bool = False  # Its first asker has it; whoever comes now gets a replay.

    def told(self) -> Outcome:
        """The outcome, or the refusal raised."""
        if self.error is not None:
            raise self.error
        assert self.outcome is not None
        return self.outcome


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key that is used up: for what, and what came of it, in this round or kept since an earlier one."""

    fingerprint: bytes
    result: Result | None = None
    answer: str | None = None
    position: int | None = None


@dataclass(slots=True)
class NewKey:
    once: Once
    vendor_id: UUID
    stream_id: UUID | None
    version: int | None
    event: int | None
    answer: str | None


@dataclass(slots=True)
class NewEvent:
    stream_id: UUID
    version: int
    name: str
    state: bytes


class Round:
    """The state rows of one round, and what its decisions add to them."""

    def __init__(self) -> None:
        self.streams: dict[UUID, Stream] = {}
        self.owners: dict[Claim, Owner | None] = {}
        self.keys: dict[UUID, KnownKey] = {}
        self.read_versions: dict[UUID, int] = {}
        self.changed: dict[UUID, Stream] = {}
        self.events: list[NewEvent] = []
        self.claimed: dict[Claim, Owner] = {}
        self.released: set[Claim] = set()
        self.new_keys: list[NewKey] = []
        self.notes: list[Append] = []

    def stream(self, stream_id: UUID) -> Stream | None:
        found = self.streams.get(stream_id)
        return found if found is not None and found.version else None

    def owner(self, claim: Claim) -> Owner | None:
        return self.owners.get(claim)

    def take_in(self, rows: Sequence[tuple[Any, ...]]) -> None:
        for part, id_, text, vendor_id, parent_id, number, raw, state in rows:
            if part == 0:
                if id_ not in self.streams or not self.streams[id_].version:
                    self.streams[id_] = Stream(
                        id_, text, vendor_id, parent_id, number, raw.hex(), from_json(STREAM_KINDS[text].state, state)
                    )
                    self.read_versions[id_] = number
            elif part == 1:
                self.owners[Claim(text, vendor_id, raw)] = Owner(id_, parent_id)
            else:
                self.keys[id_] = KnownKey(raw, answer=state, position=number)

    def absent(self, stream_ids: Sequence[UUID]) -> None:
        for stream_id in stream_ids:
            if stream_id not in self.streams:
                self.streams[stream_id] = Stream(stream_id, "", None, None, 0, "", None)
                self.read_versions[stream_id] = 0

    # -------------------------------------------------------------- deciding

    def decide(self, command: Command) -> Result:
        """Replay, decide or refuse one command, and take what it adds into the round.

        Raises: RoundSpoiled for a mistake of ours; the round must be begun again without that command.
        """
        known = self.keys.get(command.once.command_id)
        if known is not None:
            return self._again(command, known)
        result = Result()
        try:
            decision = command.decide(self)
        except Refused as refusal:
            result.error = refusal
            if not command.is_dry_run:
                self._note(command, refusal, result)
            return result
        except Exception as mistake:
            raise RoundSpoiled(command, mistake) from mistake
        try:
            if command.is_dry_run:
                return Result(outcome=self._rehearse(decision))
            recorded = self._apply(decision)
            answer = answer_text(decision.answer(recorded, self))
        except Exception as mistake:
            raise RoundSpoiled(command, mistake) from mistake
        result.outcome = Outcome(answer, None)
        result.last_event = len(self.events) if recorded else None
        self._remember(command, result, kept(answer, command.once, command.subject), recorded[-1] if recorded else None)
        return result

    def _again(self, command: Command, known: KnownKey) -> Result:
        if known.fingerprint != command.once.fingerprint:
            return Result(error=KeyReused())
        if known.result is None:
            found = recalled(known.answer, known.position, command.once, command.subject)
            if isinstance(found, Refused):
                return Result(error=found)
            return Result(outcome=found, is_stored=True)
        if isinstance(known.result.error, Refused):
            return Result(error=repeated(known.result.error))
        return known.result

    def late_streams(self) -> list[UUID]:
        """Streams of refusals that were not read yet."""
        return [append.stream_id for append in self.notes if append.stream_id not in self.streams]

    def write_notes(self) -> None:
        """Add the refusals to their streams, once those were read."""
        for append in self.notes:
            self._add(append)
        self.notes = []

    def _rehearse(self, decision: Decision) -> Outcome:
        """What would be answered, with everything put back as it was."""
        streams, changed, events = dict(self.streams), dict(self.changed), len(self.events)
        owners, claimed, released = dict(self.owners), dict(self.claimed), set(self.released)
        try:
            return Outcome(answer_text(decision.answer(self._apply(decision), self)), None)
        finally:
            del self.events[events:]
            self.streams, self.changed = streams, changed
            self.owners, self.claimed, self.released = owners, claimed, released

    def _remember(self, command: Command, result: Result, answer: str, last: Recorded | None) -> None:
        self.keys[command.once.command_id] = KnownKey(command.once.fingerprint, result)
        self.new_keys.append(
            NewKey(
                command.once,
                command.vendor_id,
                last.stream_id if last else None,
                last.version if last else None,
                result.last_event,
                answer,
            )
        )

    def _note(self, command: Command, refusal: Refused, result: Result) -> None:
        if command.note_refusal is not None and isinstance(refusal, errors.RuleRefused):
            append = command.note_refusal(self, refusal)
            if append is not None:
                refusal.decision_id = command.once.command_id
                self.notes.append(append)
        if command.remember_refusals and isinstance(refusal, errors.RuleRefused | errors.Gone | errors.Taken):
            self._remember(command, result, kept_refusal(refusal), None)

    def _apply(self, decision: Decision) -> list[Recorded]:
        for claim in decision.releases:
            if self.claimed.pop(claim, None) is None:
                self.released.add(claim)
            self.owners[claim] = None
        for claimed in decision.claims:
            owner = Owner(claimed.stream_id, claimed.entry_id)
            self.owners[claimed.claim] = self.claimed[claimed.claim] = owner
        return [recorded for append in decision.appends for recorded in self._add(append)]

    def _add(self, append: Append) -> list[Recorded]:
        """Add events to their stream. The stream must have been read."""
        stream = self.streams[append.stream_id]
        envelope = append.envelope
        recorded: list[Recorded] = []
        for plain_event in append.events:
            version = stream.version + 1
            event = sealed(plain_event, append.subject, stream_id=append.stream_id, version=version)
            name = NAME_OF[type(event)]
            prev = stream.head or first_prev(append.stream_id)
            state = encode(event, envelope, prev)
            head = digest(append.stream_id, version, name, state)
            stream = Stream(
                append.stream_id,
                append.stream_type,
                envelope.vendor_id,
                append.parent_id,
                version,
                head,
                evolve(append.stream_type, stream.state, event),
            )
            self.events.append(NewEvent(append.stream_id, version, name, state))
            recorded.append(Recorded(append.stream_id, version, None, name, event, envelope, prev, head))
        self.streams[append.stream_id] = self.changed[append.stream_id] = stream
        return recorded

    # -------------------------------------------------------------- writing

    @property
    def has_changes(self) -> bool:
        return bool(self.events or self.new_keys or self.claimed or self.released)

    def parameters(self) -> tuple[Any, ...]:
        """The arguments of append_batch, column by column."""
        changed = list(self.changed.values())
        events, keys, released = self.events, self.new_keys, list(self.released)
        claimed = list(self.claimed.items())
        return (
            list(self.read_versions),
            list(self.read_versions.values()),
            [e.stream_id for e in events],
            [e.version for e in events],
            [e.name for e in events],
            [e.state for e in events],
            [s.stream_id for s in changed],
            [s.stream_type for s in changed],
            [s.vendor_id for s in changed],
            [s.parent_id for s in changed],
            [s.version for s in changed],
            [bytes.fromhex(s.head) for s in changed],
            [to_json(s.state) for s in changed],
            [c.kind for c in released],
            [c.scope for c in released],
            [c.value for c in released],
            [c.kind for c, _ in claimed],
            [c.scope for c, _ in claimed],
            [c.value for c, _ in claimed],
            [owner.stream_id for _, owner in claimed],
            [owner.entry_id for _, owner in claimed],
            [k.once.command_id for k in keys],
            [k.vendor_id for k in keys],
            [k.once.fingerprint for k in keys],
            [k.stream_id for k in keys],
            [k.version for k in keys],
            [k.event for k in keys],
            [k.answer for k in keys],
        )
