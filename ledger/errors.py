"""Everything the ledger may refuse, as one tree.

An error carries the facts of the refusal and nothing about HTTP; nothing is recorded when one is raised, except
where a rule says so (a rejected PIN, a refusal on the card's attempts stream).

    Refused
    ├── NotFound           card, program, vendor, staff PIN, entry, reward, API key, customer
    ├── Gone               card replaced, card erased, customer erased
    ├── RuleRefused        what the rules of a program or a card forbid
    ├── StaffRefused       PIN missing, wrong, locked, busy, not allowed
    ├── Taken              a name, a key or a reference that is used already
    ├── Unprocessable      asked in a way that no state of the card could satisfy
    └── Busy               ask again later, under the same key
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, ClassVar
from uuid import UUID


class Refused(Exception):
    """Base of every refusal. `facts` are what may be told to the one who asked."""

    sentence: ClassVar[str] = "refused"
    is_replay: bool = False  # The same request had been refused before, and that was remembered.
    decision_id: UUID | None = None  # Under which it can be asked why; None where it was not recorded.

    def __init__(self, **facts: Any) -> None:
        super().__init__(self.sentence.format_map(_Plain(facts)))
        self.facts: dict[str, Any] = facts

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["facts"][name]
        except KeyError:
            raise AttributeError(name) from None


class _Plain(dict[str, Any]):
    def __init__(self, facts: Mapping[str, Any]) -> None:
        super().__init__({k: v.isoformat() if isinstance(v, datetime | date) else v for k, v in facts.items()})

    def __missing__(self, key: str) -> str:
        return f"({key} unknown)"


# ------------------------------------------------------------------ not found


class NotFound(Refused):
    sentence = "there is no such thing here"


class CardNotFound(NotFound):
    sentence = "no card of this vendor answers to that reference"


class ProgramNotFound(NotFound):
    sentence = "this vendor has no such program"


class VendorNotFound(NotFound):
    sentence = "there is no such vendor"


class StaffPinNotFound(NotFound):
    sentence = "this vendor has no such staff PIN"


class EntryNotFound(NotFound):
    sentence = "this vendor has no such entry"


class RewardNotFound(NotFound):
    sentence = "the program offers no such reward"


class ApiKeyNotFound(NotFound):
    sentence = "this vendor has no such API key"


class CustomerNotFound(NotFound):
    sentence = "this vendor has no such customer"


# ------------------------------------------------------------------ gone


class Gone(Refused):
    pass


class CardIsReplaced(Gone):
    sentence = "this card was replaced by another one"


class CardIsErased(Gone):
    sentence = "the person behind this card was forgotten"


class CustomerIsErased(Gone):
    """Told with the time: the receipt that was given then says the rest."""

    sentence = "this customer was forgotten at {erased_at}"

    def __init__(self, *, erased_at: datetime) -> None:
        super().__init__(erased_at=erased_at)


# ------------------------------------------------------------------ rules


class RuleRefused(Refused):
    """A rule of the program or the card says no. Commands of tills and of a card's life remember it under their key."""


class StampCooldown(RuleRefused):
    sentence = "the last stamp is too recent: the next one is possible at {retry_at}"

    def __init__(self, *, retry_at: datetime, cooldown_minutes: int, remaining_today: int) -> None:
        super().__init__(retry_at=retry_at, cooldown_minutes=cooldown_minutes, remaining_today=remaining_today)


class StampDailyLimit(RuleRefused):
    sentence = "{stamps_today} of {daily_limit} stamps are used today, {asked} asked: possible at {retry_at}"

    def __init__(
        self, *, retry_at: datetime, daily_limit: int, stamps_today: int, asked: int, remaining_today: int
    ) -> None:
        super().__init__(
            retry_at=retry_at,
            daily_limit=daily_limit,
            stamps_today=stamps_today,
            asked=asked,
            remaining_today=remaining_today,
        )


class NotEnoughStamps(RuleRefused):
    sentence = "the card holds {held} stamps, {needed} are needed"

    def __init__(self, *, held: int, needed: int) -> None:
        super().__init__(held=held, needed=needed)


class NotEnoughPoints(RuleRefused):
    sentence = "the card holds {held} points, {needed} are needed"

    def __init__(self, *, held: int, needed: int) -> None:
        super().__init__(held=held, needed=needed)


class CardIsSuspended(RuleRefused):
    sentence = "this card is suspended; the shop can reinstate it"


class CardIsNotSuspended(RuleRefused):
    sentence = "this card is not suspended, there is nothing to reinstate"


class CardIsClosed(RuleRefused):
    sentence = "this card is closed"


class ProgramIsInactive(RuleRefused):
    sentence = "this program is not active"


class AlreadyReversed(RuleRefused):
    sentence = "this entry is reversed already, nothing is left to take back"

    def __init__(self, *, entry_id: UUID) -> None:
        super().__init__(entry_id=entry_id)


class NotReversible(RuleRefused):
    sentence = "an entry of type {entry_type} cannot be reversed"

    def __init__(self, *, entry_type: str) -> None:
        super().__init__(entry_type=entry_type)


class ReversalExceedsEntry(RuleRefused):
    sentence = "{left_minor} of the purchase is left to refund, {asked_minor} asked"

    def __init__(self, *, left_minor: int, asked_minor: int) -> None:
        super().__init__(left_minor=left_minor, asked_minor=asked_minor)


class ReversalExceedsBalance(RuleRefused):
    sentence = "the card holds {held} units, taking back {needed} is not allowed by the program"

    def __init__(self, *, held: int, needed: int) -> None:
        super().__init__(held=held, needed=needed)


# ------------------------------------------------------------------ staff


class StaffRefused(Refused):
    pass


class PinRequired(StaffRefused):
    sentence = "the program asks for a staff member: send staff_pin_id and pin, or a Staff-Session"


class PinInvalid(StaffRefused):
    sentence = "the staff PIN was not accepted"


class PinLocked(StaffRefused):
    sentence = "this PIN is locked until {retry_at}; the shop can unlock it"

    def __init__(self, *, retry_at: datetime) -> None:
        super().__init__(retry_at=retry_at)


class StaffNotAllowed(StaffRefused):
    sentence = "this staff member may not do that"


class CallerRevoked(StaffRefused):
    sentence = "this API key is not valid any more"


class StaffSessionInvalid(StaffRefused):
    sentence = "the staff session has ended: open a new one with the PIN"


# ------------------------------------------------------------------ taken


class Taken(Refused):
    pass


class CodeTaken(Taken):
    sentence = "another vendor uses the code {code}"

    def __init__(self, *, code: str) -> None:
        super().__init__(code=code)


class StaffIdTaken(Taken):
    sentence = "this staff member has a PIN already"


class DuplicateReference(Taken):
    sentence = "this reference is recorded already, as entry {entry_id}"

    def __init__(self, *, entry_id: UUID) -> None:
        super().__init__(entry_id=entry_id)


class VersionMismatch(Refused):
    sentence = "it has version {version} now, not the one named in If-Match"

    def __init__(self, *, version: int) -> None:
        super().__init__(version=version)


# ------------------------------------------------------------------ unprocessable


class Unprocessable(Refused):
    pass


class KeyReused(Unprocessable):
    sentence = "this Idempotency-Key was used for another request; take a new key"


class CurrencyMismatch(Unprocessable):
    sentence = "the program counts in {expected}, the purchase is in {given}"

    def __init__(self, *, expected: str, given: str) -> None:
        super().__init__(expected=expected, given=given)


class ProgramTypeMismatch(Unprocessable):
    sentence = "a {loyalty_type} program cannot do that"

    def __init__(self, *, loyalty_type: str) -> None:
        super().__init__(loyalty_type=loyalty_type)


class PinTooWeak(Unprocessable):
    sentence = "this PIN is too easy to guess: avoid repeated digits and rows"


class InvalidValue(Unprocessable):
    """A value that has the right shape and no meaning: an unknown time zone, a currency nobody knows."""

    sentence = "{field}: {why}"

    def __init__(self, *, field: str, why: str) -> None:
        super().__init__(field=field, why=why)


# ------------------------------------------------------------------ busy


class Busy(Refused):
    """Ask again after `retry_after_seconds`. Nothing was recorded, but for StoreAway, which does not know: under the
    same key it happens once.
    """

    def __init__(self, *, retry_after_seconds: int = 1, **facts: Any) -> None:
        super().__init__(retry_after_seconds=retry_after_seconds, **facts)


class CardIsBusy(Busy):
    sentence = "too many tills act on this card at once, please ask again"


class Overloaded(Busy):
    sentence = "the service is at its limit, please ask again"


class StoreAway(Busy):
    sentence = "the database cannot be reached at the moment, please ask again"


class KeyInFlight(Busy):
    sentence = "the same request is still being worked on"


class RateLimited(Busy):
    sentence = "too many requests, please wait"


class PinBusy(RateLimited):
    sentence = "this PIN is being checked elsewhere, please ask again"
