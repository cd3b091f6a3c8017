"""Cards that were looked at, kept aside until all were: what is recorded is what was checked; nothing is read twice.

They lie in a file without a name, which the system takes away with the process, however that ends.
"""

import copyreg
import pickle
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial
from itertools import islice
from operator import attrgetter
from typing import IO, Any, get_args

from ledger.history import Lifetime, Past, PastEntry

TOGETHER = 100  # Cards in one piece, where each class is named once.


def keep(pasts: Iterator[Past], file: IO[bytes]) -> Iterator[Past]:
    """The same cards, each written to the file on its way."""
    pickler = pickle.Pickler(file, pickle.HIGHEST_PROTOCOL)
    pickler.dispatch_table = copyreg.dispatch_table | _TABLE
    while together := list(islice(pasts, TOGETHER)):
        pickler.dump(together)
        pickler.clear_memo()
        yield from together


def kept(file: IO[bytes]) -> Iterator[Past]:
    """What was written to the file, from its beginning."""
    file.seek(0)
    while True:
        try:
            together: list[Past] = pickle.load(file)
        except EOFError:
            return
        yield from together


def _by_constructor(cls: type[Any], get: Callable[[Any], tuple[Any, ...]], value: Any) -> tuple[type[Any], Any]:
    """Several times faster than the way dataclasses with slots have by themselves."""
    return cls, get(value)


_TABLE: dict[type[Any], Callable[[Any], Any]] = {
    cls: partial(_by_constructor, cls, attrgetter(*(f.name for f in fields(cls))))
    for cls in (Past, Lifetime, *get_args(PastEntry))
}
