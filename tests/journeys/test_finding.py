"""A shop finds a customer's cards by what they say at the counter: a number, an email, a phone."""

from typing import Any

import pytest

from migrations.upgrade import downgrade, upgrade
from projections.rebuild import rebuild
from tests.service import MASTER_KEY, Service, Till, eventually, ok

EMAIL, PHONE = "lea@example.lu", "+352621123456"


@pytest.fixture
def till(service: Service) -> Till:
    return service.shop(country="LU")


def joined(service: Service, till: Till, **given: str) -> dict[str, Any]:
    """A card that somebody made at home, from the poster."""
    program = till.program(enrolment_fields=["email", "phone"])
    told = ok(service.public.post(f"/programs/{program['id']}/enrolments", {**given, "consent": True}))
    service.catch_up()
    return ok(till.post("/cards/lookup", {"card": told["qr_code_data"]}))


def found(till: Till, text: str) -> list[str]:
    return sorted(card["id"] for card in ok(till.get("/cards", q=text))["items"])


@pytest.mark.parametrize("text", [EMAIL, "Lea@Example.LU", PHONE, "00352 621 12 34 56", "621 123 456", "621123456"])
def test_who_joined_at_home_is_found_however_it_is_written(service: Service, till: Till, text: str) -> None:
    card = joined(service, till, email=EMAIL, phone=PHONE)
    assert found(till, text) == [card["id"]]
    assert found(service.shop(country="LU"), text) == []


def test_everybody_who_gave_it_is_found(service: Service, till: Till) -> None:
    at_home = joined(service, till, email=EMAIL)
    in_the_shop = till.card(till.program()["id"], email=EMAIL)
    assert at_home["customer_id"] != in_the_shop["customer_id"]
    service.catch_up()
    assert found(till, EMAIL) == sorted([at_home["id"], in_the_shop["id"]])


def test_a_number_is_found_as_it_is_printed_and_by_its_beginning(service: Service, till: Till) -> None:
    card = joined(service, till, email=EMAIL)
    number = card["card_number"]
    for text in (number, f"{number[:4]} {number[4:8]} {number[8:]}", number[:6], card["id"], card["customer_id"]):
        assert found(till, text) == [card["id"]], text


def test_they_are_found_by_what_is_right_until_they_are_forgotten(own_service: Service) -> None:
    till = own_service.shop(country="LU")
    card = joined(own_service, till, email=EMAIL, phone=PHONE)
    ok(till.patch(f"/customers/{card['customer_id']}", {"email": "weber@example.lu", "phone": None}))
    own_service.catch_up()
    assert (found(till, EMAIL), found(till, PHONE), found(till, "weber@example.lu")) == ([], [], [card["id"]])
    ok(till.post(f"/customers/{card['customer_id']}/erasure", {"reason": "asked"}))
    own_service.catch_up()
    assert found(till, "weber@example.lu") == []
    digests = "SELECT email_digest, phone_digest FROM loyalty_cards"
    assert own_service.rows(digests) == [{"email_digest": None, "phone_digest": None}]


def test_cards_from_before_are_found_as_soon_as_the_projector_runs(database_url: str) -> None:
    with Service(database_url) as service:
        till = service.shop(country="LU")
        cards = sorted(joined(service, till, email=EMAIL, phone=PHONE)["id"] for _ in range(3))
    downgrade(database_url, "0009")
    upgrade(database_url)
    with Service(database_url) as service:
        till = till.at(service)
        service.catch_up()
        eventually(lambda: found(till, EMAIL) == found(till, PHONE) == cards)
        assert service.differences() == []
        rebuild(database_url, MASTER_KEY, ["loyalty_cards"])
        assert found(till, EMAIL) == cards and service.differences() == []
