"""Whoever changes the past of a running service is noticed, without anybody asking."""

import threading
import time
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from projections.proofs.monitor import Monitor
from projections.proofs.sealer import connected
from tests.clock import eventually
from tests.projections.proofs.sealing import CARD, SealedStore

SECONDS_MAX = 60  # The promise.


@pytest.fixture
def watched(store: SealedStore) -> Iterator[SealedStore]:
    """A sealed store with its sealer at work."""
    store.stamp(count=5)
    store.seal()
    stop = threading.Event()
    thread = threading.Thread(target=store.sealer(round_seconds=0.2).run, args=(stop,))
    thread.start()
    try:
        yield store
    finally:
        stop.set()
        thread.join()


def shown(store: SealedStore) -> str | None:
    rows = store.rows("SELECT error FROM projections WHERE name = 'verification'")
    return rows[0][0] if rows else None


def rounds_go_on(store: SealedStore) -> None:
    """Wait for a round that began from now on to end."""
    before = store.rows("SELECT clock_timestamp() + interval '1 second'")[0][0]
    sql = "SELECT FROM projections WHERE name = 'verification' AND updated_at > %s"
    eventually(lambda: store.rows(sql, before), SECONDS_MAX)


def test_an_honest_store_is_looked_at_again_and_again_and_nothing_is_said(watched: SealedStore) -> None:
    rounds_go_on(watched)
    watched.stamp()
    rounds_go_on(watched)
    assert shown(watched) is None and watched.refusal() is None


@pytest.mark.parametrize(
    ("tampering", "kind"),
    [
        (f"UPDATE stored_events SET state = state || ' ' WHERE originator_id = '{CARD}'", "event-changed"),
        (f"DELETE FROM stored_events WHERE originator_id = '{CARD}' AND originator_version = 6", "event-missing"),
        (f"UPDATE streams SET head = sha256('x') WHERE stream_id = '{CARD}'", "head-differs"),
        ("UPDATE checkpoints SET root = sha256('x')", "checkpoint-changed"),
    ],
)
def test_tampering_is_shown_and_logged_within_a_minute(watched: SealedStore, tampering: str, kind: str) -> None:
    rounds_go_on(watched)
    with capture_logs() as lines:
        watched.execute(tampering)
        eventually(lambda: kind in (shown(watched) or ""), SECONDS_MAX)
        said = [line for line in lines if line["event"] == "tampering-found" and kind in line["error"]]
    assert len(said) == 1 and said[0]["log_level"] == "error"


def test_what_was_put_right_is_no_longer_shown(watched: SealedStore) -> None:
    head = watched.rows("SELECT encode(head, 'hex') FROM streams WHERE stream_id = %s", CARD)[0][0]
    watched.execute(f"UPDATE streams SET head = sha256('x') WHERE stream_id = '{CARD}'")
    eventually(lambda: str(CARD) in (shown(watched) or ""), SECONDS_MAX)
    watched.execute(f"UPDATE streams SET head = decode('{head}', 'hex') WHERE stream_id = '{CARD}'")
    eventually(lambda: shown(watched) is None, SECONDS_MAX)


def test_sealing_goes_on_beside_it(watched: SealedStore) -> None:
    before = watched.newest_size()
    watched.execute(f"UPDATE streams SET head = sha256('x') WHERE stream_id = '{CARD}'")
    eventually(lambda: shown(watched), SECONDS_MAX)
    watched.fill(rounds=400, seed=9)
    eventually(lambda: watched.newest_size() > before, SECONDS_MAX)


def test_a_round_ends_in_time_however_little_of_a_processor_is_its_share(
    store: SealedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What decides how soon something is named is the round: it rests less where the store is large."""
    monkeypatch.setattr("projections.proofs.monitor.SHARE", 0.000_1)
    monkeypatch.setattr("projections.proofs.monitor.ROUND_SECONDS_MAX", 0.5)
    monkeypatch.setattr("projections.proofs.walk.TILES_AT_ONCE", 1)
    monkeypatch.setattr("projections.proofs.links.ROWS_AT_ONCE", 5)
    store.fill(cards=20, rounds=400)
    store.seal()
    monitor, rests = Monitor(0.0), []
    with connected(store.url) as connection:
        while not rests or not store.rows("SELECT FROM projections WHERE name = 'verification' AND position > 0"):
            rests.append(monitor.step(connection, store.public_key))
            time.sleep(min(rests[-1], 0.1))
    assert len(rests) > 5 and sum(rests) <= 1.5
