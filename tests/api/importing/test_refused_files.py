"""A file with anything wrong in it is refused whole, with the lines and what is wrong with them."""

from typing import Any

import pytest

from api.importing import FileRefused, import_file
from ledger.commands.imports import ImportStopped
from tests.api.importing.place import DAY, EXAMPLE, Place, line, stamped
from tests.ledgers import MASTER_KEY


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
