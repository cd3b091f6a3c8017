"""The pictures of a pass, drawn by us: icon, logo, and a strip that shows how far it is to the next reward.

Everything is drawn several times too large and then made smaller, so that round things are round. A picture is a
function of colours and numbers, and is drawn once.
"""

from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO
from math import ceil, cos, pi, sin
from typing import TypeAlias

from PIL import Image, ImageDraw

from wallet_sync.colours import Palette, Rgb, mixed
from wallet_sync.pass_content import Progress

Pictures: TypeAlias = Mapping[str, bytes]
"""File name to PNG: `strip.png`, `strip@2x.png`, `strip@3x.png`."""
Box: TypeAlias = tuple[float, float, float, float]

SCALES = (1, 2, 3)
OVERSAMPLING = 3
ICON_POINTS = (29, 29)
LOGO_POINTS = (50, 50)
STRIP_POINTS = (375, 144)
STRIP_SHOWN_POINTS = 123  # Of the height, in the middle: some phones cut off the rest.
MARGIN_POINTS = 22
STAMPS_DRAWN_MAX = 30  # More than that cannot be counted at a glance: then it is a bar.
ROWS_MAX = 3
STAMP_POINTS_MAX = 50
LARGE_LOGO_PIXELS = 660
STRIPS_KEPT_MAX = 256  # 15 to 75 kB each.


@lru_cache(maxsize=STRIPS_KEPT_MAX)
def strip(palette: Palette, progress: Progress) -> Pictures:
    """The strip of a design at that progress, in all scales. Stamps are shown one by one up to STAMPS_DRAWN_MAX.

    Source: Apple's Human Interface Guidelines, Wallet: 375 × 144 points.
    """
    picture = _Picture(STRIP_POINTS, palette.ground)
    if progress.unit == "stamps" and progress.total <= STAMPS_DRAWN_MAX:
        _draw_stamps(picture, palette, progress)
    else:
        _draw_bar(picture, palette, progress)
    return picture.files("strip")


@lru_cache(maxsize=STRIPS_KEPT_MAX)
def marks(palette: Palette) -> Pictures:
    """Icon and logo of a design: a stamp with a check mark, on the card's colour and on nothing."""
    icon = _Picture(ICON_POINTS, palette.background)
    _draw_stamp(icon, palette.accent, palette.background, (14.5, 14.5), 10.5)
    logo = _Picture(LOGO_POINTS, None)
    _draw_stamp(logo, palette.accent, palette.background, (25, 25), 21)
    return {**icon.files("icon"), **logo.files("logo")}


@lru_cache(maxsize=STRIPS_KEPT_MAX)
def large_logo(palette: Palette) -> bytes:
    """The logo of a design on its colour, 660 pixels square, for phones that cut a circle out of it."""
    picture = _Picture((220, 220), palette.background)
    _draw_stamp(picture, palette.accent, palette.background, (110, 110), 66)
    return picture.png(max(SCALES))


class _Picture:
    """A canvas measured in points."""

    def __init__(self, points: tuple[int, int], background: Rgb | None) -> None:
        self._points = points
        self._unit = max(SCALES) * OVERSAMPLING
        size = (points[0] * self._unit, points[1] * self._unit)
        # What is see-through has the colour 0, so that edges do not shine.
        self._image = Image.new("RGB", size, background) if background else Image.new("RGBA", size, (0, 0, 0, 0))
        self._draw = ImageDraw.Draw(self._image)

    def disc(self, center: tuple[float, float], radius: float, color: Rgb) -> None:
        self._draw.ellipse(self._scaled(_around(center, radius)), fill=color)

    def ring(self, center: tuple[float, float], radius: float, color: Rgb, width: float) -> None:
        self._draw.ellipse(self._scaled(_around(center, radius)), outline=color, width=round(width * self._unit))

    def line(self, points: list[tuple[float, float]], color: Rgb, width: float) -> None:
        scaled = [(x * self._unit, y * self._unit) for x, y in points]
        self._draw.line(scaled, fill=color, width=round(width * self._unit), joint="curve")
        for end in (points[0], points[-1]):
            self.disc(end, width / 2, color)

    def shape(self, points: list[tuple[float, float]], color: Rgb) -> None:
        self._draw.polygon([(x * self._unit, y * self._unit) for x, y in points], fill=color)

    def pill(self, box: Box, color: Rgb) -> None:
        radius = (box[3] - box[1]) / 2 * self._unit
        self._draw.rounded_rectangle(self._scaled(box), radius=radius, fill=color)

    def files(self, name: str) -> Pictures:
        return {f"{name}{'' if scale == 1 else f'@{scale}x'}.png": self.png(scale) for scale in SCALES}

    def png(self, scale: int) -> bytes:
        size = (self._points[0] * scale, self._points[1] * scale)
        written = BytesIO()
        self._image.resize(size, Image.Resampling.BOX).save(written, "PNG")
        return written.getvalue()

    def _scaled(self, box: Box) -> Box:
        left, top, right, bottom = (side * self._unit for side in box)
        return left, top, right, bottom


def _draw_stamps(picture: _Picture, palette: Palette, progress: Progress) -> None:
    """In as many rows as make them largest; the last one, the reward's, carries a star."""
    rows, cell = _rows(progress.total)
    columns = ceil(progress.total / rows)
    radius = cell * 0.38
    ground = palette.ground
    quiet = mixed(palette.accent, ground, 0.4)
    top = (STRIP_POINTS[1] - rows * cell) / 2
    for number in range(progress.total):
        row, column = divmod(number, columns)
        in_row = min(columns, progress.total - row * columns)
        left = (STRIP_POINTS[0] - in_row * cell) / 2
        center = (left + (column + 0.5) * cell, top + (row + 0.5) * cell)
        is_filled, is_last = number < progress.filled, number == progress.total - 1
        if is_last:
            if is_filled:
                picture.disc(center, radius, palette.accent)
            else:
                picture.ring(center, radius, palette.accent, radius * 0.1)
            picture.shape(_star(center, radius * 0.56), ground if is_filled else palette.accent)
        elif is_filled:
            _draw_stamp(picture, palette.accent, ground, center, radius)
        else:
            picture.ring(center, radius, quiet, radius * 0.1)


def _rows(total: int) -> tuple[int, float]:
    """How many rows, and how many points a stamp with its surroundings is wide."""
    wide, high = STRIP_POINTS[0] - 2 * MARGIN_POINTS, STRIP_SHOWN_POINTS - 20

    def cell(rows: int) -> float:
        return min(wide / ceil(total / rows), high / rows, STAMP_POINTS_MAX)

    rows = max(range(1, min(ROWS_MAX, total) + 1), key=lambda rows: (cell(rows), -rows))
    return rows, cell(rows)


def _draw_stamp(picture: _Picture, color: Rgb, ground: Rgb, center: tuple[float, float], radius: float) -> None:
    picture.disc(center, radius, color)
    x, y = center
    check = [(-0.42, 0.04), (-0.12, 0.34), (0.42, -0.28)]
    picture.line([(x + dx * radius, y + dy * radius) for dx, dy in check], ground, radius * 0.17)


def _draw_bar(picture: _Picture, palette: Palette, progress: Progress) -> None:
    ground = palette.ground
    left, right, middle = MARGIN_POINTS + 6, STRIP_POINTS[0] - MARGIN_POINTS - 6, STRIP_POINTS[1] / 2
    half, end = 9.0, right - 34
    picture.pill((left, middle - half, end, middle + half), mixed(palette.accent, ground, 0.75))
    reached = (end - left) * progress.filled / progress.total
    if progress.filled:
        picture.pill((left, middle - half, left + max(reached, 2 * half), middle + half), palette.accent)
    is_full = progress.filled >= progress.total
    center = (right - 14, middle)
    if is_full:
        picture.disc(center, 16, palette.accent)
    else:
        picture.ring(center, 16, palette.accent, 1.6)
    picture.shape(_star(center, 9), ground if is_full else palette.accent)


def _star(center: tuple[float, float], radius: float) -> list[tuple[float, float]]:
    points = []
    for corner in range(10):
        reach = radius if corner % 2 == 0 else radius * 0.45
        angle = corner * pi / 5
        points.append((center[0] + reach * sin(angle), center[1] - reach * cos(angle)))
    return points


def _around(center: tuple[float, float], radius: float) -> Box:
    return center[0] - radius, center[1] - radius, center[0] + radius, center[1] + radius
