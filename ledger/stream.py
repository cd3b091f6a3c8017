"""What stands in the database: the names of events, their envelope, their bytes, and the chain over them.

Names are for ever. A class may be renamed or moved freely; a name never, and a changed meaning is a new name. The
digest of each event is part of the next one, so that no byte of a history can change unnoticed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from hashlib import sha256
from typing import Any, Generic, Literal, TypeAlias, TypeVar, get_args, get_type_hints
from uuid import UUID

import msgspec
import orjson
from msgspec import Struct
from msgspec.structs import astuple, replace

from ledger import attempts, audit, card, program, staff_pin, subject, vendor, wallet_pass
from ledger.codec import to_plain
from ledger.personal import Secret
from ledger.seal import SubjectKey, seal

T = TypeVar("T")
StreamType: TypeAlias = Literal["vendor", "program", "card", "attempts", "staff_pin", "wallet_pass", "subject", "audit"]
Channel: TypeAlias = Literal["pos", "offline", "vendor_ui", "admin_ui", "public", "wallet", "import", "system"]

EVENT_NAMES: dict[str, type[Any]] = {
    "vendor-registered": vendor.VendorRegistered,
    "vendor-updated": vendor.VendorUpdated,
    "vendor-suspended": vendor.VendorSuspended,
    "vendor-reinstated": vendor.VendorReinstated,
    "api-key-issued": vendor.ApiKeyIssued,
    "api-key-revoked": vendor.ApiKeyRevoked,
    "program-created": program.ProgramCreated,
    "program-rules-changed": program.ProgramRulesChanged,
    "reward-defined": program.RewardDefined,
    "reward-changed": program.RewardChanged,
    "reward-retired": program.RewardRetired,
    "program-branding-changed": program.ProgramBrandingChanged,
    "program-activated": program.ProgramActivated,
    "program-deactivated": program.ProgramDeactivated,
    "card-enrolled": card.CardEnrolled,
    "stamps-added": card.StampsAdded,
    "points-earned": card.PointsEarned,
    "reward-redeemed": card.RewardRedeemed,
    "earn-reversed": card.EarnReversed,
    "redemption-reversed": card.RedemptionReversed,
    "units-adjusted": card.UnitsAdjusted,
    "card-suspended": card.CardSuspended,
    "card-reinstated": card.CardReinstated,
    "card-replaced": card.CardReplaced,
    "units-forfeited": card.UnitsForfeited,
    "card-closed": card.CardClosed,
    "customer-details-changed": card.CustomerDetailsChanged,
    "qr-token-rotated": card.QrTokenRotated,
    "card-erased": card.CardErased,
    "stamp-refused": attempts.StampRefused,
    "earn-refused": attempts.EarnRefused,
    "redemption-refused": attempts.RedemptionRefused,
    "reversal-refused": attempts.ReversalRefused,
    "staff-pin-created": staff_pin.StaffPinCreated,
    "staff-pin-changed": staff_pin.StaffPinChanged,
    "staff-pin-rejected": staff_pin.StaffPinRejected,
    "staff-pin-accepted": staff_pin.StaffPinAccepted,
    "staff-pin-locked": staff_pin.StaffPinLocked,
    "staff-pin-unlocked": staff_pin.StaffPinUnlocked,
    "staff-pin-revoked": staff_pin.StaffPinRevoked,
    "staff-session-opened": staff_pin.StaffSessionOpened,
    "apple-pass-issued": wallet_pass.ApplePassIssued,
    "apple-device-registered": wallet_pass.AppleDeviceRegistered,
    "apple-device-unregistered": wallet_pass.AppleDeviceUnregistered,
    "google-pass-created": wallet_pass.GooglePassCreated,
    "google-pass-saved": wallet_pass.GooglePassSaved,
    "google-pass-removed": wallet_pass.GooglePassRemoved,
    "subject-key-destroyed": subject.SubjectKeyDestroyed,
    "projection-checked": audit.ProjectionChecked,
}
NAME_OF: dict[type[Any], str] = {cls: name for name, cls in EVENT_NAMES.items()}


@dataclass(frozen=True, slots=True)
class StreamKind:
    """The state a stream folds to, and how."""

    state: type[Any]
    evolve: Callable[[Any, Any], Any]


STREAM_KINDS: dict[str, StreamKind] = {
    "vendor": StreamKind(vendor.Vendor, vendor.evolve),
    "program": StreamKind(program.Program, program.evolve),
    "card": StreamKind(card.Card, card.evolve),
    "attempts": StreamKind(attempts.Attempts, attempts.evolve),
    "staff_pin": StreamKind(staff_pin.StaffPin, staff_pin.evolve),
    "wallet_pass": StreamKind(wallet_pass.WalletPass, wallet_pass.evolve),
    "subject": StreamKind(subject.Subject, subject.evolve),
    "audit": StreamKind(audit.Audit, audit.evolve),
}


class Actor(Struct, frozen=True):
    """Who did it, and how we know."""

    type: Literal["admin", "api_key", "staff", "customer", "system"]
    id: str
    authenticated_by: str


class Envelope(Struct, frozen=True):
    """What every event says beside what happened."""

    stream_type: StreamType
    vendor_id: UUID
    channel: Channel
    actor: Actor
    request_id: str
    recorded_at: datetime
    occurred_at: datetime  # Business time; equals recorded_at unless the caller said otherwise.
    program_id: UUID | None = None
    program_version: int | None = None  # The rules version it was decided under.
    location_id: UUID | None = None
    terminal_id: str | None = None
    causation_id: UUID | None = None
    schema: int = 1


class Stored(Struct, frozen=True):
    """One event as it stands in the database."""

    stream_id: UUID
    version: int
    name: str
    state: bytes
    position: int


class Recorded(Struct, frozen=True):
    """One event as it stands in the stream.

    `version` counts from 1 within the stream, `position` over the whole store (None until it is written),
    `prev` and `digest` are SHA-256 in hex.
    """

    stream_id: UUID
    version: int
    position: int | None
    name: str
    event: Any
    envelope: Envelope
    prev: str
    digest: str


def first_prev(stream_id: UUID) -> str:
    """What the first event of a stream follows: so no chain can be moved to another stream."""
    return sha256(b"loyalty-ledger stream\x00" + stream_id.bytes).hexdigest()


def digest(stream_id: UUID, version: int, name: str, state: bytes) -> str:
    """SHA-256 over 0x00 and, each preceded by its length, stream id, version, name and the bytes as stored.

    Lengths are 8 bytes big-endian, the version too, as a signed number. Over stored bytes, so no question of JSON
    canonicalisation arises.
    """
    return hashed(stream_id.bytes, version, name, state).hex()


def hashed(of: bytes, version: int, name: str, state: bytes) -> bytes:
    """The digest as its 32 bytes, by the 16 bytes of a stream's id: for those who hash millions."""
    number = version.to_bytes(8, "big", signed=True)  # Below one only where somebody forged it: to be named, too.
    parts = (b"\x00", _OF_ID, of, _OF_NUMBER, number, _measured(name), _length(state), state)
    return sha256(b"".join(parts)).digest()  # In one piece: it takes half the time.


def _length(part: bytes) -> bytes:
    return len(part).to_bytes(8, "big")


_OF_ID, _OF_NUMBER = _length(bytes(16)), _length(bytes(8))


@lru_cache(maxsize=512)
def _measured(name: str) -> bytes:
    return _length(name.encode()) + name.encode()


class _Written(Envelope, Generic[T], frozen=True, kw_only=True):
    """What `encode` wrote, read in one go: the envelope, with `prev` and the event beside it."""

    prev: str
    data: T


@cache
def _decoder(name: str) -> msgspec.json.Decoder[_Written[Any]]:
    written: Any = _Written
    return msgspec.json.Decoder(written[EVENT_NAMES[name]])


def encode(event: Any, envelope: Envelope, prev: str) -> bytes:
    """The bytes as stored: JSON of the envelope, `prev`, and the event under `data`. Secrets must be sealed."""
    return encode_beside(event, to_plain(envelope), prev)


def encode_beside(event: Any, plain_envelope: dict[str, Any], prev: str) -> bytes:
    """The same, for one who has the envelope in plain values because many events share most of it."""
    return orjson.dumps({"prev": prev, **plain_envelope, "data": to_plain(event)})


def prev_of(state: bytes) -> str | None:
    """What an event says it follows. Written first, so it need not be parsed."""
    if state[:9] == b'{"prev":"' and state[73:75] == b'",':
        return state[9:73].decode("ascii", "replace")
    try:
        told = orjson.loads(state)
    except orjson.JSONDecodeError:
        return None
    return told.get("prev") if isinstance(told, dict) else None


def decode(stored: Stored, *, is_digested: bool = True) -> Recorded:
    """One event, out of its bytes.

    Args:
        is_digested: False leaves `digest` empty, for those who fold and verify nothing.

    Raises:
        KeyError: A name this version of the service does not know.
    """
    written = _decoder(stored.name).decode(stored.state)
    return Recorded(
        stream_id=stored.stream_id,
        version=stored.version,
        position=stored.position,
        name=stored.name,
        event=written.data,
        envelope=Envelope(*astuple(written)[: len(Envelope.__struct_fields__)]),
        prev=written.prev,
        digest=digest(stored.stream_id, stored.version, stored.name, stored.state) if is_digested else "",
    )


def sealed(event: Any, subject: SubjectKey | None, *, stream_id: UUID, version: int) -> Any:
    """The event with every secret that is still plain sealed for this place in this stream."""
    changes = {}
    event_type: Any = type(event)
    for name in _secret_names(event_type):
        value = getattr(event, name)
        if value is not None and value.plain is not None:
            assert subject is not None, f"{name} is personal: the command must name whose key seals it"
            changes[name] = seal(value, subject, stream_id=stream_id, version=version, name=name)
    return replace(event, **changes) if changes else event


@cache
def _secret_names(event_type: Any) -> tuple[str, ...]:
    """Its fields that are a Secret, or may be one."""
    hints = get_type_hints(event_type)
    return tuple(name for name, hint in hints.items() if hint is Secret or Secret in get_args(hint))


def evolve(stream_type: str, state: Any, event: Any) -> Any:
    return STREAM_KINDS[stream_type].evolve(state, event)
