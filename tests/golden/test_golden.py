"""What was released can be read for ever, and would be written the same today."""

from itertools import groupby

import pytest

from ledger.stream import EVENT_NAMES, decode, digest, encode, first_prev
from tests.examples import stream_type_of
from tests.given import fold
from tests.golden import GOLDEN_FILE, Golden, golden_events
from tests.golden.append import missing

GOLDEN = golden_events()
BY_NAME = pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: f"{golden.name} {golden.version}")


def test_every_event_has_a_line() -> None:
    names = {golden.name for golden in GOLDEN}
    assert EVENT_NAMES.keys() - names == set(), "run python -m tests.golden.append"


def test_every_line_is_of_an_event_that_is_still_known() -> None:
    assert {golden.name for golden in GOLDEN} - EVENT_NAMES.keys() == set(), "names are for ever"


@BY_NAME
def test_what_was_stored_then_would_be_stored_the_same_today(golden: Golden) -> None:
    """A field added later must be None where it is not said, so that it leaves no trace in what was before it."""
    recorded = decode(golden.stored)
    assert type(recorded.event) is EVENT_NAMES[golden.name]
    assert encode(recorded.event, recorded.envelope, recorded.prev) == golden.state


@BY_NAME
def test_its_digest_is_the_one_it_had_then(golden: Golden) -> None:
    assert digest(golden.stream_id, golden.version, golden.name, golden.state) == golden.digest
    assert decode(golden.stored).digest == golden.digest


def test_the_lines_of_each_stream_are_a_chain() -> None:
    streams = groupby(sorted(GOLDEN, key=lambda g: (str(g.stream_id), g.version)), key=lambda g: g.stream_id)
    for stream_id, lines in streams:
        expected = first_prev(stream_id)
        for version, golden in enumerate(lines, 1):
            assert (golden.version, decode(golden.stored).prev) == (version, expected)
            expected = golden.digest


def test_old_histories_can_still_be_folded() -> None:
    kinds = {stream_type_of(decode(golden.stored).event) for golden in GOLDEN}
    for kind in kinds:
        events = [decode(golden.stored).event for golden in GOLDEN]
        assert fold([event for event in events if stream_type_of(event) == kind]) is not None


def test_nothing_is_sealed_in_clear() -> None:
    assert all(b"plain" not in golden.state for golden in GOLDEN)


def test_lines_are_added_and_none_is_written_anew() -> None:
    assert "".join(golden.line + "\n" for golden in GOLDEN) == GOLDEN_FILE.read_text(encoding="utf-8")
    assert missing(GOLDEN) == []
    first = GOLDEN[0]
    later = missing([golden for golden in GOLDEN if golden is not GOLDEN[-1]])
    assert later == GOLDEN[-1:]
    assert missing([first])[0].version == 2
