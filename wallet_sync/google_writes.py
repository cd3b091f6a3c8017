"""Writes to Google what classes and objects are owed, and asks it who has saved a card.

A row is written under its lease by one worker at a time, whole, and as the card is then: an earlier state never
overtakes a later one, and what is written twice is the same.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import structlog

from ledger.commands import Ledger
from ledger.commands.references import CardReference
from ledger.errors import StoreAway
from ledger.stream import Actor
from projections.table import Queries
from wallet_sync import breaker
from wallet_sync.google_client import Answer, GoogleClient, GoogleRefused
from wallet_sync.google_issuer import Issuer
from wallet_sync.google_sweep import sweep
from wallet_sync.wallet_work import Channel, Owed, claim, done, failed, owe_class_again

BATCH = 20  # What the pace lets through in less time than a lease lasts, however many ask again.
REQUESTS_A_SECOND = 15  # Of the 20 that Google allows a project.
ALARM_PAUSE = timedelta(minutes=5)  # Until somebody may have put the account right.
CLASS_PAUSE = timedelta(seconds=2)
PAUSE_FIRST = timedelta(seconds=2)
PAUSE_MAX = timedelta(minutes=15)
DOUBLINGS_MAX = 10
GIVE_UP_AFTER = timedelta(hours=24)
ALERTS_A_DAY = 3
ACTOR = Actor("system", "wallet-sync", "none")

# One row hands out the moments: nobody asks before the one he was given.
NEXT_MOMENT = """
INSERT INTO paces AS p (name, next_at) VALUES ('google', clock_timestamp())
ON CONFLICT (name) DO UPDATE SET next_at = greatest(p.next_at + %s, clock_timestamp())
RETURNING extract(epoch FROM next_at - clock_timestamp())::float8
"""
ALERTS = "SELECT rewards, rung_at FROM google_alerts WHERE card_id = %s"
KEEP_ALERTS = """
INSERT INTO google_alerts (card_id, rewards, rung_at) VALUES (%s, %s, %s)
ON CONFLICT (card_id) DO UPDATE SET rewards = excluded.rewards, rung_at = excluded.rung_at
"""
FORGET_ALERTS = "DELETE FROM google_alerts WHERE card_id = %s"

log = structlog.get_logger("wallet_sync.google_writes")


async def keep_pace(queries: Queries) -> None:
    """Wait for the next moment at which anybody of us may ask Google: REQUESTS_A_SECOND, whoever asks."""
    ((seconds,),) = await queries.rows(NEXT_MOMENT, (timedelta(seconds=1 / REQUESTS_A_SECOND),))
    await asyncio.sleep(max(seconds, 0.0))


async def write_due(
    ledger: Ledger, issuer: Issuer, client: GoogleClient, clock: Callable[[], datetime], rng: random.Random
) -> int:
    """Write what is due: classes before the objects that need them.

    Where Google refuses the account, all is stopped but for a trial now and then.

    Returns: How many rows were taken; 0 where nothing is due.

    Raises: StoreAway. What was taken is taken again when its lease has ended.
    """
    room = await breaker.room(ledger.reader, "google", BATCH)
    if not room:
        return 0
    work = _Work(ledger, issuer, client, clock, rng, is_trial=room < BATCH)
    taken = 0
    steps: tuple[tuple[Channel, Callable[[Owed], Any]], ...] = (
        ("google_class", work.write_class),
        ("google", work.write_object),
        ("google_users", work.ask_for_users),
    )
    # Taken before the classes are: a card is owed together with its class, so that one is there to be taken then.
    objects = await claim(ledger.reader, "google", room)
    for channel, step in steps:
        rows = objects if channel == "google" else await claim(ledger.reader, channel, room)
        await asyncio.gather(*(work.settle(channel, row, step) for row in rows))
        taken += len(rows)
    return taken


async def compare_due(
    ledger: Ledger, issuer: Issuer, client: GoogleClient, clock: Callable[[], datetime], rng: random.Random
) -> int:
    """Compare the next program's objects with their cards, if it is its turn: minutes for a large one, beside writing.

    Returns: 1, or 0 where nothing is due.

    Raises: StoreAway. What was taken is taken again when its lease has ended.
    """
    room = await breaker.room(ledger.reader, "google", BATCH)
    if not room:
        return 0
    work = _Work(ledger, issuer, client, clock, rng, is_trial=room < BATCH)
    rows = await claim(ledger.reader, "google_sweep", 1)
    for row in rows:
        await work.settle("google_sweep", row, partial(sweep, ledger, issuer, client))
    return len(rows)


class _Work:
    """A batch's own; the first answer that nothing will work any more spares Google the rest of it."""

    def __init__(
        self,
        ledger: Ledger,
        issuer: Issuer,
        client: GoogleClient,
        clock: Callable[[], datetime],
        rng: random.Random,
        *,
        is_trial: bool,
    ) -> None:
        self._ledger, self._issuer, self._client, self._clock, self._rng = ledger, issuer, client, clock, rng
        self._is_trial = is_trial
        self._stopped: Answer | None = None

    async def settle(self, channel: Channel, owed: Owed, step: Callable[[Owed], Any]) -> None:
        queries = self._ledger.reader
        try:
            answer: Answer = self._stopped or await step(owed)
        except StoreAway:
            raise
        except Exception as failure:
            log.exception("google-write-failed", channel=channel, id=str(owed.id))
            answer = Answer("back_off", None, type(failure).__name__, ALARM_PAUSE.total_seconds())
        error = f"{answer.status or 'no answer'} {answer.reason or ''}".strip()
        match answer.what:
            case "done":
                await done(queries, channel, [owed])
                if self._is_trial:
                    await breaker.go_on(queries, "google")
            case "back_off":
                doubled: int = 2 ** min(owed.failures, DOUBLINGS_MAX)
                pause = min(PAUSE_FIRST * doubled, PAUSE_MAX) * (0.5 + self._rng.random() / 2)
                pause = max(pause, timedelta(seconds=min(answer.retry_after or 0, PAUSE_MAX.total_seconds())))
                is_over = owed.failures > 0 and self._clock() - owed.owed_since > GIVE_UP_AFTER
                await failed(queries, channel, owed, error=error, pause=pause, is_parked=is_over)
            case "class_missing":
                await failed(queries, channel, owed, error=error, pause=CLASS_PAUSE)
            case "stop_issuer":
                if self._stopped is None:
                    log.error("google-stopped", error=error)
                    await breaker.stop(queries, "google")
                self._stopped = answer
                await failed(queries, channel, owed, error=error, pause=ALARM_PAUSE)
            case "our_mistake":
                log.error("google-refused", channel=channel, id=str(owed.id), error=error)
                await failed(queries, channel, owed, error=error, pause=ALARM_PAUSE, is_parked=True)

    async def write_class(self, owed: Owed) -> Answer:
        program = await self._ledger.programs.find(owed.id, None)
        vendor = await self._ledger.vendors.find(program["vendor_id"])
        return await self._client.put("loyaltyClass", self._issuer.loyalty_class(program, vendor["name"]))

    async def write_object(self, owed: Owed) -> Answer:
        card = await self._ledger.cards.look_up(CardReference(str(owed.id)), None)
        vendor = await self._ledger.vendors.find(card["vendor_id"])
        body, rewards = self._issuer.loyalty_object(card, vendor["name"]), card["rewards_available"]
        is_erased = card["status"] == "erased"
        rung_at = None if is_erased else await self._alert(owed.id, rewards)
        if rung_at is not None:
            body["notifyPreference"] = "NOTIFY_ON_UPDATE"
        answer = await self._put_object(body, card["program_id"])
        if answer.what == "done" and is_erased:
            await self._ledger.reader.rows(FORGET_ALERTS, (owed.id,))
        elif answer.what == "done":
            await self._keep_alerts(owed.id, rewards, rung_at)
        return answer

    async def _put_object(self, body: Mapping[str, Any], program_id: UUID) -> Answer:
        answer = await self._client.put("loyaltyObject", body)
        if answer.what == "class_missing":
            await owe_class_again(self._ledger.reader, program_id)
        return answer

    async def ask_for_users(self, owed: Owed) -> Answer:
        """What Google's messages say may come late, twice or not at all: what it answers now is so."""
        try:
            found = await self._client.get("loyaltyObject", self._issuer.object_id(owed.id))
        except GoogleRefused as refused:
            return refused.answer
        has_users = found is not None and found.get("hasUsers") is True
        await self._ledger.passes.confirm_at_google(owed.id, has_users=has_users, actor=ACTOR)
        return Answer("done", 200, None, None)

    # ------------------------------------------------------------------ alerts

    async def _alert(self, card_id: UUID, rewards: int) -> list[datetime] | None:
        """When it will have rung lately if it rings now, for a reward more than it showed. None: silently."""
        rows = await self._ledger.reader.rows(ALERTS, (card_id,))
        if not rows or rewards <= rows[0][0]:
            return None
        now = self._clock()
        lately = [at for at in rows[0][1] if now - at < timedelta(days=1)]
        return [*lately, now] if len(lately) < ALERTS_A_DAY else None

    async def _keep_alerts(self, card_id: UUID, rewards: int, rung_at: list[datetime] | None) -> None:
        if rung_at is None:
            rows = await self._ledger.reader.rows(ALERTS, (card_id,))
            if rows and rows[0][0] == rewards:
                return
            rung_at = rows[0][1] if rows else []
        await self._ledger.reader.rows(KEEP_ALERTS, (card_id, rewards, rung_at))
