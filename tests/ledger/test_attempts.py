"""Refusals on a card, counted apart from the card."""

from msgspec.structs import replace

from tests.examples import EARN_REFUSED, HOUR, MONDAY, REDEMPTION_REFUSED, REVERSAL_REFUSED, STAMP_REFUSED
from tests.given import fold


def test_every_refusal_counts_and_the_last_one_is_known() -> None:
    last = replace(REVERSAL_REFUSED, at=MONDAY + HOUR)
    refusals = fold([STAMP_REFUSED, EARN_REFUSED, REDEMPTION_REFUSED, last])
    assert (refusals.refused, refusals.last_at) == (4, MONDAY + HOUR)
