"""From an enrolment to a card in Google Wallet that follows its card: the service, the wallet sync and Google speak."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from api.syncing import sync
from tests.api.test_wallet_sync import QUIET
from tests.callers import Till, ok, problem
from tests.clock import eventually
from tests.fake_google import ISSUER, SAVE, FakeGoogle, faults, google_settings
from tests.google_signer import Signer
from tests.ledgers import MASTER_KEY
from tests.service import Service

PUBLIC = "https://cards.example"
CALLBACK = "/api/v1/loyalty/google/callback"


class Scene(NamedTuple):
    service: Service
    google: FakeGoogle
    till: Till
    settings: Any

    def card(self, **program: Any) -> dict[str, Any]:
        return self.till.card(self.till.program(cooldown_minutes=0, max_daily_stamps=20, **program)["id"])

    def asked(self, card: dict[str, Any]) -> httpx2.Response:
        path = f"/cards/{card['qr_code_data']}/google"
        return self.service.public.send("GET", path, headers={"Accept": "application/json"})

    def saved(self, card: dict[str, Any]) -> None:
        self.service.catch_up()
        self.told(self.google.save(ok(self.asked(card))["url"]))

    def told(self, message: bytes, status: int = 200) -> httpx2.Response:
        answer = self.service.http.post(CALLBACK, content=message, headers={"Content-Type": "application/json"})
        assert answer.status_code == status, answer.text
        return answer

    def object(self, card: dict[str, Any]) -> dict[str, Any]:
        return self.google.held["loyaltyObject"][f"{ISSUER}.test.card.{card['id']}"]

    def balance(self, card: dict[str, Any]) -> Any:
        return self.object(card)["loyaltyPoints"]["balance"]

    def work(self, card: dict[str, Any]) -> dict[str, Any]:
        sql = "SELECT * FROM wallet_work WHERE card_id = %s AND channel = 'google'"
        (row,) = self.service.rows(sql, card["id"])
        return row

    def is_saved(self, card: dict[str, Any]) -> bool:
        (row,) = self.service.rows("SELECT is_saved_at_google AS it FROM loyalty_cards WHERE id = %s", card["id"])
        return bool(row["it"])

    @contextmanager
    def syncing(self) -> Iterator[None]:
        stop = threading.Event()
        thread = threading.Thread(target=sync, args=(self.settings, self.service.database_url, MASTER_KEY, stop))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
        for kind, held in self.google.held.items():
            assert [faults(kind, body) for body in held.values() if faults(kind, body)] == []


@pytest.fixture
def scene(database_url: str, tmp_path: Path) -> Iterator[Scene]:
    with FakeGoogle() as google:
        settings = google_settings(google, tmp_path)
        with Service(database_url, public_url=PUBLIC, **settings) as service:
            yield Scene(service, google, service.shop(), service._settings)


# ------------------------------------------------------------------ saving


def test_who_joins_is_led_to_google_and_saves_the_card_as_it_is(scene: Scene) -> None:
    program = scene.till.program(card_color="#6f4e37", card_secondary_color="#f2c879")
    joined = ok(scene.service.public.post(f"/programs/{program['id']}/enrolments", {"consent": True}))
    link = joined["links"]["google_save"]
    assert link.startswith(f"{PUBLIC}/api/v1/loyalty/cards/")
    with scene.syncing():
        scene.service.catch_up()
        answer = scene.service.http.get(link.removeprefix(PUBLIC), follow_redirects=False)
        assert (answer.status_code, answer.headers["cache-control"]) == (302, "no-store")
        scene.google.save(answer.headers["location"])
    ((id_, shown),) = scene.google.held["loyaltyObject"].items()
    assert shown["state"] == "ACTIVE" and shown["loyaltyPoints"]["balance"] == {"string": "0/10"}
    assert shown["barcode"]["value"] == joined["qr_code_data"] and joined["card_number"] not in id_
    ((_, made),) = scene.google.held["loyaltyClass"].items()
    assert (made["reviewStatus"], made["callbackOptions"]["url"]) == ("APPROVED", PUBLIC + CALLBACK)
    assert made["hexBackgroundColor"] == "#6f4e37"
    (row,) = scene.service.rows(
        "SELECT google_object_id, google_class_id FROM loyalty_cards c JOIN loyalty_programs p ON p.id = c.program_id"
    )
    assert row == {"google_object_id": id_, "google_class_id": shown["classId"]}
    assert scene.service.differences() == []


def test_the_link_is_made_anew_and_the_card_is_created_once(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        scene.service.catch_up()
        first, second = (ok(scene.asked(card))["url"] for _ in range(2))
        assert first.startswith(SAVE) and second.startswith(SAVE)
    created = "SELECT count(*) AS n FROM stored_events WHERE topic = 'google-pass-created'"
    assert scene.service.rows(created) == [{"n": 1}]


def test_its_pictures_are_where_it_says_and_nobody_elses_are_drawn(scene: Scene) -> None:
    card = scene.card(card_color="#6f4e37")
    with scene.syncing():
        scene.saved(card)
    hero = scene.object(card)["heroImage"]["sourceUri"]["uri"]
    logo = scene.google.held["loyaltyClass"][scene.object(card)["classId"]]["programLogo"]["sourceUri"]["uri"]
    for url in (hero, logo):
        answer = scene.service.http.get(url.removeprefix(PUBLIC))
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
        assert "immutable" in answer.headers["cache-control"] and answer.content.startswith(b"\x89PNG")
    problem(scene.service.http.get(hero.removeprefix(PUBLIC).replace("-0-10-", "-9-10-")), 404, "not_found")


# ------------------------------------------------------------------ following


def test_a_stamp_is_on_the_card_at_google(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        scene.saved(card)
        before = scene.object(card)["heroImage"]
        ok(scene.till.stamp(card["id"]))
        eventually(lambda: scene.balance(card) == {"string": "1/10"})
        assert scene.object(card)["heroImage"] != before
        eventually(lambda: scene.work(card)["synced"] == scene.work(card)["desired"])


def test_ten_stamps_within_a_second_are_one_write(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        scene.saved(card)
        eventually(lambda: scene.is_saved(card))
        before = len(scene.google.calls)
        for _ in range(10):
            ok(scene.till.stamp(card["id"]))
        eventually(lambda: scene.balance(card) == {"string": "10/10"})
        time.sleep(QUIET)
        writes = [call for call in scene.google.calls[before:] if not call.startswith("GET")]  # Beside the comparison.
        assert writes == ["PATCH loyaltyObject"]


def test_a_reward_rings_and_a_stamp_does_not(scene: Scene) -> None:
    card = scene.card(stamps_target=2)
    with scene.syncing():
        scene.saved(card)
        ok(scene.till.stamp(card["id"]))
        eventually(lambda: scene.balance(card) == {"string": "1/2"})
        assert scene.google.rung == []
        ok(scene.till.stamp(card["id"]))
        eventually(lambda: scene.google.rung == [scene.object(card)["id"]])


def test_no_card_rings_more_than_three_times_a_day(scene: Scene) -> None:
    card = scene.card(stamps_target=1)
    with scene.syncing():
        scene.saved(card)
        sql = "UPDATE google_alerts SET rung_at = %s"
        now = datetime.now(UTC)
        scene.service.rows(sql + " RETURNING card_id", [now - timedelta(hours=hours) for hours in (1, 2, 3)])
        ok(scene.till.stamp(card["id"]))
        eventually(lambda: scene.balance(card) == {"string": "1/1"})
        assert scene.google.rung == []


def test_a_suspended_card_is_inactive_and_has_no_code(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        scene.saved(card)
        ok(scene.till.post(f"/cards/{card['id']}/suspend", {"reason": "lost"}))
        eventually(lambda: scene.object(card)["state"] == "INACTIVE")
        assert "barcode" not in scene.object(card)


def test_another_look_of_the_program_reaches_class_and_cards(scene: Scene) -> None:
    program = scene.till.program()
    cards = [scene.till.card(program["id"]) for _ in range(2)]
    with scene.syncing():
        for card in cards:
            scene.saved(card)
        ok(scene.till.patch(f"/programs/{program['id']}", {"card_name": "Kaffi", "card_color": "#102030"}))
        made = scene.google.held["loyaltyClass"][scene.object(cards[0])["classId"]]["id"]
        eventually(lambda: scene.google.held["loyaltyClass"][made]["programName"] == "Kaffi")
        eventually(lambda: all("102030" in scene.object(card)["heroImage"]["sourceUri"]["uri"] for card in cards))


def test_words_in_another_language_reach_class_and_card(scene: Scene) -> None:
    program = scene.till.program()
    card = scene.till.card(program["id"])
    words = {"fr": {"card_name": "Carte café", "stamps_reward_description": "Un café au choix"}}
    with scene.syncing():
        scene.saved(card)
        ok(scene.till.patch(f"/programs/{program['id']}", {"translations": words}))
        eventually(lambda: "Un café au choix" in str(scene.object(card)["textModulesData"]))
        classes = scene.google.held["loyaltyClass"]
        eventually(lambda: "Carte café" in str(classes[scene.object(card)["classId"]]["localizedProgramName"]))


# ------------------------------------------------------------------ forgotten


def erase(scene: Scene, card: dict[str, Any]) -> None:
    ok(scene.till.post(f"/customers/{card['customer_id']}/erasure", {"reason": "asked"}))


def test_a_forgotten_persons_card_says_nothing_at_google_any_more(scene: Scene) -> None:
    program = scene.till.program(stamps_target=1, cooldown_minutes=0)
    card = scene.till.card(program["id"], name="Léa Weber")
    with scene.syncing():
        scene.saved(card)
        shown = scene.object(card)
        assert {"heroImage", "barcode", "loyaltyPoints"} <= shown.keys() and "Léa Weber" in str(shown)
        assert card["qr_code_data"] in str(shown) and card["card_number"] in str(shown).replace(" ", "")
        ok(scene.till.stamp(card["id"]))  # A reward would ring, were it not for what follows.
        erase(scene, card)
        nothing = {"id": shown["id"], "classId": shown["classId"], "state": "INACTIVE"}
        eventually(lambda: scene.object(card) == nothing)
        eventually(lambda: scene.service.rows("SELECT * FROM google_alerts") == [])
        eventually(lambda: scene.work(card)["synced"] == scene.work(card)["desired"])
        before = len(scene.google.calls)
        ok(scene.till.patch(f"/programs/{program['id']}", {"card_name": "Kaffi", "card_color": "#102030"}))
        eventually(lambda: "PATCH loyaltyClass" in scene.google.calls[before:])
        time.sleep(QUIET + 1)
        assert scene.object(card) == nothing and scene.google.rung == []
    assert scene.service.differences() == []


def test_what_google_was_not_told_of_somebody_forgotten_is_not_given_up(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        scene.saved(card)
        scene.google.trouble = "400 badRequest"
        ok(scene.till.stamp(card["id"]))
        eventually(lambda: scene.work(card)["is_parked"])
        scene.google.trouble = None
        erase(scene, card)
        eventually(lambda: "barcode" not in scene.object(card))


def test_a_forgotten_persons_card_that_drifted_is_emptied_again_at_night(scene: Scene) -> None:
    forgotten, other = scene.card(), scene.card()
    with scene.syncing():
        for card in (forgotten, other):
            scene.saved(card)
        shown = dict(scene.object(forgotten))
        erase(scene, forgotten)
        eventually(lambda: "barcode" not in scene.object(forgotten))
        seen = ok(scene.service.admin.get(f"/cards/{forgotten['id']}/wallet"))
        assert (seen["apple"]["verdict"], seen["google"]["verdict"]) == ("forgotten", "forgotten")
        eventually(lambda: scene.work(forgotten)["synced"] == scene.work(forgotten)["desired"])
    scene.object(forgotten).update(shown)
    scene.service.rows("UPDATE wallet_work SET desired = 1, synced = 1 WHERE channel = 'sweep' RETURNING id")
    with scene.syncing():
        eventually(lambda: "barcode" not in scene.object(forgotten))
        assert scene.object(other)["state"] == "ACTIVE"


def test_a_forgotten_persons_card_cannot_be_saved_any_more(scene: Scene) -> None:
    card, saved = scene.card(), scene.card()
    with scene.syncing():
        scene.saved(saved)
        for gone in (card, saved):
            erase(scene, gone)
            problem(scene.asked(gone), 404, "card_not_found")
    created = "SELECT count(*) AS n FROM stored_events WHERE topic = 'google-pass-created'"
    assert scene.service.rows(created) == [{"n": 1}]


# ------------------------------------------------------------------ what support sees


def test_support_sees_where_a_card_stands_at_google(scene: Scene) -> None:
    card = scene.card()

    def seen() -> dict[str, Any]:
        found: dict[str, Any] = ok(scene.service.admin.get(f"/cards/{card['id']}/wallet"))["google"]
        return found

    assert seen()["verdict"] == "not_issued"
    with scene.syncing():
        scene.service.catch_up()
        link = ok(scene.asked(card))["url"]
        eventually(lambda: seen()["verdict"] == "not_saved")
        scene.told(scene.google.save(link))
        eventually(lambda: (seen()["verdict"], seen()["is_saved"]) == ("up_to_date", True))
        scene.google.trouble = "400 badRequest"
        ok(scene.till.stamp(card["id"]))
        eventually(lambda: seen()["verdict"] == "parked")
        assert "badRequest" in seen()["hint"] and seen()["card"]["is_parked"]
        scene.google.trouble = None
        assert ok(scene.service.admin.post(f"/cards/{card['id']}/wallet/retry", {})) == {"retried": 1}
        eventually(lambda: seen()["verdict"] == "up_to_date")


# ------------------------------------------------------------------ when it does not work at once


def test_who_wants_to_save_while_google_is_away_may_try_again(scene: Scene) -> None:
    card = scene.card()
    scene.google.trouble = "503"
    with scene.syncing():
        scene.service.catch_up()
        told = problem(scene.asked(card), 503, "google_wallet_unavailable")
        assert told["retry_after_seconds"] == 30
        scene.google.trouble = None
        eventually(lambda: scene.asked(card).status_code == 200)


def test_nothing_is_lost_while_google_is_away(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        scene.saved(card)
        scene.google.trouble = "503"
        ok(scene.till.stamp(card["id"]))
        eventually(lambda: scene.work(card)["last_error"] == "503")
        scene.google.trouble = None
        eventually(lambda: scene.balance(card) == {"string": "1/10"})


def test_an_account_without_permission_stops_the_issuer_and_parks_nothing(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        scene.saved(card)
        scene.google.trouble = "403 permissionDenied"
        ok(scene.till.stamp(card["id"]))
        eventually(lambda: scene.work(card)["last_error"] == "403 permissionDenied")
        assert not scene.work(card)["is_parked"]


def test_what_google_refuses_is_parked_until_there_is_something_else_to_say(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        scene.saved(card)
        scene.google.trouble = "400 badRequest"
        ok(scene.till.stamp(card["id"]))
        eventually(lambda: scene.work(card)["is_parked"])
        scene.google.trouble = None
        ok(scene.till.stamp(card["id"]))  # Another change is another body.
        eventually(lambda: scene.balance(card) == {"string": "2/10"})


def test_a_class_that_vanished_is_made_again(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        scene.saved(card)
        for held in scene.google.held.values():
            held.clear()
        ok(scene.till.stamp(card["id"]))
        eventually(lambda: bool(scene.google.held["loyaltyObject"]) and scene.balance(card) == {"string": "1/10"})


def test_what_drifted_is_put_right_each_night(scene: Scene) -> None:
    program = scene.till.program()
    drifted, missing, right = (scene.till.card(program["id"]) for _ in range(3))
    with scene.syncing():
        for card in (drifted, missing, right):
            scene.saved(card)
        scene.object(drifted)["loyaltyPoints"] = {"label": "Points", "balance": {"int": 99}}
        del scene.google.held["loyaltyObject"][scene.object(missing)["id"]]
        before = len(scene.google.calls)
    scene.service.rows("UPDATE wallet_work SET desired = 1, synced = 1 WHERE channel = 'sweep' RETURNING id")
    with scene.syncing():
        eventually(lambda: scene.balance(drifted) == {"string": "0/10"})
        eventually(lambda: len(scene.google.held["loyaltyObject"]) == 3)
        writes = [call for call in scene.google.calls[before:] if call == "PATCH loyaltyObject"]
        assert len(writes) == 2
        owed = "SELECT count(*) AS n FROM wallet_work WHERE channel = 'google_sweep' AND synced < desired"
        eventually(lambda: scene.service.rows(owed) == [{"n": 0}])


def test_a_class_that_vanished_is_made_again_each_night_and_its_cards_are_compared_then(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        scene.saved(card)
    for held in scene.google.held.values():
        held.clear()
    scene.service.rows("UPDATE wallet_work SET desired = 1, synced = 1 WHERE channel = 'sweep' RETURNING id")
    with scene.syncing():
        eventually(lambda: bool(scene.google.held["loyaltyClass"] and scene.google.held["loyaltyObject"]))
    owed = (
        "SELECT channel, last_error FROM wallet_work WHERE channel LIKE 'google%%' AND (is_parked OR synced < desired)"
    )
    assert scene.service.rows(owed) == []


# ------------------------------------------------------------------ what Google tells


def test_saved_and_removed_are_known_once_google_confirms_them(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        scene.saved(card)
        eventually(lambda: scene.is_saved(card))
        scene.told(scene.google.remove(scene.object(card)["id"]))
        eventually(lambda: not scene.is_saved(card))
    names = "SELECT topic FROM stored_events WHERE topic LIKE 'google-%%' ORDER BY notification_id"
    assert [row["topic"] for row in scene.service.rows(names)] == [
        "google-pass-created",
        "google-pass-saved",
        "google-pass-removed",
    ]
    assert scene.service.differences() == []


def test_a_message_that_comes_twice_or_lies_counts_for_nothing(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        scene.service.catch_up()
        ok(scene.asked(card))
        lie = scene.google.told(scene.object(card)["id"], "save")
        for _ in range(2):
            scene.told(lie)
        asked = "SELECT desired FROM wallet_work WHERE channel = 'google_users' AND synced = desired"
        eventually(lambda: scene.service.rows(asked) == [{"desired": 1}])
        assert not scene.is_saved(card)


def test_a_message_that_google_did_not_sign_for_us_is_refused(scene: Scene) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    told = problem(
        scene.told(Signer(issuer="3388000000099999999", key_expires=later, expires=later).message(), 400),
        400,
        "google_callback_refused",
    )
    assert "signature" not in str(told)
    problem(scene.told(b"{}", 400), 400, "google_callback_refused")
    assert scene.google.calls.count("keys") == 1
    assert scene.service.rows("SELECT count(*) AS n FROM google_nonces") == [{"n": 0}]


def test_without_an_issuer_there_is_no_google(database_url: str) -> None:
    with Service(database_url) as service:
        till = service.shop()
        card = till.card(till.program()["id"])
        answer = service.public.get(f"/cards/{card['qr_code_data']}/google")
        problem(answer, 404, "google_wallet_off")
        problem(service.http.post(CALLBACK, content=b"{}"), 404, "google_wallet_off")
