"""What surrounds the wallet synchronisation in a schedule: Apple's push service, phones, and connections that break.

Ours are the real parts; these play the world outside, at a word and without waiting.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias
from uuid import uuid4

import httpx2
import orjson
import psycopg

from tests.phones import Carried, Phone
from wallet_sync.apple_push import ApplePush, _Line

Fate: TypeAlias = Literal[
    "delivered", "lost", "late", "503", "429", "403", "400", "torn before", "torn after", "held", "held, delivered"
]
"""What becomes of a push. Held ones are answered when somebody says so, or never."""

ANSWERS = {
    "503": (503, "ServiceUnavailable"),
    "429": (429, "TooManyRequests"),
    "403": (403, "BadCertificate"),
    "400": (400, "PayloadEmpty"),
}


# ------------------------------------------------------------------ Apple's push service


@dataclass
class Apple:
    """Knows which push token is which phone's. What it says of an old token is one of the things Apple says."""

    phones: dict[str, "Witness"] = field(default_factory=dict)  # By every push token they ever had.
    late: dict[str, "Witness"] = field(default_factory=dict)  # One for each phone, as Apple keeps them.

    def took(self, token: str, fate: Fate) -> httpx2.Response:
        phone = self.phones.get(token)
        if phone is None:
            return httpx2.Response(200)
        if phone.is_gone or token != phone.push_token:
            return phone.farewell()
        if fate in ANSWERS:
            status, reason = ANSWERS[fate]
            return httpx2.Response(status, content=orjson.dumps({"reason": reason}))
        if fate == "torn before":
            raise httpx2.ConnectError("no connection")
        if fate == "late":
            self.late[phone.id] = phone
        elif fate == "lost":
            phone.has_missed = True
        else:
            phone.must_ask = True
        if fate == "torn after":
            raise httpx2.ReadError("the connection broke")
        return httpx2.Response(200)

    def deliver(self) -> None:
        """What was kept reaches its phones."""
        for phone in self.late.values():
            phone.must_ask = True
        self.late.clear()


class Wire(httpx2.AsyncBaseTransport):
    """The way from one worker to Apple, in the place of HTTP/2."""

    def __init__(self) -> None:
        self.apple = Apple()
        self.fate: Fate = "delivered"
        self.is_there = asyncio.Event()  # A held push has come.
        self.answered = asyncio.Event()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        token = request.url.path.rpartition("/")[2]
        said = self.apple.took(token, "delivered") if self.fate == "held, delivered" else None
        if self.fate.startswith("held"):
            self.is_there.set()
            await self.answered.wait()
        if said is None:
            return self.apple.took(token, self.fate)
        if self.fate == "delivered":
            return said
        raise httpx2.ReadError("the answer was lost")


class PushOver(ApplePush):
    """The real client over such a wire."""

    def __init__(self, wire: Wire, *given: Any) -> None:
        self.wire = wire
        super().__init__(*given)

    def _new_line(self) -> _Line:
        return _Line(self.wire)  # type: ignore[arg-type]


# ------------------------------------------------------------------ phones


class Lost(Exception):
    """An answer that did not reach the phone."""


@dataclass
class Witness(Phone):
    """A phone that asks only when it has a reason, and that swears it never saw an older pass after a newer one."""

    saw: Callable[[Carried, Carried | None], None] = lambda newer, older: None
    registered: set[str] = field(default_factory=set)  # By serial number, as the phone was told.
    must_register: bool = False
    must_ask: bool = False
    has_missed: bool = False  # Only its daily look helps.
    is_gone: bool = False
    gone_at: datetime = datetime(2020, 1, 1, tzinfo=UTC)
    says_bad: bool = False  # What Apple says of its former token.

    def farewell(self) -> httpx2.Response:
        if self.says_bad:
            return httpx2.Response(400, content=b'{"reason":"BadDeviceToken"}')
        timestamp = int(self.gone_at.timestamp() * 1000) + 1
        return httpx2.Response(410, content=orjson.dumps({"reason": "Unregistered", "timestamp": timestamp}))

    def change_token(self) -> str:
        """Apple gives it another push token: it registers anew before long, and then asks."""
        self.push_token, self.gone_at = uuid4().hex * 2, datetime.now(UTC)
        self.must_register = True
        return self.push_token

    def download(self, answer: httpx2.Response) -> None:
        carried = self._opened(answer)
        serial = carried.told["serialNumber"]
        self.saw(carried, self.passes.get(serial))
        self.passes[serial] = carried
        self.must_register = True

    def register_all(self) -> None:
        """Whatever it carries. A phone that is not answered asks again."""
        for serial, carried in self.passes.items():
            assert self.register(carried).status_code in (200, 201)
            self.registered.add(serial)
        self.must_register, self.must_ask = False, True

    def ask_what_changed(self) -> None:
        if not self.passes:
            self.must_ask = False
            return
        self.refresh()
        self.must_ask = False

    def throw_away(self, serial: str) -> None:
        self.registered.discard(serial)
        with suppress(Lost):
            assert self.remove(self.passes[serial]).status_code == 200

    def fetch(self, carried: Carried) -> int:
        status = super().fetch(carried)
        assert status in (200, 304)
        self.saw(self.passes[carried.told["serialNumber"]], carried)
        return status


class InProcess:
    """What a phone needs of an HTTP client: the application itself is asked, without a server in between."""

    def __init__(self, client: httpx2.AsyncClient, run: Callable[..., Any]) -> None:
        self._client, self._run = client, run
        self.meanwhile: Callable[[], Coroutine[Any, Any, None]] | None = None  # During the next request.
        self.loses_in = 0  # The answer to which request from now on; 0 is none.

    def get(self, url: str, **given: Any) -> httpx2.Response:
        return self.request("GET", url, **given)

    def request(self, method: str, url: str, **given: Any) -> httpx2.Response:
        meanwhile, self.meanwhile = self.meanwhile, None
        answer: httpx2.Response = self._run(self._client.request(method, url, **given), method, meanwhile)
        self.loses_in -= 1
        if self.loses_in == 0:
            raise Lost
        return answer


# ------------------------------------------------------------------ a connection that breaks


class Connection(psycopg.Connection[Any]):
    """Before one of its statements something happens: it breaks, or others come first."""

    statements_left = 0
    happens: Callable[[], None] | None = None

    def when(self, statement: int, happens: Callable[[], None] | None) -> None:
        self.statements_left, self.happens = statement, happens

    def execute(self, *given: Any, **settings: Any) -> Any:
        self.statements_left -= 1
        if self.statements_left == 0 and self.happens is not None:
            happens, self.happens = self.happens, None
            happens()
        return super().execute(*given, **settings)

    def break_off(self) -> None:
        self.close()
        raise psycopg.OperationalError("the connection is lost")
