"""Google's own keys, fetched when they are needed and kept until the first of them ends.

However many messages fail: they are fetched once in ten minutes at most.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from wallet_sync.google_callback import CallbackRefused, RootKey, root_keys

TIMEOUT_SECONDS = 5.0
FETCHED_AT_MOST = timedelta(minutes=10)
BEFORE_THE_END = timedelta(hours=1)

log = structlog.get_logger("wallet_sync.google_root_keys")


class RootKeys:
    """Belongs to one event loop."""

    def __init__(self, url: str, clock: Callable[[], datetime]) -> None:
        self._url = url
        self._clock = clock
        self._keys: tuple[RootKey, ...] = ()
        self._tried_at: datetime | None = None
        self._lock = asyncio.Lock()

    async def now(self) -> tuple[RootKey, ...]:
        """Those that have not ended; none where Google could not be asked, which is worth another try later."""
        async with self._lock:
            if self._is_due():
                self._tried_at = self._clock()
                await self._fetch()
        now = self._clock()
        return tuple(key for key in self._keys if key.expires_at > now)

    def _is_due(self) -> bool:
        now = self._clock()
        if self._tried_at is not None and now - self._tried_at < FETCHED_AT_MOST:
            return False
        return not self._keys or min(key.expires_at for key in self._keys) - BEFORE_THE_END <= now

    async def _fetch(self) -> None:
        import httpx2  # Megabytes that every API process would hold, and this is all it asks of others.

        try:
            async with httpx2.AsyncClient(timeout=TIMEOUT_SECONDS) as http:
                response = await http.get(self._url)
            response.raise_for_status()
            self._keys = root_keys(response.content, self._clock())
        except (httpx2.HTTPError, CallbackRefused) as error:
            log.warning("google-keys-not-fetched", error=type(error).__name__)
