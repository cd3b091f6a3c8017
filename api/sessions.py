"""A browser's session: a sealed cookie that says whom it stands for, and until when.

It always stands for a key: the administrator's, the auditor's, or one of a vendor's, which may be revoked at any time
and ends its sessions with it. Nothing is kept on our side, and nobody but us can make, read or change a cookie.
"""

import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import structs
from starlette.requests import HTTPConnection

from api.auth import Authenticator, Principal
from api.errors import CrossSiteForm, Unauthenticated
from ledger.commands.caller import utc_now
from ledger.seal import NONCE_BYTES, MasterKey
from ledger.vendor import LINK_PREFIX

Kind = Literal["__Host-session", "__Host-till"]
PERSON: Kind = "__Host-session"
TILL: Kind = "__Host-till"
SAYS_TILL = "x-till"
"""The header by which a till's own pages ask as the till, whoever else is signed in at the same browser."""

SET_COOKIE = "loyalty_ledger.set_cookie"  # Where a renewed cookie waits in the scope for the answer to leave.
SAFE = ("GET", "HEAD", "OPTIONS")
TILL_LASTS = timedelta(days=400)  # As long as a browser keeps any cookie; counted anew whenever it is used.
COOKIE_CHARACTERS_MAX = 2_000


@dataclass(frozen=True, slots=True)
class Session:
    """Whom a cookie stands for. Times are UTC."""

    who: Literal["admin", "auditor", "api_key"]
    idle_until: datetime
    ends_at: datetime
    mark: str | None = None  # Of an administrator's or auditor's key: another key, no session.
    vendor_id: UUID | None = None
    key_id: UUID | None = None
    terminal_id: str | None = None
    location_id: UUID | None = None
    program_id: UUID | None = None


class Sessions:
    """Opens cookies, and makes those that are set.

    Args:
        idle: How long a session lasts without a request. A cookie is renewed when a tenth of it is over.
        longest: How long at most.
        public_url: The address the service is known under. Its origin and the one that was asked are ours.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        master_key: MasterKey,
        *,
        idle: timedelta,
        longest: timedelta,
        public_url: str,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._authenticator = authenticator
        self._keys = {
            PERSON: [AESGCM(key.derive("browser sessions")) for key in _keys(master_key)],
            TILL: [AESGCM(key.derive("tills")) for key in _keys(master_key)],
        }
        self._idle = {PERSON: idle, TILL: TILL_LASTS}
        self.longest = longest
        self._origin = origin_of(public_url)
        self._clock = clock

    # ------------------------------------------------------------------ who asks

    async def identify(self, request: HTTPConnection, kind: Kind | None = None) -> Principal:
        """The caller behind the cookie of a request that has no Authorization header.

        A cookie is sent by the browser whoever wrote the page: what changes something must come from a page of ours.

        Args:
            kind: Whose cookie; None: as the request says.

        Raises: Unauthenticated for no session, or one that has ended; CrossSiteForm.
        """
        kind = kind or (TILL if SAYS_TILL in request.headers else PERSON)
        text = request.cookies.get(kind)
        if text is None:
            raise Unauthenticated
        if request.scope.get("method") not in SAFE:
            self.must_be_ours(request)
        session = self._opened(kind, text)
        principal = await self._principal(kind, session)
        renewed = self._running(kind, session)
        if renewed.idle_until - session.idle_until > self._idle[kind] * 0.1:
            request.scope[SET_COOKIE] = self._header(kind, renewed)
        return principal

    def must_be_ours(self, request: HTTPConnection) -> None:
        """Raises: CrossSiteForm where the browser says that another site's page sent this, or does not say.

        Source: W3C Fetch Metadata, 2.3; RFC 6454, 7.
        """
        site = request.headers.get("sec-fetch-site")
        if site is not None:
            is_ours = site == "same-origin"
        else:
            here = f"{request.scope['scheme']}://{request.headers.get('host', '')}"
            is_ours = request.headers.get("origin") in (here, self._origin)
        if not is_ours:
            raise CrossSiteForm

    async def _principal(self, kind: Kind, session: Session) -> Principal:
        if session.vendor_id is None or session.key_id is None:
            assert session.who != "api_key" and session.mark is not None
            return self._authenticator.still(session.who, session.mark)
        principal, key = await self._authenticator.of_key(session.vendor_id, session.key_id)
        if kind == TILL:
            return replace(
                principal,
                actor=structs.replace(principal.actor, authenticated_by="paired_till"),
                terminal_id=session.terminal_id,
                location_id=session.location_id,
                program_id=session.program_id,
            )
        how = "sign_in_link" if key.prefix.startswith(LINK_PREFIX) else "session"
        return replace(principal, actor=structs.replace(principal.actor, authenticated_by=how), channel="vendor_ui")

    # ------------------------------------------------------------------ cookies

    def begun(self, principal: Principal) -> str:
        """The Set-Cookie header of a new session for whoever this is."""
        now = self._clock()
        session = Session(
            principal.kind,
            now,
            now + self.longest,
            mark=self._authenticator.mark(principal.kind) if principal.kind != "api_key" else None,
            vendor_id=principal.vendor_id,
            key_id=principal.key_id,
        )
        return self._header(PERSON, self._running(PERSON, session))

    def paired(
        self, vendor_id: UUID, key_id: UUID, *, terminal_id: str, location_id: UUID | None, program_id: UUID | None
    ) -> str:
        """The Set-Cookie header of a till."""
        session = Session(
            "api_key",
            self._clock(),
            self._clock(),
            vendor_id=vendor_id,
            key_id=key_id,
            terminal_id=terminal_id,
            location_id=location_id,
            program_id=program_id,
        )
        return self._header(TILL, self._running(TILL, session))

    def _running(self, kind: Kind, session: Session) -> Session:
        now = self._clock()
        if kind == TILL:
            return replace(session, idle_until=now + TILL_LASTS, ends_at=now + TILL_LASTS)
        return replace(session, idle_until=min(now + self._idle[kind], session.ends_at))

    def _header(self, kind: Kind, session: Session) -> str:
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._keys[kind][0].encrypt(nonce, msgspec.json.encode(session), kind.encode())
        seconds = int((session.ends_at - self._clock()).total_seconds())
        return _set_cookie(kind, urlsafe_b64encode(nonce + sealed).decode(), seconds)

    def _opened(self, kind: Kind, text: str) -> Session:
        """Raises: Unauthenticated for what we did not make, and for a session that has ended."""
        try:
            raw = urlsafe_b64decode(text) if len(text) <= COOKIE_CHARACTERS_MAX else b""
        except (NotBase64, ValueError):
            raise Unauthenticated from None
        for cipher in self._keys[kind]:
            try:
                plain = cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], kind.encode())
            except (InvalidTag, ValueError):
                continue
            session = msgspec.json.decode(plain, type=Session)
            if self._clock() < min(session.idle_until, session.ends_at):
                return session
        raise Unauthenticated


def ended(kind: Kind) -> str:
    """The Set-Cookie header that takes a cookie away."""
    return _set_cookie(kind, "", 0)


def origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _keys(master_key: MasterKey) -> list[MasterKey]:
    """The newest first; while the master key changes, also the one before."""
    return [key for key in (master_key, master_key.previous) if key is not None]


def _set_cookie(kind: Kind, value: str, seconds: int) -> str:
    """Of this host alone, over TLS alone, and out of reach of scripts.

    A person's goes along when they follow a link to us; a till's with nothing that begins elsewhere.

    Source: RFC 6265bis, 4.1.3.2.
    """
    same_site = "Lax" if kind == PERSON else "Strict"
    return f"{kind}={value}; Max-Age={seconds}; Path=/; Secure; HttpOnly; SameSite={same_site}"
