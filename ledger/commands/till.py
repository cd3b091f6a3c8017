"""What a till asks of a card: stamp it, earn points, redeem a reward, put something right."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from ledger import attempts, earning, reversal, rewards
from ledger.card import Card, CardEvent
from ledger.commands import answers
from ledger.commands.caller import Caller, utc_now
from ledger.commands.references import CardReference, program_of, reference_claim
from ledger.committer import Committer
from ledger.decision import Append, Claim, Claimed, Command, Decision, Once, Outcome, Stream, View
from ledger.errors import CardNotFound, DuplicateReference, PinRequired, Refused, VersionMismatch
from ledger.ids import attempts_id
from ledger.program import Program
from ledger.reader import Reader
from ledger.staff_pin import Operation, StaffPin
from ledger.stream import Recorded


@dataclass(frozen=True, slots=True)
class Asked:
    """What every till command says beside its own matter."""

    caller: Caller
    once: Once
    order_reference: str | None = None
    external_ref: str | None = None
    expected_version: int | None = None
    is_dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Allowed:
    """An operation, and the refusal it would meet now."""

    operation: Operation
    refusal: Refused | None


@dataclass(frozen=True, slots=True)
class _Till:
    """A card as the round finds it, and the one who acts on it."""

    card: Card
    program: Program
    program_id: UUID
    now: datetime
    staff: StaffPin | None
    staff_pin_id: UUID | None


Decide = Callable[[_Till], list[CardEvent]]
Wanted = dict[str, str | int]
"""What a command asks beside the card: kept with its refusal."""


class TillCommands:
    """Each method but `allowed` records one entry, or refuses and says why. The same key again changes nothing.

    A dry run records nothing. What a rule refuses is recorded too, but for an adjustment.

    Raises:
        CardNotFound, CardIsReplaced, CardIsErased: Nothing is recorded.
        RuleRefused: Its own rule, such as StampCooldown; recorded as said.
        StaffRefused: The PIN or session is missing, wrong, locked, or may not do this.
        VersionMismatch, KeyReused, CallerRevoked, Busy: Nothing is recorded, but for StoreAway, which does not know.
    """

    def __init__(self, committer: Committer, reader: Reader, clock: Callable[[], datetime] = utc_now) -> None:
        self._committer = committer
        self._reader = reader
        self._clock = clock

    async def stamp(self, card: CardReference, *, count: int, asked: Asked) -> Outcome:
        """Add stamps."""

        def decide(till: _Till) -> list[CardEvent]:
            return earning.stamp(
                till.card,
                till.program,
                entry_id=asked.once.command_id,
                count=count,
                now=till.now,
                staff_pin_id=till.staff_pin_id,
                order_reference=asked.order_reference,
                external_ref=asked.external_ref,
            )

        return await self._submit(card, asked, "stamp", decide, attempts.StampRefused, {"count": count})

    async def earn(
        self,
        card: CardReference,
        *,
        purchase_amount_minor: int,
        paid_with_reward_minor: int,
        currency: str,
        asked: Asked,
    ) -> Outcome:
        """Points for a purchase. Amounts are in minor units of the program's currency."""

        def decide(till: _Till) -> list[CardEvent]:
            return earning.earn_points(
                till.card,
                till.program,
                entry_id=asked.once.command_id,
                purchase_amount_minor=purchase_amount_minor,
                paid_with_reward_minor=paid_with_reward_minor,
                currency=currency,
                now=till.now,
                staff_pin_id=till.staff_pin_id,
                order_reference=asked.order_reference,
                external_ref=asked.external_ref,
            )

        wanted: Wanted = {
            "purchase_amount_minor": purchase_amount_minor,
            "paid_with_reward_minor": paid_with_reward_minor,
            "currency": currency,
        }
        return await self._submit(card, asked, "earn", decide, attempts.EarnRefused, wanted)

    async def redeem(self, card: CardReference, *, reward_id: UUID | None, asked: Asked) -> Outcome:
        """Swap units for a reward; without `reward_id` for the stamp reward."""

        def decide(till: _Till) -> list[CardEvent]:
            return rewards.redeem(
                till.card,
                till.program,
                entry_id=asked.once.command_id,
                reward_id=reward_id,
                now=till.now,
                staff_pin_id=till.staff_pin_id,
                order_reference=asked.order_reference,
                external_ref=asked.external_ref,
            )

        wanted: Wanted = {} if reward_id is None else {"reward_id": str(reward_id)}
        return await self._submit(card, asked, "redeem", decide, attempts.RedemptionRefused, wanted)

    async def adjust(self, card: CardReference, *, stamps: int, points: int, reason: str, asked: Asked) -> Outcome:
        """A signed change by hand."""

        def decide(till: _Till) -> list[CardEvent]:
            return earning.adjust(
                till.card,
                till.program,
                entry_id=asked.once.command_id,
                stamps=stamps,
                points=points,
                reason=reason,
                now=till.now,
                staff_pin_id=till.staff_pin_id,
            )

        return await self._submit(card, asked, "adjust", decide, None, {})

    async def reverse(self, entry_id: UUID, *, amount_minor: int | None, reason: str, asked: Asked) -> Outcome:
        """Take an entry back, a purchase perhaps in part.

        Raises: EntryNotFound, and every refusal of `ledger.reversal.reverse`.
        """
        original = await self._reader.entry(entry_id, asked.caller.vendor_id)
        card = await self._where_it_stands_now(original.stream_id)

        def decide(till: _Till) -> list[CardEvent]:
            is_manager = till.staff is not None and till.staff.role == "manager"
            has_scope = till.staff is None and "reverse" in asked.caller.may
            return reversal.reverse(
                till.card,
                till.program,
                original.event,
                entry_id=asked.once.command_id,
                amount_minor=amount_minor,
                reason=reason,
                asker=reversal.Asker(till.staff_pin_id, may_reverse_any=is_manager or has_scope),
                now=till.now,
            )

        wanted: Wanted = {"entry_id": str(entry_id)}
        if amount_minor is not None:
            wanted["amount_minor"] = amount_minor
        return await self._submit(CardReference(str(card)), asked, "reverse", decide, attempts.ReversalRefused, wanted)

    async def allowed(self, card: CardReference, vendor_id: UUID) -> list[Allowed]:
        """What one stamp, one purchase or one redemption would meet right now. Nothing is recorded.

        Raises: CardNotFound.
        """
        view = await self._reader.view(card.streams, card.claims)
        stream = card.find(view, vendor_id)
        program: Program = program_of(view, stream.parent_id, vendor_id).state
        now = max(self._clock(), stream.state.last_at)
        tries: dict[Operation, Callable[[], object]] = {
            "stamp": lambda: earning.stamp(stream.state, program, entry_id=stream.stream_id, count=1, now=now),
            "earn": lambda: earning.earn_points(
                stream.state,
                program,
                entry_id=stream.stream_id,
                purchase_amount_minor=0,
                paid_with_reward_minor=0,
                currency=program.currency,
                now=now,
            ),
            "redeem": lambda: rewards.redeem_any(stream.state, program, now=now),
        }
        return [Allowed(operation, _refusal_of(attempt)) for operation, attempt in tries.items()]

    async def _where_it_stands_now(self, card_id: UUID) -> UUID:
        """The card itself, or the one that replaced it: an entry can be undone after its card was lost."""
        while (stream := await self._reader.stream(card_id)) is not None and stream.state.replaced_by is not None:
            card_id = stream.state.replaced_by
        return card_id

    async def _submit(
        self,
        card: CardReference,
        asked: Asked,
        operation: Operation,
        decide: Decide,
        refused_event: type[Any] | None,
        wanted: Wanted,
    ) -> Outcome:
        caller = asked.caller
        reference = await self._reference(card, asked)
        now = self._clock()

        def decide_on_view(view: View) -> Decision:
            nonlocal now  # A refusal is noted at the very moment it was decided at, or it could not be decided again.
            now = self._clock()
            stream, till = self._till(view, card, caller, operation, now)
            if asked.expected_version is not None and asked.expected_version != stream.version:
                raise VersionMismatch(version=stream.version)
            events = decide(till)
            return Decision(
                appends=[_append(stream, till, caller, events)],
                claims=_claimed(view, reference, stream, asked),
                answer=lambda recorded, after: _entry(recorded[-1], after),
            )

        def note_refusal(view: View, refusal: Refused) -> Append | None:
            if refused_event is None:
                return None
            return _noted(view, card, refused_event, refusal, asked, wanted, now)

        return await self._committer.submit(
            Command(
                vendor_id=caller.vendor_id,
                once=asked.once,
                decide=decide_on_view,
                streams=[*card.streams, *caller.streams()],
                claims=[*card.claims, *reference],
                note_refusal=note_refusal,
                remember_refusals=True,
                is_dry_run=asked.is_dry_run,
            )
        )

    async def _reference(self, card: CardReference, asked: Asked) -> list[Claim]:
        """The claim of the till's own reference. Its scope is the card's program, so the card is looked at first."""
        if asked.external_ref is None:
            return []
        stream = card.find(await self._reader.view(card.streams, card.claims), asked.caller.vendor_id)
        assert stream.parent_id is not None
        return [reference_claim(stream.parent_id, asked.external_ref)]

    def _till(
        self, view: View, card: CardReference, caller: Caller, operation: Operation, now: datetime
    ) -> tuple[Stream, _Till]:
        caller.must_be_valid(view)
        stream = card.find(view, caller.vendor_id)
        program_stream = program_of(view, stream.parent_id, caller.vendor_id)
        program: Program = program_stream.state
        now = max(now, stream.state.last_at)
        staff = caller.proven_staff(view, operation, program_stream.stream_id, now)
        if staff is None and operation in ("stamp", "earn", "redeem") and program.rules_at(now).require_staff_pin:
            raise PinRequired
        pin_id = caller.staff.pin_id if caller.staff else None
        return stream, _Till(stream.state, program, program_stream.stream_id, now, staff, pin_id)


def _refusal_of(attempt: Callable[[], object]) -> Refused | None:
    try:
        attempt()
    except Refused as refusal:
        return refusal
    return None


def _append(stream: Stream, till: _Till, caller: Caller, events: Sequence[CardEvent]) -> Append:
    envelope = caller.envelope(
        "card", till.now, program_id=till.program_id, program_version=till.program.rules_at(till.now).version
    )
    return Append(stream.stream_id, "card", till.program_id, events, envelope)


def _claimed(view: View, reference: list[Claim], stream: Stream, asked: Asked) -> list[Claimed]:
    for claim in reference:
        owner = view.owner(claim)
        if owner is not None and owner.entry_id is not None:
            raise DuplicateReference(entry_id=owner.entry_id)
    return [Claimed(claim, stream.stream_id, asked.once.command_id) for claim in reference]


def _entry(recorded: Recorded, after: View) -> dict[str, Any]:
    stream = after.stream(recorded.stream_id)
    assert stream is not None
    return answers.entry(recorded, stream.state, program_of(after, stream.parent_id, None).state)


def _noted(
    view: View,
    card: CardReference,
    event: type[Any],
    refusal: Refused,
    asked: Asked,
    wanted: Wanted,
    now: datetime,
) -> Append | None:
    """The refusal as an event on the card's attempts stream; None where there is no card to speak of."""
    caller = asked.caller
    try:
        stream = card.find(view, caller.vendor_id)
    except CardNotFound:
        return None
    facts = {name: value if isinstance(value, int) else str(value) for name, value in refusal.facts.items()}
    pin_id = caller.staff.pin_id if caller.staff else None
    now = max(now, stream.state.last_at)
    program = program_of(view, stream.parent_id, None)
    envelope = caller.envelope(
        "attempts",
        now,
        program_id=program.stream_id,
        program_version=program.state.rules_at(now).version,
    )
    noted = event(
        now,
        stream.stream_id,
        type(refusal).__name__,
        facts,
        pin_id,
        decision_id=asked.once.command_id,
        asked=wanted,
        card_version=stream.version,
        program_events=program.version,
    )
    return Append(attempts_id(stream.stream_id), "attempts", stream.stream_id, [noted], envelope)
