"""Apple Wallet as this installation has it: which files, which words, and a thread of its own to draw and sign in.

Nothing that is amiss with the wallets keeps the service from starting: tills do not need passes.
"""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from uuid import UUID

import structlog

from api.languages import LANGUAGES, translate
from api.settings import Settings, variable
from ledger.commands.caller import utc_now
from ledger.seal import MasterKey
from wallet_sync.apple_certificates import AppleKeyFiles, AppleKeysUnfit, Signer
from wallet_sync.apple_key_ring import KeyRing
from wallet_sync.apple_pass import Rendered, UpdatesFrom, authentication_token, packed, render, serial_number
from wallet_sync.pass_content import SENTENCES, Texts, pass_content

WEB_SERVICE = "/api/v1/loyalty/apple"
RENEW_DAYS = 30  # Apple's certificates last about 13 months.

log = structlog.get_logger("api.wallets")


class AppleWallet:
    """Makes passes of cards. One thread of each process draws and signs, so that tills are not kept waiting."""

    def __init__(
        self,
        ring: KeyRing,
        *,
        pass_type_id: str,
        serial_key: bytes,
        token_key: bytes,
        base_url: str,
        contact: str,
        texts: Texts,
    ) -> None:
        self.pass_type_id = pass_type_id
        self._ring = ring
        self._serial_key = serial_key
        self._token_key = token_key
        self._base_url = base_url
        self._contact = contact
        self._texts = texts
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="passes")

    async def make(
        self, card: Mapping[str, Any], program: Mapping[str, Any], merchant: str, *, unless: str | None
    ) -> tuple[str, bytes | None]:
        """The pass of a card as it is now. Each is signed anew, and nothing is kept of it.

        Args:
            card, program: As a look-up tells them.
            merchant: The vendor's name.
            unless: An ETag list; where it names what would be made, nothing is signed.

        Returns:
            The pass's ETag, and its bytes; None instead of bytes where `unless` names it.

        Raises:
            AppleKeysUnfit: The certificates cannot be used, with what to do about it.
            PassUnfit: The pass did not stand its check.
        """
        work = partial(self._make, card, program, merchant, unless)
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    def serial_of(self, card_id: object) -> str:
        """The serial number of a card's pass."""
        return serial_number(self._serial_key, UUID(str(card_id)))

    def token_of(self, pass_type_id: str, serial: str) -> str:
        """What a phone must show for that pass, whether there is one or not."""
        return authentication_token(self._token_key, pass_type_id, serial)

    def _make(
        self, card: Mapping[str, Any], program: Mapping[str, Any], merchant: str, unless: str | None
    ) -> tuple[str, bytes | None]:
        now = utc_now()
        signer = self._ring.signer(now)
        issuer = "\n".join(part for part in (signer.organization, self._contact) if part)
        content = pass_content(card, program, self._texts, merchant=merchant, issuer=issuer)
        serial = self.serial_of(card["id"])
        rendered = render(content, serial=serial, signer=signer, updates=self._updates(serial, signer))
        tag = etag(rendered)
        if unless is not None and tag.removeprefix("W/") in unless:
            return tag, None
        return tag, packed(rendered, signer, now)

    def _updates(self, serial: str, signer: Signer) -> UpdatesFrom | None:
        """None where phones would refuse the pass for it: they ask by https alone."""
        if signer.is_apples and not self._base_url.startswith("https://"):
            return None
        return UpdatesFrom(self._base_url + WEB_SERVICE, self.token_of(signer.pass_type_id, serial))

    def days_left(self) -> int | None:
        """Whole days that passes can still be signed; None where they cannot be signed now."""
        now = utc_now()
        try:
            return self._ring.signer(now).days_left(now)
        except AppleKeysUnfit:
            return None

    def close(self) -> None:
        self._worker.shutdown()


def apple_wallet(settings: Settings, master_key: MasterKey) -> AppleWallet | None:
    """What makes passes by these settings; None where no Pass Type ID is set.

    Files that cannot be used are logged and tried again at each request, as they may be mended meanwhile.
    """
    if settings.apple_pass_type_id is None:
        return None
    ring = KeyRing(apple_key_files(settings), on_unfit=_tell)
    wallet = AppleWallet(
        ring,
        pass_type_id=settings.apple_pass_type_id,
        token_key=master_key.derive("apple authentication tokens"),
        base_url=settings.public_url,
        serial_key=master_key.derive("apple serial numbers"),
        contact=settings.apple_contact or settings.public_url,
        texts=pass_texts(),
    )
    wallet.days_left()
    return wallet


def apple_key_files(settings: Settings) -> AppleKeyFiles:
    """Where the settings say the certificates are; with a Pass Type ID they name all three."""
    certificate, key, wwdr = settings.apple_certificate, settings.apple_key, settings.apple_wwdr
    assert settings.apple_pass_type_id and certificate and key and wwdr
    password = settings.apple_key_password
    return AppleKeyFiles(
        settings.apple_pass_type_id, certificate, key, wwdr, password.get_secret_value() if password else None
    )


def apple_wallet_state(settings: Settings) -> tuple[bool, str]:
    """Whether all is well with Apple Wallet, and a sentence that says how it is or what to do. Being off is well."""
    if settings.apple_pass_type_id is None:
        return True, f"Apple Wallet is off: {variable('apple_pass_type_id')} is not set."
    files, now = apple_key_files(settings), utc_now()
    try:
        signer = KeyRing(files).signer(now)
    except AppleKeysUnfit as unfit:
        return False, str(unfit)
    if files.key.stat().st_mode & 0o007:
        return False, f"The key {files.key} can be read by everybody on this machine: run `chmod 600 {files.key}`."
    left = signer.days_left(now)
    sentence = f"Apple Wallet is on: {signer.pass_type_id} of team {signer.team_id}, {left} days left."
    if left < RENEW_DAYS:
        return False, f"{sentence} Make a new certificate and add it to {files.certificate}, its key to {files.key}."
    if not signer.is_apples:
        return True, f"{sentence} The certificate is not Apple's: phones refuse these passes."
    return True, sentence


def pass_texts() -> Texts:
    """Each sentence of a pass in each language of the house."""
    return {language: {text: translate(language, text) for text in SENTENCES} for language in LANGUAGES}


def etag(rendered: Rendered) -> str:
    """Weak, since the signature inside is another one each time."""
    return f'W/"{rendered.digest}"'


def _tell(why: str) -> None:
    log.warning("apple-wallet-unfit", error=why)
