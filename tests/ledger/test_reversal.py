"""Undoing an entry: who may, for how long, and that nobody ever gets back more than there was."""

from uuid import UUID

import pytest
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.card import PointsEarned
from ledger.errors import (
    AlreadyReversed,
    CardIsClosed,
    CardIsReplaced,
    InvalidValue,
    NotEnoughStamps,
    NotReversible,
    ReversalExceedsBalance,
    ReversalExceedsEntry,
    StaffNotAllowed,
)
from ledger.program import ReversalPolicy
from ledger.reversal import Asker, reverse
from tests.examples import (
    ADJUSTED,
    CARD_CLOSED,
    CARD_REPLACED,
    CARD_SUSPENDED,
    COLLEAGUE_ID,
    EARN_REVERSED,
    EARNED,
    ENROLLED,
    FORFEITED,
    HOUR,
    MINUTE,
    MONDAY,
    PROGRAM_DEACTIVATED,
    REDEEMED,
    REDEMPTION_REVERSED,
    REVERSAL_ID,
    REWARD_ID,
    STAFF_ID,
    STAMPED,
    hybrid_program,
    point_program,
    rules_changed,
    stamp_program,
)
from tests.given import ANYBODYS, Till, given, refused

LENA = Asker(STAFF_ID, may_reverse_any=False)
MANAGER = Asker(COLLEAGUE_ID, may_reverse_any=True)
ASKED = {"entry_id": REVERSAL_ID, "amount_minor": None, "reason": "wrong customer", "now": MONDAY}


# ------------------------------------------------------------------ whole entries


def test_a_stamp_taken_back_is_as_if_it_had_not_been() -> None:
    till = Till(stamp_program())
    before = till.card
    taken = till.take_back(MONDAY, till.stamp(MONDAY))
    assert (taken.stamps_taken, taken.is_stamps, taken.last_stamp_at) == (1, True, None)
    assert (till.card.stamps, till.card.total_stamps_earned, till.card.recent_stamps) == (0, 0, before.recent_stamps)


def test_three_stamps_at_once_are_taken_back_at_once() -> None:
    till = Till(stamp_program(max_stamps_per_scan=3))
    taken = till.take_back(MONDAY, till.stamp(MONDAY, 3))
    assert (taken.stamps_taken, taken.total_units_reversed) == (3, 3)


def test_a_cake_that_was_gone_gives_its_points_back() -> None:
    card = (
        given(ENROLLED, EARNED, REDEEMED, under=hybrid_program())
        .when(
            reverse,
            original=REDEEMED,
            asker=Asker(STAFF_ID, may_reverse_any=True),
            **ASKED | {"reason": "the cake was gone"},
        )
        .then(REDEMPTION_REVERSED)
    )
    assert (card.points, card.points_redeemed) == (120, 0)


def test_a_stamp_reward_given_back_returns_all_its_stamps() -> None:
    till = Till(stamp_program())
    till.adjust(MONDAY, stamps=12)
    returned = till.give_back(MONDAY, till.redeem(MONDAY))
    assert (returned.stamps_returned, till.card.stamps, till.card.rewards_redeemed) == (10, 12, 0)


def test_a_reward_given_back_can_be_had_again_for_the_target_it_cost() -> None:
    """The target was raised while the card was running: the customer keeps the old one until it is redeemed."""
    till = Till(stamp_program())
    till.stamp(MONDAY)
    till.adjust(MONDAY, stamps=9)
    till.change_program(rules_changed(till.program, MONDAY + HOUR, stamps_target=12))
    till.give_back(MONDAY + HOUR, till.redeem(MONDAY + HOUR))
    assert till.standing(MONDAY + HOUR).rewards_available == 1
    assert till.redeem(MONDAY + HOUR).stamps_spent == 10


def test_cake_given_back_leaves_the_stamps_their_target() -> None:
    till = Till(hybrid_program())
    till.adjust(MONDAY, points=50)
    cake = till.redeem(MONDAY, REWARD_ID)
    till.change_program(rules_changed(till.program, MONDAY + HOUR, stamps_target=12))
    till.stamp(MONDAY + HOUR)
    till.give_back(MONDAY + HOUR, cake)
    assert till.standing(MONDAY + HOUR).stamps_target == 12


def test_nothing_is_taken_back_twice() -> None:
    till = Till(hybrid_program())
    till.adjust(MONDAY, points=50)
    stamped, earned, redeemed = till.stamp(MONDAY), till.earn(MONDAY, 1000), till.redeem(MONDAY, REWARD_ID)
    till.take_back(MONDAY, stamped)
    till.take_back(MONDAY, earned)
    till.give_back(MONDAY, redeemed)
    for again in (stamped, earned):
        with refused(AlreadyReversed, entry_id=again.entry_id):
            till.take_back(MONDAY, again)
    with refused(AlreadyReversed, entry_id=redeemed.entry_id):
        till.give_back(MONDAY, redeemed)


def test_a_purchase_that_earned_nothing_is_taken_back_once_too() -> None:
    till = Till(point_program(minimum_purchase_minor=500))
    earned = till.earn(MONDAY, 400)
    assert till.take_back(MONDAY, earned).points_taken == 0
    with refused(AlreadyReversed):
        till.take_back(MONDAY, earned)


@pytest.mark.parametrize(
    ("entry", "type_"),
    [
        (ADJUSTED, "stamp_adjusted"),
        (replace(ADJUSTED, stamps=0, points=3), "points_adjusted"),
        (EARN_REVERSED, "points_reversed"),
        (replace(EARN_REVERSED, is_stamps=True), "stamp_reversed"),
        (REDEMPTION_REVERSED, "redemption_reversed"),
        (FORFEITED, "units_forfeited"),
    ],
)
def test_an_adjustment_or_a_reversal_cannot_be_reversed_and_is_named_as_tills_know_it(
    entry: object, type_: str
) -> None:
    (
        given(ENROLLED, under=hybrid_program())
        .when(reverse, original=entry, asker=MANAGER, **ASKED)
        .refused(NotReversible, entry_type=type_)
    )


def test_only_a_purchase_can_be_refunded_in_part() -> None:
    for entry in (STAMPED, REDEEMED):
        (
            given(ENROLLED, entry, under=hybrid_program())
            .when(reverse, original=entry, asker=MANAGER, **ASKED | {"amount_minor": 100})
            .refused(InvalidValue, field="amount_minor")
        )


def test_a_suspended_card_can_be_put_right() -> None:
    till = Till(stamp_program())
    stamped = till.stamp(MONDAY)
    till.record([CARD_SUSPENDED])
    till.take_back(MONDAY, stamped)
    assert till.card.stamps == 0


@pytest.mark.parametrize(("end", "error"), [(CARD_CLOSED, CardIsClosed), (CARD_REPLACED, CardIsReplaced)])
def test_a_card_that_has_ended_stays_as_it_ended(end: object, error: type[CardIsClosed]) -> None:
    given(ENROLLED, STAMPED, end, under=stamp_program()).when(
        reverse, original=STAMPED, asker=MANAGER, **ASKED
    ).refused(error)


def test_mistakes_can_be_undone_after_the_program_has_ended() -> None:
    till = Till(hybrid_program())
    earned = till.earn(MONDAY, 1000)
    till.change_program(PROGRAM_DEACTIVATED)
    till.take_back(MONDAY, earned)
    assert till.card.points == 0


def test_an_entry_of_a_lost_card_is_taken_back_from_its_replacement() -> None:
    till = Till(hybrid_program())
    earned, stamped = till.earn(MONDAY, 1000), till.stamp(MONDAY)
    till.take_back(MONDAY, earned, 300)
    till.lose(MONDAY + HOUR)
    assert till.take_back(MONDAY + HOUR, earned).points_taken == 70
    till.take_back(MONDAY + HOUR, stamped)
    assert (till.card.points, till.card.stamps) == (0, 0)
    with refused(AlreadyReversed):
        till.take_back(MONDAY + HOUR, earned)


# ------------------------------------------------------------------ in part


def test_a_refund_in_part_takes_back_the_points_of_that_part() -> None:
    till = Till(point_program())
    earned = till.earn(MONDAY, 1000)
    refund = till.take_back(MONDAY, earned, 400)
    assert (refund.points_taken, refund.amount_minor) == (40, 400)
    assert (refund.total_units_reversed, refund.total_amount_reversed) == (40, 400)


def test_the_last_refund_takes_what_rounding_had_left_over() -> None:
    till = Till(point_program(rate_points=1, rate_minor=3))
    earned = till.earn(MONDAY, 10)
    assert earned.points == 3
    assert [till.take_back(MONDAY, earned, 5).points_taken, till.take_back(MONDAY, earned, 5).points_taken] == [2, 1]


def test_without_an_amount_all_that_is_left_is_refunded() -> None:
    till = Till(point_program())
    earned = till.earn(MONDAY, 1000)
    till.take_back(MONDAY, earned, 999)
    assert till.take_back(MONDAY, earned).amount_minor == 1
    assert till.card.points == 0


def test_more_than_is_left_of_a_purchase_cannot_be_refunded() -> None:
    till = Till(point_program())
    earned = till.earn(MONDAY, 1000)
    till.take_back(MONDAY, earned, 600)
    with refused(ReversalExceedsEntry, left_minor=400, asked_minor=401):
        till.take_back(MONDAY, earned, 401)


@pytest.mark.parametrize("amount_minor", [0, -100])
def test_a_refund_of_nothing_or_less_never_reaches_the_rules(amount_minor: int) -> None:
    till = Till(point_program())
    earned = till.earn(MONDAY, 1000)
    till.take_back(MONDAY, earned, 500)
    with pytest.raises(AssertionError):
        till.take_back(MONDAY, earned, amount_minor)


def test_a_new_rate_does_not_change_what_an_old_purchase_gives_back() -> None:
    till = Till(point_program())
    earned = till.earn(MONDAY, 1000)
    till.change_program(rules_changed(till.program, MONDAY + HOUR, rate_points=7, rate_minor=1))
    assert till.take_back(MONDAY + HOUR, earned, 500).points_taken == 50


def test_what_a_reward_had_paid_is_refunded_last() -> None:
    till = Till(point_program())
    earned = till.earn(MONDAY, 1000, paid=600)
    assert earned.points == 40
    assert till.take_back(MONDAY, earned, 400).points_taken == 40
    assert till.take_back(MONDAY, earned).points_taken == 0


refunds = st.lists(st.integers(1, 500), max_size=8)


@hypothesis_given(
    amount=st.integers(1, 2000),
    paid=st.integers(0, 2000),
    rate_points=st.integers(1, 20),
    rate_minor=st.integers(1, 200),
    minimum=st.sampled_from([0, 700]),
    parts=refunds,
)
def test_however_a_refund_is_split_it_ends_at_what_was_earned(
    amount: int, paid: int, rate_points: int, rate_minor: int, minimum: int, parts: list[int]
) -> None:
    till = Till(point_program(rate_points=rate_points, rate_minor=rate_minor, minimum_purchase_minor=minimum))
    till.adjust(MONDAY, points=17)
    earned = till.earn(MONDAY, amount, paid=min(paid, amount))
    taken, left = 0, amount
    for part in parts:
        if part >= left:
            break
        left -= part
        refund = till.take_back(MONDAY, earned, part)
        taken += refund.points_taken
        assert refund.points_taken >= 0
        assert taken == refund.total_units_reversed <= earned.points
        assert taken == at_once(till, earned, amount - left)
    taken += till.take_back(MONDAY, earned).points_taken
    assert taken == earned.points
    assert (till.card.points, till.card.total_points_earned) == (17, 0)


def at_once(split: Till, earned: PointsEarned, amount_minor: int) -> int:
    """What one refund of that amount would have taken."""
    till = Till(split.program)
    till.record([earned])
    return till.take_back(MONDAY, earned, amount_minor).points_taken


# ------------------------------------------------------------------ when the units are spent already


def spent(policy: ReversalPolicy) -> tuple[Till, PointsEarned]:
    """A purchase of sixty points, fifty of them eaten as cake."""
    till = Till(point_program(reversal_policy=policy))
    earned = till.earn(MONDAY, 600)
    till.redeem(MONDAY, REWARD_ID)
    return till, earned


def test_a_card_may_go_into_debt_where_the_program_allows_it() -> None:
    till, earned = spent("allow_negative")
    taken = till.take_back(MONDAY, earned)
    assert (taken.points_taken, taken.shortfall, taken.policy) == (60, 0, "allow_negative")
    assert till.card.points == -50


def test_within_the_balance_only_what_is_there_is_taken_and_the_rest_is_noted() -> None:
    till, earned = spent("within_balance")
    taken = till.take_back(MONDAY, earned)
    assert (taken.points_taken, taken.shortfall, taken.total_units_reversed) == (10, 50, 60)
    assert till.card.points == 0
    with refused(AlreadyReversed):
        till.take_back(MONDAY, earned)


def test_a_shortfall_is_not_taken_later_from_what_comes_in() -> None:
    till, earned = spent("within_balance")
    assert till.take_back(MONDAY, earned, 300).shortfall == 20
    till.earn(MONDAY, 1000)
    assert till.take_back(MONDAY, earned).points_taken == 30
    assert till.card.points == 70


def test_a_strict_program_refuses_to_take_what_is_spent() -> None:
    till, earned = spent("reject")
    with refused(ReversalExceedsBalance, held=10, needed=60):
        till.take_back(MONDAY, earned)
    assert till.take_back(MONDAY, earned, 100).points_taken == 10


def test_a_strict_program_lets_a_purchase_without_points_go_even_from_a_card_in_debt() -> None:
    till, earned = spent("allow_negative")
    till.take_back(MONDAY, earned)
    nothing = till.earn(MONDAY, 9)
    till.change_program(rules_changed(till.program, MONDAY + HOUR, reversal_policy="reject"))
    assert till.take_back(MONDAY + HOUR, nothing).points_taken == 0


def test_the_policy_of_today_counts_not_the_one_of_the_purchase() -> None:
    till, earned = spent("allow_negative")
    till.change_program(rules_changed(till.program, MONDAY + HOUR, reversal_policy="within_balance"))
    assert till.take_back(MONDAY + HOUR, earned).policy == "within_balance"


def test_stamps_taken_back_after_the_reward_leave_a_debt_that_stamps_pay_first() -> None:
    till = Till(stamp_program(stamps_target=2, cooldown_minutes=0))
    first = till.stamp(MONDAY)
    till.stamp(MONDAY)
    till.redeem(MONDAY)
    till.take_back(MONDAY, first)
    assert till.card.stamps == -1
    till.stamp(MONDAY)
    with refused(NotEnoughStamps, held=0, needed=2):
        till.redeem(MONDAY)


# ------------------------------------------------------------------ who may


def test_staff_undo_their_own_last_entry_within_ten_minutes() -> None:
    till = Till(stamp_program())
    stamped = till.stamp(MONDAY, by=STAFF_ID)
    taken = till.take_back(MONDAY + 10 * MINUTE, stamped, asker=LENA)
    assert taken.staff_pin_id == STAFF_ID


def test_after_ten_minutes_a_manager_has_to_do_it() -> None:
    till = Till(stamp_program())
    stamped = till.stamp(MONDAY, by=STAFF_ID)
    with refused(StaffNotAllowed):
        till.take_back(MONDAY + 10 * MINUTE + MINUTE / 60, stamped, asker=LENA)
    till.take_back(MONDAY + 24 * HOUR, stamped, asker=MANAGER)


def test_staff_do_not_undo_what_a_colleague_did() -> None:
    till = Till(stamp_program())
    stamped = till.stamp(MONDAY, by=COLLEAGUE_ID)
    with refused(StaffNotAllowed):
        till.take_back(MONDAY, stamped, asker=LENA)


def test_staff_do_not_undo_what_was_not_the_last_entry() -> None:
    till = Till(hybrid_program())
    stamped = till.stamp(MONDAY, by=STAFF_ID)
    till.earn(MONDAY, 1000, by=STAFF_ID)
    with refused(StaffNotAllowed):
        till.take_back(MONDAY, stamped, asker=LENA)


def test_staff_do_not_undo_what_nobody_signed() -> None:
    till = Till(stamp_program())
    stamped = till.stamp(MONDAY)
    with refused(StaffNotAllowed):
        till.take_back(MONDAY, stamped, asker=Asker(None, may_reverse_any=False))


def test_staff_undo_a_reward_they_just_gave() -> None:
    till = Till(stamp_program())
    till.adjust(MONDAY, stamps=10)
    till.give_back(MONDAY + MINUTE, till.redeem(MONDAY, by=STAFF_ID), asker=LENA)
    assert till.card.stamps == 10


def test_a_key_with_the_scope_undoes_anything() -> None:
    till = Till(stamp_program())
    till.take_back(MONDAY + 24 * HOUR, till.stamp(MONDAY, by=STAFF_ID), asker=ANYBODYS)
    assert till.card.stamps == 0


def test_a_stamp_of_the_lost_card_is_not_staffs_own_last_entry_on_the_new_one() -> None:
    till = Till(stamp_program())
    stamped = till.stamp(MONDAY, by=STAFF_ID)
    till.lose(MONDAY)
    with refused(StaffNotAllowed):
        till.take_back(MONDAY, stamped, asker=LENA)


def test_the_entry_says_which_entry_it_undoes_and_why() -> None:
    till = Till(point_program())
    earned = till.earn(MONDAY, 1000)
    taken = till.take_back(MONDAY, earned)
    assert (taken.reverses_id, taken.reason) == (earned.entry_id, "given in error")
    assert isinstance(taken.entry_id, UUID) and taken.entry_id != earned.entry_id
