"""Reading the stream outside of rounds: state rows, histories, keys. Always the truth, never a projection."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from ledger.decision import Claim, Once, Outcome, Stream
from ledger.errors import CardIsErased, EntryNotFound, KeyReused, Refused, StoreAway
from ledger.recorder import APP_ROLE
from ledger.remembered import recalled
from ledger.round import READ, Round
from ledger.seal import MasterKey, SubjectKey
from ledger.stream import Recorded, Stored, decode

Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]
STATEMENT_MILLISECONDS_MAX = 5_000

EVENTS = """
SELECT originator_version, topic, state, notification_id FROM stored_events
WHERE originator_id = %s AND originator_version > %s AND originator_version <= %s
ORDER BY originator_version LIMIT %s
"""
LOG = """
SELECT originator_id, originator_version, topic, state, notification_id FROM stored_events
WHERE notification_id > %s AND (%s::text[] IS NULL OR topic = ANY(%s)) ORDER BY notification_id LIMIT %s
"""
ENTRY = "SELECT stream_id, version FROM idempotency_keys WHERE command_id = %s AND vendor_id = coalesce(%s, vendor_id)"
KEY = "SELECT fingerprint, answer, position FROM idempotency_keys WHERE command_id = %s"
SUBJECT_KEY = "SELECT vendor_id, wrapped_key FROM subject_keys WHERE subject_id = %s"
NEW_SUBJECT_KEY = """
INSERT INTO subject_keys (subject_id, vendor_id, master_key_id, wrapped_key)
SELECT %(id)s, %(vendor_id)s, %(master_key_id)s, %(wrapped)s
WHERE NOT EXISTS (SELECT FROM streams WHERE stream_id = %(id)s AND stream_type = 'subject')
ON CONFLICT (subject_id) DO NOTHING
"""
LAST_POSITION = "SELECT coalesce(max(notification_id), 0) FROM stored_events"
EVERY_VERSION = 2**62


async def act_as_application(connection: AsyncConnection[Any]) -> None:
    """What a pool of ours does with each new connection: no more rights, and no longer statements, than needed."""
    await connection.execute(f"SET ROLE {APP_ROLE}; SET statement_timeout = {STATEMENT_MILLISECONDS_MAX}")


class Reader:
    """Reads on connections of its own, apart from the committer's."""

    def __init__(self, pool: Pool, master_key: MasterKey) -> None:
        self._pool = pool
        self._master_key = master_key

    async def rows(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[tuple[Any, ...]]:
        """Raises: StoreAway where the database is away or busy; asking again is safe."""
        try:
            async with self._pool.connection() as connection:
                cursor = await connection.execute(sql, parameters, binary=True)
                return await cursor.fetchall() if cursor.description else []
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise StoreAway from error

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection[TupleRow]]:
        """One connection for several statements. Raises as `rows` does."""
        try:
            async with self._pool.connection() as connection:
                yield connection
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise StoreAway from error

    async def view(self, streams: Sequence[UUID] = (), claims: Sequence[Claim] = ()) -> Round:
        """State rows and owners of claims as they are now, with the programs and vendors around them.

        Raises: StoreAway, as everything here that asks the database.
        """
        rows = await self.rows(
            READ,
            {
                "streams": list(streams),
                "kinds": [claim.kind for claim in claims],
                "scopes": [claim.scope for claim in claims],
                "values": [claim.value for claim in claims],
                "keys": [],
            },
        )
        view = Round()
        view.take_in(rows)
        return view

    async def stream(self, stream_id: UUID) -> Stream | None:
        return (await self.view([stream_id])).stream(stream_id)

    async def events(
        self, stream_id: UUID, *, after: int = 0, until: int = EVERY_VERSION, limit: int = 100_000
    ) -> list[Recorded]:
        """A stream's history, oldest first, at most `limit` events. `after` and `until` are versions."""
        rows = await self.rows(EVENTS, (stream_id, after, until, limit))
        return [decode(Stored(stream_id, *row)) for row in rows]

    async def log(self, *, after: int, limit: int, names: Sequence[str] | None = None) -> list[Recorded]:
        """All streams by position, oldest first."""
        wanted = None if names is None else list(names)
        rows = await self.rows(LOG, (after, wanted, wanted, limit))
        return [decode(Stored(*row)) for row in rows]

    async def last_position(self) -> int:
        """The newest event's position; 0 where there is none."""
        return int((await self.rows(LAST_POSITION))[0][0])

    async def known(self, once: Once) -> Outcome | None:
        """What was answered to this command before, where the answer is not personal; None where it is new.

        Raises:
            KeyReused: The key belongs to another request.
            CardIsErased: The answer was sealed for somebody who was forgotten, or is for one person alone.
            Refused: The remembered refusal.
        """
        rows = await self.rows(KEY, (once.command_id,))
        if not rows:
            return None
        fingerprint, answer, position = rows[0]
        if fingerprint != once.fingerprint:
            raise KeyReused
        found = recalled(answer, position, once, None)
        if isinstance(found, Refused):
            raise found
        return found

    async def is_used(self, once: Once) -> bool:
        """Whether this key was used, for whatever."""
        return bool(await self.rows(KEY, (once.command_id,)))

    async def entry(self, entry_id: UUID, vendor_id: UUID | None) -> Recorded:
        """The event that made an entry; of any vendor where `vendor_id` is None.

        Raises: EntryNotFound where this vendor has no such entry.
        """
        rows = await self.rows(ENTRY, (entry_id, vendor_id))
        if not rows or rows[0][0] is None:
            raise EntryNotFound
        stream_id, version = rows[0]
        found = (await self.events(stream_id, after=version - 1, until=version))[0]
        if getattr(found.event, "entry_id", None) != entry_id:  # Another kind of command had this key.
            raise EntryNotFound
        return found

    async def subject_key(self, subject_id: UUID) -> SubjectKey:
        """Raises: CardIsErased where the key is destroyed."""
        rows = await self.rows(SUBJECT_KEY, (subject_id,))
        if not rows:
            raise CardIsErased
        return self._master_key.unwrap(subject_id, rows[0][0], rows[0][1])

    async def subject_key_or_new(self, subject_id: UUID, vendor_id: UUID) -> SubjectKey:
        """A person's key, made and kept first where there is none: all who ask at one moment get the same.

        Raises: CardIsErased where the person was forgotten: another key is never made.
        """
        try:
            return await self.subject_key(subject_id)
        except CardIsErased:
            fresh = self._master_key.new_subject(subject_id, vendor_id)
            await self.rows(
                NEW_SUBJECT_KEY,
                {
                    "id": subject_id,
                    "vendor_id": vendor_id,
                    "master_key_id": self._master_key.key_id,
                    "wrapped": self._master_key.wrap(fresh),
                },
            )
            return await self.subject_key(subject_id)
