"""Callbacks are believed only with every signature in order."""

import json
from datetime import datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from tests.google_signer import (
    HOUR,
    ISSUER,
    NOW,
    ROOT,
    STRANGER,
    Signer,
    document,
    milliseconds,
    signature,
    spki,
)
from wallet_sync.google_callback import MESSAGE_BYTES_MAX, Callback, CallbackRefused, root_keys, verified

ROOTS = root_keys(document(), NOW)


def read(message: bytes | dict[str, Any], now: datetime = NOW, **given_: Any) -> Callback:
    content = message if isinstance(message, bytes) else json.dumps(message).encode()
    return verified(content, **{"issuer_id": ISSUER, "root_keys": ROOTS, "now": now, **given_})


def refusal(message: bytes | dict[str, Any], now: datetime = NOW, **given_: Any) -> str:
    with pytest.raises(CallbackRefused) as refused:
        read(message, now, **given_)
    return refused.value.reason


# ------------------------------------------------------------------ believed


@pytest.mark.parametrize("event", ["save", "del"])
def test_what_google_signed_for_us_is_believed(event: str) -> None:
    assert read(Signer(told={"eventType": event}).message()) == Callback(
        f"{ISSUER}.test.prog.a",
        f"{ISSUER}.test.card.b",
        event,
        "0cfe3927",
        NOW + HOUR,  # type: ignore[arg-type]
    )


def test_lengths_are_counted_in_bytes_of_utf_8() -> None:
    assert read(Signer(told={"nonce": "gär 咖啡 ☕ 🎉"}).message()).nonce == "gär 咖啡 ☕ 🎉"


def test_one_signature_of_one_root_key_is_enough() -> None:
    body = Signer().body()
    other = signature(STRANGER, "GooglePayPasses", "ECv2SigningOnly", "")
    body["intermediateSigningKey"]["signatures"].insert(0, other)
    strangers = root_keys(document(keyValue=spki(STRANGER)), NOW)
    assert read(body, root_keys=strangers + ROOTS).event == "save"


def test_the_sender_is_a_setting() -> None:
    message = Signer(sender="GoogleWallet").message()
    assert read(message, sender="GoogleWallet").event == "save"
    assert refusal(message) == "untrusted_key"


# ------------------------------------------------------------------ refused


@pytest.mark.parametrize(
    ("signer", "reason"),
    [
        (Signer(issuer="3388000000099999999"), "bad_signature"),
        (Signer(root=STRANGER), "untrusted_key"),
        (Signer(message_key=STRANGER), "bad_signature"),
        (Signer(message_key=ROOT), "bad_signature"),
        (Signer(key_expires=NOW), "key_expired"),
        (Signer(expires=NOW), "expired"),
        (Signer(protocol="ECv2"), "wrong_protocol"),
        (Signer(told={"classId": "3388000000099999999.a"}), "not_ours"),
        (Signer(told={"objectId": f"{ISSUER}0.a"}), "not_ours"),
        (Signer(told={"eventType": "activate"}), "unknown_event"),
        (Signer(told={"nonce": ""}), "malformed"),
        (Signer(told={"nonce": 7}), "malformed"),
        (Signer(told={"expTimeMillis": True}), "malformed"),
        (Signer(told={"expTimeMillis": 10**30}), "malformed"),
        (Signer(told={"expTimeMillis": None}), "malformed"),
    ],
)
def test_a_message_that_is_not_in_order_is_refused_and_says_why(signer: Signer, reason: str) -> None:
    assert refusal(signer.message()) == reason


def test_a_message_for_another_issuer_stays_theirs_even_when_it_speaks_of_ours() -> None:
    theirs = "3388000000099999999"
    message = Signer(issuer=theirs).message()
    assert read(message_of(theirs), issuer_id=theirs).event == "save"
    assert refusal(message) == refusal(message_of(theirs)) == "bad_signature"


def message_of(issuer: str) -> bytes:
    return Signer(issuer=issuer, told={"classId": f"{issuer}.a", "objectId": f"{issuer}.b"}).message()


def test_a_changed_message_or_key_is_refused() -> None:
    body = Signer().body()
    assert refusal({**body, "signedMessage": body["signedMessage"].replace("save", "del")}) == "bad_signature"
    key = body["intermediateSigningKey"]
    later = key["signedKey"].replace(str(milliseconds(NOW + HOUR)), str(milliseconds(NOW + 2 * HOUR)))
    assert later != key["signedKey"]
    assert refusal({**body, "intermediateSigningKey": {**key, "signedKey": later}}) == "untrusted_key"


def test_the_key_is_verified_as_it_was_written_not_as_it_would_be_written_again() -> None:
    body = Signer().body()
    key = body["intermediateSigningKey"]
    assert "\\u003d" in key["signedKey"]
    again = json.dumps(json.loads(key["signedKey"]), separators=(",", ":"))
    assert refusal({**body, "intermediateSigningKey": {**key, "signedKey": again}}) == "untrusted_key"


def test_an_expired_root_key_vouches_for_nobody() -> None:
    signer = Signer(key_expires=NOW + 9 * HOUR, expires=NOW + 9 * HOUR)
    assert refusal(signer.message(), NOW + 2 * HOUR) == "untrusted_key"
    assert refusal(signer.message(), root_keys=()) == "untrusted_key"


@pytest.mark.parametrize("missing", ["signature", "intermediateSigningKey", "protocolVersion", "signedMessage"])
def test_a_message_without_one_of_its_members_is_malformed(missing: str) -> None:
    body = Signer().body()
    del body[missing]
    assert refusal(body) == "malformed"


@pytest.mark.parametrize("signatures", ["none", [], [7], ["not base64!"], ["MAA="] * 9])
def test_strange_signatures_are_refused(signatures: Any) -> None:
    body = Signer().body()
    body["intermediateSigningKey"]["signatures"] = signatures
    assert refusal(body) in ("malformed", "untrusted_key")


def test_what_is_too_large_is_not_read() -> None:
    assert refusal(b" " * (MESSAGE_BYTES_MAX + 1)) == "too_large"


@given(
    st.binary(max_size=200) | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(repr).map(str.encode)
)
def test_whatever_comes_is_refused_by_name(message: bytes) -> None:
    assert refusal(message) == "malformed"


# ------------------------------------------------------------------ root keys


@pytest.mark.parametrize(
    "given_",
    [
        {"protocolVersion": "ECv2"},
        {"protocolVersion": "ECv1"},
        {"keyExpiration": str(milliseconds(NOW))},
        {"keyExpiration": str(milliseconds(NOW - HOUR))},
    ],
)
def test_a_key_for_something_else_or_from_another_time_does_not_count(given_: dict[str, str]) -> None:
    assert root_keys(document(**given_), NOW) == ()


def test_a_key_that_never_expires_does_not_count() -> None:
    key = json.loads(document())["keys"][0]
    del key["keyExpiration"]
    assert root_keys(json.dumps({"keys": [key]}).encode(), NOW) == ()


def test_a_key_says_until_when_it_counts() -> None:
    (key,) = ROOTS
    assert key.expires_at == NOW + HOUR


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"keys": 7}',
        b'{"keys": [7]}',
        document(keyValue="!"),
        document(keyValue=spki(ec.generate_private_key(ec.SECP384R1()))),
        document(keyValue=spki(rsa.generate_private_key(65537, 2048))),
        document(keyExpiration="soon"),
    ],
)
def test_a_document_that_is_none_is_refused(content: bytes) -> None:
    with pytest.raises(CallbackRefused) as refused:
        root_keys(content, NOW)
    assert refused.value.reason == "bad_keys"
