"""Refusals as RFC 9457 problem documents: every error anybody ever reads from this service is made here.

One row for each refusal, one status for each code. Title and detail are in the caller's language, the code never
changes, and what the unexpected looked like stays in our log.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from http import HTTPStatus
from math import ceil
from re import compile as pattern
from typing import Any
from uuid import UUID

import orjson
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api import errors as edge
from api import languages
from api.languages import Language, negotiate, translate
from api.pages.frame import language_of
from api.pages.refusals import refusal_page, wants_page
from api.settings import Settings
from api.validation import described, one
from ledger import errors
from ledger.errors import Refused

MEDIA_TYPE = "application/problem+json"
TYPE_BASE = "/problems/"
BODY_BYTES_MAX = Settings.model_fields["body_bytes_max"].default
REQUEST_ID = "loyalty_ledger.request_id"  # Where the middleware leaves it in the scope.

log = structlog.get_logger("api.problems")


@dataclass(frozen=True, slots=True)
class Problem:
    """How a refusal reads on the wire."""

    status: HTTPStatus
    code: str
    title: str


NOT_FOUND = Problem(HTTPStatus.NOT_FOUND, "not_found", "Not found")
UNAUTHENTICATED = Problem(HTTPStatus.UNAUTHORIZED, "unauthenticated", "Who is asking?")
MALFORMED = Problem(HTTPStatus.BAD_REQUEST, "malformed_request", "The request cannot be read")
INVALID = Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "validation_failed", "Something in the request does not fit")
OVERLOADED = Problem(HTTPStatus.SERVICE_UNAVAILABLE, "overloaded", "Too busy at the moment")
RATE_LIMITED = Problem(HTTPStatus.TOO_MANY_REQUESTS, "rate_limited", "Too many requests")

PROBLEMS: dict[type[Exception], Problem] = {
    # not found, gone
    errors.CardNotFound: Problem(HTTPStatus.NOT_FOUND, "card_not_found", "No such card"),
    errors.ProgramNotFound: Problem(HTTPStatus.NOT_FOUND, "program_not_found", "No such program"),
    errors.VendorNotFound: NOT_FOUND,
    errors.StaffPinNotFound: NOT_FOUND,
    errors.EntryNotFound: NOT_FOUND,
    errors.RewardNotFound: NOT_FOUND,
    errors.ApiKeyNotFound: NOT_FOUND,
    errors.CustomerNotFound: NOT_FOUND,
    errors.CardIsReplaced: Problem(HTTPStatus.GONE, "card_replaced", "This card was replaced"),
    errors.CardIsErased: Problem(HTTPStatus.GONE, "card_erased", "This card was erased"),
    errors.CustomerIsErased: Problem(HTTPStatus.GONE, "customer_erased", "This customer was forgotten"),
    # rules
    errors.StampCooldown: Problem(HTTPStatus.CONFLICT, "stamp_cooldown", "Too soon after the last stamp"),
    errors.StampDailyLimit: Problem(HTTPStatus.CONFLICT, "stamp_daily_limit", "No stamps left today"),
    errors.NotEnoughStamps: Problem(HTTPStatus.CONFLICT, "insufficient_stamps", "Not enough stamps"),
    errors.NotEnoughPoints: Problem(HTTPStatus.CONFLICT, "insufficient_points", "Not enough points"),
    errors.CardIsSuspended: Problem(HTTPStatus.CONFLICT, "card_suspended", "This card is suspended"),
    errors.CardIsNotSuspended: Problem(HTTPStatus.CONFLICT, "card_not_suspended", "This card is not suspended"),
    errors.CardIsClosed: Problem(HTTPStatus.CONFLICT, "card_closed", "This card is closed"),
    errors.ProgramIsInactive: Problem(HTTPStatus.CONFLICT, "program_inactive", "This program is not active"),
    errors.AlreadyReversed: Problem(HTTPStatus.CONFLICT, "already_reversed", "Reversed already"),
    errors.NotReversible: Problem(HTTPStatus.CONFLICT, "not_reversible", "This entry cannot be reversed"),
    errors.ReversalExceedsEntry: Problem(
        HTTPStatus.CONFLICT, "reversal_exceeds_entry", "More than is left of the purchase"
    ),
    errors.ReversalExceedsBalance: Problem(HTTPStatus.CONFLICT, "reversal_exceeds_balance", "More than the card holds"),
    # staff and callers
    errors.PinRequired: Problem(HTTPStatus.FORBIDDEN, "pin_required", "A staff PIN is needed"),
    errors.PinInvalid: Problem(HTTPStatus.FORBIDDEN, "pin_invalid", "The staff PIN was not accepted"),
    errors.PinLocked: Problem(HTTPStatus.LOCKED, "pin_locked", "This PIN is locked"),
    errors.StaffNotAllowed: Problem(HTTPStatus.FORBIDDEN, "staff_not_allowed", "Not allowed for this staff member"),
    errors.CallerRevoked: UNAUTHENTICATED,
    errors.StaffSessionInvalid: Problem(
        HTTPStatus.UNAUTHORIZED, "staff_session_invalid", "The staff session has ended"
    ),
    edge.Unauthenticated: UNAUTHENTICATED,
    edge.ScopeMissing: Problem(HTTPStatus.FORBIDDEN, "scope_missing", "This key may not do that"),
    # taken
    errors.CodeTaken: Problem(HTTPStatus.CONFLICT, "code_taken", "This code is taken"),
    errors.StaffIdTaken: Problem(HTTPStatus.CONFLICT, "staff_id_taken", "This staff member has a PIN already"),
    errors.DuplicateReference: Problem(HTTPStatus.CONFLICT, "duplicate_reference", "Recorded already"),
    errors.VersionMismatch: Problem(HTTPStatus.PRECONDITION_FAILED, "version_mismatch", "It has changed meanwhile"),
    # cannot be done as asked
    errors.KeyReused: Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency_key_reused", "This Idempotency-Key belongs to another request"
    ),
    errors.CurrencyMismatch: Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "currency_mismatch", "Another currency"),
    errors.ProgramTypeMismatch: Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY, "program_type_mismatch", "Not with this type of program"
    ),
    errors.PinTooWeak: Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "pin_too_weak", "This PIN is too easy to guess"),
    errors.InvalidValue: INVALID,
    edge.ValidationFailed: INVALID,
    edge.IdempotencyKeyMissing: Problem(
        HTTPStatus.BAD_REQUEST, "idempotency_key_missing", "The Idempotency-Key is missing"
    ),
    edge.IdempotencyKeyMalformed: MALFORMED,
    edge.MalformedRequest: MALFORMED,
    edge.UnsupportedMediaType: Problem(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "The body must be JSON"
    ),
    edge.TooLarge: Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", "The request is too large"),
    edge.TooSlow: Problem(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", "The request took too long to arrive"),
    edge.NotFoundHere: NOT_FOUND,
    edge.MethodNotAllowed: Problem(
        HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", "This method is not possible here"
    ),
    edge.CrossSiteForm: Problem(HTTPStatus.FORBIDDEN, "cross_site_form", "Not accepted"),
    edge.NothingSealed: NOT_FOUND,
    edge.AppleWalletOff: Problem(HTTPStatus.NOT_FOUND, "apple_wallet_off", "No Apple Wallet here"),
    edge.GoogleWalletOff: Problem(HTTPStatus.NOT_FOUND, "google_wallet_off", "No Google Wallet here"),
    edge.GoogleCallbackRefused: Problem(
        HTTPStatus.BAD_REQUEST, "google_callback_refused", "The message was not believed"
    ),
    # later
    errors.KeyInFlight: Problem(
        HTTPStatus.CONFLICT, "idempotency_in_flight", "The same request is still being worked on"
    ),
    errors.RateLimited: RATE_LIMITED,
    errors.PinBusy: RATE_LIMITED,
    edge.TooManyStreams: Problem(HTTPStatus.TOO_MANY_REQUESTS, "too_many_streams", "Too many long answers at once"),
    errors.CardIsBusy: Problem(HTTPStatus.SERVICE_UNAVAILABLE, "card_busy", "This card is busy"),
    errors.Overloaded: OVERLOADED,
    errors.StoreAway: OVERLOADED,
    edge.AppleWalletUnavailable: Problem(
        HTTPStatus.SERVICE_UNAVAILABLE, "apple_wallet_unavailable", "No passes at the moment"
    ),
    edge.GoogleWalletUnavailable: Problem(
        HTTPStatus.SERVICE_UNAVAILABLE, "google_wallet_unavailable", "No Google Wallet at the moment"
    ),
    edge.StatementUnavailable: Problem(
        HTTPStatus.SERVICE_UNAVAILABLE, "statement_unavailable", "No statement at the moment"
    ),
    edge.NotReady: Problem(HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", "Not ready yet"),
    edge.InternalError: Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", "Something went wrong"),
}

_NUMBERS = pattern(r"[0-9]+")


def install(app: FastAPI) -> None:
    """Let this module answer everything the app refuses, the framework's own refusals included."""
    languages.load()
    for kind in (Refused, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _handle)


async def _handle(request: Request, error: Exception) -> Response:
    return problem_response(error, request.scope)


async def send_problem(error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
    """For middleware: answer the request with this error's document."""
    await problem_response(error, scope)(scope, receive, send)


def problem_response(error: Exception, scope: Scope) -> Response:
    """The document for any error at all. What has no row is logged and answered as 500 without a detail of it.

    Whoever asked for a page gets the same as a page.
    """
    is_page = wants_page(scope)
    language = language_of(scope) if is_page else negotiate(Headers(scope=scope).get("accept-language"))
    if isinstance(error, HTTPException) and error.status_code < 400:
        return Response(status_code=error.status_code, headers=error.headers)
    if not isinstance(error, Refused):
        error = _from_framework(error, language)
    problem = PROBLEMS[type(error)]
    body = problem_document(error, language) | {
        "instance": scope.get("path", ""),
        "request_id": scope.get(REQUEST_ID),
    }
    if error.decision_id is not None:
        body["decision_id"] = error.decision_id
    if is_page:
        return refusal_page(body, _headers(error, problem, language), scope)
    # A default that never fails: whatever a fact may be, the refusal is answered.
    content = orjson.dumps(body, default=str, option=orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC)
    return Response(content, problem.status.value, headers=_headers(error, problem, language), media_type=MEDIA_TYPE)


def problem_document(error: Refused, language: Language) -> dict[str, Any]:
    """The document without what belongs to one request: type, title, status, detail, code and the facts."""
    problem = PROBLEMS[type(error)]
    facts = {name: _fact(value) for name, value in error.facts.items()}
    told = facts
    if isinstance(error, errors.InvalidValue):
        told = {"errors": [_invalid_value(error, language)]}
        facts |= {"why": told["errors"][0]["message"]}
    elif isinstance(error, edge.MalformedRequest):
        told = facts = {name: translate(language, str(value)) for name, value in facts.items()}
    members = {
        "type": TYPE_BASE + problem.code,
        "title": translate(language, problem.title),
        "status": problem.status.value,
        "detail": translate(language, error.sentence, **facts),
        "code": problem.code,
    }
    return members | {name: value for name, value in told.items() if value is not None and name not in members}


def _from_framework(error: Exception, language: Language) -> Refused:
    match error:
        case RequestValidationError():
            found = error.errors()
            if any(e.get("type") == "json_invalid" for e in found):
                return edge.MalformedRequest(what="body", why="it is not JSON")
            return edge.ValidationFailed(described(found, language))
        case HTTPException(status_code=400):
            return edge.MalformedRequest(what="request", why="it does not follow HTTP")
        case HTTPException(status_code=401):
            return edge.Unauthenticated()
        case HTTPException(status_code=404):
            return edge.NotFoundHere()
        case HTTPException(status_code=405):
            allowed = (error.headers or {}).get("Allow", "").split(",")
            return edge.MethodNotAllowed(allowed=sorted({method.strip() for method in allowed} - {""}))
        case HTTPException(status_code=413):
            return edge.TooLarge(limit_bytes=getattr(error, "limit_bytes", BODY_BYTES_MAX))
        case HTTPException(status_code=415):
            return edge.UnsupportedMediaType()
        case HTTPException(status_code=429):
            return errors.RateLimited()
        case HTTPException(status_code=503):
            return errors.Overloaded()
        case HTTPException(status_code=status) if status < 500:
            return edge.MalformedRequest(what="request", why="it does not follow HTTP")
        case _:
            log.error("unexpected", exc_info=error)
            return edge.InternalError()


def _invalid_value(error: errors.InvalidValue, language: Language) -> dict[str, Any]:
    """The ledger's reason in the caller's language: the catalogue knows it with `{n}` for its number."""
    field, why = str(error.facts["field"]), str(error.facts["why"])
    numbers = _NUMBERS.findall(why)
    sentence = _NUMBERS.sub("{n}", why) if len(numbers) == 1 else why
    return one(field, sentence, "not_possible", language, n=numbers[0] if numbers else "")


def _fact(value: Any) -> Any:
    """A fact as it is told."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)
    if isinstance(value, UUID | date):
        return str(value)
    return value


def _headers(error: Refused, problem: Problem, language: Language) -> dict[str, str]:
    headers = {"Content-Language": language, "Cache-Control": "no-store", "Vary": "Accept-Language"}
    seconds = _retry_after_seconds(error)
    if seconds is None and problem.status in (423, 429, 503):
        seconds = 1
    if seconds is not None:
        headers["Retry-After"] = str(seconds)
    if error.is_replay:
        headers["Idempotent-Replayed"] = "true"
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="loyalty-ledger"'
    if isinstance(error, edge.MethodNotAllowed):
        headers["Allow"] = ", ".join(error.facts["allowed"])
    return headers


def _retry_after_seconds(error: Refused) -> int | None:
    """Whole seconds, at least one; None where asking again would not help."""
    if "retry_after_seconds" in error.facts:
        return max(1, ceil(float(error.facts["retry_after_seconds"])))
    retry_at = _fact(error.facts.get("retry_at"))
    if not isinstance(retry_at, datetime):
        return None
    return max(1, ceil((retry_at - datetime.now(UTC)).total_seconds()))


def codes(kinds: Iterable[type[Exception]]) -> dict[int, dict[str, Problem]]:
    """The problems of these errors, by status, then by code. A base of the tree stands for all its leaves."""
    found: dict[int, dict[str, Problem]] = {}
    for kind in kinds:
        rows = [row for leaf, row in PROBLEMS.items() if issubclass(leaf, kind)]
        assert rows, f"{kind.__name__} has no row in PROBLEMS"
        for problem in [PROBLEMS[kind]] if kind in PROBLEMS else rows:
            found.setdefault(problem.status.value, {})[problem.code] = problem
    return found
