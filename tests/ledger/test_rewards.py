"""Rewards: what they cost, who can have one, and how many are left."""

from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.card import RewardRedeemed
from ledger.errors import (
    CardIsReplaced,
    CardIsSuspended,
    NotEnoughPoints,
    NotEnoughStamps,
    ProgramIsInactive,
    ProgramTypeMismatch,
    RewardNotFound,
)
from ledger.program import ProgramActivated, ProgramDeactivated, Reward
from ledger.rewards import redeem, redeem_any
from tests.examples import (
    CAKE,
    CARD_REPLACED,
    CARD_SUSPENDED,
    DAY,
    EARNED,
    ENROLLED,
    ENTRY_ID,
    HOUR,
    MONDAY,
    REDEEMED,
    REWARD_CHANGED,
    REWARD_ID,
    REWARD_RETIRED,
    STAFF_ID,
    hybrid_program,
    point_program,
    rules_changed,
    stamp_program,
)
from tests.given import Till, given, refused


def card_with(stamps: int = 0, points: int = 0, **rules: object) -> Till:
    till = Till(hybrid_program(**rules))
    if stamps:
        till.adjust(MONDAY, stamps=stamps)
    if points:
        till.adjust(MONDAY, points=points)
    return till


def test_cake_costs_fifty_points_and_the_rest_stays() -> None:
    card = (
        given(ENROLLED, EARNED, under=hybrid_program())
        .when(
            redeem,
            entry_id=ENTRY_ID,
            reward_id=REWARD_ID,
            now=MONDAY,
            staff_pin_id=STAFF_ID,
            order_reference="2026-0344",
            external_ref="pos:ticket:99313",
        )
        .then(REDEEMED)
    )
    assert (card.points, card.points_redeemed, card.rewards_redeemed) == (70, 50, 0)


def test_twenty_five_stamps_are_two_rewards_of_ten_and_five_stay() -> None:
    till = card_with(stamps=25)
    assert till.standing(MONDAY).rewards_available == 2
    till.redeem(MONDAY)
    till.redeem(MONDAY)
    assert (till.card.stamps, till.card.rewards_redeemed) == (5, 2)
    with refused(NotEnoughStamps, held=5, needed=10):
        till.redeem(MONDAY)


def test_the_entry_remembers_what_the_reward_was_and_cost_that_day() -> None:
    redeemed = card_with(stamps=10).redeem(MONDAY)
    assert (redeemed.reward_id, redeemed.stamps_spent, redeemed.points_spent) == (None, 10, 0)
    assert (redeemed.reward_description, redeemed.reward_value_minor) == ("One coffee of your choice", 350)


def test_one_stamp_short_is_refused_and_says_how_short() -> None:
    with refused(NotEnoughStamps, held=9, needed=10):
        card_with(stamps=9).redeem(MONDAY)


def test_one_point_short_is_refused_and_says_how_short() -> None:
    with refused(NotEnoughPoints, held=49, needed=50):
        card_with(points=49).redeem(MONDAY, REWARD_ID)


def test_a_card_in_debt_gets_no_reward() -> None:
    till = Till(point_program())
    earned = till.earn(MONDAY, 500)
    till.redeem(MONDAY, REWARD_ID)
    till.take_back(MONDAY, earned)
    with refused(NotEnoughPoints, held=-50, needed=50):
        till.redeem(MONDAY, REWARD_ID)


def test_a_new_price_counts_from_the_next_redemption() -> None:
    till = card_with(points=110)
    assert till.redeem(MONDAY, REWARD_ID).points_spent == 50
    till.change_program(REWARD_CHANGED)
    assert till.redeem(MONDAY, REWARD_ID).points_spent == 60


def test_a_retired_reward_cannot_be_had() -> None:
    till = card_with(points=100)
    till.change_program(REWARD_RETIRED)
    with refused(RewardNotFound):
        till.redeem(MONDAY, REWARD_ID)


def test_a_reward_nobody_offers_is_refused() -> None:
    with refused(RewardNotFound):
        card_with(points=100).redeem(MONDAY, UUID(int=99))


def test_a_point_card_has_no_stamp_reward() -> None:
    with refused(ProgramTypeMismatch, loyalty_type="points"):
        Till(point_program()).redeem(MONDAY)


def test_a_suspended_card_gets_no_reward() -> None:
    till = card_with(stamps=10)
    till.record([CARD_SUSPENDED])
    with refused(CardIsSuspended):
        till.redeem(MONDAY)


def test_a_replaced_card_gets_no_reward() -> None:
    till = card_with(stamps=10)
    till.record([CARD_REPLACED])
    with refused(CardIsReplaced):
        till.redeem(MONDAY)


# ------------------------------------------------------------------ after the end of a program


def test_rewards_can_be_had_for_ninety_days_after_the_end() -> None:
    till = card_with(stamps=20)
    end = MONDAY + 7 * DAY
    till.change_program(ProgramDeactivated(end))
    till.redeem(end + 90 * DAY - timedelta(microseconds=1))
    with refused(ProgramIsInactive):
        till.redeem(end + 90 * DAY)


def test_a_program_that_never_began_has_no_rewards() -> None:
    till = card_with(stamps=10)
    till.program = replace(till.program, is_active=False, deactivated_at=None)
    with refused(ProgramIsInactive):
        till.redeem(MONDAY)


def test_a_program_that_begins_again_gives_rewards_again() -> None:
    till = card_with(stamps=10)
    till.change_program(ProgramDeactivated(MONDAY))
    till.change_program(ProgramActivated(MONDAY + 200 * DAY))
    till.redeem(MONDAY + 201 * DAY)


# ------------------------------------------------------------------ where a card stands


def test_a_card_knows_how_far_it_is_from_its_reward() -> None:
    stands = card_with(stamps=7).standing(MONDAY)
    assert (stands.stamp_count, stands.stamps_target, stands.stamps_until_reward) == (7, 10, 3)
    assert (stands.rewards_available, stands.remaining_stamps_today, stands.next_stamp_at) == (0, 5, MONDAY)


def test_a_point_card_says_nothing_about_stamps() -> None:
    till = Till(point_program(rewards=(CAKE, Reward(UUID(int=1), "A bag of beans", 500))))
    till.earn(MONDAY, 1000)
    stands = till.standing(MONDAY)
    assert (stands.points_balance, stands.rewards_available) == (100, 1)
    assert (stands.stamps_target, stands.stamps_until_reward, stands.next_stamp_at) == (None, None, None)


def test_after_the_old_target_the_next_reward_costs_the_new_one() -> None:
    till = Till(stamp_program())
    till.stamp(MONDAY)
    till.adjust(MONDAY, stamps=21)
    till.change_program(rules_changed(till.program, MONDAY + HOUR, stamps_target=12))
    assert till.standing(MONDAY + HOUR).rewards_available == 2
    assert [till.redeem(MONDAY + HOUR).stamps_spent, till.redeem(MONDAY + HOUR).stamps_spent] == [10, 12]


@pytest.mark.parametrize(
    ("stamps", "points", "spent"), [(10, 0, (10, 0)), (9, 50, (0, 50)), (10, 50, (10, 0))], ids=str
)
def test_whatever_the_card_can_pay_for_can_be_tried(stamps: int, points: int, spent: tuple[int, int]) -> None:
    till = card_with(stamps, points)
    (event,) = redeem_any(till.card, till.program, now=MONDAY)
    assert isinstance(event, RewardRedeemed)
    assert (event.stamps_spent, event.points_spent) == spent


def test_a_card_that_can_pay_for_nothing_is_told_so() -> None:
    poor, none_offered = card_with(9, 49), Till(stamp_program())
    with refused(NotEnoughPoints, held=49, needed=50):
        redeem_any(poor.card, poor.program, now=MONDAY)
    with refused(NotEnoughStamps, held=0, needed=10):
        redeem_any(none_offered.card, none_offered.program, now=MONDAY)


@hypothesis_given(stamps=st.integers(1, 60), targets=st.lists(st.integers(1, 15), max_size=4), immediate=st.booleans())
def test_a_card_can_redeem_exactly_as_many_rewards_as_it_says(stamps: int, targets: list[int], immediate: bool) -> None:
    till = Till(stamp_program(raised_target="immediate" if immediate else "grandfather"))
    till.stamp(MONDAY)
    if stamps > 1:
        till.adjust(MONDAY, stamps=stamps - 1)
    now = MONDAY
    for target in targets:
        now += HOUR
        if target != till.program.rules_at(now).stamps_target:
            till.change_program(rules_changed(till.program, now, stamps_target=target))
    for left in range(till.standing(now).rewards_available, 0, -1):
        assert till.standing(now).rewards_available == left
        till.redeem(now)
    with refused(NotEnoughStamps):
        till.redeem(now)
