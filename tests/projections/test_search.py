"""How events are found: by an index whatever is asked for, and wherever in the stream it stands."""

import asyncio
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4, uuid5

import psycopg
import pytest

from migrations.upgrade import downgrade, upgrade
from projections import search
from projections.check import check
from projections.read_model import Projector
from projections.search import Kind, Order, Span, Wanted
from tests.conftest import SERVER
from tests.databases import database
from tests.examples import DAY, MONDAY
from tests.projections.stories import MASTER_KEY, Store, busy_days, pin_created
from tests.projections.test_readers import OneConnection

ROWS = 50_000
VENDOR, OTHER = (uuid5(UUID(int=0), name) for name in ("vendor", "other"))


def id_(kind: str, number: int = 0) -> UUID:
    return uuid5(UUID(int=0), f"{kind}{number}")


# Two vendors in turn. A key, a till, a place and a program took over from others in the second half; each thousandth is
# somebody's or something's that is rare. Recorded a minute after one another.
FILL = """
CREATE FUNCTION u(text) RETURNS uuid LANGUAGE sql AS $$ SELECT md5($1)::uuid $$;
INSERT INTO stored_events (originator_id, originator_version, topic, state)
SELECT u('event' || n), 1, 'stamps-added', '' FROM generate_series(1, %(rows)s) AS n;
INSERT INTO vendors (id, code, name, country, timezone, currency, languages, is_active, version, position, created_at,
    updated_at, state)
SELECT v, v::text, 'x', 'LU', 'UTC', 'EUR', '[]', true, 1, 1, now(), now(), '{}'
FROM unnest(ARRAY[%(vendor)s, %(other)s]::uuid[]) AS v;
INSERT INTO loyalty_transactions (id, card_id, program_id, vendor_id, location_id, terminal_id, actor_type, actor_id,
    authenticated_by, channel, request_id, transaction_type, event_name, stamps_delta, points_delta,
    stamps_balance_after, points_balance_after, order_reference, external_ref, status_after, occurred_at, recorded_at,
    position, card_version)
SELECT u('event' || n), u('card' || n / 10), u('program' || half), (ARRAY[%(vendor)s, %(other)s]::uuid[])[n %% 2 + 1],
    u('location' || half), 'till-' || half, CASE half WHEN 2 THEN 'staff' ELSE 'api_key' END, u('actor' || half)::text,
    '', 'pos', '', 'stamp_earned', CASE half WHEN 2 THEN 'points-earned' ELSE 'stamps-added' END, 1, 0, 1, 0,
    CASE WHEN n %% 7 = 0 THEN 'order-' || n END, CASE WHEN n %% 7 = 1 THEN 'ticket-' || n END, 'active',
    at - CASE WHEN n %% 50 = 0 THEN interval '100 days' ELSE interval '0' END, at, n, 1
FROM generate_series(1, %(rows)s) AS n, LATERAL (
    SELECT CASE WHEN n %% 1000 < 2 THEN 3 WHEN n > %(rows)s / 2 THEN 2 ELSE 1 END AS half,
        %(monday)s::timestamptz + n * interval '1 minute' AS at
) AS when_;
SET default_statistics_target = 1000;
ANALYZE;
"""
"""`u` is md5, so ids are asked of the database."""


@pytest.fixture(scope="module")
def long_stream(pytestconfig: pytest.Config) -> Iterator[str]:
    server = pytestconfig.stash[SERVER]
    with database(server.url, template=server.template) as url:
        with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
            connection.execute(FILL, {"rows": ROWS, "vendor": VENDOR, "other": OTHER, "monday": MONDAY})
        yield url


def u(url: str, name: str) -> UUID:
    with psycopg.connect(url) as connection:
        (found,) = connection.execute("SELECT u(%s)", (name,)).fetchone() or (None,)
        assert isinstance(found, UUID)
        return found


def looked_at(url: str, wanted: Wanted, order: Order, limit: int = 51) -> tuple[int, int, str]:
    """Rows that one page found, rows of all tables and indexes it looked at for them, and the plan."""
    within = asyncio.run(search.narrowed(OneConnection(url), wanted))
    assert within is not None
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET ROLE loyalty_app")
        sql = f"EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, BUFFERS OFF) {search.statement(within, order)}"
        plan = [line for (line,) in connection.execute(sql, search.parameters(within) | {"limit": limit})]
    rows = 0
    for line in plan:
        if scan := re.search(r"Scan.*actual rows=([0-9.]+) loops=([0-9]+)", line):
            rows += int(float(scan[1]) * int(scan[2]))
        if removed := re.search(r"Rows Removed by (?:Filter|Index Recheck): ([0-9]+)", line):
            rows += int(removed[1])
    (first,) = re.findall(r"actual rows=([0-9.]+)", plan[0])
    return int(float(first)), rows, "\n".join(plan)


Named = dict[str, Any]
ASKED: dict[str, Named] = {
    "vendor": {"vendor_id": VENDOR},
    "card": {"card_id": "card7"},
    "program": {"program_id": "program2"},
    "location": {"location_id": "location2"},
    "location of a vendor": {"vendor_id": VENDOR, "location_id": "location2"},
    "terminal": {"vendor_id": VENDOR, "terminal_id": "till-2"},
    "terminal of any vendor": {"terminal_id": "till-2"},
    "rare terminal": {"vendor_id": VENDOR, "terminal_id": "till-3"},
    "actor": {"vendor_id": VENDOR, "actor_id": "actor2"},
    "actor of any vendor": {"actor_id": "actor2"},
    "staff": {"vendor_id": VENDOR, "staff_pin_id": "actor2"},
    "type": {"vendor_id": VENDOR, "kinds": (Kind("points-earned"),)},
    "types of any vendor": {"kinds": (Kind("points-earned", "stamp_earned"), Kind("stamp-refused"))},
    "order": {"vendor_id": VENDOR, "reference": "order-49"},
    "ticket of any vendor": {"reference": "ticket-50"},
    "what never was": {"vendor_id": VENDOR, "terminal_id": "till-9"},
    "nothing": {},
    "recorded": {"recorded": Span(MONDAY + 20 * DAY, MONDAY + 21 * DAY)},
    "recorded at a vendor": {"vendor_id": VENDOR, "recorded": Span(MONDAY + 20 * DAY, None)},
    "recorded by an actor": {"vendor_id": VENDOR, "actor_id": "actor2", "recorded": Span(None, MONDAY + 20 * DAY)},
    "command": {"command_id": id_("command")},
}
SMALL = {"card", "rare terminal", "order", "ticket of any vendor", "what never was", "command"}
A_DAY = 24 * 60


@pytest.mark.parametrize("order", ["oldest", "newest"])
@pytest.mark.parametrize("asked", ASKED)
def test_a_page_looks_at_little_more_than_it_shows(long_stream: str, asked: str, order: Order) -> None:
    """Each row found is looked at in a table and in the stream; of times, at most a day's beside them."""
    named = {
        name: u(long_stream, value)
        if name.endswith("_id") and isinstance(value, str) and name != "terminal_id"
        else value
        for name, value in ASKED[asked].items()
    }
    if "actor_id" in named:
        named["actor_id"] = str(named["actor_id"])
    shown, rows, plan = looked_at(long_stream, Wanted(**named), order)
    assert shown == 51 or asked in SMALL, plan
    beside = A_DAY if "recorded" in named else 0
    assert rows <= 6 * 51 + beside, plan
    assert "Seq Scan on loyalty_transactions" not in plan and "Seq Scan on stored_events" not in plan, plan


def test_without_its_indexes_a_page_would_look_at_half_the_stream(long_stream: str) -> None:
    """So that the test above is known to notice."""
    wanted = Wanted(vendor_id=VENDOR, terminal_id="till-2")
    with psycopg.connect(long_stream, autocommit=True) as connection:
        definition = "SELECT pg_get_indexdef('loyalty_transactions_terminal_idx'::regclass)"
        (made,) = connection.execute(definition).fetchone() or ("",)
        connection.execute("DROP INDEX loyalty_transactions_terminal_idx")
        try:
            _, rows, _ = looked_at(long_stream, wanted, "oldest")
        finally:
            connection.execute(made)
    assert rows > ROWS / 8


def test_times_are_found_however_clocks_ran(long_stream: str) -> None:
    """What occurred a hundred days before it was recorded lies far away in the stream, and is found all the same."""
    queries = OneConnection(long_stream)
    start, end = MONDAY - 80 * DAY, MONDAY - 79 * DAY

    def expected(column: str, span: tuple[datetime, datetime]) -> list[int]:
        with psycopg.connect(long_stream) as connection:
            sql = f"SELECT position FROM loyalty_transactions WHERE {column} >= %s AND {column} < %s ORDER BY 1"
            return [position for (position,) in connection.execute(sql, span)]

    for name, span in (
        ("occurred", (start, end)),
        ("occurred", (MONDAY + DAY, MONDAY + DAY + timedelta(hours=2))),
        ("recorded", (MONDAY + DAY, MONDAY + DAY + timedelta(hours=2))),
    ):
        within = asyncio.run(search.narrowed(queries, Wanted(**{name: Span(*span)})))
        assert within is not None
        found = expected(f"{name}_at", span)
        assert found and within.after < found[0] and found[-1] <= within.until
    assert asyncio.run(search.narrowed(queries, Wanted(recorded=Span(start, end)))) is None


def test_an_older_database_gets_a_row_for_each_event_it_has(database_url: str) -> None:
    store = Store(database_url).opened()
    busy_days(store, cards=3, rounds=3)
    Projector(database_url, MASTER_KEY).catch_up()
    store.append(("staff_pin", uuid4(), [pin_created()]))  # The projector's, after the upgrade.
    rows = store.rows("SELECT * FROM other_events ORDER BY position")
    downgrade(database_url, "0006")
    upgrade(database_url)
    assert rows and store.rows("SELECT * FROM other_events ORDER BY position") == rows
    Projector(database_url, MASTER_KEY).catch_up()
    assert len(store.rows("SELECT * FROM other_events")) == len(rows) + 1
    assert check(database_url, MASTER_KEY) == []
    store.connection.close()
