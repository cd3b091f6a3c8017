"""What auditors read of the comparison of all tables with the stream."""

import json

import pytest

from api.check_command import check_for
from projections.check import Checked
from tests.callers import ok
from tests.service import MASTER_KEY, Service


@pytest.fixture
def service(own_service: Service) -> Service:
    return own_service


def checked(service: Service) -> Checked:
    service.catch_up()
    return check_for(service.database_url, MASTER_KEY)


def test_before_the_first_check_it_says_so(service: Service) -> None:
    told = ok(service.auditor.get("/audit/check"))
    assert (told["status"], told["checks"], told["at"]) == ("never_checked", 0, None)
    assert ok(service.auditor.get("/system"))["last_check"] == told


def test_a_check_is_an_event_that_auditors_read(service: Service) -> None:
    till = service.shop()
    card = till.card(till.program()["id"], email="marie@example.org")
    ok(till.stamp(card["id"], external_ref="till:ticket:1"))
    first = checked(service)
    assert first.differences == []
    told = ok(service.auditor.get("/audit/check"))
    assert (told["status"], told["differences"], told["places"]) == ("adds_up", 0, [])
    assert told["rows"] == first.rows and told["position"] == first.position == told["last_position"]
    assert told["rows"]["loyalty_transactions"] == 2 and told["rows"]["claims"] >= 5
    assert ok(service.auditor.get("/system"))["last_check"] == told
    assert checked(service).count == 0  # The event of the first is one of those compared now.
    assert ok(service.auditor.get("/audit/check"))["checks"] == 2


def test_what_differs_is_told_by_its_place_and_no_value(service: Service) -> None:
    till = service.shop()
    card = till.card(till.program()["id"], email="marie@example.org")
    ok(till.stamp(card["id"]))
    service.catch_up()
    service.rows('UPDATE loyalty_cards SET stamp_count = 9, details = \'{"name": "Marie"}\' WHERE id = %s', card["id"])
    found = checked(service)
    assert {one.column: one.found for one in found.differences if one.table == "loyalty_cards"}["stamp_count"] == 9
    told = ok(service.auditor.get("/audit/check"))
    assert told["status"] == "differs" and f"loyalty_cards {card['id']} stamp_count" in told["places"]
    assert "Marie" not in json.dumps(told)


def test_a_check_belongs_to_nobody_and_no_vendor_reads_it(service: Service) -> None:
    till = service.shop()
    checked(service)
    assert "projection-checked" not in till.get("/events").text
    assert service.admin.get("/audit/check").status_code == 200
    assert till.send("GET", "/audit/check").status_code == 404
