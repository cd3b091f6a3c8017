"""A verifier of Google's callbacks that nobody here wrote, callbacks that Google itself has signed, and ours.

google-wallet-webhook-auth judges signatures, and the day on which the key that made them ends. What it accepts, ours
may refuse for more reasons; what it refuses, ours refuses too, but where a test says why not.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson
import pytest
import time_machine
from google_wallet_webhook_auth import Validator
from google_wallet_webhook_auth.cache import CacheConfig, CacheInterface
from google_wallet_webhook_auth.exceptions import SignatureVerificationError

from tests.google_signer import HOUR, ISSUER, NOW, ROOT, STRANGER, Signer, document, milliseconds, spki
from wallet_sync.google_callback import CallbackRefused, root_keys, verified

OTHER_ISSUER = "3388000000099999999"


class Kept(CacheInterface):
    """Where it looks for Google's root keys before it asks the network."""

    def __init__(self, document_: bytes) -> None:
        self._keys = orjson.loads(document_)["keys"]

    def get(self, key: str) -> Any:
        return self._keys

    def set(self, key: str, value: Any, timeout: int | None = None) -> None:
        raise AssertionError("it asked the network")


class Judged(NamedTuple):
    theirs: bool
    ours: str  # "believed", or the reason why not.


def judged(body: dict[str, Any], now: datetime = NOW, issuer: str = ISSUER, keys: bytes | None = None) -> Judged:
    """The same message to both, with the same root keys, at the same time."""
    known = keys or document()
    try:
        with time_machine.travel(now, tick=False):
            Validator(issuer, CacheConfig("keys", Kept(known))).validate(body)
        theirs = True
    except SignatureVerificationError:
        theirs = False
    try:
        verified(orjson.dumps(body), issuer_id=issuer, root_keys=root_keys(known, now), now=now)
    except CallbackRefused as refused:
        return Judged(theirs, refused.reason)
    return Judged(theirs, "believed")


def changed(body: dict[str, Any], before: str, after: str) -> dict[str, Any]:
    """The body with other words in what is signed."""
    written = {name: value.replace(before, after) for name, value in body.items() if isinstance(value, str)}
    key = body["intermediateSigningKey"]
    written_key = {**key, "signedKey": key["signedKey"].replace(before, after)}
    assert {**body, **written, "intermediateSigningKey": written_key} != body
    return {**body, **written, "intermediateSigningKey": written_key}


# ------------------------------------------------------------------ what our tests sign


@pytest.mark.parametrize("event", ["save", "del"])
def test_it_accepts_what_the_signer_of_our_tests_signs_and_so_do_we(event: str) -> None:
    assert judged(Signer(told={"eventType": event}).body()) == (True, "believed")


def test_one_root_key_among_others_is_enough_for_both() -> None:
    strangers = orjson.loads(document(keyValue=spki(STRANGER)))["keys"]
    keys = orjson.dumps({"keys": strangers + orjson.loads(document())["keys"]})
    assert judged(Signer().body(), keys=keys) == (True, "believed")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (Signer(issuer=OTHER_ISSUER).body(), "bad_signature"),
        (Signer(sender="Google").body(), "untrusted_key"),
        (Signer(root=STRANGER).body(), "untrusted_key"),
        (Signer(message_key=STRANGER).body(), "bad_signature"),
        (Signer(message_key=ROOT).body(), "bad_signature"),
        (Signer(key_expires=NOW - HOUR).body(), "key_expired"),
        (changed(Signer().body(), "save", "del"), "bad_signature"),
        (changed(Signer().body(), "test.card.b", "test.card.c"), "bad_signature"),
        (changed(Signer().body(), str(milliseconds(NOW + HOUR)), str(milliseconds(NOW + 2 * HOUR))), "untrusted_key"),
        (changed(Signer().body(), "\\u003d", "="), "untrusted_key"),
        ({**Signer().body(), "signature": Signer(told={"count": 2}).body()["signature"]}, "bad_signature"),
        ({**Signer().body(), "protocolVersion": "ECv2"}, "wrong_protocol"),
    ],
)
def test_what_it_refuses_we_refuse(body: dict[str, Any], reason: str) -> None:
    assert judged(body) == (False, reason)


def test_a_callback_for_another_issuer_is_refused_by_both_and_taken_by_both_for_him() -> None:
    theirs = {"classId": f"{OTHER_ISSUER}.a", "objectId": f"{OTHER_ISSUER}.b"}
    body = Signer(issuer=OTHER_ISSUER, told=theirs).body()
    assert judged(body) == (False, "bad_signature")
    assert judged(body, issuer=OTHER_ISSUER) == (True, "believed")


@pytest.mark.parametrize("root", [STRANGER, ROOT])
def test_a_key_counts_only_where_it_is_among_googles(root: Any) -> None:
    expected = Judged(True, "believed") if root is ROOT else Judged(False, "untrusted_key")
    assert judged(Signer().body(), keys=document(keyValue=spki(root))) == expected


# ------------------------------------------------------------------ where the two differ


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (Signer(expires=NOW - HOUR).body(), "expired"),
        (Signer(protocol="ECv2").body(), "wrong_protocol"),
        (Signer(told={"objectId": f"{OTHER_ISSUER}.b"}).body(), "not_ours"),
        (Signer(told={"eventType": "activate"}).body(), "unknown_event"),
    ],
)
def test_what_is_well_signed_but_makes_no_sense_is_refused_by_us_alone(body: dict[str, Any], reason: str) -> None:
    assert judged(body) == (True, reason)


@pytest.mark.parametrize("root_key", [{"keyExpiration": str(milliseconds(NOW - HOUR))}, {"protocolVersion": "ECv2"}])
def test_a_root_key_that_has_ended_or_is_for_something_else_counts_for_it_and_not_for_us(
    root_key: dict[str, str],
) -> None:
    assert judged(Signer().body(), keys=document(**root_key)) == (True, "untrusted_key")


def test_it_counts_characters_where_google_counts_bytes() -> None:
    """Google Pay, "Payment data cryptography": a length is that of the part in bytes."""
    assert judged(Signer(told={"nonce": "gär"}).body()) == (False, "believed")


# ------------------------------------------------------------------ what Google has signed

# Two callbacks for demonstration cards of the eduTAP project, published in the tests of edutap.wallet_google, and what
# anybody can work out of signatures and signed content: the one root key under which the keys of both were signed, ten
# months apart. Another way to put together what is signed would not lead to one key.
GOOGLES_ROOT = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEs/J7ghdwu4/b6NvqzQebS+Z80FEP8ZlGdAdWDUjfPeBKaV+YOWW0l6U/4IGXnfY9NrsND1fwxAqRq0un"
    "R/LCIg=="
)
EDUTAP = "3388000000022141777"
SAVED: dict[str, Any] = {
    "signature": "MEYCIQCyuBQo/Dao7yUBDUWK12ATFBDkUfJUnropjOaPbPiKEwIhAKXNiVrbNmydpEVIxXRz5z36f8HV2Meq/Td6tqt2+DYO",
    "intermediateSigningKey": {
        "signedKey": r'{"keyValue":"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE3JpSX3AU53vH+IpWBdsbqrL7Ey67QSERsDUztFt8q7t7PzV'
        r'kh14SeYeokI1zSZiVAWnx4tXD1tCPbrvfFGB8OA\u003d\u003d","keyExpiration":"1735023986000"}',
        "signatures": [
            "MEUCIQD3IBTpRM45gpno9Remtx/FiDCOJUp45+C+Qzw6IrgphwIgJijXISc+Ft8Sj9eXNowzuYyXyWlgKAE+tVnN24Sek5M="
        ],
    },
    "protocolVersion": "ECv2SigningOnly",
    "signedMessage": '{"classId":"3388000000022141777.pass.gift.dev.edutap.eu",'
    '"objectId":"3388000000022141777.9fd4e525-777c-4e0d-878a-b7993e211997","eventType":"save",'
    '"expTimeMillis":1734366082269,"count":1,"nonce":"c1359b53-f2bb-4e8f-b392-9a560a21a9a0"}',
}
REMOVED: dict[str, Any] = {
    "signature": "MEUCIQC+xKva1ydmNwJJiP2HJJWsteUe02ztTDKExzcWIpmlywIgJwD4HUYvZJg/cr1OL21vVKr0b2ZXt79NblCQ1V18zsc=",
    "intermediateSigningKey": {
        "signedKey": r'{"keyValue":"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEKb256ssDdmf7DokZ7jsMtAvjiTX2HF1ay8QR1sSA+gFpC/C'
        r'hhRwVdMEVJTaoAP1MIH38QWtqShiQ63zROaKtgQ\u003d\u003d","keyExpiration":"1759996807000"}',
        "signatures": [
            "MEUCIDd7rXh7qgJZ7YSlQiXG2zOdZUT5XlMSUPu3RfyV3p2CAiEApxrIwTmRVig93FVJUC6bSWdQXMqata5sHenKsVYreUk="
        ],
    },
    "protocolVersion": "ECv2SigningOnly",
    "signedMessage": '{"classId":"3388000000022141777.lib.edutap.eu",'
    '"objectId":"3388000000022141777.6b4cbd15-0de7-4fe8-95f6-995a51b4595e.object","eventType":"del",'
    '"expTimeMillis":1759331348143,"count":1,"nonce":"1a9e3df0-ec10-4a17-8b39-89d2d7f48e3b"}',
}
GENUINE = pytest.mark.parametrize("body", [SAVED, REMOVED], ids=["save", "del"])
GOOGLES_KEYS = document(keyValue=GOOGLES_ROOT, keyExpiration=str(milliseconds(datetime(2036, 1, 1, tzinfo=UTC))))


def ends(body: dict[str, Any]) -> datetime:
    return datetime.fromtimestamp(orjson.loads(body["signedMessage"])["expTimeMillis"] / 1000, UTC)


def googles(body: dict[str, Any], now: datetime, issuer: str = EDUTAP) -> Judged:
    return judged(body, now, issuer, GOOGLES_KEYS)


@GENUINE
def test_both_believe_what_google_itself_has_signed(body: dict[str, Any]) -> None:
    before = ends(body) - timedelta(minutes=1)
    assert googles(body, before) == (True, "believed")
    callback = verified(orjson.dumps(body), issuer_id=EDUTAP, root_keys=root_keys(GOOGLES_KEYS, before), now=before)
    told = orjson.loads(body["signedMessage"])
    assert (callback.class_id, callback.object_id) == (told["classId"], told["objectId"])
    assert (callback.event, callback.nonce, callback.expires_at) == (told["eventType"], told["nonce"], ends(body))


@GENUINE
def test_what_google_signed_for_another_issuer_or_other_words_is_refused(body: dict[str, Any]) -> None:
    before = ends(body) - timedelta(minutes=1)
    assert googles(body, before, issuer=ISSUER) == (False, "bad_signature")
    assert googles(changed(body, '"count":1', '"count":2'), before) == (False, "bad_signature")
    assert googles(changed(body, '"keyExpiration":"1', '"keyExpiration":"2'), before) == (False, "untrusted_key")
    assert (
        judged(body, before, EDUTAP, document(keyExpiration=str(milliseconds(before + HOUR)))).ours == "untrusted_key"
    )


@GENUINE
def test_what_google_signed_ends_on_its_day(body: dict[str, Any]) -> None:
    assert googles(body, ends(body) + timedelta(minutes=1)) == (True, "expired")
    assert googles(body, ends(body) + timedelta(days=30)) == (False, "key_expired")
