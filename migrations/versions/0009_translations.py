"""A program's own words in other languages, beside the plain ones: null where there are none."""

from alembic import op

revision = "0009"
down_revision = "0008"

TRANSLATIONS = "ALTER TABLE loyalty_programs ADD COLUMN translations jsonb"


def upgrade() -> None:
    op.execute(TRANSLATIONS)


def downgrade() -> None:
    """Nothing is lost: the rows can be folded from the stream again."""
    op.execute("ALTER TABLE loyalty_programs DROP COLUMN translations")
