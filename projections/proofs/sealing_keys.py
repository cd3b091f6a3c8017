"""The key that signs checkpoints: a file outside the database, and table sealing_keys with every public key there was.

Each public key is recorded in a note that it signs itself and that the key before it signs too: whoever trusts one of
them can follow to all others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from psycopg import Connection

from ledger.private_files import keep
from projections.proofs.notes import SigningKey, SigningKeyUnfit, sign
from projections.proofs.verify_statement import KEY_TITLE, VerifierKey, verify_keys
from projections.table import Queries

RECORDED = "SELECT verifier_key, note, recorded_at FROM sealing_keys ORDER BY number"
RECORD = "INSERT INTO sealing_keys (verifier_key, note) VALUES (%s, %s) ON CONFLICT (verifier_key) DO NOTHING"
TREE_SIZE = "SELECT tree_size FROM checkpoints ORDER BY number DESC LIMIT 1"
# One at a time: a second first key would begin a second chain.
ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(76021, 2)"


OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class RecordedKey:
    """A row of the table."""

    verifier_key: str
    note: str
    recorded_at: datetime


class SealingRefused(Exception):
    """Why nothing is signed. The text says what to do about it, and holds no secret."""


def read_key(file: Path) -> SigningKey:
    """The key that signs.

    Raises: SealingRefused where there is none, or the file holds something else.
    """
    try:
        if file.stat().st_mode & OTHERS:
            file.chmod(0o600)
        return SigningKey.parse(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SealingRefused(
            f"there is no sealing key in {file}: restore that file from a backup, or begin with `loyalty-ledger keys"
            " make`"
        ) from None
    except (OSError, UnicodeDecodeError, SigningKeyUnfit):
        raise SealingRefused(f"{file} cannot be read or holds no sealing key: restore it from a backup") from None


def recorded_keys(connection: Connection[Any]) -> list[VerifierKey]:
    """Every public key, oldest first; the last one signs."""
    return [VerifierKey.parse(text) for text, *_ in connection.execute(RECORDED).fetchall()]


async def read_recorded(queries: Queries) -> list[RecordedKey]:
    """Every key that ever signed, oldest first."""
    return [RecordedKey(*row) for row in await queries.rows(RECORDED)]


def trusted_keys(connection: Connection[Any], trusted: VerifierKey) -> list[VerifierKey]:
    """Every public key that is recorded, if one can follow to it from the one that is trusted.

    Raises: Fault where somebody put another one in.
    """
    return verify_keys([note for _, note, _ in connection.execute(RECORDED).fetchall()], trusted)


def make_first_key(connection: Connection[Any], file: Path, name: str, now: datetime) -> SigningKey:
    """Make the first key, keep it in its file, and record it; finish what was interrupted in between.

    Raises: SealingRefused where there is a key already: another one follows it by rotation.
    """
    with connection.transaction():
        connection.execute(ONE_AT_A_TIME)
        if recorded_keys(connection):
            raise SealingRefused("there is a sealing key already: `loyalty-ledger keys rotate` makes the next one")
        keep(file, SigningKey.new(name).to_text() + "\n")
        key = read_key(file)
        if key.name != name:
            raise SealingRefused(f"{file} holds a key of another origin, {key.name}")
        connection.execute(RECORD, (str(key.verifier), sign(key_text(key.verifier, None, 0, now), key)))
    return key


def rotate_key(connection: Connection[Any], file: Path, now: datetime) -> SigningKey:
    """Make the next key, signed by the one before, and put it in that one's place; finish what was interrupted.

    The old key is gone afterwards: nobody can steal what is not there.

    Raises: SealingRefused where the key of the file is not the one that signs.
    """
    next_file = file.with_name(file.name + ".next")
    with connection.transaction():
        connection.execute(ONE_AT_A_TIME)
        recorded = recorded_keys(connection)
        if not next_file.exists() or not recorded or read_key(next_file).verifier != recorded[-1]:
            old = signing(file, recorded)
            keep(next_file, SigningKey.new(old.name).to_text() + "\n")
            new = read_key(next_file)
            size = connection.execute(TREE_SIZE).fetchone()
            text = key_text(new.verifier, old.verifier, 0 if size is None else size[0], now)
            connection.execute(RECORD, (str(new.verifier), sign(text, old, new)))
    next_file.replace(file)
    return read_key(file)


def key_text(key: VerifierKey, previous: VerifierKey | None, size: int, now: datetime) -> str:
    """What a key's note says: which key it is, which one it follows, and how large the tree was then."""
    follows = "nothing" if previous is None else str(previous)
    return f"{KEY_TITLE}\n{key}\nfollows {follows}\ntree {size}\nat {now.isoformat(timespec='seconds')}\n"


def signing(file: Path, recorded: Sequence[VerifierKey]) -> SigningKey:
    """The key of the file, if it is the one that was recorded last.

    Raises: SealingRefused.
    """
    key = read_key(file)
    if not recorded or key.verifier != recorded[-1]:
        raise SealingRefused(
            f"the key in {file} is not the one recorded last: restore the file of"
            f" {recorded[-1] if recorded else 'the first key'} from a backup"
        )
    return key
