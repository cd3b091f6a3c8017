"""The lines of an archive: what each may say, and the one way in which it is written.

A file is UTF-8, a JSON object to a line: a header, the public keys, accepted restores, events by position with the
checkpoints among them, where each history ends, rows that do not follow from events, and a signed trailer.
"""

from typing import Any, TypeAlias
from uuid import UUID

import msgspec

FORMAT = "loyalty-ledger archive 1"
TITLE = "loyalty-ledger archive"
LINE_BYTES_MAX = 16_000_000


class ArchiveRefused(Exception):
    """The file is not what was made, or not by whom it should be. Nothing of it was taken."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"line {line}: {why}")
        self.line = line
        self.why = why


class Header(
    msgspec.Struct,
    tag="header",
    tag_field="line",
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    kw_only=True,
):
    """What the file covers.

    `events` is how many follow, `position` that of the newest event there was, `sealed` how many leaves the newest
    checkpoint's tree has, `master_key` the name of the key that persons' keys are wrapped with.
    """

    format: str
    service: str
    origin: str
    made_at: str
    vendor_id: UUID | None = None  # Everything where it is absent.
    code: str | None = None
    events: int
    position: int
    sealed: int
    master_key: str


class Key(msgspec.Struct, tag="key", tag_field="line", frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A row of table sealing_keys, oldest first."""

    note: str
    recorded_at: str


class Restore(
    msgspec.Struct, tag="restore", tag_field="line", frozen=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A row of table accepted_restores."""

    number: int
    checkpoint_number: int
    note: str
    accepted_at: str


class Checkpoint(
    msgspec.Struct, tag="checkpoint", tag_field="line", frozen=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A row of table checkpoints: size and root stand in the note."""

    number: int
    position: int
    note: str
    sealed_at: str


class Event(msgspec.Struct, tag="event", tag_field="line", frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An event, its bytes in base64, its digest in hex. One vendor's have their place in the signed tree too."""

    position: int
    stream_id: UUID
    version: int
    name: str
    state: bytes
    hash: str
    index: int | None = None
    proof: tuple[bytes, ...] = ()


class History(
    msgspec.Struct, tag="history", tag_field="line", frozen=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Where a stream ends. `head` is the digest of its newest event."""

    stream_id: UUID
    stream_type: str
    vendor_id: UUID
    version: int
    head: str
    parent_id: UUID | None = None


class Row(msgspec.Struct, tag="row", tag_field="line", frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A row of a table that does not follow from events, as PostgreSQL writes it in JSON."""

    table: str
    values: msgspec.Raw


class Trailer(
    msgspec.Struct, tag="trailer", tag_field="line", frozen=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A signed note of how many lines stand before it, how many of them are events, and the SHA-256 of all of them."""

    note: str


Line: TypeAlias = Header | Key | Restore | Checkpoint | Event | History | Row | Trailer

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


def written(line: Line) -> bytes:
    return _encoder.encode(line) + b"\n"


def read(raw: bytes) -> Line:
    """One line of a file, without its end.

    Raises: ValueError where it is no line of an archive, or written in another way than `written` does: so no two
    readers can read two things in it.
    """
    try:
        line = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError("it is not a line of an archive") from None
    if _encoder.encode(line) != raw:
        raise ValueError("it is not written as the lines of an archive are")
    return line


def trailer_text(*, lines: int, events: int, sha256: str, at: str) -> str:
    """What the trailer's note says."""
    return f"{TITLE}\nlines {lines}\nevents {events}\nsha256 {sha256}\nat {at}\n"


def order_of(line: Any) -> int:
    """Where in a file lines of this kind stand."""
    return _ORDER[type(line)]


_ORDER: dict[type[Any], int] = {Header: 0, Key: 1, Restore: 2, Checkpoint: 3, Event: 3, History: 4, Row: 5, Trailer: 6}
