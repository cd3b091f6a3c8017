"""A shop on a database of its own, and files to import there."""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from api.importing import Done, FileRefused, import_file
from ledger.program import LoyaltyType
from projections.check import check
from projections.read_model import Projector
from tests.ledgers import MASTER_KEY, Shop, rows, running_ledger

DAY = "2026-03-01T09:00:00Z"
EXAMPLE: list[dict[str, Any]] = [
    {
        "type": "card",
        "customer": "C-1001",
        "card_number": "400000000002",
        "name": "Léa Schmit",
        "email": "Lea@Example.lu",
        "phone": "621 123 456",
        "language": "lu",
        "enrolled_at": "2024-05-02T08:00:00+02:00",
    },
    {"type": "opening_balance", "customer": "C-1001", "stamps": 7, "points": 120, "total_stamps_earned": 57},
    {"type": "stamp_earned", "customer": "C-1001", "occurred_at": "2026-03-01T09:00:00Z", "stamps": 5},
    {"type": "stamp_redeemed", "customer": "C-1001", "occurred_at": "2026-03-02T09:00:00Z", "stamps": 10},
    {
        "type": "points_earned",
        "customer": "C-1001",
        "occurred_at": "2026-03-03T09:00:00Z",
        "points": 12,
        "purchase_amount_minor": 1250,
        "currency": "EUR",
        "external_ref": "pos:receipt:77",
    },
    {
        "type": "points_redeemed",
        "customer": "C-1001",
        "occurred_at": "2026-03-04T09:00:00Z",
        "points": 20,
        "reward": "A slice of cake",
    },
    {"type": "adjustment", "customer": "C-1001", "occurred_at": DAY, "points": -2, "reason": "counted twice"},
    {"type": "card", "customer": "C-1002", "stamps": 3},
]


@dataclass(frozen=True)
class Place:
    """A shop on a database of its own, where files are imported."""

    url: str
    code: str
    shop: Shop
    folder: Path

    def file(self, lines: Iterable[dict[str, Any]] | str, name: str = "cards.ndjson") -> Path:
        path = self.folder / name
        text = lines if isinstance(lines, str) else "".join(json.dumps(line) + "\n" for line in lines)
        path.write_text(text, encoding="utf-8")
        return path

    def bring(self, lines: Iterable[dict[str, Any]] | str, name: str = "cards.ndjson", **more: Any) -> Done:
        return import_file(self.url, MASTER_KEY, self.file(lines, name), code=self.code, **more)

    def refused(self, lines: Iterable[dict[str, Any]] | str, name: str = "cards.ndjson") -> list[tuple[int, str]]:
        """What is wrong with the file, of which nothing was written."""
        before = self.counts()
        with pytest.raises(FileRefused) as caught:
            self.bring(lines, name)
        assert self.counts() == before
        assert caught.value.findings.count == len(caught.value.findings.shown)
        return caught.value.findings.shown

    def counts(self) -> list[int]:
        tables = ("stored_events", "streams", "claims", "idempotency_keys", "subject_keys", "imports")
        return [rows(self.url, f"SELECT count(*) FROM {table}")[0][0] for table in tables]

    def is_sound(self) -> bool:
        Projector(self.url, MASTER_KEY).catch_up()
        return check(self.url, MASTER_KEY) == []


def opened(url: str, folder: Path, loyalty_type: LoyaltyType = "hybrid") -> Place:
    async def open_shop() -> Shop:
        async with running_ledger(url) as ledger:
            return await Shop.opened(ledger, loyalty_type)

    shop = asyncio.run(open_shop())
    ((code,),) = rows(url, "SELECT convert_from(value, 'UTF8') FROM claims WHERE kind = 'vendor_code'")
    return Place(url, code, shop, folder)


def cards(count: int, *, entries: int = 4) -> list[dict[str, Any]]:
    """As many cards with a little history."""
    lines: list[dict[str, Any]] = []
    for n in range(count):
        customer = f"C-{n}"
        lines.append({"type": "card", "customer": customer, "stamps": n % 10, "email": f"c{n}@example.lu"})
        lines += [{"type": "stamp_earned", "customer": customer, "occurred_at": DAY} for _ in range(entries)]
    return lines


def line(**given: Any) -> dict[str, Any]:
    return {"customer": "C-1", **given}


def stamped(**given: Any) -> dict[str, Any]:
    return line(type="stamp_earned", occurred_at=DAY, **given)
