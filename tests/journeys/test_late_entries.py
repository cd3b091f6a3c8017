"""What a till did without a connection: recorded as of then, decided as of now."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.callers import Till, moment, ok, problem
from tests.service import Service


@pytest.fixture
def shop(service: Service) -> Till:
    return service.shop()


def ago(**how_long: float) -> str:
    return (datetime.now(UTC) - timedelta(**how_long)).isoformat()


def channel_of(service: Service, card: str) -> str:
    sql = (
        "SELECT convert_from(state, 'UTF8')::json->>'channel' AS channel FROM stored_events WHERE originator_id = %s"
        " ORDER BY originator_version DESC LIMIT 1"
    )
    return str(service.rows(sql, card)[0]["channel"])


def test_a_stamp_that_comes_late_has_both_times(service: Service, shop: Till) -> None:
    card, at = shop.card(shop.program()["id"])["id"], ago(hours=3)
    entry = ok(shop.stamp(card, occurred_at=at))
    assert moment(entry["occurred_at"]) == datetime.fromisoformat(at)
    assert datetime.now(UTC) - moment(entry["recorded_at"]) < timedelta(minutes=1)
    assert channel_of(service, card) == "offline"


def test_a_time_of_just_now_or_to_come_is_now(service: Service, shop: Till) -> None:
    card = shop.card(shop.program()["id"])["id"]
    for at in (ago(seconds=20), ago(days=-2)):
        entry = ok(shop.stamp(card, occurred_at=at))
        assert entry["occurred_at"] == entry["recorded_at"]
    assert channel_of(service, card) == "pos"


def test_what_is_too_long_ago_is_refused(shop: Till) -> None:
    card = shop.card(shop.program()["id"])["id"]
    told = problem(shop.stamp(card, occurred_at=ago(days=7.1)), 422, "validation_failed")
    assert "7 days" in str(told)


def test_what_was_recorded_in_time_finds_its_answer_however_late_it_is_asked_for_again(
    service: Service, shop: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    card, at = shop.card(shop.program()["id"])["id"], ago(days=6.9)
    first = ok(shop.stamp(card, key="late", occurred_at=at))
    monkeypatch.setattr("api.vendor.till.LATE_MAX", timedelta(days=6))
    assert ok(shop.stamp(card, key="late", occurred_at=at)) == first
    problem(shop.stamp(card, key="never", occurred_at=at), 422, "validation_failed")


def test_the_cooldown_is_measured_by_the_services_clock(shop: Till) -> None:
    card = shop.card(shop.program(cooldown_minutes=15)["id"])["id"]
    ok(shop.stamp(card, occurred_at=ago(hours=5)))
    problem(shop.stamp(card, occurred_at=ago(hours=1)), 409, "stamp_cooldown")


def test_the_same_late_stamp_again_is_the_same(shop: Till) -> None:
    card, at = shop.card(shop.program()["id"])["id"], ago(hours=3)
    first, again = (ok(shop.stamp(card, key="late-1", occurred_at=at)) for _ in range(2))
    assert first == again
    problem(shop.stamp(card, key="late-1", occurred_at=ago(hours=2)), 422, "idempotency_key_reused")
