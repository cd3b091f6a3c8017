"""The event library as it comes: its application, its recorder, its projection runner; run as a process of its own.

The projection does what ours does for an entry: it changes the card's row, adds a transaction's row and moves its
position on, each event in a transaction of its own, as the library documents it.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from psycopg.sql import SQL

from tests.benchmarks.measuring import Window

CARDS = 2_000  # Each round goes on where the one before it stopped: enough for all of them on a fast machine.
EVENTS_EACH = 20
CARDS_AT_ONCE = 50
START_SECONDS = 15.0


class Card(Aggregate):
    """A card whose events carry what an entry of ours carries."""

    @event("Enrolled")
    def __init__(self, program_id: UUID, vendor_id: UUID) -> None:
        self.program_id, self.vendor_id = program_id, vendor_id
        self.stamps = 0

    @event("Stamped")
    def stamp(self, stamps: int, stamps_after: int, actor_id: str, request_id: str) -> None:
        self.stamps = stamps_after


class Cards(Application[UUID]):
    """The library's application, as it comes."""


class CardTables(PostgresTrackingRecorder):
    def __init__(self, datastore: Any, **options: Any) -> None:
        super().__init__(datastore, **options)
        self.sql_create_statements += [
            SQL(
                "CREATE TABLE IF NOT EXISTS cards (id uuid PRIMARY KEY, stamps bigint NOT NULL, at timestamptz)"
            ).format(),
            SQL(
                "CREATE TABLE IF NOT EXISTS transactions (position bigint PRIMARY KEY, card_id uuid NOT NULL,"
                " stamps_delta bigint NOT NULL, stamps_balance_after bigint NOT NULL, actor_id text, request_id text,"
                " at timestamptz)"
            ).format(),
            SQL("CREATE INDEX IF NOT EXISTS transactions_card_idx ON transactions (card_id, position DESC)").format(),
        ]

    def enrol(self, enrolled: Any, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute("INSERT INTO cards VALUES (%s, 0, %s)", (enrolled.originator_id, enrolled.timestamp))

    def stamp(self, stamped: Any, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(
                "UPDATE cards SET stamps = %s, at = %s WHERE id = %s",
                (stamped.stamps_after, stamped.timestamp, stamped.originator_id),
                prepare=True,
            )
            cursor.execute(
                "INSERT INTO transactions VALUES (%s, %s, %s, %s, %s, %s, %s)",
                (
                    tracking.notification_id,
                    stamped.originator_id,
                    stamped.stamps,
                    stamped.stamps_after,
                    stamped.actor_id,
                    stamped.request_id,
                    stamped.timestamp,
                ),
                prepare=True,
            )


class CardsProjection(Projection[CardTables]):
    name = "cards"

    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        raise AssertionError(domain_event)

    @process_event.register
    def _enrolled(self, domain_event: Card.Enrolled, tracking: Tracking) -> None:  # type: ignore[name-defined]
        self.view.enrol(domain_event, tracking)

    @process_event.register
    def _stamped(self, domain_event: Card.Stamped, tracking: Tracking) -> None:  # type: ignore[name-defined]
        self.view.stamp(domain_event, tracking)


def prepare(url: str) -> None:
    """Some history to catch up with; none is added to what is there."""
    _in_a_process("prepare", url)


def catch_up(url: str, *, seconds: float) -> Window:
    """Events a second, for so many seconds or to the end of the history."""
    return Window(float(_in_a_process("catch_up", url, str(seconds))))


def _in_a_process(*arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", __name__, *arguments], capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode:
        raise RuntimeError(f"the library failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


# ------------------------------------------------------------------ in the process


def environment(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": parts.path.lstrip("/"),
        "POSTGRES_HOST": query.get("host", parts.hostname or ""),
        "POSTGRES_PORT": query.get("port", str(parts.port or 5432)),
        "POSTGRES_USER": parts.username or "",
        "POSTGRES_PASSWORD": parts.password or "",
    }


def _prepare(url: str) -> float:
    app = Cards(env=environment(url))
    program, vendor = UUID(int=1), UUID(int=2)
    for _ in range(CARDS // CARDS_AT_ONCE):
        cards = [Card(program, vendor) for _ in range(CARDS_AT_ONCE)]
        for card in cards:
            for n in range(1, EVENTS_EACH):
                card.stamp(1, n, str(vendor), str(card.id))
        app.save(*cards)
    app.close()
    return 0.0


def _catch_up(url: str, seconds: str) -> float:
    target = CARDS * EVENTS_EACH
    with ProjectionRunner(
        application_class=Cards, projection_class=CardsProjection, view_class=CardTables, env=environment(url)
    ) as runner:
        first, began = _position(runner, START_SECONDS)
        ends = began + float(seconds)
        position, now = first, began
        while now < ends and position < target:
            time.sleep(0.02)
            position, now = runner.view.max_tracking_id("Cards") or 0, time.monotonic()
    return (position - first) / (now - began)


def _position(runner: Any, within_seconds: float) -> tuple[int, float]:
    """Where it is once it has begun."""
    gives_up = time.monotonic() + within_seconds
    start = runner.view.max_tracking_id("Cards") or 0
    while time.monotonic() < gives_up:
        position = runner.view.max_tracking_id("Cards") or 0
        if position > start:
            return position, time.monotonic()
        time.sleep(0.001)
    raise RuntimeError("the runner did not begin")


TASKS: dict[str, Callable[..., float]] = {"prepare": _prepare, "catch_up": _catch_up}


if __name__ == "__main__":
    print(json.dumps(TASKS[sys.argv[1]](*sys.argv[2:])))  # noqa: T201
