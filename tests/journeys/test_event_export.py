"""A long history told at once: in little memory, to its end, and with others served meanwhile."""

import csv
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.callers import Client, Till, ok, problem
from tests.clock import eventually
from tests.faults.test_memory import watched
from tests.service import Served, Service, ServiceProcess, service_process

EVENTS = 50_000  # About 800 bytes each.
SOME_EVENTS = 20_000  # More than all buffers hold between a service and somebody who does not read on.
CSV_MB_MIN = 35.0
GROWTH_MB_MAX = 30.0
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


def with_history(service: Served, events: int = EVENTS) -> tuple[Till, str]:
    till = service.shop()
    card = till.card(till.program()["id"])["id"]
    ok(till.stamp(card, order_reference="=1+1"))
    service.catch_up()
    service.rows(MANY, events)
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


class SlowReader:
    """Somebody who asks for everything and takes a first piece of it."""

    def __init__(self, resources: ExitStack, client: Client) -> None:
        headers = {**client.headers, "Accept": "text/csv"}
        stream = client.http.stream("GET", f"{client.prefix}/events", headers=headers)
        self.response = resources.enter_context(stream)
        self._parts = self.response.iter_bytes(1_000)
        if self.response.status_code == 200:
            self.lines = next(self._parts).count(b"\n")

    def reads_on(self) -> int:
        """How many lines there are in all."""
        return self.lines + sum(part.count(b"\n") for part in self._parts)


def test_slow_readers_take_no_tills_place_and_a_key_has_two_of_them(database_url: str) -> None:
    with Service(database_url, in_flight_max=2) as service, ExitStack() as resources:
        till, card = with_history(service, SOME_EVENTS)
        other = service.till(service.admin.api_key(till.vendor_id, "read")["key"], till.vendor_id)
        readers = [SlowReader(resources, client) for client in (till, till, other, other, service.auditor)]
        assert [reader.response.status_code for reader in readers] == [200] * 5
        ok(till.stamp(card))
        ok(till.get("/events", limit=1))
        one_more = SlowReader(resources, till).response
        one_more.read()
        assert int(one_more.headers["Retry-After"]) >= 1
        assert "long answers" in problem(one_more, 429, "too_many_streams")["detail"]
        in_all = service.rows("SELECT count(*) FROM loyalty_transactions")[0]["count"]
        assert in_all - 10 < readers[2].reads_on() < in_all + 10
        readers[0].response.close()  # Gone in the middle.
        for client in (till, other):
            eventually(lambda client=client: SlowReader(resources, client).response.status_code == 200)  # type: ignore[misc]
        ok(till.stamp(card))


def events_before(service: Served) -> int:
    (row,) = service.rows("SELECT min(position) AS first FROM loyalty_transactions WHERE event_name = 'stamps-added'")
    return int(row["first"])
