"""Wallet sync: what is owed to phones is noted by a thread, and paid by a loop, until somebody stops it."""

import asyncio
import random
import threading
from contextlib import AsyncExitStack

import structlog
from psycopg_pool import AsyncConnectionPool

from api import child
from api.main import act_as_application
from api.settings import Settings, read_settings
from api.wallets import apple_key_files
from ledger.commands import Ledger
from ledger.commands.caller import utc_now
from ledger.errors import StoreAway
from ledger.reader import Pool
from ledger.seal import MasterKey
from wallet_sync.apple_certificates import AppleKeysUnfit, Signer
from wallet_sync.apple_key_ring import KeyRing
from wallet_sync.apple_push import ApplePush
from wallet_sync.apple_pushes import push_due
from wallet_sync.subscriber import Subscriber

MODULE = __name__
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
    ring, line = KeyRing(apple_key_files(settings)), _Line(settings)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(pool)
        ledger = Ledger(database_url, pool, master_key)
        await ledger.start()
        stack.push_async_callback(ledger.stop)
        stack.push_async_callback(line.close)
        while not stop.is_set():
            try:
                push = await line.to(ring.signer(utc_now()))
                taken = await push_due(ledger, push, utc_now, random.Random())
                pause = 0.0 if taken else IDLE_SECONDS
            except AppleKeysUnfit as unfit:
                log.warning("apple-wallet-unfit", error=str(unfit))
                pause = AWAY_SECONDS
            except StoreAway:
                pause = AWAY_SECONDS
            await asyncio.sleep(pause)


class _Line:
    """The connection to Apple with the certificate that signs now: a new one when that is exchanged."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._signer: Signer | None = None
        self._push: ApplePush | None = None

    async def to(self, signer: Signer) -> ApplePush:
        if self._push is None or self._signer is None or self._signer.certificate != signer.certificate:
            await self.close()
            self._signer = signer
            self._push = ApplePush(
                signer, utc_now, base_url=self._settings.apple_push_url, ca_file=self._settings.apple_push_ca
            )
        return self._push

    async def close(self) -> None:
        if self._push is not None:
            await self._push.aclose()
            self._push = None


def main() -> None:
    database_url, master_key, stop = child.told()
    sync(read_settings(), database_url, master_key, stop)


if __name__ == "__main__":
    main()
