"""Who asks: the vendor acted for, the actor, where and through what, and what the caller may do."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from ledger.decision import Once, View
from ledger.errors import ApiKeyNotFound, CallerRevoked, StaffNotAllowed, StaffSessionInvalid
from ledger.ids import command_id, new_id
from ledger.staff_pin import Operation, StaffPin, must_allow, must_not_be_locked
from ledger.stream import Actor, Channel, Envelope, StreamType
from ledger.vendor import Vendor


@dataclass(frozen=True, slots=True)
class ProvenStaff:
    """A staff member whose PIN was right, or whose session is: still to be found unchanged when it is recorded."""

    pin_id: UUID
    credential: int
    is_session: bool


@dataclass(frozen=True, slots=True)
class Caller:
    """The one who asks, as the edge of the service authenticated it."""

    vendor_id: UUID
    actor: Actor
    channel: Channel
    request_id: str
    api_key_id: UUID | None = None
    may: frozenset[str] = frozenset()
    staff: ProvenStaff | None = None
    location_id: UUID | None = None
    terminal_id: str | None = None
    occurred_at: datetime | None = None

    def envelope(
        self,
        stream_type: StreamType,
        recorded_at: datetime,
        *,
        program_id: UUID | None = None,
        program_version: int | None = None,
        causation_id: UUID | None = None,
    ) -> Envelope:
        actor = self.actor
        if self.staff is not None:
            how = "staff_session" if self.staff.is_session else "pin"
            actor = Actor("staff", str(self.staff.pin_id), f"{how}+{self.actor.authenticated_by}")
        return Envelope(
            stream_type=stream_type,
            vendor_id=self.vendor_id,
            channel=self.channel,
            actor=actor,
            request_id=self.request_id,
            recorded_at=recorded_at,
            occurred_at=self.occurred_at or recorded_at,
            program_id=program_id,
            program_version=program_version,
            location_id=self.location_id,
            terminal_id=self.terminal_id,
            causation_id=causation_id,
        )

    def streams(self) -> list[UUID]:
        """What must be read to know that caller and staff are still who they were."""
        return [self.vendor_id] if self.staff is None else [self.vendor_id, self.staff.pin_id]

    def must_be_valid(self, view: View) -> None:
        """The key and the vendor as they are at this very commit: revocation is exact."""
        if self.api_key_id is None:
            return
        stream = view.stream(self.vendor_id)
        vendor = stream.state if stream else None
        if not isinstance(vendor, Vendor) or not vendor.is_active:
            raise CallerRevoked
        try:
            vendor.api_key(self.api_key_id)
        except ApiKeyNotFound:
            raise CallerRevoked from None

    def proven_staff(self, view: View, operation: Operation, program_id: UUID, now: datetime) -> StaffPin | None:
        """The staff member's PIN, unchanged since it was proven; None where no staff member acts."""
        if self.staff is None:
            return None
        stream = view.stream(self.staff.pin_id)
        pin = stream.state if stream is not None and stream.vendor_id == self.vendor_id else None
        if not isinstance(pin, StaffPin) or not pin.is_active or pin.credential != self.staff.credential:
            raise StaffSessionInvalid if self.staff.is_session else StaffNotAllowed
        must_not_be_locked(pin, now)
        must_allow(pin, operation, program_id)
        return pin


def once(vendor_id: UUID, key: str, fingerprint: bytes) -> Once:
    """A command that happens once, however often it is sent under its Idempotency-Key."""
    return Once(command_id(vendor_id, key), fingerprint)


def just_this() -> Once:
    """A command without a key. It still has an identity, so that an unknown outcome can be settled."""
    return Once(new_id(), secrets.token_bytes(32))


def utc_now() -> datetime:
    return datetime.now(UTC)
