"""Every event reaches its tables; once, in order, whoever restarts or dies."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import orjson
import psycopg
import pytest
from msgspec.structs import asdict, replace

from ledger import attempts, card, program, staff_pin, vendor
from ledger.ids import attempts_id, derived
from ledger.personal import Secret
from ledger.stream import EVENT_NAMES, NAME_OF, Recorded
from migrations.local_postgres import LocalPostgres
from migrations.upgrade import upgrade
from projections import read_model
from projections.fold import Fold
from projections.read_model import PoisonEvent, Projector
from tests.clock import eventually
from tests.examples import (
    CAKE,
    DAY,
    EVENTS,
    HOUR,
    HYBRID_RULES,
    KEY_ISSUED,
    LOCATION_ID,
    MONDAY,
    PROFILE,
    REWARD_ID,
    STREAM_IDS,
    envelope,
    stream_type_of,
)
from tests.projections.stories import MASTER_KEY, Store, bought, busy_days, enrolled, pin_created, redeemed, stamped


def catch_up(url: str) -> int:
    return Projector(url, MASTER_KEY).catch_up()


@contextmanager
def running(url: str) -> Iterator[Projector]:
    stop, projector = threading.Event(), Projector(url, MASTER_KEY)
    thread = threading.Thread(target=projector.run, args=(stop,))
    thread.start()
    try:
        yield projector
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    store = Store(database_url).opened()
    yield store
    store.connection.close()


def test_a_vendor_its_keys_and_its_program_stand_in_their_tables(store: Store, database_url: str) -> None:
    key = replace(KEY_ISSUED, key_id=uuid4(), digest="ab" * 32)
    store.append(
        (
            "vendor",
            store.vendor_id,
            [
                vendor.VendorUpdated(MONDAY, replace(PROFILE, name="Zorn")),
                vendor.VendorSuspended(MONDAY),
                vendor.VendorReinstated(MONDAY + HOUR),
                key,
                vendor.ApiKeyRevoked(MONDAY + DAY, key.key_id),
            ],
        ),
        (
            "program",
            store.program_id,
            [
                program.RewardChanged(MONDAY, replace(CAKE, points_cost=60)),
                program.ProgramRulesChanged(
                    MONDAY, replace(HYBRID_RULES, version=2, effective_from=MONDAY + 30 * DAY, stamps_target=12)
                ),
                program.ProgramBrandingChanged(MONDAY, program.Branding(name="Coffee")),
                program.ProgramDeactivated(MONDAY + DAY),
            ],
        ),
    )
    catch_up(database_url)

    shop = store.row("vendors", store.vendor_id)
    assert (shop["name"], shop["is_active"], shop["version"], shop["languages"]) == (
        "Zorn",
        True,
        7,
        ["lb", "fr", "en"],
    )
    revoked = store.row("api_keys", key.key_id, "key_id")
    assert (revoked["revoked_at"], revoked["digest"], revoked["vendor_id"]) == (
        MONDAY + DAY,
        "ab" * 32,
        store.vendor_id,
    )
    assert [row["revoked_at"] for row in store.rows("SELECT * FROM api_keys ORDER BY position")] == [None, MONDAY + DAY]
    scheme = store.row("loyalty_programs", store.program_id)
    assert scheme["name"] == "Coffee"
    assert scheme["points_per_currency_unit"] == {"points": 1, "per_minor": 10}
    assert [reward["points_cost"] for reward in scheme["points_rewards"]] == [60]
    assert (scheme["stamps_target"], scheme["next_rules_at"]) == (10, MONDAY + 30 * DAY)
    assert (scheme["is_active"], scheme["deactivated_at"]) == (False, MONDAY + DAY)
    store.append(("program", store.program_id, [program.RewardRetired(MONDAY + DAY, REWARD_ID)]))
    catch_up(database_url)
    assert store.row("loyalty_programs", store.program_id)["points_rewards"] == []


def test_a_card_shows_what_its_events_add_up_to(store: Store, database_url: str) -> None:
    card_id, token = uuid4(), Secret(plain="a-token")
    stamp, purchase = stamped(1), bought(70, 70, stamps=1, order_reference="A-17")
    coffee = redeemed(0, 50, after=(1, 20))
    store.append(
        (
            "card",
            card_id,
            [
                replace(enrolled(), qr_token=token),
                stamp,
                purchase,
                coffee,
                card.EarnReversed(
                    MONDAY, uuid4(), stamp.entry_id, "error", "allow_negative", 1, 0, 0, 0, True, 1, 0, None, 0, 20
                ),
                card.RedemptionReversed(MONDAY, uuid4(), coffee.entry_id, "cold", 0, 50, 1, 0, 70),
                card.UnitsAdjusted(MONDAY, uuid4(), 0, -5, "counted again", 1, 0, 65),
                card.CardSuspended(MONDAY, "lost?"),
                card.CardReinstated(MONDAY, "found"),
                card.CustomerDetailsChanged(MONDAY, "fr", name=Secret(plain="Marie")),
                card.UnitsForfeited(MONDAY, uuid4(), 0, 65),
                card.CardClosed(MONDAY + DAY, "moved away"),
            ],
        ),
        location_id=LOCATION_ID,
    )
    catch_up(database_url)

    row = store.row("loyalty_cards", card_id)
    assert row["qr_code_data"] == "a-token"
    assert (row["stamp_count"], row["points_balance"], row["total_points_earned"]) == (0, 0, 70)
    assert (row["status"], row["is_active"], row["language"], row["version"]) == ("closed", False, "fr", 12)
    assert (row["last_points_at"], row["last_stamp_at"]) == (MONDAY, None)
    assert "Marie" not in str(row)
    entries = store.rows("SELECT * FROM loyalty_transactions WHERE card_id = %s ORDER BY card_version", card_id)
    assert [entry["transaction_type"] for entry in entries] == [
        "card_enrolled",
        "stamp_earned",
        "points_earned",
        "points_redeemed",
        "stamp_reversed",
        "redemption_reversed",
        "points_adjusted",
        "card_status_changed",
        "card_status_changed",
        "card_details_changed",
        "units_forfeited",
        "card_status_changed",
    ]
    assert sum(entry["points_delta"] for entry in entries) == 0
    assert [entry["points_balance_after"] for entry in entries] == [0, 0, 70, 20, 20, 70, 65, 65, 65, 65, 0, 0]
    assert entries[1]["id"] == stamp.entry_id and entries[0]["id"] == derived("transaction", card_id, 1)
    assert (entries[2]["order_reference"], entries[2]["net_amount_minor"]) == ("A-17", 700)
    assert entries[4]["reverses_id"] == stamp.entry_id
    assert {entry["location_id"] for entry in entries} == {LOCATION_ID}


def test_a_replaced_card_hands_over_its_units_and_makes_room(store: Store, database_url: str) -> None:
    customer, old, new = uuid4(), uuid4(), uuid4()
    store.append(("card", old, [enrolled(customer), stamped(1)]))
    catch_up(database_url)
    moved = enrolled(customer, replaces=old, stamps=1, total_stamps_earned=1)
    store.append(("card", old, [card.CardReplaced(MONDAY, "lost", new, 1, 0)]), ("card", new, [moved]))
    catch_up(database_url)
    assert store.row("loyalty_cards", old)["replaced_by"] == new
    assert [store.row("loyalty_cards", id_)["stamp_count"] for id_ in (old, new)] == [0, 1]
    sums = store.rows("SELECT card_id, sum(stamps_delta) AS held FROM loyalty_transactions GROUP BY card_id")
    assert {row["card_id"]: row["held"] for row in sums} == {old: 0, new: 1}


def test_a_rotated_qr_code_replaces_the_old_one(store: Store, database_url: str) -> None:
    card_id = uuid4()
    store.append(("card", card_id, [enrolled(), stamped(1)]))
    catch_up(database_url)
    store.append(("card", card_id, [card.QrTokenRotated(MONDAY, Secret(plain="another")), stamped(2)]))
    catch_up(database_url)
    assert store.row("loyalty_cards", card_id)["qr_code_data"] == "another"


def test_a_pin_shows_failures_locks_and_its_last_use(store: Store, database_url: str) -> None:
    pin_id, card_id = uuid4(), uuid4()
    rejected = [staff_pin.StaffPinRejected(MONDAY)] * 2
    store.append(("staff_pin", pin_id, [pin_created(), *rejected]))
    catch_up(database_url)
    row = store.row("staff_pins", pin_id)
    assert (row["name"], row["pin_hash"], row["failed_attempts"]) == ("Jang", "$2b$10$hash", 2)
    assert row["last_used_at"] is None
    store.append(
        ("staff_pin", pin_id, [staff_pin.StaffPinAccepted(MONDAY), staff_pin.StaffPinLocked(MONDAY, MONDAY + DAY)])
    )
    store.append(("card", card_id, [enrolled(), stamped(1, at=MONDAY + HOUR, staff_pin_id=pin_id)]))
    catch_up(database_url)
    row = store.row("staff_pins", pin_id)
    assert (row["failed_attempts"], row["locked_until"], row["last_used_at"]) == (0, MONDAY + DAY, MONDAY + HOUR)
    store.append(
        (
            "staff_pin",
            pin_id,
            [
                staff_pin.StaffPinUnlocked(MONDAY + DAY),
                staff_pin.StaffPinChanged(MONDAY + DAY, pin_hash=Secret(plain="$2b$10$other"), role="manager"),
                staff_pin.StaffSessionOpened(MONDAY + 2 * DAY, uuid4(), None, MONDAY + 3 * DAY),
                staff_pin.StaffPinRevoked(MONDAY + 2 * DAY),
            ],
        )
    )
    catch_up(database_url)
    row = store.row("staff_pins", pin_id)
    assert (row["pin_hash"], row["role"], row["locked_until"]) == ("$2b$10$other", "manager", None)
    assert (row["is_active"], row["last_used_at"]) == (False, MONDAY + 2 * DAY)


def test_refusals_say_which_rule_and_why(store: Store, database_url: str) -> None:
    card_id = uuid4()
    facts: dict[str, str | int] = {"held": 9, "needed": 10}
    kinds: list[type[Any]] = [
        attempts.StampRefused,
        attempts.EarnRefused,
        attempts.RedemptionRefused,
        attempts.ReversalRefused,
    ]
    store.append(("attempts", attempts_id(card_id), [kind(MONDAY, card_id, "some_rule", facts) for kind in kinds]))
    catch_up(database_url)
    rows = store.rows("SELECT * FROM refusals ORDER BY position")
    assert [row["kind"] for row in rows] == ["stamp", "earn", "redemption", "reversal"]
    assert {row["card_id"] for row in rows} == {card_id} and rows[0]["facts"] == facts


def test_every_event_there_is_reaches_a_table() -> None:
    fold, versions = Fold(MASTER_KEY), Counter[UUID]()
    for position, event in enumerate(EVENTS, 1):
        stream_type = stream_type_of(event)
        stream_id = STREAM_IDS[stream_type]
        versions[stream_id] += 1
        name, around = NAME_OF[type(event)], envelope(stream_type)
        for changed in fold.changed.values():
            changed.clear()
        fold.apply(Recorded(stream_id, versions[stream_id], position, name, event, around, "", ""))
        added = [asdict(row)["position"] for rows in fold.added.values() for row in rows]
        # That a person was forgotten, the cards and passes tell the tables by events of their own; a check tells none.
        is_told_apart = stream_type in ("subject", "audit")
        assert is_told_apart or position in added or any(fold.changed.values()), f"{name} changes nothing"
    assert set(map(type, EVENTS)) == set(EVENT_NAMES.values())


def test_many_events_at_once_end_like_one_at_a_time(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy_days(store, cards=8, rounds=40)
    catch_up(database_url)
    at_once = store.tables()
    for table in at_once:
        store.connection.execute(f"TRUNCATE {table}")
    store.connection.execute("UPDATE projections SET position = 0")
    monkeypatch.setattr(read_model, "BATCH_EVENTS_MAX", 1)
    monkeypatch.setattr(read_model.read_batch, "__kwdefaults__", {"until": None, "limit": 1})
    catch_up(database_url)
    assert store.tables() == at_once


def test_a_forgotten_person_leaves_no_secret(store: Store, database_url: str) -> None:
    card_id = uuid4()
    store.append(("card", card_id, [enrolled()]))
    store.connection.execute("DELETE FROM subject_keys")
    catch_up(database_url)
    assert store.row("loyalty_cards", card_id)["qr_code_data"] is None


def test_the_running_projector_follows_within_moments(store: Store, database_url: str) -> None:
    with running(database_url) as projector:
        last = store.append(("card", uuid4(), [enrolled()]))
        eventually(lambda: projector.position >= last)
        assert store.rows("SELECT count(*) AS n FROM loyalty_cards")[0]["n"] == 1
    (row,) = store.rows("SELECT * FROM projections")
    assert (row["position"], row["holder"], row["error"]) == (last, None, None)


def test_a_restart_of_postgresql_is_survived(durable_server: LocalPostgres) -> None:
    url = durable_server.start()
    upgrade(url)
    store = Store(url).opened()
    with running(url) as projector:
        busy_days(store, cards=5, rounds=30)
        assert durable_server.pid is not None
        os.kill(durable_server.pid, signal.SIGQUIT)
        eventually(lambda: durable_server.pid is None)
        durable_server.start()
        store.connection.close()
        store.connection = psycopg.connect(url, autocommit=True)
        last = store.append(("card", uuid4(), [enrolled()]))
        eventually(lambda: projector.position >= last)
    (row,) = store.rows("SELECT position, (SELECT count(*) FROM loyalty_transactions) AS n FROM projections")
    (streams,) = store.rows("SELECT sum(version) AS events FROM streams WHERE stream_type = 'card'")
    assert (row["position"], row["n"]) == (last, streams["events"])
    store.connection.close()


def poisoned(store: Store) -> int:
    """An event with a NUL in it, which text in PostgreSQL cannot hold, and events after it."""
    card_id = uuid4()
    store.append(("card", card_id, [enrolled()]))
    bad = store.append(
        ("card", card_id, [stamped(1)]),
        ("card", card_id, [card.UnitsAdjusted(MONDAY, uuid4(), 1, 0, "nul \x00", 1, 2, 0)]),
        ("card", card_id, [stamped(3)]),
    )
    return bad - 1


def test_a_poison_event_stops_there_and_is_named(store: Store, database_url: str) -> None:
    bad = poisoned(store)
    with pytest.raises(PoisonEvent, match=f"position {bad}: units-adjusted, version 3"):
        catch_up(database_url)
    assert store.rows("SELECT position FROM projections")[0]["position"] == bad - 1
    assert store.rows("SELECT stamp_count FROM loyalty_cards")[0]["stamp_count"] == 1
    with running(database_url):
        eventually(lambda: store.rows("SELECT error FROM projections")[0]["error"])
    (row,) = store.rows("SELECT * FROM projections")
    assert row["position"] == bad - 1 and row["error"].startswith(f"position {bad}: units-adjusted")


def test_a_mended_poison_event_lets_everything_go_on(store: Store, database_url: str) -> None:
    bad = poisoned(store)
    with running(database_url) as projector:
        eventually(lambda: store.rows("SELECT error FROM projections")[0]["error"])
        state = store.rows("SELECT state FROM stored_events WHERE notification_id = %s", bad)[0]["state"]
        plain = orjson.loads(bytes(state))
        plain["data"]["reason"] = "mended"
        with store.connection.transaction():
            store.connection.execute("ALTER TABLE stored_events DISABLE TRIGGER USER")
            store.connection.execute(
                "UPDATE stored_events SET state = %s WHERE notification_id = %s", (orjson.dumps(plain), bad)
            )
            store.connection.execute("ALTER TABLE stored_events ENABLE TRIGGER USER")
        eventually(lambda: projector.position == bad + 1)
    assert store.rows("SELECT error FROM projections")[0]["error"] is None


def test_of_two_projectors_one_works_and_the_other_takes_over(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_model, "LEASE_SECONDS", 30.0)  # Given back at the end, and else not lost meanwhile.
    stop, thread_stop = threading.Event(), threading.Event()
    first = threading.Thread(target=Projector(database_url, MASTER_KEY).run, args=(stop,))
    first.start()
    eventually(lambda: store.rows("SELECT holder FROM projections")[0]["holder"])
    holder = store.rows("SELECT holder, fencing_token FROM projections")[0]
    second = threading.Thread(target=Projector(database_url, MASTER_KEY).run, args=(thread_stop,))
    second.start()
    busy_days(store, cards=4, rounds=20)
    assert store.rows("SELECT holder, fencing_token FROM projections")[0] == holder
    stop.set()
    first.join()
    last = store.append(("card", uuid4(), [enrolled()]))
    eventually(lambda: store.rows("SELECT position FROM projections")[0]["position"] == last)
    thread_stop.set()
    second.join()
    assert store.rows("SELECT fencing_token FROM projections")[0]["fencing_token"] > holder["fencing_token"]


def test_a_projector_whose_lease_was_taken_writes_nothing(store: Store, database_url: str) -> None:
    projector = Projector(database_url, MASTER_KEY)
    with projector._connected() as connection:
        lease = projector._take_lease(connection)
        assert lease is not None
        store.connection.execute("UPDATE projections SET lease_until = now() - interval '1 second'")
        catch_up(database_url)
        before = store.rows("SELECT position FROM projections")
        store.append(("card", uuid4(), [enrolled()]))
        with pytest.raises(read_model.LeaseLost):
            projector._advance(connection, lease)
    assert store.rows("SELECT position FROM projections") == before
    assert store.rows("SELECT count(*) AS n FROM loyalty_cards")[0]["n"] == 0


@pytest.mark.parametrize(
    "change", ["UPDATE loyalty_transactions SET stamps_delta = 7", "DELETE FROM loyalty_transactions"]
)
def test_the_audit_log_is_append_only(store: Store, database_url: str, change: str) -> None:
    store.append(("card", uuid4(), [enrolled()]))
    catch_up(database_url)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
        store.connection.execute(change)
    store.connection.execute("SET ROLE loyalty_app")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
        store.connection.execute(change)
