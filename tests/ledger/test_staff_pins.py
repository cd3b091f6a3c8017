"""Staff PINs: which are too easy, when a guesser is locked out, and what a PIN may do."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st

from ledger import staff_pin as pins
from ledger.errors import PinLocked, PinTooWeak, StaffNotAllowed, StaffPinNotFound
from ledger.staff_pin import (
    FAILURES_MAX,
    LOCK_LONGEST,
    OPERATIONS,
    OPERATIONS_OF_ROLE,
    StaffPin,
    StaffPinLocked,
    StaffPinRejected,
    must_allow,
    must_be_strong,
    must_not_be_locked,
)
from tests.examples import (
    CARD_ID,
    HOUR,
    MINUTE,
    MONDAY,
    PIN_ACCEPTED,
    PIN_CHANGED,
    PIN_CREATED,
    PIN_LOCKED,
    PIN_REJECTED,
    PIN_REVOKED,
    PIN_UNLOCKED,
    PROGRAM_ID,
    SESSION_ID,
    SESSION_OPENED,
    pin,
    sealed,
)
from tests.given import fold, given, refused

MICROSECOND = timedelta(microseconds=1)


# ------------------------------------------------------------------ how easy


@pytest.mark.parametrize(
    "easy", ["0000", "11111111", "1234", "4321", "01234567", "7890", "0987", "8901", "1212", "123456", "69696969"]
)
def test_what_everybody_tries_first_is_refused(easy: str) -> None:
    with pytest.raises(PinTooWeak):
        must_be_strong(easy)


@pytest.mark.parametrize("easy", ["123123", "12341234", "121212", "407407", "40714071", "00000"])
def test_a_group_of_digits_said_again_and_again_is_refused(easy: str) -> None:
    with pytest.raises(PinTooWeak):
        must_be_strong(easy)


@pytest.mark.parametrize("easy", ["1122", "112233", "111222", "332211", "99001122", "11112"])
def test_a_row_that_stammers_is_a_row(easy: str) -> None:
    with pytest.raises(PinTooWeak):
        must_be_strong(easy)


@pytest.mark.parametrize("good", ["2580", "1357", "1221", "4071", "90210", "13579246", "12312", "407140", "112244"])
def test_other_pins_are_taken(good: str) -> None:
    must_be_strong(good)


def test_few_pins_of_four_digits_are_refused() -> None:
    def is_taken(text: str) -> bool:
        try:
            must_be_strong(text)
        except PinTooWeak:
            return False
        return True

    refused_ones = [text for n in range(10_000) if not is_taken(text := f"{n:04d}")]
    assert len(refused_ones) == 240  # 100 pairs repeated, 0000 to 9999 among them, and 70 rows up and 70 down.


# ------------------------------------------------------------------ made and changed


def test_a_staff_member_gets_a_pin() -> None:
    state = (
        given()
        .when(
            pins.create,
            program_id=PROGRAM_ID,
            staff_id="lena",
            name=sealed("name"),
            role="staff",
            operations=OPERATIONS,
            pin_hash=sealed("pin_hash"),
            now=MONDAY,
        )
        .then(PIN_CREATED)
    )
    assert (state.is_active, state.credential, state.failures) == (True, 1, ())


def test_what_is_not_given_stays_as_it_was() -> None:
    state = (
        given(PIN_CREATED)
        .when(pins.change, name=None, role="manager", operations=None, pin_hash=None, now=MONDAY)
        .then(pins.StaffPinChanged(MONDAY, role="manager"))
    )
    assert state.role == "manager"
    assert (state.name, state.operations, state.pin_hash) == (sealed("name"), OPERATIONS, sealed("pin_hash"))


def test_a_change_of_nothing_leaves_no_event() -> None:
    given(PIN_CREATED).when(pins.change, name=None, role=None, operations=None, pin_hash=None, now=MONDAY).then()


def test_the_right_to_everything_can_be_taken_away() -> None:
    state = fold([PIN_CREATED, pins.StaffPinChanged(MONDAY, operations=())])
    assert state.operations == ()


@pytest.mark.parametrize("event", [PIN_CHANGED, PIN_LOCKED, PIN_REVOKED], ids=["change", "lock", "removal"])
def test_sessions_end_with_a_change_a_lock_and_the_removal_of_a_pin(event: Any) -> None:
    before = fold([PIN_CREATED])
    assert fold([event], before).credential > before.credential


@pytest.mark.parametrize("event", [PIN_REJECTED, PIN_ACCEPTED, SESSION_OPENED], ids=["wrong", "right", "session"])
def test_sessions_go_on_after_a_wrong_or_right_pin(event: Any) -> None:
    before = fold([PIN_CREATED])
    assert fold([event], before).credential == before.credential


def test_nothing_happens_to_a_removed_pin() -> None:
    removed = given(PIN_CREATED, PIN_REVOKED)
    removed.when(pins.revoke, now=MONDAY).refused(StaffPinNotFound)
    removed.when(pins.unlock, now=MONDAY).refused(StaffPinNotFound)
    removed.when(pins.change, name=None, role="manager", operations=None, pin_hash=None, now=MONDAY).refused(
        StaffPinNotFound
    )
    removed.when(pins.open_session, session_id=SESSION_ID, terminal_id=None, ends_at=MONDAY + HOUR, now=MONDAY).refused(
        StaffPinNotFound
    )


# ------------------------------------------------------------------ wrong guesses


def guess(state: StaffPin, *minutes: float) -> StaffPin:
    """Wrong guesses, so many minutes after Monday morning."""
    for at in minutes:
        state = fold(pins.reject(state, now=MONDAY + at * MINUTE), state)
    return state


def test_a_wrong_guess_is_counted_and_locks_nothing() -> None:
    state = given(PIN_CREATED).when(pins.reject, now=MONDAY).then(PIN_REJECTED)
    assert (len(state.failures), state.locked_until) == (1, None)


def test_the_fifth_wrong_guess_within_a_quarter_of_an_hour_locks_for_a_quarter_of_an_hour() -> None:
    state = guess(pin(), 0, 3, 6, 9)
    fifth = MONDAY + 14 * MINUTE
    assert pins.reject(state, now=fifth) == [StaffPinRejected(fifth), StaffPinLocked(fifth, fifth + 15 * MINUTE)]


def test_guesses_older_than_a_quarter_of_an_hour_do_not_count() -> None:
    state = guess(pin(), 0, 3, 6, 9, 15)
    assert (len(state.failures), state.locked_until) == (4, None)
    assert guess(state, 15.5).locked_until is not None


def test_a_locked_pin_is_refused_until_the_very_end_of_the_lock() -> None:
    state = guess(pin(), 0, 0, 0, 0, 0)
    end = MONDAY + 15 * MINUTE
    with refused(PinLocked, retry_at=end):
        must_not_be_locked(state, end - MICROSECOND)
    must_not_be_locked(state, end)


def test_each_lock_in_a_row_lasts_twice_as_long_up_to_a_day() -> None:
    state, now, lengths = pin(), MONDAY, []
    for _ in range(10):
        for _ in range(FAILURES_MAX):
            state = fold(pins.reject(state, now=now), state)
        assert state.locked_until is not None
        lengths.append(state.locked_until - now)
        now = state.locked_until
    hours = [length / HOUR for length in lengths]
    assert hours == [0.25, 0.5, 1, 2, 4, 8, 16, 24, 24, 24]


def test_a_lock_never_outgrows_a_day_however_often_it_happens() -> None:
    locked = pins.reject(pin(failures=(MONDAY,) * 4, locks_in_a_row=10_000), now=MONDAY)[-1]
    assert locked == StaffPinLocked(MONDAY, MONDAY + LOCK_LONGEST)


def test_after_a_lock_five_guesses_are_free_again() -> None:
    state = guess(pin(), 0, 0, 0, 0, 0, 15, 15, 15, 15)
    assert state.locked_until == MONDAY + 15 * MINUTE
    assert guess(state, 15).locked_until == MONDAY + 45 * MINUTE


def test_the_right_pin_starts_the_count_again() -> None:
    state = guess(pin(), 0, 0, 0, 0)
    assert pins.accept(state, now=MONDAY) == [PIN_ACCEPTED]
    state = guess(fold([PIN_ACCEPTED], state), 1, 1, 1, 1)
    assert state.locked_until is None


def test_the_right_pin_after_a_lock_makes_the_next_lock_a_short_one_again() -> None:
    state = guess(pin(), 0, 0, 0, 0, 0)
    state = fold(pins.accept(state, now=MONDAY + 15 * MINUTE), state)
    state = guess(state, 20, 20, 20, 20, 20)
    assert state.locked_until == MONDAY + 35 * MINUTE


def test_a_right_pin_without_failures_leaves_no_event() -> None:
    given(PIN_CREATED).when(pins.accept, now=MONDAY).then()


def test_a_manager_unlocks_a_locked_pin() -> None:
    state = guess(pin(), 0, 0, 0, 0, 0)
    assert pins.unlock(state, now=MONDAY) == [PIN_UNLOCKED]
    state = fold([PIN_UNLOCKED], state)
    must_not_be_locked(state, MONDAY)
    assert (state.failures, state.locks_in_a_row) == ((), 0)


def test_unlocking_what_is_not_locked_leaves_no_event() -> None:
    given(PIN_CREATED).when(pins.unlock, now=MONDAY).then()


@hypothesis_given(gaps=st.lists(st.integers(0, 2000), max_size=60))
def test_no_guesser_ever_gets_more_than_five_tries_in_a_quarter_of_an_hour(gaps: list[int]) -> None:
    """Whatever the rhythm; a try while it is locked is not looked at."""
    state, now, tried = pin(), MONDAY, []
    for gap in gaps:
        now += gap * MINUTE / 60
        try:
            must_not_be_locked(state, now)
        except PinLocked:
            continue
        state = fold(pins.reject(state, now=now), state)
        tried.append(now)
    for first in tried:
        assert sum(first <= at < first + 15 * MINUTE for at in tried) <= FAILURES_MAX


# ------------------------------------------------------------------ sessions and scope


def test_a_session_is_opened_and_clears_old_failures() -> None:
    state = (
        given(PIN_CREATED, PIN_REJECTED)
        .when(pins.open_session, session_id=SESSION_ID, terminal_id="till-1", ends_at=MONDAY + 8 * HOUR, now=MONDAY)
        .then(SESSION_OPENED)
    )
    assert state.failures == ()


def test_no_session_is_opened_with_a_locked_pin() -> None:
    given(PIN_CREATED, PIN_LOCKED).when(
        pins.open_session, session_id=SESSION_ID, terminal_id=None, ends_at=MONDAY + HOUR, now=MONDAY
    ).refused(PinLocked, retry_at=MONDAY + 15 * MINUTE)


def test_a_pin_does_only_what_it_was_given() -> None:
    waiter = pin(operations=("stamp", "earn"))
    must_allow(waiter, "stamp", PROGRAM_ID)
    with refused(StaffNotAllowed):
        must_allow(waiter, "redeem", PROGRAM_ID)


def test_staff_adjust_nothing_unless_they_are_managers() -> None:
    assert set(OPERATIONS) - set(OPERATIONS_OF_ROLE["staff"]) == {"adjust"}
    assert OPERATIONS_OF_ROLE["manager"] == OPERATIONS


def test_a_pin_of_one_program_does_nothing_in_another() -> None:
    with refused(StaffNotAllowed):
        must_allow(pin(), "stamp", CARD_ID)
    must_allow(pin(program_id=None), "stamp", CARD_ID)
