"""Archives for tests: made of a store, changed by somebody, and perhaps signed again by who has the key."""

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import psycopg

from ledger.seal import MasterKey
from projections.archive.lines import Event, Line, Trailer, read, trailer_text, written
from projections.archive.loading import Loaded, load_archive
from projections.archive.making import make_archive
from projections.archive.rows import MUST_BE_EMPTY
from projections.proofs.notes import SigningKey, sign
from projections.proofs.sealing_keys import read_key
from projections.proofs.verify_statement import VerifierKey
from tests.projections.proofs.sealing import SealedStore
from tests.projections.stories import MASTER_KEY

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
