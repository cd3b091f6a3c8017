"""What refuses all of us, and what cannot be done at all, stops neither the rest nor anything for ever."""

import time
from typing import Any
from uuid import uuid4

from tests import fake_apns as apns
from tests.api import test_google_wallet, test_wallet_sync
from tests.callers import ok
from tests.clock import eventually
from wallet_sync.wallet_work import retry_at_once

A_WHILE = 2.0  # Four times as long as the sync waits before it looks again.

apple = test_wallet_sync.scene
google = test_google_wallet.scene


def registered(scene: test_wallet_sync.Scene) -> int:
    return int(scene.service.rows("SELECT count(*) AS n FROM apple_device_registrations")[0]["n"])


def owed_at_once(scene: Any, cards: list[dict[str, Any]]) -> None:
    sql = "UPDATE wallet_work SET synced = desired - 1, due_at = now() WHERE card_id = ANY(%s::uuid[]) RETURNING id"
    assert len(scene.service.rows(sql, [card["id"] for card in cards])) == len(cards)


def everything_is_told(scene: Any) -> bool:
    owed = scene.service.rows("SELECT count(*) AS n FROM wallet_work WHERE synced < desired")
    return bool(owed == [{"n": 0}])


def support_hears(scene: Any, card: dict[str, Any], provider: str) -> str:
    """The verdict; the service's health tells the same of the provider."""
    admin = scene.service.admin
    verdict = str(ok(admin.get(f"/cards/{card['id']}/wallet"))[provider]["verdict"])
    stopped = [provider] if verdict == "stopped" else []
    assert list(ok(admin.get("/system"))["wallets"]["stopped"]) == stopped
    in_metrics = f'loyalty_wallet_stopped{{provider="{provider}"}} 1.0' in scene.service.http.get("/metrics").text
    assert in_metrics == bool(stopped)
    return verdict


def test_tokens_are_not_believed_to_be_bad_while_apple_calls_most_of_them_so(apple: test_wallet_sync.Scene) -> None:
    program = apple.till.program(cooldown_minutes=0)
    cards = [apple.till.card(program["id"]) for _ in range(23)]
    phones = [apple.phone_with(card)[0] for card in cards]
    with apple.syncing():
        eventually(lambda: everything_is_told(apple) and len(apple.service.rows("SELECT id FROM wallet_work")) > 23)
    first, later = cards[:20], cards[20:]
    apple.apple.pushes.clear()
    apple.apple.always = apns.BAD
    owed_at_once(apple, first)
    with apple.syncing():
        eventually(lambda: len(apple.apple.pushes) == 20)
        time.sleep(A_WHILE)
        owed_at_once(apple, later)  # Too few for anybody to judge by.
        time.sleep(A_WHILE)
        assert (registered(apple), len(apple.apple.pushes)) == (23, 20)
        assert support_hears(apple, later[0], "apple") == "stopped"
        retry_at_once(apple.service.database_url)
        eventually(lambda: len(apple.apple.pushes) == 21)  # A trial, which ends as badly.
        time.sleep(A_WHILE)
        assert (registered(apple), len(apple.apple.pushes)) == (23, 21)
    apple.apple.always = None
    retry_at_once(apple.service.database_url)
    with apple.syncing():
        eventually(lambda: {push.token for push in apple.apple.accepted} >= {phone.push_token for phone in phones})
        eventually(lambda: everything_is_told(apple))
    assert support_hears(apple, later[0], "apple") != "stopped"


def test_an_account_that_google_refuses_is_tried_with_one_thing_at_a_time(google: test_google_wallet.Scene) -> None:
    program = google.till.program(cooldown_minutes=0)
    cards = [google.till.card(program["id"]) for _ in range(3)]
    with google.syncing():
        for card in cards:
            google.saved(card)
        google.google.trouble = "403 permissionDenied"
        ok(google.till.stamp(cards[0]["id"]))
        eventually(lambda: google.service.rows("SELECT name FROM paces WHERE name = 'google stopped'") != [])
        time.sleep(A_WHILE)
        asked = len(google.google.calls)
        for card in cards[1:]:
            ok(google.till.stamp(card["id"]))
        eventually(lambda: all(google.work(card)["synced"] < google.work(card)["desired"] for card in cards))
        time.sleep(test_wallet_sync.QUIET + A_WHILE)
        assert len(google.google.calls) == asked
        assert support_hears(google, cards[1], "google") == "stopped"
        google.google.trouble = None
        retry_at_once(google.service.database_url)
        eventually(lambda: all(google.balance(card) == {"string": "1/10"} for card in cards))
        assert support_hears(google, cards[1], "google") == "up_to_date"


def test_a_comparison_that_was_given_up_is_made_the_next_night(google: test_google_wallet.Scene) -> None:
    card = google.card()
    with google.syncing():
        google.saved(card)
    google.object(card)["loyaltyPoints"] = {"label": "Points", "balance": {"int": 99}}
    google.service.rows("UPDATE wallet_work SET is_parked = true, synced = 0 WHERE channel = 'google_sweep'")
    google.service.rows("UPDATE wallet_work SET desired = 1, synced = 1 WHERE channel = 'sweep'")
    with google.syncing():
        eventually(lambda: google.balance(card) == {"string": "0/10"})


def test_what_cannot_be_done_at_all_does_not_stop_the_rest(google: test_google_wallet.Scene) -> None:
    card = google.card()
    with google.syncing():
        google.saved(card)
    nowhere = "INSERT INTO wallet_work (channel, id, desired, synced) VALUES ('google_class', %s, 1, 0) RETURNING id"
    google.service.rows(nowhere, uuid4())
    with google.syncing():
        ok(google.till.stamp(card["id"]))
        eventually(lambda: google.balance(card) == {"string": "1/10"})
    failing = "SELECT failures > 0 AS is_so, last_error FROM wallet_work WHERE synced < desired"
    assert google.service.rows(failing) == [{"is_so": True, "last_error": "no answer ProgramNotFound"}]


def test_what_apple_says_is_kept_whatever_it_is(apple: test_wallet_sync.Scene) -> None:
    card = apple.card()
    with apple.syncing():
        apple.phone_with(card)
        apple.apple.always = apns.Answer(404, "Bad\0Path")
        ok(apple.till.stamp(card["id"]))
        eventually(lambda: [row["last_error"] for row in apple.work(card)] == ["BadPath"])


def test_a_card_that_cannot_be_read_holds_the_follower_up_and_does_not_end_it(apple: test_wallet_sync.Scene) -> None:
    card = apple.card()
    with apple.syncing():
        phone, _ = apple.phone_with(card)
        eventually(lambda: everything_is_told(apple) and apple.work(card) != [])
    ok(apple.till.stamp(card["id"]))
    apple.service.catch_up()
    (row,) = apple.service.rows("SELECT state::text AS it FROM loyalty_cards WHERE id = %s", card["id"])
    apple.service.rows("UPDATE loyalty_cards SET state = '{}' WHERE id = %s", card["id"])
    with apple.syncing():
        time.sleep(A_WHILE)
        assert apple.pushes(phone) == 0
        apple.service.rows("UPDATE loyalty_cards SET state = %s::jsonb WHERE id = %s", row["it"], card["id"])
        eventually(lambda: apple.pushes(phone) == 1)
