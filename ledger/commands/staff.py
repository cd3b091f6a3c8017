"""Staff PINs and sessions.

A PIN is checked outside of rounds, because bcrypt is slow on purpose: by one check at a time for each PIN in all
processes together, so that of any number of parallel guesses exactly as many are looked at as the lockout allows.
What is recorded afterwards is bound to the credential that was checked.
"""

import asyncio
import hmac
import secrets
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from weakref import WeakValueDictionary

import bcrypt
import orjson

from ledger import staff_pin as pins
from ledger.commands import answers
from ledger.commands.caller import Caller, ProvenStaff, just_this, utc_now
from ledger.commands.references import program_of, staff_claim
from ledger.committer import Committer
from ledger.decision import Append, Claim, Claimed, Command, Decision, Once, Outcome, Stream, View
from ledger.errors import (
    CardIsErased,
    PinBusy,
    PinInvalid,
    RateLimited,
    StaffIdTaken,
    StaffPinNotFound,
    StaffSessionInvalid,
)
from ledger.ids import derived
from ledger.personal import Secret
from ledger.reader import Reader
from ledger.seal import MasterKey, SubjectKey, unseal
from ledger.staff_pin import OPERATIONS_OF_ROLE, Operation, Role, StaffPin, StaffPinEvent

BCRYPT_COST = 10
CHECKS_IN_PARALLEL = 2
TURN_SECONDS = 10
TURN_WAIT_SECONDS = 2.0
TERMINAL_FAILURES_PER_HOUR = 20
SESSION_IDLE = timedelta(minutes=5)
SESSION_LONGEST = timedelta(hours=8)

# A turn is one row. It is taken when there is none, or its holder is gone since longer than a check can take.
TAKE_TURN = """
INSERT INTO pin_turns AS t (turn_id, holder, expires_at) VALUES (%s, %s, now() + make_interval(secs => %s))
ON CONFLICT (turn_id) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
WHERE t.expires_at < now()
RETURNING 1
"""
END_TURN = "DELETE FROM pin_turns WHERE turn_id = %s AND holder = %s"
COUNT_FAILURE = """
INSERT INTO rate_counts AS r (subject, window_start, count) VALUES (%s, %s, 1)
ON CONFLICT (subject, window_start) DO UPDATE SET count = r.count + 1
"""
FAILURES = "SELECT count FROM rate_counts WHERE subject = %s AND window_start = %s"


@dataclass(frozen=True, slots=True)
class StaffSession:
    """A token that is ours. `renewed` is the token for another idle period."""

    staff: ProvenStaff
    terminal_id: str | None
    is_running: bool
    renewed: str


class StaffCommands:
    def __init__(
        self,
        committer: Committer,
        reader: Reader,
        master_key: MasterKey,
        clock: Callable[[], datetime] = utc_now,
        *,
        session_idle: timedelta = SESSION_IDLE,
        session_longest: timedelta = SESSION_LONGEST,
    ) -> None:
        self._session_idle = session_idle
        self._session_longest = session_longest
        self._committer = committer
        self._reader = reader
        self._master_key = master_key
        self._clock = clock
        self._pepper = master_key.derive("PIN pepper")
        self._session_key = master_key.derive("staff sessions")
        self._checks = ThreadPoolExecutor(CHECKS_IN_PARALLEL, thread_name_prefix="pin-check")
        self._nobody = bcrypt.hashpw(self._peppered(secrets.token_hex()), bcrypt.gensalt(BCRYPT_COST)).decode()
        # Each lives as long as somebody holds it or waits for it, so nobody can start a second queue beside.
        self._queues: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    def close(self) -> None:
        self._checks.shutdown(wait=True, cancel_futures=True)

    # ------------------------------------------------------------------ administration

    async def create(
        self,
        *,
        staff_id: str,
        name: str,
        pin: str,
        program_id: UUID | None,
        role: Role,
        operations: tuple[Operation, ...] | None,
        caller: Caller,
        once: Once | None = None,
    ) -> Outcome:
        """A PIN for a staff member, for one program or all.

        Raises: PinTooWeak, StaffIdTaken, ProgramNotFound.
        """
        pins.must_be_strong(pin)
        once = once or just_this()
        pin_id = derived("staff pin", once.command_id)
        hashed = Secret(await self._hash(pin))
        subject = await self._reader.subject_key_or_new(pin_id, caller.vendor_id)
        claim = staff_claim(caller.vendor_id, staff_id, program_id)

        def decide(view: View) -> Decision:
            caller.must_be_valid(view)
            if program_id is not None:
                program_of(view, program_id, caller.vendor_id)
            if view.owner(claim) is not None:
                raise StaffIdTaken
            now = self._clock()
            events = pins.create(
                program_id=program_id,
                staff_id=staff_id,
                name=Secret(name),
                role=role,
                operations=OPERATIONS_OF_ROLE[role] if operations is None else operations,
                pin_hash=hashed,
                now=now,
            )
            envelope = caller.envelope("staff_pin", now, program_id=program_id)
            return Decision(
                [Append(pin_id, "staff_pin", caller.vendor_id, events, envelope, subject)],
                lambda _, after: answers.staff_pin(_pin_of(after, pin_id, caller.vendor_id), name),
                claims=[Claimed(claim, pin_id)],
            )

        streams = [pin_id, *caller.streams(), *([program_id] if program_id else [])]
        return await self._committer.submit(
            Command(caller.vendor_id, once, decide, streams=streams, claims=[claim], subject=subject)
        )

    async def change(
        self,
        pin_id: UUID,
        *,
        name: str | None,
        pin: str | None,
        role: Role | None,
        operations: tuple[Operation, ...] | None,
        caller: Caller,
    ) -> Outcome:
        """Change what is given. Sessions opened before end with it. Raises: PinTooWeak, StaffPinNotFound."""
        if pin is not None:
            pins.must_be_strong(pin)
        hashed = None if pin is None else Secret(await self._hash(pin))
        subject = await self._subject(pin_id, caller.vendor_id)
        secret_name = None if name is None else Secret(name)

        def decide(state: StaffPin, now: datetime) -> list[StaffPinEvent]:
            return pins.change(state, name=secret_name, role=role, operations=operations, pin_hash=hashed, now=now)

        return await self._change(pin_id, decide, caller, subject)

    async def revoke(self, pin_id: UUID, *, caller: Caller) -> Outcome:
        """The PIN and its sessions are refused from this commit on. Raises: StaffPinNotFound."""
        subject = await self._subject(pin_id, caller.vendor_id)
        stream = _pin_of(await self._reader.view([pin_id]), pin_id, caller.vendor_id)
        freed = [staff_claim(caller.vendor_id, stream.state.staff_id, stream.state.program_id)]
        return await self._change(pin_id, lambda state, now: pins.revoke(state, now=now), caller, subject, freed)

    async def unlock(self, pin_id: UUID, *, caller: Caller) -> Outcome:
        """Ends a lock. Raises: StaffPinNotFound."""
        subject = await self._subject(pin_id, caller.vendor_id)
        return await self._change(pin_id, lambda state, now: pins.unlock(state, now=now), caller, subject)

    async def find(self, pin_id: UUID, vendor_id: UUID) -> dict[str, Any]:
        """Raises: StaffPinNotFound, the same for somebody else's."""
        subject = await self._subject(pin_id, vendor_id)
        stream = _pin_of(await self._reader.view([pin_id]), pin_id, vendor_id)
        return answers.staff_pin(stream, _name(stream, subject))

    # ------------------------------------------------------------------ proving

    async def prove(self, pin_id: UUID, pin: str, *, caller: Caller) -> ProvenStaff:
        """Check a PIN.

        A wrong one is recorded, whatever becomes of the command it came with; an unknown id costs the same time and
        gets the same answer.

        Raises: PinInvalid, PinLocked, PinBusy (nothing was checked or counted), RateLimited.
        """
        terminal = f"terminal:{caller.vendor_id}:{caller.terminal_id or caller.api_key_id or caller.actor.id}"
        await self._must_not_guess(terminal)
        async with self._turn(derived("turn", caller.vendor_id, pin_id)):
            stream = (await self._reader.view([pin_id])).stream(pin_id)
            state = stream.state if stream is not None and stream.vendor_id == caller.vendor_id else None
            if stream is None or not isinstance(state, StaffPin) or not state.is_active:
                await self._matches(pin, self._nobody)
                await self._reader.rows(COUNT_FAILURE, (terminal, _hour(self._clock())))
                raise PinInvalid
            pins.must_not_be_locked(state, self._clock())
            subject = await self._subject(pin_id, caller.vendor_id)
            hashed = unseal(state.pin_hash, subject, stream_id=pin_id).plain
            assert hashed is not None
            if await self._matches(pin, hashed):
                if state.failures or state.locks_in_a_row:
                    await self._change(pin_id, lambda s, now: pins.accept(s, now=now), caller, subject)
                return ProvenStaff(pin_id, state.credential, is_session=False)
            await self._change(pin_id, lambda s, now: pins.reject(s, now=now), caller, subject)
            await self._reader.rows(COUNT_FAILURE, (terminal, _hour(self._clock())))
        raise PinInvalid

    async def open_session(
        self, pin_id: UUID, pin: str, *, terminal_id: str | None, caller: Caller
    ) -> tuple[str, datetime, datetime]:
        """Check a PIN once and get a token for the commands that follow.

        Returns:
            The token, when it ends unless it is renewed, and when the session ends for good.

        Raises: as `prove`.
        """
        caller = replace(caller, terminal_id=terminal_id or caller.terminal_id)
        proven = await self.prove(pin_id, pin, caller=caller)
        subject = await self._subject(pin_id, caller.vendor_id)
        now = self._clock()
        session_id, ends_at = uuid4(), now + self._session_longest

        def decide(state: StaffPin, at: datetime) -> list[StaffPinEvent]:
            if state.credential != proven.credential:
                raise PinInvalid
            return pins.open_session(state, session_id=session_id, terminal_id=terminal_id, ends_at=ends_at, now=at)

        await self._change(pin_id, decide, caller, subject)
        token, idle_until = self._token(proven, caller, session_id, ends_at, now)
        return token, idle_until, ends_at

    def session(self, token: str, *, caller: Caller) -> StaffSession:
        """Read a Staff-Session token: whose it is, and whether it still runs.

        Whether PIN and staff member are still as they were is checked when something is recorded.

        Raises: StaffSessionInvalid where it is not one of ours, or another vendor's or terminal's.
        """
        body, _, signature = token.partition(".")
        if not hmac.compare_digest(self._signature(body).encode(), signature.encode()):
            raise StaffSessionInvalid
        claims = orjson.loads(urlsafe_b64decode(body))
        if claims["vendor"] != str(caller.vendor_id):
            raise StaffSessionInvalid
        if claims["terminal"] is not None and caller.terminal_id not in (None, claims["terminal"]):
            raise StaffSessionInvalid
        now = self._clock()
        ends_at = datetime.fromisoformat(claims["ends_at"])
        staff = ProvenStaff(UUID(claims["pin"]), claims["credential"], is_session=True)
        renewed, _ = self._token(
            staff, replace(caller, terminal_id=claims["terminal"]), UUID(claims["session"]), ends_at, now
        )
        is_running = now < min(datetime.fromisoformat(claims["idle_until"]), ends_at)
        return StaffSession(staff, claims["terminal"], is_running, renewed)

    def _token(
        self, staff: ProvenStaff, caller: Caller, session_id: UUID, ends_at: datetime, now: datetime
    ) -> tuple[str, datetime]:
        idle_until = min(now + self._session_idle, ends_at)
        claims = {
            "pin": staff.pin_id,
            "credential": staff.credential,
            "vendor": caller.vendor_id,
            "terminal": caller.terminal_id,
            "session": session_id,
            "idle_until": idle_until,
            "ends_at": ends_at,
        }
        body = urlsafe_b64encode(orjson.dumps(claims)).decode()
        return f"{body}.{self._signature(body)}", idle_until

    def _signature(self, body: str) -> str:
        return hmac.digest(self._session_key, body.encode(), "sha256").hex()

    # ------------------------------------------------------------------ pieces

    async def _must_not_guess(self, terminal: str) -> None:
        now = self._clock()
        rows = await self._reader.rows(FAILURES, (terminal, _hour(now)))
        if rows and rows[0][0] >= TERMINAL_FAILURES_PER_HOUR:
            raise RateLimited(retry_after_seconds=3600 - now.minute * 60 - now.second)

    @asynccontextmanager
    async def _turn(self, turn_id: UUID) -> AsyncIterator[None]:
        """One check of a PIN at a time: in this process in order, between processes by a row."""
        queue = self._queues.setdefault(turn_id, asyncio.Lock())
        holder = uuid4()
        try:
            async with asyncio.timeout(TURN_WAIT_SECONDS):
                await queue.acquire()
        except TimeoutError:
            raise PinBusy from None
        try:
            await self._take_turn(turn_id, holder)
            try:
                yield
            finally:
                await self._reader.rows(END_TURN, (turn_id, holder))
        finally:
            queue.release()

    async def _take_turn(self, turn_id: UUID, holder: UUID) -> None:
        deadline = asyncio.get_running_loop().time() + TURN_WAIT_SECONDS
        while not await self._reader.rows(TAKE_TURN, (turn_id, holder, TURN_SECONDS)):
            if asyncio.get_running_loop().time() >= deadline:
                raise PinBusy
            await asyncio.sleep(0.02 + secrets.randbelow(20) / 1000)

    async def _change(
        self,
        pin_id: UUID,
        change: Callable[[StaffPin, datetime], list[StaffPinEvent]],
        caller: Caller,
        subject: SubjectKey,
        releases: list[Claim] | None = None,
    ) -> Outcome:
        def decide(view: View) -> Decision:
            caller.must_be_valid(view)
            stream = _pin_of(view, pin_id, caller.vendor_id)
            now = max(self._clock(), stream.state.last_at)
            events = change(stream.state, now)
            envelope = caller.envelope("staff_pin", now, program_id=stream.state.program_id)
            append = Append(pin_id, "staff_pin", caller.vendor_id, events, envelope, subject)
            return Decision(
                [append] if events else [],
                lambda _, after: _answer(after, pin_id, caller.vendor_id, subject),
                releases=releases or [],
            )

        return await self._committer.submit(
            Command(caller.vendor_id, just_this(), decide, streams=[pin_id, *caller.streams()], subject=subject)
        )

    async def _subject(self, pin_id: UUID, vendor_id: UUID) -> SubjectKey:
        """Raises: StaffPinNotFound, also for another vendor's."""
        try:
            subject = await self._reader.subject_key(pin_id)
        except CardIsErased:
            raise StaffPinNotFound from None
        if subject.vendor_id != vendor_id:
            raise StaffPinNotFound
        return subject

    def _peppered(self, pin: str) -> bytes:
        """44 bytes, so that bcrypt's limit of 72 is far and a stolen table of hashes is worth nothing."""
        return b64encode(hmac.digest(self._pepper, pin.encode(), "sha256"))

    async def _hash(self, pin: str) -> str:
        loop = asyncio.get_running_loop()
        hashed = await loop.run_in_executor(
            self._checks, bcrypt.hashpw, self._peppered(pin), bcrypt.gensalt(BCRYPT_COST)
        )
        return hashed.decode()

    async def _matches(self, pin: str, hashed: str) -> bool:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._checks, bcrypt.checkpw, self._peppered(pin), hashed.encode())


def _hour(now: datetime) -> datetime:
    """The hour by the ledger's own clock, so that what is counted and what `retry_after_seconds` says are one."""
    return now.replace(minute=0, second=0, microsecond=0)


def _pin_of(view: View, pin_id: UUID, vendor_id: UUID) -> Stream:
    stream = view.stream(pin_id)
    if stream is None or stream.vendor_id != vendor_id or not isinstance(stream.state, StaffPin):
        raise StaffPinNotFound
    return stream


def _name(stream: Stream, subject: SubjectKey) -> str | None:
    return unseal(stream.state.name, subject, stream_id=stream.stream_id).plain


def _answer(after: View, pin_id: UUID, vendor_id: UUID, subject: SubjectKey) -> dict[str, Any]:
    stream = _pin_of(after, pin_id, vendor_id)
    return answers.staff_pin(stream, _name(stream, subject))
