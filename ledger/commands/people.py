"""People behind a vendor's cards: what is known of them, everything that is held about them, and forgetting them.

Forgetting is one transaction: the person's key is destroyed, look-ups go, and the stream says so. What follows from the
stream follows, now or at the next start: query tables, phones, whatever else reads it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from ledger import card_life, wallet_pass
from ledger.commands import answers
from ledger.commands.caller import Caller, utc_now
from ledger.committer import APPEND
from ledger.decision import Append, Command, Decision, Once, Outcome, Stream, View
from ledger.errors import CardIsErased, CustomerIsErased, CustomerNotFound
from ledger.held import PLACES
from ledger.ids import attempts_id, derived, wallet_pass_id
from ledger.personal import Secret
from ledger.reader import Reader
from ledger.recorder import LOCK_STORE
from ledger.round import READ, Round
from ledger.seal import MasterKey, SealBroken, SubjectKey, farewell_digest, seal, unseal
from ledger.stream import Recorded
from ledger.subject import ErasureReason, SubjectKeyDestroyed

FAREWELL_FOR = timedelta(days=7)  # As long as Apple keeps a push for a phone that is off.
ENROLLED = "card-enrolled"

# The cards as the query tables know them, and those whose enrolment is not in there yet.
CARDS_OF = """
SELECT id FROM loyalty_cards WHERE customer_id = %(customer_id)s AND vendor_id = %(vendor_id)s
UNION
SELECT originator_id FROM stored_events
WHERE notification_id > (SELECT position FROM projections WHERE name = 'query_tables') AND topic = %(enrolled)s
    AND convert_from(state, 'UTF8')::json ->> 'vendor_id' = %(vendor_id)s::text
    AND convert_from(state, 'UTF8')::json -> 'data' ->> 'customer_id' = %(customer_id)s::text
"""
SUBJECT_KEY = "SELECT vendor_id, wrapped_key FROM subject_keys WHERE subject_id = %s FOR UPDATE"
FAREWELL = """
INSERT INTO wallet_farewells
    (id, card_id, vendor_id, pass_type_id, serial_number, device_digest, push_token, position, until)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


@dataclass(frozen=True, slots=True)
class _Person:
    """Everything of a customer that has a stream."""

    subject_id: UUID
    customer_id: UUID
    vendor_id: UUID
    cards: list[Stream]
    passes: list[Stream]

    def parameters(self) -> dict[str, Any]:
        """What the statements of `ledger.held` know."""
        cards = [card.stream_id for card in self.cards]
        around = [id_ for card_id in cards for id_ in (attempts_id(card_id), wallet_pass_id(card_id))]
        return {
            "subject_id": self.subject_id,
            "customer_id": self.customer_id,
            "vendor_id": self.vendor_id,
            "cards": cards,
            "streams": [*cards, *around],
            "phones": [UUID(id_) for stream in self.passes for id_ in stream.state.devices],
        }


class PeopleCommands:
    """What is asked about people. A person is one vendor's customer: another vendor's is somebody else."""

    def __init__(self, reader: Reader, master_key: MasterKey, clock: Callable[[], datetime] = utc_now) -> None:
        self._reader = reader
        self._master_key = master_key
        self._clock = clock

    async def find(self, customer_id: UUID, vendor_id: UUID) -> dict[str, Any]:
        """A customer's cards, and the receipt if they were forgotten; nothing personal.

        Raises: CustomerNotFound, the same for one that is not there and for another vendor's.
        """
        async with self._reader.connection() as connection:
            view, person = await self._read(connection, customer_id, vendor_id, None)
        erased = view.stream(person.subject_id)
        return {
            "id": customer_id,
            "vendor_id": vendor_id,
            "is_erased": erased is not None,
            "cards": [
                {
                    "id": card.stream_id,
                    "program_id": card.parent_id,
                    "card_number": card.state.number,
                    "status": card.state.status,
                }
                for card in person.cards
            ],
            "receipt": receipt((await self._reader.events(person.subject_id))[0]) if erased else None,
        }

    async def is_erased(self, of_theirs: Stream) -> bool:
        """Whether the person behind a card or a pass was forgotten."""
        assert of_theirs.vendor_id is not None
        subject_id = derived(*answers.subject_of(of_theirs.vendor_id, of_theirs.state.customer_id))
        return await self._reader.stream(subject_id) is not None

    # ------------------------------------------------------------------ told

    async def export(self, customer_id: UUID, vendor_id: UUID) -> dict[str, Any]:
        """Everything that is held about a customer, opened: for them, and for nobody else.

        Returns:
            `customer` as they are now; `consents`; a list for each section of `ledger.held.PLACES`; and `places`, which
            says what stands where. Times are UTC.

        Raises:
            CustomerNotFound.
            CustomerIsErased: There is nothing left that could be told.

        Source: one snapshot of the database. The query tables in it may trail the stream by a few milliseconds.
        """
        async with self._reader.connection() as connection, connection.transaction():
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            view, person = await self._read(connection, customer_id, vendor_id, None)
            _must_be_known(view, person)
            subject = await self._key(connection, person, for_update=False)
            known, rows = person.parameters(), connection.cursor(row_factory=dict_row)
            sections: dict[str, list[dict[str, Any]]] = {}
            for place in PLACES:
                if place.tell is not None and place.section is not None:
                    await rows.execute(place.tell, known)
                    sections[place.section] = [
                        _opened(row, subject, row.get("stream_id")) for row in await rows.fetchall()
                    ]
        newest = max(person.cards, key=lambda card: card.state.enrolled_at)
        return {
            "customer_id": customer_id,
            "vendor_id": vendor_id,
            "exported_at": self._clock(),
            "customer": _opened(
                {name: _sealed(getattr(newest.state, name)) for name in ("name", "email", "phone")},
                subject,
                newest.stream_id,
            )
            | {"language": newest.state.language},
            "consents": [
                {
                    "card_id": card.stream_id,
                    "has_consented": card.state.has_consented,
                    "at": card.state.enrolled_at,
                }
                for card in person.cards
            ],
            **sections,
            "places": [
                {"table": place.table, "columns": place.columns, "what": place.what, "clearing": place.clearing}
                for place in PLACES
            ],
        }

    # ------------------------------------------------------------------ forgotten

    async def erase(
        self, customer_id: UUID, *, reason: ErasureReason, caller: Caller, once: Once, expects_phones: bool = True
    ) -> Outcome:
        """Forget a customer, for good. Cards keep what they count, and their history its hashes.

        Nothing is recorded while it runs: it holds the store's lock for some milliseconds.

        Args:
            expects_phones: Whether phones can be told: else none is remembered for it.

        Returns: The receipt: what was cleared, when, by whom.

        Raises:
            CustomerNotFound.
            CustomerIsErased: Under another key, or without one, they were forgotten before.
            StoreAway: It happened or it did not; asked again under the same key, it happens once.
        """
        async with self._reader.connection() as connection, connection.transaction():
            await connection.execute(LOCK_STORE)
            view, person = await self._read(connection, customer_id, caller.vendor_id, once, caller.streams())
            farewells: list[tuple[Any, ...]] = []
            cleared: dict[str, int] = {}
            now = max([self._clock(), *(card.state.last_at for card in person.cards)])

            def decide(known: View) -> Decision:
                caller.must_be_valid(known)
                _must_be_known(known, person)
                return self._decided(person, cleared, len(farewells), reason, caller, now)

            if once.command_id not in view.keys and view.stream(person.subject_id) is None:
                if expects_phones:
                    subject = await self._key(connection, person, for_update=True)
                    farewells = [farewell for stream in person.passes for farewell in self._farewells(stream, subject)]
                cleared |= await _clear(connection, person)
            result = view.decide(Command(caller.vendor_id, once, decide))
            outcome = result.told()
            if result.is_stored:
                return outcome
            cursor = connection.cursor(binary=True)
            await cursor.execute(APPEND, view.parameters())
            positions = (await cursor.fetchone() or ([],))[0]
            for farewell in farewells:
                await connection.execute(FAREWELL, (*farewell, positions[-1], now + FAREWELL_FOR))
            outcome.position = positions[-1]
        return outcome

    def _decided(
        self,
        person: _Person,
        cleared: dict[str, int],
        phones: int,
        reason: ErasureReason,
        caller: Caller,
        now: datetime,
    ) -> Decision:
        appends = []
        for card in person.cards:
            events: Sequence[Any] = card_life.erase(card.state, now=now)
            envelope = caller.envelope("card", now, program_id=card.parent_id)
            appends.append(Append(card.stream_id, "card", card.parent_id, events, envelope))
        for stream in person.passes:
            envelope = caller.envelope("wallet_pass", now, program_id=stream.parent_id)
            gone = wallet_pass.unregister_all(stream.state, now=now)
            appends.append(Append(stream.stream_id, "wallet_pass", stream.parent_id, gone, envelope))
        cards = tuple(card.stream_id for card in person.cards)
        destroyed = SubjectKeyDestroyed(now, person.customer_id, reason, cards, phones, cleared)
        envelope = caller.envelope("subject", now)
        appends.append(Append(person.subject_id, "subject", person.vendor_id, [destroyed], envelope))
        return Decision(
            appends=[append for append in appends if append.events],
            answer=lambda recorded, _: receipt(recorded[-1]),
        )

    def _farewells(self, stream: Stream, subject: SubjectKey) -> list[tuple[Any, ...]]:
        """A row for each phone, by which it is reached once more: nothing in it can be read without the master key."""
        assert stream.vendor_id is not None
        farewells = []
        for id_, device in stream.state.devices.items():
            name = unseal(device.device, subject, stream_id=stream.stream_id).plain
            token = unseal(device.push_token, subject, stream_id=stream.stream_id)
            assert name is not None
            key = self._master_key.farewell_key(UUID(id_), stream.vendor_id)
            sealed = seal(token, key, stream_id=UUID(id_), version=0, name="push_token").sealed
            digest = farewell_digest(self._master_key, name)
            state = stream.state
            row = (UUID(id_), state.card_id, stream.vendor_id, state.pass_type_id, state.serial_number, digest, sealed)
            farewells.append(row)
        return farewells

    # ------------------------------------------------------------------ pieces

    async def _read(
        self,
        connection: AsyncConnection[Any],
        customer_id: UUID,
        vendor_id: UUID,
        once: Once | None,
        around: Sequence[UUID] = (),
    ) -> tuple[Round, _Person]:
        """Raises: CustomerNotFound where the vendor never had such a customer."""
        subject_id = derived(*answers.subject_of(vendor_id, customer_id))
        asked = {"customer_id": customer_id, "vendor_id": vendor_id, "enrolled": ENROLLED}
        cards = [row[0] for row in await (await connection.execute(CARDS_OF, asked)).fetchall()]
        if not cards:
            raise CustomerNotFound
        passes = [wallet_pass_id(card_id) for card_id in cards]
        streams = [subject_id, *cards, *passes, *around]
        nothing: dict[str, list[Any]] = {"kinds": [], "scopes": [], "values": []}
        keys = [] if once is None else [once.command_id]
        cursor = connection.cursor(binary=True)
        await cursor.execute(READ, {"streams": streams, "keys": keys, **nothing})
        view = Round()
        view.take_in(await cursor.fetchall())
        view.absent(streams)
        found = [stream for id_ in cards if (stream := view.stream(id_))]
        found.sort(key=lambda card: (card.state.enrolled_at, card.stream_id))
        there = [stream for id_ in passes if (stream := view.stream(id_))]
        return view, _Person(subject_id, customer_id, vendor_id, found, there)

    async def _key(self, connection: AsyncConnection[Any], person: _Person, *, for_update: bool) -> SubjectKey:
        sql = SUBJECT_KEY if for_update else SUBJECT_KEY.removesuffix(" FOR UPDATE")
        row = await (await connection.execute(sql, (person.subject_id,))).fetchone()
        if row is None:
            raise CardIsErased
        return self._master_key.unwrap(person.subject_id, *row)


async def _clear(connection: AsyncConnection[Any], person: _Person) -> dict[str, int]:
    """Take out what is to be taken out. Returns: rows by table."""
    cleared: dict[str, int] = {}
    for place in PLACES:
        if place.forget is not None:
            done = await connection.execute(place.forget, person.parameters())
            cleared[place.table] = cleared.get(place.table, 0) + done.rowcount
    return cleared


def _must_be_known(view: View, person: _Person) -> None:
    erased = view.stream(person.subject_id)
    if erased is not None:
        raise CustomerIsErased(erased_at=erased.state.erased_at)


def receipt(recorded: Recorded) -> dict[str, Any]:
    """What whoever asked keeps as a proof that a person was forgotten. It tells nobody who it was."""
    event: SubjectKeyDestroyed = recorded.event
    actor = recorded.envelope.actor
    return {
        "receipt_id": recorded.stream_id,
        "customer_id": event.customer_id,
        "vendor_id": recorded.envelope.vendor_id,
        "erased_at": event.at,
        "reason": event.reason,
        "erased_by": {"type": actor.type, "id": actor.id, "authenticated_by": actor.authenticated_by},
        "cards": event.cards,
        "phones": event.phones,
        "cleared": [{"table": table, "rows": rows} for table, rows in sorted(event.cleared.items())],
        "hash": recorded.digest,
        "prev_hash": recorded.prev,
    }


def _sealed(secret: Secret | None) -> dict[str, str] | None:
    return None if secret is None or secret.sealed is None else {"sealed": secret.sealed}


def _opened(value: Any, subject: SubjectKey, stream_id: UUID | None) -> Any:
    """The same with each ciphertext opened; None where it was sealed with another key."""
    if isinstance(value, dict):
        if value.keys() == {"sealed"} and stream_id is not None:
            return _plain(value["sealed"], subject, stream_id)
        return {name: _opened(part, subject, stream_id) for name, part in value.items()}
    if isinstance(value, list):
        return [_opened(part, subject, stream_id) for part in value]
    return value


def _plain(sealed: str, subject: SubjectKey, stream_id: UUID) -> str | None:
    try:
        return unseal(Secret(sealed=sealed), subject, stream_id=stream_id).plain
    except SealBroken:
        return None
