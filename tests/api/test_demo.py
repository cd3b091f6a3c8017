"""The demo is made by the same rules as everything else, and its past is one that could have been."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from api.demo import seed
from api.demo_shop import CODE, STAFF, TARGET
from api.demo_visits import CARDS, DAYS, HOURS, ZONE, planned
from projections.check import check
from projections.rebuild import TABLES
from tests.conftest import SERVER
from tests.databases import database
from tests.service import MASTER_KEY

ENDS_AT = datetime(2025, 11, 23, 16, 30, tzinfo=UTC)  # A Sunday evening; the clocks were changed within the 90 days.


@dataclass
class Demo:
    url: str
    text: str
    told: list[tuple[int, int]]

    def rows(self, sql: str, *parameters: Any) -> list[dict[str, Any]]:
        with psycopg.connect(self.url, row_factory=dict_row) as connection:
            return connection.execute(sql, parameters).fetchall()

    def counts(self, sql: str) -> dict[str, int]:
        return {row["name"]: row["count"] for row in self.rows(sql)}


@pytest.fixture(scope="module")
def demo(pytestconfig: pytest.Config) -> Iterator[Demo]:
    server = pytestconfig.stash[SERVER]
    with database(server.url, template=server.template) as url:
        told: list[tuple[int, int]] = []
        text = seed(url, MASTER_KEY, lambda *at: told.append(at), clock=lambda: ENDS_AT)
        yield Demo(url, text, told)


def test_the_tables_say_what_the_stream_says(demo: Demo) -> None:
    assert check(demo.url, MASTER_KEY) == []
    (lag,) = demo.rows("SELECT max(notification_id) - (SELECT position FROM projections) AS events FROM stored_events")
    assert lag["events"] == 0


def test_no_card_is_or_ever_was_below_zero(demo: Demo) -> None:
    now = (
        "least(stamp_count, total_stamps_earned, stamps_redeemed, points_balance, total_points_earned, points_redeemed)"
    )
    ever = "least(stamps_balance_after, points_balance_after)"
    assert demo.rows(f"SELECT id FROM loyalty_cards WHERE {now} < 0") == []
    assert demo.rows(f"SELECT id FROM loyalty_transactions WHERE {ever} < 0") == []


def test_there_are_200_cards_and_one_of_each_unhappy_end(demo: Demo) -> None:
    found = demo.counts("SELECT status AS name, count(*) FROM loyalty_cards GROUP BY status")
    assert found == {"active": CARDS - 3, "suspended": 1, "replaced": 1, "closed": 1}
    (lost,) = demo.rows("SELECT replaced_by, stamp_count, points_balance FROM loyalty_cards WHERE status = 'replaced'")
    (heir,) = demo.rows("SELECT status FROM loyalty_cards WHERE id = %s", lost["replaced_by"])
    assert (lost["stamp_count"], lost["points_balance"], heir["status"]) == (0, 0, "active")


def test_everything_a_till_can_do_was_done(demo: Demo) -> None:
    done = demo.counts("SELECT transaction_type AS name, count(*) FROM loyalty_transactions GROUP BY 1")
    assert done["stamp_earned"] > 800 and done["points_earned"] > 500
    assert done["stamp_redeemed"] > 40 and done["points_redeemed"] > 40
    assert all(1 <= done[few] <= 30 for few in ("stamp_reversed", "points_reversed", "stamp_adjusted"))
    refused = demo.counts("SELECT refusal AS name, count(*) FROM refusals GROUP BY 1")
    assert refused.keys() == {
        "StampCooldown",
        "NotEnoughStamps",
        "NotEnoughPoints",
        "CardIsSuspended",
        "CardIsClosed",
    }
    assert max(refused.values()) < 40


def test_the_programs_have_words_for_french_and_german_customers(demo: Demo) -> None:
    named = demo.rows("SELECT card_name, translations FROM loyalty_programs ORDER BY card_name")
    assert [(row["card_name"], row["translations"]["fr"]["card_name"]) for row in named] == [
        ("Kaffiskaart", "Carte café"),
        ("Rousepunkten", "Points de rose"),
    ]
    assert all(row["translations"].keys() == {"fr", "de"} for row in named)


def test_full_cards_are_redeemed(demo: Demo) -> None:
    (row,) = demo.rows("SELECT max(stamp_count) AS most FROM loyalty_cards")
    assert TARGET <= row["most"] < TARGET + 5


def test_it_happened_in_the_last_90_days_while_the_café_was_open(demo: Demo) -> None:
    rows = demo.rows("SELECT recorded_at AS at FROM loyalty_transactions ORDER BY position")
    times = [row["at"].astimezone(ZONE) for row in rows]
    assert times == sorted(times)
    assert times[0].date() >= (ENDS_AT - timedelta(days=DAYS - 1)).date()
    assert ENDS_AT - timedelta(days=1) < times[-1] <= ENDS_AT
    for at in times:
        opens, closes = HOURS[at.weekday()]
        assert opens <= at.hour < closes, at
    assert {at.weekday() for at in times} == set(range(7))


def test_tills_act_for_staff_who_proved_who_they_are(demo: Demo) -> None:
    unproven = "authenticated_by <> 'pin+bearer' OR staff_pin_id IS NULL"
    moved = "transaction_type NOT IN ('card_enrolled', 'card_status_changed', 'units_forfeited')"
    assert demo.rows(f"SELECT id FROM loyalty_transactions WHERE ({unproven}) AND {moved}") == []
    assert len(demo.rows("SELECT DISTINCT staff_pin_id FROM loyalty_transactions WHERE staff_pin_id IS NOT NULL")) == 3


def test_what_is_printed_opens_the_door(demo: Demo) -> None:
    (key,) = re.findall(r"llk_[\w-]+", demo.text)
    (row,) = demo.rows(
        "SELECT v.code FROM api_keys k JOIN vendors v ON v.id = k.vendor_id WHERE digest = %s", _digest(key)
    )
    assert row["code"] == CODE and CODE in demo.text
    for member in STAFF:
        assert member.name in demo.text and member.pin in demo.text
    for program in demo.rows("SELECT id, name FROM loyalty_programs"):
        assert program["name"] in demo.text and f"/api/v1/loyalty/programs/{program['id']}" in demo.text


def test_progress_is_told_from_nothing_to_all(demo: Demo) -> None:
    total = demo.told[-1][1]
    assert demo.told == [(done, total) for done in range(total + 1)]


def test_once_is_enough(demo: Demo) -> None:
    def everything() -> list[list[dict[str, Any]]]:
        return [demo.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in ("stored_events", *TABLES)]

    before = everything()
    text = seed(demo.url, MASTER_KEY, lambda *_: pytest.fail("something was made"), clock=lambda: ENDS_AT)
    assert "already" in text and CODE in text and "llk_" not in text
    assert everything() == before


def test_the_same_day_has_the_same_past() -> None:
    assert planned(ENDS_AT) == planned(ENDS_AT)


def test_whenever_it_is_made_it_ends_before_that_moment() -> None:
    for hour in range(0, 24 * 7, 5):
        ends_at = ENDS_AT + timedelta(hours=hour)
        visits = planned(ends_at)
        assert visits[-1].at < ends_at
        assert {visit.turn for visit in visits} == {"", "mistyped", "suspended", "replaced", "closed"}


def _digest(key: str) -> str:
    return sha256(key.encode()).hexdigest()
