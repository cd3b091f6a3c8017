"""The ledger, the projector, the subscribers, the push workers and the web service, moved on one step at a time.

All are the real ones on a real database. Time passes by moving what is owed into the past. What a pass may show is
known from the ledger alone: every state a card has been in, in order.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any
from uuid import UUID

from ledger.commands.caller import utc_now
from tests.phones import Carried
from tests.schedules.changes import CHANGES, Changes, place
from tests.schedules.machine import Machine, Worker
from tests.schedules.outside import Apple, InProcess, Lost, Witness
from tests.schedules.schedule import SECONDS, Schedule, Step
from wallet_sync.wallet_work import retry_at_once

BASE = "/api/v1/loyalty/apple"
ROUNDS_MAX = 12  # Until all is quiet.
STANDING = """
SELECT r.device_library_identifier, r.serial_number, w.desired = p.revision AND w.synced = p.revision
FROM wallet_passes p JOIN apple_device_registrations r USING (card_id)
LEFT JOIN wallet_work w ON w.channel = 'apple' AND w.id = r.id
WHERE p.program_id = %s
"""


class World:
    """One schedule's shop, cards and phones."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.apple = Apple()
        for line in machine.lines:
            line.wire.apple = self.apple
        self.workers = [Worker(machine, line.wire, machine.pushing(line)) for line in machine.lines]
        self.changes: Changes = machine.run(Changes.opened(machine.parts.ledger, self._note))
        self.shop, self.cards = self.changes.shop, self.changes.cards
        self.history: dict[str, list[dict[str, Any]]] = {}  # By serial number, oldest first.
        self.tokens: list[str] = []  # For downloads.
        for card in self.cards:
            self.history[self._serial(card)] = []
            machine.run(self._note(card))
        self.http = [InProcess(machine.client, self._ask) for _ in range(2)]
        self.phones = [Witness(http, BASE, saw=self._saw) for http in self.http]  # type: ignore[arg-type]
        for phone in self.phones:
            self.apple.phones[phone.push_token] = phone
        machine.projector.catch_up()
        # As most of a pass's life is: in a phone, registered, and nothing owed.
        self._download(0, 0)
        self.phones[0].register_all()
        self.phones[0].ask_what_changed()
        machine.everybody_follows()

    def _serial(self, card: UUID) -> str:
        apple = self.machine.parts.apple
        assert apple is not None
        return apple.serial_of(card)

    # ------------------------------------------------------------------ what a pass may show

    async def _note(self, card: UUID) -> None:
        """The card as it is now is the newest state of its pass."""
        found = await self.shop.read(card)
        vendor = await self.shop.ledger.vendors.find(self.shop.caller.vendor_id)
        told = {
            "stamps": f"{found['stamp_count']} / {found['stamps_target']}",
            "points": str(found["points_balance"]),
            "rewards": str(found["rewards_available"]),
            "is_voided": found["status"] != "active",
            "title": found["program"]["card_name"] or found["program"]["name"],
            "merchant": vendor["name"],
        }
        if len(self.tokens) < 2:
            self.tokens.append(found["qr_code_data"])
        history = self.history[self._serial(card)]
        if not history or history[-1] != told:
            history.append(told)

    def _saw(self, newer: Carried, older: Carried | None) -> None:
        """A phone took in a pass: it may not be older than the one it had."""
        history = self.history[newer.told["serialNumber"]]
        least = 0 if older is None else place(history, shown(older), getattr(older, "place", 0))
        newer.place = place(history, shown(newer), least)  # type: ignore[attr-defined]
        assert older is None or newer.changed_at >= older.changed_at, "Last-Modified went back"

    # ------------------------------------------------------------------ the web service

    def _ask(self, request: Coroutine[Any, Any, Any], method: str, meanwhile: Any) -> Any:
        return self.machine.run(self._answered(request, method, meanwhile))

    async def _answered(self, request: Coroutine[Any, Any, Any], method: str, meanwhile: Any) -> Any:
        asked = asyncio.create_task(request)
        if meanwhile is not None:
            await meanwhile()
        while method != "GET" and not asked.done():  # Its answer waits for the tables.
            await asyncio.wait([asked], timeout=0.004)
            await asyncio.to_thread(self.machine.projector.catch_up)
        return await asked

    def _download(self, phone: int, card: int) -> None:
        path = f"/api/v1/loyalty/cards/{self.tokens[card]}/apple.pkpass"
        self.phones[phone].download(self.http[phone].request("GET", path))

    # ------------------------------------------------------------------ steps

    def take(self, step: Step) -> None:
        who, card = step.who, self.cards[step.number % 2]
        phone, http = self.phones[who], self.http[who]
        worker = self.workers[who]
        http.meanwhile, http.loses_in = None, 0
        if step.how == "answer lost":
            http.loses_in = 1 + step.number % 3
        elif step.how.endswith("meanwhile"):
            http.meanwhile = lambda: self.machine.stamped(self.changes, card, step)
        try:
            match step.what:
                case change if change in CHANGES:
                    self.machine.run(self.changes.make(change, self.cards[who], step.number))
                case "project":
                    self.machine.projector.catch_up()
                case "follow" | "look at program":
                    self.machine.follow(step, self.changes)
                case "push":
                    worker.begin(step.how)
                case "push both":
                    self.machine.both(self.workers, "delivered")
                case "answer":
                    worker.answer(step.how)
                case "push worker dies":
                    worker.die()
                case "time passes":
                    self.machine.time_passes(SECONDS[step.number % len(SECONDS)])
                case "late push arrives":
                    self.apple.deliver()
                case "ask" if not phone.is_gone:
                    phone.ask_what_changed()
                case "download" if not phone.is_gone:
                    self._download(who, step.number % 2)
                case "add" if not phone.is_gone:
                    self._download(who, step.number % 2)
                    phone.register_all()
                    phone.ask_what_changed()
                case "register" if not phone.is_gone:
                    phone.register_all()
                case "register and ask" if not phone.is_gone:
                    phone.register_all()
                    phone.ask_what_changed()
                case "throw away" if not phone.is_gone and phone.passes:
                    serials = sorted(phone.passes)
                    phone.throw_away(serials[step.number % len(serials)])
                case "new token" if not phone.is_gone:
                    phone.says_bad = step.how == "bad"
                    self.apple.phones[phone.change_token()] = phone
                case "vanish":
                    phone.is_gone, phone.gone_at = True, utc_now()
                case "come back" if phone.is_gone:
                    phone.is_gone, phone.says_bad = False, False
                    self.apple.phones[phone.change_token()] = phone
        except Lost:
            phone.must_ask = True

    # ------------------------------------------------------------------ until all is quiet

    def settle(self) -> None:
        """Nothing more happens, and nothing goes wrong: whoever has something to do does it."""
        for http in self.http:
            http.meanwhile, http.loses_in = None, 0
        for worker in self.workers:
            worker.answer("delivered")
        self.apple.deliver()
        for _ in range(ROUNDS_MAX):
            self.machine.everybody_follows()
            self.workers[0].begin("delivered")
            if not self._phones_act() and self.machine.owed() == (0, 0):
                break
            retry_at_once(self.machine.url) if self.machine.owed()[1] else self.machine.time_passes(4_000)
        for phone in self.phones:
            if phone.has_missed and not phone.is_gone:
                phone.ask_what_changed()

    def _phones_act(self) -> bool:
        acted = False
        for phone in self.phones:
            if not phone.is_gone and (phone.must_register or phone.must_ask):
                if phone.must_register:
                    phone.register_all()
                phone.ask_what_changed()
                acted = True
        return acted

    def all_is_well(self) -> None:
        """Every pass in a registered phone is the newest, and what is written down says so."""
        standing = {(d, s): is_so for d, s, is_so in self.machine.db.execute(STANDING, (self.shop.program_id,))}
        for n, phone in enumerate(self.phones):
            for serial, carried in phone.passes.items():
                if not phone.is_gone:
                    newest = self.history[serial][-1]
                    assert shown(carried) == newest, f"phone {n} shows {shown(carried)} instead of {newest}"
                    assert standing.get((phone.id, serial)), f"phone {n}: work is not done for a pass it shows"
        assert all(standing.values()), "something is owed to a phone for ever"


def shown(carried: Carried) -> dict[str, Any]:
    told = carried.told
    return {
        **{key: carried.value(key) for key in ("stamps", "points", "rewards")},
        "is_voided": told.get("voided", False),
        "title": told["logoText"],
        "merchant": told["organizationName"],
    }


def play(machine: Machine, steps: Schedule) -> None:
    """Raises: AssertionError where a promise is broken."""
    world = World(machine)
    try:
        for step in steps:
            world.take(step)
        world.settle()
        world.all_is_well()
    finally:
        for worker in world.workers:
            worker.die()
