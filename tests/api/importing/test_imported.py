"""What was imported: nobody can tell it from tills' work."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from ledger.commands.references import CardReference
from ledger.errors import AlreadyReversed, DuplicateReference
from ledger.program import Branding, Rules
from tests.api.importing.place import EXAMPLE, Place
from tests.ledgers import facts, rows, running_ledger

CSV = """customer;card_number;type;name;email;stamps;points;occurred_at;reason
C-1;400000000002;;Léa Schmit;lea@example.lu;7;120;;
C-1;;stamp_earned;;;;;2026-03-01T09:00:00Z;
C-1;;adjustment;;;;-20;2026-03-02T09:00:00Z;"moved; by hand"

C-2;;card;"Schmit; Jos";;;;;
"""


def test_cards_balances_and_history_come_in(place: Place) -> None:
    done = place.bring(EXAMPLE)
    assert (done.importing.cards, done.importing.entries, done.was_there) == (2, 8, False)
    assert place.is_sound()
    sql = "SELECT * FROM loyalty_cards WHERE card_number = '400000000002'"
    with psycopg.connect(place.url, row_factory=psycopg.rows.dict_row) as connection:
        card = connection.execute(sql).fetchone()
        entries = connection.execute(
            "SELECT * FROM loyalty_transactions WHERE card_id = %s ORDER BY card_version", (card and card["id"],)
        ).fetchall()
    assert card is not None
    assert (card["stamp_count"], card["total_stamps_earned"], card["stamps_redeemed"]) == (2, 62, 1)
    assert (card["points_balance"], card["total_points_earned"], card["points_redeemed"]) == (110, 132, 20)
    assert (card["language"], card["created_at"]) == ("lb", datetime(2024, 5, 2, 6, tzinfo=UTC))
    assert card["last_stamp_at"] == datetime(2026, 3, 1, 9, tzinfo=UTC)
    assert [entry["transaction_type"] for entry in entries] == [
        "card_enrolled",
        "stamp_adjusted",
        "points_adjusted",
        "stamp_earned",
        "points_adjusted",
        "stamp_redeemed",
        "points_earned",
        "points_redeemed",
    ]
    assert {(entry["channel"], entry["actor_type"]) for entry in entries} == {("import", "system")}
    assert entries[1]["reason"] == "opening balance" and entries[1]["occurred_at"] == card["created_at"]
    recorded = {entry["recorded_at"] for entry in entries}
    assert len(recorded) == 1 and recorded.pop() > datetime.now(UTC) - timedelta(minutes=5)


def test_nobody_can_read_a_name_in_the_events_and_tills_find_the_person(place: Place) -> None:
    place.bring(EXAMPLE)
    states = b"".join(bytes(state) for (state,) in rows(place.url, "SELECT state FROM stored_events"))
    assert b"Schmit" not in states and b"example.lu" not in states.lower() and b"621123456" not in states

    async def story() -> None:
        async with running_ledger(place.url) as ledger:
            shop = place.shop.at(ledger)
            found = await ledger.cards.look_up(CardReference("400000000002"), shop.caller.vendor_id)
            assert found["customer"] == {"name": "Léa Schmit", "email": "lea@example.lu", "phone": "+352621123456"}
            assert (await ledger.cards.look_up(CardReference(found["qr_code_data"]), None))["id"] == found["id"]
            again = await shop.card(email="lea@example.lu")
            assert again == found["id"]

    asyncio.run(story())


def test_imported_cards_are_stamped_and_their_entries_undone(place: Place) -> None:
    importing = place.bring(EXAMPLE).importing
    purchase = importing.entry_id(5, "entry")

    async def story() -> None:
        async with running_ledger(place.url) as ledger:
            shop = place.shop.at(ledger)
            card = importing.card_id(1)
            assert facts(await shop.stamp(card))["stamp_count"] == 3
            undone = await ledger.till.reverse(purchase, amount_minor=250, reason="returned", asked=shop.asked())
            assert facts(undone)["points_balance"] == 108
            undone = await ledger.till.reverse(purchase, amount_minor=None, reason="returned", asked=shop.asked())
            assert facts(undone)["points_balance"] == 98
            with pytest.raises(AlreadyReversed):
                await ledger.till.reverse(purchase, amount_minor=None, reason="returned", asked=shop.asked())
            undone = await ledger.till.reverse(
                importing.entry_id(4, "entry"), amount_minor=None, reason="never had it", asked=shop.asked()
            )
            assert facts(undone)["stamp_count"] == 13
            with pytest.raises(DuplicateReference) as caught:
                await shop.stamp(card, external_ref="pos:receipt:77")
            assert caught.value.entry_id == purchase

    asyncio.run(story())
    assert place.is_sound()


def test_a_spreadsheet_comes_in(place: Place) -> None:
    done = place.bring(CSV, "cards.csv")
    assert (done.importing.cards, done.importing.entries) == (2, 4)
    assert place.is_sound()
    held = rows(place.url, "SELECT stamp_count, points_balance FROM loyalty_cards ORDER BY stamp_count DESC")
    assert held == [(8, 100), (0, 0)]
    reasons = rows(place.url, "SELECT reason FROM loyalty_transactions WHERE transaction_type = 'points_adjusted'")
    assert reasons == [("opening balance",), ("moved; by hand",)]


def test_a_customer_with_cards_in_two_programs_has_one_key(place: Place) -> None:
    async def second() -> UUID:
        async with running_ledger(place.url) as ledger:
            made = await ledger.programs.create(
                loyalty_type="points",
                currency="EUR",
                timezone="Europe/Luxembourg",
                rules=lambda now, zone: Rules(1, now, zone, rate_points=1, rate_minor=100),
                branding=Branding("Points"),
                rewards=[],
                is_active=True,
                caller=place.shop.caller,
            )
            return UUID(facts(made)["id"])

    other = str(asyncio.run(second()))
    card = {"customer": "C-1", "name": "Léa", "email": "lea@example.lu"}
    lines: list[dict[str, Any]] = [
        card | {"program": str(place.shop.program_id)},
        card | {"program": other, "points": 4},
    ]
    assert place.refused([card]) == [(1, "names no program, and the vendor has not just one: say --program")]
    assert place.bring(lines).importing.cards == 2
    assert place.is_sound()
    assert rows(place.url, "SELECT count(*) FROM subject_keys") == [(1,)]


def test_the_report_says_which_line_became_which_card(place: Place) -> None:
    report = place.folder / "report.csv"
    done = place.bring(EXAMPLE, report=report)
    first, lea, other = report.read_text().splitlines()
    assert first == "line,customer,card_id,card_number"
    assert lea == f"1,C-1001,{done.importing.card_id(1)},400000000002"
    assert other.startswith(f"8,C-1002,{done.importing.card_id(8)},")
    place.bring(EXAMPLE, report=report)
    assert report.read_text().splitlines() == [first, lea, other]
