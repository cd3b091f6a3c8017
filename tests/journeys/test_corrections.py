"""What is known of a customer is put right: on all their cards, and in whatever finds them."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from api.check_command import check_for
from ledger.commands.people import CARDS_OF
from ledger.reader import Reader
from tests.callers import Till, ok, problem
from tests.service import MASTER_KEY, Service

PERSON = {"name": "Lea Weber", "email": "lea@exampel.lu", "phone": "+352621123456"}
RIGHT = {"name": "Léa Weber", "email": "lea@example.lu"}


class Customer:
    """Somebody with a card in each of two programs, one of which was replaced."""

    def __init__(self, till: Till) -> None:
        self.till = till
        self.programs = [till.program(), till.program()]
        lost = till.card(self.programs[0]["id"], **PERSON)
        self.id = lost["customer_id"]
        other = till.card(self.programs[1]["id"], id=self.id, **PERSON)
        new = ok(till.post(f"/cards/{lost['id']}/replace", {"reason": "Lost"}))
        self.cards = [lost["id"], other["id"], new["id"]]

    def correct(self, *, key: str | None = None, **details: str | None) -> dict[str, Any]:
        headers = {"Idempotency-Key": key} if key else {}
        return ok(self.till.send("PATCH", f"/customers/{self.id}", details, headers=headers))

    def told(self) -> list[dict[str, Any]]:
        return [self.till.read(card)["customer"] for card in self.cards]

    def versions(self) -> list[int]:
        return [self.till.read(card)["version"] for card in self.cards]

    def found_by(self, email: str) -> str:
        """Whose card somebody gets who is enrolled by an email."""
        return str(self.till.card(self.programs[0]["id"], email=email)["customer_id"])


@pytest.fixture
def customer(service: Service) -> Customer:
    return Customer(service.shop())


def test_details_are_put_right_on_every_card(service: Service, customer: Customer) -> None:
    versions = customer.versions()
    told = customer.correct(**RIGHT)
    assert told["id"] == customer.id and sorted(told["cards"]) == sorted(customer.cards)
    assert {name: told[name] for name in PERSON} == PERSON | RIGHT
    assert [{name: card[name] for name in PERSON} for card in customer.told()] == [PERSON | RIGHT] * 3
    assert customer.versions() == [version + 1 for version in versions]
    service.catch_up()
    listed = ok(customer.till.get("/cards", q=RIGHT["email"]))["items"]
    assert sorted(card["id"] for card in listed) == sorted(customer.cards)
    (entry, *_) = ok(customer.till.get(f"/cards/{customer.cards[1]}/transactions"))["items"]
    assert (entry["transaction_type"], entry["stamps_delta"]) == ("card_details_changed", 0)


def test_they_are_found_by_what_is_right_and_no_more_by_what_was_wrong(customer: Customer) -> None:
    customer.correct(**RIGHT)
    assert customer.found_by(RIGHT["email"]) == customer.id
    assert customer.found_by(PERSON["email"]) != customer.id  # Free for whoever it belongs to.


def test_an_email_that_leads_to_somebody_else_goes_on_leading_there(customer: Customer) -> None:
    till, program = customer.till, customer.programs[0]
    other = till.card(program["id"], email=RIGHT["email"])
    customer.correct(**RIGHT)
    assert customer.told()[0]["email"] == RIGHT["email"]
    assert customer.found_by(RIGHT["email"]) == other["customer_id"]
    customer.correct(email="weber@example.lu")
    assert customer.found_by(RIGHT["email"]) == other["customer_id"]


def test_what_is_left_out_stays_and_null_takes_away(customer: Customer) -> None:
    told = customer.correct(phone=None)
    assert (told["name"], told["email"], told["phone"]) == (PERSON["name"], PERSON["email"], None)
    told = customer.correct(language="fr", name=None)
    assert (told["name"], told["email"], told["language"]) == (None, PERSON["email"], "fr")
    assert customer.correct(language=None)["language"] == "fr"


def test_what_is_right_already_records_nothing(customer: Customer) -> None:
    versions = customer.versions()
    for details in ({}, {"name": PERSON["name"]}, {"email": PERSON["email"].upper()}, {"phone": "00352 621 12 34 56"}):
        assert customer.correct(**details)["position"] is None
    assert customer.versions() == versions


def test_asked_again_it_happens_once(customer: Customer) -> None:
    first = customer.correct(key="right", **RIGHT)
    customer.correct(name="Somebody")
    assert customer.correct(key="right", **RIGHT) == first
    assert customer.told()[0]["name"] == "Somebody"


@pytest.mark.parametrize(
    ("details", "field"),
    [
        ({"email": "nobody"}, "email"),
        ({"phone": "12"}, "phone"),
        ({"phone": "not a phone"}, "phone"),
        ({"name": ""}, "name"),
        ({"language": "it"}, "language"),
        ({"birthday": "2000-01-01"}, "birthday"),
    ],
)
def test_what_does_not_fit_is_named_and_changes_nothing(
    customer: Customer, details: dict[str, Any], field: str
) -> None:
    versions = customer.versions()
    told = problem(customer.till.send("PATCH", f"/customers/{customer.id}", details), 422, "validation_failed")
    assert [error["field"] for error in told["errors"]] == [field]
    assert customer.versions() == versions


def test_nobody_corrects_another_vendors_customer_or_a_forgotten_one(service: Service, customer: Customer) -> None:
    stranger = service.shop()
    problem(stranger.send("PATCH", f"/customers/{customer.id}", RIGHT), 404, "not_found")
    ok(customer.till.post(f"/customers/{customer.id}/erasure", {"reason": "asked"}))
    problem(customer.till.send("PATCH", f"/customers/{customer.id}", RIGHT), 410, "customer_erased")


def test_what_was_wrong_is_sealed_as_what_is_right(own_service: Service) -> None:
    customer = Customer(own_service.shop())
    customer.correct(key="right", **RIGHT)
    own_service.catch_up()
    for table in ("stored_events", "streams", "claims", "idempotency_keys"):
        kept = str(own_service.rows(f"SELECT to_jsonb(t)::text AS row FROM {table} t"))
        for personal in (*PERSON.values(), *RIGHT.values()):
            assert personal not in kept and personal.encode().hex() not in kept, f"{personal} stands in {table}"


def test_everything_adds_up_afterwards_and_a_look_up_that_is_gone_is_still_found(own_service: Service) -> None:
    customer = Customer(own_service.shop())
    program = customer.programs[0]["id"]
    customer.till.card(program, id=str(uuid4()), email=PERSON["email"])  # A family's address: it leads to the first.
    customer.correct(**RIGHT)
    customer.correct(phone=None)
    own_service.catch_up()
    assert check_for(own_service.database_url, MASTER_KEY).differences == []
    own_service.rows("DELETE FROM claims WHERE kind = 'customer_email' RETURNING value")
    (found,) = check_for(own_service.database_url, MASTER_KEY).differences
    assert (found.table, str(found.expected), found.found) == ("claims", customer.id, None)


def test_cards_that_say_different_things_keep_what_was_not_given(service: Service) -> None:
    till = service.shop()
    first = till.card(till.program()["id"], **PERSON)
    second = till.card(till.program()["id"], email=PERSON["email"])
    assert second["customer_id"] == first["customer_id"] and second["customer"]["name"] is None
    ok(till.patch(f"/customers/{first['customer_id']}", {"email": RIGHT["email"]}))
    told = [till.read(card["id"])["customer"] for card in (first, second)]
    assert [(card["name"], card["email"], card["phone"]) for card in told] == [
        (PERSON["name"], RIGHT["email"], PERSON["phone"]),
        (None, RIGHT["email"], None),
    ]


def test_under_one_key_null_is_not_the_same_as_nothing(customer: Customer) -> None:
    path, headers = f"/customers/{customer.id}", {"Idempotency_Key": "one"}
    ok(customer.till.patch(path, {"name": "Anna"}, **headers))
    problem(customer.till.patch(path, {"name": "Anna", "phone": None}, **headers), 422, "idempotency_key_reused")
    assert customer.till.patch(path, {"name": "Anna"}, **headers).headers["Idempotent-Replayed"] == "true"
    assert customer.told()[0]["phone"] == PERSON["phone"]


def test_whoever_joined_at_home_is_put_right_and_replaced_and_all_adds_up(own_service: Service) -> None:
    till = own_service.shop()
    program = till.program(enrolment_fields=["name", "email"])
    joins = f"/programs/{program['id']}/enrolments"
    joined = (
        ok(own_service.public.post(joins, {"name": name, "email": f"{name}@exampel.lu", "consent": True}))
        for name in ("ana", "ben")
    )
    ana, ben = (ok(till.post("/cards/lookup", {"card": card["qr_code_data"]})) for card in joined)
    for card in (ana, ben):
        ok(till.post(f"/cards/{card['id']}/replace", {"reason": "Lost"}))
    ok(till.patch(f"/customers/{ana['customer_id']}", {"email": "ana@example.lu"}))
    own_service.catch_up()
    assert check_for(own_service.database_url, MASTER_KEY).differences == []
    assert till.card(program["id"], email="ana@example.lu")["customer_id"] == ana["customer_id"]


def test_beside_a_replacement_no_open_card_says_what_was_wrong(own_service: Service) -> None:
    till = own_service.shop()
    program = till.program()
    for n in range(6):
        card = till.card(program["id"], name="Anna", email=f"anna-{n}@exampel.lu")
        asks: list[tuple[str, str, dict[str, Any]]] = [
            ("PATCH", f"/customers/{card['customer_id']}", {"email": f"anna-{n}@example.lu"}),
            ("POST", f"/cards/{card['id']}/replace", {"reason": "Lost"}),
        ]
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda ask: insisted(till, *ask), asks))
        new = answers[1]["id"]
        assert till.read(new)["customer"]["email"] == f"anna-{n}@example.lu"
    own_service.catch_up()
    assert check_for(own_service.database_url, MASTER_KEY).differences == []


def test_a_card_replaced_since_the_cards_were_read_is_put_right_too(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    till, rows, new = service.shop(), Reader.rows, []
    card = till.card(till.program()["id"], **PERSON)

    async def rows_and_then(reader: Reader, sql: Any, *parameters: Any) -> Any:
        found = await rows(reader, sql, *parameters)
        if sql == CARDS_OF and not new:
            lost = await asyncio.to_thread(till.post, f"/cards/{card['id']}/replace", {"reason": "Lost"})
            new.append(ok(lost)["id"])
        return found

    monkeypatch.setattr(Reader, "rows", rows_and_then)
    told = ok(till.patch(f"/customers/{card['customer_id']}", RIGHT))
    assert told["cards"] == [card["id"], *new]
    assert till.read(new[0])["customer"]["email"] == RIGHT["email"]


def insisted(till: Till, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """As a till does: again, when the card is busy."""
    while (answer := till.send(method, path, body)).status_code == 503:
        pass
    return ok(answer)
