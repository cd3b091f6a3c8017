"""Which revision of its pass each card has come to: one more with events of the card, or when the pass says another.

What a pass says is taken from the query tables, so no phone is told of what they do not show yet.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson
from psycopg import Connection

from ledger.card import Card
from ledger.codec import from_json
from ledger.commands import answers
from ledger.decision import Stream
from ledger.program import Program
from wallet_sync.pass_content import PassContent, pass_content

QUIET = timedelta(seconds=2)  # After the last change: a visit makes several, and phones ring once.
LONGEST = timedelta(seconds=30)  # After the first one, however many follow.

# Before the facts are read: whoever else looks at the same cards waits, and then sees what is newer.
HOLD = "SELECT card_id, digest FROM wallet_passes WHERE card_id = ANY(%s) ORDER BY card_id FOR UPDATE"
FACTS = """
SELECT c.id, c.vendor_id, c.program_id, c.version, c.state::text, p.version, p.state::text, v.name,
    greatest(c.position, p.position, v.position)
FROM loyalty_cards c JOIN loyalty_programs p ON p.id = c.program_id JOIN vendors v ON v.id = c.vendor_id
WHERE c.id = ANY(%s)
"""
NEW_PASSES = """
INSERT INTO wallet_passes (card_id, program_id, revision, digest, changed_at)
SELECT *, 1, '', %s FROM unnest(%s::uuid[], %s::uuid[]) ON CONFLICT (card_id) DO NOTHING
"""
# Held to the end of the transaction: nudges become visible in the order of their numbers, so no phone misses one.
NEXT_NUDGE = """
INSERT INTO wallet_work (channel, id, desired, synced) VALUES ('nudge', %s, 1, 1) ON CONFLICT (channel, id) DO UPDATE
SET desired = wallet_work.desired + 1, synced = wallet_work.desired + 1 RETURNING desired
"""
NOBODY = UUID(int=0)
# What was fetched before it was looked at here is known to the phone already.
REVISE = """
UPDATE wallet_passes p SET revision = p.revision + 1, digest = n.digest, changed_at = %(now)s,
    nudge = coalesce(%(nudge)s, p.nudge), number = n.position + coalesce(%(nudge)s, p.nudge),
    fetched_revision = CASE
        WHEN p.fetched_number >= n.position + coalesce(%(nudge)s, p.nudge) THEN p.revision + 1
        ELSE p.fetched_revision END
FROM unnest(%(cards)s::uuid[], %(digests)s::bytea[], %(positions)s::bigint[]) AS n (card_id, digest, position)
WHERE p.card_id = n.card_id
"""
# A push that failed keeps its pause; else the change waits until there was none for a while. What was given up is
# another thing now, and may go.
OWE = """
UPDATE wallet_work w SET
    desired = p.revision,
    times_again = 0,
    is_parked = false,
    failures = CASE WHEN w.is_parked THEN 0 ELSE w.failures END,
    owed_since = CASE WHEN w.synced < w.desired AND NOT w.is_parked THEN w.owed_since ELSE %(now)s END,
    due_at = CASE
        WHEN w.is_parked THEN %(now)s + %(quiet)s
        WHEN w.failures > 0 AND w.synced < w.desired THEN w.due_at
        WHEN w.synced < w.desired THEN least(w.owed_since + %(longest)s, %(now)s + %(quiet)s)
        ELSE %(now)s + %(quiet)s END
FROM wallet_passes p WHERE p.card_id = w.card_id AND w.card_id = ANY(%(cards)s) AND w.channel IN ('apple', 'google')
"""


def begin(connection: Connection[Any], issued: Sequence[tuple[UUID, UUID]], now: datetime) -> None:
    """Follow these cards, `(card, program)` each, from now on. Their first revision counts as known to nobody."""
    cards, programs = [card for card, _ in issued], [program for _, program in issued]
    connection.execute(NEW_PASSES, (now, cards, programs))


def revise(
    connection: Connection[Any],
    card_ids: Iterable[UUID],
    now: datetime,
    *,
    changed: Collection[UUID] = (),
    nudges: bool = False,
) -> int:
    """Look at what the passes of these cards say, and note what is owed for those that changed.

    Inside the caller's transaction. Cards without a pass cost one look-up.

    Args:
        changed: Which of them count as changed, even where they say again what they said before: a wallet gets what
            the ledger knows, and may have been shown what came in between.
        nudges: What changed may have no event that phones would be told of, such as rules whose day has come.

    Returns: How many passes changed.
    """
    held = dict(connection.execute(HOLD, (sorted(set(card_ids)),), binary=True).fetchall())
    if not held:
        return 0
    told = [
        found for found in _digests(connection, list(held), now) if found[0] in changed or held[found[0]] != found[1]
    ]
    if told:
        cards, digests, positions = (list(column) for column in zip(*told, strict=True))
        nudge = connection.execute(NEXT_NUDGE, (NOBODY,)).fetchone() if nudges else None
        revised = {"cards": cards, "digests": digests, "positions": positions, "nudge": nudge and nudge[0]}
        connection.execute(REVISE, {"now": now, **revised})
        connection.execute(OWE, {"now": now, "quiet": QUIET, "longest": LONGEST, "cards": cards})
    return len(told)


def _digests(connection: Connection[Any], card_ids: list[UUID], now: datetime) -> Iterable[tuple[UUID, bytes, int]]:
    """Card, digest, and the position up to which the tables were looked at."""
    programs: dict[tuple[UUID, int], Program] = {}
    for (
        card_id,
        vendor_id,
        program_id,
        version,
        card_state,
        program_version,
        program_state,
        merchant,
        position,
    ) in connection.execute(FACTS, (card_ids,), binary=True):
        program = programs.get((program_id, program_version))
        if program is None:
            program = programs[program_id, program_version] = from_json(Program, program_state)
        card = from_json(Card, card_state)
        # Ciphertext stands for what it hides: it is another one whenever a person's details are.
        sealed = {"name": card.name.sealed if card.name else None, "qr_token": card.qr_token.sealed}
        stream = Stream(card_id, "card", vendor_id, program_id, version, "", card)
        rules = answers.program(Stream(program_id, "program", vendor_id, None, program_version, "", program), now)
        content = pass_content(answers.card(stream, program, now, sealed), rules, {}, merchant=merchant, issuer="")
        yield card_id, content_digest(content), position


def content_digest(content: PassContent) -> bytes:
    """What a pass says, in brief. Digests of before there were translations hold: a new release wakes no phone."""
    said = asdict(content)
    if not content.words:
        del said["words"]
    return sha256(orjson.dumps(said)).digest()
