"""The key that signs: kept to oneself, made once, followed by the next, and never lost without a word."""

import stat
from datetime import UTC, datetime

import pytest

from projections.proofs.notes import SigningKey
from projections.proofs.sealer import connected
from projections.proofs.sealing_keys import SealingRefused, make_first_key, read_key, recorded_keys, rotate_key
from projections.proofs.verify_statement import KEY_TITLE, open_note
from tests.projections.proofs.sealing import ORIGIN, SealedStore

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def rotated(store: SealedStore) -> SigningKey:
    with connected(store.url) as connection:
        return rotate_key(connection, store.key_file, NOW)


def test_a_first_key_is_readable_by_its_owner_only_and_says_so_itself(store: SealedStore) -> None:
    with connected(store.url) as connection:
        key = make_first_key(connection, store.key_file, ORIGIN, NOW)
    assert stat.S_IMODE(store.key_file.stat().st_mode) == 0o600
    ((note,),) = store.rows("SELECT note FROM sealing_keys")
    text, signed = open_note(note, [key.verifier])
    assert text.startswith(f"{KEY_TITLE}\n{key.verifier}\nfollows nothing\n") and signed == [key.verifier]
    assert key.to_text() not in str(store.rows("SELECT * FROM sealing_keys"))


def test_a_key_file_that_others_may_read_is_closed(store: SealedStore) -> None:
    store.seal()
    store.key_file.chmod(0o644)
    read_key(store.key_file)
    assert stat.S_IMODE(store.key_file.stat().st_mode) == 0o600


def test_there_is_one_first_key(store: SealedStore) -> None:
    store.seal()
    with connected(store.url) as connection, pytest.raises(SealingRefused, match="keys rotate"):
        make_first_key(connection, store.key_file.with_name("another"), ORIGIN, NOW)


def test_a_first_key_that_was_written_and_not_recorded_is_recorded(store: SealedStore) -> None:
    key = SigningKey.new(ORIGIN)
    store.key_file.parent.mkdir()
    store.key_file.write_text(key.to_text())
    store.seal()
    assert store.rows("SELECT verifier_key FROM sealing_keys") == [(str(key.verifier),)]


def test_a_new_key_is_signed_by_the_old_one_and_signs_from_then_on(store: SealedStore) -> None:
    sealed = store.seal()
    old = read_key(store.key_file)
    new = rotated(store)
    assert new == read_key(store.key_file) != old
    assert [p.name for p in store.key_file.parent.iterdir() if "next" in p.name] == []
    with connected(store.url) as connection:
        assert recorded_keys(connection) == [old.verifier, new.verifier]
    note = store.rows("SELECT note FROM sealing_keys ORDER BY number")[1][0]
    text, signed = open_note(note, [old.verifier, new.verifier])
    assert signed == [old.verifier, new.verifier]
    assert text.splitlines()[1:4] == [str(new.verifier), f"follows {old.verifier}", f"tree {sealed.size}"]
    store.stamp()
    assert open_note(store.seal().note, [old.verifier, new.verifier])[1] == [new.verifier]


def test_a_rotation_that_was_interrupted_before_it_was_recorded_begins_again(store: SealedStore) -> None:
    store.seal()
    drafted = SigningKey.new(ORIGIN)
    store.key_file.with_name("sealing_key.next").write_text(drafted.to_text())
    assert rotated(store) == drafted


def test_a_rotation_that_was_interrupted_after_it_was_recorded_is_finished(store: SealedStore) -> None:
    store.seal()
    old = store.key_file.read_text()
    new = rotated(store)
    store.key_file.rename(store.key_file.with_name("sealing_key.next"))
    store.key_file.write_text(old)
    with pytest.raises(SealingRefused, match="not the one recorded last"):
        store.seal()
    assert rotated(store) == new
    assert store.rows("SELECT count(*) FROM sealing_keys") == [(2,)]
    store.stamp()
    store.seal()


@pytest.mark.parametrize("text", ["", "nonsense", "\x00"])
def test_a_key_file_with_something_else_in_it_is_not_used_and_not_shown(store: SealedStore, text: str) -> None:
    store.seal()
    store.key_file.write_text(text)
    with pytest.raises(SealingRefused) as raised:
        rotated(store)
    assert str(store.key_file) in str(raised.value)
