"""The keys a service runs with: from the settings, or made once and kept in the data directory.

A key file is written whole or not at all, readable by its owner only, and replaced by nothing but a rotation.
"""

import os
import secrets
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg

from api.settings import KEY_CHARACTERS_MIN, Settings, SettingsError, variable
from ledger import master_keys, private_files
from ledger.seal import KEY_BYTES, MasterKey

FOLDER = "keys"
PREVIOUS = "master_key_previous"


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
        before = settings.master_key_previous
        previous = None if before is None else MasterKey.from_base64(before.get_secret_value())
        return MasterKey(MasterKey.from_base64(settings.master_key.get_secret_value()).key, previous)
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
    kept = _read_master_key(file, b64encode(secrets.token_bytes(KEY_BYTES)).decode())
    beside = file.with_name(PREVIOUS)
    return replace(kept, previous=_read_master_key(beside)) if beside.exists() else kept


def _read_master_key(file: Path, made: str = "") -> MasterKey:
    try:
        return MasterKey.from_base64(_kept(file, made))
    except ValueError:
        raise SettingsError(f"{file} does not hold a master key. Restore that file from a backup.") from None


def exchange_master_key(folder: Path) -> None:
    """Put a new master key in the place of the one so far, which stays beside it until `drop_previous`.

    Nothing is changed where that was begun already. Whenever it is cut off, there is a key that opens everything.
    """
    file, previous = folder / "master_key", folder / PREVIOUS
    with suppress(FileExistsError):
        os.link(file, previous)
    if file.read_bytes() == previous.read_bytes():
        private_files.replace(file, b64encode(secrets.token_bytes(KEY_BYTES)).decode() + "\n")
    private_files.flush(folder)


def drop_previous(folder: Path) -> None:
    """The disk may keep the bytes for a while: who must be sure encrypts it from the start."""
    (folder / PREVIOUS).unlink()
    private_files.flush(folder)


def in_force(keys: Keys, database_url: str) -> Keys:
    """The keys as a database knows them: with what is carried on from the master keys before.

    Raises:
        SettingsError: Somebody's data there was wrapped with a master key that is not given.
    """
    with psycopg.connect(database_url, autocommit=True, connect_timeout=5) as connection:
        try:
            return replace(keys, master_key=master_keys.in_force(connection, keys.master_key))
        except master_keys.MasterKeyUnknown as unknown:
            raise SettingsError(
                f"The database holds keys of people that were wrapped with {unknown}. Restore that master key, or if"
                f" you are exchanging it, set it as {variable('master_key_previous')}."
            ) from None


def _kept(file: Path, made: str) -> str:
    """What the file holds; `made` where there was none. Of several processes that start at once, one makes it."""
    try:
        if not file.exists():
            private_files.keep(file, made + "\n")
        file.chmod(0o600)
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the key file {file} cannot be used: {error}") from None
