"""A card as its page shows it: places for stamps, how far it is, rewards, and its history in words. Pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from math import ceil
from typing import Any, Literal, TypeAlias

import segno
from markupsafe import Markup

from api.pages.words import Words
from wallet_sync.pass_strip import STAMPS_DRAWN_MAX

Place: TypeAlias = Literal["filled", "empty"]

COLUMNS_MAX = 6
PERCENT = 100

TITLES: Mapping[str, str] = {
    "card_enrolled": "Card opened",
    "stamp_earned": "Stamp collected",
    "points_earned": "Points collected",
    "stamp_redeemed": "Reward",
    "points_redeemed": "Reward",
    "stamp_reversed": "Taken back",
    "points_reversed": "Taken back",
    "redemption_reversed": "Reward given back",
    "stamp_adjusted": "Put right by the shop",
    "points_adjusted": "Put right by the shop",
    "units_forfeited": "Forfeited with the card",
    "card_details_changed": "Details changed",
}
STATES: Mapping[str, str] = {
    "active": "Card in use again",
    "suspended": "This card is suspended",
    "closed": "This card is closed",
    "replaced": "This card was replaced",
    "erased": "This card was erased",
}


@dataclass(frozen=True, slots=True)
class Places:
    """The places for stamps in rows of equal length; the last one is the reward's."""

    filled: int
    total: int
    columns: int


@dataclass(frozen=True, slots=True)
class Goal:
    """A reward for points, and how far it is."""

    name: str
    cost: int
    missing: int  # 0 where it can be had.
    percent: int  # 0 to 100, rounded down.


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of the history in words."""

    title: str
    note: str
    change: str  # Such as "+1 stamp"; empty where nothing changed.
    at: str


def places(card: Mapping[str, Any]) -> Places | None:
    """None for a program without stamps, or with too many to be drawn one by one."""
    total = card["stamps_target"]
    if total is None or total > STAMPS_DRAWN_MAX:
        return None
    rows = ceil(total / COLUMNS_MAX) if total > 5 else 1
    if rows == 1 and total == 6:
        rows = 2
    return Places(min(max(card["stamp_count"], 0), total), total, ceil(total / rows))


def goals(card: Mapping[str, Any], program: Mapping[str, Any]) -> list[Goal]:
    """The rewards for points, the cheapest first."""
    points = max(card["points_balance"], 0)
    return [
        Goal(
            reward["name"],
            reward["points_cost"],
            max(reward["points_cost"] - points, 0),
            min(points * PERCENT // reward["points_cost"], PERCENT),
        )
        for reward in sorted(program["points_rewards"], key=lambda reward: int(reward["points_cost"]))
    ]


def history(rows: Sequence[Mapping[str, Any]], words: Words, zone: str) -> list[Line]:
    """The entries of a card as their holder reads them.

    Args:
        rows: As `loyalty_transactions.list_transactions` tells them, newest first.
        zone: The program's time zone.
    """
    return [_line(row, words, zone) for row in rows]


def grouped(number: str) -> str:
    """`1234 5678 9012`."""
    return " ".join(number[at : at + 4] for at in range(0, len(number), 4))


@lru_cache(maxsize=512)
def qr_code(text: str) -> Markup:
    """The QR code as SVG: dark on white in whatever light, with the quiet edge that scanners need.

    Source: ISO/IEC 18004: four modules around the code.
    """
    drawn = BytesIO()
    segno.make_qr(text, error="m").save(
        drawn, kind="svg", border=4, light="#fff", dark="#000", xmldecl=False, svgns=True, omitsize=True, nl=False
    )
    return Markup(drawn.getvalue().decode())


def _line(row: Mapping[str, Any], words: Words, zone: str) -> Line:
    kind = row["transaction_type"]
    title = words.text(STATES[row["status_after"]] if kind == "card_status_changed" else TITLES[kind])
    note = row["reward_description"] or ""
    if row["purchase_amount_minor"] is not None:
        note = words.money(row["purchase_amount_minor"], row["currency"])
    return Line(title, note, words.changed(row), words.brief(row["occurred_at"], zone))
