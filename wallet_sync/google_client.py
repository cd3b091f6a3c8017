"""Google Wallet's REST interface: what should be there is put there, and an answer says what to do next.

Writing is repeatable: whatever an earlier attempt left behind, the same body ends in the same state. Whoever calls
sees to it that one object is written by one caller at a time. Tokens and bodies are never logged nor part of an error.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from time import monotonic
from typing import Any, Literal, TypeAlias
from urllib.parse import quote, urlencode

import httpx2
import orjson
from google.auth.exceptions import GoogleAuthError, RefreshError
from google.oauth2.service_account import Credentials

from wallet_sync.google_pass import OWNED, Kind

What: TypeAlias = Literal["done", "back_off", "stop_issuer", "our_mistake", "class_missing"]

BASE_URL = "https://walletobjects.googleapis.com/walletobjects/v1"
TOKEN_URL = "https://oauth2.googleapis.com/token"
SCOPE = "https://www.googleapis.com/auth/wallet_object.issuer"
TIMEOUT_SECONDS = 5.0
REFRESH_SECONDS_LEFT = 300
CONNECTIONS_MAX = 20
LISTED_AT_ONCE = 100
RETRY_AFTER = re.compile(r"[0-9]{1,6}", re.ASCII)
OVER_QUOTA = {
    "quotaExceeded",
    "rateLimitExceeded",
    "userRateLimitExceeded",
    "dailyLimitExceeded",
    "RATE_LIMIT_EXCEEDED",
    "RESOURCE_EXHAUSTED",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """How a write went, as a queue of writes needs to know it."""

    what: What
    status: int | None  # HTTP; None where nobody answered.
    reason: str | None  # Google's word for it, or the name of what failed on the way.
    retry_after: float | None  # Seconds Google asks to wait; None where it does not say.


DONE = Answer("done", 200, None, None)


class GoogleRefused(Exception):
    """A question was not answered; `answer` says whether to ask again."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"{answer.what}: {answer.status} {answer.reason}")
        self.answer = answer


class GoogleClient:
    """One issuer's access. Belongs to one event loop; `async with` closes its connections.

    Args:
        account: Google's JSON key file, parsed.
        base_url, token_url: Elsewhere in tests.
        timeout_seconds: For a request as a whole, whatever trickles in. A `put` makes at most three, each of them
            twice if its token was refused.
        token_timeout_seconds: For each step of asking for a token.
        pace: Awaited before each request.
    """

    def __init__(
        self,
        account: Mapping[str, Any],
        *,
        base_url: str = BASE_URL,
        token_url: str = TOKEN_URL,
        timeout_seconds: float = TIMEOUT_SECONDS,
        token_timeout_seconds: float = TIMEOUT_SECONDS,
        pace: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._tokens = _Tokens(account, token_url, token_timeout_seconds)
        self._base_url = base_url
        self._timeout_seconds = timeout_seconds
        self._pace = pace
        limits = httpx2.Limits(max_connections=CONNECTIONS_MAX)
        self._http = httpx2.AsyncClient(timeout=timeout_seconds, limits=limits)

    async def __aenter__(self) -> "GoogleClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def put(self, kind: Kind, body: Mapping[str, Any]) -> Answer:
        """Make a class or an object be as `body` says, whether it was there or not.

        Args:
            body: As `google_pass` renders it. What it leaves out of OWNED is removed at Google.

        Returns:
            `done`; `back_off`: nothing is wrong with it, try later; it may have been written. `stop_issuer`: nothing
            will work until somebody acts. `our_mistake`: this body will never be taken. `class_missing`: put the
            class, then this again.

        Source: Google Wallet REST reference; what an error means is decided by its reason, not by its words.
        """
        path, patch = f"{kind}/{quote(body['id'], safe='')}", {**dict.fromkeys(OWNED[kind]), **body}
        answer = await self._ask("PATCH", path, patch)
        if answer.status != 404:
            return answer
        answer = await self._ask("POST", kind, body)
        if answer.status == 409:  # Somebody else was quicker: then it is there.
            answer = await self._ask("PATCH", path, patch)
        if answer.status == 404:
            return replace(answer, what="class_missing" if kind == "loyaltyObject" else "back_off")
        return answer

    async def get(self, kind: Kind, id: str) -> dict[str, Any] | None:
        """What Google has under this id; None where it has nothing.

        Raises:
            GoogleRefused: Anything but these two answers.
        """
        response = await self._sent("GET", f"{kind}/{quote(id, safe='')}", None)
        answer = response if isinstance(response, Answer) else _judged(response)
        if answer.status == 404:
            return None
        if isinstance(response, Answer) or answer.what != "done":
            raise GoogleRefused(answer)
        if not _is_object(response.content):
            raise GoogleRefused(Answer("back_off", answer.status, "not_json", None))
        found: dict[str, Any] = orjson.loads(response.content)
        return found

    async def objects(self, class_id: str, page: str | None = None) -> tuple[list[dict[str, Any]], str | None]:
        """The objects of a class, LISTED_AT_ONCE at most, and how to ask for the next of them; None at the end.

        Raises:
            GoogleRefused: As `get`; with status 404 where there is no such class.
        """
        asked = {"classId": class_id, "maxResults": str(LISTED_AT_ONCE), **({} if page is None else {"token": page})}
        response = await self._sent("GET", f"loyaltyObject?{urlencode(asked)}", None)
        answer = response if isinstance(response, Answer) else _judged(response)
        if isinstance(response, Answer) or answer.what != "done":
            raise GoogleRefused(answer)
        if not _is_object(response.content):
            raise GoogleRefused(Answer("back_off", answer.status, "not_json", None))
        told = orjson.loads(response.content)
        return told.get("resources") or [], (told.get("pagination") or {}).get("nextPageToken")

    async def add_message(self, kind: Kind, id: str, message: Mapping[str, Any]) -> Answer:
        """Show a message on a card, or on all cards of a class. Each call adds one, whatever its id: look first.

        One that should ring although the card's quota is used up is shown silently instead.

        Returns:
            As `put`; `our_mistake` with status 404 where there is no such object.
        """
        path = f"{kind}/{quote(id, safe='')}/addMessage"
        answer = await self._ask("POST", path, {"message": message})
        if answer.reason == "quotaExceeded" and message.get("messageType") == "TEXT_AND_NOTIFY":
            return await self._ask("POST", path, {"message": {**message, "messageType": "TEXT"}})
        return answer

    async def _ask(self, method: str, path: str, body: Mapping[str, Any]) -> Answer:
        response = await self._sent(method, path, body)
        return response if isinstance(response, Answer) else _judged(response)

    async def _sent(self, method: str, path: str, body: Mapping[str, Any] | None) -> httpx2.Response | Answer:
        """Google's response, after a second try with a new token if it did not take the first; or why there is none."""
        content = None if body is None else orjson.dumps(body)
        refused: str | None = None
        try:
            while True:
                token = await self._tokens.token(refused)
                headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
                if self._pace is not None:
                    await self._pace()
                async with asyncio.timeout(self._timeout_seconds):
                    response = await self._http.request(
                        method, f"{self._base_url}/{path}", content=content, headers=headers
                    )
                if response.status_code != 401 or refused is not None:
                    return response
                refused = token
        except _NoToken as why:
            return why.answer
        except (httpx2.RequestError, TimeoutError) as error:
            return Answer("back_off", None, type(error).__name__, None)


# ------------------------------------------------------------------ answers


def _judged(response: httpx2.Response) -> Answer:
    status = response.status_code
    if response.is_success:
        return replace(DONE, status=status)
    reason = _reason(response.content)
    retry_after = _seconds(response.headers.get("Retry-After"))
    what: What = "our_mistake"
    if status in (408, 409, 429) or status >= 500 or reason in OVER_QUOTA:
        what = "back_off"  # A 409 that no insert has met is two writers at once.
    elif status in (401, 403):
        what = "stop_issuer"
    return Answer(what, status, reason, retry_after)


def _reason(content: bytes) -> str | None:
    """The reason in Google's older form of errors, else in the newer one."""
    try:
        error = orjson.loads(content)["error"]
        if isinstance(error, str):  # OAuth's form.
            return error
        named = [part["reason"] for key in ("errors", "details") for part in error.get(key) or () if "reason" in part]
        reason = named[0] if named else error.get("status")
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None
    return reason if isinstance(reason, str) else None


def _is_object(content: bytes) -> bool:
    try:
        return isinstance(orjson.loads(content), dict)
    except orjson.JSONDecodeError:
        return False


def _seconds(retry_after: str | None) -> float | None:
    """RFC 9110, 10.2.3: a number of seconds, or a date."""
    if retry_after is None:
        return None
    if RETRY_AFTER.fullmatch(retry_after.strip()):
        return float(retry_after)
    try:
        then = parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return None
    return max(0.0, (then.astimezone(UTC) - datetime.now(UTC)).total_seconds())


# ------------------------------------------------------------------ tokens


class _NoToken(Exception):
    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.what)
        self.answer = answer


class _Tokens:
    """An access token, made anew before it runs out: by one caller, while the others wait."""

    def __init__(self, account: Mapping[str, Any], token_url: str, timeout_seconds: float) -> None:
        info = {**account, "token_uri": token_url}
        self._credentials = Credentials.from_service_account_info(info, scopes=[SCOPE])  # type: ignore[no-untyped-call]
        self._transport = partial(_transported, timeout_seconds)
        self._lock = asyncio.Lock()
        self._failed_at = 0.0  # By the monotonic clock.
        self._failure = Answer("back_off", None, None, None)

    async def token(self, refused: str | None) -> str:
        """A token with REFRESH_SECONDS_LEFT to go, and another than the one that was refused.

        Raises:
            _NoToken: There is none. Who waited meanwhile is told the same, rather than to wait for it again.
        """
        asked_at = monotonic()
        async with self._lock:
            if self._is_due() or self._credentials.token == refused:
                if self._failed_at > asked_at:
                    raise _NoToken(self._failure)
                await self._refresh()
            token: str = self._credentials.token
            return token

    def _is_due(self) -> bool:
        expiry: datetime | None = self._credentials.expiry  # UTC without saying so.
        if self._credentials.token is None or expiry is None:
            return True
        return expiry.replace(tzinfo=UTC) - datetime.now(UTC) < timedelta(seconds=REFRESH_SECONDS_LEFT)

    async def _refresh(self) -> None:
        try:
            await asyncio.to_thread(self._credentials.refresh, self._transport)
        except _NoToken as why:
            self._failure = why.answer
        except RefreshError as error:
            told = error.args[1] if len(error.args) > 1 else None
            reason = str(told["error"]) if isinstance(told, dict) and "error" in told else "no_token"
            self._failure = Answer("stop_issuer", 401, reason, None)
        except GoogleAuthError as error:
            self._failure = Answer("stop_issuer", None, type(error).__name__, None)
        else:
            return
        self._failed_at = monotonic()
        raise _NoToken(self._failure)


@dataclass(frozen=True, slots=True)
class _Received:
    """What google-auth wants to know of a response."""

    status: int
    headers: Mapping[str, str]
    data: bytes


def _transported(
    timeout_seconds: float,
    url: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = None,
    **_: Any,
) -> _Received:
    """google-auth's way of asking, by our HTTP client; one of its own each time, which is once an hour.

    Raises:
        _NoToken: The answer would make google-auth sleep in our thread and try again. Who called knows better when.
    """
    try:
        with httpx2.Client(timeout=timeout or timeout_seconds) as http:
            response = http.request(method, url, content=body, headers=headers)
    except httpx2.RequestError as error:
        raise _NoToken(Answer("back_off", None, type(error).__name__, None)) from None
    answer = _judged(response)
    if answer.what == "back_off":
        raise _NoToken(answer)
    if answer.what == "done" and not _is_object(response.content):  # Somebody else's page: google-auth would stumble.
        raise _NoToken(Answer("back_off", answer.status, "not_json", None))
    return _Received(response.status_code, response.headers, response.content)
