"""How often somebody may try: look-ups of numbers that are not there, public enrolments, and signing in.

Look-ups are counted in this process; the others in the database, because all processes share them.
"""

from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import Annotated

from fastapi import Depends, Request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from api.dependencies import Parts, TheParts
from ledger.commands.caller import Caller
from ledger.errors import RateLimited

_limiter = MovingWindowRateLimiter(MemoryStorage())

# Hours long over go, a few at a time; what somebody else is taking away is left to them.
COUNT = """
WITH gone AS (
    DELETE FROM rate_counts WHERE (subject, window_start) IN (
        SELECT subject, window_start FROM rate_counts WHERE window_start < now() - interval '1 day'
        LIMIT 100 FOR UPDATE SKIP LOCKED
    )
)
INSERT INTO rate_counts AS r (subject, window_start, count) VALUES (%s, date_trunc('hour', now()), 1)
ON CONFLICT (subject, window_start) DO UPDATE SET count = r.count + 1
RETURNING count, ceil(extract(epoch FROM date_trunc('hour', now()) + interval '1 hour' - now()))::int
"""


class LookupLimit:
    """Misses of one key: an honest till hardly has any, somebody guessing numbers has nothing else."""

    def __init__(self, parts: Parts) -> None:
        self._item = RateLimitItemPerMinute(parts.settings.lookups_per_minute)

    def count_miss(self, caller: Caller) -> None:
        """Raises: RateLimited once there were too many."""
        if not _limiter.hit(self._item, "lookup", str(caller.api_key_id)):
            raise RateLimited(retry_after_seconds=60)


class HourlyLimit:
    """So many of something an hour from one network address."""

    def __init__(self, parts: Parts, what: str, per_hour: int) -> None:
        self._parts = parts
        self._what = what
        self._per_hour = per_hour

    async def count(self, request: Request) -> None:
        """Raises: RateLimited once this address asked too often within the hour."""
        address = request.client.host if request.client else "unknown"
        digest = self._parts.master_key.lookup_address(network_of(address))
        rows = await self._parts.reader.rows(COUNT, (f"{self._what}:{digest}",))
        count, seconds = rows[0]
        if count > self._per_hour:
            raise RateLimited(retry_after_seconds=max(seconds, 1))


def network_of(address: str) -> str:
    """Whom an address belongs to: of IPv6 everybody has 64 bits for themselves."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, IPv4Address):
        return str(ip)
    return str(ip.ipv4_mapped or IPv6Network((ip, 64), strict=False))


async def _lookups(parts: TheParts) -> LookupLimit:
    return LookupLimit(parts)


async def _enrolments(parts: TheParts) -> HourlyLimit:
    return HourlyLimit(parts, "enrolment", parts.settings.enrolments_per_hour)


async def _sign_ins(parts: TheParts) -> HourlyLimit:
    return HourlyLimit(parts, "sign-in", parts.settings.sign_ins_per_hour)


Lookups = Annotated[LookupLimit, Depends(_lookups)]
Enrolments = Annotated[HourlyLimit, Depends(_enrolments)]
SignIns = Annotated[HourlyLimit, Depends(_sign_ins)]
