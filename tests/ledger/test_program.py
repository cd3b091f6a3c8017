"""A program: what it is made of, and how its rules change without touching the past."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger import program as programs
from ledger.errors import InvalidValue, ProgramTypeMismatch, RewardNotFound
from ledger.program import PENDING_RULES_MAX, REWARDS_MAX, Program, ProgramActivated, ProgramDeactivated, Reward, Rules
from ledger.translations import Translations
from tests.examples import (
    BRANDING,
    BRANDING_CHANGED,
    CAKE,
    DAY,
    HOUR,
    HYBRID_RULES,
    MONDAY,
    POINT_RULES,
    PROGRAM_ACTIVATED,
    PROGRAM_CREATED,
    PROGRAM_DEACTIVATED,
    REWARD_CHANGED,
    REWARD_DEFINED,
    REWARD_RETIRED,
    RULES_CHANGED,
    STAMP_RULES,
    hybrid_program,
    point_program,
    rules_changed,
    stamp_program,
)
from tests.given import fold, given, refused

MICROSECOND = timedelta(microseconds=1)
NEW: dict[str, Any] = {
    "loyalty_type": "hybrid",
    "currency": "EUR",
    "rules": HYBRID_RULES,
    "branding": BRANDING,
    "rewards": [CAKE],
    "is_active": True,
    "now": MONDAY,
}
NOTHING: dict[str, Any] = {"rules": None, "branding": None, "rewards": None, "now": MONDAY}


FRENCH = Translations(fr="En français")


# ------------------------------------------------------------------ created


def test_a_program_is_created_with_its_rewards_and_opened() -> None:
    program = given().when(programs.create, **NEW).then(PROGRAM_CREATED, REWARD_DEFINED, PROGRAM_ACTIVATED)
    assert program.is_active and program.rewards == (CAKE,)


def test_a_program_can_wait_before_it_opens() -> None:
    program = given().when(programs.create, **NEW | {"is_active": False}).then(PROGRAM_CREATED, REWARD_DEFINED)
    assert not program.is_active and program.activated_at is None


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"loyalty_type": "stamps", "rules": POINT_RULES, "rewards": []}, InvalidValue),
        ({"loyalty_type": "stamps", "rules": HYBRID_RULES, "rewards": []}, ProgramTypeMismatch),
        ({"loyalty_type": "stamps", "rules": STAMP_RULES, "rewards": [CAKE]}, ProgramTypeMismatch),
        ({"loyalty_type": "points", "rules": STAMP_RULES}, InvalidValue),
        ({"loyalty_type": "points", "rules": HYBRID_RULES}, ProgramTypeMismatch),
        ({"loyalty_type": "hybrid", "rules": STAMP_RULES}, InvalidValue),
        ({"loyalty_type": "hybrid", "rules": POINT_RULES}, InvalidValue),
        ({"rewards": [replace(CAKE, reward_id=UUID(int=n)) for n in range(REWARDS_MAX + 1)]}, InvalidValue),
    ],
    ids=[
        "stamps without a target",
        "stamps with a rate",
        "stamps with point rewards",
        "points without a rate",
        "points with a target",
        "hybrid without a rate",
        "hybrid without a target",
        "too many rewards",
    ],
)
def test_rules_that_do_not_fit_the_type_are_refused(changes: dict[str, Any], error: type[InvalidValue]) -> None:
    given().when(programs.create, **NEW | changes).refused(error)


def test_no_more_stamps_at_once_than_in_a_whole_day() -> None:
    given().when(
        programs.create, **NEW | {"rules": replace(HYBRID_RULES, max_stamps_per_scan=6, max_daily_stamps=5)}
    ).refused(InvalidValue, field="max_stamps_per_scan", why="at most 5, the stamps of a whole day")
    stamp_program(max_stamps_per_scan=5, max_daily_stamps=5)
    with refused(InvalidValue, field="max_stamps_per_scan"):
        rules_changed(stamp_program(max_stamps_per_scan=3), MONDAY, max_daily_stamps=2)


def test_a_program_from_before_that_rule_can_still_change_its_looks() -> None:
    odd = replace(HYBRID_RULES, max_stamps_per_scan=6, max_daily_stamps=5)
    given(replace(PROGRAM_CREATED, rules=odd)).when(
        programs.change, **NOTHING | {"rules": odd, "branding": BRANDING_CHANGED.branding}
    ).then(BRANDING_CHANGED)


def test_an_earn_rate_needs_both_its_numbers() -> None:
    given().when(programs.create, **NEW | {"rules": replace(HYBRID_RULES, rate_minor=None)}).refused(
        InvalidValue, field="earn_rate"
    )


# ------------------------------------------------------------------ rules through time


def test_a_change_for_next_month_is_announced_and_changes_nothing_yet() -> None:
    next_month = MONDAY + 30 * DAY
    program = (
        given(PROGRAM_CREATED)
        .when(
            programs.change,
            **NOTHING | {"rules": replace(HYBRID_RULES, effective_from=next_month, stamps_target=12)},
        )
        .then(RULES_CHANGED)
    )
    assert program.rules_at(next_month - MICROSECOND).stamps_target == 10
    assert program.rules_at(next_month).stamps_target == 12
    assert program.rules_at(next_month).version == 2


def test_what_stays_the_same_leaves_no_event() -> None:
    given(PROGRAM_CREATED, REWARD_DEFINED).when(
        programs.change, rules=HYBRID_RULES, branding=BRANDING, rewards=[CAKE], now=MONDAY + HOUR
    ).then()


def test_changes_of_everything_are_one_decision() -> None:
    given(PROGRAM_CREATED, REWARD_DEFINED).when(
        programs.change,
        rules=replace(HYBRID_RULES, effective_from=MONDAY + 30 * DAY, stamps_target=12),
        branding=BRANDING_CHANGED.branding,
        rewards=[REWARD_CHANGED.reward],
        now=MONDAY,
    ).then(RULES_CHANGED, BRANDING_CHANGED, REWARD_CHANGED)


def test_a_change_that_does_not_fit_the_type_is_refused() -> None:
    with refused(ProgramTypeMismatch, loyalty_type="stamps"):
        rules_changed(stamp_program(), MONDAY, rate_points=1, rate_minor=10)


def test_of_two_changes_for_the_same_day_the_later_counts() -> None:
    program, day = stamp_program(), MONDAY + DAY
    program = fold([rules_changed(program, MONDAY, effective_from=day, cooldown_minutes=30)], program)
    program = fold([rules_changed(program, MONDAY, effective_from=day, cooldown_minutes=45)], program)
    assert program.rules_at(day).cooldown_minutes == 45


def test_a_change_in_between_does_not_end_the_one_announced_for_later() -> None:
    program, later = stamp_program(), MONDAY + 30 * DAY
    program = fold([rules_changed(program, MONDAY, effective_from=later, cooldown_minutes=30)], program)
    program = fold([rules_changed(program, MONDAY + DAY, cooldown_minutes=45)], program)
    assert program.rules_at(later - MICROSECOND).cooldown_minutes == 45
    assert program.rules_at(later).cooldown_minutes == 30


def test_an_announced_change_can_be_taken_back() -> None:
    program, day = stamp_program(), MONDAY + 30 * DAY
    program = fold([rules_changed(program, MONDAY, effective_from=day, cooldown_minutes=30)], program)
    as_now = replace(program.rules_at(MONDAY), effective_from=day)
    events = programs.change(program, rules=as_now, branding=None, rewards=None, now=MONDAY + HOUR)
    assert fold(events, program).rules_at(day).cooldown_minutes == 15


def test_only_so_many_changes_can_wait() -> None:
    program = announced(stamp_program(), PENDING_RULES_MAX)
    with refused(InvalidValue, field="effective_from"):
        rules_changed(program, MONDAY, effective_from=MONDAY + 99 * DAY, cooldown_minutes=99)


def test_changes_that_came_into_force_wait_no_longer() -> None:
    program = announced(stamp_program(), PENDING_RULES_MAX)
    rules_changed(program, MONDAY + 365 * DAY, cooldown_minutes=99)


def announced(program: Program, changes: int) -> Program:
    """A program with a change for each of the next days."""
    for n in range(1, changes + 1):
        change = rules_changed(program, MONDAY, effective_from=MONDAY + n * DAY, cooldown_minutes=20 + n)
        program = fold([change], program)
    return program


def test_rules_cannot_be_changed_for_the_past() -> None:
    with refused(InvalidValue, field="effective_from"):
        rules_changed(stamp_program(), MONDAY + DAY, effective_from=MONDAY + HOUR, cooldown_minutes=30)


def test_old_rules_are_forgotten_once_they_can_never_count_again() -> None:
    program = stamp_program()
    for n in range(1, 100):
        program = fold([rules_changed(program, MONDAY + n * HOUR, cooldown_minutes=n % 2)], program)
    assert len(program.rules) == 2


@hypothesis_given(
    changes=st.lists(st.tuples(st.integers(0, 10), st.integers(0, 20), st.integers(1, 99)), max_size=10),
    ask_after=st.integers(0, 50),
)
def test_the_rules_in_force_are_those_announced_last_of_the_newest_date(
    changes: list[tuple[int, int, int]], ask_after: int
) -> None:
    """Compared with the whole history, of which the program keeps only what can still count."""
    program, now = stamp_program(), MONDAY
    known: list[tuple[datetime, int, Rules]] = [(r.effective_from, r.version, r) for r in program.rules]
    for wait, ahead, cooldown in changes:
        now += wait * DAY
        rules = replace(program.rules_at(now), effective_from=now + ahead * DAY, cooldown_minutes=cooldown)
        for event in programs.change(program, rules=rules, branding=None, rewards=None, now=now):
            assert isinstance(event, programs.ProgramRulesChanged)
            known.append((event.rules.effective_from, event.rules.version, event.rules))
            program = fold([event], program)
    asked_at = now + ask_after * DAY
    assert program.rules_at(asked_at) == max((k for k in known if k[0] <= asked_at), key=lambda k: k[:2])[2]


# ------------------------------------------------------------------ rewards and looks


def test_rewards_are_added_changed_and_retired_by_listing_them() -> None:
    beans = Reward(UUID(int=1), "A bag of beans", 500)
    before = point_program(rewards=(CAKE, beans))
    cheaper, tea = replace(beans, points_cost=400), Reward(UUID(int=2), "A pot of tea", 40)
    events = programs.change(before, rules=None, branding=None, rewards=[cheaper, tea], now=MONDAY)
    assert events == [
        REWARD_RETIRED,
        programs.RewardChanged(MONDAY, cheaper),
        programs.RewardDefined(MONDAY, tea),
    ]
    assert fold(events, before).rewards == (cheaper, tea)


def test_a_retired_reward_is_not_found() -> None:
    with pytest.raises(RewardNotFound):
        fold([PROGRAM_CREATED, REWARD_DEFINED, REWARD_RETIRED]).reward(CAKE.reward_id)


# ------------------------------------------------------------------ open and ended


def test_opening_an_open_program_or_ending_an_ended_one_leaves_no_event() -> None:
    given(PROGRAM_CREATED, PROGRAM_ACTIVATED).when(programs.activate, now=MONDAY).then()
    given(PROGRAM_CREATED).when(programs.deactivate, now=MONDAY).then()


def test_a_program_knows_since_when_it_is_open_or_ended() -> None:
    program = given(PROGRAM_CREATED).when(programs.activate, now=MONDAY).then(PROGRAM_ACTIVATED)
    assert (program.activated_at, program.deactivated_at) == (MONDAY, None)
    program = given(PROGRAM_CREATED, PROGRAM_ACTIVATED).when(programs.deactivate, now=MONDAY).then(PROGRAM_DEACTIVATED)
    assert (program.is_active, program.deactivated_at) == (False, MONDAY)
    program = fold([ProgramDeactivated(MONDAY), ProgramActivated(MONDAY + DAY)], hybrid_program())
    assert (program.is_active, program.activated_at, program.deactivated_at) == (True, MONDAY + DAY, None)


# ------------------------------------------------------------------ in other languages


@pytest.mark.parametrize(
    ("field", "given"),
    [
        (
            "translations.fr.stamps_reward_description",
            {"rules": replace(HYBRID_RULES, stamps_reward_description=None, stamps_reward_description_in=FRENCH)},
        ),
        ("translations.fr.terms_text", {"branding": replace(BRANDING, terms_text=None, terms_text_in=FRENCH)}),
    ],
    ids=["reward", "terms"],
)
def test_words_that_only_some_readers_would_have_are_refused_when_created_and_when_changed(
    field: str, given: dict[str, Any]
) -> None:
    with refused(InvalidValue, field=field):
        programs.create(**NEW | given)
    with refused(InvalidValue, field=field):
        programs.change(hybrid_program(), **NOTHING | given)


def test_a_cards_name_may_be_in_some_languages_only_as_the_programs_stands_for_it() -> None:
    branding = replace(BRANDING, card_name=None, card_name_in=FRENCH)
    (created, *_) = programs.create(**NEW | {"branding": branding})
    assert isinstance(created, programs.ProgramCreated) and created.branding.card_name_in == FRENCH


def test_a_reward_in_another_language_holds_from_the_day_of_its_rules() -> None:
    rules = replace(HYBRID_RULES, effective_from=MONDAY + DAY, stamps_reward_description_in=FRENCH)
    (changed,) = programs.change(hybrid_program(), **NOTHING | {"rules": rules})
    program = programs.evolve(hybrid_program(), changed)
    assert program.rules_at(MONDAY).stamps_reward_description_in is None
    assert program.rules_at(MONDAY + DAY).stamps_reward_description_in == FRENCH
