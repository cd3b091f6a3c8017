"""The last thing a forgotten person's phones hear: their pass is void and says nothing any more.

A row for each phone holds a keyed digest of its name and its push token, sealed. The token goes when it was used, the
row an hour after the phone fetched the empty pass, as nobody knows whether the answer arrived, and both after a week,
which is how long Apple keeps a push.
"""

from ledger.seal import MasterKey, farewell_digest
from projections.table import Queries

ASKED = """
UPDATE wallet_farewells SET asked_at = now() WHERE device_digest = %s AND pass_type_id = %s AND until > now()
RETURNING serial_number, position
"""
OWED = """
SELECT max(position) FROM wallet_farewells WHERE serial_number = %s AND pass_type_id = %s AND until > now()
"""
HEARD = """
UPDATE wallet_farewells SET push_token = NULL, until = least(until, now() + interval '1 hour') WHERE id = (
    SELECT id FROM wallet_farewells WHERE serial_number = %s AND pass_type_id = %s AND until > now()
    ORDER BY asked_at DESC NULLS LAST, id LIMIT 1
)
"""


async def asked(queries: Queries, master_key: MasterKey, device: str, pass_type_id: str) -> list[tuple[str, int]]:
    """Serial numbers of passes that this phone should fetch once more, each with the position of its erasure."""
    rows = await queries.rows(ASKED, (farewell_digest(master_key, device), pass_type_id))
    return [(serial, position) for serial, position in rows]


async def owed(queries: Queries, pass_type_id: str, serial: str) -> int | None:
    """The position of the erasure, where some phone may fetch the empty pass; None where none may any more."""
    ((position,),) = await queries.rows(OWED, (serial, pass_type_id))
    return None if position is None else int(position)


async def heard(queries: Queries, pass_type_id: str, serial: str) -> None:
    """A phone fetched the empty pass: the one that asked last. For an hour it may fetch it again."""
    await queries.rows(HEARD, (serial, pass_type_id))
