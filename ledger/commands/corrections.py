"""What is known of a person put right, on each of their cards, those that have ended among them."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from uuid import UUID

from ledger import card_life
from ledger.commands import answers
from ledger.commands.caller import Caller, just_this, utc_now
from ledger.commands.cards import opened, secret
from ledger.commands.people import CARDS_OF, ENROLLED
from ledger.commands.references import contact_claim, program_of
from ledger.committer import Committer
from ledger.decision import Append, Claim, Claimed, Command, Decision, Once, Outcome, Stream, View
from ledger.errors import CardIsBusy, CardIsErased, CustomerIsErased, CustomerNotFound
from ledger.ids import derived
from ledger.reader import Reader
from ledger.seal import MasterKey

CONTACTS = ("email", "phone")
SEALED = ("name", *CONTACTS)
DETAILS = (*SEALED, "language")

Details = Mapping[str, str | None]


class Corrections:
    def __init__(
        self, committer: Committer, reader: Reader, master_key: MasterKey, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._committer = committer
        self._reader = reader
        self._master_key = master_key
        self._clock = clock

    async def correct(self, customer_id: UUID, given: Details, *, caller: Caller, once: Once | None = None) -> Outcome:
        """Change a customer's name, email, phone or language.

        From then on they are found by what is given, and no more by what it takes the place of. An email or phone that
        leads to somebody else goes on leading there.

        Args:
            given: Any of DETAILS, email and phone in their normal form. What is left out stays; None takes away, but
                for the language, which everybody has.

        Returns:
            `id`; DETAILS as they are then, of the newest card; and `cards`, the ids of all. One event is recorded for
            each card on which something differs; none where nothing does.

        Raises:
            CustomerNotFound: The same for one that is not there and for another vendor's.
            CustomerIsErased: There is nobody left to be right about.
            CardIsBusy: Their details were changed, or a card replaced, this very moment; asked again, it is done after.
            KeyReused, CallerRevoked, StoreAway: As for every command.

        Source: the cards as the query tables know them, and those enrolled since.
        """
        once = once or just_this()
        subject_id = derived(*answers.subject_of(caller.vendor_id, customer_id))
        asked = {"customer_id": customer_id, "vendor_id": caller.vendor_id, "enrolled": ENROLLED}
        card_ids = [row[0] for row in await self._reader.rows(CARDS_OF, asked)]
        if not card_ids:
            raise CustomerNotFound
        before = await self._reader.view([*card_ids, subject_id])
        while newer := [card.state.replaced_by for card in _cards(before, card_ids) if _is_new(card, card_ids)]:
            card_ids += newer  # Since the rows were read.
            before = await self._reader.view([*card_ids, subject_id])
        _must_be_known(before, subject_id)
        try:
            subject = await self._reader.subject_key(subject_id)
        except CardIsErased:
            _must_be_known(await self._reader.view([subject_id]), subject_id)
            raise
        cards = sorted(_cards(before, card_ids), key=lambda card: (card.state.enrolled_at, card.stream_id))
        known = {card.stream_id: {**opened(card, subject), "language": card.state.language} for card in cards}
        wanted = {card_id: {name: given.get(name, was[name]) for name in DETAILS} for card_id, was in known.items()}
        left, taken = (self._contacts(caller.vendor_id, details.values()) for details in (known, wanted))
        asked_for = self._contacts(caller.vendor_id, [{name: given.get(name) for name in CONTACTS}])

        def decide(view: View) -> Decision:
            caller.must_be_valid(view)
            _must_be_known(view, subject_id)
            now = max(self._clock(), *(card.state.last_at for card in _cards(view, card_ids)))
            appends: list[Append] = []
            for card, is_now in zip(cards, _cards(view, [card.stream_id for card in cards]), strict=True):
                if any(getattr(is_now.state, name) != getattr(card.state, name) for name in (*DETAILS, "replaced_by")):
                    raise CardIsBusy
                details = wanted[card.stream_id]
                if all(details[name] == known[card.stream_id][name] for name in DETAILS):
                    continue
                language = details["language"] or is_now.state.language
                sealed = {name: secret(details[name]) for name in SEALED}
                events = card_life.change_details(is_now.state, language=language, **sealed, now=now)
                program = program_of(view, card.parent_id, caller.vendor_id)
                version = program.state.rules_at(now).version
                envelope = caller.envelope("card", now, program_id=program.stream_id, program_version=version)
                appends.append(Append(card.stream_id, "card", program.stream_id, events, envelope, subject))
            newest = wanted[cards[-1].stream_id]
            return Decision(
                appends,
                lambda *_: {"id": customer_id, **newest, "cards": [card.stream_id for card in cards]},
                claims=[Claimed(claim, customer_id) for claim in asked_for if view.owner(claim) is None],
                releases=[
                    claim
                    for claim in left - taken
                    if (owner := view.owner(claim)) is not None and owner.stream_id == customer_id
                ],
            )

        return await self._committer.submit(
            Command(
                vendor_id=caller.vendor_id,
                once=once,
                decide=decide,
                streams=[*card_ids, subject_id, *caller.streams()],
                claims=[*left, *taken],
                subject=subject,
            )
        )

    def _contacts(self, vendor_id: UUID, several: Iterable[Details]) -> set[Claim]:
        return {
            contact_claim(self._master_key, vendor_id, kind, value)
            for details in several
            for kind in CONTACTS
            if (value := details[kind]) is not None
        }


def _must_be_known(view: View, subject_id: UUID) -> None:
    erased = view.stream(subject_id)
    if erased is not None:
        raise CustomerIsErased(erased_at=erased.state.erased_at)


def _is_new(card: Stream, card_ids: list[UUID]) -> bool:
    return card.state.replaced_by is not None and card.state.replaced_by not in card_ids


def _cards(view: View, card_ids: list[UUID]) -> list[Stream]:
    found = [view.stream(card_id) for card_id in card_ids]
    return [card for card in found if card is not None]
