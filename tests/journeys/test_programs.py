"""A program is changed: what is given replaces what was, and what is taken away is gone."""

from typing import Any

import pytest

from tests.callers import Till, ok, problem
from tests.service import Service

LOOKS = {
    "card_name": "Zopf",
    "card_color": "#102030",
    "card_secondary_color": "#f2c14e",
    "logo_url": "https://example.com/logo.png",
    "hero_image_url": "https://example.com/hero.png",
    "terms_text": "One a visit.",
    "privacy_url": "https://example.com/privacy",
}
REWARD = {"stamps_reward_description": "A coffee", "stamps_reward_value_minor": 380}
ALWAYS = ("name", "stamps_target", "earn_rate", "points_rewards", "cooldown_minutes", "timezone", "wind_down_days")
OF_A_CHANGE = {"version", "updated_at", "rules_version", "rules_effective_from"}


@pytest.fixture
def till(service: Service) -> Till:
    return service.shop()


def as_read(till: Till, program: dict[str, Any]) -> dict[str, Any]:
    return ok(till.get(f"/programs/{program['id']}"))


def test_null_takes_away_words_looks_and_worth(till: Till) -> None:
    program = as_read(till, till.program(**LOOKS, **REWARD))
    for name in LOOKS | REWARD:
        assert program[name] is not None
        told = ok(till.patch(f"/programs/{program['id']}", {name: None}))
        changed = as_read(till, program)
        assert told[name] is changed[name] is None
        assert {key for key in program if changed[key] != program[key]} <= OF_A_CHANGE | {name}
        program = changed


@pytest.mark.parametrize("name", [*ALWAYS, "require_staff_pin", "enrolment_fields", "translations"])
def test_null_where_something_has_to_stand_is_as_if_left_out(till: Till, name: str) -> None:
    program = as_read(till, till.program(**LOOKS, **REWARD))
    assert ok(till.patch(f"/programs/{program['id']}", {name: None}))["position"] is None
    assert as_read(till, program) == program


def test_a_program_sent_back_as_it_was_read_is_not_changed(till: Till) -> None:
    for given in ({}, LOOKS | REWARD):
        program = as_read(till, till.program(**given))
        same = {name: program[name] for name in (*LOOKS, *REWARD, *ALWAYS)}
        assert ok(till.patch(f"/programs/{program['id']}", same))["position"] is None
        assert as_read(till, program) == program


def test_an_announcement_keeps_what_was_announced_for_that_day_before(till: Till) -> None:
    program = till.program()
    path, day = f"/programs/{program['id']}", "2100-01-01T00:00:00Z"
    ok(till.patch(path, {"stamps_target": 8, "effective_from": day}))
    ok(till.patch(path, {"cooldown_minutes": 30, "effective_from": day}))
    told = ok(till.patch(path, {"stamps_target": 8, "cooldown_minutes": 30, "effective_from": day}))
    assert told["position"] is None and len(told["pending_rules"]) == 2


def test_words_for_everybody_do_not_go_while_a_language_has_its_own(till: Till) -> None:
    program = till.program(**LOOKS, **REWARD, translations={"fr": {"terms_text": "Un par visite."}})
    told = problem(till.patch(f"/programs/{program['id']}", {"terms_text": None}), 422, "validation_failed")
    assert [error["field"] for error in told["errors"]] == ["translations.fr.terms_text"]
    gone = ok(till.patch(f"/programs/{program['id']}", {"terms_text": None, "translations": {}}))
    assert (gone["terms_text"], gone["translations"]) == (None, {})
