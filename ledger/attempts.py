"""What was refused on a card: which rule, which facts, when.

A stream apart from the card's, so that an attacker cannot bloat a card; staff and vendor can see why a customer was
refused. With what was asked and what the decision saw, each refusal can be decided again.
"""

from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace


class StampRefused(Struct, frozen=True):
    at: datetime
    card_id: UUID
    refusal: str  # The name of the refusal's class, such as StampCooldown.
    facts: dict[str, str | int]
    staff_pin_id: UUID | None = None
    decision_id: UUID | None = None  # None, like the next three, where it was recorded before they were.
    asked: dict[str, str | int] | None = None
    card_version: int | None = None  # The events of the card, and of its program, that the decision saw.
    program_events: int | None = None


class EarnRefused(Struct, frozen=True):
    at: datetime
    card_id: UUID
    refusal: str
    facts: dict[str, str | int]
    staff_pin_id: UUID | None = None
    decision_id: UUID | None = None
    asked: dict[str, str | int] | None = None
    card_version: int | None = None
    program_events: int | None = None


class RedemptionRefused(Struct, frozen=True):
    at: datetime
    card_id: UUID
    refusal: str
    facts: dict[str, str | int]
    staff_pin_id: UUID | None = None
    decision_id: UUID | None = None
    asked: dict[str, str | int] | None = None
    card_version: int | None = None
    program_events: int | None = None


class ReversalRefused(Struct, frozen=True):
    at: datetime
    card_id: UUID
    refusal: str
    facts: dict[str, str | int]
    staff_pin_id: UUID | None = None
    decision_id: UUID | None = None
    asked: dict[str, str | int] | None = None
    card_version: int | None = None
    program_events: int | None = None


AttemptEvent: TypeAlias = StampRefused | EarnRefused | RedemptionRefused | ReversalRefused


class Attempts(Struct, frozen=True):
    refused: int
    last_at: datetime


def evolve(attempts: Attempts | None, event: AttemptEvent) -> Attempts:
    """How often something was refused, and when last."""
    if attempts is None:
        return Attempts(1, event.at)
    return replace(attempts, refused=attempts.refused + 1, last_at=event.at)
