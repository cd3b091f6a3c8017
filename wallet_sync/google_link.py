"""The address behind "Add to Google Wallet".

Who has the address may save the card: make it when it is asked for, neither keep nor log it. It names an object that
was written before, and never changes one.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from google.auth import crypt, jwt

SAVE_URL = "https://pay.google.com/gp/v/save/"
JWT_CHARACTERS_MAX = 1800  # Browsers cut longer addresses.


class LinkTooLong(ValueError):
    """The link would be cut on its way: too many or too long origins or ids."""


def save_link(
    service_account_info: Mapping[str, Any],
    *,
    object_id: str,
    class_id: str,
    origins: Sequence[str],
    now: datetime,
) -> str:
    """The address that puts a card into a wallet.

    Args:
        service_account_info: Google's JSON key file, parsed.
        object_id, class_id: Of an object and a class that Google has already.
        origins: Web origins, `https://cafe.example`, whose pages show the button; none for mails.
        now: Aware.

    Raises:
        LinkTooLong: The token has more than JWT_CHARACTERS_MAX characters.
        ValueError: The key file is none.

    Source: Google Wallet, "JSON Web Tokens" and "Working with JWT".
    """
    signer = crypt.RSASigner.from_service_account_info(service_account_info)  # type: ignore[no-untyped-call]
    claims = {
        "iss": service_account_info["client_email"],
        "aud": "google",
        "typ": "savetowallet",
        "iat": int(now.timestamp()),
        "origins": list(origins),
        "payload": {"loyaltyObjects": [{"id": object_id, "classId": class_id}]},
    }
    token: str = jwt.encode(signer, claims).decode()  # type: ignore[no-untyped-call]
    if len(token) > JWT_CHARACTERS_MAX:
        raise LinkTooLong(f"the link's token has {len(token)} characters, {JWT_CHARACTERS_MAX} are safe")
    return SAVE_URL + token
