"""A program's history under other rules: the same rules lead to what was, other ones to what they should."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.commands.references import CardReference
from ledger.errors import InvalidValue, ProgramNotFound, Refused
from ledger.program import Rules
from projections.read_model import Projector
from projections.simulation import Report, simulate
from tests.ledgers import CAKE, MASTER_KEY, Shop, facts, heads, rows, running_ledger
from tests.visits import OVERTAKEN, VISITS, Clock, Story, Visit

RULES: dict[str, Any] = {
    "stamps_target": 3,
    "stamps_reward_value_minor": 300,
    "cooldown_minutes": 10,
    "max_daily_stamps": 4,
    "max_stamps_per_scan": 2,
    "reversal_policy": "reject",
}
LATER = datetime.fromisoformat("2036-01-01T00:00:00Z")


def other(**rules: Any) -> Callable[[Rules], Rules]:
    return lambda before: replace(before, **rules)


def told(url: str, scene: Callable[[Shop, Clock], Awaitable[None]], **rules: Any) -> UUID:
    """The program whose cards lived through the scene."""

    async def played() -> UUID:
        clock = Clock()
        async with running_ledger(url, clock) as ledger:
            shop = await Shop.opened(ledger, **{**RULES, **rules})
            await scene(shop, clock)
            return shop.program_id

    return asyncio.run(played())


def unmoved(report: Report) -> bool:
    return not any(moved.gaining or moved.losing for moved in report.moved.values())


async def stamps(shop: Shop, clock: Clock, card: UUID, times: int, minutes: int = 1500) -> None:
    for _ in range(times):
        clock.now += timedelta(minutes=minutes)
        try:
            await shop.stamp(card)
        except Refused:
            continue


# ------------------------------------------------------------------ the same rules


def test_the_same_rules_lead_to_what_was(database_url: str) -> None:
    """Whatever happened, and from whichever moment on it is decided again; and what was is what the tables say."""

    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
    @given(visits=VISITS, hours=st.none() | st.integers(0, 200))
    @example(visits=OVERTAKEN, hours=None)
    def any_story(visits: list[Visit], hours: int | None) -> None:
        async def scene(shop: Shop, clock: Clock) -> None:
            await Story(shop, clock).play(visits)

        program_id = told(database_url, scene)
        start = None if hours is None else Clock().now + timedelta(hours=hours)
        report = simulate(database_url, program_id, other(), now=LATER, start=start)
        assert report.was == report.would and unmoved(report) and report.unknown == 0
        assert all(was == would for was, would in report.verdicts)
        Projector(database_url, MASTER_KEY).catch_up()
        sums = "sum(stamp_count), sum(points_balance), count(*) FILTER (WHERE status <> 'replaced')"
        (found,) = rows(database_url, f"SELECT {sums} FROM loyalty_cards WHERE program_id = %s", program_id)
        assert (report.was.stamps_outstanding, report.was.points_outstanding, report.customers) == found
        if start is None:
            refused = sum(times for (was, _), times in report.verdicts.items() if was is not None)
            (count,) = rows(database_url, "SELECT count(*) FROM refusals WHERE program_id = %s", program_id)
            assert (refused,) == count

    any_story()


def test_nothing_is_written(database_url: str) -> None:
    async def scene(shop: Shop, clock: Clock) -> None:
        await stamps(shop, clock, await shop.card(), 4)

    program_id = told(database_url, scene)
    before = heads(database_url)
    progress: list[tuple[int, int]] = []
    simulate(database_url, program_id, other(stamps_target=2), now=LATER, progress=lambda *done: progress.append(done))
    assert heads(database_url) == before
    assert progress == [(1, 1)]


# ------------------------------------------------------------------ other rules


def test_a_lower_target_gives_rewards_to_those_who_came_often_enough(database_url: str) -> None:
    async def scene(shop: Shop, clock: Clock) -> None:
        often, seldom = await shop.card(), await shop.card()
        await stamps(shop, clock, often, 5)
        await stamps(shop, clock, seldom, 1)
        await shop.redeem(often)

    report = simulate(database_url, told(database_url, scene), other(stamps_target=2), now=LATER)
    assert (report.was.rewards_redeemed, report.was.rewards_available, report.was.stamps_outstanding) == (1, 0, 3)
    assert (report.would.rewards_redeemed, report.would.rewards_available) == (1, 1)
    assert (report.would.stamps_outstanding, report.would.liability_minor) == (4, 450 + 150)
    assert (report.moved["rewards"].gaining, report.moved["rewards"].gained) == (1, 1)


def test_a_higher_target_refuses_what_was_given(database_url: str) -> None:
    async def scene(shop: Shop, clock: Clock) -> None:
        card = await shop.card()
        await stamps(shop, clock, card, 3)
        await shop.redeem(card)

    report = simulate(database_url, told(database_url, scene), other(stamps_target=4), now=LATER)
    assert (report.would.rewards_redeemed, report.would.stamps_outstanding, report.was.stamps_outstanding) == (0, 3, 0)
    assert report.verdicts[None, "NotEnoughStamps"] == 1
    assert (report.was.rewards_value_minor, report.would.rewards_value_minor) == (300, 0)
    assert (report.moved["rewards"].losing, report.moved["rewards"].lost) == (1, 1)


def test_a_shorter_cooldown_lets_the_refused_in_and_a_longer_one_keeps_the_accepted_out(database_url: str) -> None:
    async def scene(shop: Shop, clock: Clock) -> None:
        card = await shop.card()
        for minutes in (0, 12, 5):
            await stamps(shop, clock, card, 1, minutes)

    program_id = told(database_url, scene)
    shorter = simulate(database_url, program_id, other(cooldown_minutes=5), now=LATER)
    assert (shorter.was.stamps_earned, shorter.would.stamps_earned) == (2, 3)
    assert shorter.verdicts["StampCooldown", None] == 1
    longer = simulate(database_url, program_id, other(cooldown_minutes=15), now=LATER)
    assert longer.verdicts == {(None, None): 1, (None, "StampCooldown"): 1, ("StampCooldown", None): 1}


def test_points_are_scored_by_the_other_rate_and_refunds_follow(database_url: str) -> None:
    async def scene(shop: Shop, clock: Clock) -> None:
        card = CardReference(str(await shop.card()))
        till, bought = shop.ledger.till, []
        for amount in (1000, 500):
            purchase = {"purchase_amount_minor": amount, "paid_with_reward_minor": 0, "currency": "EUR"}
            bought.append(facts(await till.earn(card, **purchase, asked=shop.asked()))["entry_id"])
        await till.reverse(UUID(bought[0]), amount_minor=500, reason="?", asked=shop.asked())

    report = simulate(database_url, told(database_url, scene), other(rate_points=5), now=LATER)
    assert (report.was.points_earned, report.would.points_earned) == (10, 50)
    assert report.would.liability_minor == 50 * (CAKE.value_minor or 0) // CAKE.points_cost
    assert (report.moved["points"].gaining, report.moved["points"].gained) == (1, 40)


def test_other_rules_from_a_moment_on_leave_what_was_before(database_url: str) -> None:
    moments: list[datetime] = []

    async def scene(shop: Shop, clock: Clock) -> None:
        card = await shop.card()
        await stamps(shop, clock, card, 3)
        await shop.redeem(card)
        moments.append(clock.now + timedelta(minutes=1))
        await stamps(shop, clock, card, 3)
        moments.append(clock.now + timedelta(minutes=1))
        clock.now += timedelta(minutes=2)
        await shop.redeem(card)

    program_id = told(database_url, scene)
    after_the_first, before_the_last = moments
    from_then_on = simulate(database_url, program_id, other(stamps_target=4), now=LATER, start=after_the_first)
    assert (from_then_on.was.rewards_redeemed, from_then_on.would.rewards_redeemed) == (2, 1)
    early = simulate(database_url, program_id, other(stamps_target=4), now=LATER, end=before_the_last)
    assert (early.was.rewards_redeemed, early.was.rewards_available, early.would.rewards_available) == (1, 1, 1)


def test_a_running_cycle_keeps_its_target_where_rules_raise_it_from_a_moment_on(database_url: str) -> None:
    moments: list[datetime] = []

    async def scene(shop: Shop, clock: Clock) -> None:
        card = await shop.card()
        await stamps(shop, clock, card, 2)
        moments.append(clock.now + timedelta(minutes=1))
        await stamps(shop, clock, card, 1)
        await shop.redeem(card)

    program_id = told(database_url, scene)
    kept = simulate(database_url, program_id, other(stamps_target=5), now=LATER, start=moments[0])
    assert kept.would.rewards_redeemed == 1
    at_once = other(stamps_target=5, raised_target="immediate")
    assert simulate(database_url, program_id, at_once, now=LATER, start=moments[0]).would.rewards_redeemed == 0


def test_what_a_lost_card_would_hold_moves_to_its_replacement(database_url: str) -> None:
    async def scene(shop: Shop, clock: Clock) -> None:
        card = await shop.card()
        await stamps(shop, clock, card, 3, minutes=6)
        made = await shop.ledger.cards.replace(
            CardReference(str(card)), reason="Lost", caller=shop.caller, once=shop.once("lost")
        )
        await stamps(shop, clock, UUID(facts(made)["id"]), 1)

    report = simulate(database_url, told(database_url, scene), other(cooldown_minutes=5), now=LATER)
    assert (report.customers, report.was.stamps_outstanding, report.would.stamps_outstanding) == (1, 3, 4)


# ------------------------------------------------------------------ what cannot be


def test_rules_the_program_could_not_have_are_refused(database_url: str) -> None:
    async def scene(shop: Shop, clock: Clock) -> None:
        await shop.card()

    program_id = told(database_url, scene)
    with pytest.raises(InvalidValue):
        simulate(database_url, program_id, other(max_stamps_per_scan=5), now=LATER)
    with pytest.raises(ProgramNotFound):
        simulate(database_url, uuid4(), other(), now=LATER)
