"""What wallets are owed is compared with the histories of cards and passes."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from ledger.wallet_pass import GooglePassCreated
from projections.check import Checked, compare
from projections.read_model import Projector
from tests.examples import MONDAY
from tests.projections.stories import MASTER_KEY, enrolled, stamped
from tests.projections.test_apple_device_registrations import CARD, CUSTOMER, ISSUED, PHONE, PassStore, registered
from wallet_sync.check import compare_wallets
from wallet_sync.subscriber import Subscriber


@pytest.fixture
def store(database_url: str) -> Iterator[PassStore]:
    """A card in a phone and at Google, with the wallet sync up to it."""
    store = PassStore(database_url)
    store.opened()
    store.append(("card", CARD, [enrolled(CUSTOMER), stamped(1)]))
    store.happened(ISSUED, registered(PHONE, "phone", "token"), GooglePassCreated(MONDAY, CARD, CUSTOMER, "c", "o"))
    follow(database_url)
    yield store
    store.connection.close()


def follow(url: str) -> None:
    Projector(url, MASTER_KEY).catch_up()
    Subscriber(url).catch_up()


def checked(url: str) -> Checked:
    return compare(url, MASTER_KEY, beside=[compare_wallets])


def test_what_follows_its_cards_differs_in_nothing(store: PassStore, database_url: str) -> None:
    store.append(("card", CARD, [stamped(2)]))
    assert checked(database_url).differences == []  # Not taken in yet is no difference.
    follow(database_url)
    found = checked(database_url)
    assert found.differences == [] and found.rows["wallet_work"] == 2 and found.rows["wallet_passes"] == 1


@pytest.mark.parametrize(
    ("sql", "column"),
    [
        ("UPDATE wallet_work SET desired = desired - 1 WHERE channel = 'apple'", "desired"),
        ("UPDATE wallet_work SET desired = desired + 1 WHERE channel = 'google'", "desired"),
        ("UPDATE wallet_work SET card_id = gen_random_uuid() WHERE channel = 'apple'", "card_id"),
        ("DELETE FROM wallet_work WHERE channel = 'apple'", "(row)"),
        ("DELETE FROM wallet_work WHERE channel = 'google'", "(row)"),
        ("UPDATE wallet_passes SET number = 1", "number"),
    ],
)
def test_what_is_owed_wrongly_is_found(store: PassStore, database_url: str, sql: str, column: str) -> None:
    store.connection.execute(sql)
    (found,) = checked(database_url).differences
    assert found.table in ("wallet_work", "wallet_passes") and found.column == column


def test_a_phone_that_no_event_registered_is_found(store: PassStore, database_url: str) -> None:
    sql = "INSERT INTO wallet_work (channel, id, card_id, desired, synced) VALUES ('apple', %s, %s, 1, 0)"
    store.connection.execute(sql, (uuid4(), CARD))
    assert [(found.table, found.column) for found in checked(database_url).differences] == [("wallet_work", "(row)")]
