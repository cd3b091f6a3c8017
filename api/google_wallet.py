"""Google Wallet as this installation has it: which issuer and account, which words, and where its pictures are.

The account's file is read whenever it is needed: another one takes effect without a restart. What is amiss with it
keeps nothing from starting.
"""

import asyncio
import hmac
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import orjson
from google.auth.crypt import RSASigner

from api.settings import Settings, variable
from api.wallets import pass_texts
from ledger.commands.caller import utc_now
from ledger.seal import MasterKey
from wallet_sync.google_callback import Callback, verified
from wallet_sync.google_issuer import Issuer
from wallet_sync.google_link import save_link
from wallet_sync.google_pictures import drawn
from wallet_sync.google_root_keys import RootKeys

PICTURES = "/api/v1/loyalty/pictures"
CALLBACK = "/api/v1/loyalty/google/callback"
SEAL_CHARACTERS = 16
WAITING_MAX = 50


class GoogleAccountUnfit(Exception):
    """The service account's file cannot be used; the text says what to do."""


class GoogleWallet:
    """What the API needs of Google Wallet: links, pictures, and whom to believe. It writes nothing there."""

    def __init__(self, settings: Settings, master_key: MasterKey) -> None:
        assert settings.google_service_account is not None
        self.issuer = google_issuer(settings, master_key)
        self._account = settings.google_service_account
        self._origins = settings.google_origins.split(",") if settings.google_origins else [origin(settings.public_url)]
        self._sender = settings.google_callback_sender
        self._root_keys = RootKeys(settings.google_keys_url, utc_now)
        self._picture_key = _picture_key(master_key)
        self.waiting = asyncio.Semaphore(WAITING_MAX)  # Those who want to save a card that is not there yet.
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pictures")

    def link(self, card_id: UUID, program_id: UUID) -> str:
        """Where the holder saves the card.

        Raises: GoogleAccountUnfit.
        """
        return save_link(
            read_account(self._account),
            object_id=self.issuer.object_id(card_id),
            class_id=self.issuer.class_id(program_id),
            origins=self._origins,
            now=utc_now(),
        )

    async def picture(self, name: str, seal: str) -> bytes | None:
        """A PNG; None where the name is not one that was given out."""
        if not hmac.compare_digest(_seal(self._picture_key, name), seal):
            return None
        return await asyncio.get_running_loop().run_in_executor(self._worker, drawn, name)

    async def believed(self, message: bytes) -> Callback | None:
        """What Google tells; None where its keys are not to be had, and nothing can be believed for now.

        Raises: CallbackRefused.
        """
        keys = await self._root_keys.now()
        if not keys:
            return None
        now = utc_now()
        return verified(message, issuer_id=self.issuer.id, root_keys=keys, now=now, sender=self._sender)

    def close(self) -> None:
        self._worker.shutdown()


def google_wallet(settings: Settings, master_key: MasterKey) -> GoogleWallet | None:
    """None where no issuer is set."""
    return None if settings.google_issuer_id is None else GoogleWallet(settings, master_key)


def google_issuer(settings: Settings, master_key: MasterKey) -> Issuer:
    assert settings.google_issuer_id is not None
    base, key = settings.public_url, _picture_key(master_key)
    return Issuer(
        id=settings.google_issuer_id,
        environment=settings.google_environment,
        texts=pass_texts(),
        contact=settings.apple_contact or base,
        picture_url=lambda name: f"{base}{PICTURES}/{name}/{_seal(key, name)}.png",
        callback_url=base + CALLBACK if base.startswith("https://") else None,
    )


def read_account(file: Path) -> Mapping[str, Any]:
    """Google's JSON key file.

    Raises: GoogleAccountUnfit.
    """
    named = variable("google_service_account")
    try:
        account: Mapping[str, Any] = orjson.loads(file.read_bytes())
        RSASigner.from_service_account_info(account)  # type: ignore[no-untyped-call]
        if not (isinstance(account["client_email"], str) and isinstance(account["private_key_id"], str)):
            raise ValueError
    except OSError as error:
        raise GoogleAccountUnfit(f"{named}: {file} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise GoogleAccountUnfit(f"{named}: {file} is no key file of a service account, as Google makes it.") from None
    return account


def google_wallet_state(settings: Settings) -> tuple[bool, str]:
    """Whether all is well with Google Wallet, and a sentence that says how it is or what to do. Being off is well."""
    if settings.google_issuer_id is None or settings.google_service_account is None:
        return True, f"Google Wallet is off: {variable('google_issuer_id')} is not set."
    file = settings.google_service_account
    try:
        account = read_account(file)
    except GoogleAccountUnfit as unfit:
        return False, str(unfit)
    if file.stat().st_mode & 0o007:
        return False, f"The key {file} can be read by everybody on this machine: run `chmod 600 {file}`."
    if not settings.public_url.startswith("https://"):
        return False, f"Google takes pictures by https alone: set {variable('public_url')} to an https address."
    return True, f"Google Wallet is on: issuer {settings.google_issuer_id} by {account['client_email']}."


def origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _picture_key(master_key: MasterKey) -> bytes:
    return master_key.derive("picture addresses")


def _seal(key: bytes, name: str) -> str:
    """Only pictures that were given out are drawn: anybody may ask for them."""
    return hmac.new(key, name.encode(), sha256).hexdigest()[:SEAL_CHARACTERS]
