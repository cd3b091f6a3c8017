"""A loyalty program: its rules through time, its rewards, its looks.

A change of rules is a new version with a date from which it holds. Card events store the version they were decided
under, so no past event is ever scored again.
"""

from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Literal, TypeAlias, assert_never
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from ledger.errors import InvalidValue, ProgramIsInactive, ProgramTypeMismatch, RewardNotFound
from ledger.translations import Translations, by_language

LoyaltyType: TypeAlias = Literal["stamps", "points", "hybrid"]
ReversalPolicy: TypeAlias = Literal["allow_negative", "within_balance", "reject"]
RaisedTarget: TypeAlias = Literal["grandfather", "immediate"]
EnrolmentField: TypeAlias = Literal["name", "email", "phone"]

REWARDS_MAX = 50
PENDING_RULES_MAX = 10


class Rules(Struct, frozen=True):
    """One version of what a card of the program may do."""

    version: int
    effective_from: datetime
    timezone: str
    stamps_target: int | None = None
    stamps_reward_description: str | None = None
    stamps_reward_value_minor: int | None = None
    rate_points: int | None = None
    rate_minor: int | None = None
    minimum_purchase_minor: int = 0
    cooldown_minutes: int = 15
    max_daily_stamps: int = 5
    max_stamps_per_scan: int = 1
    require_staff_pin: bool = True
    reversal_policy: ReversalPolicy = "allow_negative"
    raised_target: RaisedTarget = "grandfather"
    wind_down_days: int = 90
    stamps_reward_description_in: Translations | None = None


class Reward(Struct, frozen=True):
    reward_id: UUID
    name: str
    points_cost: int
    value_minor: int | None = None
    name_in: Translations | None = None


class Branding(Struct, frozen=True):
    """What people see of the program."""

    name: str
    card_name: str | None = None
    card_color: str | None = None
    card_secondary_color: str | None = None
    logo_url: str | None = None
    hero_image_url: str | None = None
    terms_text: str | None = None
    privacy_url: str | None = None
    enrolment_fields: tuple[EnrolmentField, ...] | None = None  # What a customer is asked for; else the name.
    card_name_in: Translations | None = None
    terms_text_in: Translations | None = None

    @property
    def asks_for(self) -> tuple[EnrolmentField, ...]:
        """What somebody who joins by themselves is asked for: a name they may leave out, and how to reach them."""
        return ("name",) if self.enrolment_fields is None else self.enrolment_fields


# ------------------------------------------------------------------ events


class ProgramCreated(Struct, frozen=True):
    at: datetime
    loyalty_type: LoyaltyType
    currency: str
    rules: Rules
    branding: Branding


class ProgramRulesChanged(Struct, frozen=True):
    at: datetime
    rules: Rules


class RewardDefined(Struct, frozen=True):
    at: datetime
    reward: Reward


class RewardChanged(Struct, frozen=True):
    at: datetime
    reward: Reward


class RewardRetired(Struct, frozen=True):
    at: datetime
    reward_id: UUID


class ProgramBrandingChanged(Struct, frozen=True):
    at: datetime
    branding: Branding


class ProgramActivated(Struct, frozen=True):
    at: datetime


class ProgramDeactivated(Struct, frozen=True):
    at: datetime


ProgramEvent: TypeAlias = (
    ProgramCreated
    | ProgramRulesChanged
    | RewardDefined
    | RewardChanged
    | RewardRetired
    | ProgramBrandingChanged
    | ProgramActivated
    | ProgramDeactivated
)


# ------------------------------------------------------------------ state


class Target(Struct, frozen=True):
    """The stamp target a rules version brought, and since when."""

    version: int
    effective_from: datetime
    stamps: int
    raised_target: RaisedTarget


class Program(Struct, frozen=True):
    loyalty_type: LoyaltyType
    currency: str
    branding: Branding
    rules: tuple[Rules, ...]  # The version in force and those still to come, oldest first.
    targets: tuple[Target, ...]  # Every stamp target there ever was, in order: a running cycle may keep an old one.
    created_at: datetime
    last_at: datetime
    rewards: tuple[Reward, ...] = ()
    is_active: bool = False
    activated_at: datetime | None = None
    deactivated_at: datetime | None = None

    def rules_at(self, now: datetime) -> Rules:
        """The rules in force at `now`."""
        in_force = self.rules[0]
        for rules in self.rules[1:]:
            if rules.effective_from <= now:
                in_force = rules
        return in_force

    def reward(self, reward_id: UUID) -> Reward:
        for reward in self.rewards:
            if reward.reward_id == reward_id:
                return reward
        raise RewardNotFound


def target_in_force(targets: tuple[Target, ...], rules: Rules, *, cycle_version: int, now: datetime) -> int | None:
    """How many stamps a reward costs a card whose cycle began under `cycle_version`.

    A lowered target counts at once. A raised one waits for the next cycle, unless the rules that raised it say
    `immediate`. A target that was corrected before its day never counts.

    Returns:
        A count ≥ 1, or None where the program gives no stamps.
    """
    begun = next((target for target in targets if target.version == cycle_version), None)
    if rules.stamps_target is None or begun is None:
        return rules.stamps_target
    stamps = begun.stamps
    later = targets[targets.index(begun) + 1 :]
    for target, following in zip_longest(later, later[1:]):
        was_corrected = following is not None and following.effective_from == target.effective_from
        if target.effective_from > now or was_corrected:
            continue
        if target.stamps < stamps or target.raised_target == "immediate":
            stamps = target.stamps
    return stamps


def evolve(program: Program | None, event: ProgramEvent) -> Program:
    """The program after one more event. Never checks."""
    if isinstance(event, ProgramCreated):
        return Program(
            loyalty_type=event.loyalty_type,
            currency=event.currency,
            branding=event.branding,
            rules=(event.rules,),
            targets=_targets((), event.rules),
            created_at=event.at,
            last_at=event.at,
        )
    assert program is not None, "a program's first event is its creation"
    program = replace(program, last_at=event.at)
    match event:
        case ProgramRulesChanged():
            now_in_force = program.rules_at(event.at)
            pending = tuple(r for r in program.rules if r.effective_from > event.at)
            return replace(
                program,
                rules=_in_order((now_in_force, *pending, event.rules)),
                targets=_targets(program.targets, event.rules),
            )
        case RewardDefined():
            return replace(program, rewards=(*program.rewards, event.reward))
        case RewardChanged():
            return replace(
                program,
                rewards=tuple(
                    event.reward if reward.reward_id == event.reward.reward_id else reward for reward in program.rewards
                ),
            )
        case RewardRetired():
            return replace(program, rewards=tuple(r for r in program.rewards if r.reward_id != event.reward_id))
        case ProgramBrandingChanged():
            return replace(program, branding=event.branding)
        case ProgramActivated():
            return replace(program, is_active=True, activated_at=event.at, deactivated_at=None)
        case ProgramDeactivated():
            return replace(program, is_active=False, deactivated_at=event.at)
        case _:
            assert_never(event)


def _in_order(rules: tuple[Rules, ...]) -> tuple[Rules, ...]:
    return tuple(sorted(rules, key=lambda r: (r.effective_from, r.version)))


def _targets(targets: tuple[Target, ...], rules: Rules) -> tuple[Target, ...]:
    if rules.stamps_target is None:
        return targets
    target = Target(rules.version, rules.effective_from, rules.stamps_target, rules.raised_target)
    return tuple(sorted((*targets, target), key=lambda t: (t.effective_from, t.version)))


# ------------------------------------------------------------------ decisions


def create(
    *,
    loyalty_type: LoyaltyType,
    currency: str,
    rules: Rules,
    branding: Branding,
    rewards: list[Reward],
    is_active: bool,
    now: datetime,
) -> list[ProgramEvent]:
    must_fit(loyalty_type, rules, rewards)
    _must_say("terms_text", branding.terms_text, branding.terms_text_in)
    events: list[ProgramEvent] = [ProgramCreated(now, loyalty_type, currency, rules, branding)]
    events += [RewardDefined(now, reward) for reward in rewards]
    if is_active:
        events.append(ProgramActivated(now))
    return events


def change(
    program: Program,
    *,
    rules: Rules | None,
    branding: Branding | None,
    rewards: list[Reward] | None,
    now: datetime,
) -> list[ProgramEvent]:
    """What differs becomes events; what does not, none. `rules.version` is given here."""
    events: list[ProgramEvent] = []
    current = program.rules_at(now)
    if rules is not None:
        # Compared with what would hold on that day, so that an announced change can be taken back.
        then = program.rules_at(max(rules.effective_from, now))
        if replace(rules, version=then.version, effective_from=then.effective_from) != then:
            must_fit(program.loyalty_type, rules, rewards or [])
            if rules.effective_from < now:
                raise InvalidValue(field="effective_from", why="lies in the past")
            if sum(r.effective_from > now for r in program.rules) >= PENDING_RULES_MAX:
                raise InvalidValue(field="effective_from", why="too many rule changes are waiting already")
            version = max(r.version for r in program.rules) + 1
            events.append(ProgramRulesChanged(now, replace(rules, version=version)))
    if branding is not None and branding != program.branding:
        _must_say("terms_text", branding.terms_text, branding.terms_text_in)
        events.append(ProgramBrandingChanged(now, branding))
    if rewards is not None:
        must_fit(program.loyalty_type, current, rewards)
        events += _reward_changes(program, rewards, now)
    return events


def _reward_changes(program: Program, rewards: list[Reward], now: datetime) -> list[ProgramEvent]:
    before = {reward.reward_id: reward for reward in program.rewards}
    after = {reward.reward_id: reward for reward in rewards}
    events: list[ProgramEvent] = [RewardRetired(now, rid) for rid in before if rid not in after]
    for reward in rewards:
        if reward.reward_id not in before:
            events.append(RewardDefined(now, reward))
        elif before[reward.reward_id] != reward:
            events.append(RewardChanged(now, reward))
    return events


def must_fit(loyalty_type: LoyaltyType, rules: Rules, rewards: list[Reward]) -> None:
    """A program that gives stamps needs a target, one that gives points a rate; and neither more.

    What no card could ever be given at once is refused too: it would only be found out at the till.
    """
    gives_stamps, gives_points = loyalty_type != "points", loyalty_type != "stamps"
    if gives_stamps and rules.stamps_target is None:
        raise InvalidValue(field="stamps_target", why="a program with stamps needs a target")
    if gives_points and (rules.rate_points is None or rules.rate_minor is None):
        raise InvalidValue(field="earn_rate", why="a program with points needs an earn rate")
    if not gives_stamps and rules.stamps_target is not None:
        raise ProgramTypeMismatch(loyalty_type=loyalty_type)
    if not gives_points and (rules.rate_points is not None or rewards):
        raise ProgramTypeMismatch(loyalty_type=loyalty_type)
    if rules.max_stamps_per_scan > rules.max_daily_stamps:
        raise InvalidValue(
            field="max_stamps_per_scan", why=f"at most {rules.max_daily_stamps}, the stamps of a whole day"
        )
    if len(rewards) > REWARDS_MAX:
        raise InvalidValue(field="points_rewards", why=f"at most {REWARDS_MAX} rewards")
    _must_say("stamps_reward_description", rules.stamps_reward_description, rules.stamps_reward_description_in)


def _must_say(name: str, plain: str | None, said: Translations | None) -> None:
    """Words in some languages alone would leave the readers of all others without any."""
    if said is not None and plain is None:
        language = next(iter(by_language(words=said)))
        raise InvalidValue(field=f"translations.{language}.{name}", why="needs a text for everybody else first")


def activate(program: Program, *, now: datetime) -> list[ProgramEvent]:
    """No event when it is active already."""
    return [] if program.is_active else [ProgramActivated(now)]


def deactivate(program: Program, *, now: datetime) -> list[ProgramEvent]:
    """No event when it is inactive already."""
    return [ProgramDeactivated(now)] if program.is_active else []


def must_earn(program: Program) -> None:
    """An inactive program earns nothing."""
    if not program.is_active:
        raise ProgramIsInactive


def must_redeem(program: Program, rules: Rules, now: datetime) -> None:
    """After the end of a program its rewards can be had for `wind_down_days` more."""
    if program.is_active:
        return
    if program.deactivated_at is None or now >= program.deactivated_at + timedelta(days=rules.wind_down_days):
        raise ProgramIsInactive
