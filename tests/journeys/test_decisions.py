"""Everything that was accepted or refused can be asked why, and says the same when it is decided again."""

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from hypothesis import HealthCheck, example, given, settings

from api.decisions import tell_decision
from projections.read_model import Projector
from tests.callers import Client, moment, ok, problem
from tests.ledgers import MASTER_KEY, Shop, facts, running_ledger
from tests.service import Service
from tests.visits import OVERTAKEN, SUSPENDED, VISITS, Clock, Story, Visit

RULES: dict[str, Any] = {
    "stamps_target": 3,
    "cooldown_minutes": 10,
    "max_daily_stamps": 4,
    "max_stamps_per_scan": 2,
    "reversal_policy": "reject",
}
LUXEMBOURGISH = {"Accept-Language": "lb"}


def why(client: Client, service: Service, decision_id: str, **headers: str) -> dict[str, Any]:
    service.catch_up()
    return ok(
        client.send("GET", f"/decisions/{decision_id}", headers={k.replace("_", "-"): v for k, v in headers.items()})
    )


def test_a_refused_stamp_says_which_rule_what_it_saw_and_when_to_try_again(service: Service) -> None:
    till = service.shop()
    card = till.card(till.program(cooldown_minutes=15)["id"])
    ok(till.stamp(card["id"]))
    refusal = problem(till.stamp(card["id"], key="second"), 409, "stamp_cooldown")
    told = why(till, service, refusal["decision_id"])
    assert (told["outcome"], told["operation"], told["code"]) == ("refused", "stamp", "stamp_cooldown")
    assert (told["asked"], told["card_version"], told["program_version"]) == ({"count": 1}, 2, 1)
    assert (told["card"]["stamps"], told["rules"]["cooldown_minutes"]) == (1, 15)
    assert told["limit"] == {name: refusal[name] for name in ("retry_at", "cooldown_minutes", "remaining_today")}
    assert (told["retry_at"], told["detail"]) == (refusal["retry_at"], refusal["detail"])
    assert told["is_the_same_again"] is True
    again = till.stamp(card["id"], key="second")
    assert problem(again, 409, "stamp_cooldown")["decision_id"] == refusal["decision_id"]


def test_an_accepted_entry_says_why_in_the_language_of_who_asks(service: Service) -> None:
    till = service.shop()
    card = till.card(till.program(max_daily_stamps=3, stamps_target=2)["id"])
    entry = ok(till.stamp(card["id"]))
    told = why(till, service, entry["entry_id"])
    assert (told["outcome"], told["card_version"], told["asked"]) == ("accepted", 1, {"count": 1})
    assert told["detail"].startswith("With it 1 of 3 stamps were given that day")
    assert told["is_the_same_again"] is True and told["limit"]["daily_limit"] == 3
    assert "1 vun 3 Stempelen" in why(till, service, entry["entry_id"], **LUXEMBOURGISH)["detail"]
    ok(till.stamp(card["id"]))
    reward = why(till, service, ok(till.post("/redemptions", {"card": card["id"]}))["entry_id"])
    assert (reward["detail"], reward["limit"]["stamps_spent"]) == ("The card held 2, the reward costs 2.", 2)


def test_no_other_vendor_learns_of_it_but_auditors_do(service: Service) -> None:
    till, other = service.shop(), service.shop()
    card = till.card(till.program(cooldown_minutes=15)["id"])
    entry = ok(till.stamp(card["id"]))["entry_id"]
    refused = problem(till.stamp(card["id"]), 409, "stamp_cooldown")["decision_id"]
    for decision in (entry, refused):
        assert why(service.auditor, service, decision) == why(till, service, decision)
        stranger = problem(other.get(f"/decisions/{decision}"), 404, "not_found")
        nobody = problem(other.get(f"/decisions/{uuid4()}"), 404, "not_found")
        assert (stranger["title"], stranger["detail"]) == (nobody["title"], nobody["detail"])
    unread = service.till(service.admin.api_key(till.vendor_id, "earn")["key"])
    problem(unread.get(f"/decisions/{entry}"), 403, "scope_missing")


def test_a_rehearsal_is_no_decision(service: Service) -> None:
    till = service.shop()
    card = till.card(till.program(cooldown_minutes=15)["id"])
    ok(till.stamp(card["id"]))
    assert "decision_id" not in problem(
        till.post("/stamps", {"card": card["id"]}, dry_run="true"), 409, "stamp_cooldown"
    )


def test_decided_again_everything_says_the_same(service: Service) -> None:
    seen: Counter[tuple[str, bool]] = Counter()

    async def story(visits: list[Visit]) -> None:
        clock = Clock()
        async with running_ledger(service.database_url, clock) as ledger:
            story = Story(await Shop.opened(ledger, **RULES), clock)
            await story.play(visits)
            Projector(service.database_url, MASTER_KEY).catch_up()
            for decision_id, is_accepted in story.decided.items():
                told = await tell_decision(
                    ledger.reader, decision_id, vendor_id=story.shop.caller.vendor_id, accept_language=None
                )
                assert told["is_the_same_again"] is True, told
                assert (told["outcome"] == "accepted") is is_accepted
                seen[told["operation"], is_accepted] += 1

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(visits=VISITS)
    @example(visits=OVERTAKEN)
    @example(visits=SUSPENDED)
    def any_story(visits: list[Visit]) -> None:
        asyncio.run(story(visits))

    any_story()
    refusable = ("stamp", "redeem", "reverse", "earn")
    assert {(one, True) for one in (*refusable, "adjust")} | {(one, False) for one in refusable} <= set(seen)


def test_a_refusal_in_the_last_moment_of_a_cooldown_stays_one(service: Service) -> None:
    class Ticking(Clock):
        def __call__(self) -> datetime:
            self.now += timedelta(seconds=1)
            return self.now

    async def story() -> None:
        clock = Ticking()
        async with running_ledger(service.database_url, clock) as ledger:
            story = Story(await Shop.opened(ledger, **RULES), clock)
            for seconds in range(590, 600):
                story.cards = [await story.shop.card()]
                stamped = await story.shop.stamp(story.cards[0])
                clock.now = moment(facts(stamped)["recorded_at"]) + timedelta(seconds=seconds)
                await story.play([Visit("stamp", 0, 0, minutes=0)])
            Projector(service.database_url, MASTER_KEY).catch_up()
            assert set(story.decided.values()) == {True, False}
            for decision_id in story.decided:
                told = await tell_decision(ledger.reader, decision_id, vendor_id=None, accept_language=None)
                assert told["is_the_same_again"] is True, told

    asyncio.run(story())
