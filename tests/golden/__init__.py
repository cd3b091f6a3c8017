"""Every event ever released, as the bytes that stand in databases out there. Lines are added, never changed."""

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import orjson

from ledger.stream import Stored

GOLDEN_FILE = Path(__file__).with_name("events.ndjson")


@dataclass(frozen=True, slots=True)
class Golden:
    """One line: an event as it was stored, and the digest it had then."""

    stream_id: UUID
    version: int
    name: str
    state: bytes
    digest: str

    @property
    def stored(self) -> Stored:
        return Stored(self.stream_id, self.version, self.name, self.state, position=1)

    @classmethod
    def of(cls, line: str) -> "Golden":
        plain = orjson.loads(line)
        return cls(UUID(plain["stream_id"]), plain["version"], plain["name"], plain["state"].encode(), plain["digest"])

    @property
    def line(self) -> str:
        """The bytes stand in the line as the text they are, so that a difference can be read."""
        plain = {
            "name": self.name,
            "stream_id": self.stream_id,
            "version": self.version,
            "digest": self.digest,
            "state": self.state.decode(),
        }
        return orjson.dumps(plain).decode()


def golden_events() -> list[Golden]:
    if not GOLDEN_FILE.exists():
        return []
    return [Golden.of(line) for line in GOLDEN_FILE.read_text(encoding="utf-8").splitlines()]
