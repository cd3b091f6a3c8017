"""Who comes to the demo's café when, with what luck: drawn from a fixed seed, and nothing else.

Regulars keep to their hour, others drop in, many come once or twice. What happens at the till then, the rules decide.
"""

import random
import unicodedata
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

from ledger.commands.cards import Customer
from ledger.commands.references import CardReference

SEED = 1_839
DAYS = 90
CARDS = 200
ZONE = ZoneInfo("Europe/Luxembourg")
TERMINALS = ("till-1", "till-2")

Scheme: TypeAlias = Literal["stamps", "points"]
Turn: TypeAlias = Literal["", "mistyped", "suspended", "replaced", "closed"]

# What happens once, after which share of all visits, and whether at somebody's last.
TURNS: tuple[tuple[Turn, float, bool], ...] = (
    ("mistyped", 0.3, False),
    ("suspended", 0.5, False),
    ("replaced", 0.7, False),
    ("closed", 0.75, True),
)

# Local hours by weekday, Monday first. Early and late in the week people work; on Sunday they have breakfast.
HOURS = [(7, 19)] * 5 + [(8, 18), (9, 13)]
RUSH_HOURS = (7.8, 10.2, 12.6, 16.0)

FIRST_NAMES = (
    "Léa", "Luca", "Emma", "Jang", "Mia", "Noah", "Lisa", "Pit", "Anna", "Tom", "Maria", "João", "Inês", "Rui",
    "Sofia", "Tiago", "Beatriz", "Marie", "Louis", "Chloé", "Hugo", "Camille", "Jean-Pierre", "Élise", "Antoine",
    "Lena", "Felix", "Greta", "Jonas", "Klara", "Moritz", "Josée", "Nico", "Martine", "Claude", "Fränk", "Sandra",
    "Georges", "Monique", "Paulo",
)  # fmt: skip
LANGUAGES = ("lb", "lb", "fr", "fr", "fr", "de", "en")


@dataclass(frozen=True, slots=True)
class Habit:
    """How often somebody comes: on which share of working days, of Saturdays and Sundays; `visits_max` in all."""

    workdays: float
    weekends: float
    visits_max: int


HABITS = {Habit(0.42, 0.15, 90): 26, Habit(0.12, 0.20, 90): 44, Habit(0.05, 0.10, 2): 30}


@dataclass(slots=True)
class Holder:
    """Somebody with a card: as planned, and as the tills' answers left it."""

    number: int
    scheme: Scheme
    customer: Customer
    joins_at_home: bool
    card: CardReference | None = None
    stamps: int = 0
    points: int = 0
    has_left: bool = False


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody at the till. `luck` decides what is unusual about it."""

    number: int
    at: datetime
    holder: Holder
    member: int  # Which of the staff.
    terminal_id: str
    amount_minor: int
    luck: float
    turn: Turn = ""


def opening(ends_at: datetime) -> datetime:
    """When it all begins: in the morning of the first of the 90 days."""
    return _local(_first_day(ends_at), 6.5)


def planned(ends_at: datetime) -> list[Visit]:
    """Every visit of the 90 days up to `ends_at`, in order of time; the same ones for the same day."""
    rng, first_day = random.Random(SEED), _first_day(ends_at)
    holders = [_holder(rng, number) for number in range(CARDS - 1)]  # The last card replaces a lost one.
    visits = [visit for holder in holders for visit in _visits(rng, holder, first_day)]
    visits = [visit for visit in visits if visit.at < ends_at - timedelta(minutes=15)]
    visits.sort(key=lambda visit: visit.at)
    visits = [replace(visit, number=number) for number, visit in enumerate(visits)]
    return _with_turns(visits)


def _first_day(ends_at: datetime) -> date:
    return ends_at.astimezone(ZONE).date() - timedelta(days=DAYS - 1)


def _holder(rng: random.Random, number: int) -> Holder:
    # The last ones have a card already, and join the other program too.
    person = number if number < CARDS - 20 else number - CARDS + 20
    name = FIRST_NAMES[person % len(FIRST_NAMES)]
    initial = "BFHKMRSTW"[person // len(FIRST_NAMES) + person % 4]
    address = unicodedata.normalize("NFD", name).encode("ascii", "ignore").decode().lower()
    customer = Customer(
        name=f"{name} {initial}.",
        email=f"{address}.{initial.lower()}{person + 1}@example.com",
        language=rng.choice(LANGUAGES),
        has_consented=True,
    )
    scheme: Scheme = "stamps" if number < CARDS * 0.6 else "points"
    return Holder(number, scheme, customer, joins_at_home=person == number and rng.random() < 0.2)


def _visits(rng: random.Random, holder: Holder, first_day: date) -> list[Visit]:
    habit = rng.choices(list(HABITS), list(HABITS.values()))[0]
    joins_on = int(rng.triangular(0, DAYS - 2, 6))
    favourite_hour = rng.choice(RUSH_HOURS)
    visits: list[Visit] = []
    for day in range(joins_on, DAYS):
        today = first_day + timedelta(days=day)
        likely = habit.weekends if today.weekday() >= 5 else habit.workdays
        if day != joins_on and (rng.random() > likely or len(visits) == habit.visits_max):
            continue
        opens, closes = HOURS[today.weekday()]
        hour = rng.gauss(favourite_hour, 0.7)
        if not opens < hour < closes - 0.5:
            hour = rng.uniform(opens + 0.1, closes - 0.5)
        visits.append(
            Visit(
                number=0,
                at=_local(today, hour),
                holder=holder,
                member=_on_duty(today, hour),
                terminal_id=rng.choice(TERMINALS),
                amount_minor=int(min(rng.lognormvariate(6.7, 0.6), 9_000)) // 10 * 10,
                luck=rng.random(),
            )
        )
    return visits


def _on_duty(day: date, hour: float) -> int:
    """The manager on Sundays, the other two by turns on Saturdays, one before and one after one o'clock else."""
    match day.weekday():
        case 6:
            return 2
        case 5:
            return day.toordinal() // 7 % 2
        case _:
            return int(hour >= 13)


def _local(day: date, hour: float) -> datetime:
    at = datetime.combine(day, time(), tzinfo=ZONE) + timedelta(hours=hour)  # Wall-clock time, whatever DST does.
    return at.astimezone(UTC)


def _with_turns(visits: list[Visit]) -> list[Visit]:
    """What happens once, each to another holder of a stamp card who was here before."""
    first = {visit.holder.number: visit.number for visit in reversed(visits)}
    last = {visit.holder.number: visit.number for visit in visits}
    turned: set[int] = set()
    visits = list(visits)
    for turn, share, is_at_last in TURNS:
        for visit in visits[int(len(visits) * share) :]:
            holder = visit.holder.number
            is_fit = first[holder] < visit.number and (visit.number == last[holder]) == is_at_last
            if is_fit and holder not in turned and visit.holder.scheme == "stamps":
                visits[visit.number] = replace(visit, turn=turn)
                turned.add(holder)
                break
    return visits
