"""An archive that does not fit together is refused by its line, whoever signed it."""

from base64 import b64encode
from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec
import pytest

from ledger.stream import digest, first_prev
from projections.archive.lines import ArchiveRefused, Checkpoint, Event, Header, History, Key, Line, Row, written
from projections.proofs.notes import SigningKey
from tests.projections.archive.archives import Scene, lines, load, nth, rows_in, signed_again, signer
from tests.projections.proofs.sealing import ORIGIN

replace: Callable[..., Any] = msgspec.structs.replace


def test_whoever_has_another_key_signs_nothing_that_is_taken(scene: Scene) -> None:
    for key, why in (
        (SigningKey.new(ORIGIN).verifier, "line 4: nothing leads from the key you gave"),
        (SigningKey.new("other.example/ledger").verifier, "line 1: it is an archive of 'shop.example/ledger'"),
    ):
        with pytest.raises(ArchiveRefused, match=why):
            load(scene.empty_url, scene.whole, key)
    forged = signed_again(lines(scene.whole), SigningKey.new(ORIGIN))
    with pytest.raises(ArchiveRefused, match="none of the known keys signed"):
        load(scene.empty_url, forged, scene.store.public_key)
    assert rows_in(scene.empty_url) == 0


def test_a_key_that_was_rotated_away_signs_no_archive(scene: Scene) -> None:
    with pytest.raises(ArchiveRefused, match="not signed by the newest key"):
        load(scene.empty_url, signed_again(lines(scene.whole), scene.old_key), scene.store.public_key)


def test_nothing_may_stand_behind_the_trailer(scene: Scene) -> None:
    with pytest.raises(ArchiveRefused, match="there is more behind the trailer"):
        load(scene.empty_url, scene.whole + b"\n", scene.store.public_key)
    assert rows_in(scene.empty_url) == 0


class Lie(NamedTuple):
    """What the service itself could have signed, and still must not be taken."""

    change: Callable[[list[Any]], None]
    why: str


def changed(kind: type[Any], n: int = 0, **fields: Any) -> Callable[[list[Any]], None]:
    def change(parts: list[Any]) -> None:
        at = nth(parts, kind, n)
        parts[at] = replace(parts[at], **fields)

    return change


def without(kind: type[Any], n: int = 0) -> Callable[[list[Any]], None]:
    def change(parts: list[Any]) -> None:
        del parts[nth(parts, kind, n)]

    return change


def twice(kind: type[Any], n: int = 0) -> Callable[[list[Any]], None]:
    def change(parts: list[Any]) -> None:
        at = nth(parts, kind, n)
        parts.insert(at, parts[at])

    return change


def swapped(kind: type[Any], n: int, m: int) -> Callable[[list[Any]], None]:
    def change(parts: list[Any]) -> None:
        at, other = nth(parts, kind, n), nth(parts, kind, m)
        parts[at], parts[other] = parts[other], parts[at]

    return change


def rewritten(parts: list[Any]) -> None:
    """The newest event of a history told otherwise, its chain and its end made right again."""
    ends = {line.head: at for at, line in enumerate(parts) if isinstance(line, History)}
    at = next(at for at, line in enumerate(parts) if isinstance(line, Event) and line.hash in ends)
    event = parts[at]
    state = event.state.replace(b'"recorded_at":"2026', b'"recorded_at":"2025')
    head = digest(event.stream_id, event.version, event.name, state)
    parts[at] = replace(event, state=state, hash=head)
    parts[ends[event.hash]] = replace(parts[ends[event.hash]], head=head)


def moved_behind(kind: type[Any], other: type[Any]) -> Callable[[list[Any]], None]:
    """The first line of a kind, behind the last of another."""

    def change(parts: list[Any]) -> None:
        parts.insert(nth(parts, other, -1), parts.pop(nth(parts, kind)))

    return change


def follows_nothing(parts: list[Any]) -> None:
    """A later event of a history that says it follows another one than it does, in bytes its hash is of."""
    at = next(at for at, line in enumerate(parts) if isinstance(line, Event) and line.version > 1)
    event = parts[at]
    state = event.state[:9] + b"0" * 64 + event.state[73:]
    parts[at] = replace(event, state=state, hash=digest(event.stream_id, event.version, event.name, state))


def renumbered(parts: list[Any]) -> None:
    at = nth(parts, Event, -1)
    parts[at] = replace(parts[at], version=parts[at].version + 1)


def a_row(table: str, values: bytes, at_end: bool = True) -> Callable[[list[Any]], None]:
    def change(parts: list[Any]) -> None:
        parts.insert(nth(parts, Row, -1) + 1 if at_end else nth(parts, Row), Row(table, msgspec.Raw(values)))

    return change


def unknown_event(parts: list[Any]) -> None:
    stream_id = uuid4()
    state = b'{"prev":"' + first_prev(stream_id).encode() + b'","stream_type":"card"}'
    head = digest(stream_id, 1, "card-painted", state)
    last = parts[nth(parts, Event, -1)]
    parts.insert(nth(parts, Event, -1) + 1, Event(last.position + 1, stream_id, 1, "card-painted", state, head))
    histories = sorted(
        [*(p for p in parts if isinstance(p, History)), History(stream_id, "card", uuid4(), 1, head)],
        key=lambda line: line.stream_id.bytes,
    )
    first = nth(parts, History)
    parts[first : first + len(histories) - 1] = histories
    parts[0] = replace(parts[0], events=parts[0].events + 1)


LIES = {
    "another format": Lie(changed(Header, format="loyalty-ledger archive 2"), "line 1: its format is"),
    "another origin": Lie(changed(Header, origin="other.example/ledger"), "line 1: it is an archive of"),
    "fewer events promised": Lie(changed(Header, events=3), "the header promised 3 events"),
    "less sealed": Lie(changed(Header, sealed=0), "the header promised"),
    "a vendor's that was everything's": Lie(
        changed(Header, vendor_id=uuid4()), "one vendor's archive has one checkpoint"
    ),
    "a key missing": Lie(without(Key, 0), "line 3: key 1 of the list does not follow"),
    "bytes of an event": Lie(changed(Event, 5, state=b"{}"), "the bytes of the event are not those its hash is of"),
    "name of an event": Lie(changed(Event, 5, name="card-erased"), "the bytes of the event are not those"),
    "hash of an event": Lie(changed(Event, 5, hash="00" * 32), "the bytes of the event are not those its hash is of"),
    "position of an event": Lie(changed(Event, 5, position=2**62), "position 7 comes after"),
    "an event at no position": Lie(changed(Event, 0, position=-1), "position -1 comes after 0"),
    "an event missing": Lie(without(Event, 2), "is missing|the checkpoint is over"),
    "an event of a history missing": Lie(without(Event, 8), "is missing|the checkpoint is over"),
    "an event twice": Lie(twice(Event, 4), "comes after"),
    "events in another order": Lie(swapped(Event, 3, 4), "comes after|is missing"),
    "an event with a proof": Lie(changed(Event, 5, index=1), "has no proof of its own"),
    "a link of a chain": Lie(follows_nothing, "does not follow the one before it"),
    "a second header": Lie(twice(Header), "does not stand where lines of its kind do"),
    "a key behind events": Lie(moved_behind(Key, Event), "does not stand where lines of its kind do|does not follow"),
    "a history before events": Lie(moved_behind(Event, History), "does not stand|is missing"),
    "a version left out": Lie(renumbered, "the bytes of the event are not those its hash is of"),
    "a history written anew": Lie(rewritten, "the events before it are not those of the signed tree"),
    "a checkpoint missing at the end": Lie(without(Checkpoint, -1), "the header promised"),
    "a checkpoint twice": Lie(twice(Checkpoint, 0), "checkpoints changed places"),
    "checkpoints in another order": Lie(swapped(Checkpoint, 0, 1), "the checkpoint is over"),
    "a history missing": Lie(without(History, 1), "nothing says where"),
    "a history twice": Lie(twice(History, 1), "histories changed places"),
    "histories in another order": Lie(swapped(History, 1, 2), "histories changed places"),
    "a history's end": Lie(changed(History, 1, version=77), "ends with version 77"),
    "a history of another vendor": Lie(changed(History, 1, vendor_id=uuid4()), "belongs to somebody else"),
    "a history of another kind": Lie(changed(History, 1, stream_type="subject"), "belongs to somebody else"),
    "a row twice": Lie(twice(Row, 0), "does not take: "),
    "a row without its columns": Lie(a_row("claims", b'{"kind":"x"}'), "does not take: "),
    "a row that is none": Lie(a_row("claims", b"7"), "does not take: "),
    "a row of text that is none": Lie(a_row("claims", b'{"kind":"\\u0000"}'), "does not take: "),
    "a row of rates": Lie(a_row("rate_counts", b"{}"), "the table is none that is carried"),
    "a row of passwords": Lie(a_row("pg_authid", b"{}"), "the table is none that is carried"),
    "rows in another order": Lie(a_row("google_nonces", b"{}", at_end=False), "does not stand where|does not take"),
    "an event nobody knows": Lie(unknown_event, "knows no event 'card-painted'"),
}


def is_refused(scene: Scene, archive: bytes, lie: Lie) -> None:
    parts: list[Line | bytes] = [*lines(archive)]
    lie.change(parts)
    with pytest.raises(ArchiveRefused, match=lie.why):
        load(scene.empty_url, signed_again(parts, signer(scene.store)), scene.store.public_key)
    assert rows_in(scene.empty_url) == 0


@pytest.mark.parametrize("name", LIES)
def test_what_does_not_fit_together_is_refused_whoever_signed_it(scene: Scene, name: str) -> None:
    is_refused(scene, scene.whole, LIES[name])


VENDORS_LIES = {
    "no proof": Lie(changed(Event, 3, index=None), "there is a proof without a place in the tree"),
    "another place": Lie(changed(Event, 3, index=1), "the event is not in the signed tree|inclusion proof"),
    "another proof": Lie(changed(Event, 3, proof=(b"\0" * 32,)), "the inclusion proof is too short"),
    "a place outside the tree": Lie(changed(Event, 3, index=10**15), "is not in a tree of"),
    "no checkpoint": Lie(without(Checkpoint), "the event is not in the signed tree"),
    "an event missing": Lie(without(Event, 6), "is missing|the header promised"),
    "a history written anew": Lie(rewritten, "the event is not in the signed tree"),
}


@pytest.mark.parametrize("name", VENDORS_LIES)
def test_a_vendors_archive_is_not_taken_on_trust_either(scene: Scene, name: str) -> None:
    is_refused(scene, scene.of_vendor, VENDORS_LIES[name])


def test_a_line_that_two_readers_could_read_differently_is_refused(scene: Scene) -> None:
    whole = lines(scene.whole)
    at = nth(whole, Event, 2)
    event = written(whole[at])[:-1]
    state = b64encode(b"{}")
    for other in (
        event[:-1] + b',"state":"' + state + b'"}',
        event.replace(b":", b": ", 1),
        event.replace(b"/", b"\\/"),
    ):
        if other != event:
            parts = [*whole[:at], other, *whole[at + 1 :]]
            with pytest.raises(ArchiveRefused, match=f"line {at + 1}: "):
                load(scene.empty_url, signed_again(parts, signer(scene.store)), scene.store.public_key)
