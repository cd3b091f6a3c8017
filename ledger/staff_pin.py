"""A staff member's PIN: creation, change, failures, lockout, sessions.

The ledger never sees a PIN. It is handed bcrypt over a peppered HMAC, sealed; whether a guess was right is checked
before a decision, by one check at a time for each PIN, and the outcome is decided here.
"""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal, TypeAlias, assert_never
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from ledger.errors import PinLocked, PinTooWeak, StaffNotAllowed, StaffPinNotFound
from ledger.personal import Secret

Role: TypeAlias = Literal["staff", "manager"]
Operation: TypeAlias = Literal["stamp", "earn", "redeem", "reverse", "adjust"]
OPERATIONS: tuple[Operation, ...] = ("stamp", "earn", "redeem", "reverse", "adjust")
OPERATIONS_OF_ROLE: dict[Role, tuple[Operation, ...]] = {
    "staff": ("stamp", "earn", "redeem", "reverse"),
    "manager": OPERATIONS,
}

FAILURES_MAX = 5
FAILURES_WINDOW = timedelta(minutes=15)
LOCK_FIRST = timedelta(minutes=15)
LOCK_LONGEST = timedelta(hours=24)


# ------------------------------------------------------------------ events


class StaffPinCreated(Struct, frozen=True):
    at: datetime
    program_id: UUID | None  # None: every program of the vendor.
    staff_id: str
    name: Secret
    role: Role
    operations: tuple[Operation, ...]
    pin_hash: Secret


class StaffPinChanged(Struct, frozen=True):
    """Whatever is not None has changed."""

    at: datetime
    name: Secret | None = None
    role: Role | None = None
    operations: tuple[Operation, ...] | None = None
    pin_hash: Secret | None = None


class StaffPinRejected(Struct, frozen=True):
    """Somebody guessed wrong."""

    at: datetime


class StaffPinAccepted(Struct, frozen=True):
    """A right PIN after wrong ones: the count starts again. Right ones without failures before leave no event."""

    at: datetime


class StaffPinLocked(Struct, frozen=True):
    at: datetime
    locked_until: datetime


class StaffPinUnlocked(Struct, frozen=True):
    at: datetime


class StaffPinRevoked(Struct, frozen=True):
    at: datetime


class StaffSessionOpened(Struct, frozen=True):
    at: datetime
    session_id: UUID
    terminal_id: str | None
    ends_at: datetime


StaffPinEvent: TypeAlias = (
    StaffPinCreated
    | StaffPinChanged
    | StaffPinRejected
    | StaffPinAccepted
    | StaffPinLocked
    | StaffPinUnlocked
    | StaffPinRevoked
    | StaffSessionOpened
)


# ------------------------------------------------------------------ state


class StaffPin(Struct, frozen=True):
    program_id: UUID | None
    staff_id: str
    name: Secret
    role: Role
    operations: tuple[Operation, ...]
    pin_hash: Secret
    created_at: datetime
    last_at: datetime
    is_active: bool = True
    credential: int = 1  # Grows with every change, lock and removal; a session is bound to it.
    failures: tuple[datetime, ...] = ()
    locks_in_a_row: int = 0
    locked_until: datetime | None = None


def evolve(pin: StaffPin | None, event: StaffPinEvent) -> StaffPin:
    """The PIN after one more event. Never checks."""
    if isinstance(event, StaffPinCreated):
        return StaffPin(
            program_id=event.program_id,
            staff_id=event.staff_id,
            name=event.name,
            role=event.role,
            operations=event.operations,
            pin_hash=event.pin_hash,
            created_at=event.at,
            last_at=event.at,
        )
    assert pin is not None, "a PIN's first event is its creation"
    pin = replace(pin, last_at=event.at)
    match event:
        case StaffPinChanged():
            return replace(
                pin,
                name=event.name or pin.name,
                role=event.role or pin.role,
                operations=pin.operations if event.operations is None else event.operations,
                pin_hash=event.pin_hash or pin.pin_hash,
                credential=pin.credential + 1,
            )
        case StaffPinRejected():
            recent = tuple(at for at in pin.failures if event.at - at < FAILURES_WINDOW)
            return replace(pin, failures=(*recent, event.at))
        case StaffPinAccepted():
            return replace(pin, failures=(), locks_in_a_row=0, locked_until=None)
        case StaffPinLocked():
            return replace(
                pin,
                failures=(),
                locks_in_a_row=pin.locks_in_a_row + 1,
                locked_until=event.locked_until,
                credential=pin.credential + 1,
            )
        case StaffPinUnlocked():
            return replace(pin, failures=(), locks_in_a_row=0, locked_until=None)
        case StaffPinRevoked():
            return replace(pin, is_active=False, credential=pin.credential + 1)
        case StaffSessionOpened():
            return replace(pin, failures=(), locks_in_a_row=0, locked_until=None)
        case _:
            assert_never(event)


# ------------------------------------------------------------------ decisions


def must_be_strong(pin: str) -> None:
    """Refuse what everybody tries first.

    That is a shorter group repeated (1111, 1212, 123123), and a row up or down, over the end of the digits too and with
    digits said more than once on the way (1234, 8901, 4321, 112233).
    """
    is_repeated = pin in (pin + pin)[1:-1]
    steps = {(int(b) - int(a)) % 10 for a, b in pairwise(pin)} - {0}
    is_row = steps in ({1}, {9})
    if is_repeated or is_row:
        raise PinTooWeak


def create(
    *,
    program_id: UUID | None,
    staff_id: str,
    name: Secret,
    role: Role,
    operations: tuple[Operation, ...],
    pin_hash: Secret,
    now: datetime,
) -> list[StaffPinEvent]:
    return [StaffPinCreated(now, program_id, staff_id, name, role, operations, pin_hash)]


def change(
    pin: StaffPin,
    *,
    name: Secret | None,
    role: Role | None,
    operations: tuple[Operation, ...] | None,
    pin_hash: Secret | None,
    now: datetime,
) -> list[StaffPinEvent]:
    must_be_there(pin)
    if name is None and role is None and operations is None and pin_hash is None:
        return []
    return [StaffPinChanged(now, name, role, operations, pin_hash)]


def revoke(pin: StaffPin, *, now: datetime) -> list[StaffPinEvent]:
    must_be_there(pin)
    return [StaffPinRevoked(now)]


def unlock(pin: StaffPin, *, now: datetime) -> list[StaffPinEvent]:
    """No event where there is nothing to unlock."""
    must_be_there(pin)
    if pin.locked_until is None and not pin.failures and not pin.locks_in_a_row:
        return []
    return [StaffPinUnlocked(now)]


def reject(pin: StaffPin, *, now: datetime) -> list[StaffPinEvent]:
    """A wrong guess; the fifth within a quarter of an hour locks, each lock in a row for twice as long."""
    events: list[StaffPinEvent] = [StaffPinRejected(now)]
    if len(evolve(pin, events[0]).failures) >= FAILURES_MAX:
        length = min(LOCK_FIRST * 2 ** min(pin.locks_in_a_row, 16), LOCK_LONGEST)
        events.append(StaffPinLocked(now, now + length))
    return events


def accept(pin: StaffPin, *, now: datetime) -> list[StaffPinEvent]:
    """A right PIN resets the count; without failures there is nothing to record."""
    return [StaffPinAccepted(now)] if pin.failures or pin.locks_in_a_row else []


def open_session(
    pin: StaffPin, *, session_id: UUID, terminal_id: str | None, ends_at: datetime, now: datetime
) -> list[StaffPinEvent]:
    must_be_there(pin)
    must_not_be_locked(pin, now)
    return [StaffSessionOpened(now, session_id, terminal_id, ends_at)]


def must_be_there(pin: StaffPin) -> None:
    if not pin.is_active:
        raise StaffPinNotFound


def must_not_be_locked(pin: StaffPin, now: datetime) -> None:
    if pin.locked_until is not None and now < pin.locked_until:
        raise PinLocked(retry_at=pin.locked_until)


def must_allow(pin: StaffPin, operation: Operation, program_id: UUID) -> None:
    """The PIN's scope: its program, and the operations it was given."""
    if operation not in pin.operations:
        raise StaffNotAllowed
    if pin.program_id is not None and pin.program_id != program_id:
        raise StaffNotAllowed
