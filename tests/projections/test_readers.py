"""What pages and the API read from the tables, and the figures they show."""

import asyncio
from collections.abc import Coroutine, Iterator
from datetime import date, timedelta
from typing import Any, TypeVar
from uuid import uuid4

import orjson
import psycopg
import pytest

from ledger import attempts, card
from ledger.ids import attempts_id
from projections import (
    apple_device_registrations,
    loyalty_cards,
    loyalty_programs,
    loyalty_transactions,
    read_model,
    refusals,
    staff_pins,
    vendors,
)
from projections.loyalty_cards import Sought
from projections.read_model import Projector
from projections.statistics import Statistics, statistics
from tests.examples import DAY, HOUR, LOCATION_ID, MONDAY
from tests.projections.stories import MASTER_KEY, Store, bought, enrolled, pin_created, redeemed, stamped

T = TypeVar("T")


class OneConnection:
    """Reads like the ledger's reader: binary, as the application's role."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def rows(self, sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        async with await psycopg.AsyncConnection.connect(self._url) as connection:
            await connection.execute("SET ROLE loyalty_app")
            return await (await connection.execute(sql, parameters, binary=True)).fetchall()


def wait(told: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(told)


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    store = Store(database_url).opened()
    yield store
    store.connection.close()


@pytest.fixture
def queries(database_url: str) -> OneConnection:
    return OneConnection(database_url)


def test_a_card_is_told_with_its_standing(store: Store, database_url: str, queries: OneConnection) -> None:
    card_id = uuid4()
    store.append(("card", card_id, [enrolled(), stamped(1), bought(70, 70, stamps=1)]))
    Projector(database_url, MASTER_KEY).catch_up()
    found = wait(loyalty_cards.read(queries, card_id, now=MONDAY))
    assert found is not None
    assert (found["stamp_count"], found["stamps_target"], found["stamps_until_reward"]) == (1, 10, 9)
    assert (found["rewards_available"], found["remaining_stamps_today"]) == (1, 4)
    assert found["next_stamp_at"] == MONDAY + timedelta(minutes=15)
    assert orjson.dumps(found)
    by_number = wait(loyalty_cards.read_by_number(queries, found["card_number"], now=MONDAY))
    assert by_number == wait(loyalty_cards.read_by_qr(queries, found["qr_code_data"], now=MONDAY)) == found
    assert wait(loyalty_cards.read(queries, uuid4(), now=MONDAY)) is None
    assert set(wait(loyalty_cards.sealed_details(queries, card_id))) == {"name", "email"}


def test_cards_are_listed_newest_first_page_by_page(store: Store, database_url: str, queries: OneConnection) -> None:
    ids = [uuid4() for _ in range(5)]
    for n, card_id in enumerate(ids):
        store.append(("card", card_id, [enrolled(at=MONDAY + n * HOUR)]))
    store.append(("card", ids[0], [card.CardSuspended(MONDAY + DAY, "lost?")]))
    Projector(database_url, MASTER_KEY).catch_up()
    first = wait(loyalty_cards.list_cards(queries, now=MONDAY, vendor_id=store.vendor_id, limit=3))
    before = (first[-1]["created_at"], first[-1]["id"])
    second = wait(loyalty_cards.list_cards(queries, now=MONDAY, vendor_id=store.vendor_id, limit=3, before=before))
    assert [row["id"] for row in first + second] == ids[::-1]
    suspended = wait(loyalty_cards.list_cards(queries, now=MONDAY, program_id=store.program_id, status="suspended"))
    assert [row["id"] for row in suspended] == ids[:1]
    by_number = wait(loyalty_cards.list_cards(queries, now=MONDAY, sought=Sought(number=first[0]["card_number"])))
    assert [row["id"] for row in by_number] == ids[-1:]
    assert wait(loyalty_cards.list_cards(queries, now=MONDAY, vendor_id=uuid4())) == []


def test_vendors_programs_pins_and_phones_can_be_read(store: Store, database_url: str, queries: OneConnection) -> None:
    pin_id = uuid4()
    store.append(("staff_pin", pin_id, [pin_created()]))
    last = Projector(database_url, MASTER_KEY).catch_up()
    (vendor,) = wait(vendors.list_vendors(queries, is_active=True))
    assert vendor == wait(vendors.read(queries, store.vendor_id))
    assert vendor == wait(vendors.read_by_code(queries, vendor["code"]))
    (key,) = wait(vendors.list_api_keys(queries, store.vendor_id))
    assert "digest" not in key and key["revoked_at"] is None
    (program,) = wait(loyalty_programs.list_programs(queries, now=MONDAY, vendor_id=store.vendor_id, is_active=True))
    assert program == wait(loyalty_programs.read(queries, store.program_id, now=MONDAY))
    assert program["points_per_currency_unit"] == {"points": 1, "per_minor": 10} and orjson.dumps(program)
    (pin,) = wait(staff_pins.list_pins(queries, store.vendor_id, program_id=store.program_id))
    assert pin == wait(staff_pins.read(queries, pin_id)) and pin["name"] == "Jang"
    assert "pin_hash" not in pin
    assert wait(apple_device_registrations.list_of_card(queries, uuid4())) == []
    (state,) = wait(read_model.status(queries))
    assert (state["position"], state["last_position"], state["error"]) == (last, last, None)


def test_transactions_and_refusals_are_listed_newest_first(
    store: Store, database_url: str, queries: OneConnection
) -> None:
    card_id = uuid4()
    stamp = stamped(1, at=MONDAY + HOUR)
    store.append(("card", card_id, [enrolled()]))
    store.append(("card", card_id, [stamp]))
    facts: dict[str, str | int] = {"held": 1, "needed": 10}
    refused = attempts.RedemptionRefused(MONDAY + HOUR, card_id, "insufficient_stamps", facts)
    store.append(("attempts", attempts_id(card_id), [refused]))
    Projector(database_url, MASTER_KEY).catch_up()
    rows = wait(loyalty_transactions.list_transactions(queries, vendor_id=store.vendor_id))
    assert [row["transaction_type"] for row in rows] == ["stamp_earned", "card_enrolled"]
    assert rows[0] == wait(loyalty_transactions.read(queries, stamp.entry_id))
    older = loyalty_transactions.list_transactions(queries, card_id=card_id, before=rows[0]["position"])
    assert wait(older) == rows[1:]
    ranged = {"start": MONDAY, "end": MONDAY + HOUR}  # The end is excluded.
    assert wait(loyalty_transactions.list_transactions(queries, program_id=store.program_id, **ranged)) == rows[1:]
    assert wait(loyalty_transactions.list_transactions(queries, card_id=card_id, types=["stamp_earned"])) == rows[:1]
    (refusal,) = wait(refusals.list_refusals(queries, card_id=card_id))
    assert (refusal["refusal"], refusal["facts"]) == ("insufficient_stamps", facts)
    assert wait(refusals.list_refusals(queries, vendor_id=store.vendor_id, **ranged)) == []


def test_statistics_count_what_happened_and_what_is_outstanding(
    store: Store, database_url: str, queries: OneConnection
) -> None:
    pin_id, old, idle, new = uuid4(), uuid4(), uuid4(), uuid4()
    late = MONDAY + 14 * HOUR + HOUR / 2  # Half past eleven in the evening, in UTC: Tuesday in Luxembourg.
    stamp = stamped(3, count=3, at=MONDAY, staff_pin_id=pin_id)
    reward = redeemed(2, 0, after=(1, 0), at=late)
    store.append(("staff_pin", pin_id, [pin_created()]))
    store.append(("card", old, [enrolled(), stamp]), ("card", idle, [enrolled()]), location_id=LOCATION_ID)
    store.append(("card", old, [reward]))
    purchase = bought(70, 70, stamps=1, at=late + DAY)
    store.append(("card", old, [purchase]))
    undone = card.EarnReversed(
        late + DAY, uuid4(), purchase.entry_id, "error", "allow_negative", 0, 70, 0, 700, False, 70, 700, None, 1, 0
    )
    store.append(("card", old, [undone]))
    store.append(
        ("card", old, [card.CardReplaced(late + DAY, "lost", new, 1, 0)]),
        ("card", new, [enrolled(store.customers[old], at=late + DAY, replaces=old, stamps=1)]),
    )
    refused = attempts.StampRefused(MONDAY, old, "stamp_cooldown", {}, pin_id)
    store.append(("attempts", attempts_id(old), [refused, refused]))
    Projector(database_url, MASTER_KEY).catch_up()

    def told(**asked: Any) -> Statistics:
        return wait(statistics(queries, now=MONDAY + 2 * DAY, **asked))

    found = told(program_id=store.program_id)
    assert (found.cards, found.cards_by_status) == (3, {"active": 2, "replaced": 1})
    assert (found.stamps_outstanding, found.points_outstanding, found.active_cards) == (1, 0, 1)
    total = found.total
    assert (total.enrolments, total.stamps_issued, total.stamps_redeemed, total.redemptions) == (2, 3, 2, 1)
    assert (total.points_issued, total.points_reversed, total.purchases) == (70, 70, 1)
    assert found.refusals == {"stamp_cooldown": 2}
    assert [day.day for day in found.by_day] == [2, 3, 4]
    assert found.by_day[date(2026, 3, 3)].redemptions == 1
    assert found.by_program == {store.program_id: total}
    assert found.by_location[LOCATION_ID].stamps_issued == 3 and found.by_location[None].stamps_issued == 0
    assert found.by_staff[pin_id].stamps_issued == 3
    assert told(vendor_id=store.vendor_id) == told() == found
    assert told(start=MONDAY, end=late).total.redemptions == 0
    assert told(start=late, end=late + HOUR).total.redemptions == 1
    nothing = told(vendor_id=uuid4())
    assert (nothing.cards, nothing.by_day, nothing.refusals) == (0, {}, {})
