"""Table apple_device_registrations: which phones want to hear about which pass. A row goes when its phone does."""

from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from ledger.ids import derived, wallet_pass_id
from ledger.personal import Secret
from ledger.stream import Recorded
from ledger.wallet_pass import AppleDeviceRegistered, AppleDeviceUnregistered
from projections.table import Kept, Opened, Queries, Row, StateTable, dicts, json_of

COLUMNS = (
    "id, card_id, device_library_identifier, push_token, pass_type_identifier, serial_number, created_at, updated_at"
)


class Registration(Struct, frozen=True):
    """A phone as long as it is registered."""

    card_id: UUID
    customer_id: UUID
    pass_type_id: str
    serial_number: str
    device: Secret
    push_token: Secret
    created_at: datetime
    updated_at: datetime


def evolve(registration: Registration | None, event: Any) -> Registration | None:
    """None once the phone is gone, so that whoever comes back is new."""
    if not isinstance(event, AppleDeviceRegistered):
        return None
    registered = Registration(
        card_id=event.card_id,
        customer_id=event.customer_id,
        pass_type_id=event.pass_type_id,
        serial_number=event.serial_number,
        device=event.device,
        push_token=event.push_token,
        created_at=event.at,
        updated_at=event.at,
    )
    return registered if registration is None else replace(registered, created_at=registration.created_at)


def row(kept: Kept) -> Row:
    registration: Registration = kept.state
    return {
        "id": kept.id,
        "card_id": registration.card_id,
        "device_library_identifier": kept.opened(registration.device),
        "push_token": kept.opened(registration.push_token),
        "pass_type_identifier": registration.pass_type_id,
        "serial_number": registration.serial_number,
        "version": kept.version,
        "position": kept.position,
        "created_at": registration.created_at,
        "updated_at": registration.updated_at,
        "state": json_of(registration),
    }


def _id(recorded: Recorded) -> UUID | None:
    event = recorded.event
    return event.registration_id if isinstance(event, AppleDeviceRegistered | AppleDeviceUnregistered) else None


def _subject(kept: Kept) -> UUID:
    return derived("subject", kept.vendor_id, kept.state.customer_id)


def _stream(kept: Kept) -> UUID:
    return wallet_pass_id(kept.state.card_id)


def _is_gone(kept: Kept) -> bool:
    """Unregistered, or of a forgotten person: nobody can be told anything under a push token that cannot be read."""
    return kept.state is None or kept.told.get(kept.state.push_token.sealed, "") is None


APPLE_DEVICE_REGISTRATIONS = StateTable(
    "apple_device_registrations",
    Registration,
    _id,
    evolve,
    row,
    vendor_column="(SELECT c.vendor_id FROM loyalty_cards c WHERE c.id = card_id)",
    secrets=(Opened("device_library_identifier", "device"), Opened("push_token", "push_token")),
    subject=_subject,
    stream=_stream,
    is_gone=_is_gone,
)


# ------------------------------------------------------------------ readers


async def list_of_card(queries: Queries, card_id: UUID) -> list[Row]:
    """A card's phones, oldest first.

    Raises: StoreAway where the database is away; asking again is safe. So do all readers here.
    """
    sql = f"SELECT {COLUMNS} FROM apple_device_registrations WHERE card_id = %s ORDER BY created_at, id"
    return dicts(COLUMNS, await queries.rows(sql, (card_id,)))
