"""Which certificate signs at this moment; new ones are taken up without a restart.

A renewed certificate is put beside the old one, or in its place. Either way the newest valid one signs.
"""

from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias

from wallet_sync.apple_certificates import AppleKeyFiles, AppleKeysUnfit, Signer, read_signers

FileStates: TypeAlias = tuple[tuple[int, ...], ...]


class KeyRing:
    """The signers of these files, read again whenever a file has changed.

    While new files do not fit together, say because one of two is copied already, the former signers go on.
    """

    def __init__(self, files: AppleKeyFiles, on_unfit: Callable[[str], None] = lambda _: None) -> None:
        """`on_unfit` is told, once for each change, why changed files are not used."""
        self._files = files
        self._on_unfit = on_unfit
        self._seen: FileStates | None = None
        self._signers: list[Signer] = []
        self._unfit: str | None = None

    def signer(self, now: datetime) -> Signer:
        """The newest certificate that is valid at `now`.

        Raises:
            AppleKeysUnfit: A file cannot be used, or no certificate is valid. Mended files are seen at the next call.
        """
        self._refresh()
        if not self._signers:
            raise AppleKeysUnfit(self._unfit)
        return valid_signer(self._signers, now, self._files)

    def _refresh(self) -> None:
        seen = _changed_at(self._files)
        if seen == self._seen:
            return
        try:
            self._signers, self._unfit = read_signers(self._files), None
        except AppleKeysUnfit as unfit:
            self._unfit = str(unfit)
            self._on_unfit(self._unfit)
        self._seen = seen


def valid_signer(signers: list[Signer], now: datetime, files: AppleKeyFiles) -> Signer:
    """Of several the one that began last. Raises: AppleKeysUnfit where none has begun or all have ended."""
    begun = [signer for signer in signers if signer.valid_from <= now]
    valid = [signer for signer in begun if now <= signer.valid_until]
    if valid:
        return max(valid, key=lambda signer: signer.valid_from)
    if begun:
        ended = max(signer.valid_until for signer in begun)
        raise AppleKeysUnfit(
            f"The certificate in {files.certificate} ended on {ended:%Y-%m-%d}: make a new one for"
            f" {files.pass_type_id} at developer.apple.com. (If it is Apple's intermediate in {files.wwdr} that ended,"
            " download the current one from apple.com/certificateauthority.)"
        )
    begins = min(signer.valid_from for signer in signers)
    raise AppleKeysUnfit(f"The certificate in {files.certificate} begins on {begins:%Y-%m-%d}: is the clock right?")


def _changed_at(files: AppleKeyFiles) -> FileStates:
    """What tells that a file is another one; a missing file is a state of its own, and so is one with other rights."""
    states: list[tuple[int, ...]] = []
    for file in (files.certificate, files.key, files.wwdr):
        try:
            found = file.stat()
            states.append((found.st_mtime_ns, found.st_ctime_ns, found.st_size))
        except OSError:
            states.append(())
    return tuple(states)
