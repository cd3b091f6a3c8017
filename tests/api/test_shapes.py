"""What passes, and in which form it comes out."""

import sys
from typing import Any, get_args
from uuid import UUID

import pytest
from pydantic import TypeAdapter

from api import people, shapes
from api.currencies import CURRENCIES, exponent
from api.people import phone_number
from tests.api.edge import posted


def read(kind: Any, value: Any) -> Any:
    return TypeAdapter(kind).validate_python(value, strict=True)


def test_a_reference_is_one_string_whichever_way_it_came() -> None:
    asked = {"system": "pos", "type": "receipt", "id": "2026-1"}
    assert read(shapes.ExternalRef, asked) == read(shapes.ExternalRef, "pos:receipt:2026-1") == "pos:receipt:2026-1"


def test_a_reference_with_a_hole_names_the_hole() -> None:
    fields = {e["field"] for e in posted(external_ref={"system": "a:b", "type": "t"}).json()["errors"]}
    assert fields == {"external_ref.system", "external_ref.id"}


@pytest.mark.parametrize(
    "card", ["0198c5a2-7d3c-7c4e-9b1a-2f6d1c0e8a55", "482913570264", "zgc2uCDrnA-Cy0Oof_GoBYZ_4CZjjGRO"]
)
def test_a_card_is_named_in_three_ways(card: str) -> None:
    if card.isdigit():
        from ledger.ids import luhn_digit

        card = card[:-1] + luhn_digit(card[:-1])
    assert read(shapes.CardReference, card) == card


def test_a_mistyped_number_is_a_reference_like_any_other_that_finds_nothing() -> None:
    assert read(shapes.CardReference, "482913570264") == "482913570264"


def test_times_come_out_in_utc() -> None:
    assert posted(at="2026-03-29T03:00:00+02:00").json()["at"] == "2026-03-29T01:00:00Z"
    assert posted(at="2026-03-29t01:00:00.5z").json()["at"] == "2026-03-29T01:00:00.500000Z"


def test_luxembourgish_has_an_alias() -> None:
    assert [read(shapes.Language, code) for code in ("lu", "lb", "FR")] == ["lb", "lb", "fr"]


def test_a_uuid_is_written_the_usual_way() -> None:
    assert posted(staff_pin_id="0198C5A2-7d3c-7c4e-9b1a-2f6d1c0e8a55").status_code == 200
    for text in ("0198c5a27d3c7c4e9b1a2f6d1c0e8a55", "{0198c5a2-7d3c-7c4e-9b1a-2f6d1c0e8a55}", "urn:uuid:x", 7):
        assert posted(staff_pin_id=text).status_code == 422


@pytest.mark.parametrize("country", ["LU", "FR", "DE", "JP", "XK"])
def test_countries_are_known(country: str) -> None:
    assert read(shapes.Country, country) == country


@pytest.mark.parametrize("country", ["EU", "ZZ", "UN", "lu", "LUX", "001"])
def test_what_is_no_country_is_refused(country: str) -> None:
    with pytest.raises(ValueError):
        read(shapes.Country, country)


@pytest.mark.parametrize(("currency", "digits"), [("JPY", 0), ("EUR", 2), ("KWD", 3), ("HUF", 2), ("ISK", 0)])
def test_the_minor_unit_belongs_to_the_currency(currency: str, digits: int) -> None:
    assert exponent(currency) == digits
    assert currency in CURRENCIES


def test_email_and_phone_have_one_normal_form() -> None:
    assert read(people.Email, " Lea@Example.LU ") == "lea@example.lu"
    assert read(people.Phone, "+352 621 123-456") == "+352621123456"
    assert phone_number("621 123 456", "LU") == "+352621123456"
    assert phone_number("twelve", "LU") is None
    for wrong in ("lea", "lea@", "lea@exa mple.lu", "lea@localhost"):
        with pytest.raises(ValueError):
            read(people.Email, wrong)


def test_a_colour_comes_out_in_lower_case() -> None:
    assert read(shapes.HexColor, "#7A1F3D") == "#7a1f3d"


def test_bodies_use_the_types_that_read_what_json_can_say() -> None:
    """A bare UUID or datetime in a strict body would refuse every string, and so every request."""
    import api.main  # noqa: F401

    wrong = [
        f"{body.__module__}.{body.__name__}.{name}"
        for body in _every(shapes.Body)
        if sys.modules[body.__module__].__name__.startswith("api.")
        for name, field in body.model_fields.items()
        for kind in (get_args(field.annotation) or ([] if field.metadata else [field.annotation]))
        if kind is UUID or (getattr(kind, "__name__", "") == "datetime" and get_args(kind) == ())
    ]
    assert wrong == []


def _every(kind: type[shapes.Body]) -> list[type[shapes.Body]]:
    return [one for below in kind.__subclasses__() for one in (below, *_every(below))]
