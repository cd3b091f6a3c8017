"""A long history told at once: in little memory, to its end, and with others served meanwhile."""

import csv
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.test_memory import watched
from tests.service import Served, ServiceProcess, Till, ok, service_process

EVENTS = 50_000  # About 800 bytes each.
CSV_MB_MIN = 35.0
GROWTH_MB_MAX = 20.0
STAMP_SECONDS_MAX = 3.0  # On a machine that is busy with more.

# One stamp, over and over. The projector is told that they stand in the table already, as they do.
MANY = """
WITH one AS (
    SELECT t.*, e.topic, e.state FROM loyalty_transactions t JOIN stored_events e ON e.notification_id = t.position
    WHERE t.event_name = 'stamps-added' ORDER BY t.position LIMIT 1
), added AS (
    INSERT INTO stored_events (originator_id, originator_version, topic, state)
    SELECT gen_random_uuid(), 1, topic, state FROM one, generate_series(1, %s) RETURNING originator_id, notification_id
), moved AS (
    UPDATE projections SET position = (SELECT max(notification_id) FROM added)
)
INSERT INTO loyalty_transactions
SELECT (json_populate_record(t, json_build_object('id', added.originator_id, 'position', notification_id))).*
FROM added, loyalty_transactions t WHERE t.position = (SELECT position FROM one)
"""


@pytest.fixture
def process(database_url: str, tmp_path: Path) -> Iterator[ServiceProcess]:
    with service_process(tmp_path / "log", database_url) as process:
        yield process


def with_history(service: Served) -> tuple[Till, str]:
    till = service.shop()
    card = till.card(till.program()["id"])["id"]
    ok(till.stamp(card, order_reference="=1+1"))
    service.catch_up()
    service.rows(MANY, EVENTS)
    service.rows("ANALYZE")
    return till, card


def test_a_long_csv_takes_little_memory_and_nobodys_turn(process: ServiceProcess) -> None:
    till, card = with_history(process)
    asked, headers = {"type": "stamp_earned"}, {**till.headers, "Accept": "text/csv"}
    ok(till.get("/events", **asked, limit=200))
    longest = 0.0
    with watched(process) as memory:
        before = memory.now_mb()
        bytes_, lines, end = 0, 0, b""
        with till.http.stream("GET", f"{till.prefix}/events", params=asked, headers=headers) as response:
            asked_again = time.monotonic()
            for part in response.iter_bytes(65_536):
                bytes_, lines, end = bytes_ + len(part), lines + part.count(b"\n"), (end + part)[-5_000:]
                if time.monotonic() > asked_again + 0.5:
                    began = time.monotonic()
                    ok(till.stamp(card))
                    longest, asked_again = max(longest, time.monotonic() - began), time.monotonic()
    assert lines == 1 + 1 + EVENTS
    assert next(csv.reader([end.decode().splitlines()[-1]]))[0] == str(EVENTS + events_before(process))
    assert bytes_ / 1_000_000 > CSV_MB_MIN
    assert memory.most_mb - before < GROWTH_MB_MAX, f"{before:.0f} MB, then {memory.most_mb:.0f} MB"
    assert 0 < longest < STAMP_SECONDS_MAX


def events_before(service: Served) -> int:
    (row,) = service.rows("SELECT min(position) AS first FROM loyalty_transactions WHERE event_name = 'stamps-added'")
    return int(row["first"])
