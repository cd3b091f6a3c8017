"""Phones that want to hear about a pass: there while they are registered, and the same however they were folded."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from msgspec import structs

from ledger import program, vendor
from ledger.decision import Append
from ledger.ids import derived, wallet_pass_id
from ledger.personal import Secret
from ledger.seal import SubjectKey
from ledger.stream import StreamType
from ledger.wallet_pass import AppleDeviceRegistered, AppleDeviceUnregistered, ApplePassIssued
from projections import apple_device_registrations, read_model
from projections.apple_device_registrations import APPLE_DEVICE_REGISTRATIONS
from projections.check import check
from projections.read_model import Projector
from projections.rebuild import _Rebuild, rebuild
from projections.table import Kept
from tests.examples import DAY, HOUR, MONDAY, PROFILE
from tests.projections.stories import MASTER_KEY, Store, busy_days, enrolled, stamped
from tests.projections.test_readers import OneConnection, wait
from wallet_sync.changes import NUDGES, Change, change_of, changed_since

CARD, PHONE, TABLET = uuid4(), uuid4(), uuid4()
CUSTOMER = uuid4()
PASS: dict[str, Any] = {
    "card_id": CARD,
    "customer_id": CUSTOMER,
    "pass_type_id": "pass.example.zess",
    "serial_number": "zess-0001",
}
TABLE = "apple_device_registrations"
ISSUED = ApplePassIssued(MONDAY, **PASS)


class PassStore(Store):
    """Seals what a pass knows with the key of the card's holder."""

    def _append(self, stream_type: StreamType, stream_id: UUID, events: Sequence[Any], **envelope: Any) -> Append:
        append = super()._append(stream_type, stream_id, events, **envelope)
        return replace(append, subject=self.holder()) if stream_type == "wallet_pass" else append

    def holder(self) -> SubjectKey:
        return self._subject(derived("subject", self.vendor_id, CUSTOMER))

    def happened(self, *events: Any) -> int:
        return self.append(("wallet_pass", wallet_pass_id(CARD), events))


def registered(id_: UUID, device: str, push_token: str, at: datetime = MONDAY) -> AppleDeviceRegistered:
    secrets = {"device": Secret(plain=device), "push_token": Secret(plain=push_token)}
    return AppleDeviceRegistered(at=at, registration_id=id_, **PASS, **secrets)


def gone(id_: UUID, at: datetime = MONDAY) -> AppleDeviceUnregistered:
    return AppleDeviceUnregistered(at, id_, "asked")


def catch_up(url: str) -> int:
    return Projector(url, MASTER_KEY).catch_up()


@pytest.fixture
def store(database_url: str) -> Iterator[PassStore]:
    store = PassStore(database_url)
    store.opened()
    store.append(("card", CARD, [enrolled(CUSTOMER), stamped(1)]))
    store.happened(ISSUED)
    yield store
    store.connection.close()


# ------------------------------------------------------------------ rows


def test_a_phone_is_shown_in_clear_while_it_is_registered(store: PassStore, database_url: str) -> None:
    position = store.happened(registered(PHONE, "phone", "token"), registered(TABLET, "tablet", "other"))
    catch_up(database_url)
    row = store.row(TABLE, PHONE)
    assert (row["device_library_identifier"], row["push_token"]) == ("phone", "token")
    assert (row["card_id"], row["pass_type_identifier"], row["serial_number"]) == (
        CARD,
        PASS["pass_type_id"],
        PASS["serial_number"],
    )
    assert (row["version"], row["position"]) == (2, position - 1)
    store.happened(gone(PHONE))
    catch_up(database_url)
    assert [row["id"] for row in store.rows(f"SELECT id FROM {TABLE}")] == [TABLET]
    assert check(database_url, MASTER_KEY) == []


def test_a_new_push_token_changes_the_row(store: PassStore, database_url: str) -> None:
    store.happened(registered(PHONE, "phone", "token"))
    catch_up(database_url)
    store.happened(registered(PHONE, "phone", "newer", MONDAY + HOUR))
    catch_up(database_url)
    row = store.row(TABLE, PHONE)
    assert (row["push_token"], row["created_at"], row["updated_at"]) == ("newer", MONDAY, MONDAY + HOUR)


def test_a_phone_that_comes_back_is_new(store: PassStore, database_url: str) -> None:
    store.happened(registered(PHONE, "phone", "token"), gone(PHONE, MONDAY + HOUR))
    catch_up(database_url)
    store.happened(registered(PHONE, "phone", "token", MONDAY + DAY))
    catch_up(database_url)
    row = store.row(TABLE, PHONE)
    assert (row["created_at"], row["updated_at"]) == (MONDAY + DAY, MONDAY + DAY)


def test_the_card_shows_the_serial_number_and_keeps_its_own_version(store: PassStore, database_url: str) -> None:
    catch_up(database_url)
    row = store.row("loyalty_cards", CARD)
    assert (row["apple_serial_number"], row["apple_auth_token"], row["version"]) == ("zess-0001", None, 2)
    store.happened(structs.replace(ISSUED, serial_number="zess-0002"))
    catch_up(database_url)
    after = store.row("loyalty_cards", CARD)
    assert after == row | {"apple_serial_number": "zess-0002"}
    store.append(("card", CARD, [stamped(2)]))
    catch_up(database_url)
    assert store.row("loyalty_cards", CARD)["apple_serial_number"] == "zess-0002"
    assert check(database_url, MASTER_KEY) == []


def test_an_unknown_phone_that_goes_leaves_nothing(store: PassStore, database_url: str) -> None:
    store.happened(gone(PHONE))
    catch_up(database_url)
    assert store.rows(f"SELECT * FROM {TABLE}") == []
    assert check(database_url, MASTER_KEY) == []


def test_a_row_that_is_newer_stays(store: PassStore, database_url: str) -> None:
    store.happened(registered(PHONE, "phone", "token"))
    catch_up(database_url)
    for version, rows in ((1, 1), (3, 0)):
        APPLE_DEVICE_REGISTRATIONS.write(store.connection, [Kept(PHONE, store.vendor_id, None, version, version, None)])
        assert len(store.rows(f"SELECT * FROM {TABLE}")) == rows


# ------------------------------------------------------------------ however it was folded


def comings_and_goings(store: PassStore) -> None:
    """A phone comes, changes, goes and is back; a tablet goes for good; another registration takes its place."""
    again = uuid4()
    store.happened(registered(PHONE, "phone", "t1"), registered(TABLET, "tablet", "t2", MONDAY + HOUR))
    store.happened(registered(PHONE, "phone", "t3", MONDAY + HOUR), gone(PHONE, MONDAY + 2 * HOUR))
    busy_days(store, cards=2, rounds=5)
    store.happened(registered(PHONE, "phone", "t4", MONDAY + DAY), gone(uuid4(), MONDAY + DAY))
    store.happened(gone(TABLET, MONDAY + DAY), registered(again, "tablet", "t5", MONDAY + DAY))
    store.happened(registered(PHONE, "phone", "t6", MONDAY + 2 * DAY))


@pytest.mark.parametrize("kept_rows_max", [10_000, 0], ids=["kept", "forgotten"])
def test_many_events_at_once_end_like_one_at_a_time(
    store: PassStore, database_url: str, monkeypatch: pytest.MonkeyPatch, kept_rows_max: int
) -> None:
    comings_and_goings(store)
    catch_up(database_url)
    at_once = store.tables()
    assert len(at_once[TABLE]) == 2
    for table in at_once:
        store.connection.execute(f"TRUNCATE {table}")
    store.connection.execute("UPDATE projections SET position = 0")
    monkeypatch.setattr(read_model, "KEPT_ROWS_MAX", kept_rows_max)
    monkeypatch.setattr(read_model.read_batch, "__kwdefaults__", {"until": None, "limit": 1})
    catch_up(database_url)
    assert store.tables() == at_once


@pytest.mark.parametrize("tables", [None, [TABLE], ["loyalty_cards"]], ids=["all", "phones", "cards"])
def test_rebuilt_is_equal_and_adds_up(store: PassStore, database_url: str, tables: list[str] | None) -> None:
    comings_and_goings(store)
    catch_up(database_url)
    live = store.tables()
    for table in tables or live:
        store.connection.execute(f"TRUNCATE {table}")
    rebuild(database_url, MASTER_KEY, tables)
    assert store.tables() == live
    assert check(database_url, MASTER_KEY) == []


def test_a_phone_that_goes_while_tables_are_made_anew_is_gone(
    store: PassStore, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.happened(registered(PHONE, "phone", "token"))
    catch_up(database_url)
    fill = _Rebuild._fill

    def fill_and_go(self: _Rebuild) -> None:
        fill(self)
        store.happened(gone(PHONE))

    monkeypatch.setattr(_Rebuild, "_fill", fill_and_go)
    rebuild(database_url, MASTER_KEY)
    assert store.rows(f"SELECT * FROM {TABLE}") == []
    assert check(database_url, MASTER_KEY) == []


def test_phones_of_a_forgotten_person_are_gone(store: PassStore, database_url: str) -> None:
    store.happened(registered(PHONE, "phone", "token"))
    catch_up(database_url)
    store.connection.execute("DELETE FROM subject_keys")
    store.happened(registered(PHONE, "phone", "newer"))
    catch_up(database_url)
    assert store.rows(f"SELECT * FROM {TABLE}") == []
    rebuild(database_url, MASTER_KEY)
    assert store.rows(f"SELECT * FROM {TABLE}") == []
    assert check(database_url, MASTER_KEY) == []


# ------------------------------------------------------------------ changed by hand


def test_a_changed_push_token_is_found_and_not_told(store: PassStore, database_url: str) -> None:
    store.happened(registered(PHONE, "phone", "token"))
    catch_up(database_url)
    store.connection.execute(f"UPDATE {TABLE} SET push_token = 'mine'")
    (found,) = check(database_url, MASTER_KEY)
    assert (found.table, found.row, found.column) == (TABLE, str(PHONE), "push_token")
    assert "mine" not in str(found.found) and "token" not in str(found.expected)


def test_a_phone_that_is_there_after_it_went_is_found(store: PassStore, database_url: str) -> None:
    store.happened(registered(PHONE, "phone", "token"))
    catch_up(database_url)
    row = f"SELECT json_agg(t)::text AS rows FROM {TABLE} t"
    (kept,) = store.rows(row)
    store.happened(gone(PHONE))
    catch_up(database_url)
    store.connection.execute(
        f"INSERT INTO {TABLE} SELECT * FROM json_populate_recordset(NULL::{TABLE}, %s)", (kept["rows"],)
    )
    (found,) = check(database_url, MASTER_KEY)
    assert (found.table, found.row, found.column, found.found) == (TABLE, str(PHONE), "(row)", "there")


# ------------------------------------------------------------------ readers


def test_a_cards_phones_are_listed(store: PassStore, database_url: str) -> None:
    store.happened(registered(PHONE, "phone", "token"), registered(TABLET, "tablet", "other"))
    catch_up(database_url)
    listed = wait(apple_device_registrations.list_of_card(OneConnection(database_url), CARD))
    assert sorted(row["push_token"] for row in listed) == ["other", "token"]


def test_a_phone_is_told_the_change_that_each_of_its_passes_has_come_to(store: PassStore, database_url: str) -> None:
    queries, type_ = OneConnection(database_url), PASS["pass_type_id"]
    store.happened(registered(PHONE, "phone", "token"), registered(TABLET, "tablet", "other"))
    catch_up(database_url)
    position, registered_at = store.row("loyalty_cards", CARD)["position"], store.row(TABLE, PHONE)["position"]
    assert registered_at > position  # A new registration is news too.
    serials, tag = wait(changed_since(queries, "phone", type_, None))
    assert (serials, tag) == (["zess-0001"], str(registered_at * NUDGES)) and wait(change_of(queries, CARD)) == Change(
        position, 0
    )
    assert wait(changed_since(queries, "phone", type_, tag)) == ([], tag)
    for device, of_type in (("phone", "pass.example.other"), ("stranger", type_)):
        assert wait(changed_since(queries, device, of_type, None))[0] == []
    assert wait(change_of(queries, uuid4())) == Change(0, 0)


def test_a_change_of_card_program_or_vendor_is_a_change_of_the_pass(store: PassStore, database_url: str) -> None:
    queries = OneConnection(database_url)
    store.happened(registered(PHONE, "phone", "token"))
    streams: list[tuple[StreamType, UUID, list[Any]]] = [
        ("card", CARD, [stamped(2)]),
        ("program", store.program_id, [program.ProgramDeactivated(MONDAY + HOUR)]),
        ("vendor", store.vendor_id, [vendor.VendorUpdated(MONDAY + HOUR, structs.replace(PROFILE, name="New"))]),
    ]
    catch_up(database_url)
    _, tag = wait(changed_since(queries, "phone", PASS["pass_type_id"], None))
    for stream in streams:
        position = store.append(stream)
        catch_up(database_url)
        assert wait(change_of(queries, CARD)) == Change(position, 0)
        serials, newer = wait(changed_since(queries, "phone", PASS["pass_type_id"], tag))
        assert serials == ["zess-0001"] and int(newer) > int(tag)
        tag = newer
