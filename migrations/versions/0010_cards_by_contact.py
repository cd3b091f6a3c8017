"""Cards are found by an email or a phone: by keyed digests, which tell neither.

Only who has the master key can make them: cards that are there already get theirs from the projector, while it has
nothing else to do. The last index knows which are left; afterwards it is empty.
"""

from alembic import op

revision = "0010"
down_revision = "0009"

EMAIL = "ALTER TABLE loyalty_cards ADD COLUMN email_digest text"
PHONE = "ALTER TABLE loyalty_cards ADD COLUMN phone_digest text"
INDEXES = """
CREATE INDEX loyalty_cards_email_idx ON loyalty_cards (email_digest) WHERE email_digest IS NOT NULL;
CREATE INDEX loyalty_cards_phone_idx ON loyalty_cards (phone_digest) WHERE phone_digest IS NOT NULL;
CREATE INDEX loyalty_cards_without_digest_idx ON loyalty_cards (id)
    WHERE (details ? 'email') <> (email_digest IS NOT NULL) OR (details ? 'phone') <> (phone_digest IS NOT NULL);
"""


def upgrade() -> None:
    for statement in (EMAIL, PHONE, INDEXES):
        op.execute(statement)


def downgrade() -> None:
    """Nothing is lost: the rows can be folded from the stream again."""
    op.execute("ALTER TABLE loyalty_cards DROP COLUMN email_digest, DROP COLUMN phone_digest")
