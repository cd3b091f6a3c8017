"""Exchanging the master key: everybody's key is wrapped anew, and the old master key opens nothing here any more.

Nor does it in backups, once it is destroyed: that is what makes an erasure final. Meanwhile both keys are accepted. A
rotation may be cut off anywhere and goes on where it was.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

from psycopg import Connection

from ledger.seal import CARRIED, MasterKey

BATCH = 1_000

CARRIED_KEYS = "SELECT purpose, master_key_id, wrapped_key FROM carried_keys"
KEEP_CARRIED = """
INSERT INTO carried_keys (purpose, wrapped_key, master_key_id)
SELECT c.purpose, c.wrapped_key, %(key_id)s FROM unnest(%(purposes)s::text[], %(wrapped)s::bytea[])
    AS c (purpose, wrapped_key)
ON CONFLICT (purpose) DO UPDATE SET wrapped_key = excluded.wrapped_key, master_key_id = excluded.master_key_id
"""
UNKNOWN = """
SELECT master_key_id FROM subject_keys WHERE master_key_id <> ALL(%(known)s)
UNION ALL SELECT master_key_id FROM carried_keys WHERE master_key_id <> ALL(%(known)s)
LIMIT 1
"""
OLD = "SELECT count(*) FROM subject_keys WHERE master_key_id <> %s"
NEXT = """
SELECT subject_id, vendor_id, wrapped_key FROM subject_keys
WHERE subject_id > %s AND master_key_id <> %s ORDER BY subject_id LIMIT %s FOR UPDATE
"""
WRAP_ANEW = """
UPDATE subject_keys k SET wrapped_key = n.wrapped_key, master_key_id = %s
FROM unnest(%s::uuid[], %s::bytea[]) AS n (subject_id, wrapped_key) WHERE k.subject_id = n.subject_id
"""
FIRST = UUID(int=0)


class MasterKeyUnknown(Exception):
    """Names the key that something was wrapped with and that is not among those given."""


def in_force(connection: Connection[Any], given: MasterKey) -> MasterKey:
    """The master key as this database knows it: with what is carried on from those before it.

    Raises:
        MasterKeyUnknown: Something was wrapped with a key that is not given.
    """
    known = [given.key_id] if given.previous is None else [given.key_id, given.previous.key_id]
    row = connection.execute(UNKNOWN, {"known": known}).fetchone()
    if row is not None:
        raise MasterKeyUnknown(row[0])
    kept = connection.execute(CARRIED_KEYS).fetchall()
    carried = {purpose: given.unwrap_carried(wrapped) for purpose, _, wrapped in kept}
    is_begun = any(key_id == given.key_id for _, key_id, _ in kept)
    if given.previous is not None and not is_begun:
        carried = {purpose: given.previous.derive(purpose) for purpose in CARRIED} | carried
    return replace(given, carried=carried)


def rotate(connection: Connection[Any], master_key: MasterKey, progress: Callable[[int, int], None]) -> int:
    """Wrap everything with the newest key that an older one wrapped.

    Args:
        connection: With autocommit.
        master_key: As `in_force` gives it, with the one before it as `previous`.
        progress: Told how many are done and how many there are to do, after each batch.

    Returns: How many people's keys were wrapped anew; 0 where there was none left.

    Raises:
        SealBroken: A key that neither of the two opens. What was done before stays done.
    """
    kept = {
        "key_id": master_key.key_id,
        "purposes": list(master_key.carried),
        "wrapped": [master_key.wrap_carried(purpose) for purpose in master_key.carried],
    }
    connection.execute(KEEP_CARRIED, kept)
    done, total = 0, _old(connection, master_key)
    # Those that processes with the old key alone added meanwhile are found in the next round.
    while _old(connection, master_key):
        after = FIRST
        while (last := _wrap_next(connection, master_key, after)) is not None:
            after, count = last
            done += count
            progress(done, max(total, done))
    return done


def _wrap_next(connection: Connection[Any], master_key: MasterKey, after: UUID) -> tuple[UUID, int] | None:
    with connection.transaction():
        rows = connection.execute(NEXT, (after, master_key.key_id, BATCH), binary=True).fetchall()
        if not rows:
            return None
        anew = {row[0]: master_key.wrap(master_key.unwrap(*row)) for row in rows}
        connection.execute(WRAP_ANEW, (master_key.key_id, list(anew), list(anew.values())))
    return rows[-1][0], len(rows)


def _old(connection: Connection[Any], master_key: MasterKey) -> int:
    row = connection.execute(OLD, (master_key.key_id,)).fetchone()
    return 0 if row is None else int(row[0])
