"""Answers about signing in by a link, and about tills."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from api.models import EXAMPLE_TIME, Answer, Program

UNTIL = Field(description="When it can no longer be used.", examples=[EXAMPLE_TIME])


class SignInLink(Answer):
    url: str = Field(
        description="To be sent to one person; it signs in whoever presses its button first.",
        examples=["https://cards.example/sign-in/…"],
    )
    expires_at: datetime = UNTIL


class Pairing(Answer):
    code: str = Field(description="To be typed at the till.", examples=["K7PM-4XQD"])
    url: str = Field(
        description="The same as an address, for a QR code.",
        examples=["https://cards.example/till/pair?code=K7PM-4XQD"],
    )
    expires_at: datetime = UNTIL


class TillVendor(Answer):
    id: UUID
    name: str = Field(examples=["Café Beim Rousegäertchen"])
    country: str = Field(examples=["LU"])
    timezone: str = Field(examples=["Europe/Luxembourg"])
    currency: str = Field(examples=["EUR"])
    languages: list[str] = Field(examples=[["lb", "fr"]])


class TillStaff(Answer):
    id: UUID = Field(description="Of the PIN: to open a session with.")
    name: str = Field(examples=["Marie"])


class Terminal(Answer):
    key_id: UUID | None
    name: str | None = Field(examples=["Counter left"])
    terminal_id: str | None = Field(description="Recorded with everything this till does.", examples=["till-5f0c3f1f"])
    location_id: UUID | None
    program_id: UUID | None = Field(description="The program to show first.")


class TillDesk(Answer):
    vendor: TillVendor
    programs: list[Program]
    staff: list[TillStaff]
    terminal: Terminal
