"""What is owed to wallets: which revision of each pass there is, and which one each phone was told of.

Not folded from the stream but kept beside it: who knows what outside is no fact of a card. Losing it costs pushes.
"""

from alembic import op

revision = "0004"
down_revision = "0003"

WALLET_PASSES = """
CREATE TABLE wallet_passes (
    card_id uuid NOT NULL,
    program_id uuid NOT NULL,
    revision bigint NOT NULL,
    digest bytea NOT NULL,
    changed_at timestamptz NOT NULL,
    number bigint NOT NULL DEFAULT 0,
    nudge bigint NOT NULL DEFAULT 0,
    fetched_number bigint,
    fetched_revision bigint,
    fetched_at timestamptz,
    CONSTRAINT wallet_passes_pkey PRIMARY KEY (card_id)
) WITH (fillfactor = 80);

CREATE INDEX wallet_passes_program_idx ON wallet_passes (program_id, card_id);
"""

# Work is where `synced < desired`: no flag that a change in between could find already cleared.
WALLET_WORK = """
CREATE TABLE wallet_work (
    channel text NOT NULL,
    id uuid NOT NULL,
    card_id uuid,
    desired bigint NOT NULL,
    synced bigint NOT NULL,
    owed_since timestamptz NOT NULL DEFAULT now(),
    due_at timestamptz NOT NULL DEFAULT now(),
    failures integer NOT NULL DEFAULT 0,
    last_error text,
    last_status integer,
    last_tried_at timestamptz,
    last_done_at timestamptz,
    asked_at timestamptz,
    look_again_at timestamptz,
    times_again integer NOT NULL DEFAULT 0,
    is_parked boolean NOT NULL DEFAULT false,
    leased_until timestamptz,
    CONSTRAINT wallet_work_pkey PRIMARY KEY (channel, id)
) WITH (fillfactor = 70);

CREATE INDEX wallet_work_due_idx ON wallet_work (channel, due_at) WHERE synced < desired AND NOT is_parked;
CREATE INDEX wallet_work_card_idx ON wallet_work (card_id);
CREATE INDEX wallet_work_parked_idx ON wallet_work (owed_since, id) WHERE is_parked;
CREATE INDEX wallet_work_again_idx ON wallet_work (look_again_at) WHERE look_again_at IS NOT NULL;
"""

IS_SAVED = "ALTER TABLE loyalty_cards ADD COLUMN is_saved_at_google boolean NOT NULL DEFAULT false"

# Google lets a card ring three times a day: when it did, and how many rewards it showed.
GOOGLE_ALERTS = """
CREATE TABLE google_alerts (
    card_id uuid NOT NULL,
    rewards integer NOT NULL,
    rung_at timestamptz[] NOT NULL DEFAULT '{}',
    CONSTRAINT google_alerts_pkey PRIMARY KEY (card_id)
) WITH (fillfactor = 70);
"""

# What Google told once it may tell again; and when it may be asked next, by all who ask.
GOOGLE_NONCES = """
CREATE TABLE google_nonces (
    nonce text NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT google_nonces_pkey PRIMARY KEY (nonce)
);

CREATE INDEX google_nonces_expires_idx ON google_nonces (expires_at);
"""
PACES = """
CREATE TABLE paces (
    name text NOT NULL,
    next_at timestamptz NOT NULL,
    CONSTRAINT paces_pkey PRIMARY KEY (name)
) WITH (fillfactor = 50);
"""

GRANTS = (
    "GRANT SELECT, INSERT, UPDATE, DELETE ON"
    " wallet_passes, wallet_work, google_alerts, google_nonces, paces TO loyalty_app"
)


def upgrade() -> None:
    for sql in (WALLET_PASSES, WALLET_WORK, IS_SAVED, GOOGLE_ALERTS, GOOGLE_NONCES, PACES, GRANTS):
        op.execute(sql)


def downgrade() -> None:
    op.execute("DROP TABLE paces, google_nonces, google_alerts, wallet_work, wallet_passes")
    op.execute("ALTER TABLE loyalty_cards DROP COLUMN is_saved_at_google")
    op.execute("DELETE FROM projections WHERE name = 'wallets'")
