"""Rounds, medians, ratios and goals.

Everything compared is measured in turns, round after round, so that a machine that slows down slows down all of it; a
ratio is taken within each round, and the median over the rounds is the figure.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal, TypeVar

T = TypeVar("T")
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Window:
    """What one window of load showed. Times are in milliseconds."""

    rate: float
    p50: float = float("nan")
    p99: float = float("nan")
    longest: float = float("nan")
    statuses: Mapping[str, int] = field(default_factory=dict)
    odd: str = ""  # The first answer that was not as it should be.


@dataclass(frozen=True, slots=True)
class Goal:
    sense: Literal["≥", "≤"]
    bound: float

    def is_met_by(self, value: float) -> bool:
        return value >= self.bound if self.sense == "≥" else value <= self.bound


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Args:
        values: One for each round.
        unit: Empty for a ratio.
        note: The measurements behind it, in their own units.
    """

    group: str
    name: str
    values: Sequence[float]
    goal: Goal | None = None
    unit: str = ""
    note: str = ""

    @property
    def value(self) -> float:
        return median(self.values)

    @property
    def is_met(self) -> bool | None:
        return None if self.goal is None else self.goal.is_met_by(self.value)


def at_least(bound: float) -> Goal:
    return Goal("≥", bound)


def at_most(bound: float) -> Goal:
    return Goal("≤", bound)


def interleave(rounds: int, windows: Mapping[str, Callable[[], T]], say: Say) -> dict[str, list[T]]:
    """Measure everything once a round, every other round backwards: nobody always comes after the same other."""
    measured: dict[str, list[T]] = {name: [] for name in windows}
    for number in range(rounds):
        for name in windows if number % 2 == 0 else reversed(list(windows)):
            measured[name].append(windows[name]())
            say(f"round {number + 1}/{rounds}: {name}: {told(measured[name][-1])}")
    return measured


def told(result: object) -> str:
    """A result in a few words, with whatever went wrong."""
    if isinstance(result, dict):
        return ", ".join(f"{name} {told(value)}" for name, value in result.items())
    if not isinstance(result, Window):
        return f"{result:,.2f}" if isinstance(result, float) else str(result)
    words = f"{result.rate:,.0f}/s"
    if result.p99 == result.p99:
        words += f", p50 {result.p50:.2f} ms, p99 {result.p99:.2f} ms, longest {result.longest:.1f} ms"
    return words + (f"  NOT AS IT SHOULD BE: {dict(result.statuses)} {result.odd}" if result.odd else "")


def rates(windows: Sequence[Window]) -> list[float]:
    return [window.rate for window in windows]


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def per_second(name: str, windows: Sequence[Window]) -> str:
    return f"{name} {median(rates(windows)):,.0f}/s"


def spaced(number: int) -> str:
    """10 000: commas stand between other things here."""
    return f"{number:,}".replace(",", " ")


def compared(
    group: str,
    name: str,
    ours: tuple[str, Sequence[Window]],
    theirs: tuple[str, Sequence[Window]],
    goal: Goal | None = None,
) -> Figure:
    """The rate of one series over another's."""
    values = ratios(rates(ours[1]), rates(theirs[1]))
    return Figure(group, name, values, goal, note=f"{per_second(*ours)}, {per_second(*theirs)}")
