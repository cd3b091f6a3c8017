"""A chart of bars, one for each day, as numbers that a template draws: no script, and in the page's own colours."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT, FOOT = 720, 180, 2
GAP = 4


@dataclass(frozen=True, slots=True)
class Bar:
    name: str
    count: int
    told: str


def bars(days: Sequence[Bar]) -> dict[str, Any]:
    """Where each bar stands, in units of the drawing; `top` is the highest count, `scale` what its line says."""
    highest = max((day.count for day in days), default=0)
    step = WIDTH / max(len(days), 1)
    tall = HEIGHT - FOOT
    drawn = []
    for number, day in enumerate(days):
        height = tall * day.count / highest if highest else 0
        height = max(height, 3)
        drawn.append(
            {
                "x": round(number * step + GAP / 2, 1),
                "y": round(HEIGHT - FOOT - height, 1),
                "width": round(step - GAP, 1),
                "height": round(height, 1),
                "is_empty": day.count == 0,
                "told": day.told,
            }
        )
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "foot": HEIGHT - FOOT,
        "bars": drawn,
        "highest": highest,
        "sum": sum(day.count for day in days),
        "first": days[0].name if days else "",
        "last": days[-1].name if days else "",
    }
