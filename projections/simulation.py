"""A program's history decided again under other rules, card by card. Nothing is written."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg import Connection

from ledger import program as programs
from ledger.attempts import AttemptEvent
from ledger.card import CardEnrolled
from ledger.errors import ProgramNotFound
from ledger.ids import attempts_id
from ledger.program import Program
from ledger.recorder import APP_ROLE
from ledger.simulation import Account, Change, Figures, Step, Verdicts, under
from ledger.stream import Recorded, Stored, decode

BATCH_CARDS = 100
MEASURES = ("rewards", "stamps", "points")

CARDS = "SELECT stream_id FROM streams WHERE stream_type = 'card' AND parent_id = %s ORDER BY stream_id"
HOW_MANY = "SELECT count(*) FROM streams WHERE stream_type = 'card' AND parent_id = %s"
EVENTS = """
SELECT originator_id, originator_version, topic, state, notification_id FROM stored_events
WHERE originator_id = ANY(%s) ORDER BY originator_id, originator_version
"""

Progress = Callable[[int, int], None]
Histories = dict[UUID, list[Recorded]]


@dataclass(slots=True)
class Moved:
    """How many customers would have more and fewer of something, and by how much together."""

    gaining: int = 0
    gained: int = 0
    losing: int = 0
    lost: int = 0

    def add(self, difference: int) -> None:
        if difference > 0:
            self.gaining += 1
            self.gained += difference
        elif difference < 0:
            self.losing += 1
            self.lost -= difference


@dataclass(slots=True)
class Report:
    """What was, and what would have been.

    Args:
        customers: A lost card and its replacements are one.
        moved: By measure: `rewards` (redeemed or to be had), `stamps` and `points` (earned).
        unknown: Refusals of a time when what was asked was not kept; they are refused again.
    """

    customers: int = 0
    was: Figures = field(default_factory=Figures)
    would: Figures = field(default_factory=Figures)
    moved: dict[str, Moved] = field(default_factory=lambda: {measure: Moved() for measure in MEASURES})
    verdicts: Verdicts = field(default_factory=Counter)
    unknown: int = 0

    def add(self, account: Account, program: Program, other: Program, now: datetime) -> None:
        was, would = account.was.figures(program, now), account.would.figures(other, now)
        self.customers += 1
        self.was.add(was)
        self.would.add(would)
        self.moved["rewards"].add(_rewards(would) - _rewards(was))
        self.moved["stamps"].add(would.stamps_earned - was.stamps_earned)
        self.moved["points"].add(would.points_earned - was.points_earned)
        self.verdicts += account.verdicts
        self.unknown += account.unknown


def _rewards(figures: Figures) -> int:
    return figures.rewards_redeemed + figures.rewards_available


def simulate(
    conninfo: str,
    program_id: UUID,
    change: Change,
    *,
    now: datetime,
    start: datetime | None = None,
    end: datetime | None = None,
    progress: Progress | None = None,
) -> Report:
    """Decide the program's history again under changed rules.

    Args:
        change: Made to every version of the rules.
        start, end: Rules are other ones from `start` on (None: ever), and nothing recorded from `end` on is looked at.
        progress: Told how many cards are done, and of how many, after each batch.

    Raises:
        ProgramNotFound: There is none, or none before `end`.
        InvalidValue, ProgramTypeMismatch: The program could not have such rules.
        psycopg.OperationalError: The database is away. Safe to ask again.

    Source:
        One snapshot of the streams, in a transaction that cannot write.
    """
    with psycopg.connect(conninfo, connect_timeout=5) as connection:
        connection.execute(f"SET ROLE {APP_ROLE}")
        connection.commit()
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        moment = now if end is None else min(now, end)
        return _Simulation(connection, program_id, change, start, moment, progress or (lambda _done, _of: None)).run()


class _Simulation:
    def __init__(
        self,
        connection: Connection[Any],
        program_id: UUID,
        change: Change,
        start: datetime | None,
        end: datetime,
        progress: Progress,
    ) -> None:
        self._connection = connection
        self._program_id = program_id
        self._start = start
        self._end = end
        self._progress = progress
        self._positions: list[int] = []
        self._programs: list[tuple[Program, Program]] = []
        program: Program | None = None
        for recorded in self._read([program_id]).get(program_id, []):
            program = programs.evolve(program, recorded.event)
            self._positions.append(recorded.position or 0)
            self._programs.append((program, under(program, change, start)))
        if program is None:
            raise ProgramNotFound
        programs.must_fit(program.loyalty_type, change(program.rules_at(end)), [])

    def run(self) -> Report:
        report, done = Report(), 0
        row = self._connection.execute(HOW_MANY, (self._program_id,)).fetchone()
        cards = 0 if row is None else int(row[0])
        for batch in self._batches():
            histories = self._read([*batch, *map(attempts_id, batch)])
            for card_id in batch:
                first = histories[card_id][0].event
                if isinstance(first, CardEnrolled) and first.replaces is None:
                    self._follow(card_id, histories, report)
            done += len(batch)
            self._progress(done, cards)
        return report

    def _batches(self) -> Iterator[list[UUID]]:
        with self._connection.cursor("cards") as cursor:
            cursor.execute(CARDS, (self._program_id,))
            while rows := cursor.fetchmany(BATCH_CARDS):
                yield [row[0] for row in rows]

    def _follow(self, card_id: UUID, histories: Histories, report: Report) -> None:
        """A card, then the one that replaced it, and so on."""
        account = Account(self._start)
        following: UUID | None = card_id
        while following is not None:
            if following not in histories:
                histories = self._read([following, attempts_id(following)])
            for recorded in _in_order(histories[following], histories.get(attempts_id(following), [])):
                if recorded.envelope.recorded_at < self._end:
                    account.take(self._step(recorded))
            card = account.was.card
            following = card.replaced_by if card is not None and card.status == "replaced" else None
        if account.was.card is not None:
            report.add(account, *self._program_at_the_end(), self._end)

    def _program_at_the_end(self) -> tuple[Program, Program]:
        known = [pair for pair in self._programs if pair[0].last_at < self._end]
        return known[-1] if known else self._programs[0]

    def _step(self, recorded: Recorded) -> Step:
        envelope, event = recorded.envelope, recorded.event
        seen = event.program_events if isinstance(event, AttemptEvent) else None
        if seen is None:
            seen = bisect_left(self._positions, recorded.position or 0)
        program, other = self._programs[seen - 1]
        return Step(event, envelope.recorded_at, envelope.channel == "import", program, other)

    def _read(self, stream_ids: Sequence[UUID]) -> Histories:
        histories: Histories = {}
        rows = self._connection.execute(EVENTS, (list(stream_ids),), binary=True)
        for row in rows:
            recorded = decode(Stored(*row), is_digested=False)
            histories.setdefault(recorded.stream_id, []).append(recorded)
        return histories


def _in_order(card: list[Recorded], refused: list[Recorded]) -> list[Recorded]:
    """Each refusal after the events that its decision saw; older ones, which do not say, by position."""
    positions = [recorded.position or 0 for recorded in card]

    def place(recorded: Recorded) -> tuple[int, int, int]:
        if not isinstance(recorded.event, AttemptEvent):
            return recorded.version, 0, 0
        seen = recorded.event.card_version
        return bisect_left(positions, recorded.position or 0) if seen is None else seen, 1, recorded.version

    return sorted((*card, *refused), key=place)
