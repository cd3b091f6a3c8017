"""Passes in phones: that they were given out, which iPhones want to hear of changes, what Google says of saving."""

import hmac
from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

import orjson

from ledger import wallet_pass
from ledger.commands import answers
from ledger.commands.caller import Caller, just_this, utc_now
from ledger.commands.references import CardReference, serial_claim
from ledger.committer import Committer
from ledger.decision import Append, Claim, Claimed, Command, Decision, Outcome, Stream, View
from ledger.errors import CardIsErased
from ledger.ids import derived, wallet_pass_id
from ledger.reader import Reader
from ledger.seal import MasterKey, SubjectKey, unseal
from ledger.stream import Actor
from ledger.wallet_pass import Device, WalletPass, WalletPassEvent

Begin: TypeAlias = Callable[[WalletPass | None, UUID, datetime], list[WalletPassEvent]]
"""What is decided of a card's pass, whose holder is the second argument, now."""


class PassCommands:
    """What happens to passes. A phone's name and its push token are sealed with the key of the card's holder."""

    def __init__(
        self,
        committer: Committer,
        reader: Reader,
        master_key: MasterKey,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._committer = committer
        self._reader = reader
        self._registrations = master_key.derive("apple registrations")
        self._clock = clock

    async def issue_apple(self, card_id: UUID, *, pass_type_id: str, serial_number: str, caller: Caller) -> None:
        """Note that a card's pass is given out: from then on its serial number finds the card.

        Nothing is recorded where that is known already.

        Raises: CardNotFound, CardIsErased.
        """
        stream_id = wallet_pass_id(card_id)
        claim = serial_claim(serial_number)

        def decide(state: WalletPass | None, customer_id: UUID, now: datetime) -> list[WalletPassEvent]:
            return wallet_pass.issue(
                state,
                card_id=card_id,
                customer_id=customer_id,
                pass_type_id=pass_type_id,
                serial_number=serial_number,
                now=now,
            )

        if not await self._is_decided(stream_id, decide):
            await self._begin(card_id, decide, caller, claim)

    async def create_at_google(self, card_id: UUID, *, class_id: str, object_id: str, caller: Caller) -> None:
        """Note that a card is to be at Google; from then on it is written there, and kept as the card is.

        Nothing is recorded where that is known already.

        Raises: CardNotFound, CardIsErased.
        """

        def decide(state: WalletPass | None, customer_id: UUID, now: datetime) -> list[WalletPassEvent]:
            return wallet_pass.create_at_google(
                state, card_id=card_id, customer_id=customer_id, class_id=class_id, object_id=object_id, now=now
            )

        if not await self._is_decided(wallet_pass_id(card_id), decide):
            await self._begin(card_id, decide, caller, None)

    async def confirm_at_google(self, card_id: UUID, *, has_users: bool, actor: Actor) -> None:
        """Note what Google says of a card: whether it is in anybody's wallet. Nothing is recorded where it is known."""
        found = await self._reader.stream(wallet_pass_id(card_id))
        if found is None or found.vendor_id is None:
            return
        caller = Caller(found.vendor_id, actor, "wallet", f"google-{card_id}")

        def decide(view: View) -> Decision:
            stream, now = _pass(view, found), self._clock()
            events = wallet_pass.confirm_at_google(stream.state, has_users=has_users, now=now)
            return self._decided(stream, events, caller, now, None, {})

        await self._submit(found, decide, caller)

    async def find_apple(self, pass_type_id: str, serial_number: str) -> Stream | None:
        """The pass of this type with this serial number; its state tells the card. None where there is none."""
        claim = serial_claim(serial_number)
        view = await self._reader.view([], [claim])
        owner = view.owner(claim)
        stream = view.stream(owner.stream_id) if owner else None
        if stream is None or not isinstance(stream.state, WalletPass) or stream.state.pass_type_id != pass_type_id:
            return None
        return stream

    async def register(self, found: Stream, *, device: str, push_token: str, caller: Caller) -> Outcome:
        """A phone wants to hear when the pass changes; the same phone with another push token takes the new one.

        Args:
            found: As `find_apple` gives it.

        Returns: `{"created": …}`, true where the phone was not registered for this pass; nothing is recorded where
            it was, with the same token.

        Raises: CardIsErased where the holder was forgotten.
        """
        return await self._register(found, device, push_token, caller, are_new_welcome=True)

    async def exchange_token(self, found: Stream, *, device: str, push_token: str, caller: Caller) -> Outcome:
        """A phone that is registered for the pass is reached by another push token now.

        Nothing is recorded where it is not registered, or with this token.

        Raises: CardIsErased where the holder was forgotten.
        """
        return await self._register(found, device, push_token, caller, are_new_welcome=False)

    async def _register(
        self, found: Stream, device: str, push_token: str, caller: Caller, *, are_new_welcome: bool
    ) -> Outcome:
        subject = await self._subject(found)
        registration_id = self._registration_id(found.state, device)

        def is_known(known: Device) -> bool:
            return _plain(known, subject, found.stream_id) == push_token

        def decide(view: View) -> Decision:
            if view.stream(subject.subject_id) is not None:
                raise CardIsErased
            stream, now = _pass(view, found), self._clock()
            created = str(registration_id) not in stream.state.devices
            if created and not are_new_welcome:
                return self._decided(stream, [], caller, now, subject, {"created": False})
            events = wallet_pass.register(
                stream.state,
                registration_id=registration_id,
                device=device,
                push_token=push_token,
                is_known=is_known,
                now=now,
            )
            return self._decided(stream, events, caller, now, subject, {"created": created})

        return await self._submit(found, decide, caller, subject.subject_id)

    async def unregister(self, found: Stream, *, device: str, caller: Caller) -> Outcome:
        """The phone does not want to hear any more. Nothing is recorded where it was not registered."""
        registration_id = self._registration_id(found.state, device)

        def decide(view: View) -> Decision:
            stream, now = _pass(view, found), self._clock()
            events = wallet_pass.unregister(stream.state, registration_id=registration_id, reason="asked", now=now)
            return self._decided(stream, events, caller, now, None, {})

        return await self._submit(found, decide, caller)

    async def forget(self, card_id: UUID, registration_id: UUID, *, gone_at: datetime, actor: Actor) -> bool:
        """Unregister a phone that Apple calls gone, unless it registered again since.

        Returns: Whether it is unregistered now.
        """
        found = await self._reader.stream(wallet_pass_id(card_id))
        if found is None or found.vendor_id is None:
            return True
        caller = Caller(found.vendor_id, actor, "wallet", f"forget-{registration_id}")

        def decide(view: View) -> Decision:
            stream, now = _pass(view, found), self._clock()
            known = stream.state.devices.get(str(registration_id))
            events: list[WalletPassEvent] = []
            if known is not None and known.registered_at < gone_at:
                events = wallet_pass.unregister(stream.state, registration_id=registration_id, reason="gone", now=now)
            answer = {"forgotten": known is None or bool(events)}
            return self._decided(stream, events, caller, now, None, answer)

        outcome = await self._submit(found, decide, caller)
        return bool(orjson.loads(outcome.answer)["forgotten"])

    # ------------------------------------------------------------------ pieces

    async def _is_decided(self, stream_id: UUID, decide: Begin) -> bool:
        """Whether there is nothing left to decide, so that who downloads a pass again waits for no round."""
        stream = (await self._reader.view([stream_id])).stream(stream_id)
        return stream is not None and not decide(stream.state, stream.state.customer_id, self._clock())

    async def _begin(self, card_id: UUID, begin: Begin, caller: Caller, claim: Claim | None) -> None:
        stream_id, card = wallet_pass_id(card_id), CardReference(str(card_id))
        claims = [] if claim is None else [claim]

        def decide(view: View) -> Decision:
            of, now = card.find(view, caller.vendor_id), self._clock()
            if of.state.status == "erased":
                raise CardIsErased
            stream = view.stream(stream_id)
            events = begin(stream.state if stream else None, of.state.customer_id, now)
            envelope = caller.envelope("wallet_pass", now, program_id=of.parent_id)
            return Decision(
                appends=[Append(stream_id, "wallet_pass", of.parent_id, events, envelope)] if events else [],
                claims=[Claimed(free, stream_id) for free in claims if view.owner(free) is None],
                answer=lambda *_: {},
            )

        command = Command(
            vendor_id=caller.vendor_id, once=just_this(), decide=decide, streams=[stream_id, card_id], claims=claims
        )
        await self._committer.submit(command)

    async def _submit(self, found: Stream, decide: Callable[[View], Decision], caller: Caller, *more: UUID) -> Outcome:
        streams = [found.stream_id, *more]
        return await self._committer.submit(
            Command(vendor_id=caller.vendor_id, once=just_this(), decide=decide, streams=streams)
        )

    def _decided(
        self,
        stream: Stream,
        events: list[WalletPassEvent],
        caller: Caller,
        now: datetime,
        subject: SubjectKey | None,
        answer: dict[str, bool],
    ) -> Decision:
        envelope = caller.envelope("wallet_pass", now, program_id=stream.parent_id)
        append = Append(stream.stream_id, "wallet_pass", stream.parent_id, events, envelope, subject)
        return Decision(appends=[append] if events else [], answer=lambda *_: dict(answer))

    def _registration_id(self, state: WalletPass, device: str) -> UUID:
        """The same for the same phone and pass, and telling nothing about either."""
        assert state.pass_type_id is not None and state.serial_number is not None
        named = "\0".join((device, state.pass_type_id, state.serial_number)).encode()
        return UUID(bytes=hmac.digest(self._registrations, named, "sha256")[:16])

    async def _subject(self, stream: Stream) -> SubjectKey:
        assert stream.vendor_id is not None
        return await self._reader.subject_key(derived(*answers.subject_of(stream.vendor_id, stream.state.customer_id)))


def _pass(view: View, found: Stream) -> Stream:
    stream = view.stream(found.stream_id)
    assert stream is not None, "a pass once issued stays in the stream"
    return stream


def _plain(device: Device, subject: SubjectKey, stream_id: UUID) -> str | None:
    return unseal(device.push_token, subject, stream_id=stream_id).plain
