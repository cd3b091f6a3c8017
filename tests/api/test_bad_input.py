"""What people, tills and attackers send: refused with a stable code, without an echo, and never with a 500."""

from typing import Any

import pytest

from tests.api.edge import BODY_BYTES_MAX, SECRET, client, posted, posted_raw


def codes(answer: Any) -> dict[str, str]:
    return {error["field"]: error["code"] for error in answer.json()["errors"]}


@pytest.mark.parametrize(
    "body",
    [
        b'{"amount": NaN}',
        b'{"amount": Infinity}',
        b'{"amount": -Infinity}',
        b'{"amount": 1e999}',
        b'{"facts": {"a": -1e999}}',
        b'{"name": "\\ud800"}',
        b'{"facts": {"\\udfff": 1}}',
        b'{"name": "\xff\xfe"}',
        b'{"name": "unfinished',
        b"[" * 3_000,
        b"\xef\xbb\xbf{}",
        b"{'name': 1}",
    ],
)
def test_what_is_not_json_is_malformed(body: bytes) -> None:
    answer = posted_raw(body)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")


@pytest.mark.parametrize("amount", ["1.0", "12.50", "1e2", '"1250"', "true", "123456789012345678901234567890"])
def test_money_is_a_whole_number_and_nothing_like_one(amount: str) -> None:
    answer = posted_raw(f'{{"amount": {amount}}}'.encode())
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert codes(answer) == {"amount": "wrong_type"}


def test_money_has_limits() -> None:
    assert codes(posted(amount=-1)) == {"amount": "too_small"}
    assert codes(posted(amount=10**12 + 1)) == {"amount": "too_large"}
    assert posted(amount=10**12).status_code == 200


@pytest.mark.parametrize("text", ["a\0b", "a\nb", "a\x1bb", "a\x7fb", "a\u2028b", "safe\u202egnp.exe"])
def test_control_characters_stay_outside(text: str) -> None:
    assert codes(posted(name=text)) == {"name": "control_character"}


def test_a_name_may_be_in_any_script_and_is_trimmed() -> None:
    assert posted(name="  Zoé 李 👩‍👩‍👧 ").json()["name"] == "Zoé 李 👩‍👩‍👧"
    assert codes(posted(name="   ")) == {"name": "too_short"}
    assert codes(posted(name="a" * 101)) == {"name": "too_long"}


def test_an_unknown_field_is_named() -> None:
    assert codes(posted(cuont=1)) == {"cuont": "unknown_field"}


def test_an_unknown_field_with_a_strange_name_is_not_repeated() -> None:
    answer = posted(**{"<script>\r\n4071": 1})
    assert codes(answer) == {"?": "unknown_field"}
    assert "script" not in answer.text


@pytest.mark.parametrize("pin", ["٤٠٧١", "４０７１", "407", "407140714", "40 71", "4071\n", "abcd", ""])
def test_a_pin_is_four_to_eight_plain_digits(pin: str) -> None:
    assert codes(posted(pin=pin)) == {"pin": "wrong_form"}


@pytest.mark.parametrize(
    "fields", [{"pin": "٤٠٧١ geheim"}, {"pin": SECRET, "count": 0}, {"pin": int(SECRET)}, {"pin": [SECRET]}]
)
def test_a_refusal_never_repeats_the_pin(fields: dict[str, Any]) -> None:
    answer = posted(**fields)
    assert answer.status_code == 422
    assert SECRET not in answer.text and "geheim" not in answer.text and "٤" not in answer.text


def test_an_accepted_pin_shows_itself_as_stars() -> None:
    answer = posted(pin=SECRET)
    assert answer.status_code == 200
    assert SECRET not in answer.text


@pytest.mark.parametrize(
    "zone", ["Europe/Luxemburg", "Mars/Olympus", "../../etc/passwd", "localtime", "", "europe/paris"]
)
def test_an_unknown_time_zone_is_refused(zone: str) -> None:
    assert codes(posted(timezone=zone)) == {"timezone": "unknown_timezone"}


@pytest.mark.parametrize("currency", ["XAU", "XXX", "XTS", "XDR", "BTC", "eur", "DEM", ""])
def test_a_currency_nobody_can_pay_with_is_refused(currency: str) -> None:
    assert codes(posted(currency=currency)) == {"currency": "unknown_currency"}


def test_a_currency_without_minor_units_is_fine() -> None:
    assert posted(currency="JPY", amount=500).status_code == 200


@pytest.mark.parametrize(
    "card",
    [
        "",
        "12345678901",
        "٤٨٢٩١٣٥٧٠٢٦٤",
        "a" * 31,
        "a" * 33,
        "a" * 31 + "/",
        "0198c5a27d3c7c4e9b1a2f6d1c0e8a55x",
    ],
)
def test_what_names_no_card_is_refused(card: str) -> None:
    assert "card" in codes(posted(card=card))


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example/x",
        "javascript:alert(1)",
        "https://u:p@a.example/",
        "https://",
        "https://127.0.0.1/x",
        "https://localhost/x",
        "https://a.example/ x",
        "https://a.example:99999/",
    ],
)
def test_only_public_https_addresses_are_taken(url: str) -> None:
    assert codes(posted(logo_url=url)) == {"logo_url": "wrong_form"}


@pytest.mark.parametrize(
    "at",
    [
        "2026-03-29",
        "2026-03-29T10:00:00",
        "2026-02-30T10:00:00Z",
        "٢026-03-29T10:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "yesterday",
        1774778400,
    ],
)
def test_a_moment_needs_a_date_a_time_and_a_zone(at: Any) -> None:
    assert codes(posted(at=at)) == {"at": "wrong_form"}


def test_several_mistakes_are_told_at_once_in_the_callers_language() -> None:
    answer = client().post(
        "/api/v1/vendor/shapes", json={"count": 0, "color": "red"}, headers={"accept-language": "de"}
    )
    assert codes(answer) == {"count": "too_small", "color": "wrong_form"}
    assert {e["message"] for e in answer.json()["errors"]} == {
        "muss mindestens 1 sein",
        "muss eine Farbe sein, etwa #1a2b3c",
    }


def test_a_thousand_mistakes_make_a_short_answer() -> None:
    answer = posted_raw(b"{" + b",".join(b'"a%d":1' % n for n in range(400)) + b"}")
    assert len(answer.json()["errors"]) == 20


def test_a_mistake_in_an_address_names_the_parameter() -> None:
    answer = client().get("/api/v1/vendor/cards/42?at=noon")
    assert answer.status_code == 422
    assert {(e["in"], e["field"]) for e in answer.json()["errors"]} == {("path", "card_id"), ("query", "at")}


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_body_that_is_not_declared_as_json_is_refused(kind: str) -> None:
    answer = posted_raw(b"{}", kind)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("body", [b"[]", b"1", b'"text"', b"null", b""])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    assert posted_raw(body).json()["code"] == "validation_failed"


def test_a_body_over_the_limit_is_refused_unread() -> None:
    answer = posted_raw(b" " * 20_000_000)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert answer.json()["limit_bytes"] == BODY_BYTES_MAX
