"""A ledger of a test's own, without HTTP: a vendor with a program and cards, at a clock the test sets."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import orjson
import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from ledger.commands import Ledger
from ledger.commands.caller import Caller, once, utc_now
from ledger.commands.cards import Customer
from ledger.commands.references import CardReference
from ledger.commands.till import Asked
from ledger.decision import Once, Outcome
from ledger.program import Branding, LoyaltyType, Reward, Rules
from ledger.reader import act_as_application
from ledger.seal import MasterKey
from ledger.stream import Actor
from ledger.vendor import Profile

MASTER_KEY = MasterKey(bytes(range(32)))
TILL = Actor("api_key", "till", "bearer")
CAKE = Reward(UUID("0195a1b0-0000-7000-8000-00000000cafe"), "A slice of cake", 20, 420)


@asynccontextmanager
async def running_ledger(
    url: str, clock: Callable[[], datetime] = utc_now, make: Callable[..., Ledger] = Ledger
) -> AsyncIterator[Ledger]:
    pool = AsyncConnectionPool(
        url, kwargs={"autocommit": True}, configure=act_as_application, min_size=1, max_size=4, timeout=30, open=False
    )
    async with pool:
        ledger = make(url, pool, MASTER_KEY, clock)
        await ledger.start()
        try:
            yield ledger
        finally:
            await ledger.stop()


@dataclass(frozen=True)
class Shop:
    """One vendor's commands, in short."""

    ledger: Ledger
    caller: Caller
    program_id: UUID

    @classmethod
    async def opened(cls, ledger: Ledger, loyalty_type: LoyaltyType = "hybrid", **rules: Any) -> "Shop":
        caller = Caller(UUID(int=0), TILL, "pos", "r1", may=frozenset({"reverse", "adjust"}))
        profile = Profile("Café", "LU", "Europe/Luxembourg", "EUR", ("lb",))
        vendor = orjson.loads((await ledger.vendors.register(code=uuid4().hex, profile=profile, caller=caller)).answer)
        caller = replace(caller, vendor_id=UUID(vendor["id"]))
        given: dict[str, Any] = {
            "stamps_target": 10,
            "rate_points": 1,
            "rate_minor": 100,
            "cooldown_minutes": 0,
            "max_daily_stamps": 1_000_000,
            "require_staff_pin": False,
            **rules,
        }
        made = await ledger.programs.create(
            loyalty_type=loyalty_type,
            currency=None,
            timezone=None,
            rules=lambda now, zone: Rules(1, now, zone, **given),
            branding=Branding("Coffee card"),
            rewards=[CAKE],
            is_active=True,
            caller=caller,
        )
        return cls(ledger, caller, UUID(orjson.loads(made.answer)["id"]))

    def at(self, ledger: Ledger) -> "Shop":
        """The same shop, asking another process's ledger."""
        return replace(self, ledger=ledger)

    def asked(self, key: str | None = None, *, about: str = "", caller: Caller | None = None, **more: Any) -> Asked:
        return Asked(caller or self.caller, self.once(key or uuid4().hex, about), **more)

    def once(self, key: str, about: str = "") -> Once:
        return once(self.caller.vendor_id, key, sha256(about.encode()).digest())

    async def card(self, **customer: Any) -> UUID:
        outcome = await self.ledger.cards.enrol(self.program_id, Customer(**customer), caller=self.caller)
        return UUID(orjson.loads(outcome.answer)["id"])

    async def stamp(self, card: UUID, key: str | None = None, *, count: int = 1, **more: Any) -> Outcome:
        return await self.ledger.till.stamp(CardReference(str(card)), count=count, asked=self.asked(key, **more))

    async def redeem(
        self, card: UUID, key: str | None = None, *, reward_id: UUID | None = None, **more: Any
    ) -> Outcome:
        return await self.ledger.till.redeem(
            CardReference(str(card)), reward_id=reward_id, asked=self.asked(key, **more)
        )

    async def read(self, card: UUID) -> dict[str, Any]:
        return await self.ledger.cards.look_up(CardReference(str(card)), self.caller.vendor_id)


def facts(outcome: Outcome) -> dict[str, Any]:
    told: dict[str, Any] = orjson.loads(outcome.answer)
    return told


def rows(url: str, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Straight from the database, as its owner."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else []


def heads(url: str) -> dict[UUID, tuple[int, bytes]]:
    """Version and head of every stream but those of refusals: what a refusal must leave as it was."""
    found = rows(url, "SELECT stream_id, version, head FROM streams WHERE stream_type <> 'attempts'")
    return {stream_id: (version, bytes(head)) for stream_id, version, head in found}


# ------------------------------------------------------------------ bad luck


class Luck:
    """Says before and after each write whether the connection breaks there."""

    def breaks_before(self) -> bool:
        return False

    def breaks_after(self) -> bool:
        return False


class Unlucky:
    """A connection that may be lost around a write: the server has it, or has it not, and nobody hears which."""

    def __init__(self, connection: AsyncConnection[Any], luck: Luck, write: str) -> None:
        self._connection, self._luck, self._write = connection, luck, write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def cursor(self, **options: Any) -> "_UnluckyCursor":
        return _UnluckyCursor(self._connection.cursor(**options), self)

    async def lose(self) -> None:
        await self._connection.close()
        raise psycopg.OperationalError("the connection is lost")


class _UnluckyCursor:
    def __init__(self, cursor: Any, connection: Unlucky) -> None:
        self._cursor, self._unlucky = cursor, connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    async def execute(self, statement: str, *parameters: Any, **options: Any) -> None:
        is_write = statement == self._unlucky._write
        if is_write and self._unlucky._luck.breaks_before():
            await self._unlucky.lose()
        await self._cursor.execute(statement, *parameters, **options)
        if is_write and self._unlucky._luck.breaks_after():
            await self._unlucky.lose()
