"""The pictures of Google passes: each has a name that says all it shows, so that it can be kept for ever.

Google keeps a picture by its address: what looks different must be somewhere else. A name tells of no card.
"""

import re
from typing import cast, get_args

from wallet_sync.colours import Palette, Rgb, palette
from wallet_sync.pass_content import PassContent, Progress, ProgressUnit
from wallet_sync.pass_strip import large_logo, strip

_LOGO = re.compile(r"logo-([0-9a-f]{6})-([0-9a-f]{6})")
_PROGRESS = re.compile(
    rf"({'|'.join(get_args(ProgressUnit))})-([0-9]{{1,5}})-([0-9]{{1,5}})-([0-9a-f]{{6}})-([0-9a-f]{{6}})"
)


def logo_name(color: str | None, secondary_color: str | None) -> str:
    """`logo-6f4e37-f2c879`: the mark of programs in these colours, for those that have no logo of their own."""
    return f"logo-{_named(palette(color, secondary_color))}"


def progress_name(content: PassContent) -> str | None:
    """`stamps-7-10-6f4e37-f2c879`: how far a card has come; None where it goes nowhere."""
    if content.progress is None:
        return None
    seen = content.progress
    return f"{seen.unit}-{seen.filled}-{seen.total}-{_named(palette(content.color, content.secondary_color))}"


def drawn(name: str) -> bytes | None:
    """The picture of that name as PNG; None where no picture has it.

    A logo is 660 pixels square, a card's progress 1125 × 432. Up to 50 ms of work when it was not drawn lately.

    Source: Google Wallet, brand guidelines for loyalty cards.
    """
    if found := _LOGO.fullmatch(name):
        return large_logo(_palette(*found.groups()))
    if found := _PROGRESS.fullmatch(name):
        filled, total = int(found[2]), int(found[3])
        if not 0 <= filled <= total or total == 0:
            return None
        progress = Progress(filled, total, cast(ProgressUnit, found[1]))
        return strip(_palette(found[4], found[5]), progress)["strip@3x.png"]
    return None


def _named(colors: Palette) -> str:
    return f"{_hex(colors.background)}-{_hex(colors.accent)}"


def _palette(background: str, accent: str) -> Palette:
    return palette(f"#{background}", f"#{accent}")


def _hex(color: Rgb) -> str:
    return bytes(color).hex()
