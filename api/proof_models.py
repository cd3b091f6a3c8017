"""Answers for auditors: what was signed, and what proves a card's history."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from api.models import CARD, EXAMPLE_TIME, Answer


class SealingKey(Answer):
    verifier_key: str = Field(examples=["loyalty.example.com/ledger+0c1d2e3f+AQ…"])
    note: str = Field(description="Signed by the key itself and, unless it is the first, by the one before.")
    recorded_at: datetime = Field(examples=[EXAMPLE_TIME])


class SealingKeys(Answer):
    items: list[SealingKey]


class SealedCheckpoint(Answer):
    """A tree as it was signed."""

    number: int = Field(examples=[12])
    tree_size: int = Field(examples=[4711], description="How many events it is over.")
    position: int = Field(examples=[4720], description="The newest event's.")
    root: str = Field(description="Base64.", examples=["CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="])
    note: str
    sealed_at: datetime = Field(examples=[EXAMPLE_TIME])


class Consistency(Answer):
    old: SealedCheckpoint
    new: SealedCheckpoint
    proof: list[str] = Field(description="Hashes in base64, as RFC 6962, section 2.1.2, has them.")


class StatedEvent(Answer):
    """An event of the card, with the proof that it is in the tree."""

    position: int = Field(examples=[4711])
    version: int = Field(examples=[12])
    name: str = Field(examples=["stamps-added"])
    state: str = Field(description="The bytes as stored, in base64.")
    hash: str = Field(description="SHA-256 in hex, over stream id, version, name and the bytes as stored.")
    index: int | None = Field(description="Its place in the tree; null where it is newer than the checkpoint.")
    proof: list[str] = Field(description="Hashes in base64, as RFC 6962, section 2.1.1, has them.")


class Statement(Answer):
    """Everything of a card's balance that can be proved, for `loyalty-ledger verify` or the one file that does it."""

    format: Literal["loyalty-ledger statement 1"]
    card_id: UUID = Field(examples=[CARD])
    events: list[StatedEvent]
    checkpoint: str = Field(description="The signed note the proofs lead to.")
    statement: str = Field(description="A signed note: how many events the card has, and where they lead to.")
    keys: list[str] = Field(description="The notes of all public keys, oldest first.")


class AcceptedRestore(Answer):
    note: str
    accepted_at: datetime = Field(examples=[EXAMPLE_TIME])


class AcceptedRestores(Answer):
    items: list[AcceptedRestore]


class LastCheck(Answer):
    """What came of comparing every table with the stream. All but `status` and `checks` is null while nobody did."""

    status: Literal["never_checked", "adds_up", "differs"] = Field(examples=["adds_up"])
    checks: int = Field(examples=[31], description="How often it was done.")
    at: datetime | None = Field(None, examples=[EXAMPLE_TIME], description="What the tables said then was compared.")
    position: int | None = Field(None, examples=[4711], description="Of the query tables.")
    last_position: int | None = Field(None, examples=[4712], description="Of the stream: state rows and look-ups.")
    rows: dict[str, int] | None = Field(None, examples=[{"loyalty_cards": 200}], description="Compared, by table.")
    differences: int | None = Field(None, examples=[0])
    places: list[str] | None = Field(None, description="The first of them as table, row and column; never a value.")
    duration_ms: int | None = Field(None, examples=[1250])
