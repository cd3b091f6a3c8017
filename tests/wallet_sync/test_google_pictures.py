"""Pictures of Google passes: a name for each thing there is to see, and for nothing else."""

from io import BytesIO

import pytest
from PIL import Image

from tests.wallet_sync.passes import card, content, points_program, program
from wallet_sync.google_pictures import drawn, logo_name, progress_name


def size(name: str) -> tuple[int, int]:
    picture = drawn(name)
    assert picture is not None
    return Image.open(BytesIO(picture)).size


def test_what_looks_different_has_another_name() -> None:
    seven = progress_name(content())
    assert seven is not None and seven.startswith("stamps-7-10-6f4e37-")
    assert progress_name(content(card(stamp_count=8), program())) != seven
    assert progress_name(content(card(), program(card_color="#000000"))) != seven
    assert progress_name(content(card(status="suspended"), program())) == seven


def test_a_card_that_goes_nowhere_has_no_picture() -> None:
    no_rewards = card(stamps_target=None, stamp_count=0, points_balance=120)
    assert progress_name(content(no_rewards, points_program(points_rewards=[]))) is None


@pytest.mark.parametrize("color", [None, "#6f4e37", "#ffffff"])
def test_a_name_that_was_given_out_is_drawn(color: str | None) -> None:
    name = progress_name(content(card(), program(card_color=color)))
    assert name is not None and size(name) == (1125, 432)
    assert size(logo_name(color, None)) == (660, 660)


def test_points_are_a_bar() -> None:
    name = progress_name(content(card(stamps_target=None, stamp_count=0, points_balance=120), points_program()))
    assert name is not None and name.startswith("percent-") and size(name) == (1125, 432)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "logo",
        "stamps-11-10-000000-ffffff",
        "stamps-0-0-000000-ffffff",
        "stamps-1-10-00000-ffffff",
        "coins-1-2-000000-ffffff",
        "logo-000000-ffffff/../x",
    ],
)
def test_no_other_name_is_drawn(name: str) -> None:
    assert drawn(name) is None
