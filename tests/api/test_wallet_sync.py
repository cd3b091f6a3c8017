"""From a stamp to a phone that rings: the service, the wallet sync and Apple's push service as real processes speak."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from api.syncing import sync
from tests import fake_apns as apns
from tests.api.test_passes import settings_for
from tests.callers import Till, ok
from tests.clock import eventually
from tests.fake_apns import FakeApns, fake_apns
from tests.ledgers import MASTER_KEY
from tests.phones import Carried, Phone
from tests.service import Service
from wallet_sync.dev_certificates import make_dev_certificates
from wallet_sync.wallet_work import retry_at_once

BASE = "/api/v1/loyalty/apple"
QUIET = 2.0  # Seconds in which changes of a card are gathered.


class Scene(NamedTuple):
    service: Service
    apple: FakeApns
    till: Till
    settings: Any

    def card(self, **program: Any) -> dict[str, Any]:
        return self.till.card(self.till.program(cooldown_minutes=0, max_daily_stamps=20, **program)["id"])

    def phone_with(self, card: dict[str, Any], **given: Any) -> tuple[Phone, Carried]:
        self.service.catch_up()
        phone = Phone(self.service.http, BASE, **given)
        carried = phone.add(self.service.public.get(f"/cards/{card['qr_code_data']}/apple.pkpass"))
        phone.refresh()
        return phone, carried

    def pushes(self, phone: Phone) -> int:
        return sum(push.token == phone.push_token for push in self.apple.pushes)

    def work(self, card: dict[str, Any]) -> list[dict[str, Any]]:
        return self.service.rows("SELECT * FROM wallet_work WHERE card_id = %s", card["id"])

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


@pytest.fixture
def scene(database_url: str, tmp_path: Path) -> Iterator[Scene]:
    made = make_dev_certificates(tmp_path / "certificates", now=datetime.now(UTC))
    with fake_apns(made, tmp_path) as apple:
        settings = settings_for(made) | {"apple_push_url": apple.url, "apple_push_ca": apple.ca_file}
        with Service(database_url, public_url="https://cards.example", **settings) as service:
            yield Scene(service, apple, service.shop(), service._settings)


# ------------------------------------------------------------------ one change, one push


def test_a_stamp_rings_the_phone_once_and_it_shows_the_stamp(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        phone, carried = scene.phone_with(card)
        eventually(lambda: len(scene.work(card)) == 1)
        ok(scene.till.stamp(card["id"]))
        eventually(lambda: scene.pushes(phone) == 1)
        assert phone.refresh() == [carried.told["serialNumber"]]
        assert phone.alerts == ["Now on the card: 1 / 10"]
        time.sleep(QUIET + 1)
        assert scene.pushes(phone) == 1
    (row,) = scene.work(card)
    assert (row["synced"], row["desired"], row["last_error"]) == (3, 3, None)  # Issued, then looked at, then stamped.


def test_ten_stamps_within_a_second_make_one_push(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        phone, _ = scene.phone_with(card)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: ok(scene.till.stamp(card["id"])), range(10)))
        eventually(lambda: scene.pushes(phone) == 1)
        time.sleep(QUIET + 1)
        assert scene.pushes(phone) == 1


def test_a_card_that_is_as_it_was_rings_a_phone_that_saw_it_otherwise_in_between(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        phone, _ = scene.phone_with(card)
        eventually(lambda: scene.work(card) != [])
    before = scene.pushes(phone)
    ok(scene.till.post(f"/cards/{card['id']}/suspend", {"reason": "lost"}))
    scene.service.catch_up()
    phone.refresh()
    ok(scene.till.post(f"/cards/{card['id']}/reinstate", {"reason": "found"}))
    scene.service.catch_up()
    with scene.syncing():
        eventually(lambda: scene.pushes(phone) == before + 1)
    phone.refresh()
    (carried,) = phone.passes.values()
    assert "voided" not in carried.told


def test_what_changes_nothing_on_the_pass_pushes_nothing(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        phone, _ = scene.phone_with(card)
        ok(scene.service.admin.patch(f"/vendors/{scene.till.vendor_id}", {"name": "Café Beim Rousegäertchen"}))
        scene.service.admin.api_key(scene.till.vendor_id, "read")
        time.sleep(QUIET + 1.5)
        assert scene.pushes(phone) == 0


def test_another_look_of_the_program_reaches_every_phone(scene: Scene) -> None:
    program = scene.till.program()
    cards = [scene.till.card(program["id"]) for _ in range(3)]
    with scene.syncing():
        phones = [scene.phone_with(card)[0] for card in cards]
        ok(scene.till.patch(f"/programs/{program['id']}", {"card_name": "Café-Kaart"}))
        eventually(lambda: [scene.pushes(phone) for phone in phones] == [1, 1, 1])


def test_words_in_another_language_ring_once_and_those_that_a_pass_says_already_never(scene: Scene) -> None:
    program = scene.till.program()
    card = scene.till.card(program["id"])
    words = {"fr": {"card_name": "Carte café"}}
    with scene.syncing():
        phone, _ = scene.phone_with(card)
        ok(scene.till.patch(f"/programs/{program['id']}", {"translations": words}))
        eventually(lambda: scene.pushes(phone) == 1)
        for said in (words, words | {"de": {"card_name": program["name"]}}):
            ok(scene.till.patch(f"/programs/{program['id']}", {"translations": said}))
        time.sleep(QUIET + 1.5)
        assert scene.pushes(phone) == 1


def test_a_phone_with_several_changed_passes_is_woken_once(scene: Scene) -> None:
    cards = [scene.card(), scene.card()]
    with scene.syncing():
        phone, _ = scene.phone_with(cards[0])
        phone.add(scene.service.public.get(f"/cards/{cards[1]['qr_code_data']}/apple.pkpass"))
        phone.refresh()
        for card in cards:
            ok(scene.till.stamp(card["id"]))
        eventually(lambda: scene.pushes(phone) >= 1)
        assert len(phone.refresh()) == 2
        time.sleep(QUIET + 1)
        assert scene.pushes(phone) == 1


# ------------------------------------------------------------------ when it does not work at once


def test_nothing_is_lost_while_nobody_syncs(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        phone, _ = scene.phone_with(card)
        eventually(lambda: len(scene.work(card)) == 1)
    ok(scene.till.stamp(card["id"]))
    scene.service.catch_up()
    with scene.syncing():
        eventually(lambda: scene.pushes(phone) == 1)


def test_a_phone_that_registered_while_nobody_synced_is_told_what_came_after(scene: Scene) -> None:
    card = scene.card()
    phone, _ = scene.phone_with(card)
    ok(scene.till.stamp(card["id"]))
    scene.service.catch_up()
    with scene.syncing():
        eventually(lambda: scene.pushes(phone) == 1)
        assert phone.refresh() != []


def test_a_phone_is_told_once_apple_is_back(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        phone, _ = scene.phone_with(card)
        scene.apple.always = apns.DOWN
        ok(scene.till.stamp(card["id"]))
        eventually(lambda: any(row["last_error"] == "ServiceUnavailable" for row in scene.work(card)))
        scene.apple.always = None
        eventually(lambda: all(row["synced"] == row["desired"] for row in scene.work(card)))
        assert phone.refresh() != []


def test_a_phone_that_is_gone_is_forgotten(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        phone, _ = scene.phone_with(card)
        scene.apple.always = replace(apns.GONE, gone_at=datetime.now(UTC) + timedelta(minutes=1))
        ok(scene.till.stamp(card["id"]))
        registered = "SELECT count(*) AS n FROM apple_device_registrations WHERE card_id = %s"
        eventually(lambda: scene.service.rows(registered, card["id"])[0]["n"] == 0)
        eventually(lambda: scene.work(card) == [])
    assert scene.pushes(phone) == 1
    assert scene.service.differences() == []


def test_a_phone_that_registered_again_since_is_not_forgotten(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        phone, _ = scene.phone_with(card)
        scene.apple.always = apns.GONE  # As Apple saw it long ago.
        ok(scene.till.stamp(card["id"]))
        eventually(lambda: any(row["last_error"] == "Unregistered" for row in scene.work(card)))
        sql = "SELECT push_token FROM apple_device_registrations WHERE card_id = %s"
        assert scene.service.rows(sql, card["id"]) == [{"push_token": phone.push_token}]


def test_what_is_parked_is_tried_again_when_asked(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        phone, _ = scene.phone_with(card)
        scene.apple.always = apns.Answer(400, "PayloadEmpty")
        ok(scene.till.stamp(card["id"]))
        eventually(lambda: any(row["is_parked"] for row in scene.work(card)))
        scene.apple.always = None
        assert retry_at_once(scene.service.database_url) == 1
        eventually(lambda: all(row["synced"] == row["desired"] for row in scene.work(card)))
        assert scene.pushes(phone) == 2


# ------------------------------------------------------------------ forgotten


def erase(scene: Scene, card: dict[str, Any]) -> None:
    ok(scene.till.post(f"/customers/{card['customer_id']}/erasure", {"reason": "asked"}))


def test_a_forgotten_persons_phone_is_woken_once_more_and_shows_nothing(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        phone, carried = scene.phone_with(card)
        erase(scene, card)
        eventually(lambda: scene.pushes(phone) == 1)
        eventually(lambda: scene.service.rows("SELECT push_token FROM wallet_farewells") == [{"push_token": None}])
        assert phone.refresh() == [carried.told["serialNumber"]]
        assert phone.passes[carried.told["serialNumber"]].told["voided"] is True
        time.sleep(QUIET + 1)
        assert scene.pushes(phone) == 1
        scene.service.rows("UPDATE wallet_farewells SET until = until - interval '1 hour'")
        eventually(lambda: scene.service.rows("SELECT * FROM wallet_farewells") == [])
    assert scene.work(card) == []


def test_a_farewell_waits_for_apple_and_lapses_in_the_end(scene: Scene) -> None:
    card = scene.card()
    phone, _ = scene.phone_with(card)
    erase(scene, card)
    (row,) = scene.service.rows("SELECT * FROM wallet_farewells")
    assert phone.push_token not in str(row) and phone.id not in str(row)
    scene.apple.always = apns.DOWN
    with scene.syncing():
        eventually(lambda: scene.service.rows("SELECT failures FROM wallet_farewells")[0]["failures"] >= 1)
        scene.service.rows("UPDATE wallet_farewells SET until = now()")
        eventually(lambda: scene.service.rows("SELECT * FROM wallet_farewells") == [])
