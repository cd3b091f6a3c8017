"""Answers about the service itself: health, positions, what waits."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from api.models import EXAMPLE_TIME, Answer
from api.proof_models import LastCheck


class Health(Answer):
    status: Literal["live", "ready", "not_ready"] = Field(examples=["ready"])


class ProjectionState(Answer):
    name: str = Field(examples=["query_tables"])
    position: int = Field(examples=[4711])
    lag_events: int = Field(examples=[0])
    error: str | None = Field(None, description="What stops it, with position and event; null while it runs.")


class WalletBacklog(Answer):
    """What a channel owes: `apple` to phones, `program` to the passes of programs that changed, `google` to cards at
    Google, `google_class` to programs there, `google_users` who saved a card, `google_sweep` the nightly comparison.
    """

    channel: str = Field(examples=["apple"])
    waiting: int = Field(examples=[3], description="Owed, and to be tried when their time comes.")
    parked: int = Field(examples=[0], description="Given up until somebody retries.")
    oldest_since: datetime = Field(examples=[EXAMPLE_TIME])
    lag_seconds: float = Field(examples=[1.5], description="For how long the oldest is owed.")
    errors: dict[str, int] = Field(examples=[{"ServiceUnavailable": 2}], description="How many failed last for what.")


class WalletSweep(Answer):
    """Once a night every pass is looked at again."""

    begun_at: datetime = Field(examples=[EXAMPLE_TIME])
    ended_at: datetime | None = Field(examples=[EXAMPLE_TIME], description="Null while it goes on.")
    programs: int = Field(examples=[12])
    programs_left: int = Field(examples=[0])


class Wallets(Answer):
    backlog: list[WalletBacklog] = Field(description="Channels that owe nothing are not listed.")
    stopped: dict[Literal["apple", "google"], datetime] = Field(
        examples=[{"google": EXAMPLE_TIME}],
        description="Providers that refuse whatever is sent, and from when each is tried again with one thing.",
    )
    sweep: WalletSweep | None = Field(description="The last one; null before the first.")


class CheckpointState(Answer):
    tree_size: int = Field(examples=[4711])
    position: int = Field(examples=[4720])
    lag_events: int = Field(examples=[3], description="Positions that were given since.")
    sealed_at: datetime = Field(examples=[EXAMPLE_TIME])


class System(Answer):
    position: int = Field(examples=[4711])
    projections: list[ProjectionState]
    commands_waiting: int = Field(examples=[0])
    wallets: Wallets
    checkpoint: CheckpointState | None = Field(None, description="The newest one; null while nothing was sealed.")
    last_check: LastCheck = Field(description="What came of comparing every table with the stream.")
    apple_certificate_days_left: int | None = Field(
        None,
        examples=[212],
        description="Days that passes can still be signed; null where no usable certificate is set up.",
    )
