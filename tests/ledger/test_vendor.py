"""A vendor, and the API keys of its systems."""

from datetime import timedelta
from uuid import UUID

import pytest
from msgspec.structs import replace

from ledger import vendor as vendors
from ledger.errors import ApiKeyNotFound, InvalidValue
from ledger.vendor import API_KEYS_MAX
from tests.examples import (
    DAY,
    KEY_ID,
    KEY_ISSUED,
    KEY_REVOKED,
    MONDAY,
    PROFILE,
    REGISTERED,
    VENDOR_REINSTATED,
    VENDOR_SUSPENDED,
    VENDOR_UPDATED,
)
from tests.given import fold, given

KEY = {
    "key_id": KEY_ID,
    "name": KEY_ISSUED.name,
    "digest": KEY_ISSUED.digest,
    "prefix": KEY_ISSUED.prefix,
    "scopes": KEY_ISSUED.scopes,
    "expires_at": KEY_ISSUED.expires_at,
    "now": MONDAY,
}


def test_a_vendor_is_registered_and_active() -> None:
    vendor = given().when(vendors.register, code="cafe-zess", profile=PROFILE, now=MONDAY).then(REGISTERED)
    assert (vendor.code, vendor.profile, vendor.is_active) == ("cafe-zess", PROFILE, True)


def test_a_vendor_changes_its_name() -> None:
    vendor = (
        given(REGISTERED)
        .when(vendors.update, profile=VENDOR_UPDATED.profile, is_active=None, now=MONDAY)
        .then(VENDOR_UPDATED)
    )
    assert vendor.profile == VENDOR_UPDATED.profile


def test_a_vendor_is_suspended_and_reinstated() -> None:
    vendor = given(REGISTERED).when(vendors.update, profile=PROFILE, is_active=False, now=MONDAY).then(VENDOR_SUSPENDED)
    assert not vendor.is_active
    vendor = (
        given(REGISTERED, VENDOR_SUSPENDED)
        .when(vendors.update, profile=PROFILE, is_active=True, now=MONDAY)
        .then(VENDOR_REINSTATED)
    )
    assert vendor.is_active


def test_what_stays_the_same_at_a_vendor_leaves_no_event() -> None:
    given(REGISTERED).when(vendors.update, profile=PROFILE, is_active=True, now=MONDAY).then()
    given(REGISTERED).when(vendors.update, profile=PROFILE, is_active=None, now=MONDAY).then()


def test_a_till_gets_a_key_of_which_only_a_digest_is_kept() -> None:
    vendor = given(REGISTERED).when(vendors.issue_api_key, **KEY).then(KEY_ISSUED)
    assert vendor.api_key(KEY_ID).digest == KEY_ISSUED.digest


def test_a_revoked_key_is_gone() -> None:
    vendor = given(REGISTERED, KEY_ISSUED).when(vendors.revoke_api_key, key_id=KEY_ID, now=MONDAY).then(KEY_REVOKED)
    with pytest.raises(ApiKeyNotFound):
        vendor.api_key(KEY_ID)


def test_a_key_is_revoked_once() -> None:
    given(REGISTERED, KEY_ISSUED, KEY_REVOKED).when(vendors.revoke_api_key, key_id=KEY_ID, now=MONDAY).refused(
        ApiKeyNotFound
    )


def test_a_key_is_valid_until_the_moment_it_expires() -> None:
    key = fold([REGISTERED, KEY_ISSUED]).api_key(KEY_ID)
    assert key.is_valid(MONDAY + 365 * DAY - timedelta(microseconds=1))
    assert not key.is_valid(MONDAY + 365 * DAY)


def test_a_key_without_an_end_stays_valid() -> None:
    key = fold([REGISTERED, replace(KEY_ISSUED, expires_at=None)]).api_key(KEY_ID)
    assert key.is_valid(MONDAY + 10_000 * DAY)


def test_a_key_that_has_expired_already_is_not_issued() -> None:
    given(REGISTERED).when(vendors.issue_api_key, **KEY | {"expires_at": MONDAY}).refused(
        InvalidValue, field="expires_at"
    )


def test_a_vendor_has_only_so_many_keys() -> None:
    keys = [replace(KEY_ISSUED, key_id=UUID(int=n)) for n in range(API_KEYS_MAX)]
    given(REGISTERED, *keys).when(vendors.issue_api_key, **KEY).refused(InvalidValue, field="name")
    given(REGISTERED, *keys[1:]).when(vendors.issue_api_key, **KEY).then(KEY_ISSUED)
