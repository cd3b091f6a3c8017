"""Pages of long lists."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.cursors import LIMIT_MAX, POSITION_MAX, decode_cursor, encode_cursor, page_of
from api.errors import MalformedRequest
from tests.api.edge import client

PLACE = (datetime(2026, 3, 29, 10, 0, 0, 123456, tzinfo=UTC), UUID("0198c5a2-7d3c-7c4e-9b1a-2f6d1c0e8a55"))


def test_a_cursor_comes_back_as_it_went_to_the_microsecond() -> None:
    assert decode_cursor(encode_cursor(*PLACE), datetime, UUID) == PLACE
    assert decode_cursor(encode_cursor(42, "a"), int, str) == (42, "a")


@given(st.text())
@settings(max_examples=300, deadline=None)
def test_no_text_makes_a_cursor_fail_in_another_way(text: str) -> None:
    with pytest.raises(MalformedRequest):
        decode_cursor(text + "!", datetime, UUID)


@pytest.mark.parametrize(
    "cursor",
    ["", "AAAA", "bnVsbA", encode_cursor(1), encode_cursor("x", "y"), encode_cursor(*PLACE, 1), "W" * 400, "é"],
)
def test_garbage_and_other_lists_cursors_are_refused(cursor: str) -> None:
    with pytest.raises(MalformedRequest):
        decode_cursor(cursor, datetime, UUID)


@pytest.mark.parametrize("position", [-1, POSITION_MAX + 1])
def test_a_position_no_database_can_hold_is_refused(position: int) -> None:
    with pytest.raises(MalformedRequest):
        decode_cursor(encode_cursor(position), int)


def test_one_row_too_many_means_another_page() -> None:
    assert page_of([1, 2, 3], 2, lambda row: (row,)) == ([1, 2], encode_cursor(2))
    assert page_of([1, 2], 2, lambda row: (row,)) == ([1, 2], None)
    assert page_of([], 2, lambda row: (row,)) == ([], None)


def test_over_http_garbage_is_malformed_and_limits_are_limits() -> None:
    tiny = client()
    assert tiny.get("/api/v1/vendor/pages?cursor=%00%ff").json()["code"] == "malformed_request"
    assert tiny.get("/api/v1/vendor/pages").json()["limit"] == 50
    assert tiny.get(f"/api/v1/vendor/pages?limit={LIMIT_MAX}").status_code == 200
    for limit in ("0", "201", "-1", "1.5", "NaN", "٥٠x"):
        assert tiny.get("/api/v1/vendor/pages", params={"limit": limit}).json()["code"] == "validation_failed"
