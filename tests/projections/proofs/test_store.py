"""The whole store held against what was signed: whatever somebody does to it is found, and the first place is named."""

from uuid import uuid4

import psycopg
import pytest

from ledger.stream import digest, first_prev
from projections.proofs import walk
from projections.proofs.findings import Findings
from projections.proofs.notes import SigningKey, sign
from projections.proofs.restores import accept_restore
from projections.proofs.sealing_keys import key_text
from projections.proofs.store import verify_store
from projections.proofs.tiles import TILE_HASHES
from projections.proofs.verify_statement import Checkpoint
from tests.projections.proofs.sealing import (
    CARD,
    OF_CARD,
    ORIGIN,
    POSITION,
    SealedStore,
    following,
    found,
    places,
    position_of,
    write,
)
from tests.projections.proofs.statements import NOW

CHANGED = "set_byte(state, length(state) - 20, get_byte(state, length(state) - 20) # 1)"


def test_an_honest_store_is_as_it_was_sealed(sealed: SealedStore) -> None:
    findings = found(sealed)
    ((count, histories),) = sealed.rows("SELECT count(*), count(DISTINCT originator_id) FROM stored_events")
    assert (findings.first, findings.faults) == ({}, 0)
    assert (findings.events, findings.sealed_events, findings.histories) == (count, count, histories)
    assert findings.checkpoints == sealed.seal_count() > 5 and count > 256


def test_what_is_not_sealed_yet_is_held_to_its_chain(sealed: SealedStore) -> None:
    sealed.stamp(uuid4(), count=3)
    findings = found(sealed)
    assert findings.first == {} and findings.events > findings.sealed_events


def test_one_byte_of_one_event_changed(sealed: SealedStore) -> None:
    sealed.execute(f"UPDATE stored_events SET state = {CHANGED} WHERE {OF_CARD} AND originator_version = 4")
    at = position_of(sealed, 4)
    assert places(found(sealed)) == {"event-changed": (at, CARD), "chain-broken": (at + 1, CARD)}


@pytest.mark.parametrize("leaf", [TILE_HASHES - 1, TILE_HASHES], ids=["before it", "after it"])
def test_a_change_beside_the_end_of_a_page(sealed: SealedStore, monkeypatch: pytest.MonkeyPatch, leaf: int) -> None:
    monkeypatch.setattr(walk, "TILES_AT_ONCE", 1)  # The page ends between two checkpoints.
    assert found(sealed).first == {}
    ((at,),) = sealed.rows("SELECT notification_id FROM stored_events ORDER BY 1 OFFSET %s LIMIT 1", leaf)
    sealed.execute(f"UPDATE stored_events SET state = {CHANGED} WHERE notification_id = {at}")
    findings = found(sealed)
    assert findings.first["event-changed"].position == at and "root-differs" not in findings.first
    assert "tree-changed" not in findings.first


def test_a_leaf_changed_after_the_end_of_a_page(sealed: SealedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The events are right: that shows only with those of the page before, which agreed."""
    monkeypatch.setattr(walk, "TILES_AT_ONCE", 1)
    sealed.execute("UPDATE tree_tiles SET hashes = set_byte(hashes, 0, get_byte(hashes, 0) # 1) WHERE tile = 1")
    assert set(found(sealed).first) == {"tree-changed"}


def test_one_byte_of_the_newest_event_of_a_card_changed(sealed: SealedStore) -> None:
    sealed.execute(f"UPDATE stored_events SET state = {CHANGED} WHERE {OF_CARD} AND originator_version = 10")
    at = position_of(sealed, 10)
    assert places(found(sealed)) == {"event-changed": (at, CARD), "head-differs": (at, CARD)}


@pytest.mark.parametrize("emptied", ["state = NULL", "topic = NULL"])
def test_an_event_emptied(sealed: SealedStore, emptied: str) -> None:
    sealed.execute(f"UPDATE stored_events SET {emptied} WHERE {OF_CARD} AND originator_version = 10")
    assert places(found(sealed))["event-changed"] == (position_of(sealed, 10), CARD)


def test_two_events_swapped(sealed: SealedStore) -> None:
    sealed.execute(
        "UPDATE stored_events e SET state = o.state FROM stored_events o WHERE e.originator_id = o.originator_id"
        f" AND e.originator_id = '{CARD}' AND (e.originator_version, o.originator_version) IN ((4, 5), (5, 4))"
    )
    at = position_of(sealed, 4)
    assert places(found(sealed)) == {"event-changed": (at, CARD), "chain-broken": (at, CARD)}


def test_two_positions_swapped(sealed: SealedStore) -> None:
    at = position_of(sealed, 4)
    sealed.execute(
        f"UPDATE stored_events SET notification_id = -1 WHERE notification_id = {at}",
        f"UPDATE stored_events SET notification_id = {at} WHERE notification_id = {at + 1}",
        f"UPDATE stored_events SET notification_id = {at + 1} WHERE notification_id = -1",
    )
    assert places(found(sealed)) == {"event-changed": (at, CARD), "order-changed": (at, CARD)}


def test_an_event_deleted_from_the_middle(sealed: SealedStore) -> None:
    at = position_of(sealed, 4)
    sealed.execute(f"DELETE FROM stored_events WHERE notification_id = {at}")
    assert places(found(sealed)) == {"event-missing": (at, None), "version-missing": (at + 1, CARD)}


def test_the_newest_event_of_a_card_deleted(sealed: SealedStore) -> None:
    at = position_of(sealed, 10)
    sealed.execute(f"DELETE FROM stored_events WHERE notification_id = {at}")
    assert places(found(sealed)) == {"event-missing": (at, None), "head-differs": (at - 1, CARD)}


def test_a_whole_history_deleted(sealed: SealedStore) -> None:
    at = position_of(sealed, 1)
    sealed.execute(f"DELETE FROM stored_events WHERE {OF_CARD}")
    assert places(found(sealed)) == {"event-missing": (at, None), "head-differs": (None, CARD)}


def test_a_state_row_deleted(sealed: SealedStore) -> None:
    at = position_of(sealed, 10)
    sealed.execute(f"DELETE FROM streams WHERE stream_id = '{CARD}'")
    assert places(found(sealed)) == {"head-differs": (at, CARD)}


def test_an_event_forged_at_the_end_of_a_card(sealed: SealedStore) -> None:
    sealed.execute(
        "INSERT INTO stored_events (originator_id, originator_version, topic, state)"
        f" SELECT originator_id, 11, topic, state FROM stored_events WHERE {OF_CARD} AND originator_version = 10"
    )
    at = position_of(sealed, 11)
    assert places(found(sealed)) == {"chain-broken": (at, CARD), "head-differs": (at, CARD)}


def test_an_event_put_in_where_a_position_was_never_given(sealed: SealedStore) -> None:
    (gap,) = sealed.rows("SELECT nextval('stored_events_notification_id_seq')")[0]
    sealed.fill(seed=5)
    sealed.seal()
    stranger = uuid4()
    write(sealed, stranger, [following(first_prev(stranger))], [gap])
    findings = found(sealed)
    assert places(findings) == {"event-added": (gap, stranger)}


def test_an_event_put_in_before_the_first_position(sealed: SealedStore) -> None:
    copied = f"SELECT originator_id, -7, topic, state, -5 FROM stored_events WHERE {OF_CARD} LIMIT 1"
    sealed.execute(f"INSERT INTO stored_events {copied}")
    assert places(found(sealed))["event-added"] == (-5, CARD)


def test_a_checkpoint_that_is_said_to_reach_further(sealed: SealedStore) -> None:
    """What its signature covers is right; the forged event behind it would be read by nobody."""
    sealed.execute(
        "INSERT INTO stored_events (originator_id, originator_version, topic, state)"
        f" SELECT originator_id, 11, topic, state FROM stored_events WHERE {OF_CARD} AND originator_version = 10",
        "INSERT INTO checkpoints (tree_size, position, root, note)"
        f" SELECT tree_size, {POSITION.format(11)}, root, note FROM checkpoints ORDER BY number DESC LIMIT 1",
    )
    at = position_of(sealed, 11)
    assert places(found(sealed)) == {
        "checkpoint-changed": (at - 1, None),
        "chain-broken": (at, CARD),
        "head-differs": (at, CARD),
    }


def rewritten(store: SealedStore) -> int:
    """The card's history written anew, every link of its chain and its state row right. Returns where it begins."""
    rows = store.rows(f"SELECT notification_id FROM stored_events WHERE {OF_CARD} ORDER BY 1")
    states, prev = [], first_prev(CARD)
    for version in range(1, len(rows) + 1):
        state = b'{"prev":"%s","data":{"stamps":99}}' % prev.encode()
        prev = digest(CARD, version, "stamps-added", state)
        states.append(state)
    write(store, CARD, states, [row[0] for row in rows])
    return int(rows[0][0])


def test_a_history_written_anew_with_a_whole_chain(sealed: SealedStore) -> None:
    assert places(found(sealed)) == {}
    assert places(found_after(sealed)) == {"event-changed": (position_of(sealed, 1), CARD)}


def found_after(store: SealedStore) -> Findings:
    rewritten(store)
    return found(store)


def test_a_history_and_the_kept_tree_written_anew(sealed: SealedStore) -> None:
    begin = rewritten(sealed)
    before = int(sealed.rows("SELECT max(tree_size) FROM checkpoints WHERE position < %s", begin)[0][0])
    after = sealed.rows("SELECT tree_size, position FROM checkpoints WHERE tree_size > %s ORDER BY 1 LIMIT 1", before)
    make_tiles_anew(sealed)
    findings = found(sealed)
    assert places(findings) == {"root-differs": (after[0][1], None)}


def make_tiles_anew(store: SealedStore) -> None:
    from projections.proofs.restores import _made_anew

    with psycopg.connect(store.url) as connection:
        _made_anew(connection)[0].write()


def test_a_kept_leaf_changed(sealed: SealedStore) -> None:
    sealed.execute(
        "UPDATE tree_tiles SET hashes = set_byte(hashes, 40, get_byte(hashes, 40) # 255) WHERE level = 0 AND tile = 0"
    )
    assert places(found(sealed))["tree-changed"] == (1, None)
    assert set(found(sealed).first) == {"tree-changed"}


def test_a_kept_node_above_changed(sealed: SealedStore) -> None:
    sealed.execute("UPDATE tree_tiles SET hashes = sha256('x') WHERE level = 1 AND tile = 0")
    assert set(found(sealed).first) == {"tree-changed"}


def test_a_kept_tile_deleted(sealed: SealedStore) -> None:
    sealed.execute("DELETE FROM tree_tiles WHERE level = 0 AND tile = 1")
    assert set(found(sealed).first) == {"tree-changed"}


def test_a_checkpoint_rewritten(sealed: SealedStore) -> None:
    sealed.execute("UPDATE checkpoints SET note = replace(note, E'\\n50\\n', E'\\n51\\n') WHERE tree_size = 50")
    ((position,),) = sealed.rows("SELECT position FROM checkpoints WHERE tree_size = 50")
    assert places(found(sealed)) == {"checkpoint-changed": (position, None)}


def test_a_key_put_in_by_somebody_else(sealed: SealedStore) -> None:
    stranger = SigningKey.new(ORIGIN)
    note = sign(key_text(stranger.verifier, sealed.public_key, 0, NOW), stranger)
    sealed.execute(f"INSERT INTO sealing_keys (verifier_key, note) VALUES ('{stranger.verifier}', '{note}')")
    assert places(found(sealed)) == {"keys-changed": (None, None)}


def test_yesterdays_backup_with_everything_that_was_sealed_since_gone(sealed: SealedStore) -> None:
    with sealed.backup() as yesterday:
        sealed.stamp(uuid4(), count=3)
        kept = sealed.opened(sealed.seal().note)
        findings = found(yesterday, kept)
        ends_at = yesterday.rows("SELECT max(position) FROM checkpoints")[0][0]
    assert places(findings) == {"tree-cut": (ends_at, None)}
    assert str(kept.size) in str(findings.first["tree-cut"])


def test_a_kept_checkpoint_is_held_against_the_tree(sealed: SealedStore) -> None:
    kept = sealed.opened(sealed.seal().note)
    sealed.stamp(uuid4())
    sealed.seal()
    assert found(sealed, kept).first == {}
    assert set(found(sealed, Checkpoint(ORIGIN, kept.size, bytes(32))).first) == {"root-differs"}


def test_where_nothing_is_sealed_the_chains_are_verified_all_the_same(store: SealedStore) -> None:
    with psycopg.connect(store.url, autocommit=True) as connection:
        *_, findings = verify_store(connection, None)
    assert (findings.first, findings.checkpoints) == ({}, 0) and findings.events > 0


def test_checkpoints_of_a_past_that_was_given_up_are_counted_and_no_fault(sealed: SealedStore) -> None:
    sealed.execute(
        "DELETE FROM stored_events WHERE notification_id > (SELECT max(notification_id) - 3 FROM stored_events)"
    )
    accept_restore(sealed.url, sealed.key_file, "lost in a crash", NOW)
    before = sealed.seal_count()
    sealed.stamp(uuid4(), count=5)
    sealed.seal()
    findings = found(sealed)
    assert findings.given_up == before - 1 and findings.checkpoints == sealed.seal_count() - before + 1
    assert set(findings.first) <= {"head-differs"}  # The state rows are ahead of the events that are gone.
