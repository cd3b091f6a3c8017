"""Everything recorded is sealed, in order and once; what does not go on from what was signed is not signed."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from migrations.upgrade import upgrade
from projections.proofs.restores import accept_restore
from projections.proofs.sealer import REFUSED_SECONDS, Sealer, connected
from projections.proofs.sealing_keys import SealingRefused
from projections.proofs.verify_statement import open_note
from projections.read_model import LeaseLost
from tests.clock import eventually
from tests.projections.proofs.sealing import ORIGIN, SealedStore

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
NEWEST_EVENT = "(SELECT max(notification_id) FROM stored_events)"


@contextmanager
def running(*sealers: Sealer) -> Iterator[None]:
    stop = threading.Event()
    threads = [threading.Thread(target=sealer.run, args=(stop,)) for sealer in sealers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_checkpoint_is_signed_over_the_bytes_of_every_event(store: SealedStore) -> None:
    sealed = store.seal()
    checkpoint = store.opened(sealed.note)
    assert (checkpoint.origin, checkpoint.root) == (ORIGIN, store.root())
    assert store.rows("SELECT count(*), max(notification_id) FROM stored_events") == [
        (checkpoint.size, sealed.position)
    ]
    assert store.remembered.read_text() == sealed.note


def test_every_checkpoint_is_over_the_events_there_were(store: SealedStore) -> None:
    store.seal(events_max=7)
    store.fill(seed=2)
    store.seal(events_max=7)
    notes = store.rows("SELECT tree_size, note FROM checkpoints ORDER BY number")
    assert len(notes) > 5
    for size, note in notes:
        assert (store.opened(note).size, store.opened(note).root) == (size, store.root(size))
    sizes = [size for size, _ in notes]
    assert sizes == sorted(set(sizes)) and all(b - a <= 7 for a, b in pairwise(sizes))


def test_nothing_new_makes_no_new_checkpoint(store: SealedStore) -> None:
    assert store.seal() == store.seal()


def test_positions_that_were_never_given_leave_no_hole_in_the_tree(store: SealedStore) -> None:
    store.execute("SELECT nextval('stored_events_notification_id_seq') FROM generate_series(1, 40)")
    store.stamp(uuid4())
    sealed = store.seal()
    assert sealed.position == sealed.size + 40
    assert store.opened(sealed.note).root == store.root()


def test_what_waits_is_sealed_when_a_minute_is_over_or_a_thousand_events_are_there(store: SealedStore) -> None:
    first = store.seal()
    with running(store.sealer(seconds_max=3600, events_max=20)):
        store.stamp(uuid4(), count=2)
        threading.Event().wait(1.5)
        assert store.seal_count() == 1
        store.stamp(uuid4(), count=20)
        eventually(lambda: store.seal_count() == 2)
    with running(store.sealer(seconds_max=0.5)):
        store.stamp(uuid4())
        eventually(lambda: store.newest_size() == store.rows("SELECT count(*) FROM stored_events")[0][0])
    assert store.newest_size() > first.size


def test_of_two_sealers_one_seals_and_the_other_takes_over(store: SealedStore) -> None:
    stop = threading.Event()
    first, second = (store.sealer(seconds_max=0.05, events_max=5) for _ in range(2))
    thread = threading.Thread(target=first.run, args=(stop,))
    thread.start()
    with running(second):
        for n in range(6):
            store.stamp(uuid4(), count=n + 1)
            if n == 3:
                stop.set()
                thread.join()
        count = store.rows("SELECT count(*) FROM stored_events")[0][0]
        eventually(lambda: store.newest_size() == count)
    rows = store.rows("SELECT tree_size, root FROM checkpoints ORDER BY number")
    assert [size for size, _ in rows] == sorted({size for size, _ in rows})
    assert all(store.root(size) == root for size, root in rows)


# ------------------------------------------------------------------ what is not signed


def refused(store: SealedStore) -> str:
    """Why nothing was signed; nothing was."""
    before = store.rows("SELECT count(*) FROM checkpoints"), store.remembered.read_text()
    with pytest.raises(SealingRefused) as raised:
        store.seal()
    assert (store.rows("SELECT count(*) FROM checkpoints"), store.remembered.read_text()) == before
    return str(raised.value)


def test_a_restored_backup_is_behind_what_was_signed(store: SealedStore) -> None:
    store.seal()
    with store.backup() as restored:
        store.stamp(uuid4(), count=3)
        lost = store.seal()
        assert f"behind what was signed: a checkpoint over {lost.size} events" in refused(restored)
        with running(restored.sealer()):
            eventually(lambda: "accept-restore" in (restored.refusal() or ""))


def test_a_restored_backup_with_another_past_since_is_not_signed(store: SealedStore) -> None:
    store.seal()
    with store.backup() as restored:
        store.stamp(uuid4(), count=3)
        store.seal()
        restored.stamp(uuid4(), count=8)
        assert "another past was signed" in refused(restored)


def test_a_checkpoint_the_database_did_not_hear_of_is_not_signed_twice(store: SealedStore) -> None:
    store.seal()
    store.stamp(uuid4(), count=3)
    with store.backup() as crashed:  # As if the machine had died between the file and the commit.
        signed = store.seal()
        again = crashed.seal()
        assert (again.note, again.size, again.root) == (signed.note, signed.size, signed.root)
        crashed.stamp(uuid4())
        assert crashed.opened(crashed.seal().note).root == crashed.root()


def test_a_store_that_lost_its_newest_event_is_not_signed(store: SealedStore) -> None:
    store.seal()
    store.execute(f"DELETE FROM stored_events WHERE notification_id = {NEWEST_EVENT}")
    assert "behind what was signed" in refused(store)


def change_a_leaf(store: SealedStore) -> None:
    sql = "UPDATE tree_tiles SET hashes = set_byte(hashes, 39, get_byte(hashes, 39) # 255) WHERE level = 0 AND tile = 0"
    store.execute(sql)


def test_a_tree_that_was_tampered_with_is_not_signed(store: SealedStore) -> None:
    store.seal()
    change_a_leaf(store)
    assert "does not go on from what was signed" in refused(store)


def test_a_checkpoint_that_was_rewritten_is_not_gone_on_from(store: SealedStore) -> None:
    store.seal()
    store.execute("UPDATE checkpoints SET root = sha256('other')")
    assert "is not what was signed" in refused(store)


def test_a_key_that_was_never_recorded_signs_nothing(store: SealedStore) -> None:
    store.seal()
    note = store.remembered.read_text()
    other = SealedStore(store.url, store.key_file.with_name("other"))
    other.key_file.write_text("PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")
    other.remembered.write_text(note)
    assert "is not the one recorded last" in refused(other)


def test_a_lost_key_is_not_made_anew(store: SealedStore) -> None:
    store.seal()
    store.key_file.unlink()
    store.stamp(uuid4())
    with running(store.sealer()):
        eventually(lambda: "restore that file from a backup" in (store.refusal() or ""))
    assert not store.key_file.exists()


def test_where_nobody_made_a_key_nothing_is_sealed(store: SealedStore) -> None:
    with pytest.raises(SealingRefused, match="keys make"):
        store.seal(new_key_name=None)


def test_a_refusal_is_over_when_its_cause_is(store: SealedStore) -> None:
    store.seal()
    text = store.key_file.read_text()
    store.key_file.unlink()
    with running(store.sealer()):
        eventually(lambda: store.refusal() is not None)
        store.key_file.write_text(text)
        eventually(lambda: store.refusal() is None)


# ------------------------------------------------------------------ an operator's word


def test_after_an_accepted_restore_sealing_goes_on_and_what_was_given_up_is_on_record(store: SealedStore) -> None:
    kept = store.seal()
    with store.backup() as restored:
        store.stamp(uuid4(), count=3)
        lost = store.seal()
        restored.stamp(uuid4(), count=1)
        statement = accept_restore(
            restored.url, restored.key_file, "disk of 2 March, backup of the evening before", NOW
        )
        text, _ = open_note(statement, [store.public_key])
        assert f"lost {lost.size} " in text and "reason disk of 2 March" in text
        assert restored.rows("SELECT note FROM accepted_restores") == [(statement,)]
        assert restored.newest_size() > kept.size
        restored.stamp(uuid4(), count=5)
        assert restored.opened(restored.seal().note).root == restored.root()
        assert restored.refusal() is None


def test_a_restore_is_accepted_while_a_sealer_refuses(store: SealedStore) -> None:
    store.seal()
    with store.backup() as restored:
        store.stamp(uuid4(), count=3)
        store.seal()
        with running(restored.sealer(seconds_max=0.05)):
            eventually(lambda: restored.refusal() is not None)
            accept_restore(restored.url, restored.key_file, "a backup", NOW)
            restored.stamp(uuid4())
            count = restored.rows("SELECT count(*) FROM stored_events")[0][0]
            eventually(lambda: restored.newest_size() == count)


def test_where_nothing_was_lost_there_is_nothing_to_accept(store: SealedStore) -> None:
    store.seal()
    with pytest.raises(SealingRefused, match="nothing to accept"):
        accept_restore(store.url, store.key_file, "just so", NOW)
    with running(store.sealer()), pytest.raises(SealingRefused, match="nothing to accept"):
        accept_restore(store.url, store.key_file, "just so", NOW)
    assert store.rows("SELECT * FROM accepted_restores") == []


def test_what_was_signed_stays(store: SealedStore) -> None:
    store.seal()
    for table in ("checkpoints", "sealing_keys", "accepted_restores"):
        with pytest.raises(Exception, match="append-only"):
            store.rows(f"DELETE FROM {table} RETURNING number")


def test_a_key_that_somebody_put_in_is_not_gone_on_from(store: SealedStore) -> None:
    store.seal()
    store.execute("UPDATE sealing_keys SET note = replace(note, 'tree 0', 'tree 9')")
    assert "is not signed by itself" in refused(store)
    store.execute("UPDATE sealing_keys SET verifier_key = 'nonsense'")
    with running(store.sealer()):
        eventually(lambda: "not a public key" in (store.refusal() or ""))


def test_an_empty_database_under_a_key_that_has_signed_is_behind(store: SealedStore, empty_database_url: str) -> None:
    lost = store.seal()
    upgrade(empty_database_url)
    assert f"a checkpoint over {lost.size} events" in refused(SealedStore(empty_database_url, store.key_file))


def test_without_the_remembered_checkpoint_the_tree_must_still_go_on_from_the_newest_one(store: SealedStore) -> None:
    store.seal()
    store.remembered.unlink()
    change_a_leaf(store)
    store.stamp()
    with pytest.raises(SealingRefused, match="does not go on from what was signed"):
        store.seal()


def test_a_sealer_whose_lease_is_gone_writes_nothing(store: SealedStore) -> None:
    sealer = store.sealer()
    with connected(store.url) as connection:
        token = sealer._take_lease(connection)
        assert token is not None
        sealing = sealer._begin(connection, token)
        store.execute("UPDATE projections SET fencing_token = fencing_token + 1")
        with pytest.raises(LeaseLost):
            sealer._seal_next(connection, sealing)
    assert store.seal_count() == 0


def test_a_refusal_is_logged_once(store: SealedStore) -> None:
    store.seal()
    store.key_file.unlink()
    with capture_logs() as lines, running(store.sealer()):
        eventually(lambda: store.refusal() is not None)
        threading.Event().wait(2 * REFUSED_SECONDS + 0.5)
    assert [line["event"] for line in lines].count("sealing-refused") == 1
