"""The ledger, the projector, the subscribers and the workers that write to Google, moved on one step at a time.

All are the real ones on a real database; Google is the fake, whose answers get lost. What an object or a class may
show is known from the ledger alone: every state it should have had, in order.
"""

from typing import Any
from uuid import UUID

from ledger.commands.caller import utc_now
from tests.fake_google import FakeGoogle
from tests.schedules.changes import CHANGES, Changes, place
from tests.schedules.machine import Machine, Worker
from tests.schedules.schedule import SECONDS, Schedule, Step
from wallet_sync.google_client import TIMEOUT_SECONDS
from wallet_sync.google_pass import OWNED, Kind
from wallet_sync.upkeep import sweep_if_due
from wallet_sync.wallet_work import retry_at_once

CALLBACK = "/api/v1/loyalty/google/callback"
ROUNDS_MAX = 12  # Until all is quiet.
RESTS_SECONDS = 3

YESTERDAY = "UPDATE wallet_work SET desired = 1, synced = 1 WHERE channel = 'sweep'"
GIVEN_UP = "SELECT channel, last_error FROM wallet_work WHERE is_parked AND last_error NOT LIKE '400 %'"
SAVED = "SELECT id, is_saved_at_google FROM loyalty_cards WHERE program_id = %s"


class GoogleWorld:
    """One schedule's shop and cards, and what Google has of them."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        machine.forget()
        self.google = FakeGoogle()
        self.history: dict[str, list[dict[str, Any]]] = {}  # By Google's id, oldest first.
        self.places: dict[str, int] = {}  # Which of these states was seen there last.
        self.created: set[UUID] = set()
        self.late: list[bytes] = []  # What Google has yet to tell.
        self.has_lost = False
        for line in machine.google_lines:
            line.wire.lead_to(self.google, self._look)
        self.workers = [Worker(machine, line.wire, machine.writing(line)) for line in machine.google_lines]
        self.changes: Changes = machine.run(Changes.opened(machine.parts.ledger, self._note))
        self.issuer, self.cards = machine.google.issuer, self.changes.cards
        for card in self.cards:
            machine.run(self._note(card))
        # As most of an object's life is: there, and nothing owed.
        self._create(self.cards[0])
        self._until_quiet()

    # ------------------------------------------------------------------ what may be at Google

    async def _note(self, card: UUID) -> None:
        """The card as it is now is the newest state of its object, and of its class."""
        shop = self.changes.shop
        found = await shop.read(card)
        vendor = await shop.ledger.vendors.find(shop.caller.vendor_id)
        program = await shop.ledger.programs.find(shop.program_id, None)
        bodies: list[tuple[Kind, dict[str, Any]]] = [
            ("loyaltyObject", self.machine.google.issuer.loyalty_object(found, vendor["name"])),
            ("loyaltyClass", self.machine.google.issuer.loyalty_class(program, vendor["name"])),
        ]
        for kind, body in bodies:
            history = self.history.setdefault(body["id"], [])
            if not history or history[-1] != owned(kind, body):
                history.append(owned(kind, body))

    def _look(self) -> None:
        """Google took in a request: nothing there may be older than it was."""
        for kind in OWNED:
            for id_, body in self.google.held[kind].items():
                self.places[id_] = place(self.history[id_], owned(kind, body), self.places.get(id_, 0))

    # ------------------------------------------------------------------ steps

    def take(self, step: Step) -> None:
        card, worker = self.cards[step.who], self.workers[step.who]
        match step.what:
            case change if change in CHANGES:
                self.machine.run(self.changes.make(change, card, step.number))
            case "project":
                self.machine.projector.catch_up()
            case "follow" | "look at program":
                self.machine.follow(step, self.changes)
            case "write":
                self._write(step)
            case "write both":
                self.machine.both(self.workers, "ok")
            case "answer":
                worker.answer(step.how)
            case "worker dies":
                worker.die()
            case "time passes":
                self._time_passes(SECONDS[step.number % len(SECONDS)])
            case "create":
                self._create(card)
            case "class vanishes":
                self.has_lost = True
                self.google.held["loyaltyClass"].clear()
            case "object vanishes":
                self.has_lost = True
                self.google.held["loyaltyObject"].pop(self.issuer.object_id(card), None)
            case "save" | "remove":
                self._message(step, self.issuer.object_id(card))
            case "late messages arrive":
                self._deliver()
            case "night":
                self._night()

    def _write(self, step: Step) -> None:
        """Half of the time, once changes have come to rest. A stamp meanwhile is for the other worker, if it may."""
        worker, is_overtaken = self.workers[step.who], step.how == "stamp meanwhile"
        if step.number % 2:
            self.machine.time_passes(RESTS_SECONDS)
        worker.begin("held" if is_overtaken else step.how)
        if is_overtaken:
            self.machine.run(self.changes.make("stamp", self.cards[step.number // 2 % 2], 1))
            self.machine.everybody_follows()
            self.machine.time_passes(RESTS_SECONDS)
            self.workers[1 - step.who].begin("ok")

    def _time_passes(self, seconds: int) -> None:
        """Nobody waits for an answer for as long as a lease lasts."""
        if seconds > TIMEOUT_SECONDS:
            for worker in self.workers:
                worker.answer("lost")
        self.machine.time_passes(seconds)

    def _create(self, card: UUID) -> None:
        shop = self.changes.shop
        self.created.add(card)
        self.machine.run(
            shop.ledger.passes.create_at_google(
                card,
                class_id=self.issuer.class_id(shop.program_id),
                object_id=self.issuer.object_id(card),
                caller=shop.caller,
            )
        )

    def _message(self, step: Step, object_id: str) -> None:
        if object_id not in self.google.held["loyaltyObject"]:
            return
        if step.what == "save":
            self.google.users.add(object_id)
        else:
            self.google.users.discard(object_id)
        self.late += [self.google.told(object_id, "save" if step.what == "save" else "del")]
        if step.how == "twice":
            self.late += self.late[-1:]
        if step.how != "late":
            self._deliver()

    def _deliver(self) -> None:
        """Google tells what it has to tell, the newest first."""
        while self.late:
            answer = self.machine.run(self.machine.client.post(CALLBACK, content=self.late.pop()))
            assert answer.status_code == 200, answer.text

    def _night(self) -> None:
        self.machine.db.execute(YESTERDAY)
        self.machine.run(sweep_if_due(self.machine.parts.ledger.reader, utc_now()))

    # ------------------------------------------------------------------ until all is quiet

    def settle(self) -> None:
        """Nothing more happens, and nothing goes wrong: whoever has something to do does it."""
        for worker in self.workers:
            worker.answer("ok")
        self._deliver()
        self._until_quiet()
        if self.has_lost:  # Google tells nobody that something vanished.
            self._night()
            self._until_quiet()

    def _until_quiet(self) -> None:
        for _ in range(ROUNDS_MAX):
            self.machine.everybody_follows()
            self.workers[0].begin("ok")
            self.machine.projector.catch_up()
            owed, parked = self.machine.owed()
            if not owed:
                return
            given_up = self.machine.db.execute(GIVEN_UP).fetchall()
            assert not given_up, f"given up for no mistake: {given_up}"
            retry_at_once(self.machine.url) if parked else self.machine.time_passes(4_000)
        raise AssertionError("something is owed to Google for ever")

    def all_is_well(self) -> None:
        """Everything at Google is as the ledger is now."""
        self._look()
        shop = self.changes.shop
        there: set[tuple[Kind, str]] = {("loyaltyObject", self.issuer.object_id(card)) for card in self.created}
        for kind, id_ in sorted(there | {("loyaltyClass", self.issuer.class_id(shop.program_id))}):
            assert id_ in self.google.held[kind], f"{kind} is not there"
            shown, newest = owned(kind, self.google.held[kind][id_]), self.history[id_][-1]
            assert shown == newest, f"{kind} shows {differing(shown, newest)} instead of {differing(newest, shown)}"
        if not self.has_lost:  # What vanished and is there again has nobody who saved it.
            for card, is_saved in self.machine.db.execute(SAVED, (shop.program_id,)):
                assert is_saved == (self.issuer.object_id(card) in self.google.users), (
                    "whether it is saved is not known"
                )


def owned(kind: Kind, body: dict[str, Any]) -> dict[str, Any]:
    """What is ours; in a class without how far its review is."""
    return {name: body[name] for name in OWNED[kind] if name in body and name != "reviewStatus"}


def differing(these: dict[str, Any], those: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in these.items() if those.get(name) != value}


def play_google(machine: Machine, steps: Schedule) -> None:
    """Raises: AssertionError where a promise is broken."""
    world = GoogleWorld(machine)
    try:
        for step in steps:
            world.take(step)
        world.settle()
        world.all_is_well()
    finally:
        for worker in world.workers:
            worker.die()
