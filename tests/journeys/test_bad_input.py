"""What no honest till sends: each is refused with a document that says so, and leaves no trace."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import httpx2
import pytest

from tests.callers import VENDOR, Till, ok, problem, words_of
from tests.service import Service

RECORDED = """
SELECT (SELECT count(*) FROM stored_events), (SELECT count(*) FROM idempotency_keys), (SELECT count(*) FROM claims)
"""
BIG_BYTES = 20_000_000


class Shop(NamedTuple):
    till: Till
    program: dict[str, Any]
    card: dict[str, Any]
    pin: dict[str, Any]


@pytest.fixture(scope="module")
def shop(service: Service) -> Shop:
    till = service.shop()
    program = till.program()
    return Shop(till, program, till.card(program["id"]), till.pin("4071"))


@pytest.fixture
def nothing_recorded(service: Service, shop: Shop) -> Iterator[None]:
    before = service.rows(RECORDED)
    yield
    assert service.rows(RECORDED) == before


def raw(till: Till, path: str, body: bytes | str, **headers: str) -> httpx2.Response:
    """A body as it is written here, not as a JSON library would."""
    named = {"Content-Type": "application/json", "Idempotency-Key": "raw", **till.headers, **headers}
    return till.http.post(VENDOR + path, content=body, headers=named)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "0x10", "01", "+1", "1_000"])
@pytest.mark.usefixtures("nothing_recorded")
def test_what_is_no_number_in_json_is_no_number_here(shop: Shop, number: str) -> None:
    body = f'{{"card": "{shop.card["id"]}", "purchase_amount_minor": {number}, "currency": "EUR"}}'
    told = problem(raw(shop.till, "/points", body), 400, "malformed_request")
    assert number not in told["detail"]


@pytest.mark.parametrize(
    "number", ["1.0", "1.5", "1e2", '"1"', "true", "null", "[1]", "1e18", "9223372036854775808", "-1"]
)
@pytest.mark.usefixtures("nothing_recorded")
def test_money_is_a_whole_number_of_minor_units(shop: Shop, number: str) -> None:
    body = f'{{"card": "{shop.card["id"]}", "purchase_amount_minor": {number}, "currency": "EUR"}}'
    told = problem(raw(shop.till, "/points", body), 422, "validation_failed")
    assert [error["field"] for error in told["errors"]] == ["purchase_amount_minor"]


@pytest.mark.usefixtures("nothing_recorded")
def test_a_number_beyond_64_bits_is_refused(shop: Shop) -> None:
    for count in (10**19, 10**400):
        body = f'{{"card": "{shop.card["id"]}", "count": {count}}}'
        assert raw(shop.till, "/stamps", body).status_code in (400, 422)


@pytest.mark.parametrize("text", [r"\ud800", r"\udfff", r"a\ud83d b"])
@pytest.mark.usefixtures("nothing_recorded")
def test_half_a_character_is_no_text(shop: Shop, text: str) -> None:
    body = f'{{"customer": {{"name": "{text}"}}}}'
    problem(raw(shop.till, f"/programs/{shop.program['id']}/cards", body), 400, "malformed_request")


@pytest.mark.parametrize("text", ["\0", "Marie\0", "a\x1bb", "a\u2028b", "a\u202eb", "\x7f", "\x85"])
@pytest.mark.usefixtures("nothing_recorded")
def test_control_characters_are_refused(shop: Shop, text: str) -> None:
    told = problem(
        shop.till.post(f"/programs/{shop.program['id']}/cards", {"customer": {"name": text}}), 422, "validation_failed"
    )
    assert told["errors"][0]["field"] == "customer.name"
    problem(shop.till.post(f"/cards/{shop.card['id']}/suspend", {"reason": text}), 422, "validation_failed")


@pytest.mark.parametrize(
    "query", ["q=%00", "q=a%00b", "status=%00", "cursor=%00", "cursor=AAAA", "limit=%00", "limit=1e1"]
)
@pytest.mark.usefixtures("nothing_recorded")
def test_an_odd_query_is_no_surprise(shop: Shop, query: str) -> None:
    for path in ("/cards", "/transactions"):
        answer = shop.till.http.get(f"{VENDOR}{path}?{query}&transaction_type=%00", headers=shop.till.headers)
        assert answer.status_code in (200, 400, 422), answer.text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/stamps", {"card": "482913570264", "discount": 5}),
        ("/stamps", {"card": "482913570264", "Count": 5}),
        ("/redemptions", {"card": "482913570264", "points_cost": 0}),
        ("/programs", {"loyalty_type": "stamps", "name": "A", "stamps_target": 5, "vendor_id": "x"}),
        ("/pins", {"staff_id": "a", "name": "A", "pin": "4071", "pin_hash": "x"}),
        ("/programs", {"loyalty_type": "points", "name": "A", "earn_rate": {"points": 1, "per_minor": 1, "x": 1}}),
    ],
)
@pytest.mark.usefixtures("nothing_recorded")
def test_a_field_nobody_knows_is_named(shop: Shop, path: str, body: dict[str, Any]) -> None:
    told = problem(shop.till.post(path, body), 422, "validation_failed")
    assert [error["code"] for error in told["errors"]] == ["unknown_field"]


@pytest.mark.parametrize(
    "pin", ["٤٠٧١", "４０７１", "४०७१", "407", "407123456", "40 71", "4071\n", "+4071", "", "abcd"]
)
@pytest.mark.usefixtures("nothing_recorded")
def test_a_pin_is_digits_0_to_9_and_never_repeated_to_anybody(shop: Shop, pin: str) -> None:
    for path, body in (
        ("/pins", {"staff_id": "a", "name": "A", "pin": pin}),
        (f"/pins/{shop.pin['id']}/sessions", {"pin": pin}),
        ("/stamps", {"card": shop.card["id"], "staff_pin_id": shop.pin["id"], "pin": pin}),
    ):
        answer = shop.till.post(path, body)
        told = problem(answer, 422, "validation_failed")
        assert [error["field"] for error in told["errors"]] == ["pin"]
        assert not pin or pin not in words_of(answer)


@pytest.mark.usefixtures("nothing_recorded")
def test_a_wrong_shape_beside_a_pin_does_not_tell_the_pin(shop: Shop) -> None:
    body = {
        "card": "no card",
        "staff_pin_id": shop.pin["id"],
        "pin": "40711704",
        "count": "many",
        "x": {"pin": "40711704"},
    }
    assert "40711704" not in shop.till.post("/stamps", body).text
    assert "40711704" not in shop.till.post("/stamps", [body]).text
    assert "40711704" not in raw(shop.till, "/stamps", '{"pin": "40711704", "pin": "40711704",}').text


@pytest.mark.parametrize("pin", ["0000", "1234", "9876", "1212", "55555555", "90123456"])
@pytest.mark.usefixtures("nothing_recorded")
def test_a_pin_everybody_tries_first_is_refused(shop: Shop, pin: str) -> None:
    answer = shop.till.post("/pins", {"staff_id": "a", "name": "A", "pin": pin})
    problem(answer, 422, "pin_too_weak")
    assert pin not in words_of(answer)


@pytest.mark.usefixtures("nothing_recorded")
def test_twenty_megabytes_are_refused_before_they_are_read(shop: Shop) -> None:
    began = time.monotonic()
    told = problem(raw(shop.till, "/stamps", b'{"card": "' + b"1" * BIG_BYTES + b'"}'), 413, "too_large")
    assert told["limit_bytes"] == 16_384
    assert time.monotonic() - began < 20


@pytest.mark.usefixtures("nothing_recorded")
def test_twenty_megabytes_without_a_length_are_refused_too(shop: Shop) -> None:
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        while sent < BIG_BYTES:
            sent += 10_000
            yield b"1" * 10_000

    headers = {"Content-Type": "application/json", "Idempotency-Key": "big", **shop.till.headers}
    try:
        answer = shop.till.http.post(f"{VENDOR}/stamps", content=chunks(), headers=headers)
        problem(answer, 413, "too_large")
    except (httpx2.WriteError, httpx2.RemoteProtocolError):
        pass  # It was answered and hung up while we were still talking: as good.
    assert sent > 16_384


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b'{"card": }',
        b"\xff\xfe{}",
        b'{"card": "\xff"}',
        b"\xef\xbb\xbf{}",
        b"[" * 5_000,
    ],
)
@pytest.mark.usefixtures("nothing_recorded")
def test_a_body_that_is_no_object_is_refused(shop: Shop, body: bytes) -> None:
    answer = raw(shop.till, "/stamps", body)
    assert answer.status_code in (400, 422)
    problem(answer, answer.status_code, answer.json()["code"])


@pytest.mark.usefixtures("nothing_recorded")
def test_a_body_of_another_kind_is_refused(shop: Shop) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        problem(raw(shop.till, "/stamps", b"{}", **{"Content-Type": kind}), 415, "unsupported_media_type")


@pytest.mark.parametrize("key", ["", "a b", "ä", "x" * 256])
@pytest.mark.usefixtures("nothing_recorded")
def test_an_idempotency_key_is_visible_ascii(shop: Shop, key: str) -> None:
    headers = [(name.encode(), value.encode()) for name, value in shop.till.headers.items()]
    headers.append((b"Idempotency-Key", key.encode("latin-1")))
    answer = shop.till.http.post(f"{VENDOR}/stamps", json={"card": shop.card["id"]}, headers=headers)
    problem(answer, 400, "malformed_request")


@pytest.mark.usefixtures("nothing_recorded")
def test_what_changes_a_balance_needs_a_key(shop: Shop) -> None:
    for path, body in (
        ("/stamps", {"card": shop.card["id"]}),
        ("/points", {"card": shop.card["id"], "purchase_amount_minor": 100, "currency": "EUR"}),
        ("/redemptions", {"card": shop.card["id"]}),
        ("/adjustments", {"card": shop.card["id"], "stamps_delta": 1, "reason": "A"}),
        (f"/entries/{shop.card['id']}/reversal", {"reason": "A"}),
    ):
        problem(shop.till.post(path, body, key=None), 400, "idempotency_key_missing")


def test_a_key_belongs_to_one_request(shop: Shop) -> None:
    first = shop.till.post("/stamps", {"card": shop.card["id"]}, key="one-request")
    assert first.status_code == 201
    for path, body in (
        ("/stamps", {"card": shop.card["id"], "order_reference": "other"}),
        ("/stamps", {"card": shop.card["card_number"]}),
        ("/redemptions", {"card": shop.card["id"]}),
    ):
        problem(shop.till.post(path, body, key="one-request"), 422, "idempotency_key_reused")
    again = shop.till.post("/stamps", {"card": shop.card["id"]}, key="one-request")
    assert (again.status_code, again.content, again.headers["Idempotent-Replayed"]) == (201, first.content, "true")


# ------------------------------------------------------------------ keys


def test_an_expired_key_is_nobodys(service: Service, shop: Shop) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=3)
    key = service.admin.api_key(shop.till.vendor_id, "read", expires_at=soon.isoformat())["key"]
    till = service.till(key)
    assert till.get("/cards").status_code == 200
    time.sleep(4.2)  # A key is remembered for a second.
    expired = problem(till.get("/cards"), 401, "unauthenticated")
    unknown = problem(service.till("llk_nobodys").get("/cards"), 401, "unauthenticated")
    assert {**expired, "request_id": ""} == {**unknown, "request_id": ""}


def test_an_expired_key_records_nothing_even_while_it_is_remembered(service: Service, shop: Shop) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=3)
    till = service.till(service.admin.api_key(shop.till.vendor_id, expires_at=soon.isoformat())["key"])
    answers = []
    while datetime.now(UTC) < soon + timedelta(seconds=1.2):
        asked = datetime.now(UTC)
        answers.append((asked, till.stamp(shop.card["id"]).status_code, datetime.now(UTC)))
    assert {status for _, status, done in answers if done < soon} == {201}
    assert {status for asked, status, _ in answers if asked >= soon} == {401}


def test_a_key_that_would_be_born_expired_is_refused(service: Service, shop: Shop) -> None:
    body = {"name": "Old", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"}
    problem(service.admin.post(f"/vendors/{shop.till.vendor_id}/api-keys", body), 422, "validation_failed")


def test_a_revoked_key_is_refused_from_the_next_request_on(service: Service, shop: Shop) -> None:
    issued = service.admin.api_key(shop.till.vendor_id)
    till = service.till(issued["key"])
    assert till.stamp(shop.card["id"]).status_code == 201
    assert service.admin.delete(f"/vendors/{shop.till.vendor_id}/api-keys/{issued['id']}").status_code == 204
    problem(till.stamp(shop.card["id"]), 401, "unauthenticated")


def test_a_suspended_vendors_keys_are_refused(service: Service) -> None:
    till = service.shop()
    card = till.card(till.program()["id"])
    ok(service.admin.patch(f"/vendors/{till.vendor_id}", {"is_active": False}))
    problem(till.stamp(card["id"]), 401, "unauthenticated")
    ok(service.admin.patch(f"/vendors/{till.vendor_id}", {"is_active": True}))
    assert till.stamp(card["id"]).status_code == 201


@pytest.mark.usefixtures("nothing_recorded")
def test_a_code_that_is_taken_does_not_take_the_place_of_the_problems_code(service: Service, shop: Shop) -> None:
    vendor = ok(service.admin.get(f"/vendors/{shop.till.vendor_id}"))
    same = {name: vendor[name] for name in ("name", "code", "country", "timezone", "currency", "languages")}
    assert vendor["code"] in problem(service.admin.post("/vendors", same), 409, "code_taken")["detail"]


@pytest.mark.usefixtures("nothing_recorded")
def test_more_stamps_at_once_than_in_a_day_are_refused(shop: Shop) -> None:
    body = {"loyalty_type": "stamps", "name": "A", "stamps_target": 5, "max_stamps_per_scan": 6}
    told = problem(shop.till.post("/programs", body), 422, "validation_failed")
    assert [error["field"] for error in told["errors"]] == ["max_stamps_per_scan"]
    change = {"max_stamps_per_scan": 3, "max_daily_stamps": 2}
    told = problem(shop.till.patch(f"/programs/{shop.program['id']}", change), 422, "validation_failed")
    assert [error["field"] for error in told["errors"]] == ["max_stamps_per_scan"]


# ------------------------------------------------------------------ places and money


@pytest.mark.parametrize(
    "zone", ["Mars/Olympus", "", "../../etc/passwd", "UTC\0", "localtime", "Europe", "CEST", "europe/paris"]
)
@pytest.mark.usefixtures("nothing_recorded")
def test_an_unknown_time_zone_is_refused(service: Service, shop: Shop, zone: str) -> None:
    body = {"loyalty_type": "stamps", "name": "A", "stamps_target": 5, "timezone": zone}
    told = problem(shop.till.post("/programs", body), 422, "validation_failed")
    assert [error["field"] for error in told["errors"]] == ["timezone"]
    problem(service.admin.patch(f"/vendors/{shop.till.vendor_id}", {"timezone": zone}), 422, "validation_failed")


@pytest.mark.parametrize("currency", ["XYZ", "XAU", "XXX", "eur", "", "EURO"])
@pytest.mark.usefixtures("nothing_recorded")
def test_an_unknown_currency_is_refused(shop: Shop, currency: str) -> None:
    body = {"loyalty_type": "stamps", "name": "A", "stamps_target": 5, "currency": currency}
    problem(shop.till.post("/programs", body), 422, "validation_failed")
    bought = {"card": shop.card["id"], "purchase_amount_minor": 100, "currency": currency}
    problem(shop.till.post("/points", bought), 422, "validation_failed")


@pytest.mark.parametrize(
    ("currency", "country", "timezone", "amount_minor", "per_minor", "points"),
    [("JPY", "JP", "Asia/Tokyo", 1_250, 100, 12), ("KWD", "KW", "Asia/Kuwait", 12_500, 1_000, 12)],
)
def test_money_without_or_with_three_decimals_is_counted_in_its_own_minor_units(
    service: Service, currency: str, country: str, timezone: str, amount_minor: int, per_minor: int, points: int
) -> None:
    till = service.shop(currency=currency, country=country, timezone=timezone)
    program = till.program(earn_rate={"points": 1, "per_minor": per_minor})
    assert (program["currency"], program["timezone"]) == (currency, timezone)
    card = till.card(program["id"])
    bought = {"card": card["id"], "purchase_amount_minor": amount_minor, "currency": currency}
    assert ok(till.post("/points", bought))["points_delta"] == points
    problem(till.post("/points", {**bought, "currency": "EUR"}), 422, "currency_mismatch")


# ------------------------------------------------------------------ what the framework would say


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing/here", 404, "not_found"),
        ("GET", f"{VENDOR}/nothing", 404, "not_found"),
        ("PUT", f"{VENDOR}/stamps", 405, "method_not_allowed"),
        ("DELETE", "/health/live", 405, "method_not_allowed"),
        ("GET", f"{VENDOR}/cards/not-a-uuid", 422, "validation_failed"),
        ("GET", f"{VENDOR}/cards/%00", 422, "validation_failed"),
        ("GET", f"{VENDOR}/cards/%ff", 422, "validation_failed"),
    ],
)
@pytest.mark.usefixtures("nothing_recorded")
def test_the_frameworks_own_errors_are_problem_documents(
    shop: Shop, method: str, path: str, status: int, code: str
) -> None:
    answer = shop.till.http.request(method, path, headers=shop.till.headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert answer.json()["code"] == code


@pytest.mark.parametrize(
    ("language", "title"), [("fr-LU, fr;q=0.9", "fr"), ("de", "de"), ("lb", "lb"), ("lu", "lb"), ("xx", "en")]
)
@pytest.mark.usefixtures("nothing_recorded")
def test_the_refusal_is_told_in_the_callers_language(shop: Shop, language: str, title: str) -> None:
    headers = {"Accept-Language": language}
    answer = shop.till.post("/stamps", {"card": "000000000000"}, headers=headers)
    assert problem(answer, 404, "card_not_found") and answer.headers["Content-Language"] == title
