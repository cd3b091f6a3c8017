"""Answers about a person: what is held, and the receipt that it was forgotten."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from api.models import CARD, EXAMPLE_TIME, Answer, CustomerFacts


class CustomersCard(Answer):
    id: UUID = Field(examples=[CARD])
    program_id: UUID
    card_number: str = Field(examples=["927826510269"])
    status: Literal["active", "suspended", "closed", "replaced", "erased"] = Field(examples=["active"])


class ErasedBy(Answer):
    type: str = Field(examples=["api_key"])
    id: str
    authenticated_by: str = Field(examples=["bearer"])


class Cleared(Answer):
    table: str = Field(examples=["claims"])
    rows: int = Field(examples=[3])


class ErasureReceipt(Answer):
    """That somebody was forgotten: what was cleared, when and by whom. It tells nobody who it was."""

    receipt_id: UUID
    customer_id: UUID
    vendor_id: UUID
    erased_at: datetime = Field(examples=[EXAMPLE_TIME])
    reason: Literal["asked", "consent_withdrawn", "no_longer_needed", "law"] = Field(examples=["asked"])
    erased_by: ErasedBy
    cards: list[UUID] = Field(description="Which have no holder any more.")
    phones: int = Field(examples=[1], description="Phones that are told once more, and show an empty pass then.")
    cleared: list[Cleared] = Field(description="Rows taken out in that very moment; the rest lost its key.")
    hash: str = Field(examples=["74987065e6413d904d561af6b3d0a2774a6e5a7c7616fc5475778d2b69b90cf0"])
    prev_hash: str = Field(examples=["1f2d6ad1cf5c17a9ad5f6cfaf0f3e4c1df5a8e0d3a6b1c2d4e5f60718293a4b5"])
    signature: str | None = Field(None, description="A signed note of the rest; null where the service does not sign.")
    keys: list[str] = Field([], description="The notes of all public keys, oldest first.")


class Customer(Answer):
    """A person behind a vendor's cards, by their id: nothing personal."""

    id: UUID
    vendor_id: UUID
    is_erased: bool
    cards: list[CustomersCard]
    receipt: ErasureReceipt | None = None


class CorrectedCustomer(CustomerFacts):
    """What is known of a customer now."""

    id: UUID
    language: str = Field(examples=["fr"])
    cards: list[UUID] = Field(description="All their cards: each says so now.")
    position: int | None = Field(examples=[4711], description="Of the last event; null where nothing differed.")


class KnownCustomer(CustomerFacts):
    language: str = Field(examples=["fr"])


class Consent(Answer):
    card_id: UUID
    has_consented: bool
    at: datetime = Field(examples=[EXAMPLE_TIME])


class HeldPlace(Answer):
    """Columns of one table, what of a person stands there, and how it is cleared."""

    table: str = Field(examples=["claims"])
    columns: list[str] = Field(examples=[["value"]])
    what: str
    clearing: Literal["erasure", "key", "stream", "time", "stays", "staff"]


class CustomerExport(Answer):
    """Everything that is held about a person, opened. Its lists hold rows as the tables do."""

    customer_id: UUID
    vendor_id: UUID
    exported_at: datetime = Field(examples=[EXAMPLE_TIME])
    customer: KnownCustomer
    consents: list[Consent]
    cards: list[dict[str, Any]]
    entries: list[dict[str, Any]]
    refusals: list[dict[str, Any]]
    registrations: list[dict[str, Any]] = Field(description="Phones that have a pass.")
    lookups: list[dict[str, Any]] = Field(description="Keyed digests that find the person by email, phone and QR code.")
    history: list[dict[str, Any]] = Field(description="The events, with what was sealed opened.")
    places: list[HeldPlace] = Field(description="Every place in the database where something of a person stands.")
