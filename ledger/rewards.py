"""Units swapped for rewards, and what a card is worth right now."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from ledger.card import Card, CardEvent, RewardRedeemed, must_be_active
from ledger.earning import cycle_of, next_stamp, stamps_on
from ledger.errors import NotEnoughPoints, NotEnoughStamps, ProgramTypeMismatch
from ledger.program import Program, must_redeem, target_in_force


@dataclass(frozen=True, slots=True)
class Standing:
    """What every answer about a card says. Counts are None where the program gives no stamps."""

    stamp_count: int
    points_balance: int
    stamps_target: int | None
    stamps_until_reward: int | None
    rewards_available: int
    remaining_stamps_today: int | None
    next_stamp_at: datetime | None


def redeem(
    card: Card,
    program: Program,
    *,
    entry_id: UUID,
    reward_id: UUID | None,
    now: datetime,
    staff_pin_id: UUID | None = None,
    order_reference: str | None = None,
    external_ref: str | None = None,
) -> list[CardEvent]:
    """One use of a reward. Without `reward_id` it is the stamp reward, at exactly the target in force."""
    must_be_active(card)
    rules = program.rules_at(now)
    must_redeem(program, rules, now)
    stamps_spent = points_spent = 0
    if reward_id is None:
        target = target_in_force(program.targets, rules, cycle_version=cycle_of(card, rules), now=now)
        if program.loyalty_type == "points" or target is None:
            raise ProgramTypeMismatch(loyalty_type=program.loyalty_type)
        if card.stamps < target:
            raise NotEnoughStamps(held=card.stamps, needed=target)
        stamps_spent = target
        description, value_minor = rules.stamps_reward_description or "", rules.stamps_reward_value_minor
    else:
        reward = program.reward(reward_id)
        if card.points < reward.points_cost:
            raise NotEnoughPoints(held=card.points, needed=reward.points_cost)
        points_spent = reward.points_cost
        description, value_minor = reward.name, reward.value_minor
    return [
        RewardRedeemed(
            at=now,
            entry_id=entry_id,
            reward_id=reward_id,
            reward_description=description,
            reward_value_minor=value_minor,
            stamps_spent=stamps_spent,
            points_spent=points_spent,
            cycle_redeemed=card.cycle_version,
            cycle_version=rules.version if stamps_spent else card.cycle_version,
            stamps_after=card.stamps - stamps_spent,
            points_after=card.points - points_spent,
            staff_pin_id=staff_pin_id,
            order_reference=order_reference,
            external_ref=external_ref,
        )
    ]


def redeem_any(card: Card, program: Program, *, now: datetime) -> list[CardEvent]:
    """The stamp reward or else the cheapest point reward: to find out whether anything could be redeemed."""
    nobody = UUID(int=0)
    cheapest = min(program.rewards, key=lambda reward: reward.points_cost, default=None)
    try:
        return redeem(card, program, entry_id=nobody, reward_id=None, now=now)
    except (NotEnoughStamps, ProgramTypeMismatch):
        if cheapest is None:
            raise
        return redeem(card, program, entry_id=nobody, reward_id=cheapest.reward_id, now=now)


def standing(card: Card, program: Program, now: datetime) -> Standing:
    """The card as a till or its holder should see it at `now`."""
    rules = program.rules_at(now)
    target = None
    if program.loyalty_type != "points":
        target = target_in_force(program.targets, rules, cycle_version=cycle_of(card, rules), now=now)
    available = stamp_rewards_available(card.stamps, target, rules.stamps_target)
    available += sum(1 for reward in program.rewards if 0 < reward.points_cost <= card.points)
    if target is None:
        return Standing(card.stamps, card.points, None, None, available, None, None)
    today = now.astimezone(ZoneInfo(rules.timezone)).date()
    return Standing(
        stamp_count=card.stamps,
        points_balance=card.points,
        stamps_target=target,
        stamps_until_reward=max(target - card.stamps, 0),
        rewards_available=available,
        remaining_stamps_today=max(rules.max_daily_stamps - stamps_on(card, today), 0),
        next_stamp_at=next_stamp(card, rules, now),
    )


def stamp_rewards_available(stamps: int, target: int | None, next_target: int | None) -> int:
    """How many stamp rewards could be redeemed in a row: the first at the card's target, the rest at today's."""
    if target is None or next_target is None or stamps < target:
        return 0
    return 1 + (stamps - target) // next_target
