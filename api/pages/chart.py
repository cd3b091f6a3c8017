"""A chart of days as the server draws it: where each bar stands, in units of an SVG's own size."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

WIDTH, HEIGHT, FOOT = 720, 180, 2
GAP = 4
STUB = 3
"""How high a day without anything is: it was there, all the same."""


@dataclass(frozen=True, slots=True)
class Bar:
    day: date
    count: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Chart:
    """`highest` is the largest count, whose bar is as high as the chart; `foot` is where the bars stand."""

    bars: tuple[Bar, ...]
    highest: int
    total: int
    width: int = WIDTH
    height: int = HEIGHT
    foot: int = HEIGHT - FOOT


def bars(counts: Mapping[date, int], *, days: int, today: date) -> Chart:
    """A bar for each of the last days; those that are not named have none.

    Today's is the last one, or tomorrow's where it is tomorrow already: counts are by the day of where they come from.
    """
    last = max((today, *counts))
    shown = [last - timedelta(days=ago) for ago in range(days - 1, -1, -1)]
    highest, step, foot = max((counts.get(day, 0) for day in shown), default=0), WIDTH / days, HEIGHT - FOOT
    gap = min(GAP, step / 4)
    drawn = []
    for number, day in enumerate(shown):
        count = counts.get(day, 0)
        height = max(round(foot * count / highest, 2) if highest else 0, STUB)
        drawn.append(Bar(day, count, round(number * step + gap / 2, 2), foot - height, round(step - gap, 2), height))
    return Chart(tuple(drawn), highest, sum(bar.count for bar in drawn))
