"""Cards that were looked at, kept aside until all were: what is recorded is what was checked; nothing is read twice.

They lie in a file without a name, which the system takes away with the process, however that ends.
"""

import copyreg
import pickle
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from functools import partial
from io import BytesIO
from operator import attrgetter
from typing import IO, Any, get_args

from ledger.history import Lifetime, Past, PastEntry

LENGTH_BYTES = 8


def keep(pasts: Iterable[Past], file: IO[bytes], *, events: int) -> Iterator[Past]:
    """The same cards, each written to the file on its way: in pieces of whole cards, of about so many events."""
    for together in _batches(pasts, events):
        piece = BytesIO()
        pickler = pickle.Pickler(piece, pickle.HIGHEST_PROTOCOL)
        pickler.dispatch_table = copyreg.dispatch_table | _TABLE
        pickler.dump(together)
        file.write(piece.tell().to_bytes(LENGTH_BYTES, "big"))
        file.write(piece.getbuffer())
        yield from together


def kept(file: IO[bytes]) -> Iterator[bytes]:
    """The pieces in the file, from its beginning: a pickled list of cards each."""
    file.seek(0)
    while length := file.read(LENGTH_BYTES):
        yield file.read(int.from_bytes(length, "big"))


def _batches(cards: Iterable[Past], events_wanted: int) -> Iterator[list[Past]]:
    batch: list[Past] = []
    events = 0
    for past in cards:
        batch.append(past)
        events += 1 + len(past.entries)
        if events >= events_wanted:
            yield batch
            batch, events = [], 0
    if batch:
        yield batch


def _by_constructor(cls: type[Any], get: Callable[[Any], tuple[Any, ...]], value: Any) -> tuple[type[Any], Any]:
    """Several times faster than the way dataclasses with slots have by themselves."""
    return cls, get(value)


_TABLE: dict[type[Any], Callable[[Any], Any]] = {
    cls: partial(_by_constructor, cls, attrgetter(*(f.name for f in fields(cls))))
    for cls in (Past, Lifetime, *get_args(PastEntry))
}
