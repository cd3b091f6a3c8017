"""Links hold or are named, whether or not the tree tells, and whatever is recorded while they are read."""

from uuid import uuid4

import psycopg
import pytest

from ledger.stream import digest, first_prev
from projections.proofs import chains, links, walk
from projections.proofs.store import verify_store
from tests.projections.proofs.sealing import (
    CARD,
    SealedStore,
    following,
    found,
    places,
    position_of,
    positions,
    write,
)
from tests.projections.stories import Store, enrolled, stamped


def test_a_history_sealed_with_a_link_that_does_not_hold(sealed: SealedStore) -> None:
    """Its tree is as it was signed: only the links tell."""
    stranger, (first, second) = uuid4(), positions(sealed, 2)
    write(sealed, stranger, [following(first_prev(stranger)), following("0" * 64)], [first, second])
    sealed.seal()
    assert places(found(sealed)) == {"chain-broken": (second, stranger)}


def test_two_histories_that_follow_each_other(sealed: SealedStore) -> None:
    """Each digest is followed once, by an event of the wrong history."""
    (one, other), at = (uuid4(), uuid4()), positions(sealed, 4)
    begun = [following(first_prev(stream_id)) for stream_id in (one, other)]
    heads = [digest(stream_id, 1, "stamps-added", state) for stream_id, state in zip((one, other), begun, strict=True)]
    write(sealed, one, [begun[0], following(heads[1])], at[:2])
    write(sealed, other, [begun[1], following(heads[0])], at[2:])
    sealed.seal()
    assert set(found(sealed).first) == {"chain-broken"}


def test_a_version_that_was_left_out(sealed: SealedStore) -> None:
    stranger, (first, second) = uuid4(), positions(sealed, 2)
    write(sealed, stranger, [following(first_prev(stranger)), b""], [first, second])
    begun = following(first_prev(stranger))
    state = following(digest(stranger, 1, "stamps-added", begun))
    head = digest(stranger, 3, "stamps-added", state)
    sealed.execute(
        f"UPDATE stored_events SET originator_version = 3, state = '{state.decode()}' WHERE notification_id = {second}",
        f"UPDATE streams SET version = 3, head = decode('{head}', 'hex') WHERE stream_id = '{stranger}'",
    )
    sealed.seal()
    assert places(found(sealed)) == {"version-missing": (second, stranger)}


def test_an_event_that_names_elsewhere_what_it_follows(sealed: SealedStore) -> None:
    stranger, (first, second) = uuid4(), positions(sealed, 2)
    begun = following(first_prev(stranger))
    head = digest(stranger, 1, "stamps-added", begun)
    write(sealed, stranger, [begun, b'{"abcd":"%s","data":{}}' % head.encode()], [first, second])
    sealed.seal()
    assert places(found(sealed)) == {"chain-broken": (second, stranger)}


def test_a_state_row_of_nothing(sealed: SealedStore) -> None:
    stranger = uuid4()
    sealed.execute(
        f"INSERT INTO streams VALUES ('{stranger}', 'card', '{stranger}', NULL, 0,"
        f" decode('{first_prev(stranger)}', 'hex'), '{{}}')"
    )
    assert places(found(sealed)) == {"head-differs": (None, stranger)}


def test_what_is_changed_and_changed_back_while_it_is_read(sealed: SealedStore) -> None:
    ((head,),) = sealed.rows(f"SELECT encode(head, 'hex') FROM streams WHERE stream_id = '{CARD}'")
    sealed.execute(f"UPDATE streams SET head = sha256('x') WHERE stream_id = '{CARD}'")
    with psycopg.connect(sealed.url, autocommit=True) as connection:
        for findings in verify_store(connection, sealed.public_key):
            if findings.histories:
                sealed.execute(f"UPDATE streams SET head = decode('{head}', 'hex') WHERE stream_id = '{CARD}'")
    assert places(findings) == {"changed-meanwhile": (None, None)}


def test_where_something_is_wrong_every_page_of_the_histories_around_it_is_read(
    sealed: SealedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chains, "STREAMS_AT_ONCE", 2)
    monkeypatch.setattr(chains, "ROWS_AT_ONCE", 7)
    sealed.execute(f"DELETE FROM streams WHERE stream_id = '{CARD}'")
    at = position_of(sealed, 10)
    findings = found(sealed)
    ((count,),) = sealed.rows("SELECT count(*) FROM stored_events")
    ((histories,),) = sealed.rows("SELECT count(*) FROM streams")
    assert (findings.events, findings.histories, findings.read) == (count, histories, 2 * count)
    assert places(findings) == {"head-differs": (at, CARD)}


def test_only_among_the_histories_of_a_sum_that_does_not_hold_is_it_looked_for(
    sealed: SealedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "HISTORIES_A_SUM", 2)
    histories = sealed.rows(
        "SELECT originator_id, count(*) FROM stored_events GROUP BY originator_id ORDER BY originator_id"
    )
    for at in (0, 3, len(histories) - 1):
        stream_id, together = histories[at][0], histories[at // 2 * 2 : at // 2 * 2 + 2]
        ((head,),) = sealed.rows(f"SELECT encode(head, 'hex') FROM streams WHERE stream_id = '{stream_id}'")
        sealed.execute(f"UPDATE streams SET head = sha256('x') WHERE stream_id = '{stream_id}'")
        findings = found(sealed)
        assert [one.stream_id for one in findings.first.values()] == [stream_id]
        assert findings.read - findings.events == sum(count for _, count in together)
        assert (findings.events, findings.histories) == (sum(count for _, count in histories), len(histories))
        sealed.execute(f"UPDATE streams SET head = decode('{head}', 'hex') WHERE stream_id = '{stream_id}'")
    assert found(sealed).first == {}


def test_what_is_recorded_meanwhile_is_read_once(store: SealedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each page a card is stamped, so that it is always newer than what was read of it, and another is made."""
    monkeypatch.setattr(walk, "TILES_AT_ONCE", 1)
    monkeypatch.setattr(links, "ROWS_AT_ONCE", 3)
    store.fill(rounds=200)
    store.seal()
    shop = Store(store.url).opened()
    shop.append(("card", CARD, [enrolled()]))
    with psycopg.connect(store.url, autocommit=True) as connection:
        for findings in verify_store(connection, store.public_key):
            if findings.histories < 30:
                shop.append(("card", CARD, [stamped(1)]), ("card", uuid4(), [enrolled()]))
    shop.connection.close()
    assert findings.first == {} and findings.histories > 20
    assert findings.read == findings.events > findings.sealed_events > 500
