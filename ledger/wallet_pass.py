"""A card's passes in phones: in Apple Wallet, and which phones want to hear when it changes; in Google Wallet.

What Apple calls a device's library identifier and its push token are secrets of the card's holder: the ledger keeps
them sealed. Whether a push token is the one already known is answered by whoever holds the key.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Literal, TypeAlias, assert_never
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from ledger.personal import Secret

Reason: TypeAlias = Literal["asked", "gone", "crowded_out", "erased"]

DEVICES_MAX = 100


# ------------------------------------------------------------------ events


class ApplePassIssued(Struct, frozen=True):
    at: datetime
    card_id: UUID
    customer_id: UUID
    pass_type_id: str
    serial_number: str


class AppleDeviceRegistered(Struct, frozen=True):
    """A phone wants to hear about the pass, or has another push token than before."""

    at: datetime
    registration_id: UUID
    card_id: UUID
    customer_id: UUID
    pass_type_id: str
    serial_number: str
    device: Secret  # The device library identifier.
    push_token: Secret


class AppleDeviceUnregistered(Struct, frozen=True):
    at: datetime
    registration_id: UUID
    reason: Reason  # `gone`: Apple says that the push token is no longer valid. `erased`: its holder was forgotten.


class GooglePassCreated(Struct, frozen=True):
    """The card is to be an object at Google, whose link may be given out once it is there."""

    at: datetime
    card_id: UUID
    customer_id: UUID
    class_id: str
    object_id: str


class GooglePassSaved(Struct, frozen=True):
    """Google confirms that the card is in somebody's wallet."""

    at: datetime
    card_id: UUID


class GooglePassRemoved(Struct, frozen=True):
    """Google confirms that the card is in nobody's wallet any more. It may be saved again."""

    at: datetime
    card_id: UUID


ApplePassEvent: TypeAlias = ApplePassIssued | AppleDeviceRegistered | AppleDeviceUnregistered
GooglePassEvent: TypeAlias = GooglePassCreated | GooglePassSaved | GooglePassRemoved
WalletPassEvent: TypeAlias = ApplePassEvent | GooglePassEvent


# ------------------------------------------------------------------ state


class Device(Struct, frozen=True):
    device: Secret
    push_token: Secret
    registered_at: datetime  # With the push token it has now.


class WalletPass(Struct, frozen=True):
    card_id: UUID
    customer_id: UUID
    last_at: datetime
    pass_type_id: str | None = None  # None, as the next two: not in Apple Wallet.
    serial_number: str | None = None
    issued_at: datetime | None = None
    devices: dict[str, Device] = {}  # By registration id.
    google_class_id: str | None = None  # None, as the next: not at Google.
    google_object_id: str | None = None
    is_saved_at_google: bool = False


def evolve(state: WalletPass | None, event: WalletPassEvent) -> WalletPass:
    """The pass after one more event. Never checks."""
    if state is None:
        assert isinstance(event, ApplePassIssued | GooglePassCreated), "a pass's first event is its issue"
        state = WalletPass(event.card_id, event.customer_id, event.at)
    match event:
        case ApplePassIssued(pass_type_id=pass_type_id, serial_number=serial_number):
            return replace(
                state, pass_type_id=pass_type_id, serial_number=serial_number, issued_at=event.at, last_at=event.at
            )
        case AppleDeviceRegistered():
            device = Device(event.device, event.push_token, event.at)
            return replace(state, devices=state.devices | {str(event.registration_id): device}, last_at=event.at)
        case AppleDeviceUnregistered():
            gone = str(event.registration_id)
            devices = {id_: device for id_, device in state.devices.items() if id_ != gone}
            return replace(state, devices=devices, last_at=event.at)
        case GooglePassCreated(class_id=class_id, object_id=object_id):
            return replace(state, google_class_id=class_id, google_object_id=object_id, last_at=event.at)
        case GooglePassSaved():
            return replace(state, is_saved_at_google=True, last_at=event.at)
        case GooglePassRemoved():
            return replace(state, is_saved_at_google=False, last_at=event.at)
        case _:
            assert_never(event)


# ------------------------------------------------------------------ decisions


def issue(
    state: WalletPass | None,
    *,
    card_id: UUID,
    customer_id: UUID,
    pass_type_id: str,
    serial_number: str,
    now: datetime,
) -> list[WalletPassEvent]:
    """No event where this very pass is issued already."""
    if state is not None and (state.pass_type_id, state.serial_number) == (pass_type_id, serial_number):
        return []
    return [ApplePassIssued(_after(state, now), card_id, customer_id, pass_type_id, serial_number)]


def register(
    state: WalletPass,
    *,
    registration_id: UUID,
    device: str,
    push_token: str,
    is_known: Callable[[Device], bool],
    now: datetime,
) -> list[WalletPassEvent]:
    """No event where the device is there with this push token; one device too many takes the oldest one's place.

    Args:
        is_known: Whether what is stored for the device is this push token.
    """
    known = state.devices.get(str(registration_id))
    if known is not None and is_known(known):
        return []
    assert state.pass_type_id is not None and state.serial_number is not None
    now = _after(state, now)
    events: list[WalletPassEvent] = []
    if known is None and len(state.devices) >= DEVICES_MAX:
        oldest = min(state.devices, key=lambda id_: (state.devices[id_].registered_at, id_))
        events.append(AppleDeviceUnregistered(now, UUID(oldest), "crowded_out"))
    events.append(
        AppleDeviceRegistered(
            at=now,
            registration_id=registration_id,
            card_id=state.card_id,
            customer_id=state.customer_id,
            pass_type_id=state.pass_type_id,
            serial_number=state.serial_number,
            device=Secret(plain=device),
            push_token=Secret(plain=push_token),
        )
    )
    return events


def unregister(state: WalletPass, *, registration_id: UUID, reason: Reason, now: datetime) -> list[WalletPassEvent]:
    """No event where it is not registered."""
    if str(registration_id) not in state.devices:
        return []
    return [AppleDeviceUnregistered(_after(state, now), registration_id, reason)]


def unregister_all(state: WalletPass, *, now: datetime) -> list[WalletPassEvent]:
    """Its holder was forgotten: no phone is known any more."""
    now = _after(state, now)
    return [AppleDeviceUnregistered(now, UUID(id_), "erased") for id_ in sorted(state.devices)]


def create_at_google(
    state: WalletPass | None, *, card_id: UUID, customer_id: UUID, class_id: str, object_id: str, now: datetime
) -> list[WalletPassEvent]:
    """No event where it is to be there already."""
    if state is not None and (state.google_class_id, state.google_object_id) == (class_id, object_id):
        return []
    return [GooglePassCreated(_after(state, now), card_id, customer_id, class_id, object_id)]


def confirm_at_google(state: WalletPass, *, has_users: bool, now: datetime) -> list[WalletPassEvent]:
    """No event where that is known. `has_users` is Google's word: whether the card is in any wallet."""
    if state.is_saved_at_google == has_users:
        return []
    return [(GooglePassSaved if has_users else GooglePassRemoved)(_after(state, now), state.card_id)]


def _after(state: WalletPass | None, now: datetime) -> datetime:
    """Time does not run backwards in a stream, whichever clock is asked."""
    return now if state is None else max(now, state.last_at)
