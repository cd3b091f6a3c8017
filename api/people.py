"""How people can be reached, each in one normal form: the same person is found again however it was typed."""

from typing import Annotated

import phonenumbers
from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from api.shapes import Line
from api.validation import invalid

PHONE_CHARACTERS_MAX = 32


def normal_email(text: str) -> str:
    """The address as it is kept; what is no address, in lower case."""
    try:
        return _email(text)
    except PydanticCustomError:
        return text.lower()


def _email(text: str) -> str:
    try:
        return validate_email(text, check_deliverability=False).normalized.lower()
    except (EmailNotValidError, ValueError):
        raise invalid("wrong_form", "must be an email address") from None


Email = Annotated[Line, Field(min_length=3, max_length=254, examples=["lea@example.lu"]), AfterValidator(_email)]
"""Lower case; nobody is asked whether the mailbox exists."""

PhoneText = Annotated[Line, Field(min_length=3, max_length=PHONE_CHARACTERS_MAX, examples=["+352 621 123 456"])]
"""A phone number as somebody typed it: give it to `phone_number` with the vendor's country."""


def phone_number(text: str, country: str | None = None) -> str | None:
    """The number in E.164, such as +352621123456.

    Args:
        country: ISO 3166-1, for numbers written without their country's prefix.

    Returns:
        None where no telephone could have this number.
    """
    try:
        number = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def _phone(text: str) -> str:
    number = phone_number(text)
    if number is None:
        raise invalid("wrong_form", "must be a phone number with its country, such as +352 621 123 456")
    return number


Phone = Annotated[PhoneText, AfterValidator(_phone)]
"""E.164, from a number written with its country's prefix."""
