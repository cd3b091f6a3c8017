"""What happened to a card, in the reader's words: a line for each event, and for each refusal between them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, assert_never
from uuid import UUID

from api.pages.words import STATUSES, Words
from api.problems import PROBLEMS
from ledger.card import (
    Card,
    CardClosed,
    CardEnrolled,
    CardErased,
    CardEvent,
    CardReinstated,
    CardReplaced,
    CardSuspended,
    CustomerDetailsChanged,
    EarnReversed,
    PointsEarned,
    QrTokenRotated,
    RedemptionReversed,
    RewardRedeemed,
    StampsAdded,
    UnitsAdjusted,
    UnitsForfeited,
)
from ledger.stream import Envelope, evolve
from projections.proofs.card_history import Doubt, History, Row
from projections.table import Row as Refusal

TITLES = {kind.__name__: problem.title for kind, problem in PROBLEMS.items()}
ACTORS = {
    "admin": "Administration",
    "api_key": "A system of the shop",
    "staff": "Staff",
    "customer": "The customer",
    "system": "The service itself",
}
CHANNELS = {
    "pos": "At the counter",
    "offline": "At the counter, without a connection",
    "vendor_ui": "On the shop’s pages",
    "admin_ui": "On the administration’s pages",
    "public": "On the customer’s page",
    "wallet": "In a wallet",
    "import": "Brought in from another system",
    "system": "By the service itself",
}
UNREADABLE = "This event cannot be read any more."
SENTENCES = (*ACTORS.values(), *CHANNELS.values(), *STATUSES.values(), UNREADABLE)


@dataclass(frozen=True, slots=True)
class Line:
    """One event of a card, or one refusal, which has no version: it stands in a history of its own.

    Args:
        after: The card after it; None where the events up to here cannot be added up.
        decision_id: By which it can be asked why; None where nobody decided.
    """

    version: int | None
    what: str
    who: str
    where: str
    occurred_at: datetime | None
    recorded_at: datetime | None
    after: Card | None = None
    stamps_delta: int = 0
    points_delta: int = 0
    digest: str | None = None
    prev: str | None = None
    decision_id: UUID | None = None
    doubt: Doubt | None = None
    envelope: Envelope | None = None


def lines(words: Words, history: History, doubts: Mapping[int, Doubt], staff: Mapping[UUID, str]) -> list[Line]:
    """All events, oldest first, each with the card as it was after it.

    Args:
        staff: What the shop calls its staff, by the id of their PIN.
    """
    told: list[Line] = []
    card: Card | None = None
    is_whole = True
    for row in history.rows:
        before, is_whole = card, is_whole and _follows(row, len(told), card)
        if is_whole and row.recorded is not None:
            card = evolve("card", card, row.recorded.event)
        told.append(_line(words, row, before, card if is_whole else None, doubts.get(row.version), staff))
    return told


def _follows(row: Row, already: int, card: Card | None) -> bool:
    if row.recorded is None or row.version != already + 1:
        return False
    return isinstance(row.recorded.event, CardEnrolled) == (card is None)


def _line(
    words: Words, row: Row, before: Card | None, after: Card | None, doubt: Doubt | None, staff: Mapping[UUID, str]
) -> Line:
    if row.recorded is None:
        unreadable = words.text(UNREADABLE)
        return Line(row.version, unreadable, "", "", None, None, digest=row.digest, prev=row.prev, doubt=doubt)
    event, envelope = row.recorded.event, row.recorded.envelope
    return Line(
        version=row.version,
        what=what(words, event),
        who=who(words, envelope.actor.type, getattr(event, "staff_pin_id", None), staff),
        where=where(words, envelope.channel, envelope.terminal_id),
        occurred_at=envelope.occurred_at,
        recorded_at=envelope.recorded_at,
        after=after,
        stamps_delta=_change(before, after, "stamps"),
        points_delta=_change(before, after, "points"),
        digest=row.digest,
        prev=row.prev,
        decision_id=getattr(event, "entry_id", None) if not isinstance(event, UnitsForfeited) else None,
        doubt=doubt,
        envelope=envelope,
    )


def _change(before: Card | None, after: Card | None, name: str) -> int:
    if after is None:
        return 0
    was: int = 0 if before is None else getattr(before, name)
    now: int = getattr(after, name)
    return now - was


def refused(words: Words, refusal: Refusal, staff: Mapping[UUID, str]) -> Line:
    """A refusal as a line."""
    kind: str = refusal["refusal"]
    title = words.text(TITLES.get(kind, kind))
    return Line(
        version=None,
        what=words.text("Refused: {why}", why=title),
        who=who(words, refusal["actor_type"], refusal["staff_pin_id"], staff),
        where=where(words, refusal["channel"], refusal["terminal_id"]),
        occurred_at=refusal["at"],
        recorded_at=refusal["at"],
        decision_id=refusal["id"],
    )


def newest_first(told: Sequence[Line], refusals: Sequence[Line]) -> list[Line]:
    """Events and refusals in one list; events that cannot be read stand where their version is."""
    merged: list[Line] = []
    left = sorted(refusals, key=lambda line: _time(line), reverse=True)
    for line in reversed(told):
        while left and line.recorded_at is not None and _time(left[0]) >= line.recorded_at:
            merged.append(left.pop(0))
        merged.append(line)
    return [*merged, *left]


def _time(line: Line) -> datetime:
    assert line.recorded_at is not None, "a refusal was recorded at some time"
    return line.recorded_at


def who(words: Words, actor_type: str, staff_pin_id: UUID | None, staff: Mapping[UUID, str]) -> str:
    """Who did something; of staff, by what the shop calls them."""
    told = words.text(ACTORS.get(actor_type, actor_type))
    return f"{told}: {staff[staff_pin_id]}" if staff_pin_id is not None and staff_pin_id in staff else told


def where(words: Words, channel: str, terminal_id: str | None) -> str:
    """By which way it came, and at which till."""
    told = words.text(CHANNELS.get(channel, channel))
    return f"{told}: {terminal_id}" if terminal_id else told


def what(words: Words, event: CardEvent) -> str:
    """What happened, in a sentence."""
    match event:
        case CardEnrolled():
            if event.replaces is not None:
                return words.text("Card given out in place of a lost one")
            return words.text("Card given out")
        case StampsAdded():
            return words.count("{count} stamp added", "{count} stamps added", event.stamps)
        case PointsEarned():
            return words.count("{count} point earned", "{count} points earned", event.points)
        case RewardRedeemed():
            return words.text("Reward redeemed: {reward}", reward=event.reward_description)
        case EarnReversed():
            return words.text("Taken back: {reason}", reason=event.reason)
        case RedemptionReversed():
            return words.text("Reward given back: {reason}", reason=event.reason)
        case UnitsAdjusted():
            return words.text("Changed by hand: {reason}", reason=event.reason)
        case CardSuspended():
            return words.text("Suspended: {reason}", reason=event.reason)
        case CardReinstated():
            return words.text("Reinstated: {reason}", reason=event.reason)
        case CardReplaced():
            return words.text("Replaced by a new card: {reason}", reason=event.reason)
        case UnitsForfeited():
            return words.text("What was left on it was forfeited")
        case CardClosed():
            return words.text("Closed: {reason}", reason=event.reason)
        case CustomerDetailsChanged():
            return words.text("The customer’s details were changed")
        case QrTokenRotated():
            return words.text("The card got a new QR code")
        case CardErased():
            return words.text("The person behind the card was forgotten")
        case _:
            assert_never(event)


# ------------------------------------------------------------------ two versions beside each other

FIELDS = {
    "status": "State",
    "stamps": "Stamps",
    "points": "Points",
    "total_stamps_earned": "Stamps ever earned",
    "rewards_redeemed": "Stamp rewards redeemed",
    "total_points_earned": "Points ever earned",
    "points_redeemed": "Points redeemed",
    "last_stamp_at": "Last stamp",
    "last_points_at": "Last points",
    "last_redemption_at": "Last redemption",
    "language": "Language",
    "cycle_version": "Rules its stamps count toward",
}
SECRETS = {"name": "Name", "email": "Email", "phone": "Phone", "qr_token": "QR code"}


def difference(words: Words, before: Card | None, after: Card, zone: str) -> list[tuple[str, str, str]]:
    """What differs: a name, what was, what is. What is encrypted is only said to have changed."""
    rows = []
    for name, label in FIELDS.items():
        was, is_ = _field(words, before, name, zone), _field(words, after, name, zone)
        if was != is_:
            rows.append((words.text(label), was, is_))
    for name, label in SECRETS.items():
        old, new = getattr(before, name, None), getattr(after, name)
        if old != new:
            rows.append((words.text(label), _secret(words, old), _secret(words, new)))
    return rows


def _field(words: Words, card: Card | None, name: str, zone: str) -> str:
    value: Any = None if card is None else last_stamp_at(card) if name == "last_stamp_at" else getattr(card, name)
    match value:
        case None:
            return "–"
        case datetime():
            return words.second(value, zone)
        case int():
            return words.number(value)
        case _:
            return words.text(STATUSES.get(value, value))


def _secret(words: Words, value: Any) -> str:
    return "–" if value is None or not value.sealed else words.text("encrypted")


def last_stamp_at(card: Card) -> datetime | None:
    return card.recent_stamps[-1].at if card.recent_stamps else None
