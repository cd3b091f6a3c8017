"""A card's past from another system: taken at its word, added up by our rules, refused where it cannot have been."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from ledger import history
from ledger.card import Card, CardEvent, PointsEarned, RewardRedeemed, StampsAdded, UnitsAdjusted, evolve
from ledger.earning import stamp
from ledger.errors import (
    CurrencyMismatch,
    InvalidValue,
    NotEnoughPoints,
    NotEnoughStamps,
    ProgramTypeMismatch,
    Refused,
    StampCooldown,
)
from ledger.history import (
    Adjustment,
    Lifetime,
    LineRefused,
    OpeningBalance,
    Past,
    PastEntry,
    PointsGiven,
    RewardTaken,
    StampsGiven,
)
from ledger.ids import derived
from ledger.program import Branding, LoyaltyType, Program, Rules, create
from ledger.reversal import Asker, reverse
from tests.given import fold

BEGINS = datetime(2025, 3, 1, 9, tzinfo=UTC)
CAKE = UUID("0195a1b0-0000-7000-8000-00000000cafe")
MANAGER = Asker(None, may_reverse_any=True)


def a_program(loyalty_type: LoyaltyType = "hybrid", **given: Any) -> Program:
    rules = Rules(1, BEGINS, "Europe/Luxembourg")
    if loyalty_type != "points":
        rules = replace(rules, stamps_target=10, stamps_reward_description="A coffee", stamps_reward_value_minor=380)
    if loyalty_type != "stamps":
        rules = replace(rules, rate_points=1, rate_minor=100)
    rules = replace(rules, **given)
    events = create(
        loyalty_type=loyalty_type,
        currency="EUR",
        rules=rules,
        branding=Branding("Coffee card"),
        rewards=[],
        is_active=True,
        now=BEGINS,
    )
    program: Program = fold(events)
    return program


def after(hours: float) -> datetime:
    return BEGINS + timedelta(hours=hours)


def tell(
    *entries: PastEntry, program: Program | None = None, lifetime: Lifetime = Lifetime()
) -> tuple[list[CardEvent], Card]:
    program = program or a_program()
    past = Past(
        line=1,
        last_line=99,
        program_id=UUID(int=1),
        customer_id=UUID(int=2),
        is_named=True,
        enrolled_at=BEGINS,
        language="lb",
        lifetime=lifetime,
        entries=entries,
    )
    rules = program.rules_at(after(9000))
    card = evolve(None, history.enrolled(past, rules, number="400000000002", qr_token="t"))
    told = list(history.told(card, past, program, rules, id_of))
    return [event for _, _, event, _ in told], told[-1][3] if told else card


def id_of(line: int, word: str) -> UUID:
    return derived("test", line, word)


def refused(*entries: PastEntry, because: type[Refused], line: int, program: Program | None = None) -> None:
    with pytest.raises(LineRefused) as caught:
        tell(*entries, program=program)
    assert (type(caught.value.refusal), caught.value.line) == (because, line)


def test_an_opening_balance_is_an_adjustment_of_each_kind_of_unit() -> None:
    events, card = tell(OpeningBalance(1, BEGINS, stamps=7, points=120), lifetime=Lifetime(57, 5, 900, 780))
    assert [type(event) for event in events] == [UnitsAdjusted, UnitsAdjusted]
    assert [getattr(event, "reason", None) for event in events] == ["opening balance"] * 2
    assert (card.stamps, card.points) == (7, 120)
    assert (card.total_stamps_earned, card.rewards_redeemed) == (57, 5)
    assert (card.total_points_earned, card.points_redeemed) == (900, 780)


def test_nothing_to_open_with_is_no_event() -> None:
    assert tell(OpeningBalance(1, BEGINS, 0, 0))[0] == []


def test_stamps_of_the_past_know_no_cooldown_and_no_daily_limit() -> None:
    events, card = tell(*(StampsGiven(line, after(line / 60), 1) for line in range(2, 12)))
    assert card.stamps == card.total_stamps_earned == 10
    last = events[-1]
    assert isinstance(last, StampsAdded)
    assert (last.local_date, last.stamps_today, last.target, last.at) == (date(2025, 3, 1), 10, 10, after(11 / 60))


def test_yet_the_newest_stamp_holds_up_the_next_one_as_any_stamp_does() -> None:
    _, card = tell(StampsGiven(2, after(1), 1))
    with pytest.raises(StampCooldown):
        stamp(card, a_program(), entry_id=UUID(int=9), count=1, now=after(1) + timedelta(minutes=14))
    assert stamp(card, a_program(), entry_id=UUID(int=9), count=1, now=after(1) + timedelta(minutes=15))


def test_a_reward_taken_costs_what_it_cost_then() -> None:
    events, card = tell(
        StampsGiven(2, after(1), 12), RewardTaken(3, after(2), 8, 0), RewardTaken(4, after(3), 4, 0, None, "Tea", 210)
    )
    first, second = events[1:]
    assert isinstance(first, RewardRedeemed) and isinstance(second, RewardRedeemed)
    assert (first.stamps_spent, first.reward_description, first.reward_value_minor) == (8, "A coffee", 380)
    assert (second.reward_description, second.reward_value_minor) == ("Tea", 210)
    assert (card.stamps, card.rewards_redeemed) == (0, 2)


def test_points_are_what_they_were_whatever_the_rate_is_today() -> None:
    events, card = tell(PointsGiven(2, after(1), 50, 1_000), RewardTaken(3, after(2), 0, 20, CAKE, "Cake"))
    assert (card.points, card.total_points_earned, card.points_redeemed) == (30, 50, 20)
    assert isinstance(events[0], PointsEarned) and (events[0].rate_points, events[0].rate_minor) == (50, 1_000)


@pytest.mark.parametrize(("points", "kept"), [(12, 6), (50, 25)])
def test_half_a_purchase_can_be_given_back(points: int, kept: int) -> None:
    (earned,), card = tell(PointsGiven(2, after(1), points, 1_250))
    (reversed_,) = reverse(
        card,
        a_program(),
        earned,
        entry_id=UUID(int=8),
        amount_minor=625,
        reason="returned",
        asker=MANAGER,
        now=after(2),
    )
    assert evolve(card, reversed_).points == kept


def test_units_can_be_put_right_both_ways() -> None:
    _, card = tell(Adjustment(2, after(1), 5, 0, "moved"), Adjustment(3, after(2), -2, 0, "mistake"))
    assert (card.stamps, card.total_stamps_earned) == (3, 0)


def test_no_balance_ever_was_below_zero() -> None:
    refused(StampsGiven(2, after(1), 3), RewardTaken(3, after(2), 4, 0), because=NotEnoughStamps, line=3)
    refused(RewardTaken(7, after(2), 0, 1, CAKE, "Cake"), because=NotEnoughPoints, line=7)
    refused(Adjustment(5, after(2), 0, -1, "no"), because=NotEnoughPoints, line=5)


def test_no_purchase_was_in_another_currency_or_paid_twice() -> None:
    refused(PointsGiven(2, after(1), 5, 500, 0, "USD"), because=CurrencyMismatch, line=2)
    refused(PointsGiven(2, after(1), 5, 500, 501), because=InvalidValue, line=2)


def test_nothing_happened_before_the_card_was_there() -> None:
    refused(StampsGiven(4, after(-1), 1), because=InvalidValue, line=4)


@pytest.mark.parametrize(
    ("loyalty_type", "entry"),
    [
        ("points", StampsGiven(2, BEGINS, 1)),
        ("points", OpeningBalance(2, BEGINS, 1, 0)),
        ("stamps", PointsGiven(2, BEGINS, 1)),
        ("stamps", Adjustment(2, BEGINS, 0, 1, "gift")),
        ("stamps", RewardTaken(2, BEGINS, 0, 1, CAKE, "Cake")),
    ],
)
def test_a_program_never_gave_what_it_does_not_give(loyalty_type: LoyaltyType, entry: PastEntry) -> None:
    refused(entry, because=ProgramTypeMismatch, line=2, program=a_program(loyalty_type))


def test_a_balance_has_an_end() -> None:
    refused(OpeningBalance(1, BEGINS, 0, 1_000_000_000), PointsGiven(2, after(1), 1), because=InvalidValue, line=2)
