"""What opens a door once: sign-in links and the codes that pair a till, each as a digest, until used or too old."""

from alembic import op

revision = "0008"
down_revision = "0007"

ONE_TIME_CODES = """
CREATE TABLE one_time_codes (
    digest bytea NOT NULL,
    purpose text NOT NULL,
    vendor_id uuid NOT NULL,
    details jsonb NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT one_time_codes_pkey PRIMARY KEY (digest)
);

CREATE INDEX one_time_codes_expires_idx ON one_time_codes (expires_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON one_time_codes TO loyalty_app;
"""


def upgrade() -> None:
    op.execute(ONE_TIME_CODES)


def downgrade() -> None:
    """Links and codes that nobody has used yet are void; others are made in a moment."""
    op.execute("DROP TABLE one_time_codes")
