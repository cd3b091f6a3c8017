"""Colours of a pass: what the vendor chose, and what can be read on it.

Every text colour made here keeps a contrast of at least 4.5 to 1 with its background, and a stamp 3 to 1. Only the
empty places of stamps to come are quieter, on purpose.
"""

from dataclasses import dataclass
from typing import TypeAlias

Rgb: TypeAlias = tuple[int, int, int]

BLACK: Rgb = (0, 0, 0)
WHITE: Rgb = (255, 255, 255)
HOUSE: Rgb = (31, 58, 82)  # Of programs that chose none: a calm blue.
TEXT_CONTRAST_MIN = 4.5
SHAPE_CONTRAST_MIN = 3.0
GROUND_SHADE = 0.06
STEPS = 20


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of one design; equal designs make equal pictures."""

    background: Rgb
    foreground: Rgb  # Values.
    label: Rgb  # Labels, quieter than values.
    ground: Rgb  # What stamps are drawn on: the background, a shade toward the foreground.
    accent: Rgb  # Stamps; seen on the ground as on the background.


def palette(color: str | None, secondary_color: str | None) -> Palette:
    """What to draw and write in.

    Args:
        color: The card's own colour as `#rrggbb`, or None for the house's.
        secondary_color: What the vendor wants beside it. It is moved toward black or white until it can be seen.

    Returns:
        Colours that can be read on `background`, which is exactly `color`.

    Source: contrast as WCAG 2.2 defines it, success criteria 1.4.3 and 1.4.11.
    """
    background = parsed(color) if color else HOUSE
    foreground = max(WHITE, BLACK, key=lambda c: contrast(c, background))
    ground = mixed(background, foreground, GROUND_SHADE)
    wanted = parsed(secondary_color) if secondary_color else None
    return Palette(
        background=background,
        foreground=foreground,
        label=_until_seen(wanted or mixed(foreground, background, 0.3), foreground, [background], TEXT_CONTRAST_MIN),
        ground=ground,
        accent=_until_seen(wanted or foreground, foreground, [background, ground], SHAPE_CONTRAST_MIN),
    )


def parsed(color: str) -> Rgb:
    """`#rrggbb` as three numbers from 0 to 255."""
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue


def mixed(one: Rgb, other: Rgb, share: float) -> Rgb:
    """`one` with a share, 0 to 1, of `other` in it."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def contrast(one: Rgb, other: Rgb) -> float:
    """From 1, the same, to 21, black on white."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _until_seen(color: Rgb, foreground: Rgb, on: list[Rgb], least: float) -> Rgb:
    """As close to the wanted colour as can be seen; the foreground, which always can, at the end."""
    steps = (mixed(color, foreground, step / STEPS) for step in range(STEPS))
    return next((c for c in steps if all(contrast(c, one) >= least for one in on)), foreground)


def _luminance(color: Rgb) -> float:
    red, green, blue = (_linear(part / 255) for part in color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    return float(part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4)
