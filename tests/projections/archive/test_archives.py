"""An archive is taken in as it was made: the same tables, histories and signatures, where nothing is yet."""

import threading
import time
from dataclasses import replace as replaced
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ledger.seal import MasterKey
from projections.archive.lines import Event, Header
from projections.archive.loading import NotLoaded
from projections.archive.making import ArchiveNotMade
from projections.archive.rows import CARRIED, FOLLOWING, IN_LINES_OF_THEIR_OWN, LEFT_BEHIND
from projections.check import check
from projections.proofs.restores import accept_restore
from projections.proofs.sealing_keys import SealingRefused
from projections.proofs.store import verify_store
from projections.read_model import Projector
from tests.conftest import SERVER
from tests.databases import database
from tests.projections.archive.archives import NOW, Scene, filled, lines, load, made, rows_in, verified_at_once
from tests.projections.proofs.sealing import SealedStore
from tests.projections.stories import MASTER_KEY

WHOLE = (*IN_LINES_OF_THEIR_OWN, "streams", "tree_tiles", "claims", "idempotency_keys", "subject_keys")


def contents(url: str, table: str) -> list[Any]:
    with psycopg.connect(url) as connection:
        return connection.execute(f"SELECT t::text FROM {table} t ORDER BY t::text").fetchall()


def header(raw: bytes) -> Header:
    (first, *_) = lines(raw)
    assert isinstance(first, Header)
    return first


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
