"""Enrolment, look-up, and a card's life: suspended, reinstated, closed, replaced."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from ledger import card as cards
from ledger import card_life
from ledger.card import Card, CardEvent
from ledger.commands import answers
from ledger.commands.caller import Caller, just_this, utc_now
from ledger.commands.references import (
    CardReference,
    card_of_claim,
    contact_claim,
    customer_claim,
    number_claim,
    program_of,
    qr_claim,
)
from ledger.committer import Committer
from ledger.decision import Append, Claim, Claimed, Command, Decision, Once, Outcome, Stream, View
from ledger.errors import CardIsBusy, CardIsErased, ProgramIsInactive, VersionMismatch
from ledger.ids import derived, new_card_number, new_qr_token
from ledger.personal import Secret
from ledger.program import Program
from ledger.reader import Reader
from ledger.seal import MasterKey, SubjectKey, unseal

SECRET_FIELDS = ("qr_token", "name", "email", "phone")


@dataclass(frozen=True, slots=True)
class Customer:
    """Whom a card is for, as the enrolment names them. Email and phone are in their normal form."""

    id: UUID | None = None
    name: str | None = None
    email: str | None = None
    phone: str | None = None
    language: str = "en"
    has_consented: bool = False


class CardCommands:
    """What happens to whole cards. Personal data is sealed before it is recorded and opened only to answer."""

    def __init__(
        self,
        committer: Committer,
        reader: Reader,
        master_key: MasterKey,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._committer = committer
        self._reader = reader
        self._master_key = master_key
        self._clock = clock

    # ------------------------------------------------------------------ enrolment

    async def enrol(
        self, program_id: UUID, customer: Customer, *, caller: Caller, once: Once | None = None, is_trusted: bool = True
    ) -> Outcome:
        """Give a customer a card; a customer who has one gets that one, and nothing is recorded.

        A vendor's staff is trusted to say who somebody is, by id, email or phone. Somebody at home is not: without
        `is_trusted` it is always a new customer, so nobody can find out or take over another person's card. Somebody
        who was forgotten and comes again is a new customer too, also under an id of the vendor's own.

        Raises: ProgramNotFound, ProgramIsInactive; CardIsErased for a retry of what was asked before the erasure.
        """
        once = once or just_this()
        contacts = self._contacts(caller.vendor_id, customer) if is_trusted else []
        customer_id, subject, anew = await self._whom(customer, contacts, caller.vendor_id, once)
        card_id = derived("card", once.command_id)
        open_card = card_of_claim(program_id, customer_id)
        number, token = new_card_number(), new_qr_token()

        def decide(view: View) -> Decision:
            caller.must_be_valid(view)
            program_stream = program_of(view, program_id, caller.vendor_id)
            program: Program = program_stream.state
            if view.stream(subject.subject_id) is not None:
                raise CardIsBusy  # Forgotten this very moment; asked again, they are somebody new.
            existing = view.owner(open_card)
            if existing is not None:
                return Decision([], lambda _, after: self._answer(after, existing.stream_id, subject, created=False))
            if not program.is_active:
                raise ProgramIsInactive
            if any(
                (found := view.owner(claim)) and found.stream_id != customer_id
                for claim in (anew if customer.id else contacts)
            ):
                raise CardIsBusy  # Somebody enrolled the same person this very moment; asked again, they are found.
            now = self._clock()
            event = cards.CardEnrolled(
                at=now,
                customer_id=customer_id,
                number=number,
                qr_token=Secret(token),
                language=customer.language,
                cycle_version=program.rules_at(now).version,
                name=secret(customer.name),
                email=secret(customer.email),
                phone=secret(customer.phone),
                has_consented=customer.has_consented,
            )
            free = [claim for claim in (*contacts, *anew) if view.owner(claim) is None]
            return Decision(
                appends=[self._append(card_id, program_stream, caller, now, [event], subject)],
                claims=[
                    Claimed(number_claim(number), card_id),
                    Claimed(qr_claim(token), card_id),
                    Claimed(open_card, card_id),
                    *(Claimed(claim, customer_id) for claim in free),
                ],
                answer=lambda _, after: self._answer(after, card_id, subject, created=True),
            )

        # The claim on the open card also brings its state row, when there is one.
        return await self._committer.submit(
            Command(
                vendor_id=caller.vendor_id,
                once=once,
                decide=decide,
                streams=[program_id, card_id, subject.subject_id, *caller.streams()],
                claims=[open_card, *contacts, *anew],
                subject=subject,
            )
        )

    async def _whom(
        self, customer: Customer, contacts: list[Claim], vendor_id: UUID, once: Once
    ) -> tuple[UUID, SubjectKey, list[Claim]]:
        """Who is meant: their id, their key, and what finds them again where the id given was a forgotten person's."""
        named = [customer_claim(vendor_id, customer.id)] if customer.id else []
        known = await self._reader.view([], [*contacts, *named])
        owners = [owner.stream_id for claim in (named or contacts) if (owner := known.owner(claim))]
        fresh = derived("customer", once.command_id)
        customer_id = owners[0] if owners else customer.id or fresh
        try:
            return customer_id, await self._subject_of(vendor_id, customer_id), []
        except CardIsErased:
            await self._reader.known(once)  # A retry of what was asked before the erasure ends here.
            return fresh, await self._subject_of(vendor_id, fresh), named

    async def _subject_of(self, vendor_id: UUID, customer_id: UUID) -> SubjectKey:
        return await self._reader.subject_key_or_new(derived(*answers.subject_of(vendor_id, customer_id)), vendor_id)

    def _contacts(self, vendor_id: UUID, customer: Customer) -> list[Claim]:
        given = (("email", customer.email), ("phone", customer.phone))
        return [contact_claim(self._master_key, vendor_id, kind, value) for kind, value in given if value]

    # ------------------------------------------------------------------ look-up

    async def look_up(self, reference: CardReference, vendor_id: UUID | None) -> dict[str, Any]:
        """A card as it is now, from its own stream, with what was sealed opened, and its `program`.

        Raises: CardNotFound, the same for a card that is not there and for somebody else's.
        """
        view = await self._reader.view(reference.streams, reference.claims)
        stream = reference.find(view, vendor_id)
        program = program_of(view, stream.parent_id, vendor_id)
        found = answers.card(stream, program.state, self._clock(), await self.personal(stream))
        found["program"] = answers.program(program, self._clock())
        return found

    async def personal(self, stream: Stream) -> dict[str, str | None]:
        """The sealed fields of a card in plain text; nothing where the person was forgotten."""
        subject = await self._subject_if_any(stream)
        return opened(stream, subject) if subject else {}

    # ------------------------------------------------------------------ life

    # Each raises: CardNotFound, CardIsReplaced, CardIsErased, VersionMismatch, CallerRevoked; and as it says.

    async def suspend(self, reference: CardReference, *, reason: str, **asked: Any) -> Outcome:
        """Nothing is earned or redeemed until it is reinstated. Raises: CardIsSuspended, CardIsClosed."""
        return await self._change(
            reference, lambda card, now, _: card_life.suspend(card, reason=reason, now=now), **asked
        )

    async def reinstate(self, reference: CardReference, *, reason: str, **asked: Any) -> Outcome:
        """It can be used again. Raises: CardIsNotSuspended, CardIsClosed."""
        return await self._change(
            reference, lambda card, now, _: card_life.reinstate(card, reason=reason, now=now), **asked
        )

    async def close(self, reference: CardReference, *, reason: str, **asked: Any) -> Outcome:
        """What is left is forfeited by an event. The customer may enrol again. Raises: CardIsClosed."""
        return await self._change(
            reference,
            lambda card, now, command_id: card_life.close(card, entry_id=command_id, reason=reason, now=now),
            frees_customer=True,
            **asked,
        )

    async def _change(
        self,
        reference: CardReference,
        decide_change: Callable[[Card, datetime, UUID], list[CardEvent]],
        *,
        caller: Caller,
        once: Once | None = None,
        expected_version: int | None = None,
        frees_customer: bool = False,
    ) -> Outcome:
        once = once or just_this()
        before = reference.find(await self._reader.view(reference.streams, reference.claims), caller.vendor_id)
        subject = await self._subject_if_any(before)
        personal = opened(before, subject) if subject else {}

        def decide(view: View) -> Decision:
            caller.must_be_valid(view)
            stream = reference.find(view, caller.vendor_id)
            program_stream = program_of(view, stream.parent_id, caller.vendor_id)
            _must_be_version(stream, expected_version)
            now = max(self._clock(), stream.state.last_at)
            events = decide_change(stream.state, now, once.command_id)
            freed = [card_of_claim(program_stream.stream_id, stream.state.customer_id)] if frees_customer else []
            return Decision(
                appends=[self._append(stream.stream_id, program_stream, caller, now, events, None)],
                releases=freed,
                answer=lambda recorded, after: _card(after, recorded[-1].stream_id, now, personal),
            )

        return await self._committer.submit(
            Command(
                vendor_id=caller.vendor_id,
                once=once,
                decide=decide,
                streams=[*reference.streams, *caller.streams()],
                claims=reference.claims,
                remember_refusals=True,
                subject=subject,
            )
        )

    async def replace(
        self,
        reference: CardReference,
        *,
        reason: str,
        caller: Caller,
        once: Once | None = None,
        expected_version: int | None = None,
    ) -> Outcome:
        """A new card for a lost one. Everything moves; the old number and QR code answer that it was replaced.

        Raises: CardIsClosed.
        """
        once = once or just_this()
        before = reference.find(await self._reader.view(reference.streams, reference.claims), caller.vendor_id)
        subject = await self._subject(before)
        personal = opened(before, subject)
        card_id, number, token = derived("card", once.command_id), new_card_number(), new_qr_token()

        def decide(view: View) -> Decision:
            caller.must_be_valid(view)
            stream = reference.find(view, caller.vendor_id)
            program_stream = program_of(view, stream.parent_id, caller.vendor_id)
            _must_be_version(stream, expected_version)
            if any(getattr(stream.state, name) != getattr(before.state, name) for name in ("name", "email", "phone")):
                raise CardIsBusy  # Whose it is was put right this very moment: asked again, the new card says so too.
            now = max(self._clock(), stream.state.last_at)
            details = {name: secret(personal[name]) for name in ("name", "email", "phone")}
            ended, enrolled = card_life.replace_lost(
                replace(stream.state, **details),
                new_card=card_id,
                number=number,
                qr_token=Secret(token),
                old_card=stream.stream_id,
                reason=reason,
                now=now,
            )
            open_card = card_of_claim(program_stream.stream_id, stream.state.customer_id)
            return Decision(
                appends=[
                    self._append(stream.stream_id, program_stream, caller, now, ended, None),
                    self._append(card_id, program_stream, caller, now, enrolled, subject, causation=stream.stream_id),
                ],
                releases=[open_card],
                claims=[
                    Claimed(number_claim(number), card_id),
                    Claimed(qr_claim(token), card_id),
                    Claimed(open_card, card_id),
                ],
                answer=lambda _, after: _card(after, card_id, now, {**personal, "qr_token": token}),
            )

        return await self._committer.submit(
            Command(
                vendor_id=caller.vendor_id,
                once=once,
                decide=decide,
                streams=[*reference.streams, card_id, *caller.streams()],
                claims=reference.claims,
                remember_refusals=True,
                subject=subject,
            )
        )

    # ------------------------------------------------------------------ pieces

    async def _subject(self, stream: Stream) -> SubjectKey:
        assert stream.vendor_id is not None
        return await self._reader.subject_key(derived(*answers.subject_of(stream.vendor_id, stream.state.customer_id)))

    async def _subject_if_any(self, stream: Stream) -> SubjectKey | None:
        try:
            return await self._subject(stream)
        except CardIsErased:
            return None

    def _answer(self, after: View, card_id: UUID, subject: SubjectKey, *, created: bool) -> dict[str, Any]:
        stream = after.stream(card_id)
        assert stream is not None
        return {"created": created, **_card(after, card_id, self._clock(), opened(stream, subject))}

    def _append(
        self,
        card_id: UUID,
        program: Stream,
        caller: Caller,
        now: datetime,
        events: list[CardEvent],
        subject: SubjectKey | None,
        causation: UUID | None = None,
    ) -> Append:
        envelope = caller.envelope(
            "card",
            now,
            program_id=program.stream_id,
            program_version=program.state.rules_at(now).version,
            causation_id=causation,
        )
        return Append(card_id, "card", program.stream_id, events, envelope, subject)


def _card(after: View, card_id: UUID, now: datetime, personal: dict[str, str | None]) -> dict[str, Any]:
    stream = after.stream(card_id)
    assert stream is not None
    return answers.card(stream, program_of(after, stream.parent_id, None).state, now, personal)


def opened(stream: Stream, subject: SubjectKey) -> dict[str, str | None]:
    """SECRET_FIELDS of a card in plain text."""
    plain: dict[str, str | None] = {}
    for name in SECRET_FIELDS:
        sealed: Secret | None = getattr(stream.state, name)
        plain[name] = None if sealed is None else unseal(sealed, subject, stream_id=stream.stream_id).plain
    return plain


def secret(text: str | None) -> Secret | None:
    """Plain text, to be sealed when it is recorded."""
    return None if text is None else Secret(text)


def _must_be_version(stream: Stream, expected: int | None) -> None:
    if expected is not None and expected != stream.version:
        raise VersionMismatch(version=stream.version)
