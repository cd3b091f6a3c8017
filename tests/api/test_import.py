"""Importing a file: whole or not at all, once however often it is tried, and nobody can tell it from tills' work."""

import asyncio
import json
import multiprocessing
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psutil
import psycopg
import pytest

from api import importing as importing_module
from api.importing import Done, FileRefused, import_file
from ledger.commands import import_batches
from ledger.commands.imports import Import, ImportStopped
from ledger.commands.references import CardReference
from ledger.errors import AlreadyReversed, DuplicateReference
from ledger.ids import new_card_number
from ledger.program import Branding, LoyaltyType, Rules
from projections.check import check
from projections.read_model import Projector
from tests.api.test_cli import environment
from tests.databases import database, durable_server
from tests.ledgers import MASTER_KEY, Shop, facts, rows, running_ledger
from tests.service import REAL

DAY = "2026-03-01T09:00:00Z"
EXAMPLE: list[dict[str, Any]] = [
    {
        "type": "card",
        "customer": "C-1001",
        "card_number": "400000000002",
        "name": "Léa Schmit",
        "email": "Lea@Example.lu",
        "phone": "621 123 456",
        "language": "lu",
        "enrolled_at": "2024-05-02T08:00:00+02:00",
    },
    {"type": "opening_balance", "customer": "C-1001", "stamps": 7, "points": 120, "total_stamps_earned": 57},
    {"type": "stamp_earned", "customer": "C-1001", "occurred_at": "2026-03-01T09:00:00Z", "stamps": 5},
    {"type": "stamp_redeemed", "customer": "C-1001", "occurred_at": "2026-03-02T09:00:00Z", "stamps": 10},
    {
        "type": "points_earned",
        "customer": "C-1001",
        "occurred_at": "2026-03-03T09:00:00Z",
        "points": 12,
        "purchase_amount_minor": 1250,
        "currency": "EUR",
        "external_ref": "pos:receipt:77",
    },
    {
        "type": "points_redeemed",
        "customer": "C-1001",
        "occurred_at": "2026-03-04T09:00:00Z",
        "points": 20,
        "reward": "A slice of cake",
    },
    {"type": "adjustment", "customer": "C-1001", "occurred_at": DAY, "points": -2, "reason": "counted twice"},
    {"type": "card", "customer": "C-1002", "stamps": 3},
]
CSV = """customer;card_number;type;name;email;stamps;points;occurred_at;reason
C-1;400000000002;;Léa Schmit;lea@example.lu;7;120;;
C-1;;stamp_earned;;;;;2026-03-01T09:00:00Z;
C-1;;adjustment;;;;-20;2026-03-02T09:00:00Z;"moved; by hand"

C-2;;card;"Schmit; Jos";;;;;
"""


@dataclass(frozen=True)
class Place:
    """A shop on a database of its own, where files are imported."""

    url: str
    code: str
    shop: Shop
    folder: Path

    def file(self, lines: Iterable[dict[str, Any]] | str, name: str = "cards.ndjson") -> Path:
        path = self.folder / name
        text = lines if isinstance(lines, str) else "".join(json.dumps(line) + "\n" for line in lines)
        path.write_text(text, encoding="utf-8")
        return path

    def bring(self, lines: Iterable[dict[str, Any]] | str, name: str = "cards.ndjson", **more: Any) -> Done:
        return import_file(self.url, MASTER_KEY, self.file(lines, name), code=self.code, **more)

    def refused(self, lines: Iterable[dict[str, Any]] | str, name: str = "cards.ndjson") -> list[tuple[int, str]]:
        """What is wrong with the file, of which nothing was written."""
        before = self.counts()
        with pytest.raises(FileRefused) as caught:
            self.bring(lines, name)
        assert self.counts() == before
        assert caught.value.findings.count == len(caught.value.findings.shown)
        return caught.value.findings.shown

    def counts(self) -> list[int]:
        tables = ("stored_events", "streams", "claims", "idempotency_keys", "subject_keys", "imports")
        return [rows(self.url, f"SELECT count(*) FROM {table}")[0][0] for table in tables]

    def is_sound(self) -> bool:
        Projector(self.url, MASTER_KEY).catch_up()
        return check(self.url, MASTER_KEY) == []


@pytest.fixture
def place(database_url: str, tmp_path: Path) -> Place:
    return opened(database_url, tmp_path)


@pytest.fixture(params=["alone", "helped"])
def small_batches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four cards each, recorded by this process alone and by two in turn."""
    monkeypatch.setattr(importing_module, "BATCH_EVENTS", 20)
    monkeypatch.setattr(importing_module, "HELPED_LINES", 1 if request.param == "helped" else 1_000_000)


@pytest.fixture
def helped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing_module, "BATCH_EVENTS", 20)
    monkeypatch.setattr(importing_module, "HELPED_LINES", 1)


def opened(url: str, folder: Path, loyalty_type: LoyaltyType = "hybrid") -> Place:
    async def open_shop() -> Shop:
        async with running_ledger(url) as ledger:
            return await Shop.opened(ledger, loyalty_type)

    shop = asyncio.run(open_shop())
    ((code,),) = rows(url, "SELECT convert_from(value, 'UTF8') FROM claims WHERE kind = 'vendor_code'")
    return Place(url, code, shop, folder)


def cards(count: int, *, entries: int = 4) -> list[dict[str, Any]]:
    """As many cards with a little history."""
    lines: list[dict[str, Any]] = []
    for n in range(count):
        customer = f"C-{n}"
        lines.append({"type": "card", "customer": customer, "stamps": n % 10, "email": f"c{n}@example.lu"})
        lines += [{"type": "stamp_earned", "customer": customer, "occurred_at": DAY} for _ in range(entries)]
    return lines


# ------------------------------------------------------------------ what is there afterwards


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


# ------------------------------------------------------------------ bad files


def line(**given: Any) -> dict[str, Any]:
    return {"customer": "C-1", **given}


def stamped(**given: Any) -> dict[str, Any]:
    return line(type="stamp_earned", occurred_at=DAY, **given)


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([line(), line(type="visit")], (2, "type must be one of")),
        ([line(), stamped(colour="red")], (2, "colour is not a field of a stamp_earned line")),
        ([line(), line(type="stamp_earned")], (2, "occurred_at is missing")),
        ([line(), line(type="stamp_earned", occurred_at="2026-02-30T09:00:00Z")], (2, "occurred_at must be a date")),
        (
            [line(), line(type="stamp_earned", occurred_at="2999-01-01T09:00:00Z")],
            (2, "occurred_at lies in the future"),
        ),
        ([line(enrolled_at="2999-01-01T09:00:00Z")], (1, "enrolled_at lies in the future")),
        ([line(enrolled_at="2026-03-02T09:00:00Z"), stamped()], (2, "occurred_at: lies before the card's")),
        ([line(email="lea")], (1, "email must be an email address")),
        ([line(phone="12")], (1, "phone must")),
        ([line(card_number="400000000001")], (1, "card_number must be 12 digits")),
        ([line(program="0198c5a2-7d3c-7c4e-9b1a-2f6d1c0e8a55")], (1, "this vendor has no such program")),
        ([line(stamps=-1)], (1, "stamps must be at least 0")),
        ([line(stamps="3")], (1, "stamps must be a whole number")),
        ([line(stamps=1), line(type="opening_balance", stamps=1)], (2, "is a second opening balance")),
        ([{"type": "card"}], (1, "must name the card")),
        ([stamped()], (1, "comes before any card")),
        ([line(), stamped(customer="C-2")], (2, "names another customer than the card it follows (line 1)")),
        (
            [line(), line(type="stamp_redeemed", occurred_at=DAY, stamps=1)],
            (2, "the card holds 0 stamps, 1 are needed"),
        ),
        (
            [line(), line(type="points_earned", occurred_at=DAY, points=1, currency="USD")],
            (2, "the program counts in EUR"),
        ),
        ([line(), line(type="adjustment", occurred_at=DAY, reason="x")], (2, "must change either")),
        ([line(), line()], (2, "the customer also has a card in this program on line 1")),
        (
            [line(card_number="400000000002"), line(customer="C-2", card_number="400000000002")],
            (2, "card_number is also on line 1"),
        ),
        ([line(), stamped(external_ref="a"), stamped(external_ref="a")], (3, "external_ref is also on line 2")),
        (
            [{"card_number": "400000000002", "email": "l@example.lu"}, line(email="L@example.lu")],
            (1, "email is also on line 2"),
        ),
        ([], (1, "the file holds no card")),
    ],
)
def test_what_is_wrong_is_named_by_its_line_and_nothing_is_written(
    place: Place, lines: list[dict[str, Any]], found: tuple[int, str]
) -> None:
    ((number, sentence),) = place.refused(lines)
    assert number == found[0] and sentence.startswith(found[1])


def test_what_is_there_already_is_not_imported_again(place: Place) -> None:
    place.bring(EXAMPLE)
    clashes = place.refused(
        [
            line(customer="C-1001"),
            line(card_number="400000000002"),
            stamped(external_ref="pos:receipt:77"),
            {"card_number": "400000000010", "email": "lea@example.lu"},
        ],
        "again.ndjson",
    )
    assert clashes == [
        (1, "the customer has an open card in this program already"),
        (2, "card_number is a card's already"),
        (3, "external_ref is recorded already"),
        (4, "email belongs to a customer already: say whose it is by customer"),
    ]


@pytest.mark.parametrize(
    ("text", "name", "found"),
    [
        ('{"customer": "C-1"}\n{"customer"', "a.ndjson", (2, "is not JSON")),
        ('{"customer": "C-1"}\n[1]', "a.jsonl", (2, "is not a JSON object")),
        ('{"customer": "C-1"}\n' + "x" * 70_000, "a.jsonl", (2, "is longer than")),
        ("customer,colour\nC-1,red\n", "a.csv", (1, "1 columns have names that are no field, the 2. first")),
        ("customer,customer\nC-1,C-1\n", "a.csv", (1, "names a column twice")),
        ('customer,name\nC-1,"Léa\n', "a.csv", (2, "is not CSV")),
        ("customer,name\nC-1,Léa,7\n", "a.csv", (2, "has more cells")),
        ("customer,stamps\nC-1,7.5\n", "a.csv", (2, "stamps must be a whole number")),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(place: Place, text: str, name: str, found: tuple[int, str]) -> None:
    number, sentence = place.refused(text, name)[0]
    assert number == found[0] and sentence.startswith(found[1])


def test_a_thousand_errors_are_counted_and_a_hundred_shown(place: Place) -> None:
    with pytest.raises(FileRefused) as caught:
        place.bring([line(customer=f"C-{n}", stamps=-1) for n in range(1_000)])
    assert (len(caught.value.findings.shown), caught.value.findings.count) == (100, 1_000)


@pytest.mark.parametrize("code", ["nobody"])
def test_an_unknown_vendor_is_said(place: Place, code: str) -> None:
    with pytest.raises(ImportStopped, match="no vendor"):
        import_file(place.url, MASTER_KEY, place.file(EXAMPLE), code=code)


# ------------------------------------------------------------------ once


def test_a_finished_file_changes_nothing(place: Place) -> None:
    place.bring(EXAMPLE)
    before = place.counts()
    again = place.bring(EXAMPLE, "renamed.ndjson")
    assert again.was_there and place.counts() == before


@pytest.mark.usefixtures("small_batches")
def test_an_interrupted_import_goes_on_and_nothing_happens_twice(place: Place) -> None:
    file, is_first = cards(40), True

    def crash(_title: str, done: int, _total: int) -> None:
        if is_first and _title == "Importing" and done > 80:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        place.bring(file, progress=crash)
    half = place.counts()
    with pytest.raises(ImportStopped, match="another --program"):
        place.bring(file, program_id=place.shop.program_id)
    is_first = False
    done = place.bring(file, progress=crash)
    assert done.began_after > 80 and done.importing.cards == 40
    assert half < place.counts() and place.is_sound()
    assert rows(place.url, "SELECT count(*), sum(version) FROM streams WHERE stream_type = 'card'") == [(40, 236)]


@pytest.mark.usefixtures("small_batches")
def test_a_clash_in_the_middle_is_told_again_with_another_number(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [new_card_number() for _ in range(10)]
    drawn = iter([*numbers, numbers[0]])  # The eleventh card draws a number that the first batch has by then.
    monkeypatch.setattr(import_batches, "new_card_number", lambda: next(drawn, None) or new_card_number())
    done = place.bring([line(customer=f"D-{n}", stamps=1) for n in range(50)])
    assert next(drawn, None) is None
    assert done.importing.cards == 50 and place.is_sound()


@pytest.mark.usefixtures("helped")
def test_what_a_till_does_meanwhile_is_told_again_by_the_other_process(place: Place) -> None:
    """An address that somebody enrols with, after the helper told its batch and before its turn to write that."""

    async def enrol() -> None:
        async with running_ledger(place.url) as ledger:
            await place.shop.at(ledger).card(email="c12@example.lu")

    def meanwhile(title: str, done: int, _total: int) -> None:
        if title == "Importing" and done == 60:
            time.sleep(1)  # The fourth batch is told.
            asyncio.run(enrol())

    done = place.bring(cards(40), progress=meanwhile)
    assert done.importing.cards == 40 and place.is_sound()
    assert rows(place.url, "SELECT count(*) FROM claims WHERE kind = 'customer_email'") == [(40,)]


@pytest.mark.usefixtures("helped")
def test_a_helper_that_is_killed_stops_it_and_the_same_file_goes_on(place: Place) -> None:
    file = cards(60)

    def kill(title: str, done: int, _total: int) -> None:
        if title == "Importing" and done == 60:
            multiprocessing.active_children()[0].kill()

    with pytest.raises(ImportStopped, match="died; give the same file again"):
        place.bring(file, progress=kill)
    assert multiprocessing.active_children() == []
    done = place.bring(file)
    assert done.began_after >= 60 and done.importing.cards == 60 and place.is_sound()
    assert multiprocessing.active_children() == []


@pytest.mark.usefixtures("helped")
def test_a_helper_that_loses_the_database_says_so_as_we_do(place: Place) -> None:
    newest = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
    ORDER BY backend_start DESC LIMIT 1
    """

    def cut(title: str, done: int, _total: int) -> None:
        if title == "Importing" and done == 60:
            assert rows(place.url, newest) == [(True,)]

    with pytest.raises(psycopg.OperationalError) as caught:
        place.bring(cards(60), progress=cut)
    assert "In the helping process" in "".join(caught.value.__notes__)
    assert place.bring(cards(60)).began_after >= 60 and place.is_sound()


@pytest.mark.usefixtures("small_batches")
def test_what_is_taken_meanwhile_stops_it_and_says_where(place: Place) -> None:

    def interfere(title: str, done: int, _total: int) -> None:
        if title == "Importing" and done == 20:
            rows(
                place.url,
                "INSERT INTO claims (kind, scope, value, stream_id) VALUES ('card_number', %s, %s, %s)",
                UUID(int=0),
                b"400000000002",
                uuid4(),
            )

    file = [*cards(12), line(customer="last", card_number="400000000002")]
    with pytest.raises(ImportStopped, match=r"lines \d+ to 61"):
        place.bring(file, progress=interfere)
    with pytest.raises(FileRefused) as caught:
        place.bring(file)
    assert caught.value.findings.shown == [(61, "card_number is a card's already")]


@pytest.mark.usefixtures("small_batches")
def test_two_who_import_the_same_file_at_once_do_not_double_it(place: Place) -> None:
    file = place.file(cards(60))
    outcomes: list[Done | Exception] = []

    def bring() -> None:
        try:
            outcomes.append(import_file(place.url, MASTER_KEY, file, code=place.code))
        except ImportStopped as stopped:
            outcomes.append(stopped)

    threads = [threading.Thread(target=bring) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    finished = [outcome for outcome in outcomes if isinstance(outcome, Done) and not outcome.was_there]
    assert len(finished) == 1 and place.is_sound()
    assert rows(place.url, "SELECT count(*) FROM streams WHERE stream_type = 'card'") == [(60,)]


@pytest.mark.usefixtures("small_batches")
def test_progress_is_fenced_even_where_two_have_the_turn(place: Place) -> None:

    def overtake(title: str, done: int, _total: int) -> None:
        if title == "Importing":
            rows(place.url, "UPDATE imports SET lines_done = lines_done + 1")

    with pytest.raises(ImportStopped, match="somebody else"):
        place.bring(cards(40), progress=overtake)


def test_a_file_that_changes_meanwhile_is_not_imported(place: Place) -> None:
    path = place.folder / "cards.ndjson"

    def change(title: str, _done: int, _total: int) -> None:
        if title == "Checking":
            path.write_text(path.read_text() + "\n")

    with pytest.raises(ImportStopped, match="was changed"):
        place.bring(EXAMPLE, progress=change)


def test_stamping_goes_on_beside_an_import(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing_module, "BATCH_EVENTS", 50)

    async def story() -> Import:
        async with running_ledger(place.url) as ledger:
            shop = place.shop.at(ledger)
            card = await shop.card()
            bringing = asyncio.create_task(asyncio.to_thread(place.bring, cards(200)))
            while not bringing.done():
                await shop.stamp(card)
            return (await bringing).importing

    assert asyncio.run(story()).cards == 200
    assert place.is_sound()


def test_a_batch_costs_the_same_however_many_events_are_there(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database looks each predecessor up; it must not read all events for every batch."""
    monkeypatch.setattr(importing_module, "BATCH_EVENTS", 50)
    place.bring(cards(300))
    sql = "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'stored_events_pkey'"
    until = time.monotonic() + 10
    while (read := rows(place.url, sql)[0][0]) == 0 and time.monotonic() < until:
        time.sleep(0.1)
    assert 0 < read < 3_000


# ------------------------------------------------------------------ as one types it


def command(place: Place, *words: str) -> list[str]:
    return [REAL, "import", str(place.folder / "cards.ndjson"), "--vendor", place.code, *words]


def typed(place: Place, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(place, *words), env=environment(place.url), capture_output=True, text=True, timeout=240, check=False
    )


def has_ended(process: psutil.Process) -> bool:
    """Within ten seconds. Where nobody waits for orphans, what has ended stays as a zombie."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.05)
                continue
        return True
    return False


def test_a_killed_import_goes_on_where_it_was(tmp_path: Path) -> None:
    with durable_server() as server, database(server.start(), upgraded=True) as url:
        place = opened(url, tmp_path)
        place.file([line(customer="C-1", stamps=-1)])
        wrong = typed(place)
        assert (wrong.returncode, wrong.stdout) == (1, "")
        assert "line 1: stamps must be at least 0" in wrong.stderr and "Nothing was written" in wrong.stderr

        place.file(cards(5_000))
        first = subprocess.Popen(command(place), env=environment(url), stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while rows(url, "SELECT coalesce(max(lines_done), 0) FROM imports")[0][0] == 0 and time.monotonic() < until:
            time.sleep(0.01)
        children = psutil.Process(first.pid).children(recursive=True)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        assert children and all(has_ended(child) for child in children)
        ((done, finished_at),) = rows(url, "SELECT lines_done, finished_at FROM imports")
        assert 0 < done < 25_000 and finished_at is None
        second, third = typed(place), typed(place)
        assert (second.returncode, third.returncode) == (0, 0), second.stderr
        assert "Imported 5000 cards with 24500 entries. It went on behind line" in second.stdout
        assert "was imported already" in third.stdout
        assert rows(url, "SELECT count(*) FROM streams WHERE stream_type = 'card'") == [(5_000,)]
        assert place.is_sound()
