"""What `loyalty-ledger check` does and says: it compares everything, changing nothing, and then records that it did."""

from collections.abc import Callable
from typing import Any

from ledger.commands.audits import record_check
from ledger.seal import MasterKey
from projections.check import Checked, compare
from wallet_sync.check import compare_wallets


def check_for(
    url: str, master_key: MasterKey, progress: Callable[[int, int], None] = lambda _position, _last: None
) -> Checked:
    """Compare every table with the stream, and record what came of it.

    Raises: psycopg.OperationalError where the database is away. Safe to ask again.
    """
    checked = compare(url, master_key, progress, beside=[compare_wallets])
    record_check(url, checked.event)
    return checked


def as_json(checked: Checked) -> dict[str, Any]:
    """All of it for another program: values are as JSON has them, or as text."""
    return {
        "at": checked.at.isoformat(),
        "position": checked.position,
        "last_position": checked.last_position,
        "rows": checked.rows,
        "count": checked.count,
        "seconds": round(checked.seconds, 3),
        "differences": [
            {
                "table": difference.table,
                "row": difference.row,
                "column": difference.column,
                "expected": difference.expected,
                "found": difference.found,
            }
            for difference in checked.differences
        ],
    }


def described(checked: Checked) -> list[str]:
    """A sentence for each difference, and one for how many there are."""
    said = [
        f"{difference.table} {difference.row} {difference.column}:"
        f" expected {difference.expected!r}, found {difference.found!r}"
        for difference in checked.differences
    ]
    return [*said, f"{checked.count} differences."] if checked.count else []
