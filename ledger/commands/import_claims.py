"""What a file wants to have for itself, held against itself and against what is there: before anything is written.

The claims of a whole file lie in a temporary table of the database, so that a file of a million lines takes no more
memory than a short one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection, Cursor

from ledger.commands.references import card_of_claim, contact_claim, number_claim, reference_claim
from ledger.decision import Claim
from ledger.history import Past
from ledger.seal import MasterKey

STAGE = """
CREATE TEMPORARY TABLE wanted_claims (
    kind text NOT NULL, scope uuid NOT NULL, value bytea NOT NULL, line bigint NOT NULL, is_only boolean NOT NULL
)
"""
COPY = "COPY wanted_claims FROM STDIN (FORMAT binary)"
COLUMN_TYPES = ("text", "uuid", "bytea", "int8", "bool")
DROP = "DROP TABLE wanted_claims"

# A number, a customer's card and a reference clash with the first line that wants them; the email of somebody who is
# not named clashes with any other line.
WITHIN = """
SELECT line, kind, CASE WHEN n = 1 THEN last ELSE first END, count(*) OVER () FROM (
    SELECT line, kind, is_only, row_number() OVER w AS n,
        min(line) OVER same AS first, max(line) OVER same AS last, count(*) OVER same AS wanted
    FROM wanted_claims
    WINDOW w AS (PARTITION BY kind, scope, value ORDER BY line), same AS (PARTITION BY kind, scope, value)
) AS numbered
WHERE is_only AND wanted > 1 AND (n > 1 OR kind IN ('customer_email', 'customer_phone'))
ORDER BY line LIMIT %s
"""
AGAINST = """
SELECT w.line, w.kind, NULL::bigint, count(*) OVER () FROM wanted_claims w JOIN claims c USING (scope, value, kind)
WHERE w.is_only ORDER BY w.line LIMIT %s
"""
CLASHES_SHOWN_MAX = 100


@dataclass(frozen=True, slots=True)
class Clash:
    """A line wants what another line wants too, or what is in use already (`other` is None)."""

    line: int
    kind: str
    other: int | None


@dataclass(frozen=True, slots=True)
class Clashes:
    """The first of them, by line, and how many there are."""

    shown: list[Clash]
    count: int


def clashes(connection: Connection[Any], pasts: Iterator[Past], vendor_id: UUID, master_key: MasterKey) -> Clashes:
    """Read all cards and find what cannot be recorded beside something else.

    Args:
        connection: With autocommit, as somebody who may make a temporary table.
    """
    connection.execute(STAGE)
    with connection.cursor() as cursor:
        with cursor.copy(COPY) as copy:
            copy.set_types(COLUMN_TYPES)
            for past in pasts:
                for line, claim, is_only in _wanted(past, vendor_id, master_key):
                    copy.write_row((claim.kind, claim.scope, claim.value, line, is_only))
        cursor.execute("ANALYZE wanted_claims")
        within, against = _found(cursor, WITHIN), _found(cursor, AGAINST)
    connection.execute(DROP)
    shown = sorted((*within.shown, *against.shown), key=lambda clash: clash.line)
    return Clashes(shown, within.count + against.count)


def _wanted(past: Past, vendor_id: UUID, master_key: MasterKey) -> Iterator[tuple[int, Claim, bool]]:
    """Line, claim, and whether it must be the only one."""
    yield past.line, card_of_claim(past.program_id, past.customer_id), True
    if past.number is not None:
        yield past.line, number_claim(past.number), True
    for kind, value in (("email", past.email), ("phone", past.phone)):
        if value is not None:
            yield past.line, contact_claim(master_key, vendor_id, kind, value), not past.is_named
    for line, reference in past.references():
        yield line, reference_claim(past.program_id, reference), True


def _found(cursor: Cursor[Any], sql: str) -> Clashes:
    rows = cursor.execute(sql, (CLASHES_SHOWN_MAX,)).fetchall()
    return Clashes([Clash(line, kind, other) for line, kind, other, _ in rows], rows[0][3] if rows else 0)
