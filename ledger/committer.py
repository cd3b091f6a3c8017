"""Rounds: one read, many decisions, one write.

Commands wait in a bounded queue. A round takes all that wait, reads every state row, claim and idempotency key they
name in one round trip, decides them in order in plain Python, writes everything in one transaction and answers.
Nothing is decided on a state that has changed meanwhile: the write refuses it and the round is decided again.
"""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import structlog
from psycopg import AsyncConnection

from ledger.decision import Command, Outcome
from ledger.errors import CardIsBusy, Overloaded, StoreAway
from ledger.recorder import APP_ROLE
from ledger.round import READ, Result, Round, RoundSpoiled

QUEUE_MAX = 2_000
BATCH_MAX = 500
TRIES_TOGETHER = 3
TRIES_MAX = 10
ANSWER_WITHIN_SECONDS = 2.5
LOCK_TIMEOUT_MILLISECONDS = 2_000

log = structlog.get_logger("ledger.committer")

APPEND = "SELECT append_batch({})".format(", ".join(["%b"] * 28))

# Every look-up is by primary key; a plan made while the tables are small must not become a scan when they are not.
SESSION = f"""
SET ROLE {APP_ROLE};
SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off;
SET plan_cache_mode = force_generic_plan;
SET lock_timeout = {LOCK_TIMEOUT_MILLISECONDS};
SET statement_timeout = {LOCK_TIMEOUT_MILLISECONDS + 500};
SET idle_in_transaction_session_timeout = 10000
"""


@dataclass(slots=True)
class _Waiting:
    command: Command
    future: "asyncio.Future[Outcome]"
    tries: int = 0


class Committer:
    """One for each process, on its event loop. `submit` is all there is to call."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._queue: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._connection: AsyncConnection[Any] | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_working = False
        self.rounds = 0

    async def start(self) -> None:
        self._task = asyncio.create_task(self._work(), name="committer")

    async def stop(self) -> None:
        """Finish what waits, then let go of the connection."""
        while (self._queue or self._is_working) and self._task is not None and not self._task.done():
            await asyncio.sleep(0.01)
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._disconnect()

    @property
    def waiting(self) -> int:
        return len(self._queue)

    async def submit(self, command: Command) -> Outcome:
        """Decide and record one command.

        Returns:
            The outcome; with `is_replay` where the same command had been recorded before.

        Raises:
            Refused: The decision's own refusal, or KeyReused. What is recorded then, the command says.
            Overloaded: The queue is full; nothing was recorded.
            CardIsBusy: Others were first, again and again; nothing was recorded.
            StoreAway: No answer in time; the same command may be sent again and happens once.
        """
        if len(self._queue) >= QUEUE_MAX:
            raise Overloaded
        loop = asyncio.get_running_loop()
        waiting = _Waiting(command, loop.create_future())
        self._queue.append(waiting)
        self._wake.set()
        too_late = loop.call_later(ANSWER_WITHIN_SECONDS, self._give_up, waiting)
        try:
            return await waiting.future
        finally:
            too_late.cancel()

    # ------------------------------------------------------------------ rounds

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            batch = self._take()
            self._is_working = bool(batch)
            if not batch:
                self._wake.clear()
                continue
            try:
                await self._commit(batch)
            except asyncio.CancelledError:
                raise
            except psycopg.Error as error:
                await self._recover(batch, error)
            except RoundSpoiled as spoiled:
                log.exception("decision-failed", command_id=str(spoiled.command.once.command_id))
                self._fail([w for w in batch if w.command is spoiled.command], spoiled.mistake)
                self._queue = [w for w in batch if w.command is not spoiled.command] + self._queue
            except Exception as mistake:
                log.exception("round-failed")
                self._fail(batch, mistake)
            finally:
                self._is_working = False

    def _take(self) -> list[_Waiting]:
        """All that waits, up to a limit; alone what clashed several times already."""
        alive = [w for w in self._queue if not w.future.done()]
        batch = alive[:BATCH_MAX]
        if batch and batch[0].tries >= TRIES_TOGETHER:
            batch = batch[:1]
        else:
            batch = [w for w in batch if w.tries < TRIES_TOGETHER]
        taken = set(map(id, batch))
        self._queue = [w for w in alive if id(w) not in taken]
        return batch

    async def _commit(self, batch: list[_Waiting]) -> None:
        connection = await self._connected()
        round_ = Round()
        await self._read(connection, round_, [w.command for w in batch])
        results = [round_.decide(w.command) for w in batch]
        if late := round_.late_streams():
            await self._read_streams(connection, round_, late)
        round_.write_notes()
        positions: list[int] = []
        if round_.has_changes:
            cursor = connection.cursor(binary=True)
            await cursor.execute(APPEND, round_.parameters(), prepare=True)
            row = await cursor.fetchone()
            assert row is not None
            positions = row[0]
        self.rounds += 1
        for w, result in zip(batch, results, strict=True):
            _tell(w, result, positions)

    async def _read(self, connection: AsyncConnection[Any], round_: Round, commands: Sequence[Command]) -> None:
        streams = list({stream_id for command in commands for stream_id in command.streams})
        claims = list({claim for command in commands for claim in command.claims})
        cursor = connection.cursor(binary=True)
        await cursor.execute(
            READ,
            {
                "streams": streams,
                "kinds": [claim.kind for claim in claims],
                "scopes": [claim.scope for claim in claims],
                "values": [claim.value for claim in claims],
                "keys": [command.once.command_id for command in commands],
            },
            prepare=True,
        )
        round_.take_in(await cursor.fetchall())
        round_.absent(streams)

    async def _read_streams(self, connection: AsyncConnection[Any], round_: Round, streams: Sequence[Any]) -> None:
        cursor = connection.cursor(binary=True)
        nothing: dict[str, list[Any]] = {"kinds": [], "scopes": [], "values": [], "keys": []}
        await cursor.execute(READ, {"streams": list(streams), **nothing}, prepare=True)
        round_.take_in(await cursor.fetchall())
        round_.absent(streams)

    # ------------------------------------------------------------------ what can go wrong

    async def _recover(self, batch: list[_Waiting], error: psycopg.Error) -> None:
        """Decide again after a clash; settle an unknown outcome by its key, which the next round reads first."""
        for w in batch:
            w.tries += 1
        if isinstance(error, psycopg.errors.LockNotAvailable | psycopg.errors.QueryCanceled):
            self._fail(batch, StoreAway())
            return
        lost = self._connection is None or self._connection.closed or self._connection.broken
        if lost or isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            await self._disconnect()
            log.warning("store-away", error=type(error).__name__)
            await asyncio.sleep(0.05 + random.random() * 0.05)
        elif not is_clash(error):
            log.error("write-refused", error=type(error).__name__, sqlstate=error.sqlstate, batch=len(batch))
            if len(batch) == 1:
                self._fail(batch, error)
                return
            for w in batch:
                w.tries = max(w.tries, TRIES_TOGETHER)
        else:
            await asyncio.sleep(random.random() * 0.002 * 2 ** max(w.tries for w in batch))
        tired = [w for w in batch if w.tries >= TRIES_MAX]
        self._fail(tired, CardIsBusy() if is_clash(error) else StoreAway())
        self._queue = [w for w in batch if w.tries < TRIES_MAX] + self._queue
        self._wake.set()

    def _give_up(self, waiting: _Waiting) -> None:
        self._fail([waiting], StoreAway())

    def _fail(self, batch: Sequence[_Waiting], error: Exception) -> None:
        for w in batch:
            if not w.future.done():
                w.future.set_exception(error)

    async def _connected(self) -> AsyncConnection[Any]:
        if self._connection is None or self._connection.closed or self._connection.broken:
            self._connection = await AsyncConnection.connect(self._conninfo, autocommit=True, connect_timeout=2)
            await self._connection.execute(SESSION)
        return self._connection

    async def _disconnect(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


def is_clash(error: psycopg.Error) -> bool:
    """Another process was faster: a stream moved on, or a key or claim is taken now."""
    return error.sqlstate == "LL001" or isinstance(
        error,
        psycopg.errors.UniqueViolation | psycopg.errors.SerializationFailure | psycopg.errors.DeadlockDetected,
    )


def _tell(waiting: _Waiting, result: Result, positions: Sequence[int]) -> None:
    if waiting.future.done():
        return
    if result.error is not None:
        waiting.future.set_exception(result.error)
        return
    assert result.outcome is not None
    outcome = result.outcome
    if not result.is_stored and result.last_event is not None:
        outcome = replace(outcome, position=positions[result.last_event - 1], is_replay=result.is_told)
    result.is_told = True
    waiting.future.set_result(outcome)
