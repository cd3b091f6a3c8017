"""Table loyalty_cards: what each card holds, and what its holder scans."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from ledger.card import Card, evolve
from ledger.codec import from_plain
from ledger.ids import derived
from ledger.personal import Secret
from ledger.rewards import standing
from ledger.stream import Recorded
from projections.loyalty_programs import program_of
from projections.table import Kept, Opened, Queries, Row, StateTable, dicts, json_of

OPEN = ("active", "suspended")
COLUMNS = (
    "id, customer_id, program_id, vendor_id, card_number, qr_code_data, language, stamp_count, total_stamps_earned,"
    " stamps_redeemed, points_balance, total_points_earned, points_redeemed, google_object_id,"
    " is_saved_at_google, apple_serial_number,"
    " last_stamp_at, last_points_at, last_redemption_at, is_active, status, replaced_by, version, position,"
    " created_at, updated_at"
)


def row(kept: Kept) -> Row:
    card: Card = kept.state
    sealed = {"name": card.name, "email": card.email, "phone": card.phone}
    state = json_of(card)
    return {
        "id": kept.id,
        "customer_id": card.customer_id,
        "program_id": kept.program_id,
        "vendor_id": kept.vendor_id,
        "card_number": card.number,
        "qr_code_data": kept.opened(card.qr_token),
        "language": card.language,
        "stamp_count": card.stamps,
        "total_stamps_earned": card.total_stamps_earned,
        "stamps_redeemed": card.rewards_redeemed,
        "points_balance": card.points,
        "total_points_earned": card.total_points_earned,
        "points_redeemed": card.points_redeemed,
        "cycle_version": card.cycle_version,
        "recent_stamps": state["recent_stamps"],
        "google_object_id": kept.beside.get("google_object_id"),
        "google_object_jwt": None,
        "is_saved_at_google": kept.beside.get("is_saved_at_google", False),
        "apple_serial_number": kept.beside.get("apple_serial_number"),
        "apple_auth_token": None,
        "last_stamp_at": card.recent_stamps[-1].at if card.recent_stamps else None,
        "last_points_at": card.last_points_at,
        "last_redemption_at": card.last_redemption_at,
        "is_active": card.status == "active",
        "status": card.status,
        "replaced_by": card.replaced_by,
        "email_digest": kept.opened(card.email),
        "phone_digest": kept.opened(card.phone),
        "details": {name: secret.sealed for name, secret in sealed.items() if secret is not None},
        "version": kept.version,
        "position": kept.position,
        "created_at": card.enrolled_at,
        "updated_at": card.last_at,
        "state": state,
    }


def _id(recorded: Recorded) -> UUID | None:
    return recorded.stream_id if recorded.envelope.stream_type == "card" else None


def _subject(kept: Kept) -> UUID:
    return derived("subject", kept.vendor_id, kept.state.customer_id)


def _is_open(kept: Kept) -> bool:
    return kept.state.status in OPEN


LOYALTY_CARDS = StateTable(
    "loyalty_cards",
    Card,
    _id,
    evolve,
    row,
    program_column="program_id",
    secrets=(
        Opened("qr_code_data", "qr_token"),
        Opened("email_digest", "email", "email"),
        Opened("phone_digest", "phone", "phone"),
    ),
    subject=_subject,
    beside=("apple_serial_number", "google_object_id", "is_saved_at_google"),
    is_last=_is_open,  # A customer's ended card makes room for the next one.
)


# Cards that a projector wrote which knew nothing of digests.
WITHOUT_DIGEST = """
SELECT id FROM loyalty_cards
WHERE ((details ? 'email') <> (email_digest IS NOT NULL) OR (details ? 'phone') <> (phone_digest IS NOT NULL))
    AND id > %s
ORDER BY id LIMIT %s
"""


# ------------------------------------------------------------------ readers

SELECT = f"SELECT {', '.join('c.' + c.strip() for c in COLUMNS.split(','))}, c.state, p.version, p.state"
FROM = "FROM loyalty_cards c JOIN loyalty_programs p ON p.id = c.program_id"


async def read(queries: Queries, card_id: UUID, *, now: datetime) -> Row | None:
    """One card by the columns of the table, with its standing at `now`.

    Returns:
        JSON-ready values. Beside the columns: stamps_target, stamps_until_reward, rewards_available,
        remaining_stamps_today and next_stamp_at, None where the program gives no stamps. Balances may be negative by
        the program's reversal policy; `version` says how many events of the card are counted in; times are UTC.
        None while no event of the card has arrived.

    Raises:
        StoreAway: The database is away. Asking again is safe.

    Source:
        Table loyalty_cards. It trails the stream by a few milliseconds: compare `version` with a command's answer.
    """
    found = await queries.rows(f"{SELECT} {FROM} WHERE c.id = %s", (card_id,))
    return _told(found, now)[0] if found else None


async def read_by_number(queries: Queries, card_number: str, *, now: datetime) -> Row | None:
    """Like `read`, by the 12 digits. Whose card it is, the caller must check."""
    found = await queries.rows(f"{SELECT} {FROM} WHERE c.card_number = %s", (card_number,))
    return _told(found, now)[0] if found else None


async def read_by_qr(queries: Queries, qr_code_data: str, *, now: datetime) -> Row | None:
    """Like `read`, by what its holder shows."""
    found = await queries.rows(f"{SELECT} {FROM} WHERE c.qr_code_data = %s", (qr_code_data,))
    return _told(found, now)[0] if found else None


@dataclass(frozen=True, slots=True)
class Sought:
    """What cards are found by: whatever of it is given.

    number: The first 1 to 12 digits of a card number. named: A card's id, or a customer's. qr: What the holder shows.
    contact: The digest of an email or a phone, in hexadecimal, by `MasterKey.lookup`: all cards of whoever gave it.
    """

    number: str | None = None
    named: UUID | None = None
    qr: str | None = None
    contact: str | None = None


LIST = f"""
{SELECT} {FROM}
WHERE (%(vendor_id)s::uuid IS NULL OR c.vendor_id = %(vendor_id)s)
    AND (%(program_id)s::uuid IS NULL OR c.program_id = %(program_id)s)
    AND (%(status)s::text IS NULL OR c.status = %(status)s)
    AND (NOT %(is_sought)s
        OR c.card_number BETWEEN rpad(%(number)s, 12, '0') AND rpad(%(number)s, 12, '9')
        OR c.qr_code_data = %(qr)s OR c.id = %(named)s::uuid OR c.customer_id = %(named)s::uuid
        OR c.customer_id = ANY(ARRAY(
            SELECT found.customer_id FROM loyalty_cards found
            WHERE found.email_digest = %(contact)s OR found.phone_digest = %(contact)s)))
    AND (%(at)s::timestamptz IS NULL OR (c.created_at, c.id) < (%(at)s, %(id)s::uuid))
ORDER BY c.created_at DESC, c.id DESC LIMIT %(limit)s
"""


async def list_cards(
    queries: Queries,
    *,
    now: datetime,
    vendor_id: UUID | None = None,
    program_id: UUID | None = None,
    status: str | None = None,
    sought: Sought | None = None,
    before: tuple[datetime, UUID] | None = None,
    limit: int = 50,
) -> list[Row]:
    """Cards like `read` tells them, newest first.

    Args:
        sought: Cards that it finds, and no others.
        before: `(created_at, id)` of the last row of the page before.
    """
    at, id_ = before or (None, None)
    asked = {"vendor_id": vendor_id, "program_id": program_id, "status": status, "is_sought": sought is not None}
    asked |= asdict(sought or Sought())
    return _told(await queries.rows(LIST, {**asked, "at": at, "id": id_, "limit": limit}), now)


async def sealed_details(queries: Queries, card_id: UUID) -> dict[str, Secret]:
    """Name, email and phone as far as they are known, still sealed: `ledger.seal.unseal` opens them."""
    found = await queries.rows("SELECT details FROM loyalty_cards WHERE id = %s", (card_id,))
    return {name: Secret(sealed=text) for name, text in found[0][0].items()} if found else {}


def _told(rows: list[tuple[Any, ...]], now: datetime) -> list[Row]:
    programs: dict[tuple[UUID, int], Any] = {}
    told = []
    for *columns, card_state, program_version, program_state in rows:
        shown = dicts(COLUMNS, [tuple(columns)])[0]
        program = programs.setdefault((shown["program_id"], program_version), None) or program_of(program_state)
        programs[shown["program_id"], program_version] = program
        shown |= asdict(standing(from_plain(Card, card_state), program, now))
        told.append(shown)
    return told
