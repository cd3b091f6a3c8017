"""Signing in by a link and pairing a till: a code is made, and whoever brings it gets a session, once.

Behind each session stands a key of its own. Revoked in the list of keys, it ends the session at once.
"""

import secrets
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg

from api import one_time_codes
from api.auth import Principal
from api.dependencies import Parts, facts
from api.errors import ScopeMissing, Unauthenticated
from ledger.commands.caller import Caller, utc_now
from ledger.commands.references import code_claim
from ledger.seal import MasterKey
from ledger.stream import Actor
from ledger.vendor import LINK_PREFIX, SCOPES, TILL_PREFIX, Scope

LINK_LASTS = timedelta(minutes=15)
CODE_LASTS = timedelta(minutes=15)
# Without what is easily taken for something else when it is read off a screen: 31 to the power of 8 are 2 to the 39.
LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
CODE_LETTERS = 8
TILL_SCOPES: tuple[Scope, ...] = ("cards", "earn", "redeem", "reverse")
OWNER = "SELECT stream_id FROM claims WHERE kind = %s AND scope = %s AND value = %s"


class VendorUnknown(Exception):
    """No vendor has this code."""


def must_hold(caller: Caller, scopes: tuple[Scope, ...]) -> None:
    """Nobody gives away, or takes from others, what they may not do themselves. Raises: ScopeMissing."""
    for scope in scopes:
        if scope not in caller.may:
            raise ScopeMissing(needed=scope)


# ------------------------------------------------------------------ links


def sign_in_url(public_url: str, token: str) -> str:
    return f"{public_url}/sign-in/{token}"


async def make_link(parts: Parts, vendor_id: UUID) -> tuple[str, datetime]:
    """A link for somebody who works for this vendor, and until when it can be used.

    Raises: VendorNotFound.
    """
    await parts.ledger.vendors.find(vendor_id)
    token, row, expires_at = _new_link(parts.master_key, vendor_id)
    await parts.reader.rows(one_time_codes.PUT, row)
    return sign_in_url(parts.settings.public_url, token), expires_at


def make_link_for(conninfo: str, master_key: MasterKey, code: str, *, public_url: str) -> tuple[str, datetime]:
    """The same from the command line, for the vendor with this code. Raises: VendorUnknown."""
    claim = code_claim(code)
    with psycopg.connect(conninfo) as connection:
        owner = connection.execute(OWNER, (claim.kind, claim.scope, claim.value)).fetchone()
        if owner is None:
            raise VendorUnknown(code)
        token, row, expires_at = _new_link(master_key, owner[0])
        connection.execute(one_time_codes.PUT, row)
    return sign_in_url(public_url, token), expires_at


def _new_link(master_key: MasterKey, vendor_id: UUID) -> tuple[str, dict[str, Any], datetime]:
    token, now = secrets.token_urlsafe(32), utc_now()
    expires_at = now + LINK_LASTS
    row = one_time_codes.row(
        master_key, "sign-in", token, vendor_id=vendor_id, details={}, now=now, expires_at=expires_at
    )
    return token, row, expires_at


async def use_link(parts: Parts, token: str, request_id: str) -> Principal:
    """Whoever brings a link may do everything for its vendor, until the session ends.

    Raises: Unauthenticated for a link that is unknown, used, or too old; as `Authenticator.of_key`.
    """
    taken = await one_time_codes.take(parts.reader, parts.master_key, "sign-in", token, now=utc_now())
    if taken is None:
        raise Unauthenticated
    outcome = await parts.ledger.vendors.issue_session_key(
        taken.vendor_id,
        prefix=LINK_PREFIX,
        name="Sign-in by link",
        scopes=SCOPES,
        expires_at=utc_now() + parts.sessions.longest,
        caller=Caller(taken.vendor_id, Actor("admin", "admin", "sign_in_link"), "vendor_ui", request_id),
    )
    return (await parts.authenticator.of_key(taken.vendor_id, UUID(facts(outcome)["id"])))[0]


async def end_session(parts: Parts, principal: Principal, request_id: str) -> None:
    """Who came by a link has a key of their own, and it ends with the session. Other keys stay."""
    if principal.actor.authenticated_by != "sign_in_link":
        return
    await _revoke_own(parts, principal, request_id)


async def unpair(parts: Parts, principal: Principal, request_id: str) -> None:
    """The till that asks is none any longer."""
    await _revoke_own(parts, principal, request_id)


async def _revoke_own(parts: Parts, principal: Principal, request_id: str) -> None:
    assert principal.vendor_id is not None and principal.key_id is not None
    caller = Caller(principal.vendor_id, principal.actor, principal.channel, request_id, api_key_id=principal.key_id)
    await parts.ledger.vendors.revoke_key(principal.vendor_id, principal.key_id, caller=caller)
    parts.authenticator.forget()


# ------------------------------------------------------------------ tills


async def make_pairing_code(
    parts: Parts, caller: Caller, *, name: str, location_id: UUID | None, program_id: UUID | None
) -> tuple[str, datetime]:
    """A code to type at the till that is to be paired, and until when it can be used.

    Raises: ScopeMissing where the caller may do less than a till; ProgramNotFound.
    """
    must_hold(caller, TILL_SCOPES)
    if program_id is not None:
        await parts.ledger.programs.find(program_id, caller.vendor_id)
    code, now = "".join(secrets.choice(LETTERS) for _ in range(CODE_LETTERS)), utc_now()
    expires_at = now + CODE_LASTS
    details = {
        "name": name,
        "location_id": location_id and str(location_id),
        "program_id": program_id and str(program_id),
        "asked_by": str(caller.api_key_id),
    }
    row = one_time_codes.row(
        parts.master_key, "till", code, vendor_id=caller.vendor_id, details=details, now=now, expires_at=expires_at
    )
    await parts.reader.rows(one_time_codes.PUT, row)
    return f"{code[:4]}-{code[4:]}", expires_at


async def use_pairing_code(parts: Parts, code: str, request_id: str) -> str:
    """Pair the till that brings a code: a key of its own is issued for it, by whoever asked for the code.

    Args:
        code: As it was typed: small letters, spaces and hyphens do not matter.

    Returns: The Set-Cookie header of the till.

    Raises: Unauthenticated for a code that is unknown, used or too old; CallerRevoked where the key that asked for it
        is none any longer.
    """
    typed = "".join(letter for letter in code.upper() if letter not in " -")
    taken = await one_time_codes.take(parts.reader, parts.master_key, "till", typed, now=utc_now())
    if taken is None:
        raise Unauthenticated
    asked_by = UUID(taken.details["asked_by"])
    outcome = await parts.ledger.vendors.issue_session_key(
        taken.vendor_id,
        prefix=TILL_PREFIX,
        name=taken.details["name"],
        scopes=TILL_SCOPES,
        expires_at=None,
        caller=Caller(
            taken.vendor_id,
            Actor("api_key", str(asked_by), "pairing_code"),
            "vendor_ui",
            request_id,
            api_key_id=asked_by,
        ),
    )
    key_id = UUID(facts(outcome)["id"])
    return parts.sessions.paired(
        taken.vendor_id,
        key_id,
        terminal_id=terminal_id_of(key_id),
        location_id=_id(taken.details["location_id"]),
        program_id=_id(taken.details["program_id"]),
    )


def terminal_id_of(key_id: UUID) -> str:
    """What a paired till is called in the record of what it did."""
    return f"till-{key_id.hex[-8:]}"


def _id(text: str | None) -> UUID | None:
    return None if text is None else UUID(text)
