"""Registering vendors, and the keys of their systems."""

import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from ledger import vendor as vendors
from ledger.commands import answers
from ledger.commands.caller import Caller, just_this, utc_now
from ledger.commands.references import code_claim, key_claim
from ledger.committer import Committer
from ledger.decision import Append, Claim, Claimed, Command, Decision, Once, Outcome, Stream, View
from ledger.errors import CodeTaken, VendorNotFound
from ledger.ids import derived, new_id
from ledger.reader import Reader
from ledger.vendor import KEY_PREFIX, ApiKey, Profile, Scope, Vendor, VendorEvent

PREFIX_CHARACTERS = 12


def digest_of_key(key: str) -> str:
    """What is stored for an API key: SHA-256 in hex."""
    return sha256(key.encode()).hexdigest()


class VendorCommands:
    def __init__(self, committer: Committer, reader: Reader, clock: Callable[[], datetime] = utc_now) -> None:
        self._committer = committer
        self._reader = reader
        self._clock = clock

    async def register(self, *, code: str, profile: Profile, caller: Caller, once: Once | None = None) -> Outcome:
        """A new vendor. The caller's vendor id is replaced by the new one.

        Raises: CodeTaken.
        """
        once = once or just_this()
        vendor_id = derived("vendor", once.command_id)
        caller = replace(caller, vendor_id=vendor_id)
        claim = code_claim(code)

        def decide(view: View) -> Decision:
            if view.owner(claim) is not None:
                raise CodeTaken(code=code)
            now = self._clock()
            events = vendors.register(code=code, profile=profile, now=now)
            return Decision(
                [Append(vendor_id, "vendor", None, events, caller.envelope("vendor", now))],
                lambda _, after: answers.vendor(vendor_of(after, vendor_id)),
                claims=[Claimed(claim, vendor_id)],
            )

        return await self._committer.submit(Command(vendor_id, once, decide, streams=[vendor_id], claims=[claim]))

    async def update(
        self, vendor_id: UUID, change: Callable[[Profile], Profile], *, is_active: bool | None, caller: Caller
    ) -> Outcome:
        """Change a vendor's profile, suspend or reinstate it. Raises: VendorNotFound."""

        def decide(vendor: Vendor, now: datetime) -> list[VendorEvent]:
            return vendors.update(vendor, profile=change(vendor.profile), is_active=is_active, now=now)

        return await self._change(
            vendor_id, decide, lambda after: answers.vendor(vendor_of(after, vendor_id)), caller, [], []
        )

    async def issue_key(
        self,
        vendor_id: UUID,
        *,
        name: str,
        scopes: tuple[Scope, ...],
        expires_at: datetime | None,
        caller: Caller,
    ) -> tuple[str, Outcome]:
        """A new API key, in clear this once; only its digest is recorded.

        Returns:
            The key, and the outcome whose answer describes it.

        Raises: VendorNotFound, InvalidValue; CallerRevoked where a vendor's key asks that is none any longer.
        """
        key = KEY_PREFIX + secrets.token_urlsafe(32)
        digest = digest_of_key(key)
        outcome = await self._issue(
            vendor_id,
            name,
            digest,
            key,
            scopes,
            expires_at,
            caller,
            lambda id_: [Claimed(key_claim(digest), vendor_id, id_)],
        )
        return key, outcome

    async def issue_session_key(
        self,
        vendor_id: UUID,
        *,
        prefix: str,
        name: str,
        scopes: tuple[Scope, ...],
        expires_at: datetime | None,
        caller: Caller,
    ) -> Outcome:
        """A key that nobody ever holds: a browser's session stands for it, and ends when it is revoked.

        Raises: as `issue_key`.
        """
        nobodys = prefix + secrets.token_urlsafe(32)
        return await self._issue(
            vendor_id, name, digest_of_key(nobodys), nobodys, scopes, expires_at, caller, lambda _: []
        )

    async def _issue(
        self,
        vendor_id: UUID,
        name: str,
        digest: str,
        key: str,
        scopes: tuple[Scope, ...],
        expires_at: datetime | None,
        caller: Caller,
        claims: Callable[[UUID], list[Claimed]],
    ) -> Outcome:
        key_id, prefix = new_id(), key[:PREFIX_CHARACTERS]

        def decide(vendor: Vendor, now: datetime) -> list[VendorEvent]:
            return vendors.issue_api_key(
                vendor,
                key_id=key_id,
                name=name,
                digest=digest,
                prefix=prefix,
                scopes=scopes,
                expires_at=expires_at,
                now=now,
            )

        return await self._change(
            vendor_id,
            decide,
            lambda after: answers.api_key(vendor_of(after, vendor_id).state.api_key(key_id)),
            caller,
            claims(key_id),
            [],
        )

    async def revoke_key(self, vendor_id: UUID, key_id: UUID, *, caller: Caller) -> Outcome:
        """The key is refused from this commit on.

        Raises: VendorNotFound, ApiKeyNotFound.
        """
        key: ApiKey = vendor_of(await self._reader.view([vendor_id]), vendor_id).state.api_key(key_id)
        return await self._change(
            vendor_id,
            lambda vendor, now: vendors.revoke_api_key(vendor, key_id=key_id, now=now),
            lambda _: {"id": key_id},
            caller,
            [],
            [key_claim(key.digest)],
        )

    async def find(self, vendor_id: UUID) -> dict[str, Any]:
        """Raises: VendorNotFound."""
        return answers.vendor(vendor_of(await self._reader.view([vendor_id]), vendor_id))

    async def keys(self, vendor_id: UUID) -> list[dict[str, Any]]:
        """The keys that are valid or will expire; revoked ones are gone. Raises: VendorNotFound."""
        vendor: Vendor = vendor_of(await self._reader.view([vendor_id]), vendor_id).state
        return [answers.api_key(key) for key in vendor.api_keys]

    async def by_code(self, code: str) -> Stream:
        """Raises: VendorNotFound."""
        claim = code_claim(code)
        view = await self._reader.view([], [claim])
        owner = view.owner(claim)
        return vendor_of(view, owner.stream_id if owner else None)

    async def holder_of(self, key: str) -> tuple[Stream, ApiKey] | None:
        """The vendor an API key belongs to; None where it is unknown, revoked or expired, or the vendor suspended."""
        digest = digest_of_key(key)
        claim = key_claim(digest)
        view = await self._reader.view([], [claim])
        owner = view.owner(claim)
        stream = view.stream(owner.stream_id) if owner else None
        if stream is None or not stream.state.is_active:
            return None
        found = next((k for k in stream.state.api_keys if k.digest == digest), None)
        return (stream, found) if found is not None and found.is_valid(self._clock()) else None

    async def key_of(self, vendor_id: UUID, key_id: UUID) -> tuple[Stream, ApiKey] | None:
        """A vendor and its key by their ids; None as for `holder_of`."""
        stream = await self._reader.stream(vendor_id)
        if stream is None or not isinstance(stream.state, Vendor) or not stream.state.is_active:
            return None
        found = next((k for k in stream.state.api_keys if k.key_id == key_id), None)
        return (stream, found) if found is not None and found.is_valid(self._clock()) else None

    async def _change(
        self,
        vendor_id: UUID,
        change: Callable[[Vendor, datetime], list[VendorEvent]],
        answer: Callable[[View], dict[str, Any]],
        caller: Caller,
        claims: list[Claimed],
        releases: list[Claim],
    ) -> Outcome:
        caller = replace(caller, vendor_id=vendor_id)

        def decide(view: View) -> Decision:
            stream = vendor_of(view, vendor_id)
            caller.must_be_valid(view)
            now = max(self._clock(), stream.state.last_at)
            events = change(stream.state, now)
            append = Append(vendor_id, "vendor", None, events, caller.envelope("vendor", now))
            return Decision(
                [append] if events else [], lambda _, after: answer(after), claims=claims, releases=releases
            )

        return await self._committer.submit(Command(vendor_id, just_this(), decide, streams=[vendor_id]))


def vendor_of(view: View, vendor_id: UUID | None) -> Stream:
    """Raises: VendorNotFound."""
    stream = view.stream(vendor_id) if vendor_id else None
    if stream is None or not isinstance(stream.state, Vendor):
        raise VendorNotFound
    return stream
