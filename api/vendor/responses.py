"""Which problems the vendor's routes can answer, for the OpenAPI page."""

from api.openapi import responses
from ledger import errors

CARD_PROBLEMS = responses(
    errors.CardNotFound,
    errors.CardIsReplaced,
    errors.CardIsErased,
    errors.CardIsClosed,
    errors.CardIsSuspended,
    errors.VersionMismatch,
    errors.KeyReused,
    errors.CardIsBusy,
)
TILL_PROBLEMS = responses(
    errors.CardNotFound,
    errors.CardIsReplaced,
    errors.CardIsErased,
    errors.StampCooldown,
    errors.VersionMismatch,
    errors.PinInvalid,
    errors.KeyReused,
    errors.PinLocked,
    errors.RateLimited,
    errors.CardIsBusy,
)
PROGRAM_PROBLEMS = responses(errors.ProgramNotFound, errors.VersionMismatch, errors.ProgramTypeMismatch)
PIN_PROBLEMS = responses(
    errors.StaffPinNotFound, errors.StaffIdTaken, errors.PinTooWeak, errors.PinLocked, errors.RateLimited
)
READ_PROBLEMS = responses(errors.NotFound, errors.StoreAway)
