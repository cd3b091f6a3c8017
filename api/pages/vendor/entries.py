"""Entries as people read them: what happened, in words, and who did it."""

from collections.abc import Mapping, Sequence
from typing import Any

from api.pages.words import Words
from ledger.reader import Reader
from projections import staff_pins

KINDS: Mapping[str, str] = {
    "stamp_earned": "Stamp",
    "points_earned": "Purchase",
    "stamp_redeemed": "Reward redeemed",
    "points_redeemed": "Reward redeemed",
    "stamp_reversed": "Stamp taken back",
    "points_reversed": "Purchase taken back",
    "redemption_reversed": "Reward taken back",
    "stamp_adjusted": "Changed by hand",
    "points_adjusted": "Changed by hand",
    "units_forfeited": "Forfeited",
    "card_enrolled": "New card",
    "card_status_changed": "Card changed",
    "card_details_changed": "Details changed",
}
STATUS_KINDS: Mapping[str, str] = {"active": "good", "suspended": "warning", "erased": "plain"}
EVENTS: Mapping[str, str] = {
    "card-suspended": "Card suspended",
    "card-reinstated": "Card reinstated",
    "card-closed": "Card closed",
    "card-replaced": "Card replaced",
    "card-erased": "Customer forgotten",
    "qr-token-rotated": "New QR code",
}


def told(row: Mapping[str, Any], words: Words, zone: str, staff: Mapping[Any, str]) -> dict[str, Any]:
    """An entry for a list.

    Args:
        row: Of table loyalty_transactions.
        staff: Names by PIN.
    """
    what = words.text(EVENTS.get(row["event_name"]) or KINDS[row["transaction_type"]])
    detail = row["reward_description"] or row["reason"]
    if row["purchase_amount_minor"] is not None:
        detail = words.money(row["purchase_amount_minor"], row["currency"])
    return {
        "id": str(row["id"]),
        "what": what,
        "detail": detail,
        "delta": words.changed(row),
        "card_id": str(row["card_id"]),
        "at": words.moment(row["occurred_at"], zone),
        "clock": words.clock(row["occurred_at"], zone),
        "day": words.day(row["occurred_at"], zone),
        "by": staff.get(row["staff_pin_id"]) or row["terminal_id"],
        "after": (row["stamps_balance_after"], row["points_balance_after"]),
        "reverses_id": row["reverses_id"],
        "type": row["transaction_type"],
    }


async def staff_names(reader: Reader, vendor_id: Any) -> dict[Any, str]:
    """Names by PIN, those who left included."""
    return {pin["id"]: pin["name"] for pin in await staff_pins.list_pins(reader, vendor_id, limit=500) if pin["name"]}


def days(entries: Sequence[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """The entries by day, in the order they come."""
    found: list[tuple[str, list[dict[str, Any]]]] = []
    for entry in entries:
        if not found or found[-1][0] != entry["day"]:
            found.append((entry["day"], []))
        found[-1][1].append(entry)
    return found
