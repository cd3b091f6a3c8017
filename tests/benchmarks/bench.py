"""What every group of figures is given: how long, how often, where to run and whom to tell.

Servers start when somebody first asks for them and stop with the block.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from rich.console import Console

from tests.benchmarks import measuring, servers
from tests.benchmarks.population import Place, populate
from tests.callers import Till
from tests.databases import database
from tests.service import MASTER_KEY, ServiceProcess

T = TypeVar("T")

WINDOWS_EACH = 3


@dataclass
class Bench:
    """One run.

    Args:
        rounds: How often each measurement is made.
        seconds: How long each window of load lasts.
        is_quick: Smaller histories and fewer figures, for whoever is changing something.
    """

    rounds: int
    seconds: int
    is_quick: bool
    console: Console
    _stack: ExitStack
    _disks: dict[str, str] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)

    def disk(self, kind: str) -> str:
        """URL of the server on that kind of disk."""
        if kind not in self._disks:
            self._disks[kind] = self._stack.enter_context(servers.disk(kind))
        return self._disks[kind]

    @contextmanager
    def database(self, kind: str, *, upgraded: bool = False) -> Iterator[str]:
        with database(self.disk(kind), upgraded=upgraded) as url:
            yield url

    def interleave(self, windows: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
        return measuring.interleave(self.rounds, windows, self.say)

    def say(self, sentence: str) -> None:
        self.console.print(f"[dim]{time.monotonic() - self._began:6.0f} s[/dim]  {sentence}", highlight=False)


@contextmanager
def opened(*, rounds: int, seconds: int, is_quick: bool, console: Console) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(rounds, seconds, is_quick, console, stack)


@dataclass(frozen=True)
class Shop:
    """A vendor with a program that allows sustained load, and as many cards as are asked for.

    Its program has no cooldown and the highest daily limit there is, a thousand stamps a card. A card's state holds the
    stamps of the day; so that no card gets more of them than a busy card would, a few windows share fresh cards.
    """

    till: Till
    program_id: UUID
    database_url: str
    _rested: list[list[str]] = field(default_factory=list)

    @classmethod
    def opened(cls, service: ServiceProcess) -> "Shop":
        till = service.shop()
        return cls(till, UUID(till.program()["id"]), service.database_url)

    @property
    def place(self) -> Place:
        return Place(self.database_url, MASTER_KEY, UUID(self.till.vendor_id), self.program_id)

    def cards(self, count: int, events_each: int = 1) -> list[str]:
        return populate(self.place, count, events_each)

    def rested(self, count: int) -> list[str]:
        """Cards that were in less than `WINDOWS_EACH` windows."""
        if not self._rested:
            self._rested.extend([self.cards(count)] * WINDOWS_EACH)
        return self._rested.pop()

    def session(self) -> str:
        """A staff session's token, of a new staff member."""
        pin = self.till.pin()
        answer = self.till.post(f"/pins/{pin['id']}/sessions", {"pin": "4071"})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])
