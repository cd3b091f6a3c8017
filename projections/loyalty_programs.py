"""Table loyalty_programs: a program's rules in force, its rewards and its looks.

Rules that begin later change a program without any event. The table shows those in force at the program's last
event, and in `next_rules_at` when the next ones begin; the readers here answer with those in force now.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from ledger.codec import from_plain
from ledger.commands import answers
from ledger.decision import Stream
from ledger.program import Program, Rules, evolve
from ledger.stream import Recorded
from projections.table import Kept, Queries, Row, StateTable, dicts, json_list, json_of

COLUMNS = (
    "id, vendor_id, version, position, google_class_id, apple_pass_type_id, state"  # The rest follows from the state.
)


def row(kept: Kept) -> Row:
    program: Program = kept.state
    return {
        "id": kept.id,
        "vendor_id": kept.vendor_id,
        **_shown(program, program.last_at),
        "google_class_id": kept.beside.get("google_class_id"),
        "apple_pass_type_id": kept.beside.get("apple_pass_type_id"),
        "version": kept.version,
        "position": kept.position,
        "state": json_of(program),
    }


def _shown(program: Program, now: datetime) -> Row:
    rules, branding = program.rules_at(now), program.branding
    return {
        "loyalty_type": program.loyalty_type,
        "name": branding.name,
        "stamps_target": rules.stamps_target,
        "stamps_reward_description": rules.stamps_reward_description,
        "stamps_reward_value_minor": rules.stamps_reward_value_minor,
        "points_per_currency_unit": _rate(rules),
        "points_rewards": json_list(program.rewards),
        "currency": program.currency,
        "timezone": rules.timezone,
        "cooldown_minutes": rules.cooldown_minutes,
        "max_daily_stamps": rules.max_daily_stamps,
        "max_stamps_per_scan": rules.max_stamps_per_scan,
        "minimum_purchase_minor": rules.minimum_purchase_minor,
        "require_staff_pin": rules.require_staff_pin,
        "reversal_policy": rules.reversal_policy,
        "wind_down_days": rules.wind_down_days,
        "rules_version": rules.version,
        "next_rules_at": min((r.effective_from for r in program.rules if r.effective_from > now), default=None),
        "rules": json_list(program.rules),
        "targets": json_list(program.targets),
        "card_name": branding.card_name,
        "card_color": branding.card_color,
        "card_secondary_color": branding.card_secondary_color,
        "logo_url": branding.logo_url,
        "hero_image_url": branding.hero_image_url,
        "terms_text": branding.terms_text,
        "privacy_url": branding.privacy_url,
        "translations": answers.translations(rules, branding) or None,
        "is_active": program.is_active,
        "activated_at": program.activated_at,
        "deactivated_at": program.deactivated_at,
        "created_at": program.created_at,
        "updated_at": program.last_at,
    }


def _rate(rules: Rules) -> dict[str, int] | None:
    """Points for an amount in minor units, as two integers: `{"points": 1, "per_minor": 100}`."""
    if rules.rate_points is None or rules.rate_minor is None:
        return None
    return {"points": rules.rate_points, "per_minor": rules.rate_minor}


def _id(recorded: Recorded) -> UUID | None:
    return recorded.stream_id if recorded.envelope.stream_type == "program" else None


LOYALTY_PROGRAMS = StateTable(
    "loyalty_programs", Program, _id, evolve, row, beside=("google_class_id", "apple_pass_type_id")
)


# ------------------------------------------------------------------ readers


def program_of(plain: dict[str, Any]) -> Program:
    """The program again from its `state` column."""
    return from_plain(Program, plain)


async def read(queries: Queries, program_id: UUID, *, now: datetime) -> Row | None:
    """One program with the rules in force at `now`, by the columns of the table.

    Returns:
        JSON-ready values; `points_per_currency_unit` is `{"points", "per_minor"}` or None. None where there is no such
        program.

    Raises:
        StoreAway: The database is away. Asking again is safe.

    Source:
        Table loyalty_programs, which trails the stream by a few milliseconds.
    """
    found = await queries.rows(f"SELECT {COLUMNS} FROM loyalty_programs WHERE id = %s", (program_id,))
    return _told(found, now)[0] if found else None


LIST = f"""
SELECT {COLUMNS} FROM loyalty_programs
WHERE (%(vendor_id)s::uuid IS NULL OR vendor_id = %(vendor_id)s)
    AND (%(loyalty_type)s::text IS NULL OR loyalty_type = %(loyalty_type)s)
    AND (%(is_active)s::boolean IS NULL OR is_active = %(is_active)s)
    AND (%(at)s::timestamptz IS NULL OR (created_at, id) < (%(at)s, %(id)s::uuid))
ORDER BY created_at DESC, id DESC LIMIT %(limit)s
"""


async def list_programs(
    queries: Queries,
    *,
    now: datetime,
    vendor_id: UUID | None = None,
    loyalty_type: str | None = None,
    is_active: bool | None = None,
    before: tuple[datetime, UUID] | None = None,
    limit: int = 50,
) -> list[Row]:
    """Newest first. `before` is `(created_at, id)` of the last row of the page before."""
    at, id_ = before or (None, None)
    asked = {"vendor_id": vendor_id, "loyalty_type": loyalty_type, "is_active": is_active}
    return _told(await queries.rows(LIST, {**asked, "at": at, "id": id_, "limit": limit}), now)


def _told(rows: list[tuple[Any, ...]], now: datetime) -> list[Row]:
    told = []
    for found in dicts(COLUMNS, rows):
        stream = Stream(
            found["id"], "program", found["vendor_id"], None, found["version"], "", program_of(found.pop("state"))
        )
        told.append(found | answers.program(stream, now))
    return told
