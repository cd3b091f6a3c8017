"""An archive is taken in as it was made, or not at all: whatever somebody did to it is found and named by its line."""

import gzip
import io
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace as replaced
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ledger.commands.references import EVERYWHERE
from ledger.seal import MasterKey
from ledger.stream import digest, first_prev
from projections.archive.lines import (
    LINE_BYTES_MAX,
    ArchiveRefused,
    Checkpoint,
    Event,
    Header,
    History,
    Key,
    Line,
    Row,
    written,
)
from projections.archive.loading import NotLoaded
from projections.archive.making import ArchiveNotMade
from projections.archive.reading import verified
from projections.archive.rows import CARRIED, FOLLOWING, IN_LINES_OF_THEIR_OWN, LEFT_BEHIND
from projections.check import check
from projections.proofs.checkpoints import opened
from projections.proofs.merkle import Frontier
from projections.proofs.notes import SigningKey, sign
from projections.proofs.restores import accept_restore
from projections.proofs.sealing_keys import SealingRefused, rotate_key
from projections.proofs.store import verify_store
from projections.proofs.verify_statement import Fault, Kind, VerifierKey, leaf_data, leaf_hash
from projections.read_model import Projector
from tests.conftest import SERVER
from tests.databases import database
from tests.projections.archive.archives import NOW, lines, load, made, rows_in, signed_again, signer
from tests.projections.proofs.sealing import ORIGIN, SealedStore
from tests.projections.stories import MASTER_KEY

BUSIEST_VENDOR = """
SELECT stream_id, state FROM streams s WHERE stream_type = 'vendor'
ORDER BY (SELECT count(*) FROM streams t WHERE t.vendor_id = s.vendor_id) DESC, stream_id LIMIT 1
"""
WHOLE = (*IN_LINES_OF_THEIR_OWN, "streams", "tree_tiles", "claims", "idempotency_keys", "subject_keys")
replace: Callable[..., Any] = msgspec.structs.replace


class Scene(NamedTuple):
    store: SealedStore
    old_key: SigningKey
    whole: bytes
    of_vendor: bytes
    empty_url: str


@pytest.fixture(scope="module")
def scene(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Several vendors and checkpoints, a rotated key, a tail that is not sealed; and a database with nothing in it."""
    server, folder = pytestconfig.stash[SERVER], tmp_path_factory.mktemp("scene")
    with (
        database(server.url, template=server.template) as url,
        database(server.url, template=server.template) as empty_url,
    ):
        store = SealedStore(url, folder / "keys" / "sealing_key")
        store.stamp(uuid4())
        store.seal()
        old_key = signer(store)
        filled(store)
        yield Scene(
            store, old_key, made(store, folder), made(store, folder, code=code_of(store), name="vendors"), empty_url
        )


def filled(store: SealedStore, seed: int = 1) -> SealedStore:
    for part in range(2):
        store.fill(seed=seed + part)
        store.seal(events_max=7)
    with psycopg.connect(store.url, autocommit=True) as connection:
        rotate_key(connection, store.key_file, NOW)
    store.fill(cards=1, rounds=3, seed=seed + 2)
    store.seal()
    store.stamp()
    return store


def code_of(store: SealedStore) -> str:
    """A vendor's code, with the claim that finds it: the stories make none."""
    vendor_id, state = store.rows(BUSIEST_VENDOR)[0]
    code = str(msgspec.json.decode(state)["code"])
    store.execute(
        "INSERT INTO claims (kind, scope, value, stream_id) VALUES"
        f" ('vendor_code', '{EVERYWHERE}', '{code}', '{vendor_id}')"
        " ON CONFLICT DO NOTHING"
    )
    return code


def contents(url: str, table: str) -> list[Any]:
    with psycopg.connect(url) as connection:
        return connection.execute(f"SELECT t::text FROM {table} t ORDER BY t::text").fetchall()


# ------------------------------------------------------------------ as it was made


def test_every_table_says_what_becomes_of_it(scene: Scene) -> None:
    """A new table belongs into `projections.archive.rows`."""
    there = scene.store.rows(
        "SELECT table_name FROM information_schema.tables"
        " WHERE table_schema = 'public' AND table_name <> 'alembic_version'"
    )
    named = [*(carried.table for carried in CARRIED), *FOLLOWING, *LEFT_BEHIND, *IN_LINES_OF_THEIR_OWN]
    assert sorted(named) == sorted(row[0] for row in there)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
@example(seed=1)
def test_what_is_loaded_is_what_was_made_of(seed: int, pytestconfig: pytest.Config, tmp_path: Path) -> None:
    server, folder = pytestconfig.stash[SERVER], tmp_path / uuid4().hex
    folder.mkdir()
    with (
        database(server.url, template=server.template) as url,
        database(server.url, template=server.template) as new_url,
    ):
        store = filled(SealedStore(url, folder / "keys" / "sealing_key"), seed)
        raw = made(store, folder)
        load(new_url, raw, store.public_key)
        assert [table for table in WHOLE if contents(url, table) != contents(new_url, table)] == []
        Projector(new_url, MASTER_KEY).catch_up()
        Projector(url, MASTER_KEY).catch_up()
        assert check(new_url, MASTER_KEY) == check(url, MASTER_KEY) == []
        assert [table for table in FOLLOWING if contents(url, table) != contents(new_url, table)] == []
        again = SealedStore(new_url, store.key_file)
        assert made(again, folder, name="again") == raw
        sealed = again.seal()
        assert again.opened(sealed.note).root == again.root() == store.root()
        with psycopg.connect(new_url, autocommit=True) as connection:
            findings = list(verify_store(connection, store.public_key))[-1]
        assert (findings.faults, findings.sealed_events) == (0, sealed.size)


def test_one_vendors_archive_is_proved_and_keeps_positions(scene: Scene, database_url: str) -> None:
    events = [line for line in lines(scene.of_vendor) if isinstance(line, Event)]
    assert {event.index is not None for event in events} == {True} and len(events) > 10
    loaded = load(database_url, scene.of_vendor, scene.store.public_key)
    vendor = loaded.header.vendor_id
    of_vendor = f"SELECT t::text FROM streams t WHERE vendor_id = '{vendor}' ORDER BY t::text"
    assert contents(database_url, "streams") == scene.store.rows(of_vendor)
    with psycopg.connect(database_url) as connection:
        positions = [row[0] for row in connection.execute("SELECT notification_id FROM stored_events ORDER BY 1")]
    assert positions == [event.position for event in events]
    new = SealedStore(database_url, Path(scene.store.key_file).with_name("another_key"))
    assert new.seal().size == len(events)


def test_a_past_that_was_given_up_is_carried_along(store: SealedStore, tmp_path: Path, empty_url: str) -> None:
    store.seal()
    with store.backup() as backup:
        store.stamp()
        store.seal()
        accept_restore(backup.url, store.key_file, "The disk broke", NOW)
        backup.fill(seed=9)
        backup.seal()
        raw = made(backup, tmp_path)
        load(empty_url, raw, store.public_key)
        for table in WHOLE:
            assert contents(backup.url, table) == contents(empty_url, table)
    with psycopg.connect(empty_url, autocommit=True) as connection:
        assert list(verify_store(connection, store.public_key))[-1].faults == 0


def test_a_ledger_without_a_sealing_key_has_nobody_to_sign_an_archive(
    database_url: str, empty_url: str, tmp_path: Path
) -> None:
    store = SealedStore(database_url, tmp_path / "keys" / "sealing_key")
    with pytest.raises(SealingRefused):
        made(store, tmp_path)
    store.stamp()
    store.seal()
    assert load(empty_url, made(store, tmp_path), store.public_key).header.events > 0


def header(raw: bytes) -> Header:
    (first, *_) = lines(raw)
    assert isinstance(first, Header)
    return first


def test_an_archive_is_of_one_moment_while_others_go_on_writing_and_sealing(
    store: SealedStore, empty_url: str, tmp_path: Path
) -> None:
    store.seal()
    is_over = threading.Event()

    def write() -> None:
        seed = 100
        while not is_over.is_set():
            seed += 1
            store.fill(cards=1, rounds=3, seed=seed)

    sealer = store.sealer(events_max=5, seconds_max=0.05)
    threads = [threading.Thread(target=write), threading.Thread(target=sealer.run, args=(is_over,))]
    for thread in threads:
        thread.start()
    try:
        raws = [made(store, tmp_path, name=str(n)) for n in range(7)]
        until = time.monotonic() + 30
        while not raws[7:] or (header(raws[-1]).sealed == header(raws[0]).sealed and time.monotonic() < until):
            raws.append(made(store, tmp_path, name=str(len(raws))))
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    for raw in raws:
        verified_at_once(raw, store.public_key)
    first, last = header(raws[0]), header(raws[-1])
    assert first.events < last.events and first.sealed < last.sealed
    load(empty_url, raws[-1], store.public_key)
    Projector(empty_url, MASTER_KEY).catch_up()
    assert check(empty_url, MASTER_KEY) == []


@pytest.fixture
def empty_url(pytestconfig: pytest.Config) -> Iterator[str]:
    server = pytestconfig.stash[SERVER]
    with database(server.url, template=server.template) as url:
        yield url


@pytest.fixture
def store(database_url: str, tmp_path: Path) -> SealedStore:
    store = SealedStore(database_url, tmp_path / "keys" / "sealing_key")
    store.fill()
    return store


# ------------------------------------------------------------------ changed by somebody without the key


def nth(parts: list[Any], kind: type[Any], n: int = 0) -> int:
    return [at for at, part in enumerate(parts) if isinstance(part, kind)][n]


def put(raw: bytes, number: int, *instead: bytes) -> bytes:
    """A file with other lines in the place of one."""
    parts = raw.splitlines(keepends=True)
    parts[number : number + 1] = [line + b"\n" for line in instead]
    return b"".join(parts)


def test_no_line_can_be_changed_left_out_doubled_or_moved(scene: Scene) -> None:
    """Lines from all over the file, in each of these ways."""
    for whole in (scene.whole, scene.of_vendor):
        parts = whole.splitlines()
        looked_at = [number for number in range(len(parts)) if number < 8 or number % 9 == 0 or number > len(parts) - 4]
        for number in looked_at:
            line = parts[number]
            middle = len(line) // 2
            other = bytes([line[middle] ^ 1])
            for instead in (
                (line[:middle] + other + line[middle + 1 :],),
                (),
                (line, line),
                (line + b" ",),
                (line[:-1],),
            ):
                with pytest.raises(ArchiveRefused):
                    verified_at_once(put(whole, number, *instead), scene.store.public_key)
        for number in looked_at[:-1]:
            swapped = [*parts[:number], parts[number + 1], parts[number], *parts[number + 2 :]]
            with pytest.raises(ArchiveRefused):
                verified_at_once(b"\n".join(swapped) + b"\n", scene.store.public_key)


def verified_at_once(raw: bytes, key: VerifierKey) -> None:
    for _ in verified(io.BytesIO(raw), key):
        pass


def test_no_file_that_was_cut_off_is_taken(scene: Scene) -> None:
    size = len(scene.whole)
    for end in {*range(0, size, 997), size - 1, size - 2, *(len(scene.whole.rpartition(b'{"line"')[0]),)}:
        with pytest.raises(ArchiveRefused):
            verified_at_once(scene.whole[:end], scene.store.public_key)


HOSTILE = {
    "empty": b"",
    "newlines": b"\n" * 100,
    "text": b"Dear service, please load this.\n",
    "zeros": b"\0" * 5_000 + b"\n",
    "compressed": gzip.compress(b'{"line":"header"}\n'),
    "not UTF-8": b'{"line":"header","format":"\xff"}\n',
    "a list": b"[1,2]\n",
    "deep": b"[" * 100_000 + b"]" * 100_000 + b"\n",
    "deep in a row": b'{"line":"row","table":"claims","values":' + b"[" * 100_000 + b"\n",
    "a huge number": b'{"line":"header","events":' + b"9" * 10_000 + b"}\n",
    "a trailer alone": b'{"line":"trailer","note":"x"}\n',
    "too long": b'{"line":"header","format":"' + b"a" * (LINE_BYTES_MAX + 10) + b'"}\n',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_archive_is_refused_at_its_first_line(scene: Scene, name: str) -> None:
    with pytest.raises(ArchiveRefused, match=r"^line 1: ") as refused:
        load(scene.empty_url, HOSTILE[name], scene.store.public_key)
    assert len(str(refused.value)) < 200
    assert rows_in(scene.empty_url) == 0


# ------------------------------------------------------------------ signed by somebody who should not


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


@pytest.mark.parametrize("name", LIES)
def test_what_does_not_fit_together_is_refused_whoever_signed_it(scene: Scene, name: str) -> None:
    parts: list[Line | bytes] = [*lines(scene.whole)]
    lie = LIES[name]
    lie.change(parts)
    with pytest.raises(ArchiveRefused, match=lie.why):
        load(scene.empty_url, signed_again(parts, signer(scene.store)), scene.store.public_key)
    assert rows_in(scene.empty_url) == 0


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
    parts: list[Line | bytes] = [*lines(scene.of_vendor)]
    lie = VENDORS_LIES[name]
    lie.change(parts)
    with pytest.raises(ArchiveRefused, match=lie.why):
        load(scene.empty_url, signed_again(parts, signer(scene.store)), scene.store.public_key)
    assert rows_in(scene.empty_url) == 0


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


# ------------------------------------------------------------------ not here


def test_it_is_loaded_into_an_empty_service_only(scene: Scene, store: SealedStore) -> None:
    before = [contents(store.url, table) for table in WHOLE]
    with pytest.raises(NotLoaded, match="this service is not empty"):
        load(store.url, scene.whole, scene.store.public_key)
    assert [contents(store.url, table) for table in WHOLE] == before


def test_a_service_that_signs_by_itself_takes_one_vendor_but_not_everything(scene: Scene, empty_url: str) -> None:
    own = SealedStore(empty_url, Path(scene.store.key_file).with_name(uuid4().hex))
    own.seal_count()
    own.sealer().catch_up()
    with pytest.raises(NotLoaded, match="sealing_keys"):
        load(empty_url, scene.whole, scene.store.public_key)
    load(empty_url, scene.of_vendor, scene.store.public_key)
    assert own.seal().size > 0


def test_another_master_key_is_refused_before_anything_is_read(scene: Scene) -> None:
    other = MasterKey(bytes(32))
    with pytest.raises(NotLoaded, match="made under the master key"):
        load(scene.empty_url, scene.whole, scene.store.public_key, other)
    assert rows_in(scene.empty_url) == 0


def test_with_the_old_master_key_beside_a_new_one_it_is_taken(scene: Scene, empty_url: str) -> None:
    load(empty_url, scene.of_vendor, scene.store.public_key, replaced(MasterKey(bytes(32)), previous=MASTER_KEY))
    assert rows_in(empty_url) > 0


def test_no_file_is_written_over_and_none_is_left_half_written(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "made.ndjson").write_text("mine")
    with pytest.raises(ArchiveNotMade, match="there already"):
        made(scene.store, tmp_path)
    with pytest.raises(ArchiveNotMade, match="no vendor with the code nobody"):
        made(scene.store, tmp_path, code="nobody", name="other")
    assert [file.name for file in tmp_path.iterdir()] == ["made.ndjson"]
    assert (tmp_path / "made.ndjson").read_text() == "mine"


# ------------------------------------------------------------------ a checkpoint that was kept


def kept_notes(raw: bytes) -> list[str]:
    return [line.note for line in lines(raw) if isinstance(line, Checkpoint)]


def read_with(scene: Scene, raw: bytes, kept: str) -> int:
    """How many lines hold."""
    return sum(1 for _ in verified(io.BytesIO(raw), scene.old_key.verifier, kept))


def test_an_archive_goes_on_from_every_checkpoint_that_was_signed_before(scene: Scene) -> None:
    notes = kept_notes(scene.whole)
    assert len(notes) > 3
    for note in notes:
        assert read_with(scene, scene.whole, note) == len(lines(scene.whole))
    for note in (notes[0], notes[-1]):
        assert read_with(scene, scene.of_vendor, note) == len(lines(scene.of_vendor))
    assert kept_notes(scene.of_vendor) == notes[-1:]


@pytest.mark.parametrize("which", ["whole", "of_vendor"])
def test_an_archive_that_is_older_than_what_was_kept_is_refused(scene: Scene, which: str) -> None:
    known = opened(kept_notes(scene.whole)[-1], [signer(scene.store).verifier])
    newer = sign(str(replaced(known, size=known.size + 1)), signer(scene.store))
    with pytest.raises(Fault, match=f"tree of {known.size}, and you know one of {known.size + 1}") as older:
        read_with(scene, getattr(scene, which), newer)
    assert older.value.kind is Kind.OLDER


def test_an_archive_of_another_past_than_the_one_that_was_kept_is_refused(scene: Scene) -> None:
    """Whoever has the key wrote another past and signed it: only the checkpoint that was kept shows it."""
    key = signer(scene.store)
    sizes = [opened(note, [key.verifier, scene.old_key.verifier]) for note in kept_notes(scene.whole)]
    for raw, known in ((scene.whole, sizes[0]), (scene.whole, sizes[-1]), (scene.of_vendor, sizes[-1])):
        with pytest.raises(Fault, match=f"two different trees of {known.size} were signed") as other:
            read_with(scene, raw, sign(str(replaced(known, root=bytes(32))), key))
        assert other.value.kind is Kind.INCONSISTENT


def test_a_checkpoint_that_was_left_out_of_the_archive_is_held_against_its_events(scene: Scene) -> None:
    key, tree = signer(scene.store), Frontier()
    known = opened(kept_notes(scene.whole)[-1], [key.verifier])
    for event in [line for line in lines(scene.whole) if isinstance(line, Event)][: known.size - 1]:
        tree.append(leaf_hash(leaf_data(event.position, bytes.fromhex(event.hash))))
    right = replaced(known, size=tree.size, root=tree.root())
    assert read_with(scene, scene.whole, sign(str(right), key)) == len(lines(scene.whole))
    with pytest.raises(Fault, match=f"two different trees of {tree.size} were signed"):
        read_with(scene, scene.whole, sign(str(replaced(right, root=bytes(32))), key))


def test_what_was_kept_must_be_signed_and_a_checkpoint(scene: Scene) -> None:
    note = kept_notes(scene.whole)[-1]
    kinds = set()
    for wrong in ("", "kept", note.replace("\n\n", "\nmore\n\n"), sign("no checkpoint\n", signer(scene.store))):
        with pytest.raises(Fault) as fault:
            read_with(scene, scene.whole, wrong)
        kinds.add(fault.value.kind)
    assert kinds <= {Kind.CHECKPOINT, Kind.WRONG_KEY}
