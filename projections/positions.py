"""Waiting until the query tables have caught up with a position: how a reader sees its own write.

One listening connection for a process; beneath it the position is polled, so that a lost notification costs at most
a poll.
"""

import asyncio
import contextlib
import random

import psycopg
import structlog
from psycopg import AsyncConnection

from ledger.recorder import APP_ROLE
from projections.read_model import NAME, POSITION

POLL_SECONDS = 0.1
PAUSE_FIRST_SECONDS = 0.1
PAUSE_LONGEST_SECONDS = 2.0

log = structlog.get_logger("projections.positions")


class Waiter:
    """One for each process, on its event loop, between `start` and `stop`."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._moved = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self.position = 0
        """The highest position known to be projected; grows only."""

    async def start(self) -> None:
        self._task = asyncio.create_task(self._listen_always(), name="waiter")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def wait_for(self, position: int, timeout_seconds: float) -> int:
        """Wait until everything up to `position` stands in the query tables, but no longer than the timeout.

        Returns:
            The projected position; less than asked for where time was up.
        """
        if self.position < position:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_seconds), self._moved:
                    await self._moved.wait_for(lambda: self.position >= position)
        return self.position

    async def _listen_always(self) -> None:
        pause = PAUSE_FIRST_SECONDS
        while True:
            try:
                async with await AsyncConnection.connect(
                    self._conninfo, autocommit=True, connect_timeout=5
                ) as connection:
                    await connection.execute(f"SET ROLE {APP_ROLE}")
                    await connection.execute("LISTEN projected")
                    pause = PAUSE_FIRST_SECONDS
                    await self._listen(connection)
            except psycopg.Error as error:
                log.warning("waiter-interrupted", error=type(error).__name__)
                await asyncio.sleep(pause * (0.5 + random.random()))
                pause = min(pause * 2, PAUSE_LONGEST_SECONDS)

    async def _listen(self, connection: AsyncConnection[tuple[int]]) -> None:
        while True:
            row = await (await connection.execute(POSITION, (NAME,))).fetchone()
            await self._move_to(row[0] if row else 0)
            while await self._was_told(connection):
                pass

    async def _was_told(self, connection: AsyncConnection[tuple[int]]) -> bool:
        is_told = False
        async for notification in connection.notifies(timeout=POLL_SECONDS, stop_after=1):
            await self._move_to(int(notification.payload))
            is_told = True
        return is_told

    async def _move_to(self, position: int) -> None:
        if position > self.position:
            async with self._moved:
                self.position = position
                self._moved.notify_all()
