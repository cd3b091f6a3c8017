"""Event search: the events that no other log table has, and the indexes by which every event is found.

`NULLS FIRST`, though no position is null: an order that only these indexes have. The planner would else walk along the
positions of a whole table and look at each row, where what is sought is frequent but long ago.
"""

from alembic import op

revision = "0007"
down_revision = "0006"

OTHER_EVENTS = """
CREATE TABLE other_events (
    position bigint NOT NULL,
    stream_id uuid NOT NULL,
    stream_type text NOT NULL,
    version bigint NOT NULL,
    event_name text NOT NULL,
    vendor_id uuid NOT NULL,
    program_id uuid,
    location_id uuid,
    terminal_id text,
    actor_type text NOT NULL,
    actor_id text NOT NULL,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    CONSTRAINT other_events_pkey PRIMARY KEY (position)
);
"""

# What was projected before there was this table. The projector waits meanwhile, and goes on behind it.
SO_FAR = """
INSERT INTO other_events
SELECT s.notification_id, s.originator_id, e->>'stream_type', s.originator_version, s.topic, (e->>'vendor_id')::uuid,
    (e->>'program_id')::uuid, (e->>'location_id')::uuid, e->>'terminal_id', e->'actor'->>'type', e->'actor'->>'id',
    (e->>'occurred_at')::timestamptz, (e->>'recorded_at')::timestamptz
FROM (SELECT position FROM projections WHERE name = 'query_tables' FOR UPDATE) AS projected
JOIN stored_events s ON s.notification_id <= projected.position
CROSS JOIN LATERAL (SELECT convert_from(s.state, 'UTF8')::json AS e OFFSET 0) AS written
WHERE e->>'stream_type' NOT IN ('card', 'attempts')
"""

INDEXES = """
CREATE INDEX other_events_vendor_idx ON other_events (vendor_id, position DESC);
CREATE INDEX other_events_stream_idx ON other_events (stream_id, position NULLS FIRST);
CREATE INDEX other_events_program_idx ON other_events (program_id, position NULLS FIRST)
    WHERE program_id IS NOT NULL;
CREATE INDEX other_events_location_idx ON other_events (location_id, position NULLS FIRST)
    WHERE location_id IS NOT NULL;
CREATE INDEX other_events_terminal_idx ON other_events (vendor_id, terminal_id, position NULLS FIRST)
    WHERE terminal_id IS NOT NULL;
CREATE INDEX other_events_actor_idx ON other_events (vendor_id, actor_id, position NULLS FIRST);
CREATE INDEX other_events_name_idx ON other_events (vendor_id, event_name, position NULLS FIRST);
CREATE INDEX other_events_recorded_day_idx ON other_events (((recorded_at AT TIME ZONE 'UTC')::date), position);
CREATE INDEX other_events_occurred_day_idx ON other_events (((occurred_at AT TIME ZONE 'UTC')::date), position)
    WHERE occurred_at <> recorded_at;

CREATE INDEX loyalty_transactions_program_idx ON loyalty_transactions (program_id, position NULLS FIRST);
CREATE INDEX loyalty_transactions_location_idx ON loyalty_transactions (location_id, position NULLS FIRST)
    WHERE location_id IS NOT NULL;
CREATE INDEX loyalty_transactions_terminal_idx ON loyalty_transactions (vendor_id, terminal_id, position NULLS FIRST)
    WHERE terminal_id IS NOT NULL;
CREATE INDEX loyalty_transactions_actor_idx ON loyalty_transactions (vendor_id, actor_id, position NULLS FIRST);
CREATE INDEX loyalty_transactions_name_idx ON loyalty_transactions (vendor_id, event_name, position NULLS FIRST);
CREATE INDEX loyalty_transactions_order_idx ON loyalty_transactions (vendor_id, order_reference, position NULLS FIRST)
    WHERE order_reference IS NOT NULL;
CREATE INDEX loyalty_transactions_external_idx ON loyalty_transactions (vendor_id, external_ref, position NULLS FIRST)
    WHERE external_ref IS NOT NULL;
CREATE INDEX loyalty_transactions_recorded_day_idx
    ON loyalty_transactions (((recorded_at AT TIME ZONE 'UTC')::date), position);
CREATE INDEX loyalty_transactions_occurred_day_idx
    ON loyalty_transactions (((occurred_at AT TIME ZONE 'UTC')::date), position) WHERE occurred_at <> recorded_at;

CREATE INDEX refusals_program_idx ON refusals (program_id, position NULLS FIRST);
CREATE INDEX refusals_location_idx ON refusals (location_id, position NULLS FIRST) WHERE location_id IS NOT NULL;
CREATE INDEX refusals_terminal_idx ON refusals (vendor_id, terminal_id, position NULLS FIRST)
    WHERE terminal_id IS NOT NULL;
CREATE INDEX refusals_actor_idx ON refusals (vendor_id, actor_id, position NULLS FIRST);
CREATE INDEX refusals_kind_idx ON refusals (vendor_id, kind, position NULLS FIRST);
CREATE INDEX refusals_day_idx ON refusals (((at AT TIME ZONE 'UTC')::date), position);
"""

GRANTS = "GRANT SELECT, INSERT, UPDATE, DELETE ON other_events TO loyalty_app;"

DOWN = """
DROP INDEX refusals_program_idx, refusals_location_idx, refusals_terminal_idx, refusals_actor_idx, refusals_kind_idx,
    refusals_day_idx;
DROP INDEX loyalty_transactions_program_idx, loyalty_transactions_location_idx, loyalty_transactions_terminal_idx,
    loyalty_transactions_actor_idx, loyalty_transactions_name_idx, loyalty_transactions_order_idx,
    loyalty_transactions_external_idx, loyalty_transactions_recorded_day_idx, loyalty_transactions_occurred_day_idx;
DROP TABLE other_events;
"""


def upgrade() -> None:
    for sql in (OTHER_EVENTS, SO_FAR, INDEXES, GRANTS):
        op.execute(sql)


def downgrade() -> None:
    """Nothing is lost: the rows can be folded from the stream again."""
    op.execute(DOWN)
