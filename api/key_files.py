"""The keys a service runs with: from the settings, or made once and kept in the data directory.

A key file is written whole or not at all, readable by its owner only, and never replaced.
"""

import os
import secrets
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from api.settings import KEY_CHARACTERS_MIN, Settings, SettingsError, variable
from ledger.seal import KEY_BYTES, MasterKey

FOLDER = "keys"


@dataclass(frozen=True, slots=True)
class Keys:
    admin_key: str = field(repr=False)
    auditor_key: str | None = field(repr=False)
    master_key: MasterKey
    admin_key_file: Path | None  # Where a key that was not set is kept: for the line printed at the start.


def load_keys(settings: Settings, *, has_history: bool = False) -> Keys:
    """The keys of this installation; those that may be made are made at the first start.

    Args:
        has_history: The embedded database exists already. Then a missing master key is lost, and a new one would
            make every name in the database unreadable without a word.

    Raises:
        SettingsError: There is no master key where one must be set, or a key file cannot be used.
    """
    folder = settings.data_dir / FOLDER
    admin_key_file = None
    if settings.admin_key is not None:
        admin_key = settings.admin_key.get_secret_value()
    else:
        admin_key_file = folder / "admin_key"
        admin_key = _kept(admin_key_file, "ll_admin_" + secrets.token_urlsafe(32))
        if len(admin_key) < KEY_CHARACTERS_MIN:
            raise SettingsError(f"{admin_key_file} holds no usable key: delete it, and a new one is made")
    return Keys(
        admin_key=admin_key,
        auditor_key=settings.auditor_key.get_secret_value() if settings.auditor_key else None,
        master_key=_master_key(settings, folder / "master_key", has_history),
        admin_key_file=admin_key_file,
    )


def _master_key(settings: Settings, file: Path, has_history: bool) -> MasterKey:
    if settings.master_key is not None:
        return MasterKey.from_base64(settings.master_key.get_secret_value())
    if not settings.is_embedded:
        raise SettingsError(
            f"{variable('master_key')} is not set. With a database of your own the master key is yours to keep: make"
            " one with `openssl rand -base64 32`, store it where it is backed up apart from the database, and set it."
        )
    if has_history and not file.exists():
        raise SettingsError(
            f"The database in {settings.data_dir} was made under a master key, and {file} is missing. Restore that"
            f" file from a backup, or set {variable('master_key')}."
        )
    try:
        return MasterKey.from_base64(_kept(file, b64encode(secrets.token_bytes(KEY_BYTES)).decode()))
    except ValueError:
        raise SettingsError(f"{file} does not hold a master key. Restore that file from a backup.") from None


def _kept(file: Path, made: str) -> str:
    """What the file holds; `made` where there was none. Of several processes that start at once, one makes it."""
    try:
        if not file.exists():
            _keep(file, made)
        file.chmod(0o600)
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the key file {file} cannot be used: {error}") from None


def _keep(file: Path, text: str) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(text + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        with suppress(FileExistsError):
            os.link(draft, file)
    finally:
        draft.unlink()
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
