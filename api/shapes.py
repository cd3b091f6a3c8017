"""The shapes of what may be asked: strict bodies, and one type for each kind of value that comes from outside.

A value that passed here is safe to store and to show: no control characters, no half characters, no surprises of a
lenient parser, and a limit on everything.
"""

import re
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, get_args
from unicodedata import category, normalize
from urllib.parse import urlsplit
from uuid import UUID
from zoneinfo import available_timezones

from babel import Locale
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, WithJsonSchema

from api.currencies import CURRENCIES
from api.languages import Language as LanguageCode
from api.languages import known
from api.validation import invalid
from ledger.ids import looks_like_card_number
from ledger.subject import ErasureReason

MONEY_MINOR_MAX = 10**12
UNITS_MAX = 1_000_000
EXAMPLE_ID = "0198c5a2-7d3c-7c4e-9b1a-2f6d1c0e8a55"

_UUID = re.compile(r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}")
_QR = re.compile(r"[A-Za-z0-9_-]{32}")
_PIN = re.compile(r"[0-9]{4,8}")
_COLOR = re.compile(r"#[0-9A-Fa-f]{6}")
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?")
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}")
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_NOT_ZONES = frozenset({"Factory", "localtime", "posixrules"})


class Body(BaseModel):
    """Base of every request body: unknown fields, floats for integers and numbers in quotes are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


# ------------------------------------------------------------------ text


def _is_storable(text: str, allowed: str) -> bool:
    if text.isascii() and text.isprintable():
        return True
    for character in text:
        if category(character) in ("Cc", "Cs", "Zl", "Zp") and character not in allowed:
            return False
        if character in _BIDI_CONTROLS:
            return False
    return True


def _line(text: Any) -> Any:
    return _clean(text, "")


def _lines(text: Any) -> Any:
    return _clean(text, "\n\t") if not isinstance(text, str) else _clean(text.replace("\r\n", "\n"), "\n\t")


def _clean(text: Any, allowed: str) -> Any:
    if not isinstance(text, str):
        return text
    if not _is_storable(text, allowed):
        raise invalid("control_character", "must not contain control characters or halves of characters")
    return normalize("NFC", text).strip()


def looks_like_qr(text: str) -> bool:
    """Whether this could be what a card's QR code says."""
    return _QR.fullmatch(text) is not None


Line = Annotated[str, BeforeValidator(_line)]
"""One line of text, trimmed and in NFC. Give it a length where it is used."""

Name = Annotated[Line, Field(min_length=1, max_length=100, examples=["Café Beim Rousegäertchen"])]


def _none_if_blank(text: Any) -> Any:
    return None if isinstance(text, str) and not text.strip() else text


NameIfAny = Annotated[Name | None, BeforeValidator(_none_if_blank)]
"""A name, or nothing: blank is the same as left out."""
Reason = Annotated[
    Line, Field(min_length=1, max_length=200, description="Why, for the record.", examples=["Stamp given twice"])
]
Text = Annotated[str, BeforeValidator(_lines), Field(min_length=1, max_length=4_000)]
"""Several lines of text."""
TextIfAny = Annotated[Text | None, BeforeValidator(_none_if_blank)]

OrderReference = Annotated[
    Line,
    Field(min_length=1, max_length=100, description="The till's own name of the purchase.", examples=["2026-001482"]),
]
Search = Annotated[Line, Field(max_length=254)]


def _matching(form: "re.Pattern[str]", code: str, sentence: str) -> AfterValidator:
    def check(text: str) -> str:
        if not form.fullmatch(text):
            raise invalid(code, sentence)
        return text

    return AfterValidator(check)


Slug = Annotated[
    str,
    _matching(_SLUG, "wrong_form", "must be 1 to 48 of a-z, 0-9 and -, without - at either end"),
    Field(examples=["cafe-rousegaertchen"]),
]
Identifier = Annotated[
    str,
    _matching(_IDENTIFIER, "wrong_form", "must be 1 to 64 letters, digits or . _ : / -, beginning with the first two"),
    Field(examples=["till-2"]),
]
"""A name another system gave: a staff id, a terminal."""


# ------------------------------------------------------------------ ids and cards


def _uuid(value: Any) -> Any:
    if isinstance(value, UUID):
        return value
    if isinstance(value, str) and _UUID.fullmatch(value):
        return UUID(value)
    raise invalid("wrong_form", "must be a UUID, such as 0198c5a2-7d3c-7c4e-9b1a-2f6d1c0e8a55")


Uuid = Annotated[UUID, BeforeValidator(_uuid), Field(examples=[EXAMPLE_ID])]
"""A UUID in its usual form; in paths, queries and strict bodies alike."""


def _card(text: str) -> str:
    if _UUID.fullmatch(text) or looks_like_card_number(text) or _QR.fullmatch(text):
        return text.lower() if len(text) == 36 else text
    raise invalid("wrong_form", "must be a card's UUID, its 12-digit number or the text of its QR code")


CardReference = Annotated[
    str,
    AfterValidator(_card),
    Field(description="The card's UUID, its 12-digit number or the text of its QR code.", examples=["482913570263"]),
]


def _pin(pin: SecretStr) -> SecretStr:
    if not _PIN.fullmatch(pin.get_secret_value()):
        raise invalid("wrong_form", "must be 4 to 8 digits 0-9")
    return pin


Pin = Annotated[
    SecretStr,
    AfterValidator(_pin),
    WithJsonSchema(
        {"type": "string", "format": "password", "writeOnly": True, "pattern": "^[0-9]{4,8}$", "examples": ["4071"]}
    ),
]
"""Shows itself as stars. `get_secret_value()` where it is checked, nowhere else."""


_ReferencePart = Annotated[
    str, _matching(re.compile(r"[A-Za-z0-9._-]{1,50}"), "wrong_form", "must be 1 to 50 letters, digits or . _ -")
]


class Reference(Body):
    system: _ReferencePart
    type: _ReferencePart
    id: Annotated[Line, Field(min_length=1, max_length=100)]


def _reference(value: Any) -> Any:
    if isinstance(value, dict):
        parts = Reference.model_validate(value)
        return f"{parts.system}:{parts.type}:{parts.id}"
    return _line(value)


ExternalRef = Annotated[
    str,
    BeforeValidator(_reference),
    Field(min_length=1, max_length=202),
    WithJsonSchema(
        {
            "description": "Names this entry in another system, for ever: an object, or the same as `system:type:id`.",
            "anyOf": [
                {"type": "string", "minLength": 1, "maxLength": 202},
                {
                    "type": "object",
                    "properties": {
                        "system": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,50}$"},
                        "type": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,50}$"},
                        "id": {"type": "string", "minLength": 1, "maxLength": 100},
                    },
                    "required": ["system", "type", "id"],
                    "additionalProperties": False,
                },
            ],
            "examples": [{"system": "pos", "type": "receipt", "id": "2026-001482"}],
        }
    ),
]
"""Comes out as `system:type:id`, whichever way it came in."""


# ------------------------------------------------------------------ numbers and money

MoneyMinor = Annotated[
    int, Field(ge=0, le=MONEY_MINOR_MAX, description="In minor units: 1250 is EUR 12.50.", examples=[1250])
]
Count = Annotated[int, Field(ge=1, le=100, examples=[1])]
Units = Annotated[int, Field(ge=1, le=UNITS_MAX, examples=[100])]


def _not_zero(value: int) -> int:
    if value == 0:
        raise invalid("not_allowed", "must not be zero")
    return value


Delta = Annotated[int, Field(ge=-UNITS_MAX, le=UNITS_MAX, examples=[-2]), AfterValidator(_not_zero)]
"""A signed change of units."""


class Rate(Body):
    """`points` for each `per_minor` minor units spent: 1 point for each euro is 1 per 100."""

    points: Annotated[int, Field(ge=1, le=UNITS_MAX, examples=[1])]
    per_minor: Annotated[int, Field(ge=1, le=10**9, examples=[100])]


def _currency(code: str) -> str:
    if code not in CURRENCIES:
        raise invalid("unknown_currency", "must be the ISO 4217 code of money one can pay with, such as EUR")
    return code


Currency = Annotated[str, AfterValidator(_currency), Field(description="ISO 4217.", examples=["EUR"])]


# ------------------------------------------------------------------ places, languages, looks


def _zone(name: str) -> str:
    if name not in _zones():
        raise invalid("unknown_timezone", "must be an IANA time zone, such as Europe/Luxembourg")
    return name


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones()) - _NOT_ZONES


TimeZone = Annotated[str, AfterValidator(_zone), Field(description="IANA.", examples=["Europe/Luxembourg"])]


def _country(code: str) -> str:
    if code not in _countries():
        raise invalid("unknown_country", "must be an ISO 3166-1 country code, such as LU")
    return code


@cache
def _countries() -> frozenset[str]:
    """CLDR's territories of two letters, without its groupings and private codes."""
    return frozenset(code for code in map(str, Locale("en").territories) if re.fullmatch("[A-Z]{2}", code)) - frozenset(
        {"EU", "EZ", "QO", "UN", "XA", "XB", "ZZ"}
    )


Country = Annotated[str, AfterValidator(_country), Field(description="ISO 3166-1.", examples=["LU"])]


def _language(code: Any) -> Any:
    return known(code) or code if isinstance(code, str) else code


Language = Annotated[
    Literal["en", "fr", "de", "lb"],
    BeforeValidator(_language),
    Field(description="`lu` is taken as `lb`.", examples=["lb"]),
]
assert get_args(LanguageCode) == ("en", "fr", "de", "lb")


def _distinct(fields: list[str]) -> list[str]:
    if len(set(fields)) < len(fields):
        raise invalid("not_allowed", "must not name anything twice")
    return fields


def _no_language_twice(given: Any) -> Any:
    if isinstance(given, dict):
        _distinct([str(_language(code)) for code in given])
    return given


Words = TypeVar("Words")
Translated = Annotated[dict[Language, Words], BeforeValidator(_no_language_twice)]
"""Something for each of some languages: `Translated[str]`."""


EnrolmentFields = Annotated[
    list[Literal["name", "email", "phone"]],
    Field(max_length=2, examples=[["name", "email"]]),
    AfterValidator(_distinct),
]

HexColor = Annotated[
    str,
    _matching(_COLOR, "wrong_form", "must be a colour such as #1a2b3c"),
    AfterValidator(str.lower),
    Field(examples=["#7a1f3d"]),
]


def _https(url: str) -> str:
    sentence = "must be a public https address, such as https://example.com/logo.png"
    if not _is_storable(url, "") or any(c.isspace() for c in url) or not url.isascii():
        raise invalid("wrong_form", sentence)
    try:
        parts = urlsplit(url)
        is_fine = parts.scheme == "https" and parts.port != 0 and "@" not in parts.netloc and "\\" not in url
        is_fine = is_fine and _HOST.fullmatch(parts.hostname or "") is not None
    except ValueError:
        is_fine = False
    if not is_fine:
        raise invalid("wrong_form", sentence)
    return url


HttpsUrl = Annotated[str, Field(max_length=500, examples=["https://example.com/logo.png"]), AfterValidator(_https)]


# ------------------------------------------------------------------ time


def _moment(value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    if isinstance(value, str) and _MOMENT.fullmatch(value):
        try:
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise invalid("wrong_form", "must be a date and time with a zone, such as 2026-03-29T10:00:00Z")


Timestamp = Annotated[
    datetime,
    BeforeValidator(_moment),
    Field(description="RFC 3339, with a zone; read as UTC.", examples=["2026-03-29T10:00:00Z"]),
]


# ------------------------------------------------------------------ people


class ErasureRequest(Body):
    reason: ErasureReason = Field(description="Why; a choice and no words, which might name somebody.")
