"""Archives for tests: made of a store, changed by somebody, and perhaps signed again by who has the key."""

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import psycopg

from ledger.commands.references import EVERYWHERE
from ledger.seal import MasterKey
from projections.archive.lines import Event, Line, Trailer, read, trailer_text, written
from projections.archive.loading import Loaded, load_archive
from projections.archive.making import make_archive
from projections.archive.reading import verified
from projections.archive.rows import MUST_BE_EMPTY
from projections.proofs.notes import SigningKey, sign
from projections.proofs.sealing_keys import read_key, rotate_key
from projections.proofs.verify_statement import VerifierKey
from tests.projections.proofs.sealing import SealedStore
from tests.projections.stories import MASTER_KEY

BUSIEST_VENDOR = """
SELECT stream_id, state FROM streams s WHERE stream_type = 'vendor'
ORDER BY (SELECT count(*) FROM streams t WHERE t.vendor_id = s.vendor_id) DESC, stream_id LIMIT 1
"""
NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)


def made(store: SealedStore, folder: Path, *, code: str | None = None, name: str = "made") -> bytes:
    file = folder / f"{name}.ndjson"
    make_archive(
        store.url,
        store.key_file,
        file,
        code=code,
        master_key_id=MASTER_KEY.key_id,
        now=NOW,
        progress=lambda _done, _total: None,
    )
    return file.read_bytes()


def load(url: str, raw: bytes, key: VerifierKey, master_key: MasterKey = MASTER_KEY) -> Loaded:
    return load_archive(url, master_key, io.BytesIO(raw), key, lambda _done, _total: None)


def lines(raw: bytes) -> list[Line]:
    return [read(line) for line in raw.splitlines()]


def signed_again(changed: Sequence[Line | bytes], key: SigningKey) -> bytes:
    """The same lines under a right trailer in place of their last one: as only the service itself could lie."""
    raws = [line + b"\n" if isinstance(line, bytes) else written(line) for line in changed[:-1]]
    raw = b"".join(raws)
    events = sum(isinstance(line, Event) for line in changed)
    text = trailer_text(lines=len(raws), events=events, sha256=sha256(raw).hexdigest(), at="2026-03-09T12:00:00+00:00")
    return raw + written(Trailer(sign(text, key)))


def signer(store: SealedStore) -> SigningKey:
    return read_key(store.key_file)


def rows_in(url: str) -> int:
    """How many rows there are in a database that should have none."""
    with psycopg.connect(url) as connection:
        counts = [connection.execute(f"SELECT count(*) FROM {table}").fetchone() for table in MUST_BE_EMPTY]
        return sum(int(count[0]) for count in counts if count is not None)


class Scene(NamedTuple):
    store: SealedStore
    old_key: SigningKey
    whole: bytes
    of_vendor: bytes
    empty_url: str


def filled(store: SealedStore, seed: int = 1) -> SealedStore:
    for part in range(2):
        store.fill(seed=seed + part)
        store.seal(events_max=7)
    with psycopg.connect(store.url, autocommit=True) as connection:
        rotate_key(connection, store.key_file, NOW)
    store.fill(cards=1, rounds=3, seed=seed + 2)
    store.seal()
    store.stamp()
    return store


def code_of(store: SealedStore) -> str:
    """A vendor's code, with the claim that finds it: the stories make none."""
    vendor_id, state = store.rows(BUSIEST_VENDOR)[0]
    code = str(msgspec.json.decode(state)["code"])
    store.execute(
        "INSERT INTO claims (kind, scope, value, stream_id) VALUES"
        f" ('vendor_code', '{EVERYWHERE}', '{code}', '{vendor_id}')"
        " ON CONFLICT DO NOTHING"
    )
    return code


def nth(parts: list[Any], kind: type[Any], n: int = 0) -> int:
    return [at for at, part in enumerate(parts) if isinstance(part, kind)][n]


def verified_at_once(raw: bytes, key: VerifierKey) -> None:
    for _ in verified(io.BytesIO(raw), key):
        pass
