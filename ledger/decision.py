"""What travels between a command and the committer: what to read, what was decided, what to answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from ledger.errors import Refused
from ledger.seal import SubjectKey
from ledger.stream import Envelope, Recorded, StreamType


@dataclass(frozen=True, slots=True)
class Claim:
    """Something unique that finds a stream, and perhaps the entry that claimed it."""

    kind: str
    scope: UUID
    value: bytes


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream as it is now: `version` 0, an empty head and no state where it has no event yet."""

    stream_id: UUID
    stream_type: str
    vendor_id: UUID | None
    parent_id: UUID | None
    version: int
    head: str
    state: Any


@dataclass(frozen=True, slots=True)
class Owner:
    stream_id: UUID
    entry_id: UUID | None


class View(Protocol):
    """What a decision may look at: everything its command asked to read, with the round's earlier commands in it."""

    def stream(self, stream_id: UUID) -> Stream | None: ...

    def owner(self, claim: Claim) -> Owner | None: ...


@dataclass(frozen=True, slots=True)
class Append:
    """Events for one stream, in order."""

    stream_id: UUID
    stream_type: StreamType
    parent_id: UUID | None
    events: Sequence[Any]
    envelope: Envelope
    subject: SubjectKey | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    claim: Claim
    stream_id: UUID
    entry_id: UUID | None = None


Answer = Callable[[list[Recorded], View], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a command leads to. `answer` is told the events as recorded, and sees the state after them."""

    appends: Sequence[Append]
    answer: Answer
    claims: Sequence[Claimed] = ()
    releases: Sequence[Claim] = ()


@dataclass(frozen=True, slots=True)
class Once:
    """The retry's identity: derived from vendor and Idempotency-Key, with a fingerprint of what was asked."""

    command_id: UUID
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Command:
    """One thing asked. `decide` is pure: it may run several times and sees nothing but the view."""

    vendor_id: UUID
    once: Once
    decide: Callable[[View], Decision]
    streams: Sequence[UUID] = ()
    claims: Sequence[Claim] = ()
    note_refusal: Callable[[View, Refused], Append | None] | None = None
    remember_refusals: bool = False
    subject: SubjectKey | None = None  # Whose personal data the answer holds: it is kept sealed with that key.
    is_dry_run: bool = False


@dataclass(slots=True)
class Outcome:
    """What came of a command. `answer` is JSON text, the same for every retry; `position` its last event's."""

    answer: str
    position: int | None
    is_replay: bool = False
