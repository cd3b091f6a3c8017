"""Google in a schedule: the fake's rules without its server, and the way there, where requests get lost.

The client is the real one; it speaks HTTP to the fake in the same process.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias

import httpx2

from tests.fake_google import FakeGoogle, Trouble, account
from wallet_sync.google_client import GoogleClient

WriteFate: TypeAlias = Literal["ok", "lost", "answer lost", "503", "429", "403", "400", "held", "held, arrived"]
"""What becomes of a request. Held ones are answered when somebody says so, or never."""

REFUSED: dict[str, Trouble] = {
    "503": "503",
    "429": "429",
    "403": "403 permissionDenied",
    "400": "400 badRequest",
}
TOKEN = "ya29.schedules"


class GoogleWire(httpx2.AsyncBaseTransport):
    """The way from one worker to Google, in the place of HTTPS."""

    def __init__(self) -> None:
        self.fate: WriteFate = "ok"
        self.is_there = asyncio.Event()  # A held request has come.
        self.answered = asyncio.Event()

    def lead_to(self, google: FakeGoogle, arrived: Callable[[], None]) -> None:
        """From now on there; `arrived` is called after each request that Google took in."""
        self._google, self._arrived = google, arrived
        self._served = httpx2.ASGITransport(google.app)
        google.tokens.add(TOKEN)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        said = await self._asked(request) if self.fate == "held, arrived" else None
        if self.fate.startswith("held"):
            self.is_there.set()
            await self.answered.wait()
        if said is None and self.fate != "lost":
            said = await self._asked(request)
        elif self.fate != "ok":
            said = None
        if said is None or self.fate == "answer lost":
            raise httpx2.ReadError("no answer came")
        return said

    async def _asked(self, request: httpx2.Request) -> httpx2.Response:
        self._google.trouble = REFUSED.get(self.fate)  # Looked at before the fake waits for anything.
        answer = await self._served.handle_async_request(request)
        self._arrived()
        return answer


class WriteOver(GoogleClient):
    """The real client over such a wire. Its token is one that it was given before, and lasts."""

    def __init__(self, wire: GoogleWire) -> None:
        self.wire = wire
        super().__init__(account().info)
        self._http = httpx2.AsyncClient(transport=wire)
        self._tokens._credentials.token = TOKEN
        # UTC without saying so.
        self._tokens._credentials.expiry = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=2)
