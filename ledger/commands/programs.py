"""Creating and changing programs."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from ledger import program as programs
from ledger.commands import answers
from ledger.commands.caller import Caller, just_this, utc_now
from ledger.commands.references import program_of
from ledger.committer import Committer
from ledger.decision import Append, Command, Decision, Once, Outcome, View
from ledger.errors import VendorNotFound, VersionMismatch
from ledger.ids import derived
from ledger.program import Branding, LoyaltyType, Program, ProgramEvent, Reward, Rules
from ledger.reader import Reader
from ledger.vendor import Vendor

Change = Callable[[Program, datetime], list[ProgramEvent]]


class ProgramCommands:
    """Each method answers the program after it, with the rules in force now."""

    def __init__(self, committer: Committer, reader: Reader, clock: Callable[[], datetime] = utc_now) -> None:
        self._committer = committer
        self._reader = reader
        self._clock = clock

    async def create(
        self,
        *,
        loyalty_type: LoyaltyType,
        currency: str | None,
        timezone: str | None,
        rules: Callable[[datetime, str], Rules],
        branding: Branding,
        rewards: list[Reward],
        is_active: bool,
        caller: Caller,
        once: Once | None = None,
    ) -> Outcome:
        """A new program. `rules` is told now and the time zone; currency and zone default to the vendor's.

        Raises: VendorNotFound, ProgramTypeMismatch, InvalidValue.
        """
        once = once or just_this()
        program_id = derived("program", once.command_id)

        def decide(view: View) -> Decision:
            caller.must_be_valid(view)
            vendor = view.stream(caller.vendor_id)
            if vendor is None or not isinstance(vendor.state, Vendor):
                raise VendorNotFound
            now = self._clock()
            profile = vendor.state.profile
            events = programs.create(
                loyalty_type=loyalty_type,
                currency=currency or profile.currency,
                rules=rules(now, timezone or profile.timezone),
                branding=branding,
                rewards=rewards,
                is_active=is_active,
                now=now,
            )
            envelope = caller.envelope("program", now, program_id=program_id, program_version=1)
            return Decision(
                [Append(program_id, "program", caller.vendor_id, events, envelope)],
                lambda _, after: _program(after, program_id, now),
            )

        return await self._committer.submit(
            Command(caller.vendor_id, once, decide, streams=[program_id, *caller.streams()])
        )

    async def change(
        self,
        program_id: UUID,
        change: Callable[[Program, datetime], tuple[Rules | None, Branding | None, list[Reward] | None]],
        *,
        caller: Caller,
        expected_version: int | None = None,
    ) -> Outcome:
        """Change rules, looks or rewards. `change` is told the program and now; what stays the same leaves no event.

        Raises: ProgramNotFound, VersionMismatch, ProgramTypeMismatch, InvalidValue; nothing is recorded then.
        """

        def decide(program: Program, now: datetime) -> list[ProgramEvent]:
            rules, branding, rewards = change(program, now)
            return programs.change(program, rules=rules, branding=branding, rewards=rewards, now=now)

        return await self._change(program_id, decide, caller, expected_version)

    async def activate(self, program_id: UUID, *, caller: Caller) -> Outcome:
        """Cards can earn from this commit on; no event where they can. Raises: ProgramNotFound."""
        return await self._change(program_id, lambda program, now: programs.activate(program, now=now), caller)

    async def deactivate(self, program_id: UUID, *, caller: Caller) -> Outcome:
        """Nothing is earned from this commit on; no event where it is so. Raises: ProgramNotFound."""
        return await self._change(program_id, lambda program, now: programs.deactivate(program, now=now), caller)

    async def _change(
        self, program_id: UUID, change: Change, caller: Caller, expected_version: int | None = None
    ) -> Outcome:
        def decide(view: View) -> Decision:
            caller.must_be_valid(view)
            stream = program_of(view, program_id, caller.vendor_id)
            if expected_version is not None and expected_version != stream.version:
                raise VersionMismatch(version=stream.version)
            program: Program = stream.state
            now = max(self._clock(), program.last_at)
            events = change(program, now)
            envelope = caller.envelope(
                "program", now, program_id=program_id, program_version=program.rules_at(now).version
            )
            return Decision(
                [Append(program_id, "program", stream.parent_id, events, envelope)] if events else [],
                lambda _, after: _program(after, program_id, now),
            )

        return await self._committer.submit(
            Command(caller.vendor_id, just_this(), decide, streams=[program_id, *caller.streams()])
        )

    async def find(self, program_id: UUID, vendor_id: UUID | None) -> dict[str, Any]:
        """A program as it is now, from its own stream.

        Raises: ProgramNotFound, the same for one that is not there and for somebody else's.
        """
        view = await self._reader.view([program_id])
        return answers.program(program_of(view, program_id, vendor_id), self._clock())


def _program(after: View, program_id: UUID, now: datetime) -> dict[str, Any]:
    return answers.program(program_of(after, program_id, None), now)
