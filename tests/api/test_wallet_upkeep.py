"""What drifted is mended: phones that were woken and never came, rules whose day has come, and what nobody noticed."""

import asyncio
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from api.logs import configure
from tests.api import test_wallet_sync
from tests.api.test_wallet_sync import QUIET, Scene
from tests.callers import ok
from tests.clock import eventually
from tests.ledgers import running_ledger
from tests.phones import Phone
from wallet_sync.apple_key_ring import KeyRing
from wallet_sync.dev_certificates import make_dev_certificates
from wallet_sync.upkeep import Upkeep, last_sweep, night_of, passed_mark, sweep_if_due

scene = test_wallet_sync.scene

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = datetime(2026, 3, 14, 2, 59, tzinfo=UTC)


def six_hours_pass(scene: Scene) -> None:
    scene.service.rows(
        "UPDATE wallet_work SET look_again_at = look_again_at - interval '6 hours', last_tried_at = last_tried_at -"
        " interval '6 hours', asked_at = asked_at - interval '6 hours'"
    )


def looks_left(scene: Scene) -> int:
    """How many rows somebody has yet to look at again."""
    return len(scene.service.rows("SELECT 1 FROM wallet_work WHERE look_again_at IS NOT NULL AND channel = 'apple'"))


def programs_owed(scene: Scene) -> list[Any]:
    return scene.service.rows("SELECT id FROM wallet_work WHERE channel = 'program' AND synced < desired")


def tonights_sweep_is_done(scene: Scene) -> bool:
    begun = "SELECT bool_or(channel = 'sweep') AND NOT bool_or(channel = 'program' AND synced < desired) AS is_done"
    return bool(scene.service.rows(f"{begun} FROM wallet_work")[0]["is_done"])


def asks(scene: Scene, phone: Phone) -> None:
    """The phone does what it does when it is woken, and that is noted."""
    before = datetime.now(UTC)
    phone.refresh()
    seen = "SELECT 1 FROM wallet_work w JOIN apple_device_registrations r USING (id) WHERE asked_at >= %s AND r.device"
    eventually(lambda: scene.service.rows(seen + "_library_identifier = %s", before, phone.id) != [])


# ------------------------------------------------------------------ woken, and never came


def test_a_phone_that_was_woken_and_never_came_is_woken_again(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        phone, _ = scene.phone_with(card)
        ok(scene.till.stamp(card["id"]))
        eventually(lambda: scene.pushes(phone) == 1)
        eventually(lambda: looks_left(scene) == 1)
        six_hours_pass(scene)
        eventually(lambda: scene.pushes(phone) == 2)
        eventually(lambda: looks_left(scene) == 1)
        (row,) = scene.work(card)
        assert 11.9 * HOUR < row["look_again_at"] - datetime.now(UTC) < 12.1 * HOUR  # Twice as long as before.


def test_a_phone_that_came_is_left_alone(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        phone, _ = scene.phone_with(card)
        ok(scene.till.stamp(card["id"]))
        eventually(lambda: scene.pushes(phone) == 1)
        eventually(lambda: looks_left(scene) == 1)
        asks(scene, phone)
        six_hours_pass(scene)
        eventually(lambda: looks_left(scene) == 0)
        time.sleep(QUIET)
        assert scene.pushes(phone) == 1


def test_of_two_phones_only_the_one_that_did_not_come_is_woken_again(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        came, lost = (scene.phone_with(card)[0] for _ in range(2))
        ok(scene.till.stamp(card["id"]))
        eventually(lambda: scene.pushes(came) == scene.pushes(lost) == 1)
        eventually(lambda: looks_left(scene) == 2)
        asks(scene, came)
        six_hours_pass(scene)
        eventually(lambda: scene.pushes(lost) == 2)
        assert scene.pushes(came) == 1


def test_a_phone_that_never_comes_is_woken_four_times_in_all_until_its_pass_changes(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        phone, _ = scene.phone_with(card)
        ok(scene.till.stamp(card["id"]))
        for times in (1, 2, 3):
            eventually(lambda times=times: scene.pushes(phone) == times)  # type: ignore[misc]
            eventually(lambda: looks_left(scene) == 1)
            scene.service.rows("UPDATE wallet_work SET look_again_at = now()")
        eventually(lambda: scene.pushes(phone) == 4)
        eventually(lambda: scene.work(card)[0]["synced"] == scene.work(card)[0]["desired"])
        assert looks_left(scene) == 0
        ok(scene.till.stamp(card["id"]))
        eventually(lambda: looks_left(scene) == 1)
        assert scene.work(card)[0]["times_again"] == 0


def test_what_a_phone_fetched_before_anybody_looked_counts_as_fetched(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        phone, _ = scene.phone_with(card)
        eventually(lambda: len(scene.work(card)) == 1)
    ok(scene.till.stamp(card["id"]))
    scene.service.catch_up()
    asks(scene, phone)  # Pulled down by its holder.
    revision = scene.service.rows("SELECT revision FROM wallet_passes WHERE card_id = %s", card["id"])[0]["revision"]
    with scene.syncing():
        eventually(lambda: scene.pushes(phone) == 1)
    (shown,) = scene.service.rows("SELECT * FROM wallet_passes WHERE card_id = %s", card["id"])
    assert shown["fetched_revision"] == shown["revision"] == revision + 1


# ------------------------------------------------------------------ what has no event


def test_rules_whose_day_has_come_reach_the_phone_without_an_event(scene: Scene) -> None:
    program = scene.till.program()
    card = scene.till.card(program["id"])
    with scene.syncing():
        phone, carried = scene.phone_with(card)
        at = datetime.now(UTC) + timedelta(seconds=8)
        asked = {"stamps_target": 8, "effective_from": at.isoformat()}
        ok(scene.till.patch(f"/programs/{program['id']}", asked))
        scene.service.catch_up()
        phone.refresh()
        serial = carried.told["serialNumber"]
        assert phone.passes[serial].value("stamps") == "0 / 10" and phone.refresh() == []
        eventually(lambda: scene.pushes(phone) >= 1)
        assert phone.refresh() == [serial]
        assert phone.passes[serial].value("stamps") == "0 / 8"
        assert phone.refresh() == [] and phone.fetch(phone.passes[serial]) == 304
    assert datetime.now(UTC) > at


def test_a_change_of_the_program_counts_although_sweeps_have_counted_up_to_its_position(scene: Scene) -> None:
    program = scene.till.program()
    card = scene.till.card(program["id"])
    with scene.syncing():
        phone, _ = scene.phone_with(card)
        eventually(lambda: len(scene.work(card)) == 1 and not programs_owed(scene))
        scene.service.rows(
            "UPDATE wallet_work SET synced = h.next, desired = h.next"
            " FROM (SELECT max(notification_id) + 50 AS next FROM stored_events) h WHERE channel = 'program'"
        )
        ok(scene.till.patch(f"/programs/{program['id']}", {"card_name": "Café-Kaart"}))
        eventually(lambda: scene.pushes(phone) == 1)


def test_the_sweep_of_a_night_finds_what_nobody_noticed(scene: Scene) -> None:
    cards = [scene.card() for _ in range(2)]
    with scene.syncing():
        (phone, carried), (other, _) = (scene.phone_with(card) for card in cards)
        eventually(lambda: all(len(scene.work(card)) == 1 for card in cards))
        scene.service.rows("UPDATE wallet_passes SET digest = 'x' WHERE card_id = %s", cards[0]["id"])
    scene.service.rows("UPDATE wallet_work SET synced = synced - 1, desired = desired - 1 WHERE channel = 'sweep'")
    with scene.syncing():
        eventually(lambda: scene.pushes(phone) == 1)
        assert phone.refresh() == [carried.told["serialNumber"]]
        time.sleep(QUIET)
        assert (scene.pushes(phone), scene.pushes(other)) == (1, 0)


def test_one_of_many_begins_the_sweep_and_all_can_tell_how_far_it_is(scene: Scene) -> None:
    card = scene.card()
    with scene.syncing():
        scene.phone_with(card)
        eventually(lambda: len(scene.work(card)) == 1 and tonights_sweep_is_done(scene))

    tomorrow = datetime.now(UTC) + DAY

    async def nights() -> None:
        async with running_ledger(scene.service.database_url) as ledger:
            begun = await asyncio.gather(*(sweep_if_due(ledger.reader, tomorrow) for _ in range(8)))
            assert sorted(begun) == [0] * 7 + [1]
            told = await last_sweep(ledger.reader)
            assert told is not None and (told["programs_left"], told["programs"], told["ended_at"]) == (1, 1, None)

    async def same_night() -> int:
        async with running_ledger(scene.service.database_url) as ledger:
            return await sweep_if_due(ledger.reader, tomorrow)

    asyncio.run(nights())
    with scene.syncing():
        eventually(lambda: not programs_owed(scene))
    assert asyncio.run(same_night()) == 0


@pytest.mark.parametrize(("now", "nights"), [(NOW, 0), (NOW + HOUR, 1), (NOW + 20 * HOUR, 1), (NOW + 25 * HOUR, 2)])
def test_a_night_begins_at_three(now: datetime, nights: int) -> None:
    assert night_of(now) == night_of(NOW) + nights


# ------------------------------------------------------------------ certificates


@pytest.mark.parametrize(
    ("days_left", "mark"),
    [(31, None), (30, 30), (15, 30), (14, 14), (8, 14), (7, 7), (2, 7), (1, 1), (0, 1), (-3, 1)],
)
def test_a_certificate_passes_four_marks_on_its_way(days_left: int, mark: int | None) -> None:
    assert passed_mark(days_left) == mark


def test_each_mark_is_told_once_in_the_log(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure()
    now = datetime.now(UTC)
    made = make_dev_certificates(tmp_path, now=now, valid_until=now + 40 * DAY)
    days = [0, 9, 9, 11, 25, 27, 32, 35, 38, 39.5, 39.6]

    async def pass_days() -> None:
        times = iter(now + day * DAY + HOUR for day in days for _ in range(2))  # A turn reads the clock twice.
        async with running_ledger(database_url) as ledger:
            upkeep = Upkeep(ledger.reader, KeyRing(made.files), lambda: next(times))
            for _ in days:
                await upkeep.turn()

    asyncio.run(pass_days())
    told = capsys.readouterr()
    lines = [line for line in (told.out + told.err).splitlines() if "certificate-ends-soon" in line]
    assert len(lines) == 4, lines
    assert "warn" in lines[0] and "error" in lines[2] and "error" in lines[3]


def test_a_certificate_that_ended_is_told_once_and_not_at_every_turn(
    scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now, settings = datetime.now(UTC), scene.settings
    ended = make_dev_certificates(tmp_path / "ended", now=now, valid_from=now - 9 * DAY, valid_until=now - DAY).files
    for file, instead in (
        (settings.apple_certificate, ended.certificate),
        (settings.apple_key, ended.key),
        (settings.apple_wwdr, ended.wwdr),
    ):
        shutil.copy(instead, file)
    with scene.syncing():
        time.sleep(5)  # Two turns and more.
    told = capsys.readouterr()
    assert len([line for line in (told.out + told.err).splitlines() if "apple-wallet-unfit" in line]) == 1
