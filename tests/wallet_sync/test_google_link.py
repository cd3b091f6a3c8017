"""The link that puts a card into a wallet: signed by the account, short enough for any browser."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from google.auth import jwt

from tests.fake_google import ISSUER, account
from tests.wallet_sync.passes import CARD_ID
from wallet_sync.google_link import JWT_CHARACTERS_MAX, SAVE_URL, LinkTooLong, save_link
from wallet_sync.google_pass import class_id, object_id

CLASS = class_id(ISSUER, "production", UUID("0195a1b0-0000-7000-8000-0000000000a1"))
OBJECT = object_id(ISSUER, "production", CARD_ID)
NOW = datetime(2026, 3, 1, 12, 30, 15, 250_000, tzinfo=UTC)
ORIGINS = ["https://cards.cafe.example"]


def link(origins: list[str] = ORIGINS) -> str:
    return save_link(account().info, object_id=OBJECT, class_id=CLASS, origins=origins, now=NOW)


def test_a_link_names_the_card_and_is_signed_by_the_account() -> None:
    token = link().removeprefix(SAVE_URL)
    header, claims, _, _ = jwt._unverified_decode(token)
    assert header == {"typ": "JWT", "alg": "RS256", "kid": account().info["private_key_id"]}
    assert claims == {
        "iss": account().info["client_email"],
        "aud": "google",
        "typ": "savetowallet",
        "iat": 1772368215,
        "origins": ORIGINS,
        "payload": {"loyaltyObjects": [{"id": OBJECT, "classId": CLASS}]},
    }
    # The library would look for an `exp`, which these tokens have not: the signature alone, then.
    signed, _, signature = token.rpartition(".")
    padded = signature + "=" * (-len(signature) % 4)
    assert jwt.crypt.verify_signature(signed, jwt._helpers.padded_urlsafe_b64decode(padded), account().public_pem)


def test_a_link_is_far_from_too_long() -> None:
    assert len(link().removeprefix(SAVE_URL)) < 1_000
    assert link([]) != link()


def test_a_link_that_a_browser_would_cut_is_not_made() -> None:
    one = len(link(["https://a.example"]).removeprefix(SAVE_URL))
    fitting = "a" * ((JWT_CHARACTERS_MAX - one) * 3 // 4)  # Base64 writes three bytes as four characters.
    assert len(link([f"https://a{fitting}.example"]).removeprefix(SAVE_URL)) > JWT_CHARACTERS_MAX - 8
    with pytest.raises(LinkTooLong, match=str(JWT_CHARACTERS_MAX)) as refused:
        link([f"https://aaaaaaa{fitting}.example"])
    assert isinstance(refused.value, ValueError) and "eyJ" not in str(refused.value)
