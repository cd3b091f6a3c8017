"""A shop finds a customer's cards by what they say at the counter: a number, an email, a phone."""

from typing import Any
from uuid import UUID

import psycopg
import pytest

from migrations.upgrade import downgrade, upgrade
from projections.rebuild import rebuild
from tests.browser import Browser
from tests.callers import Till, ok
from tests.clock import eventually
from tests.service import MASTER_KEY, Service

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


WRITTEN = [
    *(EMAIL, "Lea@Example.LU", f" {EMAIL} "),
    *(PHONE, "352621123456", "00352 621 12 34 56", "621 123 456", "621123456", "+352\u00a0621\u00a012\u20113456"),
]


@pytest.mark.parametrize("text", WRITTEN)
def test_who_joined_at_home_is_found_however_it_is_written(service: Service, till: Till, text: str) -> None:
    card = joined(service, till, email=EMAIL, phone=PHONE)
    assert found(till, text) == [card["id"]]
    assert found(service.shop(country="LU"), text) == []


@pytest.mark.parametrize("text", ["0176 12345678", "017612345678", "+49 176 12345678"])
def test_a_phone_as_long_as_a_card_number_is_found(service: Service, text: str) -> None:
    till = service.shop(country="DE")
    card = joined(service, till, phone="+4917612345678")
    assert found(till, text) == [card["id"]]


def test_an_address_is_found_in_either_of_its_spellings(service: Service, till: Till) -> None:
    card = joined(service, till, email="lea@b\u00fccher.example")
    for text in ("lea@b\u00fccher.example", "lea@bu\u0308cher.example", "lea@xn--bcher-kva.example"):
        assert found(till, text) == [card["id"]], text


def test_all_cards_of_whoever_gave_it_are_found(service: Service, till: Till) -> None:
    first = till.card(till.program()["id"], email=EMAIL, phone=PHONE)
    second = till.card(till.program()["id"], email=EMAIL)
    third = till.card(till.program()["id"], id=first["customer_id"])
    service.catch_up()
    assert found(till, PHONE) == sorted([first["id"], second["id"], third["id"]])


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


def test_whatever_is_typed_into_the_pages_search_is_answered(service: Service, till: Till) -> None:
    card = joined(service, till, email="andr\u00e9@example.lu")
    browser = Browser(service.http)
    browser.submit("/sign-in", key=till.key)
    for text in ("a\0b", "()", "\u0661\u0662", "{}", "@", "+", "1" * 254, str(UUID(int=0))):
        assert browser.submit("/app/cards", q=text).status_code == 200, text
    assert browser.submit("/app/cards", q="Andre\u0301@example.lu").headers["location"] == f"/app/cards/{card['id']}"


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
        till = till.at(service.http)
        service.catch_up()
        eventually(lambda: found(till, EMAIL) == found(till, PHONE) == cards)
        assert service.differences() == []
        rebuild(database_url, MASTER_KEY, ["loyalty_cards"])
        assert found(till, EMAIL) == cards and service.differences() == []


def test_what_an_older_projector_left_behind_is_taken_away(own_service: Service) -> None:
    till = own_service.shop(country="LU")
    card = joined(own_service, till, email=EMAIL)
    ok(till.post(f"/customers/{card['customer_id']}/erasure", {"reason": "asked"}))
    own_service.catch_up()
    own_service.stop_projecting()
    own_service.rows("UPDATE loyalty_cards SET email_digest = 'left behind' RETURNING id")
    own_service.catch_up()
    assert own_service.differences() == []


def test_a_contact_that_cannot_be_opened_is_named_and_stops_nothing(own_service: Service) -> None:
    till = own_service.shop(country="LU")
    card = joined(own_service, till, email=EMAIL)
    tamper = (
        "UPDATE stored_events SET state = convert_to(jsonb_set(convert_from(state, 'UTF8')::jsonb,"
        " '{data,email,sealed}', '\"1.email.AAAA\"')::text, 'UTF8') WHERE topic = 'card-enrolled' RETURNING 1"
    )
    with psycopg.connect(own_service.database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE stored_events DISABLE TRIGGER USER")
        assert connection.execute(tamper).rowcount == 1
        connection.execute("ALTER TABLE stored_events ENABLE TRIGGER USER")
    rebuild(own_service.database_url, MASTER_KEY, ["loyalty_cards"])
    assert found(till, EMAIL) == [] and found(till, card["id"]) == [card["id"]]
    assert "stored_events" in {difference.table for difference in own_service.differences()}
