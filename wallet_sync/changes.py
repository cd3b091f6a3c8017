"""What phones are told has changed, and what they were seen to ask and fetch.

A pass shows its card, its program and its vendor: the newest position of the three numbers the change it has come to.
Some changes have no event, such as rules whose day has come: they count nudges beside it. Either only grows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from projections.table import Queries

# Where times have seconds and two changes may fall into one, a time that counts changes loses none of them.
NO_CHANGE = datetime(2020, 1, 1, tzinfo=UTC)
NUDGES = 10**9  # A tag is one decimal number to a phone: positions stand before nudges.
TAG_DIGITS_MAX = 28

POSITION = "greatest(c.position, p.position, v.position)"
SHOWN = """
loyalty_cards c JOIN loyalty_programs p ON p.id = c.program_id JOIN vendors v ON v.id = c.vendor_id
LEFT JOIN wallet_passes w ON w.card_id = c.id
"""
OF_CARD = f"SELECT {POSITION}, coalesce(w.nudge, 0) FROM {SHOWN} WHERE c.id = %s"
# A new registration is news too: the tag a phone has from its other passes may be beyond a change it has not seen.
OF_PHONE = f"""
SELECT r.serial_number, greatest({POSITION}, r.position), coalesce(w.nudge, 0)
FROM apple_device_registrations r JOIN ({SHOWN}) ON c.id = r.card_id
WHERE r.device_library_identifier = %s AND r.pass_type_identifier = %s
ORDER BY r.serial_number
"""
WITH_ANOTHER_TOKEN = """
SELECT serial_number FROM apple_device_registrations
WHERE device_library_identifier = %s AND pass_type_identifier = %s AND push_token <> %s ORDER BY serial_number
"""
REGISTRATIONS = """
SELECT id FROM apple_device_registrations WHERE device_library_identifier = %s AND pass_type_identifier = %s
"""
ASKED = "UPDATE wallet_work SET asked_at = now() WHERE channel = 'apple' AND id = %s"
# Also where nobody follows the pass yet: a phone may be quicker. A change that came in between is not counted as seen.
FETCHED = """
INSERT INTO wallet_passes AS p
    (card_id, program_id, revision, digest, changed_at, fetched_number, fetched_revision, fetched_at)
VALUES (%(card)s, %(program)s, 1, '', now(), %(number)s, 1, now())
ON CONFLICT (card_id) DO UPDATE SET
    fetched_at = now(), fetched_number = greatest(p.fetched_number, excluded.fetched_number),
    fetched_revision = CASE WHEN excluded.fetched_number >= p.number THEN p.revision ELSE p.fetched_revision END
"""


@dataclass(frozen=True, slots=True)
class Change:
    """Which change a pass has come to."""

    position: int
    nudge: int

    @property
    def number(self) -> int:
        """Greater for each change of the same pass."""
        return self.position + self.nudge

    @property
    def last_modified(self) -> datetime:
        """A time for the change, in whole seconds: later for each change of the same pass."""
        return NO_CHANGE + timedelta(seconds=self.number)


async def change_of(queries: Queries, card_id: UUID) -> Change:
    """The change a card's pass has come to; none where no event of the card has arrived in the tables.

    Read it before the pass is made, so that a change in between is told again rather than not at all.

    Raises: StoreAway. Asking again is safe.

    Source: the query tables, which trail the stream by a few milliseconds, and wallet_passes.
    """
    found = await queries.rows(OF_CARD, (card_id,))
    return Change(*found[0]) if found else Change(0, 0)


async def changed_since(
    queries: Queries, device: str, pass_type_id: str, tag: str | None, erased: Sequence[tuple[str, int]] = ()
) -> tuple[list[str], str]:
    """A phone's passes that changed since the tag it was given before, and the tag for the next time.

    Args:
        tag: What cannot be read is no tag of ours: then everything has changed.
        erased: Passes the phone is to fetch once more although it is not registered any more: each one's serial number,
            and the position of its erasure.

    Returns: Serial numbers, none where nothing changed or the phone is not known. Where there are some, the tag is
        another one than before.

    Raises: StoreAway. Asking again is safe.
    """
    position, nudge = _parts(tag)
    changed: list[str] = []
    newest = [max(position, 0), max(nudge, 0)]
    passes = await queries.rows(OF_PHONE, (device, pass_type_id))
    for serial, its_position, its_nudge in [*passes, *((*told, 0) for told in erased)]:
        if its_position > position or its_nudge > nudge:
            changed.append(serial)
            newest = [max(newest[0], its_position), max(newest[1], its_nudge)]
    return changed, str(newest[0] * NUDGES + newest[1])


async def with_another_token(queries: Queries, device: str, pass_type_id: str, push_token: str) -> list[str]:
    """Serial numbers of the passes for which a phone is registered with another push token than this one."""
    return [serial for (serial,) in await queries.rows(WITH_ANOTHER_TOKEN, (device, pass_type_id, push_token))]


async def note_asked(queries: Queries, device: str, pass_type_id: str) -> None:
    """This phone asked what changed.

    Row by row: it is written down just when whoever woke the phone writes the same rows, in whatever order.
    """
    for (registration_id,) in await queries.rows(REGISTRATIONS, (device, pass_type_id)):
        await queries.rows(ASKED, (registration_id,))


async def note_fetched(queries: Queries, card_id: UUID, program_id: UUID, change: Change) -> None:
    """A phone fetched a card's pass, or heard that it has not changed. Which phone it was, nobody says."""
    await queries.rows(FETCHED, {"card": card_id, "program": program_id, "number": change.number})


def _parts(tag: str | None) -> tuple[int, int]:
    if tag and tag.isascii() and tag.isdigit() and len(tag) <= TAG_DIGITS_MAX:
        return divmod(int(tag), NUDGES)
    return -1, -1
