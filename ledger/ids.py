"""Ids: derived from names where a retry must find the same one again, ordered by time everywhere else."""

import secrets
from uuid import UUID

from uuid_utils.compat import uuid5, uuid7

_NAMESPACE = UUID("6c1f0a5e-54c8-4d9e-9f0e-3a6f0d0d8a11")


def new_id() -> UUID:
    """A UUIDv7."""
    return uuid7()


def derived(*names: object) -> UUID:
    """The id that always belongs to these names."""
    return uuid5(_NAMESPACE, "\x1f".join(map(str, names)))


def command_id(vendor_id: UUID, key: str) -> UUID:
    """The id of what a command creates: the same for each retry under the same Idempotency-Key."""
    return derived("command", vendor_id, key)


def attempts_id(card_id: UUID) -> UUID:
    """The stream of what was refused on a card."""
    return derived("attempts", card_id)


def wallet_pass_id(card_id: UUID) -> UUID:
    """The stream of a card's pass in phones."""
    return derived("wallet pass", card_id)


def new_card_number() -> str:
    """12 digits: 11 random ones, the first not zero, and a Luhn check digit.

    Source: ISO/IEC 7812-1, annex B.
    """
    body = f"{secrets.randbelow(9) + 1}{secrets.randbelow(10**10):010d}"
    return body + luhn_digit(body)


def luhn_digit(body: str) -> str:
    total = 0
    for place, digit in enumerate(reversed(body)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def looks_like_card_number(text: str) -> bool:
    return len(text) == 12 and text.isascii() and text.isdigit()


def is_card_number(text: str) -> bool:
    return looks_like_card_number(text) and luhn_digit(text[:-1]) == text[-1]


def new_qr_token() -> str:
    """24 random bytes, URL-safe: 32 characters."""
    return secrets.token_urlsafe(24)
