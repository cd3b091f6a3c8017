"""What wallets are owed, compared with what the histories of cards and passes give.

Compared are passes whose last event the wallet sync has taken in. Every registered phone and every object at Google has
a row that desires its pass's newest revision, and that revision is not older than the card's newest event. How many
revisions there were is no fact of the stream: events that come together make one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ledger.wallet_pass import WalletPass
from projections.differences import Head, Known
from wallet_sync.subscriber import NAME

POSITION = "SELECT position FROM projections WHERE name = %s"
PASSES = "SELECT card_id, revision, number - nudge FROM wallet_passes"
WORK = "SELECT id, channel, card_id, desired FROM wallet_work WHERE channel IN ('apple', 'google')"
ROWS_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class _Followed:
    """A card in wallets, and the rows by which they are told of it: channel and id."""

    card_id: UUID
    position: int  # Of the card's newest event.
    work: frozenset[tuple[str, UUID]]


def compare_wallets(known: Known) -> None:
    """Add what differs; nothing where no wallet sync ever ran on this database."""
    row = known.connection.execute(POSITION, (NAME,)).fetchone()
    if row is None:
        return
    followed = {one.card_id: one for one in _followed(known, row[0])}
    revisions = _compare_passes(known, followed)
    expected = {place: one.card_id for one in followed.values() for place in one.work}
    for id_, channel, card_id, desired in _rows(known, WORK):
        known.differences.rows["wallet_work"] += 1
        place, shown = (channel, id_), f"{channel}/{id_}"
        should_be = expected.pop(place, None)
        if should_be is None:
            if card_id in followed:
                known.differences.add("wallet_work", shown, "(row)", None, "there")
        elif should_be != card_id:
            known.differences.add("wallet_work", shown, "card_id", should_be, card_id)
        elif card_id in revisions and desired != revisions[card_id]:
            known.differences.add("wallet_work", shown, "desired", revisions[card_id], desired)
    for channel, id_ in sorted(expected, key=str):
        known.differences.add("wallet_work", f"{channel}/{id_}", "(row)", "there", None)


def _followed(known: Known, taken_in: int) -> Iterator[_Followed]:
    for head in known.heads.values():
        if head.stream_type != "wallet_pass" or head.position > taken_in:
            continue
        held: WalletPass = head.state
        card: Head | None = known.heads.get(held.card_id)
        if card is None or card.position > taken_in:
            continue
        phones = {("apple", UUID(id_)) for id_ in held.devices}
        at_google = {("google", held.card_id)} if held.google_object_id is not None else set()
        yield _Followed(held.card_id, card.position, frozenset(phones | at_google))


def _compare_passes(known: Known, followed: dict[UUID, _Followed]) -> dict[UUID, int]:
    """Returns: the revision of each pass."""
    revisions: dict[UUID, int] = {}
    for card_id, revision, position in _rows(known, PASSES):
        known.differences.rows["wallet_passes"] += 1
        revisions[card_id] = revision
        if card_id in followed and position < followed[card_id].position:
            known.differences.add("wallet_passes", card_id, "number", followed[card_id].position, position)
    for card_id in followed.keys() - revisions.keys():
        known.differences.add("wallet_passes", card_id, "(row)", "there", None)
    return revisions


def _rows(known: Known, sql: str) -> Iterator[tuple[Any, ...]]:
    with known.connection.cursor("owed", binary=True) as cursor:
        cursor.itersize = ROWS_AT_ONCE
        yield from cursor.execute(sql)
