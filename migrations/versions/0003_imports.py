"""Imports: which files were brought in, and how far each has come.

A row moves on in the same transaction as the events of its lines: an import that was interrupted goes on where it
stopped, and one that is finished is never done twice.
"""

from alembic import op

revision = "0003"
down_revision = "0002"

IMPORTS = """
CREATE TABLE imports (
    id uuid NOT NULL,
    vendor_id uuid NOT NULL,
    program_id uuid,
    file_sha256 bytea NOT NULL,
    lines_total bigint NOT NULL,
    lines_done bigint NOT NULL DEFAULT 0,
    cards bigint NOT NULL DEFAULT 0,
    entries bigint NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT imports_pkey PRIMARY KEY (id)
) WITH (fillfactor = 50);
"""

GRANTS = "GRANT SELECT, INSERT, UPDATE ON imports TO loyalty_app;"

DOWN = "DROP TABLE imports;"


def upgrade() -> None:
    for sql in (IMPORTS, GRANTS):
        op.execute(sql)


def downgrade() -> None:
    """What was imported stays; that it was is forgotten, and the same file would be refused for its cards."""
    op.execute(DOWN)
