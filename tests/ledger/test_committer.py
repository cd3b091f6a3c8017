"""Rounds on a real database: what clashes is decided again, what is unknown is settled, and nothing happens twice."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from ledger import committer as committer_module
from ledger.card import CardSuspended
from ledger.committer import APPEND, Committer
from ledger.decision import Append, Claim, Claimed, Command, Decision, Outcome, View
from ledger.errors import (
    KeyReused,
    NotEnoughStamps,
    Overloaded,
    PinInvalid,
    Refused,
    StaffNotAllowed,
    StaffSessionInvalid,
    StampCooldown,
    StoreAway,
    VersionMismatch,
)
from ledger.recorder import LOCK_STORE
from projections.check import check
from projections.read_model import Projector
from tests.ledgers import MASTER_KEY, Luck, Shop, Unlucky, facts, heads, rows, running_ledger

Story = Callable[[Shop], Coroutine[Any, Any, None]]
COMMANDS = 400


def tell(url: str, story: Story, **rules: Any) -> None:
    async def told() -> None:
        async with running_ledger(url) as ledger:
            await story(await Shop.opened(ledger, **rules))

    asyncio.run(told())
    Projector(url, MASTER_KEY).catch_up()
    assert check(url, MASTER_KEY) == []


async def insisting(ask: Callable[[], Coroutine[Any, Any, Outcome]]) -> Outcome:
    """As a till does it: ask again, under the same key, until there is an answer."""
    for _ in range(50):
        try:
            return await ask()
        except StoreAway:
            await asyncio.sleep(0.01)
    raise AssertionError("there never was an answer")


def stamps_of(url: str, card: UUID) -> int:
    return int(
        rows(url, "SELECT count(*) FROM stored_events WHERE originator_id = %s AND topic = 'stamps-added'", card)[0][0]
    )


# ------------------------------------------------------------------ unknown outcomes


class Chance(Luck):
    def __init__(self, *, before: float, after: float, seed: int = 1) -> None:
        self._rng = random.Random(seed)
        self._before, self._after = before, after
        self.lost: Counter[str] = Counter()

    def breaks_before(self) -> bool:
        return self._falls("before", self._before)

    def breaks_after(self) -> bool:
        return self._falls("after", self._after)

    def _falls(self, when: str, probability: float) -> bool:
        falls = self._rng.random() < probability
        self.lost[when] += falls
        return falls


def unlucky(luck: Luck) -> type[Committer]:
    class UnluckyCommitter(Committer):
        async def _connected(self) -> Any:
            return Unlucky(await super()._connected(), luck, APPEND)

    return UnluckyCommitter


def test_connections_lost_after_the_commit_lose_and_double_nothing(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    luck = Chance(before=0.1, after=0.2)

    async def story(shop: Shop) -> None:
        cards = [await shop.card() for _ in range(8)]
        luck.lost.clear()

        async def till(n: int) -> list[tuple[UUID, Outcome]]:
            rng, done = random.Random(n), []
            for m in range(COMMANDS // 4):
                card, key = rng.choice(cards), f"{n}-{m}"
                done.append((card, await insisting(lambda card=card, key=key: shop.stamp(card, key))))  # type: ignore[misc]
            return done

        told = [entry for tills in await asyncio.gather(*(till(n) for n in range(4))) for entry in tills]
        assert luck.lost["before"] > 10 and luck.lost["after"] > 10
        assert len({facts(outcome)["entry_id"] for _, outcome in told}) == COMMANDS
        for card in cards:
            acknowledged = sum(1 for of, _ in told if of == card)
            assert stamps_of(database_url, card) == acknowledged == (await shop.read(card))["stamp_count"]
        positions = [outcome.position for _, outcome in told]
        assert len(set(positions)) == COMMANDS
        answered = rows(database_url, "SELECT position FROM idempotency_keys WHERE position = ANY(%s)", positions)
        assert len(answered) == COMMANDS

    monkeypatch.setattr("ledger.commands.Committer", unlucky(luck))
    tell(database_url, story)


def test_every_answer_names_the_position_of_its_own_event(database_url: str) -> None:
    async def story(shop: Shop) -> None:
        cards = [await shop.card() for _ in range(20)]
        outcomes = await asyncio.gather(*(shop.stamp(card) for card in cards for _ in range(5)))
        for outcome, card in zip(outcomes, [card for card in cards for _ in range(5)], strict=True):
            found = rows(
                database_url,
                "SELECT originator_id, originator_version FROM stored_events WHERE notification_id = %s",
                outcome.position,
            )
            assert found == [(card, facts(outcome)["card_version"])]

    tell(database_url, story)


# ------------------------------------------------------------------ clashes


def test_two_committers_on_one_card_follow_each_other(database_url: str) -> None:
    async def story(shop: Shop) -> None:
        card = await shop.card()
        async with running_ledger(database_url) as other:
            both = [shop, shop.at(other)]
            for _ in range(5):
                await asyncio.gather(*(till.stamp(card) for _ in range(20) for till in both))
        assert (await shop.read(card))["stamp_count"] == stamps_of(database_url, card) == 200
        versions = rows(database_url, "SELECT version FROM streams WHERE stream_id = %s", card)
        assert versions == [(201,)]

    tell(database_url, story)


def test_two_committers_with_one_key_record_it_once(database_url: str) -> None:
    async def story(shop: Shop) -> None:
        card = await shop.card()
        async with running_ledger(database_url) as other:
            both = [shop, shop.at(other)]
            for n in range(10):
                outcomes = await asyncio.gather(*(till.stamp(card, f"key-{n}") for _ in range(4) for till in both))
                assert len({(outcome.answer, outcome.position) for outcome in outcomes}) == 1
                assert sum(not outcome.is_replay for outcome in outcomes) == 1
        assert stamps_of(database_url, card) == 10

    tell(database_url, story)


# ------------------------------------------------------------------ once only


def test_the_same_key_finds_its_first_answer(database_url: str) -> None:
    async def story(shop: Shop) -> None:
        card = await shop.card()
        first = await shop.stamp(card, "key")
        await shop.stamp(card)
        again = await shop.stamp(card, "key")
        assert (again.answer, again.position, again.is_replay) == (first.answer, first.position, True)
        with pytest.raises(KeyReused):
            await shop.stamp(card, "key", about="something else")
        assert stamps_of(database_url, card) == 2

    tell(database_url, story)


def test_a_refusal_is_remembered_with_its_facts(database_url: str) -> None:
    async def story(shop: Shop) -> None:
        card = await shop.card()
        for is_replay in (False, True):
            with pytest.raises(NotEnoughStamps) as caught:
                await shop.redeem(card, "key")
            assert caught.value.facts == {"held": 0, "needed": 10} and caught.value.is_replay == is_replay
            for _ in range(10):
                await shop.stamp(card)
        assert (await shop.read(card))["stamp_count"] == 20

    tell(database_url, story)


def test_a_wrong_version_is_refused_and_forgotten(database_url: str) -> None:
    async def story(shop: Shop) -> None:
        card = await shop.card()
        with pytest.raises(VersionMismatch):
            await shop.stamp(card, "key", expected_version=7)
        assert facts(await shop.stamp(card, "key", expected_version=1))["card_version"] == 2

    tell(database_url, story)


def test_a_dry_run_answers_the_same_and_leaves_no_trace(database_url: str) -> None:
    everything = """
        SELECT (SELECT count(*) FROM stored_events), (SELECT count(*) FROM claims),
            (SELECT count(*) FROM idempotency_keys), (SELECT string_agg(state, '' ORDER BY stream_id) FROM streams)
    """
    decided = ("entry_id", "type", "stamps_delta", "stamp_count", "card_version", "rewards_available")

    async def story(shop: Shop) -> None:
        card = await shop.card()
        before = rows(database_url, everything)
        tried = await shop.stamp(card, "key", is_dry_run=True, external_ref="pos:receipt:1")
        with pytest.raises(NotEnoughStamps):
            await shop.redeem(card, "other", is_dry_run=True)
        assert rows(database_url, everything) == before and tried.position is None
        for_real = await shop.stamp(card, "key", external_ref="pos:receipt:1")
        assert {k: facts(tried)[k] for k in decided} == {k: facts(for_real)[k] for k in decided}

        mixed = await asyncio.gather(*(shop.stamp(card, is_dry_run=bool(n % 2)) for n in range(20)))
        assert sorted(facts(outcome)["stamp_count"] for outcome in mixed[::2]) == list(range(2, 12))
        assert stamps_of(database_url, card) == 11

    tell(database_url, story)


def test_refusals_in_a_crowded_round_disturb_nobody(database_url: str) -> None:
    async def story(shop: Shop) -> None:
        cards = [await shop.card() for _ in range(10)]
        before = heads(database_url)
        outcomes = await asyncio.gather(
            *(command(card) for card in cards for command in (shop.stamp, shop.redeem, shop.stamp)),
            return_exceptions=True,
        )
        kinds = Counter(type(outcome).__name__ for outcome in outcomes)
        assert kinds == {"Outcome": 10, "NotEnoughStamps": 10, "StampCooldown": 10}
        assert all(isinstance(o, Outcome | NotEnoughStamps | StampCooldown) for o in outcomes)
        after = heads(database_url)
        assert sum(after[card][0] - before[card][0] for card in cards) == 10

    tell(database_url, story, cooldown_minutes=15)


# ------------------------------------------------------------------ mistakes of ours


def broken_command(shop: Shop, card: UUID, where: str) -> Command:
    """A command with a bug in it: while it decides, in its answer, or in what the database is to store."""

    def decide(view: View) -> Decision:
        if where == "deciding":
            raise ZeroDivisionError
        stream = view.stream(card)
        assert stream is not None
        now = datetime.now(UTC)
        envelope = shop.caller.envelope("card", now)
        claims = [Claimed(Claim("a\0b", card, b""), card)] if where == "storing" else []

        def answer(_recorded: Any, _after: View) -> dict[str, Any]:
            if where == "answering":
                raise ZeroDivisionError
            return {}

        return Decision([Append(card, "card", stream.parent_id, [CardSuspended(now, "?")], envelope)], answer, claims)

    return Command(shop.caller.vendor_id, shop.once(uuid4().hex), decide, streams=[card])


@pytest.mark.parametrize("where", ["deciding", "answering", "storing"])
def test_a_mistake_in_one_command_takes_nobody_else_with_it(database_url: str, where: str) -> None:
    async def story(shop: Shop) -> None:
        cards = [await shop.card() for _ in range(6)]
        commands = [shop.stamp(card) for card in cards[:5]]
        broken = shop.ledger.committer.submit(broken_command(shop, cards[5], where))
        *outcomes, mistake = await asyncio.gather(*commands, broken, return_exceptions=True)
        assert isinstance(mistake, Exception) and not isinstance(mistake, Refused)
        assert [type(outcome) for outcome in outcomes] == [Outcome] * 5
        assert (await shop.read(cards[5]))["version"] == 1

    tell(database_url, story)


# ------------------------------------------------------------------ staff


@asynccontextmanager
async def proven(shop: Shop) -> AsyncIterator[tuple[UUID, Shop, Shop]]:
    """A staff member whose PIN was right a moment ago, and one with a session."""
    created = await shop.ledger.staff.create(
        staff_id="marie", name="Marie", pin="4071", program_id=None, role="staff", operations=None, caller=shop.caller
    )
    pin_id = UUID(facts(created)["id"])
    by_pin = await shop.ledger.staff.prove(pin_id, "4071", caller=shop.caller)
    token, _, _ = await shop.ledger.staff.open_session(pin_id, "4071", terminal_id=None, caller=shop.caller)
    by_session = shop.ledger.staff.session(token, caller=shop.caller).staff
    yield (
        pin_id,
        replace(shop, caller=replace(shop.caller, staff=by_pin)),
        replace(shop, caller=replace(shop.caller, staff=by_session)),
    )


@pytest.mark.parametrize("how", ["revoked", "changed", "locked"])
def test_a_pin_that_ended_between_proof_and_commit_records_nothing(database_url: str, how: str) -> None:
    async def story(shop: Shop) -> None:
        card = await shop.card()
        staff = shop.ledger.staff
        async with proven(shop) as (pin_id, with_pin, with_session):
            await with_pin.stamp(card)
            await with_session.stamp(card)
            if how == "revoked":
                await staff.revoke(pin_id, caller=shop.caller)
            elif how == "changed":
                await staff.change(pin_id, name=None, pin="7350", role=None, operations=None, caller=shop.caller)
            else:
                for _ in range(5):
                    with pytest.raises(PinInvalid):
                        await staff.prove(pin_id, "2000", caller=shop.caller)
            with pytest.raises(StaffNotAllowed):
                await with_pin.stamp(card)
            with pytest.raises(StaffSessionInvalid):
                await with_session.stamp(card)
        assert (await shop.read(card))["stamp_count"] == 2

    tell(database_url, story, require_staff_pin=True)


# ------------------------------------------------------------------ limits


@contextmanager
def store_locked(url: str) -> Iterator[Callable[[], None]]:
    """Somebody else holds the store's lock, as a maintenance script might, until told to let go."""
    with psycopg.connect(url) as connection:
        connection.execute(LOCK_STORE)
        yield connection.rollback


def test_while_the_store_is_locked_answers_come_in_time_and_reads_go_on(database_url: str) -> None:
    async def story(shop: Shop) -> None:
        card = await shop.card()
        with store_locked(database_url) as let_go:

            async def refused(n: int) -> float:
                began = time.monotonic()
                with pytest.raises(StoreAway):
                    await shop.stamp(card, f"key-{n}")
                return time.monotonic() - began

            waiting = [asyncio.create_task(refused(n)) for n in range(20)]
            await asyncio.sleep(0.1)
            for _ in range(20):
                began = time.monotonic()
                assert (await shop.read(card))["stamp_count"] == 0
                assert time.monotonic() - began < 1.0
            waiting += [asyncio.create_task(refused(n)) for n in range(20, 40)]
            assert max(await asyncio.gather(*waiting)) < 6.0
            let_go()
        outcomes = await asyncio.gather(*(insisting(lambda n=n: shop.stamp(card, f"key-{n}")) for n in range(40)))  # type: ignore[misc]
        assert len({outcome.answer for outcome in outcomes}) == 40
        assert (await shop.read(card))["stamp_count"] == 40

    tell(database_url, story)


def test_a_full_queue_sends_away_at_once(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer_module, "QUEUE_MAX", 10)

    async def story(shop: Shop) -> None:
        card = await shop.card()
        with store_locked(database_url) as let_go:
            in_a_round = asyncio.create_task(shop.stamp(card))
            await asyncio.sleep(0.1)
            waiting = [asyncio.create_task(shop.stamp(card)) for _ in range(10)]
            await asyncio.sleep(0)
            began = time.monotonic()
            for _ in range(5):
                with pytest.raises(Overloaded) as caught:
                    await shop.stamp(card)
                assert caught.value.retry_after_seconds >= 1
            assert time.monotonic() - began < 1.0
            let_go()
            await asyncio.gather(in_a_round, *waiting)
        assert (await shop.read(card))["stamp_count"] == 11

    tell(database_url, story)


def test_stopping_finishes_what_was_asked(database_url: str) -> None:
    async def stopped() -> None:
        async with running_ledger(database_url) as ledger:
            shop = await Shop.opened(ledger)
            card = await shop.card()
            asked = [asyncio.create_task(shop.stamp(card)) for _ in range(30)]
            await asyncio.sleep(0.001)
            await ledger.stop()
            outcomes = await asyncio.gather(*asked, return_exceptions=True)
        done = sum(isinstance(outcome, Outcome) for outcome in outcomes)
        assert done == stamps_of(database_url, card) == 30, outcomes

    asyncio.run(stopped())


def test_who_gave_up_waiting_leaves_the_round_to_the_others(database_url: str) -> None:
    async def story(shop: Shop) -> None:
        card = await shop.card()
        impatient = [asyncio.create_task(shop.stamp(card, f"impatient-{n}")) for n in range(10)]
        patient = [asyncio.create_task(shop.stamp(card)) for _ in range(10)]
        await asyncio.sleep(0)
        for task in impatient:
            task.cancel()
        await asyncio.gather(*patient)
        await asyncio.gather(*impatient, return_exceptions=True)
        for n in range(10):
            await shop.stamp(card, f"impatient-{n}")
        assert (await shop.read(card))["stamp_count"] == stamps_of(database_url, card) == 20

    tell(database_url, story)
