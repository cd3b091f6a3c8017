"""A vendor's first weeks over HTTP, and then the books are opened: every table is what the stream says."""

from itertools import pairwise
from typing import Any

from projections.rebuild import TABLES, rebuild
from tests.callers import Till, moment, ok, problem
from tests.service import MASTER_KEY, Service


def test_from_a_vendors_first_day_to_its_books(own_service: Service) -> None:
    service, admin = own_service, own_service.admin
    vendor = admin.vendor(code="rousegaertchen")
    assert vendor["code"] == "rousegaertchen" and vendor["version"] == 1
    issued = admin.api_key(vendor["id"])
    assert issued["key"].startswith(issued["prefix"]) and len(issued["key"]) >= 32
    till = service.till(issued["key"], vendor["id"])

    program = till.program()
    cake = program["points_rewards"][0]
    strict = ok(till.post("/programs", {"loyalty_type": "stamps", "name": "As it comes", "stamps_target": 10}))
    assert (strict["cooldown_minutes"], strict["max_daily_stamps"], strict["require_staff_pin"]) == (15, 5, True)
    pin = till.pin("40711704", staff_id="marie")
    assert "40711704" not in str(pin) and "pin_hash" not in pin

    card = till.card(program["id"], name="Léa Weber", email="lea@example.lu")
    assert till.post(f"/programs/{program['id']}/cards", {"customer": {"email": "LEA@example.lu"}}).status_code == 200
    ten_stamps_and_a_reward(till, card["card_number"])
    purchase = a_purchase_and_a_point_reward(till, card, cake)
    a_partial_refund(till, card, purchase)
    one_stamp_by_a_staff_member(till, strict, pin)

    lost = till.read(card["id"])
    new = ok(till.post(f"/cards/{card['id']}/replace", {"reason": "Lost at the fair"}))
    assert (new["stamp_count"], new["points_balance"]) == (lost["stamp_count"], lost["points_balance"])
    for fact in ("total_stamps_earned", "points_redeemed", "last_stamp_at", "last_points_at", "last_redemption_at"):
        assert new[fact] == lost[fact] is not None, fact
    assert new["customer"]["name"] == "Léa Weber" and new["customer_id"] == card["customer_id"]
    problem(till.stamp(card["card_number"]), 410, "card_replaced")
    problem(service.public.get(f"/cards/{card['qr_code_data']}"), 410, "card_replaced")
    assert till.stamp(new["card_number"]).status_code == 201
    held = ok(service.public.get(f"/cards/{new['qr_code_data']}"))
    assert (held["stamp_count"], held["points_balance"]) == (1, new["points_balance"])

    the_statistics(service, till, program)
    the_receipts(service, till, new["id"])
    the_books_are_opened(service)


def ten_stamps_and_a_reward(till: Till, number: str) -> None:
    for count in range(1, 11):
        entry = ok(till.stamp(number, order_reference=f"order-{count}"))
        assert (entry["type"], entry["stamps_delta"], entry["stamp_count"]) == ("stamp_earned", 1, count)
        assert (entry["stamps_target"], entry["stamps_until_reward"]) == (10, 10 - count)
    assert entry["rewards_available"] == 1
    redeemed = ok(till.post("/redemptions", {"card": number}))
    assert (redeemed["type"], redeemed["stamps_delta"], redeemed["stamp_count"]) == ("stamp_redeemed", -10, 0)
    assert redeemed["reward_description"] == "A coffee of your choice"
    assert problem(till.post("/redemptions", {"card": number}), 409, "insufficient_stamps")["needed"] == 10


def a_purchase_and_a_point_reward(till: Till, card: dict[str, Any], cake: dict[str, Any]) -> dict[str, Any]:
    body = {"card": card["qr_code_data"], "purchase_amount_minor": 4_250, "currency": "EUR"}
    purchase: dict[str, Any] = ok(till.post("/points", body))
    assert (purchase["points_delta"], purchase["points_balance"]) == (42, 42)
    redeemed = ok(till.post("/redemptions", {"card": card["id"], "reward_id": cake["id"]}))
    assert (redeemed["points_delta"], redeemed["points_balance"]) == (-20, 22)
    problem(till.post("/points", body | {"currency": "USD"}), 422, "currency_mismatch")
    return purchase


def a_partial_refund(till: Till, card: dict[str, Any], purchase: dict[str, Any]) -> None:
    path = f"/entries/{purchase['entry_id']}/reversal"
    part = ok(till.post(path, {"reason": "One cup was cold", "amount_minor": 1_000}))
    assert (part["points_delta"], part["points_balance"]) == (-10, 12)
    problem(till.post(path, {"reason": "Too much", "amount_minor": 4_000}), 409, "reversal_exceeds_entry")
    undo = till.post(f"/entries/{part['entry_id']}/reversal", {"reason": "It was warm"})
    assert problem(undo, 409, "not_reversible")["entry_type"] == "points_reversed"
    assert till.read(card["id"])["points_balance"] == 12


def one_stamp_by_a_staff_member(till: Till, strict: dict[str, Any], pin: dict[str, Any]) -> None:
    card = till.card(strict["id"], phone="621 123 456")
    assert card["customer"]["phone"] == "+352621123456"
    problem(till.stamp(card["id"]), 403, "pin_required")
    session = ok(till.post(f"/pins/{pin['id']}/sessions", {"pin": "40711704", "terminal_id": "till-1"}))
    answer = till.with_session(session["token"]).stamp(card["id"])
    entry = ok(answer)
    assert (entry["stamp_count"], entry["remaining_stamps_today"]) == (1, 4)
    assert answer.headers["Staff-Session"]
    refused = problem(till.with_session(session["token"]).stamp(card["id"]), 409, "stamp_cooldown")
    assert moment(refused["retry_at"]) == moment(entry["next_stamp_at"]) and refused["remaining_today"] == 4


def the_statistics(service: Service, till: Till, program: dict[str, Any]) -> None:
    service.catch_up()
    told = ok(till.get(f"/programs/{program['id']}/stats"))
    total = told["total"]
    assert (total["stamps_issued"], total["stamps_redeemed"], told["stamps_outstanding"]) == (11, 10, 1)
    assert (total["points_issued"], total["points_redeemed"], total["points_reversed"]) == (42, 20, 10)
    assert (told["points_outstanding"], total["redemptions"], total["purchases"]) == (12, 2, 1)
    assert told["cards_by_status"] == {"active": 1, "replaced": 1}
    assert ok(till.get("/stats"))["refusals"] == ok(service.admin.get("/stats"))["refusals"]


def the_receipts(service: Service, till: Till, card_id: str) -> None:
    entry = ok(till.stamp(card_id))
    events = ok(service.auditor.get(f"/cards/{card_id}/events"))["items"]
    assert [event["version"] for event in events] == list(range(1, len(events) + 1))
    assert all(event["prev_hash"] == before["hash"] for before, event in pairwise(events))
    assert entry["receipt"] == {"card_version": events[-1]["version"], "head": events[-1]["hash"]}
    assert till.read(card_id)["receipt"] == entry["receipt"]
    assert "Léa" not in str(events) and "lea@example.lu" not in str(events)


def the_books_are_opened(service: Service) -> None:
    assert service.differences() == []
    before = service.tables()
    service.rows(f"TRUNCATE {', '.join(TABLES)}")
    assert service.tables() != before
    rebuild(service.database_url, MASTER_KEY)
    assert service.tables() == before
    assert service.differences() == []
