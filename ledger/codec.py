"""Plain frozen dataclasses to JSON and back, by their annotations. Nothing here knows what they mean.

None is left out. A `Secret` is written as its ciphertext only; one that was never sealed cannot be written at all.
"""

import types
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import orjson

from ledger.personal import Secret

T = TypeVar("T")
Convert = Callable[[Any], Any]
_WRITTEN_AS_IS = frozenset({str, int, bool, datetime, date, UUID})


def to_plain(value: Any) -> dict[str, Any]:
    """The fields of a dataclass as a dict that orjson can write."""
    plain: dict[str, Any] = {}
    cls: Any = type(value)
    for name in _names(cls):
        part = getattr(value, name)
        if part is not None:
            plain[name] = part if type(part) in _WRITTEN_AS_IS else _plain(part, name)
    return plain


def _plain(part: Any, name: str) -> Any:
    if type(part) is Secret:
        assert part.sealed is not None, f"{name} must be sealed before it is written"
        return part.sealed
    if is_dataclass(part):
        return to_plain(part)
    if type(part) is tuple:
        return [_plain(one, name) for one in part]
    if type(part) is dict:
        return {key: _plain(one, name) for key, one in part.items()}
    return part


def to_json(value: Any) -> str:
    return orjson.dumps(to_plain(value)).decode()


def from_plain(cls: type[T], plain: dict[str, Any]) -> T:
    """The dataclass again. Fields that are not there take their default, or None."""
    reader: Any = _reader
    result: T = reader(cls)(plain)
    return result


def from_json(cls: type[T], text: str | bytes) -> T:
    return from_plain(cls, orjson.loads(text))


def keywords_from_plain(function: Callable[..., Any], plain: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments again, as the function's annotations want them."""
    hints = get_type_hints(function)
    converts = {name: _converter(hints[name]) for name in plain if name in hints}
    return {name: convert(value) if (convert := converts.get(name)) else value for name, value in plain.items()}


@cache
def _names(cls: Any) -> tuple[str, ...]:
    return tuple(f.name for f in fields(cls))


@cache
def _reader(cls: Any) -> Convert:
    hints = get_type_hints(cls)
    converts = {f.name: convert for f in fields(cls) if (convert := _converter(hints[f.name])) is not None}
    empty = {name: None for name, hint in hints.items() if type(None) in get_args(hint)}
    known = frozenset(hints)

    def read(plain: dict[str, Any]) -> Any:
        values = empty | {name: value for name, value in plain.items() if name in known}
        for name, convert in converts.items():
            value = values.get(name)
            if value is not None:
                values[name] = convert(value)
        return cls(**values)

    return read


def _converter(hint: Any) -> Convert | None:
    """How a JSON value becomes the annotated one; None where it is that already."""
    simple: dict[Any, Convert] = {
        datetime: datetime.fromisoformat,
        date: date.fromisoformat,
        UUID: UUID,
        Secret: _sealed,
    }
    if hint in simple:
        return simple[hint]
    if is_dataclass(hint):
        nested: Any = hint
        reader: Convert = _reader(nested)
        return reader
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple:
        return _tuple_of(_converter(arguments[0]))
    if origin is dict:
        return _dict_of(_converter(arguments[1]))
    if origin in (Union, types.UnionType):
        converts = {_converter(argument) for argument in arguments if argument is not type(None)}
        assert len(converts) == 1, f"cannot tell the members of {hint} apart"
        return converts.pop()
    assert origin is Literal or hint in (int, str, bool), f"no way to read {hint}"
    return None


def _sealed(text: str) -> Secret:
    return Secret(sealed=text)


@cache
def _tuple_of(convert: Convert | None) -> Convert:
    return tuple if convert is None else lambda values: tuple(map(convert, values))


@cache
def _dict_of(convert: Convert | None) -> Convert:
    return dict if convert is None else lambda values: {k: convert(v) for k, v in values.items()}
