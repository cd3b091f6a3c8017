"""Wakes phones: tells Apple's push service (APNs) that a device should ask for its passes again.

A push carries nothing and may be sent twice. A push token is in no log, no exception and no outcome.

Source: Apple's documentation, “Sending notification requests to APNs” and “Handling notification responses from APNs”;
the empty notification and the certificate for passes: “Adding a Web Service to Update Passes”.
"""

import asyncio
import logging
import random
import re
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit
from uuid import uuid4

import httpx2
import orjson
from cryptography.hazmat.primitives import serialization

from wallet_sync.apple_certificates import Signer

PRODUCTION = "https://api.push.apple.com"  # Passes are not pushed through the sandbox.
BODY = b"{}"  # No body at all would be an error.
EXPIRES_AFTER = timedelta(days=7)  # How long Apple keeps it for a phone that is off; one for a topic and device.
TIMEOUT_SECONDS = 10.0  # For connecting and for each read and write.
PUSH_TIMEOUTS_MAX = 3  # For a whole push: an answer lost among others that do arrive would never time out by itself.
CONNECTIONS_MAX = 2
TOKEN = re.compile(r"[0-9A-Za-z_-]{1,512}")  # Hexadecimal so far, of no fixed length.

PAUSE_FIRST = timedelta(seconds=1)
PAUSE_MAX = timedelta(minutes=15)
BACK_OFF_FIRST = timedelta(seconds=60)
BACK_OFF_MAX = timedelta(hours=1)
GIVE_UP_AFTER = timedelta(hours=24)  # Since the first failure; the caller counts.
DOUBLINGS_MAX = 20
RETRY_AFTER = re.compile(r"[0-9]{1,6}", re.ASCII)  # Seconds; a date is not looked at.

BATCH_JUDGED_MIN = 20  # Tokens.
MASS_BAD_PERCENT = 20

What = Literal["accepted", "gone", "bad_token", "back_off", "retry", "stop_topic", "our_mistake"]
NEEDS_NEW_CONNECTION = {"IdleTimeout", "Shutdown"}

# What a reason means where its status alone does not say; reasons that Apple adds later fall to their status.
REASONS: Final[Mapping[tuple[int, str], What]] = {
    (400, "BadDeviceToken"): "bad_token",
    (400, "DeviceTokenNotForTopic"): "stop_topic",
    (400, "TopicDisallowed"): "stop_topic",
    (400, "BadTopic"): "stop_topic",
    (400, "MissingTopic"): "stop_topic",
    (400, "IdleTimeout"): "retry",
}
STATUSES: Final[Mapping[int, What]] = {
    200: "accepted",
    400: "our_mistake",
    403: "stop_topic",
    404: "our_mistake",
    405: "our_mistake",
    410: "gone",
    413: "our_mistake",
    429: "back_off",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one push, and what to do about it.

    accepted: Apple has it, which does not prove that the phone will.
    gone: forget the registration, but only if it was last made before `gone_at`; without a time, ask again later.
    bad_token: forget the registration, unless `is_mass_bad`.
    back_off: this token was pushed too often. retry: it may have arrived or not. Both: again after `pause_after`.
    stop_topic: certificate or topic are wrong. Push nothing more with them, forget nothing, raise an alarm.
    our_mistake: never repeat it, raise an alarm.
    """

    what: What
    status: int | None = None  # None: no answer came.
    reason: str | None = None  # Apple's word; without an answer the kind of error.
    gone_at: datetime | None = None  # UTC: when Apple last saw that the token was no longer valid.
    retry_after: float | None = None  # Seconds, if Apple named them.


def outcome_of(status: int, reason: str | None, timestamp: int | None = None) -> Outcome:
    """What an answer means.

    Args:
        timestamp: Milliseconds since 1970, as in the body of a 410; not looked at with another status.

    Source: Apple's documentation, “Handling notification responses from APNs”.
    """
    what = REASONS.get((status, reason or ""))
    if what is None:
        what = "retry" if status >= 500 else STATUSES.get(status, "our_mistake")
    return Outcome(what, status, reason, gone_at=_time(timestamp) if status == 410 else None)


def is_mass_bad(tokens_tried: int, bad: int) -> bool:
    """Whether so many of a batch are called bad that the host or the certificate must be wrong, not the tokens.

    Then no registration is forgotten, the topic is stopped, and an alarm is raised.
    """
    assert 0 <= bad <= tokens_tried
    return tokens_tried >= BATCH_JUDGED_MIN and bad * 100 > tokens_tried * MASS_BAD_PERCENT


def pause_after(failures: int, outcome: Outcome, rng: random.Random) -> timedelta | None:
    """How long to leave a token alone before it is pushed again.

    Args:
        failures: In a row, this one included: at least 1.

    Returns:
        For `retry` anything from nothing up to 1 s, doubling to 15 min; for `back_off` 60 s, doubling to 1 h, without
        chance, as it is the least that Apple asks for. Never less than `retry_after`, of which 1 h is believed.
        None for what is not repeated. When to stop is for the caller to say: `GIVE_UP_AFTER` the first failure.
    """
    assert failures >= 1
    doubled: int = 2 ** min(failures - 1, DOUBLINGS_MAX)
    if outcome.what == "retry":
        pause = min(PAUSE_FIRST * doubled, PAUSE_MAX) * rng.random()
    elif outcome.what == "back_off":
        pause = min(BACK_OFF_FIRST * doubled, BACK_OFF_MAX)
    else:
        return None
    asked = timedelta(seconds=outcome.retry_after or 0)
    return max(pause, min(asked, BACK_OFF_MAX))


# ------------------------------------------------------------------ the client


@dataclass(slots=True, eq=False)
class _Line:
    """One connection for hours. Once it has failed it is left, and closed when the last push has left it."""

    transport: httpx2.AsyncHTTPTransport
    pushes: int = 0
    is_left: bool = False


class ApplePush:
    """Pushes for one pass type, over one lasting HTTP/2 connection that presents the certificate of its passes.

    For a new certificate make a new one and close the old: what is on its way there still gets its answer.
    To be used in one event loop. Proxies of the environment are not used.
    """

    def __init__(
        self,
        signer: Signer,
        clock: Callable[[], datetime],
        *,
        base_url: str = PRODUCTION,
        ca_file: Path | None = None,
        priority: Literal[5, 10] | None = None,
        push_type: Literal["background"] | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """Connects to nothing yet. Some milliseconds of work and a temporary file.

        Args:
            ca_file: PEM; the authorities that the server is verified with instead of the system's. For tests.
            priority, push_type: Headers that passes do without. Apple wants priority 5 with `background`.

        Raises:
            OSError, ssl.SSLError: `ca_file` cannot be read or holds no certificates.
        """
        assert urlsplit(base_url).scheme == "https"
        assert push_type is None or priority == 5
        self._clock = clock
        self._base_url = base_url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._tls = _tls(signer, ca_file)
        self._headers = {"apns-topic": signer.pass_type_id, "content-type": "application/json"}
        if priority is not None:
            self._headers["apns-priority"] = str(priority)
        if push_type is not None:
            self._headers["apns-push-type"] = push_type
        self._line: _Line | None = self._new_line()
        # At debug it writes down every path, and so every token.
        logging.getLogger("hpack").setLevel(logging.WARNING)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Take no more pushes. Those on their way keep the connection until they have their answers."""
        line, self._line = self._line, None
        if line is not None:
            line.is_left = True
            await _close_if_empty(line)

    async def push(self, push_token: str) -> Outcome:
        """Wake one device. Returns within 30 s whatever happens, and raises nothing; as many at once as you like.

        A token that can be none is `bad_token` without being sent.
        """
        if not TOKEN.fullmatch(push_token):
            return Outcome("bad_token", reason="NotAToken")
        line = self._line
        assert line is not None, "closed"
        line.pushes += 1
        try:
            async with asyncio.timeout(PUSH_TIMEOUTS_MAX * self._timeout_seconds):
                response = await line.transport.handle_async_request(self._request(push_token))
                body = await response.aread()
            outcome = _outcome(response, body)
            is_over = outcome.reason in NEEDS_NEW_CONNECTION
        except Exception as error:
            # Whatever it was, nobody knows whether the push arrived. Only the kind goes on: texts may hold the address.
            outcome, is_over = Outcome("retry", reason=type(error).__name__), True
        finally:
            line.pushes -= 1
            await _close_if_empty(line)
        if is_over:
            # httpx2 keeps a broken HTTP/2 connection in its pool, where two would leave no room for one that works.
            if line is self._line:
                self._line = self._new_line()
            line.is_left = True
            await _close_if_empty(line)
        return outcome

    def _request(self, push_token: str) -> httpx2.Request:
        varying = {"apns-id": str(uuid4()), "apns-expiration": str(int((self._clock() + EXPIRES_AFTER).timestamp()))}
        return httpx2.Request(
            "POST",
            f"{self._base_url}/3/device/{push_token}",
            headers=self._headers | varying,
            content=BODY,
            extensions={"timeout": httpx2.Timeout(self._timeout_seconds).as_dict()},
        )

    def _new_line(self) -> _Line:
        # The transport and not the client above it, which logs every address, adds headers and keeps cookies.
        limits = httpx2.Limits(max_connections=CONNECTIONS_MAX, keepalive_expiry=None)
        return _Line(httpx2.AsyncHTTPTransport(verify=self._tls, http1=False, http2=True, limits=limits))


async def _close_if_empty(line: _Line) -> None:
    if line.is_left and not line.pushes:
        with suppress(Exception):  # A broken connection may break once more while it is closed.
            await line.transport.aclose()


def _tls(signer: Signer, ca_file: Path | None) -> ssl.SSLContext:
    """Python reads a key from files only: it is written under a password that nobody keeps, and taken away again."""
    password = token_hex()
    key = signer.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password.encode()),
    )
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with TemporaryDirectory(prefix="apple-push-") as folder:
        file = Path(folder) / "certificate.pem"
        file.write_bytes(signer.certificate.public_bytes(serialization.Encoding.PEM) + key)
        context.load_cert_chain(file, password=password)
    return context


def _outcome(response: httpx2.Response, body: bytes) -> Outcome:
    said: Any = None
    if response.status_code != 200:
        with suppress(orjson.JSONDecodeError):  # A stranger in between may answer: its status says enough.
            said = orjson.loads(body)
    said = said if isinstance(said, dict) else {}
    reason, timestamp = said.get("reason"), said.get("timestamp")
    outcome = outcome_of(
        response.status_code,
        reason if isinstance(reason, str) else None,
        timestamp if isinstance(timestamp, int) else None,
    )
    seconds = response.headers.get("retry-after", "")
    return replace(outcome, retry_after=float(seconds)) if RETRY_AFTER.fullmatch(seconds) else outcome


def _time(milliseconds: int | None) -> datetime | None:
    if milliseconds is None:
        return None
    try:
        return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None
