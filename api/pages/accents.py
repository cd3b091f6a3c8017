"""A program's colours on a page: a small style sheet for each pair, so that pages carry no style of their own.

Text in the accent, and text on it, keep 4.5 to 1; edges and stamps 3 to 1, on the light and on the dark page.
"""

from functools import lru_cache

from wallet_sync.colours import (
    BLACK,
    HOUSE,
    SHAPE_CONTRAST_MIN,
    TEXT_CONTRAST_MIN,
    WHITE,
    Rgb,
    contrast,
    mixed,
    palette,
    parsed,
)

# As pages.css has them: what text in the accent stands on. A test compares.
SURFACES_LIGHT = ("#ffffff", "#f6f5f2")
SURFACES_DARK = ("#1d1f22", "#141517")
STEPS = 40


@lru_cache(maxsize=1024)
def accent_sheet(color: str, secondary: str | None) -> str:
    """The style sheet of a program's colours.

    Args:
        color, secondary: `rrggbb`.

    Returns:
        CSS that sets `--accent`, what is read on it, the accent as text and as a shape on the page, and the card's
        own colours, which are those of the pass.
    """
    card = palette(f"#{color}", f"#{secondary}" if secondary else None)
    return (
        f":root{{--accent:#{color};--on-accent:{_css(card.foreground)};"
        f"--card:{_css(card.background)};--card-ground:{_css(card.ground)};--card-text:{_css(card.foreground)};"
        f"--card-label:{_css(card.label)};--stamp:{_css(card.accent)};"
        f"--stamp-quiet:{_css(mixed(card.accent, card.ground, 0.4))};"
        f"{_on_page(card.background, SURFACES_LIGHT, BLACK)}}}"
        f"@media (prefers-color-scheme:dark){{:root{{{_on_page(card.background, SURFACES_DARK, WHITE)}}}}}"
    )


def house() -> str:
    """The colour of pages that belong to no program, as `rrggbb`."""
    return _css(HOUSE).removeprefix("#")


def _on_page(color: Rgb, surfaces: tuple[str, ...], toward: Rgb) -> str:
    text = _until_seen(color, surfaces, toward, TEXT_CONTRAST_MIN)
    edge = _until_seen(color, surfaces, toward, SHAPE_CONTRAST_MIN)
    return f"--accent-text:{_css(text)};--accent-edge:{_css(edge)};"


def _until_seen(color: Rgb, surfaces: tuple[str, ...], toward: Rgb, least: float) -> Rgb:
    steps = (mixed(color, toward, step / STEPS) for step in range(STEPS + 1))
    return next(c for c in steps if all(contrast(c, parsed(one)) >= least for one in surfaces))


def _css(color: Rgb) -> str:
    return f"#{bytes(color).hex()}"
