"""What does not fit in a request, told field by field: in our own words, and never with what was sent.

Values can be PINs and names, so neither pydantic's messages nor its `input` leave the building.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import PydanticCustomError

from api.languages import Language, translate

ERRORS_MAX = 20
NOT_VALID = "this value is not valid"

_WHOLE = "must be a whole number, written without fraction, exponent or quotes"
_NUMBER = "must be a number"
_TRUTH = "must be true or false"
_TEXT = "must be text"
_LIST = "must be a list"
_OBJECT = "must be an object"
_UUID = "must be a UUID, such as 0198c5a2-7d3c-7c4e-9b1a-2f6d1c0e8a55"
_MOMENT = "must be a date and time with a zone, such as 2026-03-29T10:00:00Z"
_DAY = "must be a date, such as 2026-03-29"

# pydantic's error type → the sentence for it. Facts in braces are pydantic's own context, all of it ours.
MESSAGES: Mapping[str, str] = {
    "missing": "is missing",
    "missing_argument": "is missing",
    "extra_forbidden": "is not a field of this request",
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "bool_type": _TRUTH,
    "bool_parsing": _TRUTH,
    "string_type": _TEXT,
    "string_sub_type": _TEXT,
    "string_unicode": _TEXT,
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "does not have the expected form",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be one of {expected}",
    "enum": "must be one of {expected}",
    "list_type": _LIST,
    "set_type": _LIST,
    "tuple_type": _LIST,
    "too_short": "must have at least {min_length} items",
    "too_long": "must have at most {max_length} items",
    "dict_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "dataclass_type": _OBJECT,
    "uuid_type": _UUID,
    "uuid_parsing": _UUID,
    "is_instance_of": NOT_VALID,
    "datetime_type": _MOMENT,
    "datetime_parsing": _MOMENT,
    "datetime_from_date_parsing": _MOMENT,
    "timezone_aware": _MOMENT,
    "date_type": _DAY,
    "date_parsing": _DAY,
    "date_from_datetime_parsing": _DAY,
    "none_required": "must be left out",
}

# What callers may rely on: few codes, ours, whatever the validator below is called.
CODES: Mapping[str, str] = {
    "missing": "missing",
    "missing_argument": "missing",
    "extra_forbidden": "unknown_field",
    "string_too_short": "too_short",
    "string_too_long": "too_long",
    "too_short": "too_short",
    "too_long": "too_long",
    "greater_than": "too_small",
    "greater_than_equal": "too_small",
    "less_than": "too_large",
    "less_than_equal": "too_large",
    "literal_error": "not_allowed",
    "enum": "not_allowed",
    "string_pattern_mismatch": "wrong_form",
    "uuid_parsing": "wrong_form",
    "datetime_parsing": "wrong_form",
    "timezone_aware": "wrong_form",
    "date_parsing": "wrong_form",
}

A_KEY_ITSELF = "[key]"  # How pydantic says that not the value under the name before it is meant, but that name.

_PLACES = frozenset({"body", "query", "path", "header", "cookie"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


def invalid(code: str, sentence: str, /, **facts: Any) -> PydanticCustomError:
    """What a validator of ours raises.

    Args:
        code: What a caller's program may rely on, in snake_case.
        sentence: English, in the catalogue, continuing the field's name: "must be a colour such as #1a2b3c".
        facts: What the sentence names in braces. Never what was sent.
    """
    return PydanticCustomError("own", "{sentence}", {"code": code, "sentence": sentence, "facts": facts})


def described(errors: Sequence[Any], language: Language) -> list[dict[str, Any]]:
    """pydantic's errors as callers read them.

    Returns:
        For each of the first 20: `in`, `field`, `pointer` (RFC 6901, bodies only), `code` and `message`.
    """
    return [_described(error, language) for error in errors[:ERRORS_MAX]]


def one(field: str, sentence: str, code: str, language: Language, /, **facts: Any) -> dict[str, Any]:
    """An error of the same shape that somebody other than pydantic found."""
    names = field.split(".")
    return {
        "in": "body",
        "field": field,
        "pointer": "/" + "/".join(names),
        "code": code,
        "message": translate(language, sentence, **facts),
    }


def _described(error: Mapping[str, Any], language: Language) -> dict[str, Any]:
    place, *names = [str(part) for part in error.get("loc", ()) if part != A_KEY_ITSELF] or ["body"]
    if place not in _PLACES:
        place, names = "body", [place, *names]
    safe = [name if name.isdecimal() or _NAME.fullmatch(name) else "?" for name in names]
    kind, context = str(error.get("type", "")), error.get("ctx") or {}
    if kind == "own":
        code, sentence, facts = context["code"], context["sentence"], context["facts"]
    elif kind in MESSAGES:
        code, sentence, facts = CODES.get(kind, "wrong_type"), MESSAGES[kind], context
    else:
        code, sentence, facts = "not_valid", NOT_VALID, {}
    answer = {"in": place, "field": ".".join(safe)}
    if place == "body":
        answer["pointer"] = "".join("/" + name for name in safe)
    return answer | {"code": code, "message": translate(language, sentence, **facts)}
