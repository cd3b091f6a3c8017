"""Add a line for every event that has none yet: `python -m tests.golden.append`.

What is there stays, byte for byte: it is what databases hold. Where an old line can no longer be read, the code is
wrong, not the line.
"""

import sys

from ledger.stream import EVENT_NAMES, digest, encode, first_prev
from tests import examples
from tests.golden import GOLDEN_FILE, Golden, golden_events


def missing(known: list[Golden]) -> list[Golden]:
    """The example of each event without a line, following on the last line of its stream."""
    heads = {golden.stream_id: golden for golden in known}
    added: list[Golden] = []
    names = {golden.name for golden in known}
    for name, cls in EVENT_NAMES.items():
        if name in names:
            continue
        event = examples.EXAMPLE_OF[cls]
        kind = examples.stream_type_of(event)
        stream_id = examples.STREAM_IDS[kind]
        head = heads.get(stream_id)
        version = head.version + 1 if head else 1
        state = encode(event, examples.envelope(kind), head.digest if head else first_prev(stream_id))
        heads[stream_id] = Golden(stream_id, version, name, state, digest(stream_id, version, name, state))
        added.append(heads[stream_id])
    return added


def append() -> int:
    """Returns how many lines were added."""
    added = missing(golden_events())
    with GOLDEN_FILE.open("a", encoding="utf-8", newline="\n") as file:
        file.writelines(golden.line + "\n" for golden in added)
    return len(added)


if __name__ == "__main__":
    sys.stdout.write(f"{append()} lines added to {GOLDEN_FILE.name}\n")
