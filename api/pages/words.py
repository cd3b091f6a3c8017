"""What templates say and how: sentences of the catalogue, counts, days, moments, numbers and money in one language."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_datetime, format_time
from babel.numbers import format_currency, format_decimal
from markupsafe import Markup, escape

from api.currencies import exponent
from api.languages import Language, translate, translate_count

NAMES: dict[Language, str] = {"en": "English", "fr": "Français", "de": "Deutsch", "lb": "Lëtzebuergesch"}
"""Each language by its own name."""
LOCALES: dict[Language, str] = {"en": "en_GB", "fr": "fr_FR", "de": "de_DE", "lb": "lb_LU"}
"""How days, numbers and money are written: as in Europe."""
STATUSES: Mapping[str, str] = {
    "active": "Active",
    "suspended": "Suspended",
    "closed": "Closed",
    "replaced": "Replaced",
    "erased": "Erased",
}
"""What a card can be, for those who work with it."""


@dataclass(frozen=True, slots=True)
class Words:
    """One language, as templates speak it. `t`, `tn` and `th` are what templates call its first three."""

    language: Language

    def text(self, sentence: str, /, **facts: Any) -> str:
        return translate(self.language, sentence, **facts)

    def count(self, one: str, many: str, count: int, /, **facts: Any) -> str:
        """The sentence for so many; `{count}` in it is written as this language writes numbers."""
        return translate_count(self.language, one, many, count, **{"count": self.number(count), **facts})

    def html(self, sentence: str, /, **facts: Any) -> Markup:
        """A sentence with markup among its facts: what is no Markup is escaped."""
        told = translate(self.language, sentence, **{name: f"{{{name}}}" for name in facts})
        return Markup(escape(told)).format(**facts)

    def number(self, number: int) -> str:
        return format_decimal(number, locale=LOCALES[self.language])

    def signed(self, number: int) -> str:
        """With its sign, a true minus: +1, −10."""
        return f"{'+' if number > 0 else '−' if number < 0 else ''}{self.number(abs(number))}"

    def changed(self, entry: Mapping[str, Any]) -> str:
        """What an entry of table loyalty_transactions changed, such as `+2 stamps`; empty where nothing did."""
        units = (
            (entry["stamps_delta"], "{count} stamp", "{count} stamps"),
            (entry["points_delta"], "{count} point", "{count} points"),
        )
        told = [self.count(one, many, abs(delta), count=self.signed(delta)) for delta, one, many in units if delta]
        return ", ".join(told)

    def money(self, minor: int, currency: str) -> str:
        """Minor units of a currency, such as 420 of EUR."""
        return format_currency(Decimal(minor).scaleb(-exponent(currency)), currency, locale=LOCALES[self.language])

    def day(self, at: datetime, zone: str) -> str:
        """The day a moment lies in, in a time zone: 23 November 2026."""
        return format_date(at.astimezone(ZoneInfo(zone)), format="long", locale=LOCALES[self.language])

    def moment(self, at: datetime, zone: str) -> str:
        """Day and time of day, in a time zone."""
        return f"{self.day(at, zone)}, {self.clock(at, zone)}"

    def brief(self, at: datetime, zone: str) -> str:
        """As `moment`, with a short month: for lists."""
        day = format_date(at.astimezone(ZoneInfo(zone)), format="medium", locale=LOCALES[self.language])
        return f"{day}, {self.clock(at, zone)}"

    def clock(self, at: datetime, zone: str) -> str:
        """The time of day, in a time zone."""
        return format_time(at.astimezone(ZoneInfo(zone)), format="short", locale=LOCALES[self.language])

    def second(self, at: datetime, zone: str) -> str:
        """Day and time to the second, short, in a time zone: for those who compare."""
        return format_datetime(at.astimezone(ZoneInfo(zone)), format="medium", locale=LOCALES[self.language])

    def date_of(self, day: date) -> str:
        """A day of the calendar, short."""
        return format_date(day, format="medium", locale=LOCALES[self.language])
