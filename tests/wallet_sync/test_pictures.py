"""Colours that can be read, and pictures of the right size, drawn once."""

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wallet_sync.colours import SHAPE_CONTRAST_MIN, TEXT_CONTRAST_MIN, contrast, palette, parsed
from wallet_sync.pass_content import Progress
from wallet_sync.pass_strip import STAMPS_DRAWN_MAX, marks, strip

HEX = st.from_regex(r"#[0-9a-f]{6}", fullmatch=True)
COFFEE = palette("#6f4e37", "#f2c879")


def picture(png: bytes) -> Image.Image:
    return Image.open(BytesIO(png)).convert("RGB")


@given(HEX, HEX | st.none())
def test_everything_can_be_read_on_any_colour(color: str, secondary: str | None) -> None:
    colors = palette(color, secondary)
    assert colors.background == parsed(color)
    assert contrast(colors.foreground, colors.background) >= TEXT_CONTRAST_MIN
    assert contrast(colors.label, colors.background) >= TEXT_CONTRAST_MIN
    for ground in (colors.background, colors.ground):
        assert contrast(colors.accent, ground) >= SHAPE_CONTRAST_MIN


def test_a_second_colour_that_can_be_seen_stays_as_it_was_chosen() -> None:
    assert COFFEE.accent == parsed("#f2c879")
    assert palette("#ffffff", "#ffff00").accent != parsed("#ffff00")


def test_black_on_white_is_21_to_1() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((9, 9, 9), (9, 9, 9)) == 1


def test_a_strip_comes_in_three_sizes() -> None:
    drawn = strip(COFFEE, Progress(7, 10, "stamps"))
    sizes = {name: picture(png).size for name, png in drawn.items()}
    assert sizes == {"strip.png": (375, 144), "strip@2x.png": (750, 288), "strip@3x.png": (1125, 432)}


def test_icon_and_logo_come_in_three_sizes() -> None:
    sizes = {name: picture(png).size for name, png in marks(COFFEE).items()}
    assert [sizes[f"icon{scale}.png"] for scale in ("", "@2x", "@3x")] == [(29, 29), (58, 58), (87, 87)]
    assert [sizes[f"logo{scale}.png"] for scale in ("", "@2x", "@3x")] == [(50, 50), (100, 100), (150, 150)]


def accent_pixels(progress: Progress) -> int:
    found = picture(strip(COFFEE, progress)["strip.png"]).getcolors(100_000)
    assert found is not None
    return sum(int(count) for count, color in found if color == COFFEE.accent)


@pytest.mark.parametrize(("total", "unit"), [(10, "stamps"), (STAMPS_DRAWN_MAX + 1, "stamps"), (100, "percent")])
def test_each_step_fills_more_of_the_strip(total: int, unit: str) -> None:
    steps = [accent_pixels(Progress(filled, total, unit)) for filled in range(0, total + 1, max(total // 10, 1))]  # type: ignore[arg-type]
    assert steps == sorted(steps) and len(set(steps)) == len(steps)


@pytest.mark.parametrize("total", [1, 2, 3, 5, 7, 11, 13, 23, 29, STAMPS_DRAWN_MAX])
def test_all_stamps_stay_in_the_part_that_every_phone_shows(total: int) -> None:
    drawn = picture(strip(COFFEE, Progress(total, total, "stamps"))["strip.png"])
    cut_off = (144 - 123 + 1) // 2
    for box in ((0, 0, 375, cut_off), (0, 144 - cut_off, 375, 144), (0, 0, 10, 144), (365, 0, 375, 144)):
        assert drawn.crop(box).getcolors() == [((box[2] - box[0]) * (box[3] - box[1]), COFFEE.ground)]


def test_equal_designs_at_equal_counts_are_drawn_once() -> None:
    first = strip(palette("#123456", None), Progress(3, 10, "stamps"))
    assert strip(palette("#123456", None), Progress(3, 10, "stamps")) is first
    assert strip(palette("#123456", None), Progress(4, 10, "stamps")) is not first
    assert strip(palette("#123457", None), Progress(3, 10, "stamps")) is not first
