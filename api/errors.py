"""What the edge itself refuses, before the ledger is asked: facts and no statuses, as in the ledger's own tree."""

from collections.abc import Sequence
from typing import Any

from ledger.errors import Busy, RateLimited, Refused


class EdgeRefused(Refused):
    """Base of what HTTP gets wrong, or is not allowed to ask."""


class Unauthenticated(EdgeRefused):
    sentence = "no valid key came with the request: send Authorization: Bearer and a key"


class ScopeMissing(EdgeRefused):
    sentence = "this key does not have the scope {needed}"

    def __init__(self, *, needed: str) -> None:
        super().__init__(needed=needed)


class IdempotencyKeyMissing(EdgeRefused):
    sentence = "send an Idempotency-Key: a new one for each command, the same one for each retry"


class MalformedRequest(EdgeRefused):
    """The request cannot be read. `what` names the part, `why` is a sentence."""

    sentence = "the {what} cannot be read: {why}"

    def __init__(self, *, what: str, why: str) -> None:
        super().__init__(what=what, why=why)


class IdempotencyKeyMalformed(MalformedRequest):
    def __init__(self) -> None:
        super().__init__(what="Idempotency-Key", why="it has 1 to 255 visible ASCII characters")


class UnsupportedMediaType(EdgeRefused):
    sentence = "the body must be JSON, sent with Content-Type: application/json"


class TooLarge(EdgeRefused):
    sentence = "the body is larger than {limit_bytes} bytes"

    def __init__(self, *, limit_bytes: int) -> None:
        super().__init__(limit_bytes=limit_bytes)


class TooSlow(EdgeRefused):
    sentence = "the body did not arrive within {limit_seconds} seconds"

    def __init__(self, *, limit_seconds: float) -> None:
        super().__init__(limit_seconds=int(limit_seconds))


class NotFoundHere(EdgeRefused):
    sentence = "there is nothing at this address"


class MethodNotAllowed(EdgeRefused):
    sentence = "this address knows other methods only: {allowed}"

    def __init__(self, *, allowed: Sequence[str]) -> None:
        super().__init__(allowed=list(allowed))


class ValidationFailed(EdgeRefused):
    """One or more values do not fit. Each error names the field, never what was sent in it."""

    sentence = "something in the request does not fit: see errors"

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__(errors=errors)


class CrossSiteForm(EdgeRefused):
    sentence = "this form was sent from another website"


class NothingSealed(EdgeRefused):
    sentence = "there is no such checkpoint: nothing was sealed yet, or none over that many events"


class StatementUnavailable(Busy):
    """Nothing is sealed, or nothing can be signed here; why is for the one who runs the service."""

    sentence = "no statement can be signed at the moment; ask again in a minute"

    def __init__(self) -> None:
        super().__init__(retry_after_seconds=60)


class AppleWalletOff(EdgeRefused):
    sentence = "this service makes no Apple Wallet passes"


class AppleWalletUnavailable(Busy):
    """The certificates cannot be used at the moment; why is for the one who runs the service, not for the holder."""

    sentence = "passes cannot be signed at the moment: please try again later"

    def __init__(self) -> None:
        super().__init__(retry_after_seconds=600)


class GoogleWalletOff(EdgeRefused):
    sentence = "this service does not put cards into Google Wallet"


class GoogleWalletUnavailable(Busy):
    """Google does not answer or take the card; why is for the one who runs the service, not for the holder."""

    sentence = "Google Wallet cannot be reached at the moment: please try again later"

    def __init__(self) -> None:
        super().__init__(retry_after_seconds=30)


class GoogleCallbackRefused(EdgeRefused):
    """It was not signed by Google for this issuer, or is too old. Why is told in the log, not to the sender."""

    sentence = "this message cannot be believed"


class TooManyStreams(RateLimited):
    sentence = "this key reads as many long answers as it may at once: ask again when one of them has ended"


class NotReady(Busy):
    sentence = "the service is not ready yet"


class InternalError(EdgeRefused):
    sentence = "something went wrong on our side; the request may be sent again with the same Idempotency-Key"
