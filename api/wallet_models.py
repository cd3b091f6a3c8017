"""Answers about passes in phones: what they were told, and what to do about it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from api.models import CARD, EXAMPLE_TIME, Answer


class ParkedWork(Answer):
    channel: str = Field(examples=["apple"])
    id: UUID = Field(description="A registration, a program, or a card at Google.")
    card_id: UUID | None = Field(examples=[CARD])
    owed_since: datetime = Field(examples=[EXAMPLE_TIME])
    last_error: str | None = Field(examples=["PayloadEmpty"])
    last_status: int | None = Field(examples=[400], description="Of HTTP; null where no answer came.")
    failures: int = Field(examples=[1])
    last_tried_at: datetime | None = Field(examples=[EXAMPLE_TIME])


class Retried(Answer):
    retried: int = Field(examples=[2], description="How many are tried again now.")


class WalletPhone(Answer):
    """A phone that wants to hear of the card. What it was told is absent while its registration is being noticed."""

    phone: str = Field(examples=["3f9a0c51d2e7"], description="The same for the same phone, and of no use but to tell.")
    verdict: str = Field(examples=["not_asked"])
    registered_at: datetime = Field(examples=[EXAMPLE_TIME])
    push_token_since: datetime = Field(examples=[EXAMPLE_TIME])
    revision_wanted: int | None = Field(None, examples=[4])
    revision_told: int | None = Field(None, examples=[4], description="Apple took the push; no proof that it arrived.")
    owed_since: datetime | None = Field(None, examples=[EXAMPLE_TIME])
    next_attempt_at: datetime | None = Field(None, examples=[EXAMPLE_TIME])
    last_tried_at: datetime | None = Field(None, examples=[EXAMPLE_TIME])
    last_told_at: datetime | None = Field(None, examples=[EXAMPLE_TIME])
    last_status: int | None = Field(None, examples=[200], description="What Apple answered last; null without answer.")
    last_error: str | None = Field(None, examples=["TooManyRequests"], description="Apple's reason.")
    failures: int = Field(0, examples=[0], description="In a row.")
    is_parked: bool = False
    last_asked_at: datetime | None = Field(
        None, examples=[EXAMPLE_TIME], description="When it last asked which passes changed."
    )
    times_told_again: int = Field(0, examples=[0], description="How often it was woken again for this revision.")
    look_again_at: datetime | None = Field(
        None, examples=[EXAMPLE_TIME], description="When it is woken again, unless it came."
    )


class AppleWalletOfCard(Answer):
    verdict: str = Field(examples=["not_asked"], description="That of the phone that is worst off.")
    hint: str = Field(description="What to do next, in the language of Accept-Language.")
    certificate_days_left: int | None = Field(examples=[212])
    issued_at: datetime | None = Field(
        examples=[EXAMPLE_TIME], description="When the pass was first downloaded; null before."
    )
    revision: int | None = Field(examples=[4], description="Which the pass has come to; null before anybody looked.")
    changed_at: datetime | None = Field(examples=[EXAMPLE_TIME])
    fetched_revision: int | None = Field(examples=[3], description="Which a phone, nobody knows which, fetched last.")
    fetched_at: datetime | None = Field(examples=[EXAMPLE_TIME])
    phones: list[WalletPhone]


class GoogleWalletOfCard(Answer):
    verdict: str = Field(examples=["up_to_date"])
    hint: str
    object_id: str | None = Field(None, description="Of the card at Google; null where it was never to be there.")
    is_saved: bool | None = Field(None, description="Whether Google confirmed that it is in somebody's wallet.")
    card: dict[str, Any] | None = Field(None, description="What Google was told of the card.")
    program: dict[str, Any] | None = Field(None, description="What Google was told of its program.")


class CardWallet(Answer):
    card_id: UUID = Field(examples=[CARD])
    status: str = Field(examples=["active"])
    apple: AppleWalletOfCard
    google: GoogleWalletOfCard
    complaints_of_all_phones: dict[str, int] = Field(
        examples=[{"status_503": 2}], description="Since this process began. What a phone complains of names no card."
    )
