"""Streams with something in them: written as commands write them, without the commands."""

import random
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
from msgspec.structs import replace
from psycopg import Connection
from psycopg.rows import dict_row

from ledger import attempts, card, program, staff_pin, vendor, wallet_pass
from ledger.commands.references import (
    card_of_claim,
    contact_claim,
    number_claim,
    qr_claim,
    reference_claim,
    serial_claim,
)
from ledger.committer import APPEND
from ledger.decision import Append, Claim, Claimed, Decision
from ledger.ids import attempts_id, derived, new_card_number, new_qr_token
from ledger.personal import Secret
from ledger.reader import NEW_SUBJECT_KEY
from ledger.round import READ, Round
from ledger.seal import MasterKey, SubjectKey
from ledger.stream import Actor, Envelope, StreamType
from projections.rebuild import TABLES
from tests.examples import (
    BRANDING,
    CAKE,
    DAY,
    HYBRID_RULES,
    KEY_ISSUED,
    LOCATION_ID,
    MINUTE,
    MONDAY,
    PROFILE,
    REWARD_ID,
)

MASTER_KEY = MasterKey(bytes(range(32)))
TILL = Actor("api_key", "till", "bearer")
Stamp = tuple[UUID, list[Any]]


class Store:
    """Appends events to any streams of one vendor, in one transaction for each call."""

    def __init__(self, url: str, vendor_id: UUID | None = None) -> None:
        self.connection: Connection[Any] = psycopg.connect(url, autocommit=True)
        self.vendor_id = vendor_id or uuid4()
        self.program_id = uuid4()
        self.subjects: dict[UUID, SubjectKey] = {}
        self.customers: dict[UUID, UUID] = {}
        self.contacts: set[Claim] = set()
        self.now = MONDAY

    def append(self, *streams: tuple[StreamType, UUID, Sequence[Any]], **envelope: Any) -> int:
        """The position of the last event."""
        round_ = Round()
        ids = [stream_id for _, stream_id, _ in streams]
        cursor = self.connection.cursor(binary=True)
        nothing: dict[str, list[Any]] = {"kinds": [], "scopes": [], "values": [], "keys": []}
        round_.take_in(cursor.execute(READ, {"streams": ids, **nothing}).fetchall())
        round_.absent(ids)
        appends = [self._append(*stream, **envelope) for stream in streams]
        happened = [(stream_id, event) for _, stream_id, events in streams for event in events]
        claims = [claimed for id_, event in happened for claimed in self._claimed(id_, event)]
        released = [
            card_of_claim(self.program_id, self.customers[id_])
            for id_, event in happened
            if isinstance(event, card.CardReplaced | card.CardClosed)
        ]
        round_._apply(Decision(appends, lambda _recorded, _view: {}, claims, released))
        row = cursor.execute(APPEND, round_.parameters()).fetchone()
        assert row is not None
        return int(row[0][-1])

    def _claimed(self, id_: UUID, event: Any) -> Iterator[Claimed]:
        if isinstance(event, card.CardEnrolled):
            assert event.qr_token.plain is not None
            yield Claimed(number_claim(event.number), id_)
            yield Claimed(qr_claim(event.qr_token.plain), id_)
            yield Claimed(card_of_claim(self.program_id, event.customer_id), id_)
            for kind in ("email", "phone"):
                given = getattr(event, kind)
                claim = given and contact_claim(MASTER_KEY, self.vendor_id, kind, given.plain)
                if claim and claim not in self.contacts:
                    self.contacts.add(claim)
                    yield Claimed(claim, event.customer_id)
        elif isinstance(event, wallet_pass.ApplePassIssued):
            yield Claimed(serial_claim(event.serial_number), id_)
        elif getattr(event, "external_ref", None):
            yield Claimed(reference_claim(self.program_id, event.external_ref), id_, event.entry_id)

    def _append(self, stream_type: StreamType, stream_id: UUID, events: Sequence[Any], **envelope: Any) -> Append:
        parent, subject = None, None
        for event in events:
            if isinstance(event, card.CardEnrolled):
                self.customers[stream_id] = event.customer_id
        if stream_type == "card":
            parent = self.program_id
            subject = self._subject(derived("subject", self.vendor_id, self.customers[stream_id]))
        elif stream_type == "staff_pin":
            parent, subject = self.vendor_id, self._subject(stream_id)
        facts = {
            "stream_type": stream_type,
            "vendor_id": self.vendor_id,
            "channel": "pos",
            "actor": TILL,
            "request_id": "r1",
            "recorded_at": events[-1].at,
            "occurred_at": events[-1].at,
            "program_id": self.program_id if stream_type in ("card", "program", "attempts", "wallet_pass") else None,
            "program_version": 1 if stream_type == "card" else None,
            **envelope,
        }
        return Append(stream_id, stream_type, parent, events, Envelope(**facts), subject)

    def _subject(self, subject_id: UUID) -> SubjectKey:
        if subject_id not in self.subjects:
            fresh = self.subjects[subject_id] = MASTER_KEY.new_subject(subject_id, self.vendor_id)
            self.connection.execute(
                NEW_SUBJECT_KEY,
                {
                    "id": subject_id,
                    "vendor_id": self.vendor_id,
                    "master_key_id": MASTER_KEY.key_id,
                    "wrapped": MASTER_KEY.wrap(fresh),
                },
            )
        return self.subjects[subject_id]

    def opened(self) -> "Store":
        """A vendor with a hybrid program."""
        key = replace(KEY_ISSUED, key_id=uuid4(), digest=uuid4().hex * 2)
        self.append(
            ("vendor", self.vendor_id, [vendor.VendorRegistered(MONDAY, f"v-{uuid4().hex}", PROFILE), key]),
            (
                "program",
                self.program_id,
                [
                    program.ProgramCreated(MONDAY, "hybrid", "EUR", HYBRID_RULES, BRANDING),
                    program.RewardDefined(MONDAY, CAKE),
                    program.ProgramActivated(MONDAY),
                ],
            ),
        )
        return self

    def rows(self, sql: str, *parameters: Any) -> list[dict[str, Any]]:
        with self.connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(sql, parameters).fetchall()

    def row(self, table: str, id_: UUID, key: str = "id") -> dict[str, Any]:
        (row,) = self.rows(f"SELECT * FROM {table} WHERE {key} = %s", id_)
        return row

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Everything in the query tables, in an order of its own."""
        return {name: sorted(self.rows(f"SELECT * FROM {name}"), key=str) for name in TABLES}


def enrolled(customer_id: UUID | None = None, at: datetime = MONDAY, **fields: Any) -> card.CardEnrolled:
    return card.CardEnrolled(
        at=at,
        customer_id=customer_id or uuid4(),
        number=new_card_number(),
        qr_token=Secret(plain=new_qr_token()),
        language="lb",
        cycle_version=1,
        **(
            {"name": Secret(plain="Marie Curie"), "email": Secret(plain=f"marie-{uuid4().hex[:8]}@example.org")}
            | fields
        ),
    )


def stamped(after: int, *, count: int = 1, points: int = 0, at: datetime = MONDAY, **fields: Any) -> card.StampsAdded:
    return card.StampsAdded(
        at=at,
        entry_id=uuid4(),
        stamps=count,
        local_date=date(at.year, at.month, at.day),
        stamps_today=count,
        daily_limit=5,
        cooldown_minutes=15,
        next_stamp_at=at + 15 * MINUTE,
        target=10,
        cycle_version=1,
        stamps_after=after,
        points_after=points,
        **fields,
    )


def bought(points: int, after: int, *, stamps: int = 0, at: datetime = MONDAY, **fields: Any) -> card.PointsEarned:
    amounts: dict[str, Any] = {"purchase_amount_minor": points * 10, "paid_with_reward_minor": 0, "currency": "EUR"}
    rate: dict[str, Any] = {"rate_points": 1, "rate_minor": 10, "minimum_minor": 0}
    balances = {"stamps_after": stamps, "points_after": after}
    return card.PointsEarned(at=at, entry_id=uuid4(), points=points, **amounts, **rate, **balances, **fields)


def redeemed(stamps: int, points: int, *, after: tuple[int, int], at: datetime = MONDAY) -> card.RewardRedeemed:
    return card.RewardRedeemed(
        at=at,
        entry_id=uuid4(),
        reward_id=REWARD_ID if points else None,
        reward_description="A slice of cake",
        reward_value_minor=420,
        stamps_spent=stamps,
        points_spent=points,
        cycle_redeemed=1,
        cycle_version=1,
        stamps_after=after[0],
        points_after=after[1],
    )


def pin_created(at: datetime = MONDAY) -> staff_pin.StaffPinCreated:
    secrets = {"name": Secret(plain="Jang"), "pin_hash": Secret(plain="$2b$10$hash")}
    return staff_pin.StaffPinCreated(
        at=at, program_id=None, staff_id=uuid4().hex, role="staff", operations=("stamp",), **secrets
    )


def busy_days(store: Store, *, cards: int, rounds: int, seed: int = 1) -> None:
    """A random but repeatable mixture of what happens at tills, several streams in each transaction."""
    rng = random.Random(seed)
    held: dict[UUID, list[int]] = {}
    pin_id = uuid4()
    store.append(("staff_pin", pin_id, [pin_created()]))
    for n in range(cards):
        card_id = uuid4()
        held[card_id] = [0, 0]
        store.append(("card", card_id, [enrolled(at=MONDAY + n * MINUTE)]))
    for n in range(rounds):
        now = MONDAY + timedelta(days=n % 60, minutes=n)
        streams: list[tuple[StreamType, UUID, Sequence[Any]]] = []
        for card_id in rng.sample(list(held), min(len(held), 4)):
            streams.append(something(rng, card_id, held[card_id], now, pin_id))
        store.append(*streams, location_id=LOCATION_ID if n % 2 else None)


def something(
    rng: random.Random, card_id: UUID, held: list[int], now: datetime, pin_id: UUID
) -> tuple[StreamType, UUID, Sequence[Any]]:
    choice = rng.random()
    if choice < 0.1:
        facts: dict[str, str | int] = {"held": held[0], "needed": 10}
        return (
            "attempts",
            attempts_id(card_id),
            [attempts.RedemptionRefused(now, card_id, "insufficient_stamps", facts)],
        )
    if choice < 0.3:
        held[1] += 70
        return "card", card_id, [bought(70, held[1], stamps=held[0], at=now, external_ref=uuid4().hex)]
    if choice < 0.4 and held[0] >= 3:
        held[0] -= 3
        return "card", card_id, [redeemed(3, 0, after=(held[0], held[1]), at=now)]
    if choice < 0.45:
        return "card", card_id, [card.CardSuspended(now, "lost?"), card.CardReinstated(now, "found")]
    held[0] += 2
    first = stamped(held[0] - 1, points=held[1], at=now, staff_pin_id=pin_id)
    return "card", card_id, [first, stamped(held[0], points=held[1], at=now + MINUTE, staff_pin_id=pin_id)]


LATER = MONDAY + DAY
