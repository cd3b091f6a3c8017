"""What can be asked of the ledger, in the domain's words: one method for each command."""

from collections.abc import Callable
from datetime import datetime, timedelta

from ledger.commands.caller import utc_now
from ledger.commands.cards import CardCommands
from ledger.commands.corrections import Corrections
from ledger.commands.passes import PassCommands
from ledger.commands.people import PeopleCommands
from ledger.commands.programs import ProgramCommands
from ledger.commands.staff import SESSION_IDLE, SESSION_LONGEST, StaffCommands
from ledger.commands.till import TillCommands
from ledger.commands.vendors import VendorCommands
from ledger.committer import Committer
from ledger.reader import Pool, Reader
from ledger.seal import MasterKey


class Ledger:
    """All commands over one committer and one reader. `start` before the first, `stop` after the last."""

    def __init__(
        self,
        conninfo: str,
        pool: Pool,
        master_key: MasterKey,
        clock: Callable[[], datetime] = utc_now,
        *,
        session_idle: timedelta = SESSION_IDLE,
        session_longest: timedelta = SESSION_LONGEST,
    ) -> None:
        self.committer = Committer(conninfo)
        self.reader = Reader(pool, master_key)
        self.vendors = VendorCommands(self.committer, self.reader, clock)
        self.programs = ProgramCommands(self.committer, self.reader, clock)
        self.cards = CardCommands(self.committer, self.reader, master_key, clock)
        self.passes = PassCommands(self.committer, self.reader, master_key, clock)
        self.people = PeopleCommands(self.reader, master_key, clock)
        self.corrections = Corrections(self.committer, self.reader, master_key, clock)
        self.till = TillCommands(self.committer, self.reader, clock)
        self.staff = StaffCommands(
            self.committer, self.reader, master_key, clock, session_idle=session_idle, session_longest=session_longest
        )

    async def start(self) -> None:
        await self.committer.start()

    async def stop(self) -> None:
        await self.committer.stop()
        self.staff.close()
