"""The query tables: what the stream adds up to, for lists, pages, statistics and other systems.

Every row can be folded from the stream again, so nothing here refers to anything by a foreign key. `state` holds the
folded dataclass a row was derived from; `position` is the store's position of the last event that changed the row,
`version` that event's version in its stream.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

LOYALTY_PROGRAMS = """
CREATE TABLE loyalty_programs (
    id uuid NOT NULL,
    vendor_id uuid NOT NULL,
    loyalty_type text NOT NULL,
    name text NOT NULL,
    stamps_target bigint,
    stamps_reward_description text,
    stamps_reward_value_minor bigint,
    points_per_currency_unit jsonb,
    points_rewards jsonb NOT NULL,
    currency text NOT NULL,
    timezone text NOT NULL,
    cooldown_minutes bigint NOT NULL,
    max_daily_stamps bigint NOT NULL,
    max_stamps_per_scan bigint NOT NULL,
    minimum_purchase_minor bigint NOT NULL,
    require_staff_pin boolean NOT NULL,
    reversal_policy text NOT NULL,
    wind_down_days bigint NOT NULL,
    rules_version bigint NOT NULL,
    next_rules_at timestamptz,
    rules jsonb NOT NULL,
    targets jsonb NOT NULL,
    card_name text,
    card_color text,
    card_secondary_color text,
    logo_url text,
    hero_image_url text,
    terms_text text,
    privacy_url text,
    google_class_id text,
    apple_pass_type_id text,
    is_active boolean NOT NULL,
    activated_at timestamptz,
    deactivated_at timestamptz,
    version bigint NOT NULL,
    position bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    state jsonb NOT NULL,
    CONSTRAINT loyalty_programs_pkey PRIMARY KEY (id)
);

CREATE INDEX loyalty_programs_newest_idx ON loyalty_programs (created_at DESC, id DESC);
CREATE INDEX loyalty_programs_vendor_idx ON loyalty_programs (vendor_id, created_at DESC, id DESC);
"""

# No index on a column that changes with each stamp: most updates then touch no index at all.
LOYALTY_CARDS = """
CREATE TABLE loyalty_cards (
    id uuid NOT NULL,
    customer_id uuid NOT NULL,
    program_id uuid NOT NULL,
    vendor_id uuid NOT NULL,
    card_number text NOT NULL,
    qr_code_data text,
    language text NOT NULL,
    stamp_count bigint NOT NULL,
    total_stamps_earned bigint NOT NULL,
    stamps_redeemed bigint NOT NULL,
    points_balance bigint NOT NULL,
    total_points_earned bigint NOT NULL,
    points_redeemed bigint NOT NULL,
    cycle_version bigint NOT NULL,
    recent_stamps jsonb NOT NULL,
    google_object_id text,
    google_object_jwt text,
    apple_serial_number text,
    apple_auth_token text,
    last_stamp_at timestamptz,
    last_points_at timestamptz,
    last_redemption_at timestamptz,
    is_active boolean NOT NULL,
    status text NOT NULL,
    replaced_by uuid,
    details jsonb NOT NULL,
    version bigint NOT NULL,
    position bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    state jsonb NOT NULL,
    CONSTRAINT loyalty_cards_pkey PRIMARY KEY (id)
) WITH (fillfactor = 80);

CREATE UNIQUE INDEX loyalty_cards_one_open_idx ON loyalty_cards (customer_id, program_id)
    WHERE status IN ('active', 'suspended');
CREATE UNIQUE INDEX loyalty_cards_card_number_idx ON loyalty_cards (card_number);
CREATE UNIQUE INDEX loyalty_cards_qr_code_data_idx ON loyalty_cards (qr_code_data);
CREATE UNIQUE INDEX loyalty_cards_apple_serial_number_idx ON loyalty_cards (apple_serial_number);
CREATE INDEX loyalty_cards_vendor_id_is_active_idx ON loyalty_cards (vendor_id, is_active);
CREATE INDEX loyalty_cards_vendor_idx ON loyalty_cards (vendor_id, created_at DESC, id DESC);
CREATE INDEX loyalty_cards_customer_id_idx ON loyalty_cards (customer_id);
CREATE INDEX loyalty_cards_program_id_idx ON loyalty_cards (program_id, created_at DESC, id DESC);
CREATE INDEX loyalty_cards_google_object_id_idx ON loyalty_cards (google_object_id);
"""

LOYALTY_TRANSACTIONS = """
CREATE TABLE loyalty_transactions (
    id uuid NOT NULL,
    card_id uuid NOT NULL,
    program_id uuid NOT NULL,
    vendor_id uuid NOT NULL,
    location_id uuid,
    terminal_id text,
    staff_pin_id uuid,
    actor_type text NOT NULL,
    actor_id text NOT NULL,
    authenticated_by text NOT NULL,
    channel text NOT NULL,
    request_id text NOT NULL,
    causation_id uuid,
    transaction_type text NOT NULL,
    event_name text NOT NULL,
    stamps_delta bigint NOT NULL,
    points_delta bigint NOT NULL,
    stamps_balance_after bigint NOT NULL,
    points_balance_after bigint NOT NULL,
    purchase_amount_minor bigint,
    net_amount_minor bigint,
    refund_amount_minor bigint,
    currency text,
    order_reference text,
    external_ref text,
    reward_id uuid,
    reward_description text,
    reward_value_minor bigint,
    reverses_id uuid,
    shortfall bigint,
    related_card_id uuid,
    status_after text NOT NULL,
    reason text,
    local_date date,
    program_version bigint,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    position bigint NOT NULL,
    card_version bigint NOT NULL,
    CONSTRAINT loyalty_transactions_pkey PRIMARY KEY (id)
);

CREATE UNIQUE INDEX loyalty_transactions_position_idx ON loyalty_transactions (position);
CREATE INDEX loyalty_transactions_card_idx ON loyalty_transactions (card_id, position DESC);
CREATE INDEX loyalty_transactions_vendor_idx ON loyalty_transactions (vendor_id, position DESC);
CREATE INDEX loyalty_transactions_program_occurred_idx ON loyalty_transactions (program_id, occurred_at);
CREATE INDEX loyalty_transactions_vendor_occurred_idx ON loyalty_transactions (vendor_id, occurred_at);
CREATE INDEX loyalty_transactions_occurred_idx ON loyalty_transactions USING brin (occurred_at);
CREATE INDEX loyalty_transactions_reverses_idx ON loyalty_transactions (reverses_id) WHERE reverses_id IS NOT NULL;

CREATE TRIGGER loyalty_transactions_append_only BEFORE UPDATE OR DELETE ON loyalty_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

STAFF_PINS = """
CREATE TABLE staff_pins (
    id uuid NOT NULL,
    vendor_id uuid NOT NULL,
    program_id uuid,
    staff_id text NOT NULL,
    name text,
    role text NOT NULL,
    operations jsonb NOT NULL,
    pin_hash text,
    is_active boolean NOT NULL,
    failed_attempts bigint NOT NULL,
    locks_in_a_row bigint NOT NULL,
    locked_until timestamptz,
    last_used_at timestamptz,
    version bigint NOT NULL,
    position bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    state jsonb NOT NULL,
    CONSTRAINT staff_pins_pkey PRIMARY KEY (id)
) WITH (fillfactor = 70);

CREATE INDEX staff_pins_vendor_idx ON staff_pins (vendor_id, created_at DESC, id DESC);
"""

APPLE_DEVICE_REGISTRATIONS = """
CREATE TABLE apple_device_registrations (
    id uuid NOT NULL,
    card_id uuid NOT NULL,
    device_library_identifier text NOT NULL,
    push_token text NOT NULL,
    pass_type_identifier text NOT NULL,
    serial_number text NOT NULL,
    version bigint NOT NULL,
    position bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    state jsonb NOT NULL,
    CONSTRAINT apple_device_registrations_pkey PRIMARY KEY (id)
);

CREATE UNIQUE INDEX apple_device_registrations_device_idx
    ON apple_device_registrations (device_library_identifier, pass_type_identifier, serial_number);
CREATE INDEX apple_device_registrations_card_idx ON apple_device_registrations (card_id);
"""

VENDORS = """
CREATE TABLE vendors (
    id uuid NOT NULL,
    code text NOT NULL,
    name text NOT NULL,
    country text NOT NULL,
    timezone text NOT NULL,
    currency text NOT NULL,
    languages jsonb NOT NULL,
    is_active boolean NOT NULL,
    version bigint NOT NULL,
    position bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    state jsonb NOT NULL,
    CONSTRAINT vendors_pkey PRIMARY KEY (id)
);

CREATE UNIQUE INDEX vendors_code_idx ON vendors (code);
CREATE INDEX vendors_newest_idx ON vendors (created_at DESC, id DESC);

CREATE TABLE api_keys (
    key_id uuid NOT NULL,
    vendor_id uuid NOT NULL,
    name text NOT NULL,
    digest text NOT NULL,
    prefix text NOT NULL,
    scopes jsonb NOT NULL,
    issued_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    version bigint NOT NULL,
    position bigint NOT NULL,
    state jsonb NOT NULL,
    CONSTRAINT api_keys_pkey PRIMARY KEY (key_id)
);

CREATE UNIQUE INDEX api_keys_digest_idx ON api_keys (digest);
CREATE INDEX api_keys_vendor_idx ON api_keys (vendor_id, issued_at DESC, key_id DESC);
"""

REFUSALS = """
CREATE TABLE refusals (
    id uuid NOT NULL,
    card_id uuid NOT NULL,
    program_id uuid,
    vendor_id uuid NOT NULL,
    kind text NOT NULL,
    refusal text NOT NULL,
    facts jsonb NOT NULL,
    staff_pin_id uuid,
    location_id uuid,
    terminal_id text,
    actor_type text NOT NULL,
    actor_id text NOT NULL,
    channel text NOT NULL,
    request_id text NOT NULL,
    at timestamptz NOT NULL,
    version bigint NOT NULL,
    position bigint NOT NULL,
    CONSTRAINT refusals_pkey PRIMARY KEY (id)
);

CREATE UNIQUE INDEX refusals_position_idx ON refusals (position);
CREATE INDEX refusals_card_idx ON refusals (card_id, position DESC);
CREATE INDEX refusals_vendor_idx ON refusals (vendor_id, position DESC);
CREATE INDEX refusals_program_at_idx ON refusals (program_id, at);
CREATE INDEX refusals_vendor_at_idx ON refusals (vendor_id, at);
"""

# Who follows the stream, how far, and under which lease: a holder whose token is outdated cannot write any more.
PROJECTIONS = """
CREATE TABLE projections (
    name text NOT NULL,
    position bigint NOT NULL DEFAULT 0,
    holder text,
    lease_until timestamptz,
    fencing_token bigint NOT NULL DEFAULT 0,
    error text,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT projections_pkey PRIMARY KEY (name)
) WITH (fillfactor = 50);

INSERT INTO projections (name) VALUES ('query_tables');
"""

GRANTS = """
GRANT SELECT, INSERT ON loyalty_transactions TO loyalty_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON
    loyalty_programs, loyalty_cards, staff_pins, apple_device_registrations, vendors, api_keys, refusals, projections
    TO loyalty_app;
"""

DOWN = """
DROP TABLE projections, refusals, api_keys, vendors, apple_device_registrations, staff_pins, loyalty_transactions,
    loyalty_cards, loyalty_programs;
"""


def upgrade() -> None:
    for sql in (
        LOYALTY_PROGRAMS,
        LOYALTY_CARDS,
        LOYALTY_TRANSACTIONS,
        STAFF_PINS,
        APPLE_DEVICE_REGISTRATIONS,
        VENDORS,
        REFUSALS,
        PROJECTIONS,
        GRANTS,
    ):
        op.execute(sql)


def downgrade() -> None:
    """Nothing is lost: the rows can be folded from the stream again."""
    op.execute(DOWN)
