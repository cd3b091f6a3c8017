"""Frozen values with some fields changed."""

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

T = TypeVar("T")


def changed(value: T, **changes: Any) -> T:
    """What `dataclasses.replace` gives, in a quarter of the time: states are evolved millions of times.

    For classes of at least two fields, all of which their constructor takes.
    """
    cls: Any = type(value)
    get, places = _shape(cls)
    parts = list(get(value))
    for name, part in changes.items():
        parts[places[name]] = part
    new: T = cls(*parts)
    return new


@cache
def _shape(cls: Any) -> tuple[Callable[[Any], tuple[Any, ...]], dict[str, int]]:
    names = [f.name for f in fields(cls)]
    return attrgetter(*names), {name: place for place, name in enumerate(names)}
