"""A card's pass in Apple Wallet: that it was given out, and which phones want to hear when it changes.

What Apple calls a device's library identifier and its push token are secrets of the card's holder: the ledger keeps
them sealed. Whether a push token is the one already known is answered by whoever holds the key.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias, assert_never
from uuid import UUID

from ledger.personal import Secret
from ledger.values import changed

Reason: TypeAlias = Literal["asked", "gone", "crowded_out"]

DEVICES_MAX = 100


# ------------------------------------------------------------------ events


@dataclass(frozen=True, slots=True)
class ApplePassIssued:
    at: datetime
    card_id: UUID
    customer_id: UUID
    pass_type_id: str
    serial_number: str


@dataclass(frozen=True, slots=True)
class AppleDeviceRegistered:
    """A phone wants to hear about the pass, or has another push token than before."""

    at: datetime
    registration_id: UUID
    card_id: UUID
    customer_id: UUID
    pass_type_id: str
    serial_number: str
    device: Secret  # The device library identifier.
    push_token: Secret


@dataclass(frozen=True, slots=True)
class AppleDeviceUnregistered:
    at: datetime
    registration_id: UUID
    reason: Reason  # `gone`: Apple says that the push token is no longer valid.


WalletPassEvent: TypeAlias = ApplePassIssued | AppleDeviceRegistered | AppleDeviceUnregistered


# ------------------------------------------------------------------ state


@dataclass(frozen=True, slots=True)
class Device:
    device: Secret
    push_token: Secret
    registered_at: datetime  # With the push token it has now.


@dataclass(frozen=True, slots=True)
class WalletPass:
    card_id: UUID
    customer_id: UUID
    pass_type_id: str
    serial_number: str
    issued_at: datetime
    last_at: datetime
    devices: dict[str, Device] = field(default_factory=dict)  # By registration id.


def evolve(state: WalletPass | None, event: WalletPassEvent) -> WalletPass:
    """The pass after one more event. Never checks."""
    if state is None:
        assert isinstance(event, ApplePassIssued), "a pass's first event is its issue"
        return WalletPass(
            card_id=event.card_id,
            customer_id=event.customer_id,
            pass_type_id=event.pass_type_id,
            serial_number=event.serial_number,
            issued_at=event.at,
            last_at=event.at,
        )
    match event:
        case ApplePassIssued():
            return changed(
                state,
                pass_type_id=event.pass_type_id,
                serial_number=event.serial_number,
                issued_at=event.at,
                last_at=event.at,
            )
        case AppleDeviceRegistered():
            device = Device(event.device, event.push_token, event.at)
            return changed(state, devices=state.devices | {str(event.registration_id): device}, last_at=event.at)
        case AppleDeviceUnregistered():
            gone = str(event.registration_id)
            devices = {id_: device for id_, device in state.devices.items() if id_ != gone}
            return changed(state, devices=devices, last_at=event.at)
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
    if state is None:
        return [ApplePassIssued(now, card_id, customer_id, pass_type_id, serial_number)]
    if (state.pass_type_id, state.serial_number) == (pass_type_id, serial_number):
        return []
    return [ApplePassIssued(max(now, state.last_at), card_id, customer_id, pass_type_id, serial_number)]


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
    now = max(now, state.last_at)
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
    return [AppleDeviceUnregistered(max(now, state.last_at), registration_id, reason)]
