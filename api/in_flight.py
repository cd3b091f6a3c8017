"""The same command sent twice at once: the second waits for the first, and then finds its answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from ledger.errors import KeyInFlight

WAIT_SECONDS = 5.0


class InFlight:
    """Only commands that do something slow first, such as checking a PIN, need to stand in line here."""

    def __init__(self) -> None:
        self._locks: dict[UUID, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def alone(self, command_id: UUID) -> AsyncIterator[None]:
        """Raises: KeyInFlight after a bounded wait."""
        lock, users = self._locks.get(command_id, (asyncio.Lock(), 0))
        self._locks[command_id] = (lock, users + 1)
        try:
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    await lock.acquire()
            except TimeoutError:
                raise KeyInFlight from None
            try:
                yield
            finally:
                lock.release()
        finally:
            lock, users = self._locks[command_id]
            if users == 1:
                del self._locks[command_id]
            else:
                self._locks[command_id] = (lock, users - 1)
