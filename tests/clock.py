"""Time in tests: how long they wait for what comes, and how they keep away from midnight and the full hour."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

PATIENCE_SECONDS = 120.0  # A machine may be busy; what comes soon is not waited for longer.


def eventually(
    is_so: Callable[[], object], seconds: float = PATIENCE_SECONDS, explain: Callable[[], str] = lambda: "it never was"
) -> float:
    """Wait until something is so. Returns how many seconds it took."""
    began, pause = time.monotonic(), 0.005
    while not is_so():
        assert time.monotonic() - began < seconds, explain()
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)  # Whoever asks all the time keeps busy what is waited for.
    return time.monotonic() - began


def zone_at_noon() -> str:
    """Where it is between twelve and one: no day ends there while a test counts in it, or while a page names it."""
    return f"Etc/GMT{datetime.now(UTC).hour - 12:+d}"


def not_at_the_full_hour() -> None:
    """Tries are counted by the hour: let the next one begin, where this one is nearly over."""
    left = 3600 - time.time() % 3600
    if left < 10:
        time.sleep(left + 0.1)
