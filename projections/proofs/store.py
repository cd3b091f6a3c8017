"""The whole store held against what was signed.

Everything is read once, in the order of positions; only where something is wrong, once more history by history, to say
which link of a chain it is, among those where a link does not hold and those of which the tree shows something.
"""

from collections.abc import Iterator
from typing import Any

from psycopg import Connection

from projections.proofs.chains import follow_chains
from projections.proofs.checkpoints import newest
from projections.proofs.findings import Findings, Found
from projections.proofs.links import Links, add_state_rows, add_unsealed
from projections.proofs.verify_statement import Checkpoint, VerifierKey
from projections.proofs.walk import walk_tree


def verify_store(
    connection: Connection[Any], trusted: VerifierKey | None, kept: Checkpoint | None = None
) -> Iterator[Findings]:
    """Everything in the store against everything that was signed, a page at each step.

    Args:
        connection: In autocommit.
        trusted: A public key that is not from the database; None where nothing was ever sealed.
        kept: A checkpoint somebody fetched earlier, opened: the tree must hold it too.

    Yields: The same findings again and again, with more in them.
    """
    findings, last = Findings(), newest(connection)
    if last is None or trusted is None:
        yield from follow_chains(connection, findings)
        return
    links = Links(connection)
    yield from walk_tree(connection, trusted, kept, last, links, findings)
    position = yield from add_unsealed(connection, links, findings.position, findings)
    yield from add_state_rows(connection, links, position, findings)
    events, histories = findings.events, findings.histories
    for stretch in links.to_follow(found.stream_id for found in findings.first.values() if found.stream_id is not None):
        yield from follow_chains(connection, findings, *stretch)
    findings.events, findings.histories = events, histories
    if not links.hold and not findings.first:
        findings.add(Found("changed-meanwhile", "a link did not hold when it was read first, and now it does"))
        yield findings
