"""A chart of days as the server draws it: where each bar stands, in units of an SVG's own size."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

WIDTH, HEIGHT = 720, 180
GAP_SHARE = 0.25


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
    """`highest` is the largest count, which is as high as the chart."""

    bars: tuple[Bar, ...]
    highest: int
    total: int
    width: int = WIDTH
    height: int = HEIGHT


def bars(counts: Mapping[date, int], *, days: int, today: date) -> Chart:
    """A bar for each of the last days, today's last; days that are not named have none."""
    shown = [today - timedelta(days=ago) for ago in range(days - 1, -1, -1)]
    highest, step = max((counts.get(day, 0) for day in shown), default=0), WIDTH / days
    drawn = []
    for number, day in enumerate(shown):
        count = counts.get(day, 0)
        height = 0.0 if highest == 0 else round(HEIGHT * count / highest, 2)
        drawn.append(
            Bar(day, count, round(number * step, 2), HEIGHT - height, round(step * (1 - GAP_SHARE), 2), height)
        )
    return Chart(tuple(drawn), highest, sum(bar.count for bar in drawn))
