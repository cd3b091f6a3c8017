"""A store with a sealer of its own, for tests."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import psycopg

from ledger.stream import digest
from projections.proofs.checkpoints import Sealed
from projections.proofs.findings import Findings
from projections.proofs.merkle import Frontier
from projections.proofs.sealer import Sealer, remembered_file
from projections.proofs.sealing_keys import read_key
from projections.proofs.store import verify_store
from projections.proofs.tiles import leaf_of
from projections.proofs.verify_statement import Checkpoint, VerifierKey, open_note
from tests.databases import database
from tests.projections.stories import Store, busy_days, enrolled, stamped

ORIGIN = "shop.example/ledger"
CARD = UUID("0195a1b0-0000-7000-8000-0000000000c1")
OF_CARD = f"originator_id = '{CARD}'"
POSITION = "(SELECT notification_id FROM stored_events WHERE " + OF_CARD + " AND originator_version = {})"


@dataclass
class SealedStore:
    """Events, and whoever seals them with the key in this file."""

    url: str
    key_file: Path

    def sealer(self, **more: Any) -> Sealer:
        return Sealer(self.url, self.key_file, **{"new_key_name": ORIGIN, **more})

    def seal(self, **more: Any) -> Sealed:
        sealed = self.sealer(**more).catch_up()
        assert sealed is not None
        return sealed

    @property
    def remembered(self) -> Path:
        return remembered_file(self.key_file)

    @property
    def public_key(self) -> VerifierKey:
        return read_key(self.key_file).verifier

    def opened(self, note: str) -> Checkpoint:
        return Checkpoint.parse(open_note(note, [self.public_key])[0])

    def fill(self, *, cards: int = 3, rounds: int = 10, seed: int = 1) -> None:
        store = Store(self.url).opened()
        busy_days(store, cards=cards, rounds=rounds, seed=seed)
        store.connection.close()

    def stamp(self, card: UUID = CARD, count: int = 1) -> None:
        """A card with so many stamps, in a program of its own."""
        store = Store(self.url).opened()
        store.append(("card", card, [enrolled(), *(stamped(n + 1) for n in range(count))]))
        store.connection.close()

    def execute(self, *statements: str) -> None:
        """As the database's owner, past everything that keeps the application honest."""
        with psycopg.connect(self.url) as connection:
            connection.execute("SET session_replication_role = replica")
            for statement in statements:
                connection.execute(statement)

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(sql, parameters).fetchall()

    def refusal(self) -> str | None:
        """What is shown of the sealer."""
        rows = self.rows("SELECT error FROM projections WHERE name = 'checkpoints'")
        return rows[0][0] if rows else None

    def seal_count(self) -> int:
        return int(self.rows("SELECT count(*) FROM checkpoints")[0][0])

    def newest_size(self) -> int:
        return int(self.rows("SELECT tree_size FROM checkpoints ORDER BY number DESC LIMIT 1")[0][0])

    def root(self, size: int | None = None) -> bytes:
        """Of the first events as they are stored, and by nothing that was kept."""
        frontier = Frontier()
        for row in self.rows(
            "SELECT notification_id, uuid_send(originator_id), originator_version, topic, state FROM stored_events"
            " ORDER BY notification_id LIMIT %s",
            size,
        ):
            frontier.append(leaf_of(*row))
        return frontier.root()

    @contextmanager
    def backup(self) -> Iterator["SealedStore"]:
        """The database as it is now, in another one, for whoever has the same key file."""
        parts = urlsplit(self.url)
        server = parts._replace(path="/postgres").geturl()
        with database(server, template=parts.path.removeprefix("/")) as url:
            yield SealedStore(url, self.key_file)


def found(store: SealedStore, kept: Checkpoint | None = None) -> Findings:
    """What a look at the whole store finds."""
    with psycopg.connect(store.url, autocommit=True) as connection:
        *_, findings = verify_store(connection, store.public_key, kept)
    return findings


def places(findings: Findings) -> dict[str, tuple[int | None, UUID | None]]:
    """Where each kind of fault shows first: position and stream."""
    return {kind: (first.position, first.stream_id) for kind, first in findings.first.items()}


def position_of(store: SealedStore, version: int) -> int:
    """Of an event of the card."""
    return int(store.rows(f"SELECT {POSITION.format(version)}")[0][0])


def write(store: SealedStore, stream_id: UUID, states: Sequence[bytes], positions: Sequence[int]) -> list[str]:
    """A history with a state row, as whoever owns the database can; what is there is replaced. Returns the hashes."""
    with psycopg.connect(store.url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("DELETE FROM stored_events WHERE originator_id = %s", (stream_id,))
        hashes = []
        for version, (state, position) in enumerate(zip(states, positions, strict=True), 1):
            hashes.append(digest(stream_id, version, "stamps-added", state))
            connection.execute(
                "INSERT INTO stored_events VALUES (%s, %s, 'stamps-added', %s, %s)",
                (stream_id, version, state, position),
            )
        connection.execute(
            "INSERT INTO streams VALUES (%s, 'card', %s, NULL, %s, decode(%s, 'hex'), '{}') ON CONFLICT (stream_id)"
            " DO UPDATE SET version = excluded.version, head = excluded.head",
            (stream_id, uuid4(), len(states), hashes[-1]),
        )
    return hashes


def positions(store: SealedStore, count: int) -> list[int]:
    """Places that no event has yet."""
    rows = store.rows("SELECT nextval('stored_events_notification_id_seq') FROM generate_series(1, %s)", count)
    return [row[0] for row in rows]


def following(prev: str) -> bytes:
    """An event's bytes that say what it follows, and nothing else."""
    return b'{"prev":"%s","data":{}}' % prev.encode()
