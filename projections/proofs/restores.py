"""Going on after a restore: an operator says, signed and kept, that a past which was signed is given up."""

import time
from base64 import b64encode
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from psycopg import Connection

from ledger.private_files import replace
from projections.proofs import checkpoints
from projections.proofs.checkpoints import newest, opened
from projections.proofs.merkle import root
from projections.proofs.notes import sign
from projections.proofs.sealer import NAME, Sealer, connected, leaf_of_event, number, remembered_file
from projections.proofs.sealing_keys import SealingRefused, recorded_keys, signing
from projections.proofs.tiles import GrowingTree
from projections.proofs.verify_statement import Checkpoint, VerifierKey
from projections.read_model import GIVE_LEASE_BACK, LEASE_RENEW_SECONDS, TAKE_LEASE, read_batch

TITLE = "loyalty-ledger accepted restore"
REASON_CHARACTERS_MAX = 300
LEASE_SECONDS = 600.0  # Long enough to make the tree of a large store anew; given back at the end.
WAIT_SECONDS = 20.0

NEWEST_NUMBER = "SELECT coalesce(max(number), 0) FROM checkpoints"
ADD = "INSERT INTO accepted_restores (checkpoint_number, note) VALUES (%s, %s)"
MOVED = "UPDATE projections SET position = %s, error = NULL, updated_at = clock_timestamp() WHERE name = %s"


def accept_restore(conninfo: str, key_file: Path, reason: str, now: datetime) -> str:
    """Make the tree anew from the events that are there, sign it, and record that what was signed before is given up.

    Args:
        reason: One line for those who will ask, at most `REASON_CHARACTERS_MAX` characters.

    Returns: The operator's statement, a signed note.

    Raises: SealingRefused where there is no key, or the store does go on from everything that was signed.
    """
    assert reason.isprintable() and 0 < len(reason) <= REASON_CHARACTERS_MAX
    try:
        Sealer(conninfo, key_file).catch_up()
    except SealingRefused:
        pass
    else:
        raise SealingRefused("there is nothing to accept: the store goes on from everything that was signed")
    with connected(conninfo) as connection:
        token = _taken(connection)
        try:
            with connection.transaction():
                return _accept(connection, key_file, reason, now)
        finally:
            connection.execute(GIVE_LEASE_BACK, (NAME, token))


def _accept(connection: Connection[Any], key_file: Path, reason: str, now: datetime) -> str:
    keys = recorded_keys(connection)
    key = signing(key_file, keys)
    lost = _last_signed(connection, key_file, keys)
    tree, position = _made_anew(connection)
    kept = Checkpoint(key.name, tree.size, root(tree.size, tree.node))
    statement = sign(
        f"{TITLE}\nlost {_shown(lost)}\nkept {_shown(kept)}\nat {now.isoformat(timespec='seconds')}\nreason {reason}\n",
        key,
    )
    note = sign(str(kept), key)
    connection.execute(ADD, (number(connection, NEWEST_NUMBER), statement))
    connection.execute(checkpoints.ADD, (kept.size, position, kept.root, note))
    connection.execute(MOVED, (position, NAME))
    replace(remembered_file(key_file), note)
    return statement


def _last_signed(connection: Connection[Any], key_file: Path, keys: list[VerifierKey]) -> Checkpoint | None:
    """What is given up: the larger of what the file and the table remember."""
    found = newest(connection)
    signed = [] if found is None else [Checkpoint(keys[-1].name, found.size, found.root)]
    if remembered_file(key_file).exists():
        signed.append(opened(remembered_file(key_file).read_text(encoding="utf-8"), keys))
    return max(signed, key=lambda checkpoint: checkpoint.size, default=None)


def _made_anew(connection: Connection[Any]) -> tuple[GrowingTree, int]:
    connection.execute("DELETE FROM tree_tiles")
    tree, position = GrowingTree(connection, 0), 0
    while events := read_batch(connection, position):
        for event in events:
            tree.append(event.position, leaf_of_event(event))
        tree.write()
        position = events[-1].position
    return tree, position


def _taken(connection: Connection[Any]) -> int:
    parameters = {"name": NAME, "holder": f"restore:{uuid4().hex[:8]}", "seconds": LEASE_SECONDS}
    patience_ends = time.monotonic() + WAIT_SECONDS
    while (row := connection.execute(TAKE_LEASE, parameters).fetchone()) is None:
        if time.monotonic() > patience_ends:
            raise SealingRefused("a sealer is at work and does not let go: ask again in a moment")
        time.sleep(LEASE_RENEW_SECONDS)
    return int(row[0])


def _shown(checkpoint: Checkpoint | None) -> str:
    return "nothing" if checkpoint is None else f"{checkpoint.size} {b64encode(checkpoint.root).decode()}"
