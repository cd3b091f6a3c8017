"""Balances at two times: what had happened by then, and what was known by then.

Histories are recorded by a ledger at a clock of the test's, some of it late; the questions go over HTTP.
"""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ledger import balance
from ledger.commands.references import CardReference
from ledger.decision import Outcome
from ledger.errors import Refused
from tests.callers import ok, problem
from tests.ledgers import CAKE, Shop, facts, running_ledger
from tests.service import Service

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
COUNTED = (
    "status",
    "stamp_count",
    "total_stamps_earned",
    "stamps_redeemed",
    "points_balance",
    "total_points_earned",
    "points_redeemed",
)
LIVE = f"SELECT id, {', '.join(COUNTED)} FROM loyalty_cards WHERE program_id = %s"
WHAT = ("stamp", "stamp", "buy", "redeem", "cake", "adjust", "reverse", "suspend", "reinstate", "replace")

Steps = st.lists(
    st.tuples(
        st.sampled_from(WHAT),
        st.integers(0, 2),  # Which card.
        st.sampled_from([0, 0, 60, 3_600, 90_000]),  # Seconds since the step before: at one moment, or a day later.
        st.sampled_from([0, 0, 0, 1_800, 200_000]),  # By how many seconds it is told late.
    ),
    min_size=6,
    max_size=16,
)


@dataclass
class Books:
    """What a careful neighbour wrote down: each change with its two times, and the live table after each."""

    changes: list[tuple[UUID, datetime, datetime, int, int]] = field(default_factory=list)
    moments: list[tuple[datetime, dict[UUID, dict[str, Any]]]] = field(default_factory=list)

    def held(self, as_of: datetime, known_at: datetime, card: UUID | None = None) -> tuple[int, int]:
        counts = [
            change
            for change in self.changes
            if card in (None, change[0]) and change[1] <= as_of and change[2] <= known_at
        ]
        return sum(change[3] for change in counts), sum(change[4] for change in counts)


class Story:
    """A shop whose clock goes on when told to, and which tells some things late."""

    def __init__(self, service: Service, shop: Shop) -> None:
        self.service, self.shop = service, shop
        self.now = START
        self.cards: list[UUID] = []
        self.entries: list[UUID] = []
        self.books = Books()

    async def enrol(self) -> None:
        self.cards.append(await self.shop.card())
        self.note()

    async def step(self, what: str, which: int, later: int, late: int) -> None:
        self.now += timedelta(seconds=later)
        caller = replace(self.shop.caller, occurred_at=self.now - timedelta(seconds=late) if late else None)
        card = self.cards[which]
        before = self.live()
        try:
            told = facts(await self.ask(what, card, caller))
        except Refused:
            return
        if what == "replace":
            new = UUID(told["id"])
            at, held = self.now, before[card]
            happened = caller.occurred_at or at
            stamps, points = held["stamp_count"], held["points_balance"]
            self.books.changes += [(card, happened, at, -stamps, -points), (new, happened, at, stamps, points)]
            self.cards[which] = new
        elif "entry_id" in told:
            times = (datetime.fromisoformat(told["occurred_at"]), datetime.fromisoformat(told["recorded_at"]))
            assert times == (caller.occurred_at or self.now, self.now)
            changed = UUID(told["card_id"])
            self.books.changes.append((changed, *times, told["stamps_delta"], told["points_delta"]))
            if what in ("stamp", "buy"):
                self.entries.append(UUID(told["entry_id"]))
        self.note()

    async def ask(self, what: str, card: UUID, caller: Any) -> Outcome:
        shop, till, cards = self.shop, self.shop.ledger.till, self.shop.ledger.cards
        reference, asked = CardReference(str(card)), shop.asked(caller=caller)
        match what:
            case "stamp":
                return await till.stamp(reference, count=1, asked=asked)
            case "buy":
                return await till.earn(
                    reference, purchase_amount_minor=1_500, paid_with_reward_minor=0, currency="EUR", asked=asked
                )
            case "redeem" | "cake":
                reward_id = CAKE.reward_id if what == "cake" else None
                return await till.redeem(reference, reward_id=reward_id, asked=asked)
            case "adjust":
                return await till.adjust(reference, stamps=2, points=0, reason="Forgotten", asked=asked)
            case "reverse":
                entry_id = self.entries.pop() if self.entries else UUID(int=1)
                return await till.reverse(entry_id, amount_minor=None, reason="Wrong card", asked=asked)
            case _:
                outcome: Outcome = await getattr(cards, what)(reference, reason="So it is", caller=caller)
                return outcome

    def live(self) -> dict[UUID, dict[str, Any]]:
        self.service.catch_up()
        return {row.pop("id"): row for row in self.service.rows(LIVE, self.shop.program_id)}

    def note(self) -> None:
        self.books.moments.append((self.now, self.live()))

    def balance(self, card: UUID, **times: datetime) -> dict[str, Any]:
        return ok(self.service.auditor.get(f"/cards/{card}/balance", **asked(times)))

    def outstanding(self, **times: datetime) -> dict[str, Any]:
        return ok(self.service.auditor.get(f"/programs/{self.shop.program_id}/outstanding", **asked(times)))


def asked(times: dict[str, datetime]) -> dict[str, str]:
    return {name: at.isoformat() for name, at in times.items()}


async def told(service: Service, steps: list[tuple[str, int, int, int]]) -> None:
    story: Story | None = None

    async with running_ledger(service.database_url, lambda: story.now if story else START) as ledger:
        story = Story(service, await Shop.opened(ledger, stamps_target=3))
        for _ in range(3):
            await story.enrol()
        for step in steps:
            await story.step(*step)
            the_present_is_the_live_table(story)
        the_past_is_what_the_live_table_was(story)
        business_time_adds_up(story)


def the_present_is_the_live_table(story: Story) -> None:
    live = story.books.moments[-1][1]
    for card, row in live.items():
        found = story.balance(card, known_at=story.now)
        assert {name: found[name] for name in COUNTED} == row
    found = story.outstanding(known_at=story.now)
    assert (found["cards"], found["stamps_outstanding"], found["points_outstanding"]) == sums(live)


def the_past_is_what_the_live_table_was(story: Story) -> None:
    last_at = dict(story.books.moments)  # Of several steps at one moment, the last.
    for at, rows in last_at.items():
        found = story.outstanding(known_at=at)
        assert (found["cards"], found["stamps_outstanding"], found["points_outstanding"]) == sums(rows)
        for card in {*story.books.moments[-1][1]}:
            then = story.balance(card, known_at=at)
            if card in rows:
                assert {name: then[name] for name in COUNTED} == rows[card]
            else:
                assert (then["status"], then["stamp_count"], then["events"]) == (None, 0, 0)


def business_time_adds_up(story: Story) -> None:
    books, end = story.books, story.now
    times = sorted({at for change in books.changes for at in change[1:3]})
    for as_of in times[:: max(len(times) // 4, 1)]:
        for known_at in (end, times[len(times) // 2]):
            found = story.outstanding(as_of=as_of, known_at=known_at)
            assert (found["stamps_outstanding"], found["points_outstanding"]) == books.held(as_of, known_at)
            for card in {change[0] for change in books.changes}:
                found = story.balance(card, as_of=as_of, known_at=known_at)
                assert (found["stamp_count"], found["points_balance"]) == books.held(as_of, known_at, card)


def sums(rows: dict[UUID, dict[str, Any]]) -> tuple[int, int, int]:
    return (
        len(rows),
        sum(row["stamp_count"] for row in rows.values()),
        sum(row["points_balance"] for row in rows.values()),
    )


@given(Steps)
@settings(
    max_examples=8,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),  # Making a failing history smaller would take many minutes.
    suppress_health_check=list(HealthCheck),
)
def test_what_is_known_now_is_the_live_table_and_what_was_known_then_is_what_it_was(
    service: Service, steps: list[tuple[str, int, int, int]]
) -> None:
    asyncio.run(told(service, steps))


def test_a_late_entry_changes_what_had_happened_and_never_what_was_known(service: Service) -> None:
    async def story() -> None:
        told: Story | None = None

        async with running_ledger(service.database_url, lambda: told.now if told else START) as ledger:
            told = Story(service, await Shop.opened(ledger))
            await told.enrol()
            (card,) = told.cards
            await told.step("stamp", 0, 60, 0)
            noon = told.now + timedelta(hours=4)
            before = told.balance(card, as_of=noon), told.balance(card, known_at=noon)
            sums_before = told.outstanding(as_of=noon), told.outstanding(known_at=noon)
            await told.step("stamp", 0, 8 * 3_600, 6 * 3_600)  # Stamped before noon, told in the evening.

            assert (before[0]["stamp_count"], told.balance(card, as_of=noon)["stamp_count"]) == (1, 2)
            assert told.balance(card, known_at=noon) == before[1]
            assert told.balance(card, as_of=noon, known_at=noon)["stamp_count"] == 1
            assert told.outstanding(as_of=noon)["stamps_outstanding"] == sums_before[0]["stamps_outstanding"] + 1
            assert told.outstanding(known_at=noon) == sums_before[1]

    asyncio.run(story())


def test_a_suspension_told_late_holds_from_when_it_happened_to_all_who_know_of_it(service: Service) -> None:
    async def story() -> None:
        told: Story | None = None

        async with running_ledger(service.database_url, lambda: told.now if told else START) as ledger:
            told = Story(service, await Shop.opened(ledger))
            await told.enrol()
            await told.step("stamp", 0, 3_600, 0)
            await told.step("suspend", 0, 3_600, 5_400)
            (card,) = told.cards
            between = START + timedelta(seconds=3_000)
            assert told.balance(card, as_of=between)["status"] == "suspended"
            assert told.balance(card, as_of=between, known_at=between)["status"] == "active"
            assert told.balance(card, known_at=between)["status"] == "active"
            assert told.balance(card)["status"] == "suspended"

    asyncio.run(story())


def test_a_vendor_sees_its_own_cards_past_and_nobody_elses(service: Service) -> None:
    till, stranger = service.shop(), service.shop()
    card = till.card(till.program()["id"])
    first, second = (ok(till.stamp(card["id"])) for _ in range(2))
    path = f"/cards/{card['id']}/balance"
    then = ok(till.get(path, known_at=first["recorded_at"]))
    assert (then["stamp_count"], then["card_version"], then["status"]) == (1, first["card_version"], "active")
    now = ok(till.get(path))
    assert (now["stamp_count"], now["position"]) == (2, second["position"])
    assert ok(service.auditor.get(path)) == now
    assert (now["as_of"], now["known_at"]) == (None, None)
    problem(stranger.get(path), 404, "card_not_found")


def test_before_there_was_a_card_it_held_nothing(service: Service) -> None:
    till = service.shop()
    program = till.program()
    card = till.card(program["id"])
    service.catch_up()
    then = ok(service.auditor.get(f"/cards/{card['id']}/balance", as_of="2020-01-01T00:00:00Z"))
    assert (then["status"], then["stamp_count"], then["card_version"], then["position"]) == (None, 0, 0, None)
    program_then = ok(service.auditor.get(f"/programs/{program['id']}/outstanding", as_of="2020-01-01T00:00:00Z"))
    assert (program_then["cards"], program_then["entries"], program_then["position"]) == (0, 0, None)
    assert ok(service.auditor.get(f"/programs/{program['id']}/outstanding"))["cards"] == 1


def test_a_time_without_a_zone_is_no_time(service: Service) -> None:
    till = service.shop()
    card = till.card(till.program()["id"])
    for name in ("as_of", "known_at"):
        problem(till.get(f"/cards/{card['id']}/balance", **{name: "2026-03-02T08:00:00"}), 422, "validation_failed")


def test_a_history_longer_than_a_page_is_added_up_whole(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balance, "PAGE_EVENTS", 3)
    till = service.shop()
    card = till.card(till.program()["id"])
    for stamps in range(1, 9):  # Two of these histories end exactly with a page.
        entry = ok(till.stamp(card["id"]))
        found = ok(till.get(f"/cards/{card['id']}/balance"))
        assert (found["stamp_count"], found["events"], found["position"]) == (stamps, stamps + 1, entry["position"])
