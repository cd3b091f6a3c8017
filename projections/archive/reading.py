"""Reading an archive: each line is verified before it is given away, and the whole by its signed trailer.

It needs the file, a public key and nothing else. Whoever takes lines in keeps them apart until the last one came.
"""

import re
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from typing import BinaryIO

from ledger.stream import digest, prev_of
from projections.archive.histories import Histories
from projections.archive.lines import (
    FORMAT,
    LINE_BYTES_MAX,
    ArchiveRefused,
    Checkpoint,
    Event,
    Header,
    History,
    Key,
    Line,
    Restore,
    Row,
    Trailer,
    order_of,
    read,
    trailer_text,
)
from projections.archive.rows import CARRIED
from projections.proofs import verify_statement
from projections.proofs.merkle import Frontier
from projections.proofs.verify_statement import (
    Fault,
    Kind,
    VerifierKey,
    leaf_data,
    leaf_hash,
    open_note,
    root_from_inclusion,
    verify_keys,
)

AT = re.compile(r"^at ([0-9T:+-]{1,40})$", re.MULTILINE)
TABLES = {carried.table: number for number, carried in enumerate(CARRIED)}


def verified(file: BinaryIO, trusted: VerifierKey, kept: str | None = None) -> Iterator[tuple[int, Line]]:
    """The lines with their numbers, each after everything that can be said of it so far was verified.

    The last one is the trailer: only when it comes is the file whole, and the one that was signed.

    Args:
        kept: A checkpoint that was fetched earlier: the archive must not be older, and what is in it of everything must
            go on from it.

    Raises:
        ArchiveRefused: Names the line. What was given away before must be forgotten.
        Fault: The archive may be what was made, and the kept checkpoint speaks against it, or is none.
    """
    with closing(_Reading(trusted, kept)) as reading:
        while not reading.is_over:
            yield reading.next(file)
        if file.read(1):
            raise ArchiveRefused(reading.number + 1, "there is more behind the trailer")


class _Wrong(Exception):
    """What is wrong with the line that is read."""


class _Reading:
    """What was read so far, as far as later lines depend on it."""

    def __init__(self, trusted: VerifierKey, kept: str | None) -> None:
        self._trusted = trusted
        self._kept_note = kept
        self._kept: verify_statement.Checkpoint | None = None
        self._hasher = sha256()
        self._histories = Histories()
        self._notes: list[str] = []
        self._keys: list[VerifierKey] = []
        self._header: Header | None = None
        self._given_up = 0  # Checkpoints up to this number may be of a past that was given up.
        self._tree = Frontier()
        self._checkpoint: verify_statement.Checkpoint | None = None
        self._checkpoint_number = 0
        self._order = -1
        self._position = 0
        self._events = 0
        self._table = 0
        self._last_history = b""
        self.number = 0
        self.is_over = False

    def close(self) -> None:
        self._histories.close()

    def next(self, file: BinaryIO) -> tuple[int, Line]:
        self.number += 1
        raw = file.readline(LINE_BYTES_MAX + 1)
        try:
            if len(raw) > LINE_BYTES_MAX:
                raise _Wrong(f"it is longer than {LINE_BYTES_MAX} bytes")
            if not raw.endswith(b"\n"):
                raise _Wrong("the file ends before its trailer: it was cut off")
            line = self._read(raw[:-1])
            self._look_at(line)
        except (_Wrong, Fault) as wrong:
            raise ArchiveRefused(self.number, str(wrong)) from None
        if self._kept_note is not None:
            self._hold_against(self._kept_note, line)
        self._hasher.update(raw)
        return self.number, line

    def _read(self, raw: bytes) -> Line:
        try:
            line = read(raw)
        except ValueError as error:
            raise _Wrong("this is not an archive" if self._header is None else str(error)) from None
        if self._header is None and not isinstance(line, Header):
            raise _Wrong("an archive begins with its header")
        if order_of(line) < self._order or (isinstance(line, Header) and self._header is not None):
            raise _Wrong("it does not stand where lines of its kind do")
        if order_of(line) > 1 and not self._keys:
            self._trust()
        if order_of(line) > 3 and self._order <= 3:
            self._end_of_events()
        self._order = order_of(line)
        return line

    def _look_at(self, line: Line) -> None:
        match line:
            case Header():
                self._look_at_header(line)
            case Key():
                self._notes.append(line.note)
                if len(self._notes) > verify_statement.KEYS_MAX:
                    raise _Wrong("there are too many keys")
            case Restore():
                open_note(line.note, self._keys)
                self._given_up = max(self._given_up, line.checkpoint_number)
            case Checkpoint():
                self._look_at_checkpoint(line)
            case Event():
                self._look_at_event(line)
            case History():
                self._look_at_history(line)
            case Row():
                self._look_at_row(line)
            case Trailer():
                self._look_at_trailer(line)

    def _look_at_header(self, header: Header) -> None:
        if header.format != FORMAT:
            raise _Wrong(f"its format is {header.format!r}: this version of the service reads {FORMAT!r}")
        if header.origin != self._trusted.name:
            raise _Wrong(f"it is an archive of {header.origin!r}, and the key is one of {self._trusted.name}")
        self._header = header

    def _trust(self) -> None:
        try:
            self._keys = verify_keys(self._notes, self._trusted)
        except Fault as fault:
            if fault.kind is Kind.WRONG_KEY:
                raise _Wrong("nothing leads from the key you gave to those that signed this archive") from None
            raise

    # ------------------------------------------------------------------ events and the tree

    def _look_at_checkpoint(self, line: Checkpoint) -> None:
        assert self._header is not None
        checkpoint = verify_statement.Checkpoint.parse(open_note(line.note, self._keys)[0])
        if checkpoint.origin != self._trusted.name:
            raise _Wrong(f"the checkpoint is of another ledger, {checkpoint.origin}")
        if self._header.vendor_id is not None:
            if self._checkpoint is not None or self._events:
                raise _Wrong("one vendor's archive has one checkpoint, before its events")
        elif line.number <= self._given_up:
            return
        elif line.number <= self._checkpoint_number:
            raise _Wrong("checkpoints changed places")
        elif (checkpoint.size, line.position) != (self._tree.size, self._position):
            raise _Wrong(f"the checkpoint is over {checkpoint.size} events, and {self._tree.size} stand before it")
        elif checkpoint.root != self._tree.root():
            raise _Wrong(f"the events before it are not those of the signed tree of {checkpoint.size}")
        self._checkpoint, self._checkpoint_number = checkpoint, line.number

    def _look_at_event(self, event: Event) -> None:
        assert self._header is not None
        if event.position <= self._position:
            raise _Wrong(
                f"position {event.position} comes after {self._position}: events are missing or changed places"
            )
        if not 0 < event.version < 2**63 or not event.position < 2**63:
            raise _Wrong("an event has no such number")
        if digest(event.stream_id, event.version, event.name, event.state) != event.hash:
            raise _Wrong("the bytes of the event are not those its hash is of")
        version, head = self._histories.standing(event.stream_id)
        if event.version != version + 1:
            raise _Wrong(f"version {version + 1} of {event.stream_id} is missing, {event.version} follows")
        if prev_of(event.state) != head:
            raise _Wrong(f"version {event.version} of {event.stream_id} does not follow the one before it")
        leaf = leaf_hash(leaf_data(event.position, bytes.fromhex(event.hash)))
        if self._header.vendor_id is None:
            if event.index is not None or event.proof:
                raise _Wrong("an event of an archive of everything has no proof of its own")
            self._tree.append(leaf)
        elif event.index is not None:
            self._prove(leaf, event.index, event.proof)
        elif event.proof:
            raise _Wrong("there is a proof without a place in the tree")
        self._histories.put(event.stream_id, event.version, event.hash)
        self._position = event.position
        self._events += 1

    def _prove(self, leaf: bytes, index: int, proof: tuple[bytes, ...]) -> None:
        checkpoint = self._checkpoint
        if checkpoint is None or root_from_inclusion(index, checkpoint.size, leaf, proof) != checkpoint.root:
            raise _Wrong("the event is not in the signed tree")

    def _end_of_events(self) -> None:
        assert self._header is not None
        size = 0 if self._checkpoint is None else self._checkpoint.size
        if (self._events, size) != (self._header.events, self._header.sealed):
            raise _Wrong(
                f"the header promised {self._header.events} events and a checkpoint over {self._header.sealed},"
                f" and there are {self._events} and one over {size}"
            )

    def _hold_against(self, note: str, line: Line) -> None:
        """The signed tree, when it is as large as the kept one; and at its end, how large it became.

        Behind the newest checkpoint the order of events is not settled: there is nothing to hold against. One vendor's
        archive has the newest tree alone.

        Raises: Fault.
        """
        if self._kept is None:
            if not self._keys:
                return
            self._kept = verify_statement.Checkpoint.parse(open_note(note, self._keys)[0])
        assert self._header is not None
        kept, newest = self._kept, self._checkpoint
        is_another = newest is not None and newest.size == kept.size and newest.root != kept.root
        if isinstance(line, Event) and self._tree.size == kept.size <= self._header.sealed:
            is_another = self._tree.root() != kept.root
        if is_another:
            raise Fault(Kind.INCONSISTENT, f"two different trees of {kept.size} were signed")
        if isinstance(line, Trailer):
            size = 0 if newest is None else newest.size
            if size < kept.size:
                raise Fault(Kind.OLDER, f"the archive was made with a tree of {size}, and you know one of {kept.size}")

    # ------------------------------------------------------------------ behind the events

    def _look_at_history(self, line: History) -> None:
        if line.stream_id.bytes <= self._last_history:
            raise _Wrong("histories changed places")
        version, head = self._histories.take(line.stream_id)
        if (line.version, line.head) != (version, head):
            raise _Wrong(f"{line.stream_id} ends with version {line.version}, and its events do not end there")
        self._last_history = line.stream_id.bytes

    def _look_at_row(self, line: Row) -> None:
        table = TABLES.get(line.table, -1)
        if table < self._table:
            raise _Wrong("it does not stand where rows of this table do, or the table is none that is carried")
        self._table = table

    def _look_at_trailer(self, line: Trailer) -> None:
        left = self._histories.any()
        if left is not None:
            raise _Wrong(f"nothing says where {left} ends")
        text, signed = open_note(line.note, self._keys, Kind.SIGNATURE)
        if self._keys[-1] not in signed:
            raise _Wrong("the trailer is not signed by the newest key")
        at = AT.search(text)
        digest_ = self._hasher.hexdigest()
        said = trailer_text(lines=self.number - 1, events=self._events, sha256=digest_, at=at[1] if at else "")
        if text != said:
            raise _Wrong("what stands before the trailer is not what was signed")
        self.is_over = True
