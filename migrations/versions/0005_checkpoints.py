"""Checkpoints: the tree over all events as it was signed, what proves it, and the keys it was signed with.

A tile holds up to 256 neighbouring hashes of the tree: of leaves on level 0, of what stands over full tiles above.
"""

from alembic import op

revision = "0005"
down_revision = "0004"

TREE_TILES = """
CREATE TABLE tree_tiles (
    level smallint NOT NULL,
    tile bigint NOT NULL,
    hashes bytea NOT NULL,
    positions bigint[],
    CONSTRAINT tree_tiles_pkey PRIMARY KEY (level, tile)
);

CREATE INDEX tree_tiles_first_position_idx ON tree_tiles ((positions[1])) WHERE level = 0;
"""

CHECKPOINTS = """
CREATE TABLE checkpoints (
    number bigserial NOT NULL,
    tree_size bigint NOT NULL,
    position bigint NOT NULL,
    root bytea NOT NULL,
    note text NOT NULL,
    sealed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT checkpoints_pkey PRIMARY KEY (number)
);

CREATE INDEX checkpoints_tree_size_idx ON checkpoints (tree_size, number);

CREATE TRIGGER checkpoints_append_only BEFORE UPDATE OR DELETE ON checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

# Each key's note is signed by itself and by the key before it.
SEALING_KEYS = """
CREATE TABLE sealing_keys (
    number bigserial NOT NULL,
    verifier_key text NOT NULL,
    note text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT sealing_keys_pkey PRIMARY KEY (number)
);

CREATE UNIQUE INDEX sealing_keys_verifier_key_idx ON sealing_keys (verifier_key);

CREATE TRIGGER sealing_keys_append_only BEFORE UPDATE OR DELETE ON sealing_keys
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

# `checkpoint_number` is the newest checkpoint that was there: those up to it may be of a tree that was given up.
ACCEPTED_RESTORES = """
CREATE TABLE accepted_restores (
    number bigserial NOT NULL,
    checkpoint_number bigint NOT NULL,
    note text NOT NULL,
    accepted_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT accepted_restores_pkey PRIMARY KEY (number)
);

CREATE TRIGGER accepted_restores_append_only BEFORE UPDATE OR DELETE ON accepted_restores
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

GRANTS = """
GRANT SELECT, INSERT, UPDATE, DELETE ON tree_tiles TO loyalty_app;
GRANT SELECT, INSERT ON checkpoints, sealing_keys, accepted_restores TO loyalty_app;
GRANT USAGE ON SEQUENCE checkpoints_number_seq, sealing_keys_number_seq, accepted_restores_number_seq TO loyalty_app;
"""


def upgrade() -> None:
    for sql in (TREE_TILES, CHECKPOINTS, SEALING_KEYS, ACCEPTED_RESTORES, GRANTS):
        op.execute(sql)


def downgrade() -> None:
    """The past stays and can be sealed anew; what was signed is lost, unless somebody kept it."""
    op.execute("DROP TABLE accepted_restores, sealing_keys, checkpoints, tree_tiles")
    op.execute("DELETE FROM projections WHERE name IN ('checkpoints', 'verification')")
