"""The lines of a file to import: what may stand in each, and the card's past that they add up to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

from pydantic import AfterValidator, Field, ValidationError, model_validator

from api.people import Email, PhoneText, phone_number
from api.shapes import (
    Body,
    Currency,
    ExternalRef,
    Language,
    Line,
    MoneyMinor,
    Name,
    OrderReference,
    Reason,
    Timestamp,
    Uuid,
)
from api.validation import described, invalid
from ledger import history
from ledger.earning import UNITS_MAX
from ledger.history import Lifetime, OpeningBalance, Past, PastEntry
from ledger.ids import derived, is_card_number
from ledger.program import Program


def _number(text: str) -> str:
    if not is_card_number(text):
        raise invalid("wrong_form", "must be 12 digits, the last one a Luhn check digit; without it a new one is drawn")
    return text


CustomerText = Annotated[Line, Field(min_length=1, max_length=100)]
CardNumber = Annotated[str, AfterValidator(_number)]
Held = Annotated[int, Field(ge=0, le=UNITS_MAX)]
Some = Annotated[int, Field(ge=1, le=UNITS_MAX)]
Change = Annotated[int, Field(ge=-UNITS_MAX, le=UNITS_MAX)]


class _Naming(Body):
    """Which card a line is about."""

    customer: CustomerText | None = None
    card_number: CardNumber | None = None
    program: Uuid | None = None

    @model_validator(mode="after")
    def _names_a_card(self) -> "_Naming":
        if self.customer is None and self.card_number is None:
            raise invalid("missing", "must name the card by customer or card_number")
        return self


class _Figures(_Naming):
    """What a card held, and what was ever earned and redeemed, when the history in the file begins."""

    stamps: Held = 0
    points: Held = 0
    total_stamps_earned: Held | None = None
    stamps_redeemed: Held = 0
    total_points_earned: Held | None = None
    points_redeemed: Held = 0

    @property
    def has_figures(self) -> bool:
        return not self.model_fields_set.isdisjoint(_Figures.__annotations__)

    def lifetime(self) -> Lifetime:
        stamps, points = self.total_stamps_earned, self.total_points_earned
        return Lifetime(
            self.stamps if stamps is None else stamps,
            self.stamps_redeemed,
            self.points if points is None else points,
            self.points_redeemed,
        )


class CardLine(_Figures):
    name: Name | None = None
    email: Email | None = None
    phone: PhoneText | None = None
    language: Language = "en"
    has_consented: bool = False
    enrolled_at: Timestamp | None = None


class OpeningLine(_Figures):
    occurred_at: Timestamp | None = None


class _Happened(_Naming):
    occurred_at: Timestamp


class _Referenced(_Happened):
    order_reference: OrderReference | None = None
    external_ref: ExternalRef | None = None


class StampLine(_Referenced):
    stamps: Some = 1


class PointsLine(_Referenced):
    points: Held
    purchase_amount_minor: MoneyMinor = 0
    paid_with_reward_minor: MoneyMinor = 0
    currency: Currency | None = None


class StampRewardLine(_Referenced):
    stamps: Some
    reward: Name | None = None
    reward_value_minor: MoneyMinor | None = None


class PointsRewardLine(_Referenced):
    points: Some
    reward: Name
    reward_value_minor: MoneyMinor | None = None


class AdjustmentLine(_Happened):
    stamps: Change = 0
    points: Change = 0
    reason: Reason

    @model_validator(mode="after")
    def _changes_one(self) -> "AdjustmentLine":
        if bool(self.stamps) == bool(self.points):
            raise invalid("not_allowed", "must change either stamps or points")
        return self


EntryLine: TypeAlias = OpeningLine | StampLine | PointsLine | StampRewardLine | PointsRewardLine | AdjustmentLine
AnyLine: TypeAlias = CardLine | EntryLine
Type: TypeAlias = Literal[
    "card", "opening_balance", "stamp_earned", "points_earned", "stamp_redeemed", "points_redeemed", "adjustment"
]
TYPES: dict[str, type[AnyLine]] = {
    "card": CardLine,
    "opening_balance": OpeningLine,
    "stamp_earned": StampLine,
    "points_earned": PointsLine,
    "stamp_redeemed": StampRewardLine,
    "points_redeemed": PointsRewardLine,
    "adjustment": AdjustmentLine,
}
FIELDS = frozenset({"type"}.union(*(cls.model_fields for cls in TYPES.values())))


def parsed(plain: Mapping[str, Any]) -> AnyLine | list[str]:
    """One line in its shape, or what does not fit in it, in sentences that show no value."""
    values = dict(plain)
    kind = values.pop("type", "card")
    cls = TYPES.get(kind) if isinstance(kind, str) else None
    if cls is None:
        return [f"type must be one of {', '.join(TYPES)}"]
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        found = described(error.errors(include_url=False, include_input=False), "en")
        return [_sentence(one, kind) for one in found]


def _sentence(error: Mapping[str, Any], kind: str) -> str:
    field = "" if error["field"] == "body" else error["field"]
    if error["code"] == "unknown_field":
        return f"{field} is not a field of a {kind} line"
    return f"{field} {error['message']}".strip()


# ------------------------------------------------------------------ what they add up to


@dataclass(frozen=True, slots=True)
class Numbered:
    """A line, and where in the file it begins and ends."""

    begins: int
    ends: int
    line: AnyLine


@dataclass(frozen=True, slots=True)
class Scheme:
    """The program a card is in."""

    id: UUID
    program: Program


def past_of(
    card: Numbered, entries: Sequence[Numbered], scheme: Scheme, *, vendor_id: UUID, country: str, now: datetime
) -> Past | list[tuple[int, str]]:
    """A card with its past, oldest first; or what is wrong with which line."""
    line = card.line
    assert isinstance(line, CardLine)
    wrong: list[tuple[int, str]] = []
    phone = None if line.phone is None else phone_number(line.phone, country)
    if line.phone is not None and phone is None:
        wrong.append((card.begins, "phone must be a phone number"))
    openings = [one for one in entries if isinstance(one.line, OpeningLine)]
    if line.has_figures:
        openings.insert(0, card)
    wrong += [(one.begins, "is a second opening balance of this card") for one in openings[1:]]
    past_entries = [_entry(one.begins, one.line, scheme) for one in entries if not isinstance(one.line, OpeningLine)]
    enrolled_at = line.enrolled_at
    first_at = min((entry.at for entry in past_entries), default=now)
    lifetime = Lifetime()
    if openings:
        figures = openings[0].line
        assert isinstance(figures, _Figures)
        lifetime = figures.lifetime()
        opened_at = figures.occurred_at if isinstance(figures, OpeningLine) else None
        opened_at = opened_at or enrolled_at or first_at
        past_entries.append(OpeningBalance(openings[0].begins, opened_at, figures.stamps, figures.points))
        first_at = min(first_at, opened_at)
    past_entries.sort(key=_order)
    wrong += [(entry.line, "occurred_at lies in the future") for entry in past_entries if entry.at > now]
    if enrolled_at is not None and enrolled_at > now:
        wrong.append((card.begins, "enrolled_at lies in the future"))
    if wrong:
        return wrong
    return Past(
        line=card.begins,
        last_line=max([card.ends, *(one.ends for one in entries)]),
        program_id=scheme.id,
        customer_id=_customer_id(vendor_id, line),
        is_named=line.customer is not None,
        enrolled_at=enrolled_at or first_at,
        language=line.language,
        number=line.card_number,
        name=line.name,
        email=line.email,
        phone=phone,
        has_consented=line.has_consented,
        lifetime=lifetime,
        entries=tuple(past_entries),
    )


def _order(entry: PastEntry) -> tuple[datetime, bool, int]:
    return entry.at, not isinstance(entry, OpeningBalance), entry.line


def _entry(number: int, line: AnyLine, scheme: Scheme) -> PastEntry:
    match line:
        case StampLine():
            return history.StampsGiven(number, line.occurred_at, line.stamps, line.order_reference, line.external_ref)
        case PointsLine():
            return history.PointsGiven(
                number,
                line.occurred_at,
                line.points,
                line.purchase_amount_minor,
                line.paid_with_reward_minor,
                line.currency,
                line.order_reference,
                line.external_ref,
            )
        case StampRewardLine() | PointsRewardLine():
            is_stamps = isinstance(line, StampRewardLine)
            return history.RewardTaken(
                number,
                line.occurred_at,
                stamps=line.stamps if isinstance(line, StampRewardLine) else 0,
                points=line.points if isinstance(line, PointsRewardLine) else 0,
                reward_id=None if is_stamps or line.reward is None else _reward_id(line.reward, scheme),
                description=line.reward,
                value_minor=line.reward_value_minor,
                order_reference=line.order_reference,
                external_ref=line.external_ref,
            )
        case AdjustmentLine():
            return history.Adjustment(number, line.occurred_at, line.stamps, line.points, line.reason)
        case _:
            raise AssertionError(f"{type(line).__name__} is no entry")


def _reward_id(name: str, scheme: Scheme) -> UUID:
    """The program's reward of that name; one that the program offers no more gets an id of its own."""
    offered = (reward.reward_id for reward in scheme.program.rewards if reward.name == name)
    return next(offered, None) or derived("imported reward", scheme.id, name)


def _customer_id(vendor_id: UUID, line: CardLine) -> UUID:
    """A UUID is the vendor's own id of the customer, as in an enrolment; any other name gets an id derived from it."""
    if line.customer is None:
        return derived("customer of number", vendor_id, line.card_number)
    try:
        return UUID(line.customer) if len(line.customer) == 36 else derived("customer", vendor_id, line.customer)
    except ValueError:
        return derived("customer", vendor_id, line.customer)
