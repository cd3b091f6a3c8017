"""The monitor: holds the store against its seals again and again, a page at a time, in the sealer's pauses.

A round takes at least 20 seconds and should take no more than 35: it rests after each page as long as that allows. So
a small store costs next to nothing, a million events half a processor, at the lowest priority. Whatever is changed is
met within a round, wherever the round stands. Which link or state row it is that does not hold is then looked for in
what is left of the minute.
"""

import time
from collections.abc import Iterator
from typing import Any

import structlog
from psycopg import Connection

from projections.proofs.findings import Findings
from projections.proofs.store import verify_store
from projections.proofs.verify_statement import VerifierKey

NAME = "verification"
ROUND_SECONDS = 20.0  # At least so long from the beginning of one round to the next.
ROUND_SECONDS_MAX = 35.0  # What is promised is a minute: the rest is for going back, and for busy machines.
SHARE = 0.2  # Of a processor, as long as that is enough.
ERROR_CHARACTERS_MAX = 1_000

ENTER = "INSERT INTO projections (name) VALUES (%s) ON CONFLICT (name) DO NOTHING"
EVENTS = "SELECT count(*) FROM stored_events"
NOTE = """
UPDATE projections SET position = greatest(position, %s), error = %s, updated_at = clock_timestamp() WHERE name = %s
"""

log = structlog.get_logger("projections.proofs.monitor")


class Monitor:
    """One round after the other. What is found shows in table projections, and in the log where it is news."""

    def __init__(self, round_seconds: float = ROUND_SECONDS) -> None:
        self._round_seconds = round_seconds
        self._pages: Iterator[Findings] | None = None
        self._findings = Findings()
        self._began_at = float("-inf")
        self._total = 0
        self._known: set[str] = set()

    def step(self, connection: Connection[Any], trusted: VerifierKey) -> float:
        """Look at the next page, if one is due.

        Args:
            trusted: A public key from outside the database.

        Returns: Seconds to rest before the next one.
        """
        began = time.monotonic()
        if self._pages is None:
            wait = self._began_at + self._round_seconds - began
            if wait > 0:
                return wait
            connection.execute(ENTER, (NAME,))
            self._began_at, self._findings = began, Findings()
            self._total = _events(connection)
            self._pages = verify_store(connection, trusted)
        page = next(self._pages, None)
        if page is None:
            self._pages = None
            self._known = {str(found) for found in self._findings.first.values()}
            self._note(connection)
            return 0.0
        self._findings = page
        self._tell(connection)
        return self._rest(time.monotonic(), time.monotonic() - began)

    def _rest(self, now: float, took: float) -> float:
        """After a page: by the share, but no longer than until the round's next page is due."""
        due_at = self._began_at + ROUND_SECONDS_MAX * min(self._findings.read / max(self._total, 1), 1.0)
        return max(min(took * (1 / SHARE - 1), due_at - now), 0.0)

    def _tell(self, connection: Connection[Any]) -> None:
        """At once, without waiting for the end of the round."""
        news = [found for found in self._findings.first.values() if str(found) not in self._known]
        for found in news:
            self._known.add(str(found))
            log.error("tampering-found", error=str(found), position=found.position, stream_id=found.stream_id)
        if news:
            self._note(connection)

    def _note(self, connection: Connection[Any]) -> None:
        error = "; ".join(map(str, self._findings.first.values()))[:ERROR_CHARACTERS_MAX] or None
        connection.execute(NOTE, (self._findings.position, error, NAME))


def _events(connection: Connection[Any]) -> int:
    row = connection.execute(EVENTS).fetchone()
    return 0 if row is None else int(row[0])
