"""How many stamps a reward costs a card, while the program's target changes under it."""

from datetime import timedelta

from tests.examples import DAY, HOUR, MONDAY, rules_changed, stamp_program
from tests.given import Till

MICROSECOND = timedelta(microseconds=1)


def collect(till: Till, stamps: int) -> None:
    """Many stamps, without waiting for days."""
    till.adjust(MONDAY, stamps=stamps)


def started(stamps: int = 7, **rules: object) -> Till:
    """A card on its way to ten, its first stamp under the first rules."""
    till = Till(stamp_program(**rules))
    till.stamp(MONDAY)
    collect(till, stamps - 1)
    return till


def test_a_lowered_target_makes_the_reward_available_at_once() -> None:
    till = started(8)
    assert till.standing(MONDAY).rewards_available == 0
    till.change_program(rules_changed(till.program, MONDAY + HOUR, stamps_target=8))
    assert till.standing(MONDAY + HOUR).rewards_available == 1
    assert till.redeem(MONDAY + HOUR).stamps_spent == 8


def test_a_raised_target_waits_until_the_running_card_is_full() -> None:
    till = started(10)
    till.change_program(rules_changed(till.program, MONDAY + HOUR, stamps_target=12))
    assert till.standing(MONDAY + HOUR).stamps_target == 10
    assert till.redeem(MONDAY + HOUR).stamps_spent == 10
    assert till.standing(MONDAY + HOUR).stamps_target == 12


def test_a_raised_target_counts_at_once_where_the_program_says_immediate() -> None:
    till = started(10)
    till.change_program(rules_changed(till.program, MONDAY + HOUR, stamps_target=12, raised_target="immediate"))
    assert till.standing(MONDAY + HOUR).stamps_target == 12
    assert till.standing(MONDAY + HOUR).stamps_until_reward == 2


def test_ten_lowered_to_eight_and_raised_to_twelve_stays_eight_until_redeemed() -> None:
    till = started(9)
    till.change_program(rules_changed(till.program, MONDAY + HOUR, stamps_target=8))
    till.change_program(rules_changed(till.program, MONDAY + 2 * HOUR, stamps_target=12))
    assert till.redeem(MONDAY + 3 * HOUR).stamps_spent == 8
    assert till.standing(MONDAY + 3 * HOUR).stamps_target == 12


def test_a_card_without_a_stamp_begins_under_the_newest_target() -> None:
    till = Till(stamp_program())
    till.change_program(rules_changed(till.program, MONDAY + HOUR, stamps_target=12))
    stamped = till.stamp(MONDAY + HOUR)
    assert (stamped.target, stamped.cycle_version) == (12, 2)


def test_an_announced_target_changes_nothing_before_its_day() -> None:
    till = started(8)
    till.change_program(rules_changed(till.program, MONDAY + HOUR, effective_from=MONDAY + 7 * DAY, stamps_target=8))
    assert till.standing(MONDAY + 7 * DAY - MICROSECOND).stamps_target == 10
    assert till.standing(MONDAY + 7 * DAY).stamps_target == 8


def test_an_empty_card_is_told_the_target_its_first_stamp_will_count_toward() -> None:
    till = Till(stamp_program())
    till.change_program(rules_changed(till.program, MONDAY + HOUR, stamps_target=12))
    told = till.standing(MONDAY + HOUR).stamps_target
    assert told == till.stamp(MONDAY + HOUR).target


def test_units_put_on_an_empty_card_by_hand_begin_a_cycle_like_a_stamp() -> None:
    till = Till(stamp_program())
    till.change_program(rules_changed(till.program, MONDAY + HOUR, stamps_target=12))
    till.adjust(MONDAY + 2 * HOUR, stamps=1)
    assert till.standing(MONDAY + 2 * HOUR).stamps_target == 12


def test_a_card_in_debt_begins_its_next_cycle_under_the_newest_target() -> None:
    till = Till(stamp_program(stamps_target=1))
    first = till.stamp(MONDAY)
    till.redeem(MONDAY)
    till.take_back(MONDAY, first)
    assert till.card.stamps == -1
    till.change_program(rules_changed(till.program, MONDAY + HOUR, stamps_target=12))
    assert till.stamp(MONDAY + HOUR).target == 12


def test_a_target_corrected_before_its_day_never_counts() -> None:
    """The owner announces 8 for next week by mistake and corrects it to 12 for the same day."""
    till = started(8)
    next_week = MONDAY + 7 * DAY
    till.change_program(rules_changed(till.program, MONDAY + HOUR, effective_from=next_week, stamps_target=8))
    till.change_program(rules_changed(till.program, MONDAY + 2 * HOUR, effective_from=next_week, stamps_target=12))
    assert till.standing(next_week).stamps_target == 10


def test_a_target_of_the_time_before_a_cycle_began_does_not_count_for_it() -> None:
    """12 is announced for next month, then 8 for the weeks until then. A card begun next month is a card of 12."""
    till = Till(stamp_program())
    next_month = MONDAY + 30 * DAY
    till.change_program(rules_changed(till.program, MONDAY, effective_from=next_month, stamps_target=12))
    till.change_program(rules_changed(till.program, MONDAY, effective_from=MONDAY + DAY, stamps_target=8))
    assert till.stamp(next_month).target == 12


def test_a_target_raised_at_once_is_not_undone_by_a_later_change_of_something_else() -> None:
    till = started(10)
    till.change_program(rules_changed(till.program, MONDAY + HOUR, stamps_target=12, raised_target="immediate"))
    till.change_program(rules_changed(till.program, MONDAY + 2 * HOUR, raised_target="grandfather"))
    assert till.standing(MONDAY + 2 * HOUR).stamps_target == 12
