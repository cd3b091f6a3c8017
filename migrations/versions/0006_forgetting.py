"""Forgetting people: a destroyed key stays destroyed, phones are told good-bye, and the master key can change.

What a farewell holds of a phone is sealed or a digest, and goes when the phone has heard it, or in the end by itself.
"""

from alembic import op

revision = "0006"
down_revision = "0005"

# Whoever is forgotten has a stream that says so. A new key under the same id would not open what was sealed before, and
# would hide that it cannot be opened.
DESTROYED_FOR_EVER = """
CREATE FUNCTION refuse_destroyed_subject() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM streams WHERE stream_id = NEW.subject_id AND stream_type = 'subject') THEN
        RAISE EXCEPTION 'this person was forgotten'
            USING ERRCODE = 'unique_violation', CONSTRAINT = 'subject_is_erased';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER subject_keys_destroyed_for_ever BEFORE INSERT ON subject_keys
    FOR EACH ROW EXECUTE FUNCTION refuse_destroyed_subject();
"""

WALLET_FAREWELLS = """
CREATE TABLE wallet_farewells (
    id uuid NOT NULL,
    card_id uuid NOT NULL,
    vendor_id uuid NOT NULL,
    pass_type_id text NOT NULL,
    serial_number text NOT NULL,
    device_digest bytea NOT NULL,
    push_token text,
    position bigint NOT NULL,
    until timestamptz NOT NULL,
    due_at timestamptz NOT NULL DEFAULT now(),
    failures integer NOT NULL DEFAULT 0,
    asked_at timestamptz,
    CONSTRAINT wallet_farewells_pkey PRIMARY KEY (id)
);

CREATE INDEX wallet_farewells_device_idx ON wallet_farewells (device_digest);
CREATE INDEX wallet_farewells_serial_idx ON wallet_farewells (serial_number);
"""

# What must stay when the master key changes, because phones and PINs depend on it; wrapped by the new one.
CARRIED_KEYS = """
CREATE TABLE carried_keys (
    purpose text NOT NULL,
    master_key_id text NOT NULL,
    wrapped_key bytea NOT NULL,
    CONSTRAINT carried_keys_pkey PRIMARY KEY (purpose)
);
"""

GRANTS = """
GRANT SELECT, INSERT, UPDATE, DELETE ON wallet_farewells, carried_keys TO loyalty_app;
"""

DOWN = """
DROP TABLE carried_keys, wallet_farewells;
DROP TRIGGER subject_keys_destroyed_for_ever ON subject_keys;
DROP FUNCTION refuse_destroyed_subject;
"""


def upgrade() -> None:
    for sql in (DESTROYED_FOR_EVER, WALLET_FAREWELLS, CARRIED_KEYS, GRANTS):
        op.execute(sql)


def downgrade() -> None:
    """Who is forgotten stays so. With a master key that was changed since, PINs and passes are lost without the row."""
    op.execute(DOWN)
