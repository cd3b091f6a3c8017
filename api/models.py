"""What answers look like. The ledger answers in these fields; here they get their types, meanings and examples."""

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")
CARD = "01930f2a-7c1e-7d3a-9b1f-5f0c3f1f2a10"
EXAMPLE_TIME = "2026-03-14T09:26:53.589793Z"


class Answer(BaseModel):
    model_config = ConfigDict(extra="allow")


class Page(Answer, Generic[T]):
    items: list[T]
    next_cursor: str | None = Field(None, description="Ask again with it for what comes after; null at the end.")


class Receipt(Answer):
    """What a caller keeps: the card's version, and the digest its whole history leads to."""

    card_version: int = Field(examples=[12])
    head: str = Field(examples=["74987065e6413d904d561af6b3d0a2774a6e5a7c7616fc5475778d2b69b90cf0"])


class Entry(Answer):
    """One entry of a card, and where the card stands after it."""

    entry_id: UUID = Field(examples=["150f970e-61f8-582b-b939-27a78e5e2cd5"])
    type: str = Field(examples=["stamp_earned"])
    card_id: UUID = Field(examples=[CARD])
    stamps_delta: int = Field(examples=[1])
    points_delta: int = Field(examples=[0])
    stamp_count: int = Field(examples=[7])
    points_balance: int = Field(examples=[0])
    stamps_target: int | None = Field(examples=[10])
    stamps_until_reward: int | None = Field(examples=[3])
    rewards_available: int = Field(examples=[0])
    remaining_stamps_today: int | None = Field(examples=[4])
    next_stamp_at: datetime | None = Field(examples=[EXAMPLE_TIME])
    card_version: int = Field(examples=[12])
    position: int | None = Field(None, examples=[4711], description="Null in a dry run.")
    receipt: Receipt
    occurred_at: datetime = Field(examples=[EXAMPLE_TIME])
    recorded_at: datetime = Field(examples=[EXAMPLE_TIME])


class CustomerFacts(Answer):
    name: str | None = Field(None, examples=["Anna"])
    email: str | None = Field(None, examples=["anna@example.com"])
    phone: str | None = Field(None, examples=["+352621000000"])


class Card(Answer):
    """A card; times are UTC, counts are whole units."""

    id: UUID = Field(examples=[CARD])
    customer_id: UUID
    program_id: UUID
    vendor_id: UUID
    card_number: str = Field(examples=["927826510269"])
    qr_code_data: str | None = Field(examples=["zgc2uCDrnA-Cy0Oof_GoBYZ_4CZjjGRO"])
    customer: CustomerFacts | None = None
    stamp_count: int = Field(examples=[7])
    total_stamps_earned: int = Field(examples=[27])
    stamps_redeemed: int = Field(examples=[2], description="Rewards redeemed with stamps.")
    points_balance: int = Field(examples=[0])
    total_points_earned: int = Field(examples=[0])
    points_redeemed: int = Field(examples=[0])
    stamps_target: int | None = Field(examples=[10])
    stamps_until_reward: int | None = Field(examples=[3])
    rewards_available: int = Field(examples=[0])
    remaining_stamps_today: int | None = Field(examples=[4])
    next_stamp_at: datetime | None = Field(examples=[EXAMPLE_TIME])
    last_stamp_at: datetime | None = Field(
        None,
        description="The last stamp that was not taken back. Null without one; also where all stamps were taken back"
        " that the card still remembers, which are today's and the one before.",
    )
    last_points_at: datetime | None = None
    last_redemption_at: datetime | None = None
    is_active: bool = Field(examples=[True])
    status: Literal["active", "suspended", "closed", "replaced", "erased"] = Field(examples=["active"])
    version: int = Field(examples=[12])
    created_at: datetime = Field(examples=[EXAMPLE_TIME])
    updated_at: datetime = Field(examples=[EXAMPLE_TIME])


class Allowed(Answer):
    """Whether an operation would pass now, and if not, the problem code and when to try again."""

    operation: Literal["stamp", "earn", "redeem"]
    is_allowed: bool
    code: str | None = Field(None, examples=["stamp_cooldown"])
    retry_at: datetime | None = None


class Reward(Answer):
    id: UUID
    name: str = Field(examples=["A bag of beans"])
    points_cost: int = Field(examples=[500])
    value_minor: int | None = Field(None, examples=[1200])


class TranslatedReward(Reward):
    translations: dict[str, dict[str, str]] = Field(
        default_factory=dict, examples=[{"fr": {"name": "Un paquet de café"}}]
    )


class EarnRate(Answer):
    points: int = Field(examples=[1])
    per_minor: int = Field(examples=[100])


class Program(Answer):
    """A program with the rules in force now."""

    id: UUID
    vendor_id: UUID
    loyalty_type: Literal["stamps", "points", "hybrid"] = Field(examples=["stamps"])
    name: str = Field(examples=["Coffee card"])
    stamps_target: int | None = Field(examples=[10])
    stamps_reward_description: str | None = Field(examples=["A coffee of your choice"])
    earn_rate: EarnRate | None = None
    points_rewards: list[TranslatedReward] = Field(default_factory=list)
    currency: str = Field(examples=["EUR"])
    timezone: str = Field(examples=["Europe/Luxembourg"])
    cooldown_minutes: int = Field(examples=[15])
    max_daily_stamps: int = Field(examples=[5])
    require_staff_pin: bool = Field(examples=[True])
    enrolment_fields: list[Literal["name", "email", "phone"]] = Field(examples=[["name"]])
    translations: dict[str, dict[str, str]] = Field(
        default_factory=dict,
        description="Its words in the languages that have their own; the plain ones stand for all others.",
        examples=[{"fr": {"card_name": "Carte café", "stamps_reward_description": "Un café au choix"}}],
    )
    is_active: bool = Field(examples=[True])
    rules_version: int = Field(examples=[1])
    version: int = Field(examples=[2])
    created_at: datetime = Field(examples=[EXAMPLE_TIME])
    updated_at: datetime = Field(examples=[EXAMPLE_TIME])


class LookedUpCard(Card):
    program: Program
    allowed: list[Allowed]


class Vendor(Answer):
    id: UUID
    code: str = Field(examples=["corner-cafe"])
    name: str = Field(examples=["Corner Café"])
    country: str = Field(examples=["LU"])
    timezone: str = Field(examples=["Europe/Luxembourg"])
    currency: str = Field(examples=["EUR"])
    languages: list[str] = Field(examples=[["lb", "fr"]])
    is_active: bool = Field(examples=[True])
    version: int = Field(examples=[1])
    created_at: datetime = Field(examples=[EXAMPLE_TIME])
    updated_at: datetime = Field(examples=[EXAMPLE_TIME])


class ApiKey(Answer):
    id: UUID
    name: str = Field(examples=["Till 1"])
    prefix: str = Field(examples=["llk_ZkpePSAQ"])
    scopes: list[str] = Field(examples=[["cards", "earn", "redeem", "read"]])
    issued_at: datetime = Field(examples=[EXAMPLE_TIME])
    expires_at: datetime | None = None


class NewApiKey(ApiKey):
    key: str = Field(description="Shown this once.", examples=["llk_…"])


class StaffPin(Answer):
    """A staff PIN; never the PIN itself."""

    id: UUID
    vendor_id: UUID
    program_id: UUID | None = None
    staff_id: str = Field(examples=["marie"])
    name: str | None = Field(examples=["Marie"])
    role: Literal["staff", "manager"] = Field(examples=["staff"])
    operations: list[str] = Field(examples=[["stamp", "earn", "redeem"]])
    is_active: bool = Field(examples=[True])
    failed_attempts: int = Field(examples=[0])
    locked_until: datetime | None = None
    version: int = Field(examples=[1])
    created_at: datetime = Field(examples=[EXAMPLE_TIME])
    updated_at: datetime = Field(examples=[EXAMPLE_TIME])


class StaffSession(Answer):
    token: str
    expires_at: datetime = Field(
        description="When the token ends unless it is used; each answer to it carries a renewed one in Staff-Session.",
        examples=[EXAMPLE_TIME],
    )
    session_ends_at: datetime = Field(description="When a new PIN check is due in any case.", examples=[EXAMPLE_TIME])


class Transaction(Answer):
    """A row of the audit log."""

    id: UUID
    card_id: UUID
    program_id: UUID
    vendor_id: UUID
    transaction_type: str = Field(examples=["stamp_earned"])
    stamps_delta: int = Field(examples=[1])
    points_delta: int = Field(examples=[0])
    stamps_balance_after: int = Field(examples=[7])
    points_balance_after: int = Field(examples=[0])
    occurred_at: datetime = Field(examples=[EXAMPLE_TIME])
    recorded_at: datetime = Field(examples=[EXAMPLE_TIME])
    position: int = Field(examples=[4711])
    card_version: int = Field(examples=[12])


class Decision(Answer):
    """Why a till's command was accepted or refused."""

    id: UUID = Field(description="Of the entry, or the `decision_id` of the refusal.")
    operation: str = Field(examples=["stamp"], description="stamp, earn, redeem, reverse or adjust.")
    outcome: str = Field(examples=["refused"], description="accepted, refused, or imported: decided elsewhere.")
    code: str | None = Field(None, examples=["stamp_cooldown"], description="The rule that refused it.")
    title: str | None = Field(None, examples=["Too soon after the last stamp"])
    detail: str = Field(description="Why, in the language of Accept-Language.")
    decided_at: datetime = Field(examples=[EXAMPLE_TIME])
    card_id: UUID = Field(examples=[CARD])
    card_version: int = Field(examples=[11], description="How many of the card's events the decision saw.")
    program_id: UUID
    program_version: int = Field(examples=[3], description="Of the rules it was decided under.")
    asked: dict[str, Any] | None = Field(
        examples=[{"count": 1}], description="Null for a refusal of a time when that was not kept."
    )
    card: dict[str, Any] = Field(description="What mattered of the card, before the decision.")
    rules: dict[str, Any] = Field(description="The rules in force for it.")
    limit: dict[str, Any] = Field(description="What the rule compared: its limits, and what they were held against.")
    retry_at: datetime | None = Field(None, examples=[EXAMPLE_TIME], description="Null where waiting does not help.")
    is_the_same_again: bool | None = Field(
        examples=[True], description="Whether deciding it now out of the streams says the same; null where impossible."
    )
    staff_pin_id: UUID | None = None
    request_id: str


class RecordedEvent(Answer):
    """One event as it stands in the stream."""

    position: int = Field(examples=[4711])
    stream_id: UUID
    version: int = Field(examples=[12])
    name: str = Field(examples=["stamps-added"])
    recorded_at: datetime = Field(examples=[EXAMPLE_TIME])
    occurred_at: datetime = Field(examples=[EXAMPLE_TIME])
    hash: str
    prev_hash: str
    envelope: dict[str, Any]
    data: dict[str, Any] = Field(description="Personal data and secrets stand here as ciphertext.")


class EventPage(Answer):
    items: list[RecordedEvent]
    next_after: int | None = Field(None, description="Ask again with `after` set to it; null at the end.")
    next_cursor: str | None = Field(
        None, description="Send it as `cursor` for the next page; null on the last one.", examples=["WyJhZnRlciIsNDJd"]
    )
    previous_cursor: str | None = Field(
        None,
        description="Send it as `cursor` for the page before; null on the first one.",
        examples=["WyJiZWZvcmUiLDQyXQ"],
    )


class CardBalance(Answer):
    """What a card held at a time: sums over the events counted."""

    card_id: UUID = Field(examples=[CARD])
    program_id: UUID
    vendor_id: UUID
    as_of: datetime | None = Field(examples=[EXAMPLE_TIME], description="As asked; null counts all that happened.")
    known_at: datetime | None = Field(examples=[EXAMPLE_TIME], description="As asked; null counts all recorded.")
    status: Literal["active", "suspended", "closed", "replaced", "erased"] | None = Field(
        examples=["active"], description="Null where the card was not there yet."
    )
    stamp_count: int = Field(examples=[7])
    total_stamps_earned: int = Field(examples=[27])
    stamps_redeemed: int = Field(examples=[2], description="Rewards redeemed with stamps.")
    points_balance: int = Field(examples=[0])
    total_points_earned: int = Field(examples=[0])
    points_redeemed: int = Field(examples=[0])
    events: int = Field(examples=[12], description="How many were counted.")
    card_version: int = Field(examples=[12], description="Of the last one counted; 0 where none was.")
    position: int | None = Field(examples=[4711], description="Of the last one counted; null where none was.")


class OutstandingUnits(Answer):
    """What a program's cards held together at a time: sums over the entries counted."""

    program_id: UUID
    as_of: datetime | None = Field(examples=[EXAMPLE_TIME], description="As asked; null counts all that happened.")
    known_at: datetime | None = Field(examples=[EXAMPLE_TIME], description="As asked; null counts all recorded.")
    cards: int = Field(examples=[310], description="Given out by then, with those that ended.")
    stamps_outstanding: int = Field(examples=[1504])
    points_outstanding: int = Field(examples=[0])
    entries: int = Field(examples=[8120], description="How many were counted.")
    position: int | None = Field(examples=[4711], description="Of the last one counted; null where none was.")


class PublicProgram(Answer):
    """What anybody may read of a program."""

    id: UUID
    name: str = Field(examples=["Coffee card"])
    loyalty_type: Literal["stamps", "points", "hybrid"] = Field(examples=["stamps"])
    stamps_target: int | None = Field(None, examples=[10])
    stamps_reward_description: str | None = Field(None, examples=["A coffee of your choice"])
    points_rewards: list[Reward] = Field(default_factory=list)
    is_active: bool = Field(examples=[True])


class Links(Answer):
    card: str
    apple_pass: str | None = Field(
        None, description="Where an iPhone finds the pass of the card; null where the service makes none."
    )
    google_save: str | None = Field(
        None, description="Where an Android phone saves the card; null where the service is not at Google."
    )


class Enrolment(Answer):
    card_number: str = Field(examples=["927826510269"])
    qr_code_data: str = Field(examples=["zgc2uCDrnA-Cy0Oof_GoBYZ_4CZjjGRO"])
    links: Links


class HeldCard(Answer):
    """A card as its holder sees it."""

    card_number: str = Field(examples=["927826510269"])
    qr_code_data: str = Field(examples=["zgc2uCDrnA-Cy0Oof_GoBYZ_4CZjjGRO"])
    status: str = Field(examples=["active"])
    stamp_count: int = Field(examples=[7])
    points_balance: int = Field(examples=[0])
    program: PublicProgram
