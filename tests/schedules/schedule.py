"""Schedules: what happens in which order to two cards, two subscribers, two workers, and phones or Google.

A schedule is a function of its seed. Its steps name everybody by number, so that any of them can be left out and the
others still mean something.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

STEPS = 12


@dataclass(frozen=True, slots=True)
class Step:
    """`who` does `what`; `how` says with what trouble, `number` where or how much."""

    what: str
    who: int = 0
    how: str = ""
    number: int = 1

    def __str__(self) -> str:
        return f"{self.what} {self.who} {self.how} {self.number}".replace("  ", " ")


Schedule: TypeAlias = tuple[Step, ...]

# What goes wrong is as likely as what goes well. A mistake of ours, 400, is parked, and somebody must help.
PUSHED = (
    *("delivered", "delivered", "delivered", "delivered", "lost", "late"),
    *("503", "429", "403", "400", "torn before", "torn after"),
    *("held", "held", "held, delivered", "held, delivered"),
)
WRITTEN = (
    *("ok", "ok", "ok", "ok", "lost", "answer lost", "answer lost"),
    *("503", "429", "403", "400"),
    *("held", "held", "held, arrived", "held, arrived", "stamp meanwhile", "stamp meanwhile"),
)
TOLD = ("", "", "twice", "late")
# What may happen: how often, and with what trouble.
What: TypeAlias = dict[str, tuple[int, tuple[str, ...]]]
ANYWAY: What = {
    # A card.
    "stamp": (16, ("",)),
    "buy": (3, ("",)),
    "redeem": (3, ("",)),
    "suspend or reinstate": (3, ("",)),
    "rename program": (3, ("",)),
    "rename shop": (1, ("",)),
    # What follows.
    "project": (10, ("",)),
    "follow": (16, ("", "", "", "breaks", "other first", "stamp first", "stamp and project first", "beside other")),
    "look at program": (3, ("", "", "breaks")),
}
APPLE: What = {
    **ANYWAY,
    "push": (18, PUSHED),
    "push both": (2, ("delivered",)),
    "answer": (6, ("delivered", "503", "torn after", "late")),
    "push worker dies": (4, ("",)),
    "time passes": (8, ("",)),
    # A phone.
    "late push arrives": (2, ("",)),
    "ask": (8, ("", "", "stamp meanwhile", "stamp and project meanwhile", "answer lost")),
    "add": (12, ("", "", "stamp meanwhile", "stamp and project meanwhile", "answer lost")),
    "download": (4, ("", "stamp meanwhile")),
    "register": (4, ("", "", "answer lost")),
    "register and ask": (5, ("", "stamp meanwhile", "stamp and project meanwhile", "answer lost")),
    "throw away": (2, ("", "answer lost")),
    "new token": (3, ("gone", "bad")),
    "vanish": (1, ("",)),
    "come back": (2, ("",)),
}
GOOGLE: What = {
    **ANYWAY,
    "write": (18, WRITTEN),
    "write both": (2, ("ok",)),
    "answer": (6, ("ok", "lost", "answer lost", "503")),
    "worker dies": (4, ("",)),
    "time passes": (8, ("",)),
    # At Google.
    "create": (6, ("",)),
    "class vanishes": (2, ("",)),
    "object vanishes": (3, ("",)),
    "save": (4, TOLD),
    "remove": (3, TOLD),
    "late messages arrive": (2, ("",)),
    "night": (3, ("",)),
}
COMMON = 0.65
SECONDS = (1, 3, 3, 31, 61, 61, 400, 4000)


def schedule(seed: int, what: What) -> Schedule:
    """Each does without about a third of what may happen: what is rare among everything is common among little."""
    rng = random.Random(seed)
    names = [name for name in what if name == "stamp" or rng.random() < COMMON]
    chosen = rng.choices(names, [what[name][0] for name in names], k=STEPS)
    return tuple(Step(name, rng.randrange(2), rng.choice(what[name][1]), rng.randrange(1, 9)) for name in chosen)


def shortened(steps: Schedule, fails: Callable[[Schedule], bool]) -> Schedule:
    """Without the steps that it fails without, too."""
    for step in range(len(steps) - 1, -1, -1):
        shorter = steps[:step] + steps[step + 1 :]
        if fails(shorter):
            steps = shorter
    return steps
