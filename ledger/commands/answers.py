"""What a command answers, in plain values. The same facts, whether it was just recorded or is asked again."""

from datetime import datetime
from typing import Any
from uuid import UUID

from ledger.card import (
    Card,
    EarnReversed,
    PointsEarned,
    RedemptionReversed,
    RewardRedeemed,
    StampsAdded,
    UnitsAdjusted,
    entry_type,
)
from ledger.decision import Stream
from ledger.program import Branding, Program, Rules
from ledger.rewards import standing
from ledger.staff_pin import StaffPin
from ledger.stream import Recorded
from ledger.translations import by_language
from ledger.vendor import ApiKey, Vendor


def entry(recorded: Recorded, card: Card, program: Program) -> dict[str, Any]:
    """One entry of a card, and where the card stands after it. Times are UTC."""
    event, at = recorded.event, recorded.envelope.recorded_at
    now_stands = standing(card, program, at)
    return {
        "entry_id": event.entry_id,
        "type": entry_type(event),
        **_effect(event),
        "card_id": recorded.stream_id,
        "stamp_count": now_stands.stamp_count,
        "points_balance": now_stands.points_balance,
        "stamps_target": now_stands.stamps_target,
        "stamps_until_reward": now_stands.stamps_until_reward,
        "rewards_available": now_stands.rewards_available,
        "remaining_stamps_today": now_stands.remaining_stamps_today,
        "next_stamp_at": now_stands.next_stamp_at,
        "card_version": recorded.version,
        "receipt": {"card_version": recorded.version, "head": recorded.digest},
        "occurred_at": recorded.envelope.occurred_at,
        "recorded_at": at,
    }


def _effect(event: Any) -> dict[str, Any]:
    match event:
        case StampsAdded():
            return {"stamps_delta": event.stamps, "points_delta": 0}
        case PointsEarned():
            is_too_small = event.purchase_amount_minor < event.minimum_minor
            return {
                "stamps_delta": 0,
                "points_delta": event.points,
                "nothing_earned_because": "below_minimum_purchase" if is_too_small else None,
            }
        case RewardRedeemed():
            return {
                "stamps_delta": -event.stamps_spent,
                "points_delta": -event.points_spent,
                "reward_id": event.reward_id,
                "reward_description": event.reward_description,
                "reward_value_minor": event.reward_value_minor,
            }
        case EarnReversed():
            return {
                "stamps_delta": -event.stamps_taken,
                "points_delta": -event.points_taken,
                "reverses_id": event.reverses_id,
                "shortfall": event.shortfall,
            }
        case RedemptionReversed():
            return {
                "stamps_delta": event.stamps_returned,
                "points_delta": event.points_returned,
                "reverses_id": event.reverses_id,
            }
        case UnitsAdjusted():
            return {"stamps_delta": event.stamps, "points_delta": event.points}
        case _:
            raise AssertionError(f"{type(event).__name__} is no entry")


def card(stream: Stream, program: Program, now: datetime, personal: dict[str, str | None]) -> dict[str, Any]:
    """A card with everything a till may see. `personal` holds what was unsealed: qr_token, name, email, phone."""
    state: Card = stream.state
    stands = standing(state, program, now)
    return {
        "id": stream.stream_id,
        "customer_id": state.customer_id,
        "program_id": stream.parent_id,
        "vendor_id": stream.vendor_id,
        "card_number": state.number,
        "qr_code_data": personal.get("qr_token"),
        "customer": {name: personal.get(name) for name in ("name", "email", "phone")},
        "language": state.language,
        "stamp_count": state.stamps,
        "total_stamps_earned": state.total_stamps_earned,
        "stamps_redeemed": state.rewards_redeemed,
        "points_balance": state.points,
        "total_points_earned": state.total_points_earned,
        "points_redeemed": state.points_redeemed,
        "stamps_target": stands.stamps_target,
        "stamps_until_reward": stands.stamps_until_reward,
        "rewards_available": stands.rewards_available,
        "remaining_stamps_today": stands.remaining_stamps_today,
        "next_stamp_at": stands.next_stamp_at,
        "last_stamp_at": state.recent_stamps[-1].at if state.recent_stamps else None,
        "last_points_at": state.last_points_at,
        "last_redemption_at": state.last_redemption_at,
        "is_active": state.status == "active",
        "status": state.status,
        "replaced_by": state.replaced_by,
        "version": stream.version,
        "receipt": {"card_version": stream.version, "head": stream.head},
        "created_at": state.enrolled_at,
        "updated_at": state.last_at,
    }


def program(stream: Stream, now: datetime) -> dict[str, Any]:
    """A program with the rules in force at `now`."""
    state: Program = stream.state
    rules, branding = state.rules_at(now), state.branding
    rate = None
    if rules.rate_points is not None:
        rate = {"points": rules.rate_points, "per_minor": rules.rate_minor}
    return {
        "id": stream.stream_id,
        "vendor_id": stream.vendor_id,
        "loyalty_type": state.loyalty_type,
        "name": branding.name,
        "stamps_target": rules.stamps_target,
        "stamps_reward_description": rules.stamps_reward_description,
        "stamps_reward_value_minor": rules.stamps_reward_value_minor,
        "earn_rate": rate,
        "points_per_currency_unit": rate,
        "minimum_purchase_minor": rules.minimum_purchase_minor,
        "points_rewards": [
            {
                "id": r.reward_id,
                "name": r.name,
                "points_cost": r.points_cost,
                "value_minor": r.value_minor,
                "translations": by_language(name=r.name_in),
            }
            for r in state.rewards
        ],
        "currency": state.currency,
        "timezone": rules.timezone,
        "cooldown_minutes": rules.cooldown_minutes,
        "max_daily_stamps": rules.max_daily_stamps,
        "max_stamps_per_scan": rules.max_stamps_per_scan,
        "require_staff_pin": rules.require_staff_pin,
        "reversal_policy": rules.reversal_policy,
        "raised_target": rules.raised_target,
        "wind_down_days": rules.wind_down_days,
        "card_name": branding.card_name,
        "card_color": branding.card_color,
        "card_secondary_color": branding.card_secondary_color,
        "logo_url": branding.logo_url,
        "hero_image_url": branding.hero_image_url,
        "terms_text": branding.terms_text,
        "privacy_url": branding.privacy_url,
        "enrolment_fields": list(branding.asks_for),
        "translations": translations(rules, branding),
        "is_active": state.is_active,
        "activated_at": state.activated_at,
        "deactivated_at": state.deactivated_at,
        "rules_version": rules.version,
        "rules_effective_from": rules.effective_from,
        "pending_rules": [
            {"version": r.version, "effective_from": r.effective_from} for r in state.rules if r.effective_from > now
        ],
        "version": stream.version,
        "created_at": state.created_at,
        "updated_at": state.last_at,
    }


def translations(rules: Rules, branding: Branding) -> dict[str, dict[str, str]]:
    """The program's words in the languages that have their own, by language and then by field."""
    return by_language(
        card_name=branding.card_name_in,
        stamps_reward_description=rules.stamps_reward_description_in,
        terms_text=branding.terms_text_in,
    )


def vendor(stream: Stream) -> dict[str, Any]:
    state: Vendor = stream.state
    profile = state.profile
    return {
        "id": stream.stream_id,
        "code": state.code,
        "name": profile.name,
        "country": profile.country,
        "timezone": profile.timezone,
        "currency": profile.currency,
        "languages": list(profile.languages),
        "is_active": state.is_active,
        "version": stream.version,
        "created_at": state.created_at,
        "updated_at": state.last_at,
    }


def api_key(key: ApiKey) -> dict[str, Any]:
    """An API key without the key itself, of which only a digest exists."""
    return {
        "id": key.key_id,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": list(key.scopes),
        "issued_at": key.issued_at,
        "expires_at": key.expires_at,
    }


def staff_pin(stream: Stream, name: str | None) -> dict[str, Any]:
    """A staff PIN without the PIN and its hash."""
    state: StaffPin = stream.state
    return {
        "id": stream.stream_id,
        "vendor_id": stream.vendor_id,
        "program_id": state.program_id,
        "staff_id": state.staff_id,
        "name": name,
        "role": state.role,
        "operations": list(state.operations),
        "is_active": state.is_active,
        "failed_attempts": len(state.failures),
        "locked_until": state.locked_until,
        "version": stream.version,
        "created_at": state.created_at,
        "updated_at": state.last_at,
    }


def subject_of(vendor_id: UUID, customer_id: UUID) -> tuple[str, UUID, UUID]:
    """The names a customer's key id derives from: a person is forgotten at one vendor, not at another."""
    return "subject", vendor_id, customer_id
