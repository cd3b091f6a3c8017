"""A balance is proved: the statement of a card, verified by a file that knows nothing of the service."""

import pytest

from projections.proofs.notes import SigningKey
from projections.proofs.verify_statement import Fault, Kind, Verified, VerifierKey, verify
from tests.callers import Client, Till, ok, problem
from tests.service import Service


def verified(client: Client, card_id: str, key: VerifierKey) -> Verified:
    return verify(client.get(f"/cards/{card_id}/statement").content, key)


def public_key(service: Service) -> VerifierKey:
    return VerifierKey.parse(service.public.get("/checkpoint/key").text)


@pytest.fixture
def shop(own_service: Service) -> Till:
    return own_service.shop()


def test_a_card_with_every_kind_of_entry_is_proved_to_hold_what_it_holds(own_service: Service, shop: Till) -> None:
    program = shop.program(max_stamps_per_scan=12)
    card = shop.card(program["id"], email="lea@example.lu", name="Lea Weber")
    ok(shop.stamp(card["id"], count=12))
    ok(shop.post("/redemptions", {"card": card["id"]}))
    entry = ok(shop.post("/points", {"card": card["id"], "purchase_amount_minor": 5000, "currency": "EUR"}))
    ok(shop.post(f"/entries/{entry['entry_id']}/reversal", {"reason": "returned", "amount_minor": 2000}))
    ok(shop.post("/adjustments", {"card": card["id"], "stamps_delta": 2, "reason": "Forgotten"}))
    own_service.seal()
    told = verified(shop, card["id"], public_key(own_service))
    held = shop.read(card["id"])
    assert (told.balance.stamps, told.balance.points) == (held["stamp_count"], held["points_balance"]) == (4, 30)
    assert told.signed.sealed == told.signed.version == held["version"]
    raw = own_service.auditor.get(f"/cards/{card['id']}/statement").text
    assert "lea@example.lu" not in raw and "Lea Weber" not in raw
    assert verified(own_service.auditor, card["id"], public_key(own_service)).balance == told.balance


def test_what_happened_since_the_checkpoint_is_stated_too(own_service: Service, shop: Till) -> None:
    card = shop.card(shop.program()["id"])
    own_service.seal()
    ok(shop.stamp(card["id"]))
    told = verified(shop, card["id"], public_key(own_service))
    assert (told.balance.stamps, told.signed.version - told.signed.sealed) == (1, 1)


def test_a_replaced_card_is_still_proved(own_service: Service, shop: Till) -> None:
    card = shop.card(shop.program()["id"])
    ok(shop.stamp(card["id"]))
    new = ok(shop.post(f"/cards/{card['id']}/replace", {"reason": "lost"}))
    own_service.seal()
    key = public_key(own_service)
    assert verified(shop, card["id"], key).balance.stamps == 0
    assert verified(shop, new["id"], key).balance.stamps == 1


def test_a_card_with_many_events_in_a_tree_of_several_levels_is_proved(own_service: Service, shop: Till) -> None:
    program = shop.program()
    card = shop.card(program["id"])
    for _ in range(3):
        for _ in range(120):
            ok(shop.stamp(card["id"]))
        own_service.seal()
    told = verified(shop, card["id"], public_key(own_service))
    assert (told.balance.stamps, told.signed.sealed) == (360, 361)


def test_a_history_rewritten_in_the_database_does_not_hold(own_service: Service, shop: Till) -> None:
    card = shop.card(shop.program()["id"])
    ok(shop.stamp(card["id"]))
    own_service.seal()
    own_service.rows("ALTER TABLE stored_events DISABLE TRIGGER USER")
    own_service.rows(
        "UPDATE stored_events SET state = replace(convert_from(state, 'UTF8'), '\"stamps\":1', '\"stamps\":9')::bytea"
        " WHERE originator_id = %s AND originator_version = 2",
        card["id"],
    )
    with pytest.raises(Fault) as raised:
        verified(shop, card["id"], public_key(own_service))
    assert raised.value.kind is Kind.INCLUSION


def test_without_a_seal_or_a_key_there_is_no_statement(own_service: Service, shop: Till) -> None:
    card = shop.card(shop.program()["id"])
    told = shop.get(f"/cards/{card['id']}/statement")
    assert problem(told, 503, "statement_unavailable") and told.headers["Retry-After"] == "60"
    own_service.seal()
    own_service._settings.sealing_key_path.unlink()
    problem(shop.get(f"/cards/{card['id']}/statement"), 503, "statement_unavailable")


def test_a_key_that_was_never_recorded_signs_no_statement(own_service: Service, shop: Till) -> None:
    card = shop.card(shop.program()["id"])
    own_service.seal()
    own_service._settings.sealing_key_path.write_text(SigningKey.new("shop.example/ledger").to_text())
    problem(shop.get(f"/cards/{card['id']}/statement"), 503, "statement_unavailable")
