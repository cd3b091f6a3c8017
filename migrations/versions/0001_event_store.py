"""The event store: events, one state row a stream, claims, idempotency keys, subject keys, and how they are appended.

The application's role may read and add events and nothing else. Versions without a hole and positions in commit order
are promises of the database, not of its clients.
"""

from alembic import op

revision = "0001"
down_revision = None

ROLE = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'loyalty_app') THEN
        CREATE ROLE loyalty_app NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
"""

# The login user must be able to become the application's role; a superuser always can. From PostgreSQL 16 on who makes
# a role is a member of it, and still may not become it.
ROLE_MEMBERSHIP = """
DO $$
DECLARE
    may_become text := CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END;
BEGIN
    IF NOT pg_has_role(current_user, 'loyalty_app', may_become) THEN
        EXECUTE format('GRANT loyalty_app TO %I', current_user);
    END IF;
EXCEPTION
    WHEN unique_violation OR duplicate_object THEN NULL;
END $$;
"""

# Exactly what eventsourcing's PostgresApplicationRecorder would create; a test compares the two.
STORED_EVENTS = """
CREATE TYPE stored_event_uuid AS (originator_id uuid, originator_version bigint, topic text, state bytea);

CREATE TABLE stored_events (
    originator_id uuid NOT NULL,
    originator_version bigint NOT NULL,
    topic text,
    state bytea,
    notification_id bigserial,
    PRIMARY KEY (originator_id, originator_version)
) WITH (
    autovacuum_enabled = true,
    autovacuum_vacuum_threshold = 100000000,
    autovacuum_vacuum_scale_factor = 0.5,
    autovacuum_analyze_threshold = 1000,
    autovacuum_analyze_scale_factor = 0.01
);

CREATE UNIQUE INDEX stored_events_notification_id_idx ON stored_events (notification_id ASC);
"""

# A hole in a stream would make it unreadable for ever. Asked as a scalar subquery, which is one look into the index for
# each event whatever the planner believes: an EXISTS may be planned as a scan of all events, and stay so.
CONTIGUITY = """
CREATE FUNCTION refuse_version_gaps() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM added a
        WHERE a.originator_version < 1 OR (
            a.originator_version > 1 AND (
                SELECT e.originator_version FROM stored_events e
                WHERE e.originator_id = a.originator_id AND e.originator_version = a.originator_version - 1
            ) IS NULL
        )
    ) THEN
        RAISE EXCEPTION 'the versions of a stream must follow each other without a gap'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'stored_events_contiguous';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER stored_events_contiguous AFTER INSERT ON stored_events
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION refuse_version_gaps();

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER stored_events_append_only BEFORE UPDATE OR DELETE ON stored_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

# Derived from the events, written with them: a snapshot that is always current.
STREAMS = """
CREATE TABLE streams (
    stream_id uuid PRIMARY KEY,
    stream_type text NOT NULL,
    vendor_id uuid NOT NULL,
    parent_id uuid,
    version bigint NOT NULL,
    head bytea NOT NULL,
    state text NOT NULL
) WITH (fillfactor = 70);
"""

# What must be unique, and finds its stream: a card's number, a QR token's digest, a vendor's code, a reference …
CLAIMS = """
CREATE TABLE claims (
    kind text NOT NULL,
    scope uuid NOT NULL,
    value bytea NOT NULL,
    stream_id uuid NOT NULL,
    entry_id uuid,
    CONSTRAINT claims_pkey PRIMARY KEY (scope, value, kind)
);

CREATE INDEX claims_stream_id_idx ON claims (stream_id);
"""

# The id derives from vendor and key. The row outlives its answer: it finds an entry's card, and keeps the id used.
IDEMPOTENCY_KEYS = """
CREATE TABLE idempotency_keys (
    command_id uuid CONSTRAINT idempotency_keys_pkey PRIMARY KEY,
    vendor_id uuid NOT NULL,
    fingerprint bytea NOT NULL,
    stream_id uuid,
    version bigint,
    position bigint,
    answer text,
    recorded_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX idempotency_keys_recorded_at_idx ON idempotency_keys USING brin (recorded_at);
"""

SUBJECT_KEYS = """
CREATE TABLE subject_keys (
    subject_id uuid PRIMARY KEY,
    vendor_id uuid NOT NULL,
    master_key_id text NOT NULL,
    wrapped_key bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
"""

# One check at a time for each PIN, in all processes together; a crashed holder's turn ends by itself.
PIN_TURNS = """
CREATE UNLOGGED TABLE pin_turns (
    turn_id uuid PRIMARY KEY,
    holder uuid NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE TABLE rate_counts (
    subject text NOT NULL,
    window_start timestamptz NOT NULL,
    count integer NOT NULL,
    PRIMARY KEY (subject, window_start)
);
"""

# One batch of commands: the streams read must be as they were, then everything is written at once. The lock makes
# commit order the order of positions, so that no reader ever misses an event; it collides with no maintenance.
APPEND = """
CREATE FUNCTION append_batch(
    read_ids uuid[], read_versions bigint[],
    event_ids uuid[], event_versions bigint[], event_names text[], event_states bytea[],
    stream_ids uuid[], stream_types text[], stream_vendors uuid[], stream_parents uuid[],
    stream_versions bigint[], stream_heads bytea[], stream_states text[],
    released_kinds text[], released_scopes uuid[], released_values bytea[],
    claimed_kinds text[], claimed_scopes uuid[], claimed_values bytea[], claimed_streams uuid[],
    claimed_entries uuid[],
    key_ids uuid[], key_vendors uuid[], key_fingerprints bytea[], key_streams uuid[], key_versions bigint[],
    key_events integer[], key_answers text[]
) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    positions bigint[];
BEGIN
    PERFORM pg_advisory_xact_lock(76021, 1);
    IF EXISTS (
        SELECT FROM unnest(read_ids, read_versions) AS r (stream_id, version)
        LEFT JOIN streams s ON s.stream_id = r.stream_id
        WHERE coalesce(s.version, 0) <> r.version
    ) THEN
        RAISE EXCEPTION 'a stream has moved on' USING ERRCODE = 'LL001';
    END IF;
    IF cardinality(event_ids) > 0 THEN
        WITH added AS (
            INSERT INTO stored_events (originator_id, originator_version, topic, state)
            SELECT e.id, e.version, e.name, e.state
            FROM unnest(event_ids, event_versions, event_names, event_states) AS e (id, version, name, state)
            RETURNING notification_id
        )
        SELECT array_agg(notification_id ORDER BY notification_id) INTO positions FROM added;
        INSERT INTO streams AS s (stream_id, stream_type, vendor_id, parent_id, version, head, state)
        SELECT * FROM unnest(stream_ids, stream_types, stream_vendors, stream_parents,
                             stream_versions, stream_heads, stream_states)
        ON CONFLICT (stream_id) DO UPDATE
            SET version = excluded.version, head = excluded.head, state = excluded.state;
        PERFORM pg_notify('stored_events', '');
    END IF;
    IF cardinality(released_kinds) > 0 THEN
        DELETE FROM claims c USING unnest(released_kinds, released_scopes, released_values) AS r (kind, scope, value)
        WHERE c.scope = r.scope AND c.value = r.value AND c.kind = r.kind;
    END IF;
    IF cardinality(claimed_kinds) > 0 THEN
        INSERT INTO claims (kind, scope, value, stream_id, entry_id)
        SELECT * FROM unnest(claimed_kinds, claimed_scopes, claimed_values, claimed_streams, claimed_entries);
    END IF;
    IF cardinality(key_ids) > 0 THEN
        INSERT INTO idempotency_keys (command_id, vendor_id, fingerprint, stream_id, version, position, answer)
        SELECT k.id, k.vendor_id, k.fingerprint, k.stream_id, k.version, positions[k.event], k.answer
        FROM unnest(key_ids, key_vendors, key_fingerprints, key_streams, key_versions, key_events, key_answers)
            AS k (id, vendor_id, fingerprint, stream_id, version, event, answer);
    END IF;
    RETURN coalesce(positions, '{}');
END $$;
"""

GRANTS = """
GRANT USAGE ON SCHEMA public TO loyalty_app;
GRANT SELECT, INSERT ON stored_events TO loyalty_app;
GRANT USAGE ON SEQUENCE stored_events_notification_id_seq TO loyalty_app;
GRANT SELECT, INSERT, UPDATE ON streams TO loyalty_app;
GRANT SELECT, INSERT, DELETE ON claims TO loyalty_app;
GRANT SELECT, INSERT, UPDATE ON idempotency_keys TO loyalty_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON subject_keys, pin_turns, rate_counts TO loyalty_app;
"""

DOWN = """
DROP FUNCTION append_batch;
DROP TABLE rate_counts, pin_turns, subject_keys, idempotency_keys, claims, streams, stored_events;
DROP FUNCTION refuse_version_gaps, refuse_change;
DROP TYPE stored_event_uuid;
REVOKE USAGE ON SCHEMA public FROM loyalty_app;
"""


def upgrade() -> None:
    for sql in (
        ROLE,
        ROLE_MEMBERSHIP,
        STORED_EVENTS,
        CONTIGUITY,
        STREAMS,
        CLAIMS,
        IDEMPOTENCY_KEYS,
        SUBJECT_KEYS,
        PIN_TURNS,
        APPEND,
        GRANTS,
    ):
        op.execute(sql)


def downgrade() -> None:
    """The role stays: it belongs to the server, where another database may use it."""
    op.execute(DOWN)
