"""Wallet sync: what is owed to phones is noted by a thread, and paid by a loop, until somebody stops it."""

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, TypeAlias

import structlog
from psycopg_pool import AsyncConnectionPool

from api import child
from api.google_wallet import GoogleAccountUnfit, google_issuer, read_account
from api.settings import Settings, read_settings
from api.wallets import apple_key_files
from ledger.commands import Ledger
from ledger.commands.caller import utc_now
from ledger.errors import StoreAway
from ledger.reader import Pool, act_as_application
from ledger.seal import MasterKey
from wallet_sync.apple_certificates import AppleKeysUnfit, Signer
from wallet_sync.apple_key_ring import KeyRing
from wallet_sync.apple_push import ApplePush
from wallet_sync.apple_pushes import push_due
from wallet_sync.farewell_pushes import push_farewells
from wallet_sync.google_client import GoogleClient
from wallet_sync.google_writes import compare_due, keep_pace, write_due
from wallet_sync.subscriber import Subscriber
from wallet_sync.upkeep import kept_up

MODULE = __name__
Pay: TypeAlias = Callable[[], Awaitable[int]]
"""Does some of what is due; returns how much, 0 where nothing is."""

IDLE_SECONDS = 0.5
AWAY_SECONDS = 2.0

log = structlog.get_logger("api.syncing")


def sync(settings: Settings, database_url: str, master_key: MasterKey, stop: threading.Event) -> None:
    """Follow the query tables and push, until `stop` is set. Any number may run; leases keep them apart."""
    follower = threading.Thread(target=Subscriber(database_url).run, args=(stop,), name="subscriber")
    follower.start()
    try:
        asyncio.run(_push(settings, database_url, master_key, stop))
    finally:
        stop.set()
        follower.join()


async def _push(settings: Settings, database_url: str, master_key: MasterKey, stop: threading.Event) -> None:
    pool: Pool = AsyncConnectionPool(
        database_url,
        kwargs={"autocommit": True, "connect_timeout": 2},
        configure=act_as_application,
        min_size=1,
        max_size=4,
        timeout=1,
        open=False,
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(pool)
        ledger = Ledger(database_url, pool, master_key)
        await ledger.start()
        stack.push_async_callback(ledger.stop)
        ring: KeyRing | None = None
        paying: list[Pay] = []
        comparing: list[Pay] = []
        if settings.apple_pass_type_id is not None:
            ring = KeyRing(apple_key_files(settings))
            apple = _Apple(settings, ledger, master_key, ring)
            stack.push_async_callback(apple.close)
            paying.append(apple.pay)
        if settings.google_issuer_id is not None:
            google = _Google(settings, ledger, master_key)
            stack.push_async_callback(google.close)
            paying.append(google.pay)
            comparing.append(google.compare)
        await stack.enter_async_context(kept_up(ledger.reader, ring, utc_now))
        async with asyncio.TaskGroup() as long:
            comparisons = [long.create_task(_until_stopped(compare, stop)) for compare in comparing]
            async with asyncio.TaskGroup() as short:
                for pay in paying:
                    short.create_task(_until_stopped(pay, stop))
            for comparison in comparisons:  # Nobody waits minutes for one: it begins anew.
                comparison.cancel()


async def _until_stopped(pay: Pay, stop: threading.Event) -> None:
    """Pay what is owed in one of these ways, whatever becomes of the others."""
    told: str | None = None
    while not stop.is_set():
        try:
            pause, told = 0.0 if await pay() else IDLE_SECONDS, None
        except (AppleKeysUnfit, GoogleAccountUnfit) as unfit:
            if told != str(unfit):
                name = "apple-wallet-unfit" if isinstance(unfit, AppleKeysUnfit) else "google-wallet-unfit"
                log.error(name, error=str(unfit))
            pause, told = AWAY_SECONDS, str(unfit)
        except StoreAway:
            pause = AWAY_SECONDS
        except Exception:
            log.exception("wallet-sync-failed")
            pause = AWAY_SECONDS
        await asyncio.sleep(pause)


class _Apple:
    """The connection to Apple with the certificate that signs now: a new one when that is exchanged."""

    def __init__(self, settings: Settings, ledger: Ledger, master_key: MasterKey, ring: KeyRing) -> None:
        self._settings = settings
        self._ledger = ledger
        self._master_key = master_key
        self._ring = ring
        self._signer: Signer | None = None
        self._push: ApplePush | None = None

    async def pay(self) -> int:
        """Raises: AppleKeysUnfit, StoreAway."""
        signer = self._ring.signer(utc_now())
        if self._push is None or self._signer is None or self._signer.certificate != signer.certificate:
            await self.close()
            self._signer = signer
            self._push = ApplePush(
                signer, utc_now, base_url=self._settings.apple_push_url, ca_file=self._settings.apple_push_ca
            )
        pushed = await push_due(self._ledger, self._push, utc_now, random.Random())
        return pushed + await push_farewells(self._ledger.reader, self._master_key, self._push, random.Random())

    async def close(self) -> None:
        if self._push is not None:
            await self._push.aclose()
            self._push = None


class _Google:
    """The connection to Google with the account that is set now: a new one when its file is exchanged."""

    def __init__(self, settings: Settings, ledger: Ledger, master_key: MasterKey) -> None:
        assert settings.google_service_account is not None
        self._settings = settings
        self._ledger = ledger
        self._file = settings.google_service_account
        self._issuer = google_issuer(settings, master_key)
        self._account: Mapping[str, Any] | None = None
        self._client: GoogleClient | None = None

    async def pay(self) -> int:
        """Raises: GoogleAccountUnfit, StoreAway."""
        account = read_account(self._file)
        if self._client is None or account != self._account:
            await self.close()
            self._account = account
            self._client = GoogleClient(
                account,
                base_url=self._settings.google_api_url,
                token_url=self._settings.google_token_url,
                pace=partial(keep_pace, self._ledger.reader),
            )
        return await write_due(self._ledger, self._issuer, self._client, utc_now, random.Random())

    async def compare(self) -> int:
        """Compare what Google has with the cards, each night: it takes long, and writing does not wait for it.

        Raises: StoreAway.
        """
        if self._client is None:
            return 0
        return await compare_due(self._ledger, self._issuer, self._client, utc_now, random.Random())

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None


def main() -> None:
    told = child.told()
    sync(read_settings(), told.database_url, told.master_key, told.stop)


if __name__ == "__main__":
    main()
