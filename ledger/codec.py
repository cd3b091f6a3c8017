"""Plain frozen structs to JSON and back, by their annotations. Nothing here knows what they mean.

A `Secret` is written as its ciphertext only; one that was never sealed cannot be written at all.
"""

from collections.abc import Callable
from datetime import date, datetime
from functools import cache
from typing import Any, TypeVar, get_type_hints
from uuid import UUID

import msgspec
import orjson
from msgspec import Struct
from msgspec.structs import fields

from ledger.personal import Secret

T = TypeVar("T")
_WRITTEN_AS_IS = frozenset({str, int, bool, datetime, date, UUID})


def to_plain(value: Any) -> dict[str, Any]:
    """The fields of a struct as a dict that orjson can write. None is left out where it is the default."""
    plain: dict[str, Any] = {}
    cls: Any = type(value)
    for name, is_needed in _names(cls):
        part = getattr(value, name)
        if part is not None:
            plain[name] = part if type(part) in _WRITTEN_AS_IS else _plain(part, name)
        elif is_needed:
            plain[name] = None
    return plain


def _plain(part: Any, name: str) -> Any:
    if type(part) is Secret:
        assert part.sealed is not None, f"{name} must be sealed before it is written"
        return {"sealed": part.sealed}
    if isinstance(part, Struct):
        return to_plain(part)
    if type(part) is tuple:
        return [_plain(one, name) for one in part]
    if type(part) is dict:
        return {key: _plain(one, name) for key, one in part.items()}
    return part


def to_json(value: Any) -> str:
    return orjson.dumps(to_plain(value)).decode()


def from_plain(cls: type[T], plain: dict[str, Any]) -> T:
    """The struct again. Fields that are not there take their default; those nobody knows are ignored.

    Raises: msgspec.ValidationError where a field has another type than it is annotated with.
    """
    return msgspec.convert(plain, cls)


def from_json(cls: type[T], text: str | bytes) -> T:
    """As `from_plain`, in one step."""
    decoder: Any = _decoder
    result: T = decoder(cls).decode(text)
    return result


def keywords_from_plain(function: Callable[..., Any], plain: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments again, as the function's annotations want them."""
    hints = get_type_hints(function)
    return {name: msgspec.convert(value, hints[name]) if name in hints else value for name, value in plain.items()}


@cache
def _names(cls: Any) -> tuple[tuple[str, bool], ...]:
    return tuple((field.name, field.default is not None) for field in fields(cls))


@cache
def _decoder(cls: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(cls)
