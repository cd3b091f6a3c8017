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
    last_tried_at timestamptz,
    last_done_at timestamptz,
    is_parked boolean NOT NULL DEFAULT false,
    leased_until timestamptz,
    CONSTRAINT wallet_work_pkey PRIMARY KEY (channel, id)
) WITH (fillfactor = 70);

CREATE INDEX wallet_work_due_idx ON wallet_work (channel, due_at) WHERE synced < desired AND NOT is_parked;
CREATE INDEX wallet_work_card_idx ON wallet_work (card_id);
"""

GRANTS = "GRANT SELECT, INSERT, UPDATE, DELETE ON wallet_passes, wallet_work TO loyalty_app"


def upgrade() -> None:
    for sql in (WALLET_PASSES, WALLET_WORK, GRANTS):
        op.execute(sql)


def downgrade() -> None:
    op.execute("DROP TABLE wallet_work, wallet_passes")
    op.execute("DELETE FROM projections WHERE name = 'wallets'")
