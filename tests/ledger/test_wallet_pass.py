"""A pass in phones: given out once, heard about by those who asked, and by no more than a hundred of them."""

from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from ledger import wallet_pass
from ledger.personal import Secret
from ledger.wallet_pass import (
    DEVICES_MAX,
    AppleDeviceRegistered,
    AppleDeviceUnregistered,
    ApplePassIssued,
    Device,
    GooglePassRemoved,
    GooglePassSaved,
    WalletPass,
    confirm_at_google,
    create_at_google,
    issue,
    register,
    unregister,
    unregister_all,
)
from tests.examples import (
    CARD_ID,
    CUSTOMER_ID,
    DEVICE_REGISTERED,
    DEVICE_UNREGISTERED,
    GOOGLE_CREATED,
    HOUR,
    MINUTE,
    MONDAY,
    PASS_ISSUED,
    REGISTRATION_ID,
    sealed,
)
from tests.given import fold, given

OTHER_ID = UUID(int=7)
THIS_PASS: dict[str, Any] = {
    "card_id": CARD_ID,
    "customer_id": CUSTOMER_ID,
    "pass_type_id": PASS_ISSUED.pass_type_id,
    "serial_number": PASS_ISSUED.serial_number,
}


def asked(registration_id: UUID = REGISTRATION_ID, *, is_known: bool = False, **more: Any) -> dict[str, Any]:
    answers: dict[str, Any] = {"is_known": lambda _device: is_known, "now": MONDAY + HOUR}
    return {"registration_id": registration_id, "device": "phone", "push_token": "token", **answers, **more}


def registered(registration_id: UUID = REGISTRATION_ID) -> AppleDeviceRegistered:
    secrets = {"device": Secret(plain="phone"), "push_token": Secret(plain="token")}
    return replace(DEVICE_REGISTERED, at=MONDAY + HOUR, registration_id=registration_id, **secrets)


def crowd(size: int) -> list[Any]:
    """The first of them came last."""
    return [
        replace(DEVICE_REGISTERED, at=MONDAY + (size - n) * MINUTE, registration_id=UUID(int=n + 1))
        for n in range(size)
    ]


# ------------------------------------------------------------------ issue


def test_a_pass_is_given_out() -> None:
    (event,) = issue(None, **THIS_PASS, now=MONDAY)
    assert event == PASS_ISSUED
    state = fold([event])
    assert state == WalletPass(**THIS_PASS, issued_at=MONDAY, last_at=MONDAY)


def test_the_same_pass_given_out_again_is_nothing_new() -> None:
    given(PASS_ISSUED).when(issue, **THIS_PASS, now=MONDAY + HOUR).then()


@pytest.mark.parametrize("change", [{"pass_type_id": "pass.example.new"}, {"serial_number": "another"}])
def test_another_pass_takes_its_place_and_keeps_the_phones(change: dict[str, str]) -> None:
    other = {**THIS_PASS, **change}
    expected = ApplePassIssued(MONDAY + HOUR, **other)
    state = given(PASS_ISSUED, DEVICE_REGISTERED).when(issue, **other, now=MONDAY + HOUR).then(expected)
    assert (state.pass_type_id, state.serial_number) == (other["pass_type_id"], other["serial_number"])
    assert (state.last_at, list(state.devices)) == (MONDAY + HOUR, [str(REGISTRATION_ID)])


# ------------------------------------------------------------------ register


def test_a_phone_registers() -> None:
    state = given(PASS_ISSUED).when(register, **asked()).then(registered())
    assert list(state.devices) == [str(REGISTRATION_ID)]
    assert state.last_at == MONDAY + HOUR


def test_a_phone_that_is_there_with_its_token_is_nothing_new() -> None:
    given(PASS_ISSUED, DEVICE_REGISTERED).when(register, **asked(is_known=True)).then()


def test_whether_a_token_is_known_is_asked_of_what_is_stored() -> None:
    seen: list[Device] = []

    def is_known(device: Device) -> bool:
        seen.append(device)
        return True

    given(PASS_ISSUED, DEVICE_REGISTERED).when(register, **asked() | {"is_known": is_known}).then()
    assert seen == [Device(sealed("device", 2), sealed("push_token", 2), MONDAY)]


def test_a_new_push_token_takes_the_place_of_the_old_one() -> None:
    state = given(PASS_ISSUED, DEVICE_REGISTERED).when(register, **asked()).then(registered())
    assert state.devices == {str(REGISTRATION_ID): Device(Secret(plain="phone"), Secret(plain="token"), MONDAY + HOUR)}


def test_one_phone_too_many_takes_the_place_of_the_one_registered_longest_ago() -> None:
    oldest = UUID(int=DEVICES_MAX)
    now = MONDAY + 3 * HOUR
    state = (
        given(PASS_ISSUED, *crowd(DEVICES_MAX))
        .when(register, **asked(now=now))
        .then(AppleDeviceUnregistered(now, oldest, "crowded_out"), replace(registered(), at=now))
    )
    assert len(state.devices) == DEVICES_MAX
    assert str(oldest) not in state.devices and str(REGISTRATION_ID) in state.devices


def test_a_new_push_token_crowds_nobody_out() -> None:
    here = UUID(int=5)
    now = MONDAY + 3 * HOUR
    state = (
        given(PASS_ISSUED, *crowd(DEVICES_MAX))
        .when(register, **asked(here, now=now))
        .then(replace(registered(here), at=now))
    )
    assert len(state.devices) == DEVICES_MAX


# ------------------------------------------------------------------ unregister


@pytest.mark.parametrize("reason", ["asked", "gone"])
def test_a_phone_unregisters(reason: Any) -> None:
    state = (
        given(PASS_ISSUED, DEVICE_REGISTERED)
        .when(unregister, registration_id=REGISTRATION_ID, reason=reason, now=MONDAY + HOUR)
        .then(replace(DEVICE_UNREGISTERED, at=MONDAY + HOUR, reason=reason))
    )
    assert state.devices == {}


def test_a_phone_that_is_not_there_need_not_go() -> None:
    leave = {"registration_id": OTHER_ID, "reason": "asked", "now": MONDAY + HOUR}
    given(PASS_ISSUED, DEVICE_REGISTERED).when(unregister, **leave).then()
    given(PASS_ISSUED, DEVICE_REGISTERED, DEVICE_UNREGISTERED).when(
        unregister, **leave | {"registration_id": REGISTRATION_ID}
    ).then()


# ------------------------------------------------------------------ of them all


def test_time_never_runs_backwards() -> None:
    early = MONDAY - HOUR
    state = fold([PASS_ISSUED, DEVICE_REGISTERED])
    events = [
        *issue(state, **THIS_PASS | {"serial_number": "another"}, now=early),
        *register(state, **asked(now=early)),
        *unregister(state, registration_id=REGISTRATION_ID, reason="gone", now=early),
    ]
    assert [event.at for event in events] == [MONDAY] * 3


def test_folding_changes_no_state_that_was_before() -> None:
    before = fold([PASS_ISSUED])
    wallet_pass.evolve(before, DEVICE_REGISTERED)
    assert before.devices == {}


def test_an_unknown_phone_that_goes_is_folded_all_the_same() -> None:
    assert fold([PASS_ISSUED, DEVICE_UNREGISTERED]) == fold([PASS_ISSUED])


def test_a_forgotten_holders_phones_are_all_unknown() -> None:
    state = (
        given(PASS_ISSUED, registered(), registered(OTHER_ID))
        .when(unregister_all, now=MONDAY + HOUR)
        .then(
            AppleDeviceUnregistered(MONDAY + HOUR, OTHER_ID, "erased"),
            AppleDeviceUnregistered(MONDAY + HOUR, REGISTRATION_ID, "erased"),
        )
    )
    assert state.devices == {}
    given(PASS_ISSUED).when(unregister_all, now=MONDAY + HOUR).then()


# ------------------------------------------------------------------ Google


AT_GOOGLE: dict[str, Any] = {
    "card_id": CARD_ID,
    "customer_id": CUSTOMER_ID,
    "class_id": GOOGLE_CREATED.class_id,
    "object_id": GOOGLE_CREATED.object_id,
}


def test_a_card_is_to_be_at_google_once() -> None:
    (event,) = create_at_google(None, **AT_GOOGLE, now=MONDAY)
    assert event == GOOGLE_CREATED
    given(GOOGLE_CREATED).when(create_at_google, **AT_GOOGLE, now=MONDAY + HOUR).then()


def test_a_card_may_be_in_both_wallets() -> None:
    expected = replace(GOOGLE_CREATED, at=MONDAY + HOUR)
    state = given(PASS_ISSUED, DEVICE_REGISTERED).when(create_at_google, **AT_GOOGLE, now=MONDAY + HOUR).then(expected)
    assert (state.serial_number, state.google_object_id) == (PASS_ISSUED.serial_number, GOOGLE_CREATED.object_id)
    assert list(state.devices) == [str(REGISTRATION_ID)]


def test_saved_and_removed_are_noted_when_they_are_news() -> None:
    given(GOOGLE_CREATED).when(confirm_at_google, has_users=False, now=MONDAY + HOUR).then()
    saved = GooglePassSaved(MONDAY + HOUR, CARD_ID)
    state = given(GOOGLE_CREATED).when(confirm_at_google, has_users=True, now=MONDAY + HOUR).then(saved)
    assert state.is_saved_at_google
    given(GOOGLE_CREATED, saved).when(confirm_at_google, has_users=True, now=MONDAY + 2 * HOUR).then()
    removed = GooglePassRemoved(MONDAY + 2 * HOUR, CARD_ID)
    gone = given(GOOGLE_CREATED, saved).when(confirm_at_google, has_users=False, now=MONDAY + 2 * HOUR).then(removed)
    assert not gone.is_saved_at_google


def test_no_clock_takes_a_pass_back_in_time() -> None:
    late = GooglePassSaved(MONDAY + 2 * HOUR, CARD_ID)
    given(GOOGLE_CREATED, late).when(confirm_at_google, has_users=False, now=MONDAY).then(
        GooglePassRemoved(MONDAY + 2 * HOUR, CARD_ID)
    )
