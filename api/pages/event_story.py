"""Any event of the stream in a reader's words: what happened, on which card, who did it and where."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args
from uuid import UUID

from api.pages.card_story import TITLES, what, where, who
from api.pages.words import Words
from ledger.attempts import AttemptEvent
from ledger.card import CardEvent
from ledger.stream import Recorded
from projections.refusals import decision_of

# Events that are no card's, by their names.
LABELS: Mapping[str, str] = {
    "vendor-registered": "Shop registered",
    "vendor-updated": "Shop’s details changed",
    "vendor-suspended": "Shop suspended",
    "vendor-reinstated": "Shop reinstated",
    "api-key-issued": "Key issued",
    "api-key-revoked": "Key revoked",
    "program-created": "Program created",
    "program-rules-changed": "Program’s rules changed",
    "reward-defined": "Reward added",
    "reward-changed": "Reward changed",
    "reward-retired": "Reward taken out",
    "program-branding-changed": "Program’s looks changed",
    "program-activated": "Program opened",
    "program-deactivated": "Program closed",
    "staff-pin-created": "PIN created",
    "staff-pin-changed": "PIN changed",
    "staff-pin-rejected": "Wrong PIN",
    "staff-pin-accepted": "PIN accepted",
    "staff-pin-locked": "PIN locked",
    "staff-pin-unlocked": "PIN unlocked",
    "staff-pin-revoked": "PIN taken away",
    "staff-session-opened": "Staff signed in at a till",
    "apple-pass-issued": "Pass given out for Apple Wallet",
    "apple-device-registered": "iPhone wants to hear of changes",
    "apple-device-unregistered": "iPhone hears of changes no more",
    "google-pass-created": "Card made for Google Wallet",
    "google-pass-saved": "Card saved in Google Wallet",
    "google-pass-removed": "Card removed from Google Wallet",
    "subject-key-destroyed": "Person forgotten",
    "projection-checked": "Tables compared with the stream",
}


@dataclass(frozen=True, slots=True)
class Story:
    """An event as a line of a list.

    Args:
        card_id: The card it is about, where that stands in it.
        version: Of the card's history; None for an event of another one.
        decision_id: Of a refusal: by which it can be asked why.
    """

    recorded: Recorded
    what: str
    who: str
    where: str
    card_id: UUID | None
    version: int | None
    decision_id: UUID | None


def story(words: Words, recorded: Recorded, staff: Mapping[UUID, str]) -> Story:
    """Only what stands in the event in clear is told.

    Args:
        staff: What shops call their staff, by the id of their PIN.
    """
    event, envelope = recorded.event, recorded.envelope
    is_cards = isinstance(event, get_args(CardEvent))
    return Story(
        recorded,
        what=_what(words, recorded, staff),
        who=who(words, envelope.actor.type, _pin_of(event), staff),
        where=where(words, envelope.channel, envelope.terminal_id),
        card_id=recorded.stream_id if is_cards else getattr(event, "card_id", None),
        version=recorded.version if is_cards else None,
        decision_id=decision_of(recorded) if isinstance(event, get_args(AttemptEvent)) else None,
    )


def _what(words: Words, recorded: Recorded, staff: Mapping[UUID, str]) -> str:
    event: Any = recorded.event
    if isinstance(event, get_args(CardEvent)):
        return what(words, event)
    if isinstance(event, get_args(AttemptEvent)):
        return words.text("Refused: {why}", why=words.text(TITLES.get(event.refusal, event.refusal)))
    told = words.text(LABELS[recorded.name])
    return f"{told}: {staff[recorded.stream_id]}" if recorded.stream_id in staff else told


def _pin_of(event: Any) -> UUID | None:
    found: UUID | None = getattr(event, "staff_pin_id", None)
    return found
