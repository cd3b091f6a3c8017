"""Cards and transactions made from the stream by nothing but SQL: about as fast as PostgreSQL can.

It fills the columns and indexes of the real tables, but for what is sealed, and checks nothing.
"""

import time
from typing import Any

import psycopg
from psycopg import Connection

SCHEMA = "plain"
TABLES = ("loyalty_transactions", "loyalty_cards")
LAST_POSITION = "SELECT coalesce(max(notification_id), 0) FROM stored_events"

TRANSACTIONS = """
INSERT INTO plain.loyalty_transactions (id, card_id, program_id, vendor_id, actor_type, actor_id, authenticated_by,
    channel, request_id, transaction_type, event_name, stamps_delta, points_delta, stamps_balance_after,
    points_balance_after, purchase_amount_minor, net_amount_minor, currency, status_after, local_date, program_version,
    occurred_at, recorded_at, position, card_version)
SELECT coalesce((d->>'entry_id')::uuid, gen_random_uuid()), s.originator_id, (e->>'program_id')::uuid,
    (e->>'vendor_id')::uuid, e->'actor'->>'type', e->'actor'->>'id', e->'actor'->>'authenticated_by', e->>'channel',
    e->>'request_id',
    CASE s.topic WHEN 'card-enrolled' THEN 'card_enrolled' WHEN 'stamps-added' THEN 'stamp_earned'
        ELSE 'points_earned' END,
    s.topic, CASE s.topic WHEN 'stamps-added' THEN (d->>'stamps')::bigint ELSE 0 END,
    CASE s.topic WHEN 'points-earned' THEN (d->>'points')::bigint ELSE 0 END,
    coalesce((d->>'stamps_after')::bigint, 0), coalesce((d->>'points_after')::bigint, 0),
    (d->>'purchase_amount_minor')::bigint,
    (d->>'purchase_amount_minor')::bigint - (d->>'paid_with_reward_minor')::bigint,
    d->>'currency', 'active', (d->>'local_date')::date, (e->>'program_version')::bigint,
    (e->>'occurred_at')::timestamptz, (e->>'recorded_at')::timestamptz, s.notification_id, s.originator_version
FROM stored_events s
CROSS JOIN LATERAL (SELECT convert_from(s.state, 'UTF8')::jsonb AS e OFFSET 0) j
CROSS JOIN LATERAL (SELECT e->'data' AS d) k
WHERE s.notification_id > %(after)s AND s.notification_id <= %(until)s
    AND s.topic IN ('card-enrolled', 'stamps-added', 'points-earned')
"""
SUMS = """
SELECT card_id, sum(stamps_delta) AS stamps, sum(points_delta) AS points, max(card_version) AS version,
    max(position) AS position, max(recorded_at) AS at,
    max(recorded_at) FILTER (WHERE event_name = 'stamps-added') AS stamped_at,
    max(recorded_at) FILTER (WHERE event_name = 'points-earned') AS earned_at
FROM plain.loyalty_transactions WHERE position > %(after)s AND position <= %(until)s GROUP BY card_id
"""
CARDS = f"""
INSERT INTO plain.loyalty_cards (id, customer_id, program_id, vendor_id, card_number, language, stamp_count,
    total_stamps_earned, stamps_redeemed, points_balance, total_points_earned, points_redeemed, cycle_version,
    recent_stamps, last_stamp_at, last_points_at, is_active, status, details, version, position, created_at,
    updated_at, state)
SELECT s.originator_id, (d->>'customer_id')::uuid, (e->>'program_id')::uuid, (e->>'vendor_id')::uuid, d->>'number',
    d->>'language', b.stamps, b.stamps, 0, b.points, b.points, 0, 1, '[]', b.stamped_at, b.earned_at, true, 'active',
    '{{}}', b.version, b.position, (e->>'recorded_at')::timestamptz, b.at,
    d || jsonb_build_object('stamps', b.stamps, 'points', b.points, 'last_at', b.at)
FROM stored_events s
CROSS JOIN LATERAL (SELECT convert_from(s.state, 'UTF8')::jsonb AS e OFFSET 0) j
CROSS JOIN LATERAL (SELECT e->'data' AS d) k
JOIN ({SUMS}) b ON b.card_id = s.originator_id
WHERE s.notification_id > %(after)s AND s.notification_id <= %(until)s AND s.topic = 'card-enrolled'
"""
CHANGED_CARDS = f"""
UPDATE plain.loyalty_cards c
SET stamp_count = c.stamp_count + b.stamps, total_stamps_earned = c.total_stamps_earned + b.stamps,
    points_balance = c.points_balance + b.points, total_points_earned = c.total_points_earned + b.points,
    last_stamp_at = coalesce(b.stamped_at, c.last_stamp_at), last_points_at = coalesce(b.earned_at, c.last_points_at),
    version = b.version, position = b.position, updated_at = b.at,
    state = c.state || jsonb_build_object('stamps', c.stamp_count + b.stamps, 'points', c.points_balance + b.points,
                                          'last_at', b.at)
FROM ({SUMS}) b WHERE b.card_id = c.id AND c.version < b.version
"""


def rebuild(url: str) -> float:
    """Seconds for the whole history at once: fill, then index."""
    with psycopg.connect(url, autocommit=True) as connection:
        until = _fresh_tables(connection)
        began = time.monotonic()
        with connection.transaction():
            window = {"after": 0, "until": until}
            connection.execute(TRANSACTIONS, window)
            connection.execute(CARDS, window)
        _index(connection)
        for table in TABLES:
            connection.execute(f"ANALYZE {SCHEMA}.{table}")
        took = time.monotonic() - began
        _drop(connection)
    return took


def catch_up(url: str, *, batch: int) -> float:
    """Events a second in batches of so many, each a transaction with its position, into tables with their indexes."""
    with psycopg.connect(url, autocommit=True) as connection:
        until = _fresh_tables(connection)
        _index(connection)
        connection.execute(f"CREATE TABLE {SCHEMA}.position (position bigint NOT NULL)")
        connection.execute(f"INSERT INTO {SCHEMA}.position VALUES (0)")
        began = time.monotonic()
        for after in range(0, until, batch):
            window = {"after": after, "until": min(after + batch, until)}
            with connection.transaction():
                for statement in (TRANSACTIONS, CARDS, CHANGED_CARDS):
                    connection.execute(statement, window)
                connection.execute(f"UPDATE {SCHEMA}.position SET position = %(until)s", window)
        took = time.monotonic() - began
        _drop(connection)
    return until / took


def _fresh_tables(connection: Connection[Any]) -> int:
    """Empty tables without indexes. Returns the last position there is."""
    _drop(connection)
    connection.execute(f"CREATE SCHEMA {SCHEMA}")
    for table in TABLES:
        connection.execute(f"CREATE TABLE {SCHEMA}.{table} (LIKE public.{table} INCLUDING ALL EXCLUDING INDEXES)")
    row = connection.execute(LAST_POSITION).fetchone()
    assert row is not None
    return int(row[0])


def _index(connection: Connection[Any]) -> None:
    for table in TABLES:
        found = connection.execute(
            "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename = %s", (table,)
        )
        for (definition,) in found.fetchall():
            connection.execute(definition.replace(f" ON public.{table} ", f" ON {SCHEMA}.{table} "))


def _drop(connection: Connection[Any]) -> None:
    connection.execute("SET client_min_messages = warning")
    connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
