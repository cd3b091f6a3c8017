"""A demo: a café with two programs, three members of staff, 200 cards and 90 days of history.

Everything is asked of the ledger as a till would ask it, under a clock that walks through the 90 days: the same rules
decide, and the past lies in the past. Who comes when is drawn from a fixed seed.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import groupby
from typing import Any
from uuid import UUID

import orjson
from psycopg_pool import AsyncConnectionPool

from api.demo_shop import BRANDING, CODE, LOCATION_ID, PROFILE, REWARDS, RULES, STAFF, TARGET, Member
from api.demo_visits import CARDS, DAYS, TERMINALS, Holder, Scheme, Visit, opening, planned
from ledger.commands import Ledger
from ledger.commands.caller import Caller, ProvenStaff, once, utc_now
from ledger.commands.references import CardReference
from ledger.commands.till import Asked
from ledger.decision import Once, Outcome
from ledger.errors import Busy, CodeTaken, PinInvalid, RuleRefused, VendorNotFound
from ledger.program import LoyaltyType, Rules
from ledger.reader import Pool, act_as_application
from ledger.seal import MasterKey
from ledger.stream import Actor
from ledger.vendor import SCOPES
from projections.read_model import Projector

TRIES_MAX = 5
NOBODY = UUID(int=0)


def seed(
    url: str,
    master_key: MasterKey,
    progress: Callable[[int, int], None],
    clock: Callable[[], datetime] = utc_now,
) -> str:
    """Make the demo's vendor and its past, and bring the query tables up to it.

    Args:
        url: A database at the newest revision. A service may be running on it.
        progress: Told how many moments of the 90 days are done, and how many there are.
        clock: When the history ends.

    Returns:
        What to print: the vendor's code, its API key, which is shown this once, PINs and programs. Where the code is
        taken nothing is done, and the text says so; an interrupted demo is not taken up again.

    Raises:
        StoreAway: The database does not answer. What was recorded stays.
    """
    try:
        shown = asyncio.run(_made(url, master_key, progress, clock))
    except CodeTaken:
        return f"The demo is there already: the vendor with the code {CODE}. Nothing was changed."
    Projector(url, master_key).catch_up()
    return shown


async def _made(
    url: str, master_key: MasterKey, progress: Callable[[int, int], None], clock: Callable[[], datetime]
) -> str:
    ends_at = clock()
    calendar = _Clock(begins_at=opening(ends_at), ends_at=ends_at)
    async with _ledger(url, master_key, calendar) as ledger:
        with suppress(VendorNotFound):
            await ledger.vendors.by_code(CODE)
            raise CodeTaken(code=CODE)
        visits = planned(ends_at)
        cafe = await _Cafe.opened(ledger)
        moments = [list(group) for _, group in groupby(visits, key=_moment)]
        for done, moment in enumerate(moments):
            progress(done, len(moments))
            calendar.go_to(moment[0].at)
            await asyncio.gather(*(cafe.serve(visit) for visit in moment))
        progress(len(moments), len(moments))
        return cafe.described()


class _Clock:
    """The ledger's clock while the past is made. Each look takes some seconds, so that no two things are at once."""

    def __init__(self, *, begins_at: datetime, ends_at: datetime) -> None:
        self._at, self._ends_at = begins_at, ends_at

    def go_to(self, at: datetime) -> None:
        self._at = max(self._at, at)

    def __call__(self) -> datetime:
        self._at += timedelta(seconds=11)
        return min(self._at, self._ends_at)


def _moment(visit: Visit) -> datetime:
    """Who comes within the same five minutes is served together."""
    return visit.at.replace(minute=visit.at.minute // 5 * 5, second=0, microsecond=0)


@asynccontextmanager
async def _ledger(url: str, master_key: MasterKey, clock: Callable[[], datetime]) -> AsyncIterator[Ledger]:
    pool: Pool = AsyncConnectionPool(
        url, kwargs={"autocommit": True}, configure=act_as_application, min_size=1, max_size=4, open=False
    )
    async with pool:
        ledger = Ledger(url, pool, master_key, clock)
        await ledger.start()
        try:
            yield ledger
        finally:
            await ledger.stop()


# ------------------------------------------------------------------ what happens then


class _Cafe:
    """The vendor at work: serves one visit after the other, and remembers what the tills answered."""

    def __init__(
        self,
        ledger: Ledger,
        till: Caller,
        api_key: str,
        programs: dict[Scheme, UUID],
        pins: list[UUID],
        staff: list[ProvenStaff],
    ) -> None:
        self._ledger = ledger
        self._till = till
        self._api_key = api_key
        self._programs = programs
        self._pins = pins
        self._staff = staff

    @classmethod
    async def opened(cls, ledger: Ledger) -> "_Cafe":
        """Registered, with programs and staff.

        Raises: CodeTaken.
        """
        system = Caller(NOBODY, Actor("system", "demo", "none"), "system", "demo-opening")
        vendor = await ledger.vendors.register(
            code=CODE, profile=PROFILE, caller=system, once=_once(NOBODY, "vendor", CODE)
        )
        vendor_id = UUID(_facts(vendor)["id"])
        system = replace(system, vendor_id=vendor_id)
        api_key, issued = await ledger.vendors.issue_key(
            vendor_id, name="Tills", scopes=SCOPES, expires_at=None, caller=system
        )
        key_id = UUID(_facts(issued)["id"])
        till = Caller(
            vendor_id,
            Actor("api_key", str(key_id), "bearer"),
            "pos",
            "demo-opening",
            api_key_id=key_id,
            may=frozenset(SCOPES),
            location_id=LOCATION_ID,
            terminal_id=TERMINALS[0],
        )
        programs = {scheme: await _program(ledger, scheme, system) for scheme in RULES}
        pins = [await _pin(ledger, member, system) for member in STAFF]
        staff = [
            await ledger.staff.prove(pin_id, member.pin, caller=till)
            for pin_id, member in zip(pins, STAFF, strict=True)
        ]
        return cls(ledger, till, api_key, programs, pins, staff)

    async def serve(self, visit: Visit) -> None:
        holder = visit.holder
        if holder.has_left:
            return
        if holder.card is None:
            await self._enrol(visit)
        await self._turn_of(visit)
        if holder.has_left:
            with suppress(RuleRefused):  # Once more they try.
                await self._stamp(visit, "after all")
        elif holder.scheme == "stamps":
            await self._drink(visit)
        else:
            await self._buy(visit)

    async def _enrol(self, visit: Visit) -> None:
        holder, caller = visit.holder, replace(self._till, request_id=f"demo-join-{visit.number}")
        if holder.joins_at_home:
            nobody = Actor("customer", "anonymous", "none")
            caller = Caller(self._till.vendor_id, nobody, "public", caller.request_id)
        await self._heard(
            holder,
            lambda: self._ledger.cards.enrol(
                self._programs[holder.scheme],
                holder.customer,
                caller=caller,
                once=_once(caller.vendor_id, "enrolment", holder.number),
                is_trusted=not holder.joins_at_home,
            ),
        )

    async def _turn_of(self, visit: Visit) -> None:
        """What happens once in 90 days."""
        holder, manager = visit.holder, self._asked(visit, "turn", member=2)
        assert holder.card is not None
        card, cards = holder.card, self._ledger.cards
        match visit.turn:
            case "mistyped":
                with suppress(PinInvalid):
                    await self._ledger.staff.prove(self._pins[0], STAFF[0].pin[::-1], caller=self._till)
                await self._ledger.staff.prove(self._pins[0], STAFF[0].pin, caller=self._till)
            case "suspended":
                reason = "Several people show a picture of this card"
                await cards.suspend(card, reason=reason, caller=manager.caller, once=manager.once)
                holder.has_left = True
            case "closed":
                await cards.close(card, reason="The customer moves away", caller=manager.caller, once=manager.once)
                holder.has_left = True
            case "replaced":
                reason = "Lost with the wallet"
                await self._heard(
                    holder,
                    lambda: cards.replace(card, reason=reason, caller=manager.caller, once=manager.once),
                )
            case "":
                pass

    async def _drink(self, visit: Visit) -> None:
        """A coffee and its stamp. A full card pays for the coffee; a paid coffee has no stamp."""
        holder, luck = visit.holder, visit.luck
        if holder.stamps >= TARGET and luck > 0.1:
            await self._redeem(visit, None)
            return
        if luck > 0.98 and holder.stamps >= TARGET - 3:  # Hoping for it.
            with suppress(RuleRefused):
                await self._redeem(visit, None)
        stamped = await self._stamp(visit, "stamp")
        if luck < 0.02:  # Seconds later, once more: too early.
            with suppress(RuleRefused):
                await self._stamp(visit, "once more")
        elif luck < 0.035:
            await self._undo(visit, stamped, reason="Wrong card")
        elif luck < 0.04:
            await self._heard(
                holder,
                lambda: self._ledger.till.adjust(
                    _card(holder), stamps=1, points=0, reason="Long wait, sorry", asked=self._asked(visit, "gift", 2)
                ),
            )

    async def _buy(self, visit: Visit) -> None:
        """A purchase and its points; perhaps a reward that pays a part of it."""
        holder, luck = visit.holder, visit.luck
        paid_minor = 0
        affordable = [reward for reward in REWARDS if reward.points_cost <= holder.points]
        if affordable and luck > 0.7:
            reward = affordable[-1]
            await self._redeem(visit, reward.reward_id)
            paid_minor = reward.value_minor or 0
        elif luck > 0.97 and not affordable:
            with suppress(RuleRefused):
                await self._redeem(visit, REWARDS[0].reward_id)
        amount_minor = visit.amount_minor + paid_minor
        bought = await self._heard(
            holder,
            lambda: self._ledger.till.earn(
                _card(holder),
                purchase_amount_minor=amount_minor,
                paid_with_reward_minor=paid_minor,
                currency=PROFILE.currency,
                asked=self._asked(visit, "purchase", order_reference=f"R-{10_000 + visit.number}"),
            ),
        )
        if luck < 0.02:
            await self._undo(visit, bought, reason="Typed in twice")
        elif luck < 0.04 and amount_minor > 1_000:
            await self._undo(visit, bought, reason="Cake was sold out", amount_minor=500, member=2)

    async def _stamp(self, visit: Visit, what: str) -> dict[str, Any]:
        return await self._heard(
            visit.holder,
            lambda: self._ledger.till.stamp(_card(visit.holder), count=1, asked=self._asked(visit, what)),
        )

    async def _redeem(self, visit: Visit, reward_id: UUID | None) -> dict[str, Any]:
        return await self._heard(
            visit.holder,
            lambda: self._ledger.till.redeem(
                _card(visit.holder), reward_id=reward_id, asked=self._asked(visit, "reward")
            ),
        )

    async def _undo(
        self,
        visit: Visit,
        entry: dict[str, Any],
        *,
        reason: str,
        amount_minor: int | None = None,
        member: int | None = None,
    ) -> None:
        asked = self._asked(visit, "undo", member)
        await self._heard(
            visit.holder,
            lambda: self._ledger.till.reverse(
                UUID(entry["entry_id"]), amount_minor=amount_minor, reason=reason, asked=asked
            ),
        )

    def _asked(self, visit: Visit, what: str, member: int | None = None, order_reference: str | None = None) -> Asked:
        """Who asks, and under which key. `member` where it is not who is on duty."""
        caller = replace(
            self._till,
            request_id=f"demo-{what.replace(' ', '-')}-{visit.number}",
            terminal_id=visit.terminal_id,
            staff=self._staff[visit.member if member is None else member],
        )
        return Asked(caller, _once(caller.vendor_id, what, visit.number), order_reference)

    async def _heard(self, holder: Holder, command: Callable[[], Awaitable[Outcome]]) -> dict[str, Any]:
        """The answer to a command, with what it says of the holder's card taken note of.

        A busy database is asked again: the command happens once.
        """
        for _ in range(TRIES_MAX - 1):
            with suppress(Busy):
                outcome = await command()
                break
            await asyncio.sleep(0.2)
        else:
            outcome = await command()
        answer = _facts(outcome)
        holder.stamps, holder.points = answer["stamp_count"], answer["points_balance"]
        if "card_number" in answer:
            holder.card = CardReference(answer["id"])
        return answer

    def described(self) -> str:
        lines = [
            f"{PROFILE.name} is open, with {CARDS} cards and {DAYS} days of history.",
            f"Vendor code: {CODE}",
            f"API key: {self._api_key}   (shown this once)",
            "Staff, with the PINs of the demo:",
            *(
                f"  {member.name}, {member.role}: PIN {member.pin}, staff_pin_id {pin_id}"
                for member, pin_id in zip(STAFF, self._pins, strict=True)
            ),
            "Programs:",
            *(
                f"  {BRANDING[scheme].name} ({scheme}): /api/v1/loyalty/programs/{program_id}"
                for scheme, program_id in self._programs.items()
            ),
        ]
        return "\n".join(lines)


async def _program(ledger: Ledger, scheme: Scheme, caller: Caller) -> UUID:
    loyalty_type: LoyaltyType = scheme
    outcome = await ledger.programs.create(
        loyalty_type=loyalty_type,
        currency=None,
        timezone=None,
        rules=lambda now, timezone: Rules(1, now, timezone, **RULES[scheme]),
        branding=BRANDING[scheme],
        rewards=REWARDS if scheme == "points" else [],
        is_active=True,
        caller=caller,
        once=_once(caller.vendor_id, "program", scheme),
    )
    return UUID(_facts(outcome)["id"])


async def _pin(ledger: Ledger, member: Member, caller: Caller) -> UUID:
    outcome = await ledger.staff.create(
        staff_id=member.name.lower(),
        name=member.name,
        pin=member.pin,
        program_id=None,
        role=member.role,
        operations=None,
        caller=caller,
        once=_once(caller.vendor_id, "staff", member.name),
    )
    return UUID(_facts(outcome)["id"])


def _card(holder: Holder) -> CardReference:
    assert holder.card is not None
    return holder.card


def _once(vendor_id: UUID, what: str, number: object) -> Once:
    key = f"demo {what} {number}"
    return once(vendor_id, key, sha256(key.encode()).digest())


def _facts(outcome: Outcome) -> dict[str, Any]:
    facts: dict[str, Any] = orjson.loads(outcome.answer)
    return facts
