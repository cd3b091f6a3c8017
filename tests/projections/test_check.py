"""Whatever was changed by hand is found, with table, row, column and both values."""

import threading
from collections.abc import Iterator, Sequence
from uuid import UUID, uuid4

import pytest

from ledger.card import CardEvent
from ledger.stream import Recorded, Stored, decode, first_prev
from projections.check import Difference, check
from projections.read_model import Projector
from projections.rebuild import rebuild
from tests.examples import CARD_CLOSED, CARD_REPLACED
from tests.projections.stories import MASTER_KEY, Store, bought, busy_days, enrolled, stamped

CARD = UUID("0195a1b0-0000-7000-8000-0000000000cc")
ENTRIES = "UPDATE loyalty_transactions SET"


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    store = Store(database_url).opened()
    busy_days(store, cards=4, rounds=10)
    store.append(("card", CARD, [enrolled(), stamped(1), stamped(2)]))
    Projector(database_url, MASTER_KEY).catch_up()
    yield store
    store.connection.close()


def by_force(store: Store, sql: str, *parameters: object) -> None:
    with store.connection.transaction():
        store.connection.execute("SET LOCAL session_replication_role = replica")  # No trigger stands in the way.
        store.connection.execute(sql, parameters)


def in_tables(found: Sequence[Difference]) -> list[Difference]:
    """Apart from what statistics make of it."""
    return [difference for difference in found if difference.table != "statistics"]


def test_an_honest_database_adds_up(store: Store, database_url: str) -> None:
    told: list[tuple[int, int]] = []
    store.append(("card", uuid4(), [enrolled()]))  # Not projected yet: only the state row is there.
    assert check(database_url, MASTER_KEY, lambda *at: told.append(at)) == []
    assert told[-1][0] == told[-1][1]


def test_a_changed_balance_is_found(store: Store, database_url: str) -> None:
    by_force(store, "UPDATE loyalty_cards SET stamp_count = 9 WHERE id = %s", CARD)
    found, added_up = check(database_url, MASTER_KEY)
    assert found == Difference("loyalty_cards", str(CARD), "stamp_count", 2, 9)
    assert (added_up.table, added_up.column, added_up.found - added_up.expected) == (
        "statistics",
        "stamps_outstanding",
        7,
    )


def test_tables_made_anew_meanwhile_differ_in_nothing(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rebuilding = threading.Thread(target=rebuild, args=(database_url, MASTER_KEY))

    def decode_after_a_while(stored: Stored) -> Recorded:
        if rebuilding.ident is None:
            rebuilding.start()
            rebuilding.join(1.5)  # Not to its end: the new tables wait for whoever reads the old ones.
        return decode(stored)

    monkeypatch.setattr("projections.check.decode", decode_after_a_while)
    assert check(database_url, MASTER_KEY) == []
    rebuilding.join()
    assert check(database_url, MASTER_KEY) == []


@pytest.mark.parametrize(
    ("table", "key", "column", "value"),
    [
        ("vendors", "id", "name", "'Somebody else'"),
        ("api_keys", "key_id", "revoked_at", "now()"),
        ("loyalty_programs", "id", "stamps_target", "1"),
        ("loyalty_cards", "id", "recent_stamps", "'[]'"),
        ("loyalty_transactions", "id", "stamps_delta", "100"),
        ("loyalty_transactions", "id", "position", "1"),
        ("staff_pins", "id", "role", "'manager'"),
        ("staff_pins", "id", "pin_hash", "'$2b$10$mine'"),
        ("refusals", "id", "refusal", "'nothing'"),
        ("streams", "stream_id", "state", "'{}'"),
        ("streams", "stream_id", "head", "'\\x00'"),
    ],
)
def test_a_changed_cell_is_found(
    store: Store, database_url: str, table: str, key: str, column: str, value: str
) -> None:
    (row,) = store.rows(f"SELECT {key} AS id FROM {table} ORDER BY {key} DESC LIMIT 1")
    by_force(store, f"UPDATE {table} SET {column} = {value} WHERE {key} = %s", row["id"])
    (found,) = in_tables(check(database_url, MASTER_KEY))
    assert (found.table, found.row, found.column) == (table, str(row["id"]), column)
    assert found.expected != found.found
    assert "mine" not in str(found.found)


@pytest.mark.parametrize("table", ["loyalty_cards", "loyalty_transactions", "refusals", "streams"])
def test_a_missing_row_is_found(store: Store, database_url: str, table: str) -> None:
    key = "stream_id" if table == "streams" else "id"
    # Of an entry with a reference the claim would be found, too, and ids come in any order.
    which = "WHERE external_ref IS NULL" if table == "loyalty_transactions" else ""
    (row,) = store.rows(f"SELECT {key} AS id FROM {table} {which} ORDER BY {key} DESC LIMIT 1")
    by_force(store, f"DELETE FROM {table} WHERE {key} = %s", row["id"])
    assert in_tables(check(database_url, MASTER_KEY)) == [Difference(table, str(row["id"]), "(row)", "there", None)]


def test_a_row_that_no_event_explains_is_found(store: Store, database_url: str) -> None:
    forged = uuid4()
    by_force(
        store,
        "INSERT INTO loyalty_transactions SELECT (json_populate_record(t,"
        " json_build_object('id', %s::text, 'position', 1000000))).* FROM loyalty_transactions t LIMIT 1",
        str(forged),
    )
    assert in_tables(check(database_url, MASTER_KEY)) == [
        Difference("loyalty_transactions", str(forged), "(row)", None, "at position 1000000")
    ]


def test_a_changed_event_breaks_its_chain(store: Store, database_url: str) -> None:
    more = """replace(convert_from(state, 'UTF8'), '"stamps":1', '"stamps":5')"""
    place = "originator_id = %s AND originator_version = 2"
    by_force(store, f"UPDATE stored_events SET state = convert_to({more}, 'UTF8') WHERE {place}", CARD)
    found = check(database_url, MASTER_KEY)
    assert (found[-1].table, found[-1].column) == ("streams", "state")
    assert any(d.table == "stored_events" and d.row == f"{CARD}/3" and d.column == "prev" for d in found)


def test_a_deleted_first_event_breaks_its_stream(store: Store, database_url: str) -> None:
    assert first_prev(CARD)
    by_force(store, "DELETE FROM stored_events WHERE originator_id = %s AND originator_version = 1", CARD)
    found = check(database_url, MASTER_KEY)
    assert any(d.table == "stored_events" and d.row.startswith(f"{CARD}/2") for d in found)


def test_a_forged_last_event_is_told_by_the_state_row(store: Store, database_url: str) -> None:
    by_force(store, "DELETE FROM stored_events WHERE originator_id = %s AND originator_version = 3", CARD)
    tables = {d.table for d in check(database_url, MASTER_KEY)}
    assert {"streams", "loyalty_cards", "loyalty_transactions"} <= tables


@pytest.mark.parametrize("kind", ["card_number", "card_qr", "open_card"])
def test_what_leads_to_another_card_is_found(store: Store, database_url: str, kind: str) -> None:
    other = uuid4()
    by_force(store, "UPDATE claims SET stream_id = %s WHERE stream_id = %s AND kind = %s", other, CARD, kind)
    (found,) = check(database_url, MASTER_KEY)
    assert (found.table, found.column, found.expected, found.found) == ("claims", "stream_id", CARD, other)
    assert found.row.startswith(kind + "/")


@pytest.mark.parametrize("kind", ["card_number", "card_qr", "open_card"])
def test_what_leads_to_a_card_no_more_is_found(store: Store, database_url: str, kind: str) -> None:
    by_force(store, "DELETE FROM claims WHERE stream_id = %s AND kind = %s", CARD, kind)
    (found,) = check(database_url, MASTER_KEY)
    assert (found.table, found.column, found.expected, found.found) == ("claims", "stream_id", CARD, None)


@pytest.mark.parametrize("end", [CARD_CLOSED, CARD_REPLACED], ids=["closed", "replaced"])
def test_a_card_that_ended_holds_no_place_for_its_customer(store: Store, database_url: str, end: CardEvent) -> None:
    store.append(("card", CARD, [end]))
    assert check(database_url, MASTER_KEY) == []
    (row,) = store.rows("SELECT program_id, customer_id FROM loyalty_cards WHERE id = %s", CARD)
    by_force(
        store,
        "INSERT INTO claims (kind, scope, value, stream_id) VALUES ('open_card', %s, %s, %s)",
        row["program_id"],
        row["customer_id"].bytes,
        CARD,
    )
    (found,) = check(database_url, MASTER_KEY)
    place = f"open_card/{row['program_id']}/{row['customer_id']}"
    assert found == Difference("claims", place, "stream_id", None, CARD)


def test_the_qr_code_of_a_forgotten_person_cannot_be_compared(store: Store, database_url: str) -> None:
    by_force(store, "DELETE FROM subject_keys")
    rebuild(database_url, MASTER_KEY)
    assert [difference for difference in check(database_url, MASTER_KEY) if difference.table == "claims"] == []


@pytest.mark.parametrize("kind", ["customer_email", "external_ref"])
def test_a_contact_or_a_reference_that_leads_elsewhere_is_found(store: Store, database_url: str, kind: str) -> None:
    (before, *_) = store.rows("SELECT scope, value, stream_id FROM claims WHERE kind = %s", kind)
    other = uuid4()
    place = (before["scope"], before["value"], kind)
    by_force(store, "UPDATE claims SET stream_id = %s WHERE scope = %s AND value = %s AND kind = %s", other, *place)
    (found,) = check(database_url, MASTER_KEY)
    place_shown = f"{kind}/{before['value'].hex()}"
    assert found == Difference("claims", place_shown, "stream_id", before["stream_id"], other)


@pytest.mark.parametrize("kind", ["customer_email", "external_ref"])
def test_a_contact_or_a_reference_that_is_gone_is_found(store: Store, database_url: str, kind: str) -> None:
    (before, *_) = store.rows("SELECT scope, value, stream_id FROM claims WHERE kind = %s", kind)
    by_force(store, "DELETE FROM claims WHERE scope = %s AND value = %s", before["scope"], before["value"])
    found = check(database_url, MASTER_KEY)
    assert (found[0].table, found[0].expected, found[0].found) == ("claims", before["stream_id"], None)


def test_references_that_the_tables_do_not_know_yet_are_no_difference(store: Store, database_url: str) -> None:
    store.append(("card", CARD, [bought(70, 70, stamps=2, external_ref="till:1")]))
    assert check(database_url, MASTER_KEY) == []


@pytest.mark.parametrize(
    ("sql", "figure"),
    [
        (f"{ENTRIES} points_delta = points_delta + 1 WHERE transaction_type = 'points_earned'", "points_issued"),
        (f"{ENTRIES} transaction_type = 'stamp_adjusted' WHERE transaction_type = 'stamp_earned'", "stamps_adjusted"),
        ("UPDATE refusals SET refusal = 'other'", "refusals"),
        ("UPDATE loyalty_cards SET points_balance = points_balance + 1", "points_outstanding"),
        (f"UPDATE loyalty_cards SET status = 'closed' WHERE id = '{CARD}'", "cards"),
    ],
)
def test_statistics_are_added_up_a_second_time(store: Store, database_url: str, sql: str, figure: str) -> None:
    by_force(store, sql)
    assert figure in {found.column for found in check(database_url, MASTER_KEY) if found.table == "statistics"}
