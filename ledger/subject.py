"""A person behind a vendor's cards, from the moment they are forgotten: then there is something to say of them.

Nothing here tells who it was. That the stream exists is what keeps the person's key destroyed.
"""

from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

from msgspec import Struct

# A choice and no words: in words, somebody would name the person.
ErasureReason: TypeAlias = Literal["asked", "consent_withdrawn", "no_longer_needed", "law"]


class SubjectKeyDestroyed(Struct, frozen=True):
    """The key is gone, and with it everything that was sealed with it."""

    at: datetime
    customer_id: UUID
    reason: ErasureReason
    cards: tuple[UUID, ...]
    phones: int  # That had a pass of the person's and were told.
    cleared: dict[str, int]  # Rows taken out in the same moment, by table.


class Subject(Struct, frozen=True):
    customer_id: UUID
    erased_at: datetime


def evolve(_: Subject | None, event: SubjectKeyDestroyed) -> Subject:
    return Subject(event.customer_id, event.at)
