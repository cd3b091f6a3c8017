"""Many tills at one card at the same moment, in one process and in two on the same database."""

import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import product
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from tests.callers import Ask, Till, at_once, moment, ok, problem
from tests.service import Served, Service

TOGETHER = 30


class Scene(NamedTuple):
    services: list[Served]
    till: Till

    def tills(self, till: Till | None = None) -> Iterator[Till]:
        """The same till, asking the processes in turn, for ever."""
        here = till or self.till
        while True:
            for service in self.services:
                yield here.at(service.http)


@pytest.fixture(params=["one process", "two processes"])
def scene(request: pytest.FixtureRequest, service: Service) -> Scene:
    services: list[Served] = [service]
    if request.param == "two processes":
        services.append(request.getfixturevalue("second_process"))
    return Scene(services, service.shop())


def codes(answers: list[Any]) -> Counter[str]:
    return Counter(str(answer.status_code) if answer.status_code < 400 else answer.json()["code"] for answer in answers)


def until_answered(asks: list[Ask]) -> list[Any]:
    """As a till does it: what could not be answered in the rush is asked again, under the same key."""
    answers = at_once(asks)
    for _ in range(20):
        late = [n for n, answer in enumerate(answers) if answer.status_code in (429, 503)]
        if not late:
            break
        assert all(answers[n].headers["Retry-After"] for n in late)
        for n, answer in zip(late, at_once([asks[n] for n in late]), strict=True):
            answers[n] = answer
    return answers


def test_forty_duplicates_of_fifteen_commands_have_fifteen_effects(scene: Scene) -> None:
    card = scene.till.card(scene.till.program()["id"])
    keys = [f"key-{n}" for n in range(15)]
    asks = [
        Ask(till, "/stamps", {"card": card["id"]}, keys[n % 15])
        for n, till in zip(range(15 * 40), scene.tills(), strict=False)
    ]
    answers = until_answered(asks)
    assert codes(answers) == {"201": 600}
    for n in range(15):
        same = answers[n::15]
        assert len({answer.content for answer in same}) == 1
        assert sum("Idempotent-Replayed" not in answer.headers for answer in same) == 1
    assert scene.till.read(card["id"])["stamp_count"] == 15
    assert len(scene.services[0].events(card["id"], "stamps-added")) == 15


def test_forty_duplicates_with_a_pin_have_one_effect(scene: Scene) -> None:
    card, pin = scene.till.card(scene.till.program(require_staff_pin=True)["id"]), scene.till.pin("4071")
    body = {"card": card["id"], "staff_pin_id": pin["id"], "pin": "4071"}
    asks = [Ask(till, "/stamps", body, "one") for _, till in zip(range(40), scene.tills(), strict=False)]
    answers = until_answered(asks)
    assert codes(answers) == {"201": 40} and len({answer.content for answer in answers}) == 1
    assert scene.till.read(card["id"])["stamp_count"] == 1


def test_forty_duplicates_of_a_refusal_are_one_refusal(scene: Scene) -> None:
    card = scene.till.card(scene.till.program()["id"])
    asks = [
        Ask(till, "/redemptions", {"card": card["id"]}, "no") for _, till in zip(range(40), scene.tills(), strict=False)
    ]
    answers = until_answered(asks)
    assert codes(answers) == {"insufficient_stamps": 40}
    assert len({answer.content.replace(answer.headers["x-request-id"].encode(), b"") for answer in answers}) == 1
    assert scene.till.read(card["id"])["version"] == 1


def test_one_reward_is_redeemed_once_by_thirty_tills_on_each_of_twelve_cards(scene: Scene) -> None:
    program = scene.till.program(stamps_target=2)
    cards = [scene.till.card(program["id"])["id"] for _ in range(12)]
    for card in cards:
        for _ in range(3):
            ok(scene.till.stamp(card))
    asks = [
        Ask(till, "/redemptions", {"card": cards[n % 12]})
        for n, till in zip(range(12 * TOGETHER), scene.tills(), strict=False)
    ]
    answers = until_answered(asks)
    for n, card in enumerate(cards):
        assert codes(answers[n::12]) == {"201": 1, "insufficient_stamps": TOGETHER - 1}
        assert scene.till.read(card)["stamp_count"] == 1
        assert len(scene.services[0].events(card, "reward-redeemed")) == 1


def test_the_cooldown_lets_one_of_thirty_through(scene: Scene) -> None:
    card = scene.till.card(scene.till.program(cooldown_minutes=15)["id"])["id"]
    asks = [Ask(till, "/stamps", {"card": card}) for _, till in zip(range(TOGETHER), scene.tills(), strict=False)]
    answers = until_answered(asks)
    assert codes(answers) == {"201": 1, "stamp_cooldown": TOGETHER - 1}
    possible_at = {answer.json().get("next_stamp_at") or answer.json()["retry_at"] for answer in answers}
    assert len({moment(at) for at in possible_at}) == 1
    assert all(int(answer.headers["Retry-After"]) > 800 for answer in answers if answer.status_code == 409)
    assert scene.till.read(card)["stamp_count"] == 1


def test_the_daily_limit_lets_just_so_many_through(scene: Scene) -> None:
    card = scene.till.card(scene.till.program(max_daily_stamps=5, timezone="Pacific/Kiritimati")["id"])["id"]
    asks = [Ask(till, "/stamps", {"card": card}) for _, till in zip(range(TOGETHER), scene.tills(), strict=False)]
    answers = until_answered(asks)
    if codes(answers)["201"] != 5:  # Midnight over there, this very second.
        days = Counter(moment(a.json()["recorded_at"]) + timedelta(hours=14) for a in answers if a.status_code == 201)
        assert len({day.date() for day in days}) == 2
    else:
        assert codes(answers) == {"201": 5, "stamp_daily_limit": TOGETHER - 5}
        assert scene.till.read(card)["stamp_count"] == 5


def test_a_reference_of_the_till_is_used_once(scene: Scene) -> None:
    program = scene.till.program()
    cards = [scene.till.card(program["id"])["id"] for _ in range(5)]
    ref = {"system": "pos", "type": "receipt", "id": "2026-1"}
    asks = [
        Ask(till, "/stamps", {"card": cards[n % 5], "external_ref": ref})
        for n, till in zip(range(TOGETHER), scene.tills(), strict=False)
    ]
    answers = until_answered(asks)
    assert codes(answers) == {"201": 1, "duplicate_reference": TOGETHER - 1}
    (won,) = [answer.json()["entry_id"] for answer in answers if answer.status_code == 201]
    assert {answer.json()["entry_id"] for answer in answers if answer.status_code == 409} == {won}


# ------------------------------------------------------------------ enrolment


def test_a_customer_enrolled_by_thirty_tills_has_one_card(scene: Scene) -> None:
    program = scene.till.program()
    customer = {"id": "0198c5a2-7d3c-7c4e-9b1a-2f6d1c0e8a55", "name": "Léa", "email": "lea@example.lu"}
    path = f"/programs/{program['id']}/cards"
    asks = [Ask(till, path, {"customer": customer}) for _, till in zip(range(TOGETHER), scene.tills(), strict=False)]
    answers = until_answered(asks)
    assert codes(answers) == {"201": 1, "200": TOGETHER - 1}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert {answer.json()["customer"]["name"] for answer in answers} == {"Léa"}


def test_customers_who_join_six_programs_at_once_can_be_read_on_each_card(scene: Scene) -> None:
    programs = [scene.till.program() for _ in range(6)]
    customers = [{"id": str(uuid4()), "name": "Léa"} for _ in range(8)]
    asked = product(customers, programs)
    asks = [
        Ask(till, f"/programs/{program['id']}/cards", {"customer": customer})
        for (customer, program), till in zip(asked, scene.tills(), strict=False)
    ]
    answers = until_answered(asks)
    assert codes(answers) == {"201": 48}
    for answer in answers:
        card = scene.till.read(answer.json()["id"])
        assert card["customer"]["name"] == "Léa" and card["qr_code_data"] == answer.json()["qr_code_data"]
        assert ok(scene.services[0].public.get(f"/cards/{card['qr_code_data']}"))


def test_an_email_enrolled_by_thirty_tills_is_one_customer(scene: Scene) -> None:
    path = f"/programs/{scene.till.program()['id']}/cards"
    asks = [
        Ask(till, path, {"customer": {"email": "lea@example.lu"}})
        for _, till in zip(range(TOGETHER), scene.tills(), strict=False)
    ]
    answers = until_answered(asks)
    assert codes(answers) == {"201": 1, "200": TOGETHER - 1}
    assert len({answer.json()["id"] for answer in answers}) == 1


# ------------------------------------------------------------------ PINs


def guesses(scene: Scene, pin_id: str, how_many: int, *, pin: str | None = None) -> list[Ask]:
    card = scene.till.card(scene.till.program(require_staff_pin=True)["id"])["id"]
    return [
        Ask(till, "/stamps", {"card": card, "staff_pin_id": pin_id, "pin": pin or f"{2000 + n}"})
        for n, till in zip(range(how_many), scene.tills(), strict=False)
    ]


@pytest.mark.parametrize("how_many", [100, 150])
def test_of_many_wrong_pins_five_are_looked_at_and_then_it_is_locked(scene: Scene, how_many: int) -> None:
    service = scene.services[0]
    pin, other = scene.till.pin("4071"), scene.till.pin("7350")
    answers = at_once(guesses(scene, pin["id"], how_many), connections=200)
    found = codes(answers)
    assert found.pop("pin_invalid", 0) <= 5
    assert set(found) <= {"pin_locked", "rate_limited", "overloaded"}
    for answer in at_once(guesses(scene, pin["id"], 6)):
        assert answer.json()["code"] in ("pin_invalid", "pin_locked", "rate_limited")
    assert len(service.events(pin["id"], "staff-pin-rejected")) == 5
    assert len(service.events(pin["id"], "staff-pin-locked")) == 1

    locked = at_once(guesses(scene, pin["id"], 1, pin="4071"))[0]
    told = problem(locked, 423, "pin_locked")
    assert moment(told["retry_at"]) > datetime.now(moment(told["retry_at"]).tzinfo) + timedelta(minutes=14)
    assert at_once(guesses(scene, other["id"], 1, pin="7350"))[0].status_code == 201

    ok(scene.till.post(f"/pins/{pin['id']}/unlock"))
    assert at_once(guesses(scene, pin["id"], 1, pin="4071"))[0].status_code == 201


def test_forty_right_pins_lock_nobody_out(scene: Scene) -> None:
    pin = scene.till.pin("4071")
    asks = guesses(scene, pin["id"], 40, pin="4071")
    answers = at_once(asks)
    found = codes(answers)
    assert set(found) <= {"201", "rate_limited", "overloaded"} and found["201"] >= 1
    assert codes(until_answered(asks)) == {"201": 40}
    told = ok(scene.till.get(f"/pins/{pin['id']}"))
    assert (told["failed_attempts"], told["locked_until"]) == (0, None)
    assert scene.services[0].events(pin["id"], "staff-pin-rejected", "staff-pin-locked") == []


def test_a_lock_outlives_the_service(database_url: str) -> None:
    with Service(database_url) as service:
        till = service.shop()
        pin, card = till.pin("4071"), till.card(till.program(require_staff_pin=True)["id"])["id"]
        for n in range(5):
            problem(till.stamp(card, staff_pin_id=pin["id"], pin=f"{2000 + n}"), 403, "pin_invalid")
        problem(till.stamp(card, staff_pin_id=pin["id"], pin="4071"), 423, "pin_locked")
    with Service(database_url) as again:
        problem(till.at(again.http).stamp(card, staff_pin_id=pin["id"], pin="4071"), 423, "pin_locked")


def test_an_unknown_staff_member_looks_like_a_wrong_pin_and_takes_as_long(service: Service) -> None:
    till = service.shop()
    pin, card = till.pin("4071"), till.card(till.program(require_staff_pin=True)["id"])["id"]
    asks = {"wrong": pin["id"], "unknown": card}
    seconds: dict[str, list[float]] = {name: [] for name in asks}
    for n in range(4):
        for name, pin_id in asks.items():
            before = time.process_time()  # The service runs in this process. What others do is not counted.
            problem(till.stamp(card, staff_pin_id=pin_id, pin=f"{2000 + n}"), 403, "pin_invalid")
            seconds[name].append(time.process_time() - before)
    assert min(seconds["unknown"]) > 0.5 * min(seconds["wrong"])


@pytest.fixture(scope="module", autouse=True)
def everything_adds_up(service: Service) -> Iterator[None]:
    """After all of it, in whatever order it came."""
    yield
    assert service.differences() == []
