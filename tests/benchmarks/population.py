"""Cards with a history, written straight into the event store by COPY.

Events go through the ledger's own encoding and evolution, so chains, state rows and claims are valid: `loyalty-ledger
check` finds nothing wrong with them. Only the answers of their idempotency keys are missing, as if long forgotten.
"""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg import Connection

from ledger.card import CardEnrolled, PointsEarned, StampsAdded
from ledger.codec import to_json
from ledger.commands.answers import subject_of
from ledger.commands.references import card_of_claim, number_claim, qr_claim
from ledger.decision import Claim
from ledger.ids import derived, luhn_digit, new_qr_token
from ledger.personal import Secret
from ledger.recorder import LOCK_STORE
from ledger.seal import MasterKey
from ledger.stream import NAME_OF, Actor, Envelope, digest, encode, evolve, first_prev, sealed
from tests.benchmarks.measuring import Say

CARDS_AT_ONCE = 1_000
HOURS_BETWEEN_EVENTS = 4
POINTS_EVERY = 4  # Each fourth event is a purchase, the others are stamps.

EVENTS = ("stored_events", "originator_id uuid, originator_version int8, topic text, state bytea")
STREAMS = (
    "streams",
    "stream_id uuid, stream_type text, vendor_id uuid, parent_id uuid, version int8, head bytea, state text",
)
CLAIMS = ("claims", "kind text, scope uuid, value bytea, stream_id uuid")
KEYS = ("idempotency_keys", "command_id uuid, vendor_id uuid, fingerprint bytea, stream_id uuid, version int8")
SUBJECTS = ("subject_keys", "subject_id uuid, vendor_id uuid, master_key_id text, wrapped_key bytea")

HISTORY_TRIGGERS = "SET session_replication_role = {}"  # Contiguity is kept here, and would be looked up for each row.
CARDS_SO_FAR = "SELECT count(*) FROM claims WHERE kind = 'card_number'"


@dataclass(frozen=True, slots=True)
class Place:
    """Whose cards these are."""

    database_url: str
    master_key: MasterKey
    vendor_id: UUID
    program_id: UUID


@dataclass(slots=True)
class _Card:
    stream_id: UUID
    customer_id: UUID
    number: str
    token: str
    state: Any = None
    version: int = 0
    head: str = ""


@dataclass(slots=True)
class _Rows:
    events: list[tuple[Any, ...]] = field(default_factory=list)
    keys: list[tuple[Any, ...]] = field(default_factory=list)
    subjects: list[tuple[Any, ...]] = field(default_factory=list)


def populate(
    place: Place, cards: int, events_each: int = 1, *, processes: int = 1, say: Say = lambda _: None
) -> list[str]:
    """Add cards with so many events each, the enrolment among them.

    Returns:
        Their ids. The events of a thousand cards alternate in the stream, each card's own in order.
    """
    with psycopg.connect(place.database_url, autocommit=True) as connection:
        first = int(_one(connection, CARDS_SO_FAR))  # Numbers go on from there.
    parts = [(place, first + n, min(CARDS_AT_ONCE, cards - n), events_each) for n in range(0, cards, CARDS_AT_ONCE)]
    made: list[str] = []
    for ids in _each(parts, processes):
        made += ids
        if len(made) % 50_000 == 0:
            say(f"{len(made):,} of {cards:,} cards made")
    if first == 0:
        with psycopg.connect(place.database_url, autocommit=True) as connection:
            connection.execute("VACUUM (ANALYZE) stored_events, streams, claims, idempotency_keys, subject_keys")
    return made


def _each(parts: list[tuple[Place, int, int, int]], processes: int) -> Iterator[list[str]]:
    if processes == 1:
        yield from map(_make, parts)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_make, parts)


def _make(part: tuple[Place, int, int, int]) -> list[str]:
    place, first, count, events_each = part
    began = datetime.now(UTC) - timedelta(hours=HOURS_BETWEEN_EVENTS * events_each)
    cards = [_new_card(first + n) for n in range(count)]
    rows = _Rows()
    for n in range(events_each):
        at = began + timedelta(hours=HOURS_BETWEEN_EVENTS * n)
        for card in cards:
            _enrol(place, card, at, rows) if n == 0 else _earn(place, card, at, n, rows)
    with psycopg.connect(place.database_url) as connection:
        _write(connection, place, cards, rows)
    return [str(card.stream_id) for card in cards]


def _new_card(number: int) -> _Card:
    body = f"{10**10 + number}"
    return _Card(uuid4(), uuid4(), body + luhn_digit(body), new_qr_token())


def _enrol(place: Place, card: _Card, at: datetime, rows: _Rows) -> None:
    subject = place.master_key.new_subject(derived(*subject_of(place.vendor_id, card.customer_id)), place.vendor_id)
    event = CardEnrolled(
        at=at,
        customer_id=card.customer_id,
        number=card.number,
        qr_token=Secret(card.token),
        language="en",
        cycle_version=1,
    )
    wrapped = place.master_key.wrap(subject)
    rows.subjects.append((subject.subject_id, place.vendor_id, place.master_key.key_id, wrapped))
    _add(place, card, sealed(event, subject, stream_id=card.stream_id, version=1), at, uuid4(), rows)


def _earn(place: Place, card: _Card, at: datetime, n: int, rows: _Rows) -> None:
    entry_id = uuid4()
    event: StampsAdded | PointsEarned
    if n % POINTS_EVERY == 0:
        event = PointsEarned(
            at=at,
            entry_id=entry_id,
            points=12,
            purchase_amount_minor=1_250,
            paid_with_reward_minor=0,
            currency="EUR",
            rate_points=1,
            rate_minor=100,
            minimum_minor=0,
            stamps_after=card.state.stamps,
            points_after=card.state.points + 12,
        )
    else:
        event = StampsAdded(
            at=at,
            entry_id=entry_id,
            stamps=1,
            local_date=at.date(),
            stamps_today=1,
            daily_limit=1_000,
            cooldown_minutes=0,
            next_stamp_at=at,
            target=10,
            cycle_version=1,
            stamps_after=card.state.stamps + 1,
            points_after=card.state.points,
        )
    _add(place, card, event, at, entry_id, rows)


def _add(place: Place, card: _Card, event: Any, at: datetime, command_id: UUID, rows: _Rows) -> None:
    envelope = Envelope(
        stream_type="card",
        vendor_id=place.vendor_id,
        channel="pos",
        actor=Actor("api_key", str(place.vendor_id), "bearer"),
        request_id=str(command_id),
        recorded_at=at,
        occurred_at=at,
        program_id=place.program_id,
        program_version=1,
    )
    name = NAME_OF[type(event)]
    state = encode(event, envelope, card.head or first_prev(card.stream_id))
    card.version += 1
    card.head = digest(card.stream_id, card.version, name, state)
    card.state = evolve("card", card.state, event)
    rows.events.append((card.stream_id, card.version, name, state))
    rows.keys.append((command_id, place.vendor_id, os.urandom(32), card.stream_id, card.version))


def _write(connection: Connection[Any], place: Place, cards: list[_Card], rows: _Rows) -> None:
    streams = [
        (c.stream_id, "card", place.vendor_id, place.program_id, c.version, bytes.fromhex(c.head), to_json(c.state))
        for c in cards
    ]
    claims = [(c.kind, c.scope, c.value, card.stream_id) for card in cards for c in _claims(place, card)]
    connection.execute(HISTORY_TRIGGERS.format("replica"))
    _copy(connection, STREAMS, streams)
    _copy(connection, CLAIMS, claims)
    _copy(connection, KEYS, rows.keys)
    _copy(connection, SUBJECTS, rows.subjects)
    connection.execute(LOCK_STORE)  # Readers rely on it: positions are given in the order of commits.
    _copy(connection, EVENTS, rows.events)


def _claims(place: Place, card: _Card) -> tuple[Claim, ...]:
    return number_claim(card.number), qr_claim(card.token), card_of_claim(place.program_id, card.customer_id)


def _copy(connection: Connection[Any], target: tuple[str, str], rows: Iterable[tuple[Any, ...]]) -> None:
    table, described = target
    columns = [column.split() for column in described.split(", ")]
    names = ", ".join(name for name, _ in columns)
    with connection.cursor().copy(f"COPY {table} ({names}) FROM STDIN (FORMAT binary)") as copy:
        copy.set_types([type_ for _, type_ in columns])
        for row in rows:
            copy.write_row(row)


def _one(connection: Connection[Any], sql: str) -> Any:
    row = connection.execute(sql).fetchone()
    assert row is not None
    return row[0]
