"""A card that does not update: what the administration is told of it, and what it can do."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from tests import fake_apns as apns
from tests.api import test_wallet_sync
from tests.api.test_wallet_sync import Scene
from tests.callers import Admin, moment, ok, problem
from tests.clock import eventually
from tests.phones import Phone
from tests.service import Service

scene = test_wallet_sync.scene

UNKNOWN = "0195a1b0-0000-7000-8000-00000000dead"


def seen(scene: Scene, card: dict[str, Any], **headers: str) -> dict[str, Any]:
    """What support sees of a card in Apple Wallet."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    told = ok(scene.service.admin.send("GET", f"/cards/{card['id']}/wallet", headers=given))
    apple: dict[str, Any] = told["apple"]
    return apple


def verdict(scene: Scene, card: dict[str, Any]) -> str:
    return str(seen(scene, card)["verdict"])


def minutes_pass(scene: Scene, minutes: int = 2) -> None:
    ago = f"- interval '{minutes} minutes'"
    columns = ("due_at", "last_tried_at", "last_done_at", "asked_at")
    scene.service.rows(f"UPDATE wallet_work SET {', '.join(f'{column} = {column} {ago}' for column in columns)}")
    scene.service.rows(f"UPDATE apple_device_registrations SET updated_at = updated_at {ago}")
    scene.service.rows(f"UPDATE loyalty_cards SET updated_at = updated_at {ago}")


# ------------------------------------------------------------------ verdicts


def test_from_the_link_to_the_phone_each_step_has_its_verdict(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        assert verdict(scene, card) == "not_issued"
        scene.service.catch_up()
        downloaded = scene.service.public.get(f"/cards/{card['qr_code_data']}/apple.pkpass")
        assert verdict(scene, card) == "not_registered"
        phone = Phone(scene.service.http, test_wallet_sync.BASE)
        phone.add(downloaded)
        phone.refresh()
        eventually(lambda: verdict(scene, card) == "up_to_date")
        ok(scene.till.stamp(card["id"]))
        eventually(lambda: verdict(scene, card) == "waiting")
        eventually(lambda: scene.pushes(phone) == 1)
        eventually(lambda: seen(scene, card)["phones"][0]["last_status"] == 200)
        told = seen(scene, card)
        assert (told["verdict"], told["fetched_revision"], told["revision"]) == ("waiting", 2, 3)
        minutes_pass(scene)
        assert verdict(scene, card) == "not_asked"
        before = datetime.now(UTC)
        phone.refresh()
        eventually(lambda: verdict(scene, card) == "up_to_date")
    told = seen(scene, card)
    assert told["fetched_revision"] == told["revision"] == 3 and before < moment(told["fetched_at"])
    (shown,) = told["phones"]
    assert (shown["revision_wanted"], shown["revision_told"], shown["last_error"]) == (3, 3, None)
    assert before < moment(shown["last_asked_at"])


def test_a_phone_that_asks_but_is_not_given_its_pass_is_told_apart(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        phone, carried = scene.phone_with(card)
        eventually(lambda: verdict(scene, card) == "up_to_date")
        ok(scene.till.stamp(card["id"]))
        eventually(lambda: scene.pushes(phone) == 1)
        eventually(lambda: seen(scene, card)["phones"][0]["last_told_at"] is not None)
        type_ = carried.told["passTypeIdentifier"]
        listed = scene.service.http.get(f"{phone.base}/v1/devices/{phone.id}/registrations/{type_}")
        assert listed.status_code == 200
        minutes_pass(scene)
        eventually(lambda: verdict(scene, card) == "not_fetched")


def test_what_apple_says_is_told_with_the_next_attempt_and_can_be_tried_again(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        phone, _ = scene.phone_with(card)
        scene.apple.always = apns.SLOW
        ok(scene.till.stamp(card["id"]))
        eventually(lambda: verdict(scene, card) == "failing")
        (shown,) = seen(scene, card)["phones"]
        assert (shown["last_status"], shown["last_error"], shown["failures"]) == (429, "TooManyRequests", 1)
        assert 50 < (moment(shown["next_attempt_at"]) - datetime.now(UTC)).total_seconds() < 61
        scene.apple.always = None
        assert ok(scene.service.admin.post(f"/cards/{scene.card()['id']}/wallet/retry", key=None)) == {"retried": 0}
        assert ok(scene.service.admin.post(f"/cards/{card['id']}/wallet/retry", key=None)) == {"retried": 1}
        eventually(lambda: scene.pushes(phone) == 2)


def test_nobody_syncs_and_support_hears_of_it(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        scene.phone_with(card)
        eventually(lambda: verdict(scene, card) == "up_to_date")
    ok(scene.till.stamp(card["id"]))
    scene.service.catch_up()
    assert verdict(scene, card) == "waiting"
    minutes_pass(scene)
    assert verdict(scene, card) == "nobody_syncs"


def test_of_two_phones_the_worse_one_gives_the_verdict(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        came, lost = (scene.phone_with(card)[0] for _ in range(2))
        eventually(lambda: verdict(scene, card) == "up_to_date")
        ok(scene.till.stamp(card["id"]))
        eventually(lambda: scene.pushes(came) == scene.pushes(lost) == 1)
        eventually(lambda: all(phone["last_told_at"] for phone in seen(scene, card)["phones"]))
        minutes_pass(scene)
        came.refresh()
        eventually(lambda: sorted(p["verdict"] for p in seen(scene, card)["phones"]) == ["not_asked", "up_to_date"])
        assert verdict(scene, card) == "not_asked"


@pytest.mark.parametrize(
    ("language", "word"), [("en", "holder"), ("fr", "titulaire"), ("de", "Inhaber"), ("lb", "derbäisetzen")]
)
def test_the_hint_is_in_the_language_of_who_asks(scene: Scene, language: str, word: str) -> None:
    assert word in seen(scene, scene.card(), Accept_Language=language)["hint"]


def test_without_certificates_support_hears_that_apple_is_off(database_url: str) -> None:
    with Service(database_url) as service:
        till = service.shop()
        card = till.card(till.program()["id"])
        told = ok(service.admin.get(f"/cards/{card['id']}/wallet"))["apple"]
        assert (told["verdict"], told["phones"], told["certificate_days_left"]) == ("off", [], None)


# ------------------------------------------------------------------ who may see it, and what stays hidden


def test_auditors_may_look_and_only_the_administration_may_retry(scene: Scene) -> None:
    card, auditor = scene.card(), scene.service.auditor
    for path in (f"/cards/{card['id']}/wallet", "/wallet/parked"):
        ok(auditor.get(path))
        problem(Admin(scene.service.http, scene.till.key).get(path), 403, "scope_missing")
    for path in (f"/cards/{card['id']}/wallet/retry", "/wallet/retry"):
        problem(auditor.post(path, key=None), 403, "scope_missing")


def test_a_card_that_is_not_there_has_no_wallet(scene: Scene) -> None:
    problem(scene.service.admin.get(f"/cards/{UNKNOWN}/wallet"), 404, "card_not_found")
    problem(scene.service.admin.post(f"/cards/{UNKNOWN}/wallet/retry", key=None), 404, "card_not_found")


def test_a_phone_is_known_again_by_a_digest_and_nothing_of_it_is_told(scene: Scene) -> None:
    cards = [scene.card(), scene.card()]
    with scene.syncing():
        phone, carried = scene.phone_with(cards[0])
        phone.add(scene.service.public.get(f"/cards/{cards[1]['qr_code_data']}/apple.pkpass"))
        scene.phone_with(cards[0])
    scene.service.catch_up()
    told = [scene.service.admin.get(f"/cards/{card['id']}/wallet") for card in cards]
    first, second = ([p["phone"] for p in answer.json()["apple"]["phones"]] for answer in told)
    assert len(set(first)) == 2 and len(second) == 1 and second[0] in first
    hidden = (phone.id, phone.push_token, carried.told["serialNumber"], carried.told["authenticationToken"])
    assert not any(secret in answer.text for secret in hidden for answer in told)


# ------------------------------------------------------------------ everything


def test_what_was_given_up_is_listed_a_page_at_a_time_and_tried_again(scene: Scene) -> None:
    cards = [scene.card() for _ in range(3)]
    admin = scene.service.admin
    with scene.syncing():
        for card in cards:
            scene.phone_with(card)
        scene.apple.always = apns.Answer(400, "PayloadEmpty")
        for card in cards:
            ok(scene.till.stamp(card["id"]))
        eventually(lambda: len(ok(admin.get("/wallet/parked"))["items"]) == 3)
        first = ok(admin.get("/wallet/parked", limit=2))
        rest = ok(admin.get("/wallet/parked", limit=2, cursor=first["next_cursor"]))
        listed = first["items"] + rest["items"]
        assert {row["card_id"] for row in listed} == {card["id"] for card in cards} and rest["next_cursor"] is None
        assert {(row["channel"], row["last_error"], row["last_status"]) for row in listed} == {
            ("apple", "PayloadEmpty", 400)
        }
        assert ok(admin.get("/wallet/parked", channel="program"))["items"] == []
        told = seen(scene, cards[0])
        assert told["verdict"] == "parked" and "PayloadEmpty" in told["hint"]
        (backlog,) = ok(admin.get("/system"))["wallets"]["backlog"]
        assert (backlog["channel"], backlog["waiting"], backlog["parked"]) == ("apple", 0, 3)
        assert backlog["errors"] == {"PayloadEmpty": 3} and backlog["lag_seconds"] > 0
        metrics = scene.service.http.get("/metrics").text
        assert 'loyalty_wallet_parked{channel="apple"} 3.0' in metrics
        assert 'loyalty_wallet_errors{channel="apple",error="PayloadEmpty"} 3.0' in metrics
        scene.apple.always = None
        assert ok(admin.post("/wallet/retry", key=None)) == {"retried": 3}
        eventually(lambda: ok(admin.get("/system"))["wallets"]["backlog"] == [])
        assert ok(admin.get("/wallet/parked"))["items"] == []


def test_the_service_tells_days_left_and_when_it_swept(scene: Scene) -> None:
    assert ok(scene.service.admin.get("/system"))["wallets"] == {"backlog": [], "stopped": {}, "sweep": None}
    assert "loyalty_apple_certificate_days_left 394.0" in scene.service.http.get("/metrics").text
    card, before = scene.card(), datetime.now(UTC)
    with scene.syncing():
        scene.phone_with(card)
        eventually(lambda: ok(scene.service.admin.get("/system"))["wallets"]["sweep"] is not None)
        eventually(lambda: ok(scene.service.admin.get("/system"))["wallets"]["sweep"]["ended_at"] is not None)
    sweep = ok(scene.service.admin.get("/system"))["wallets"]["sweep"]
    assert before < moment(sweep["begun_at"]) <= moment(sweep["ended_at"]) and sweep["programs_left"] == 0


# ------------------------------------------------------------------ cards that end


@pytest.mark.parametrize("end", ["suspend", "close", "replace"])
def test_a_card_that_ends_rings_its_phone_which_gets_it_voided(scene: Scene, end: str) -> None:
    card = scene.card()
    with scene.syncing():
        phone, carried = scene.phone_with(card)
        ok(scene.till.post(f"/cards/{card['id']}/{end}", {"reason": "Lost"}))
        eventually(lambda: scene.pushes(phone) == 1)
        (serial,) = phone.refresh()
        shown = phone.passes[serial].told
        assert shown["voided"] is True and "barcodes" not in shown and serial == carried.told["serialNumber"]
        eventually(lambda: verdict(scene, card) == "up_to_date")


def test_a_card_that_is_reinstated_can_be_scanned_again_on_the_phone(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        phone, _ = scene.phone_with(card)
        ok(scene.till.post(f"/cards/{card['id']}/suspend", {"reason": "Lost"}))
        eventually(lambda: scene.pushes(phone) == 1)
        phone.refresh()
        time.sleep(0.1)
        ok(scene.till.post(f"/cards/{card['id']}/reinstate", {"reason": "Found"}))
        eventually(lambda: scene.pushes(phone) == 2)
        (serial,) = phone.refresh()
        assert "voided" not in phone.passes[serial].told and phone.passes[serial].told["barcodes"]
