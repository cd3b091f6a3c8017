"""Stamps: how soon after one another, and how many a day."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st

from ledger.card import RecentStamp
from ledger.card_life import reinstate, suspend
from ledger.earning import UNITS_MAX, day_begins, next_stamp, stamp, stamps_on
from ledger.errors import (
    CardIsSuspended,
    InvalidValue,
    ProgramIsInactive,
    ProgramTypeMismatch,
    StampCooldown,
    StampDailyLimit,
)
from tests.examples import (
    CARD_SUSPENDED,
    DAY,
    ENROLLED,
    ENTRY_ID,
    HOUR,
    LUXEMBOURG,
    MINUTE,
    MONDAY,
    PROGRAM_DEACTIVATED,
    STAFF_ID,
    STAMPED,
    hybrid_program,
    point_program,
    stamp_program,
)
from tests.given import Till, fold, given, refused

MICROSECOND = timedelta(microseconds=1)


def luxembourg(text: str) -> datetime:
    """A wall-clock time in Luxembourg, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(LUXEMBOURG)).astimezone(UTC)


# ------------------------------------------------------------------ one stamp


def test_a_coffee_earns_a_stamp_and_the_entry_says_under_which_rules() -> None:
    card = (
        given(ENROLLED, under=stamp_program())
        .when(
            stamp,
            entry_id=ENTRY_ID,
            count=1,
            now=MONDAY,
            staff_pin_id=STAFF_ID,
            order_reference="2026-0342",
            external_ref="pos:ticket:99311",
        )
        .then(STAMPED)
    )
    assert (card.stamps, card.total_stamps_earned) == (1, 1)


def test_a_program_of_points_gives_no_stamps() -> None:
    (
        given(ENROLLED, under=point_program())
        .when(stamp, entry_id=ENTRY_ID, count=1, now=MONDAY)
        .refused(ProgramTypeMismatch, loyalty_type="points")
    )


def test_a_suspended_card_gets_no_stamp() -> None:
    (
        given(ENROLLED, CARD_SUSPENDED, under=stamp_program())
        .when(stamp, entry_id=ENTRY_ID, count=1, now=MONDAY)
        .refused(CardIsSuspended)
    )


def test_an_ended_program_gives_no_stamps() -> None:
    (
        given(ENROLLED, under=fold([PROGRAM_DEACTIVATED], stamp_program()))
        .when(stamp, entry_id=ENTRY_ID, count=1, now=MONDAY)
        .refused(ProgramIsInactive)
    )


def test_more_stamps_at_once_than_the_program_allows_are_refused() -> None:
    (
        given(ENROLLED, under=stamp_program(max_stamps_per_scan=3))
        .when(stamp, entry_id=ENTRY_ID, count=4, now=MONDAY)
        .refused(InvalidValue, field="count")
    )


def test_a_card_cannot_hold_a_billion_stamps_and_one() -> None:
    till = Till(stamp_program())
    till.adjust(MONDAY, stamps=UNITS_MAX)
    with refused(InvalidValue, field="balance"):
        till.stamp(MONDAY)


# ------------------------------------------------------------------ cooldown


def test_a_second_stamp_exactly_fifteen_minutes_later_is_given() -> None:
    till = Till(stamp_program())
    till.stamp(MONDAY)
    till.stamp(MONDAY + 15 * MINUTE)
    assert till.card.stamps == 2


def test_a_second_stamp_a_moment_earlier_is_refused_and_says_when() -> None:
    till = Till(stamp_program())
    till.stamp(MONDAY)
    with refused(StampCooldown, retry_at=MONDAY + 15 * MINUTE, cooldown_minutes=15, remaining_today=4):
        till.stamp(MONDAY + 15 * MINUTE - MICROSECOND)


def test_the_cooldown_runs_on_over_midnight() -> None:
    till = Till(stamp_program())
    till.stamp(luxembourg("2026-03-02T23:50"))
    with refused(StampCooldown, retry_at=luxembourg("2026-03-03T00:05"), remaining_today=5):
        till.stamp(luxembourg("2026-03-03T00:04"))
    till.stamp(luxembourg("2026-03-03T00:05"))


def test_the_cooldown_is_measured_in_real_time_when_clocks_change() -> None:
    """In the night to 29 March 2026, 02:00 in Luxembourg becomes 03:00."""
    till = Till(stamp_program())
    till.stamp(luxembourg("2026-03-29T01:50"))
    with refused(StampCooldown):
        till.stamp(luxembourg("2026-03-29T03:04"))
    till.stamp(luxembourg("2026-03-29T03:05"))


def test_without_a_cooldown_stamps_may_follow_at_once() -> None:
    till = Till(stamp_program(cooldown_minutes=0))
    till.stamp(MONDAY)
    till.stamp(MONDAY)
    assert till.card.stamps == 2


def test_the_refused_till_is_told_a_time_at_which_the_stamp_is_really_given() -> None:
    till = Till(stamp_program())
    for visit in range(5):
        till.stamp(MONDAY + visit * HOUR)
    with pytest.raises((StampCooldown, StampDailyLimit)) as refusal:
        till.stamp(MONDAY + 4 * HOUR + MINUTE)
    till.stamp(refusal.value.facts["retry_at"])


# ------------------------------------------------------------------ daily limit


def test_the_sixth_stamp_of_a_day_is_refused_until_midnight_in_luxembourg() -> None:
    till = Till(stamp_program())
    for visit in range(5):
        till.stamp(MONDAY + visit * HOUR)
    with refused(
        StampDailyLimit,
        retry_at=luxembourg("2026-03-03T00:00"),
        daily_limit=5,
        stamps_today=5,
        asked=1,
        remaining_today=0,
    ):
        till.stamp(MONDAY + 5 * HOUR)


def test_a_new_day_begins_at_midnight_in_luxembourg_not_in_london() -> None:
    till = Till(stamp_program(max_daily_stamps=1))
    till.stamp(luxembourg("2026-03-02T22:00"))
    with refused(StampDailyLimit, retry_at=luxembourg("2026-03-03T00:00")):
        till.stamp(luxembourg("2026-03-02T23:59"))
    stamped = till.stamp(luxembourg("2026-03-03T00:00"))
    assert stamped.local_date == date(2026, 3, 3)
    assert stamped.at == datetime(2026, 3, 2, 23, 0, tzinfo=UTC)


def test_three_stamps_at_once_count_three() -> None:
    till = Till(stamp_program(max_stamps_per_scan=3))
    assert till.stamp(MONDAY, 3).stamps_today == 3
    with refused(StampDailyLimit, stamps_today=3, asked=3, remaining_today=2):
        till.stamp(MONDAY + HOUR, 3)
    assert till.stamp(MONDAY + HOUR, 2).stamps_today == 5


def test_yesterdays_stamps_leave_today_untouched() -> None:
    till = Till(stamp_program())
    for visit in range(5):
        till.stamp(MONDAY + visit * HOUR)
    till.stamp(MONDAY + DAY)
    assert till.standing(MONDAY + DAY).remaining_stamps_today == 4


@pytest.mark.parametrize(
    ("day", "hours"),
    [("2026-03-28", 24), ("2026-03-29", 23), ("2026-10-25", 25)],
    ids=["an ordinary day", "clocks go forward", "clocks go back"],
)
def test_a_day_is_as_long_as_the_clocks_make_it(day: str, hours: int) -> None:
    today = date.fromisoformat(day)
    till = Till(stamp_program(max_daily_stamps=1))
    till.stamp(day_begins(today, LUXEMBOURG))
    last_moment = day_begins(today, LUXEMBOURG) + hours * HOUR - MICROSECOND
    with refused(StampDailyLimit, retry_at=last_moment + MICROSECOND):
        till.stamp(last_moment)
    assert till.stamp(last_moment + MICROSECOND).local_date == today + DAY


def test_both_hours_of_a_repeated_hour_belong_to_the_same_day() -> None:
    till = Till(stamp_program(max_daily_stamps=2))
    first, second = datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert till.stamp(first).stamps_today == 1
    assert till.stamp(second).stamps_today == 2
    with refused(StampDailyLimit):
        till.stamp(luxembourg("2026-10-25T12:00"))


@pytest.mark.parametrize(
    ("timezone", "day", "begins"),
    [
        ("Africa/Cairo", date(2024, 4, 26), datetime(2024, 4, 25, 22, tzinfo=UTC)),
        ("America/Havana", date(2024, 11, 3), datetime(2024, 11, 3, 4, tzinfo=UTC)),
        ("Pacific/Apia", date(2011, 12, 31), datetime(2011, 12, 30, 10, tzinfo=UTC)),
    ],
    ids=["no midnight", "two midnights", "after a day that never was"],
)
def test_a_day_begins_at_its_first_moment_even_without_a_midnight(timezone: str, day: date, begins: datetime) -> None:
    assert day_begins(day, timezone) == begins
    assert begins.astimezone(ZoneInfo(timezone)).date() == day
    assert (begins - MICROSECOND).astimezone(ZoneInfo(timezone)).date() < day


def test_the_day_of_a_stamp_is_told_by_its_entry_not_computed_again() -> None:
    stamped = Till(stamp_program()).stamp(MONDAY)
    moved = fold([ENROLLED, STAMPED])
    assert stamped.local_date == STAMPED.local_date
    assert moved.recent_stamps == (RecentStamp(ENTRY_ID, MONDAY, date(2026, 3, 2), 1),)
    assert stamps_on(moved, date(2026, 3, 2)) == 1


# ------------------------------------------------------------------ reversed stamps


def test_a_stamp_given_in_error_blocks_nobody_once_it_is_taken_back() -> None:
    till = Till(stamp_program())
    till.take_back(MONDAY + MINUTE, till.stamp(MONDAY))
    till.stamp(MONDAY + 2 * MINUTE)
    assert till.card.stamps == 1


def test_a_stamp_taken_back_frees_its_place_in_the_day() -> None:
    till = Till(stamp_program(max_daily_stamps=2))
    first = till.stamp(MONDAY)
    till.stamp(MONDAY + HOUR)
    till.take_back(MONDAY + 2 * HOUR, first)
    assert till.standing(MONDAY + 2 * HOUR).remaining_stamps_today == 1
    till.stamp(MONDAY + 2 * HOUR)


def test_the_cooldown_falls_back_on_the_stamp_before_the_one_taken_back() -> None:
    till = Till(stamp_program())
    till.stamp(MONDAY)
    second = till.stamp(MONDAY + 15 * MINUTE)
    assert till.take_back(MONDAY + 16 * MINUTE, second).last_stamp_at == MONDAY
    till.stamp(MONDAY + 16 * MINUTE)


def test_the_cooldown_falls_back_on_yesterdays_last_stamp() -> None:
    till = Till(stamp_program())
    yesterday, today = luxembourg("2026-03-02T23:45"), luxembourg("2026-03-03T00:00")
    till.stamp(yesterday)
    reversed_ = till.take_back(today + MINUTE, till.stamp(today))
    assert reversed_.last_stamp_at == yesterday


def test_a_last_stamp_that_is_not_remembered_any_more_is_not_made_up() -> None:
    till = Till(stamp_program())
    till.stamp(MONDAY)
    tuesday, wednesday = till.stamp(MONDAY + DAY), till.stamp(MONDAY + 2 * DAY)
    assert till.take_back(MONDAY + 2 * DAY, wednesday).last_stamp_at == tuesday.at
    assert till.take_back(MONDAY + 2 * DAY, tuesday).last_stamp_at is None
    assert (till.card.stamps, till.card.recent_stamps) == (1, ())
    till.stamp(MONDAY + 2 * DAY)


def test_only_the_stamps_that_still_matter_are_remembered() -> None:
    till = Till(stamp_program())
    for day in range(30):
        for visit in range(5):
            till.stamp(MONDAY + day * DAY + visit * HOUR)
    assert len(till.card.recent_stamps) == 6


# ------------------------------------------------------------------ what the till is told


def test_the_entry_says_when_the_next_stamp_is_possible() -> None:
    till = Till(stamp_program(max_daily_stamps=2))
    assert till.stamp(MONDAY).next_stamp_at == MONDAY + 15 * MINUTE
    assert till.stamp(MONDAY + HOUR).next_stamp_at == luxembourg("2026-03-03T00:00")


def test_the_last_stamp_before_midnight_still_waits_for_its_cooldown() -> None:
    till = Till(stamp_program(max_daily_stamps=1))
    assert till.stamp(luxembourg("2026-03-02T23:55")).next_stamp_at == luxembourg("2026-03-03T00:10")


@hypothesis_given(
    gaps=st.lists(st.integers(0, 36 * 60), min_size=1, max_size=12),
    cooldown=st.sampled_from([0, 1, 15, 60, 1440, 3000]),
    limit=st.integers(1, 4),
    start=st.sampled_from([MONDAY, luxembourg("2026-03-28T12:00"), luxembourg("2026-10-24T12:00")]),
)
def test_the_promised_time_is_the_first_at_which_a_stamp_is_given(
    gaps: list[int], cooldown: int, limit: int, start: datetime
) -> None:
    till = Till(stamp_program(effective_from=start, cooldown_minutes=cooldown, max_daily_stamps=limit))
    rules = till.program.rules_at(start)
    now = start
    for gap in gaps:
        now += gap * MINUTE
        promised = next_stamp(till.card, rules, now)
        if promised > now:
            with pytest.raises((StampCooldown, StampDailyLimit)):
                till.stamp(promised - MICROSECOND)
        now = promised
        assert till.stamp(now).next_stamp_at == next_stamp(till.card, rules, now)


def test_a_card_of_a_hybrid_program_takes_stamps_too() -> None:
    till = Till(hybrid_program())
    till.stamp(MONDAY)
    till.earn(MONDAY, 1000)
    assert (till.card.stamps, till.card.points) == (1, 100)


def test_suspension_and_reinstatement_leave_the_cooldown_as_it_was() -> None:
    till = Till(stamp_program())
    till.stamp(MONDAY)
    till.record(suspend(till.card, reason="lost", now=MONDAY + MINUTE))
    till.record(reinstate(till.card, reason="found", now=MONDAY + 2 * MINUTE))
    with refused(StampCooldown):
        till.stamp(MONDAY + 3 * MINUTE)
