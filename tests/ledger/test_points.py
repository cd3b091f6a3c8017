"""Points: what a purchase earns, to the last cent."""

import pytest
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st

from ledger.earning import UNITS_MAX, earn_points
from ledger.errors import (
    CardIsClosed,
    CurrencyMismatch,
    InvalidValue,
    NotEnoughPoints,
    NotEnoughStamps,
    ProgramIsInactive,
    ProgramTypeMismatch,
)
from tests.examples import (
    CARD_CLOSED,
    CARD_SUSPENDED,
    EARNED,
    ENROLLED,
    ENTRY_ID,
    MONDAY,
    PROGRAM_DEACTIVATED,
    STAFF_ID,
    hybrid_program,
    point_program,
    stamp_program,
)
from tests.given import Till, fold, given, refused

PURCHASE = {"entry_id": ENTRY_ID, "currency": "EUR", "now": MONDAY}


def test_a_purchase_earns_points_and_the_entry_says_how_they_were_counted() -> None:
    card = (
        given(ENROLLED, under=hybrid_program())
        .when(
            earn_points,
            **PURCHASE,
            purchase_amount_minor=1250,
            paid_with_reward_minor=50,
            staff_pin_id=STAFF_ID,
            order_reference="2026-0343",
            external_ref="pos:ticket:99312",
        )
        .then(EARNED)
    )
    assert (card.points, card.total_points_earned) == (120, 120)


@pytest.mark.parametrize(
    ("amount_minor", "rate_points", "rate_minor", "points"),
    [
        (0, 1, 100, 0),
        (99, 1, 100, 0),
        (100, 1, 100, 1),
        (199, 1, 100, 1),
        (1999, 10, 100, 199),
        (1000, 1, 3, 333),
        (1, 3, 2, 1),
        (10**9, 7, 10, 7 * 10**8),
    ],
)
def test_points_are_rounded_down_once_for_each_purchase(
    amount_minor: int, rate_points: int, rate_minor: int, points: int
) -> None:
    till = Till(point_program(rate_points=rate_points, rate_minor=rate_minor))
    assert till.earn(MONDAY, amount_minor).points == points


@pytest.mark.parametrize("currency", ["JPY", "EUR", "KWD"], ids=["yen", "cents", "fils"])
def test_only_minor_units_count_whatever_the_currency(currency: str) -> None:
    till = Till(point_program(currency=currency, rate_points=1, rate_minor=100))
    earned = till.earn(MONDAY, 1599)
    assert (earned.points, earned.currency) == (15, currency)


def test_a_purchase_below_the_minimum_is_recorded_and_earns_nothing() -> None:
    earned = Till(point_program(minimum_purchase_minor=500)).earn(MONDAY, 499)
    assert (earned.points, earned.minimum_minor) == (0, 500)


def test_a_purchase_of_exactly_the_minimum_earns() -> None:
    assert Till(point_program(minimum_purchase_minor=500)).earn(MONDAY, 500).points == 50


def test_nothing_is_earned_on_what_a_reward_paid_for() -> None:
    till = Till(point_program())
    assert till.earn(MONDAY, 1000, paid=400).points == 60
    assert till.earn(MONDAY, 1000, paid=1000).points == 0


def test_another_currency_than_the_programs_is_refused() -> None:
    (
        given(ENROLLED, under=point_program())
        .when(earn_points, **PURCHASE | {"currency": "USD"}, purchase_amount_minor=100, paid_with_reward_minor=0)
        .refused(CurrencyMismatch, expected="EUR", given="USD")
    )


def test_a_program_of_stamps_gives_no_points() -> None:
    (
        given(ENROLLED, under=stamp_program())
        .when(earn_points, **PURCHASE, purchase_amount_minor=100, paid_with_reward_minor=0)
        .refused(ProgramTypeMismatch, loyalty_type="stamps")
    )


def test_an_ended_program_gives_no_points() -> None:
    (
        given(ENROLLED, under=fold([PROGRAM_DEACTIVATED], point_program()))
        .when(earn_points, **PURCHASE, purchase_amount_minor=100, paid_with_reward_minor=0)
        .refused(ProgramIsInactive)
    )


def test_a_purchase_that_would_earn_more_than_a_card_can_hold_is_refused() -> None:
    till = Till(point_program(rate_points=UNITS_MAX, rate_minor=1))
    till.earn(MONDAY, 1)
    with refused(InvalidValue, field="balance"):
        till.earn(MONDAY, 1)


def test_later_points_pay_a_debt_first() -> None:
    till = Till(point_program())
    earned = till.earn(MONDAY, 500)
    till.redeem(MONDAY, till.program.rewards[0].reward_id)
    till.take_back(MONDAY, earned)
    assert till.card.points == -50
    till.earn(MONDAY, 600)
    assert till.card.points == 10


@hypothesis_given(
    amount=st.integers(0, 10**9), paid=st.integers(0, 10**9), points=st.integers(1, 1000), minor=st.integers(1, 10**6)
)
def test_no_purchase_earns_a_point_more_than_its_rate(amount: int, paid: int, points: int, minor: int) -> None:
    till = Till(point_program(rate_points=points, rate_minor=minor))
    paid = min(paid, amount)
    if (amount - paid) * points // minor > UNITS_MAX:
        with refused(InvalidValue, field="balance"):
            till.earn(MONDAY, amount, paid=paid)
        return
    earned = till.earn(MONDAY, amount, paid=paid)
    assert earned.points * minor <= (amount - paid) * points < (earned.points + 1) * minor


# ------------------------------------------------------------------ by hand


def test_points_can_be_given_and_taken_by_hand() -> None:
    till = Till(point_program())
    till.adjust(MONDAY, points=30)
    assert till.adjust(MONDAY, points=-30).points_after == 0


def test_nobody_takes_more_by_hand_than_the_card_holds() -> None:
    till = Till(hybrid_program())
    till.adjust(MONDAY, points=30)
    with refused(NotEnoughPoints, held=30, needed=31):
        till.adjust(MONDAY, points=-31)
    with refused(NotEnoughStamps, held=0, needed=1):
        till.adjust(MONDAY, stamps=-1)


def test_an_adjustment_is_no_earning() -> None:
    till = Till(hybrid_program())
    till.adjust(MONDAY, points=30)
    till.adjust(MONDAY, stamps=3)
    assert (till.card.total_points_earned, till.card.total_stamps_earned) == (0, 0)


def test_a_suspended_card_can_be_put_right_by_hand_but_a_closed_one_not() -> None:
    till = Till(point_program())
    till.record([CARD_SUSPENDED])
    till.adjust(MONDAY, points=5)
    till.record([CARD_CLOSED])
    with refused(CardIsClosed):
        till.adjust(MONDAY, points=5)


def test_points_cannot_be_put_on_a_stamp_card_nor_stamps_on_a_point_card() -> None:
    with refused(ProgramTypeMismatch, loyalty_type="stamps"):
        Till(stamp_program()).adjust(MONDAY, points=1)
    with refused(ProgramTypeMismatch, loyalty_type="points"):
        Till(point_program()).adjust(MONDAY, stamps=1)
