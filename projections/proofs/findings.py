"""What a look at the store found, the first of each kind, and how far it got."""

from dataclasses import dataclass, field
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Found:
    """Something that is not as it was sealed, with the place where it shows first."""

    kind: str
    sentence: str
    position: int | None = None
    stream_id: UUID | None = None

    def __str__(self) -> str:
        at = "" if self.position is None else f" at position {self.position}"
        of = "" if self.stream_id is None else f" of stream {self.stream_id}"
        return f"{self.kind}{at}{of}: {self.sentence}"


@dataclass(slots=True)
class Findings:
    """The first of each kind, and how much was looked at."""

    first: dict[str, Found] = field(default_factory=dict)
    faults: int = 0
    sealed_events: int = 0
    checkpoints: int = 0
    given_up: int = 0  # Checkpoints of a past that an operator gave up.
    events: int = 0
    histories: int = 0
    read: int = 0  # Events, some of them twice where something is wrong.
    position: int = 0  # The last one that was held against the tree.

    def add(self, found: Found) -> None:
        self.faults += 1
        self.first.setdefault(found.kind, found)
