"""A vendor's programs."""

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from msgspec.structs import replace
from pydantic import Field

from api.bodies import StrictRoute
from api.dependencies import (
    ExpectedVersion,
    OptionalKey,
    Projected,
    TheLedger,
    TheReader,
    VendorWith,
    answered,
    maybe_once,
)
from api.models import Page, Program
from api.paging import PageByTime, TimeRange
from api.shapes import (
    Body,
    Currency,
    EnrolmentFields,
    HexColor,
    HttpsUrl,
    MoneyMinor,
    Name,
    NameIfAny,
    Rate,
    Text,
    TextIfAny,
    Timestamp,
    TimeZone,
    Translated,
    Uuid,
)
from api.vendor.responses import PROGRAM_PROBLEMS, READ_PROBLEMS
from ledger.commands.caller import Caller, utc_now
from ledger.ids import derived, new_id
from ledger.program import Branding, Reward, Rules
from ledger.program import Program as ProgramState
from ledger.translations import Translations, translations
from projections import loyalty_programs
from projections.statistics import Statistics, statistics

router = APIRouter(tags=["programs"], route_class=StrictRoute)

ToRead = Annotated[Caller, Depends(VendorWith("read", "programs"))]
ToChange = Annotated[Caller, Depends(VendorWith("programs"))]


class RewardWords(Body):
    """A reward in one language."""

    name: NameIfAny = None


class ProgramWords(Body):
    """A program in one language. For what is blank or left out, the plain words stand."""

    card_name: NameIfAny = None
    stamps_reward_description: NameIfAny = None
    terms_text: TextIfAny = None


class RewardShape(Body):
    id: Uuid | None = Field(None, description="An existing reward to keep or change.")
    name: Name
    points_cost: int = Field(ge=1, le=10**9, examples=[500])
    value_minor: MoneyMinor | None = None
    translations: Translated[RewardWords] = Field(
        default_factory=dict,
        description="Its name in other languages.",
        examples=[{"fr": {"name": "Un paquet de café"}}],
    )

    def reward(self, reward_id: UUID) -> Reward:
        name_in = _in_languages(self.translations, "name")
        return Reward(self.id or reward_id, self.name, self.points_cost, self.value_minor, name_in)


class ProgramChange(Body):
    """Whatever is given replaces what was; what is left out stays.

    `null` takes away a text, a picture, a colour or what a reward is worth. Elsewhere it is as if left out.
    """

    name: Name | None = None
    stamps_target: int | None = Field(None, ge=1, le=1000, examples=[10])
    stamps_reward_description: Name | None = None
    stamps_reward_value_minor: MoneyMinor | None = None
    earn_rate: Rate | None = None
    minimum_purchase_minor: MoneyMinor | None = None
    points_rewards: list[RewardShape] | None = Field(None, max_length=50)
    timezone: TimeZone | None = None
    cooldown_minutes: int | None = Field(None, ge=0, le=1440, examples=[15])
    max_daily_stamps: int | None = Field(None, ge=1, le=1000, examples=[5])
    max_stamps_per_scan: int | None = Field(None, ge=1, le=100, examples=[1])
    require_staff_pin: bool | None = None
    reversal_policy: Literal["allow_negative", "within_balance", "reject"] | None = None
    raised_target: Literal["grandfather", "immediate"] | None = Field(
        None, description="Whether a card's running cycle keeps its target when the program's is raised."
    )
    wind_down_days: int | None = Field(None, ge=0, le=3650, examples=[90])
    card_name: Name | None = None
    card_color: HexColor | None = None
    card_secondary_color: HexColor | None = None
    logo_url: HttpsUrl | None = None
    hero_image_url: HttpsUrl | None = None
    terms_text: Text | None = None
    privacy_url: HttpsUrl | None = None
    enrolment_fields: EnrolmentFields | None = Field(
        None,
        description="What customers are asked for who join by themselves: a name, which they may leave out, and an"
        " email or a phone, which they may not. At most two; none at all is possible.",
    )

    translations: Translated[ProgramWords] | None = Field(
        None,
        description="The program's words in other languages. Languages that are left out have none of their own from"
        " then on. The reward's change with the rules, the others at once.",
        examples=[{"fr": {"card_name": "Carte café", "stamps_reward_description": "Un café au choix"}}],
    )

    def rules(self, before: Rules) -> Rules:
        given = self._given(RULE_FIELDS)
        if self.earn_rate is not None:
            given |= {"rate_points": self.earn_rate.points, "rate_minor": self.earn_rate.per_minor}
        if self.translations is not None:
            name = "stamps_reward_description"
            given[f"{name}_in"] = _in_languages(self.translations, name)
        return replace(before, **given)

    def branding(self, before: Branding) -> Branding:
        given = self._given(BRANDING_FIELDS)
        if self.enrolment_fields is not None:
            given |= {"enrolment_fields": tuple(self.enrolment_fields)}
        if self.translations is not None:
            given |= {f"{name}_in": _in_languages(self.translations, name) for name in ("card_name", "terms_text")}
        return replace(before, **given)

    def _given(self, names: set[str]) -> dict[str, Any]:
        given = self.model_dump(include=names & self.model_fields_set)
        return {name: value for name, value in given.items() if value is not None or name in REMOVABLE}


def _in_languages(words: Mapping[Any, Body], name: str) -> Translations | None:
    return translations({language: getattr(said, name) for language, said in words.items()})


RULE_FIELDS = {
    "stamps_target",
    "stamps_reward_description",
    "stamps_reward_value_minor",
    "minimum_purchase_minor",
    "timezone",
    "cooldown_minutes",
    "max_daily_stamps",
    "max_stamps_per_scan",
    "require_staff_pin",
    "reversal_policy",
    "raised_target",
    "wind_down_days",
}
BRANDING_FIELDS = {
    "name",
    "card_name",
    "card_color",
    "card_secondary_color",
    "logo_url",
    "hero_image_url",
    "terms_text",
    "privacy_url",
}


REMOVABLE = {
    "stamps_reward_description",
    "stamps_reward_value_minor",
    "card_name",
    "card_color",
    "card_secondary_color",
    "logo_url",
    "hero_image_url",
    "terms_text",
    "privacy_url",
}


class ProgramRequest(ProgramChange):
    """A new program. Currency and time zone default to the vendor's."""

    loyalty_type: Literal["stamps", "points", "hybrid"] = Field(examples=["stamps"])
    name: Name
    currency: Currency | None = None
    is_active: bool = Field(True, description="Whether cards can earn from the start.")


class ProgramPatch(ProgramChange):
    effective_from: Timestamp | None = Field(
        None,
        description="From when changed rules hold; absent, from now. What is left out stays as it holds at that time."
        " Rules that were announced for a later time stay as they were announced. Looks and rewards change at once.",
    )


@router.get("/programs", summary="List programs", response_model=Page[Program], dependencies=[Projected])
async def list_programs(caller: ToRead, reader: TheReader, window: PageByTime) -> Any:
    """The vendor's programs, newest first, from the query tables."""
    rows = await loyalty_programs.list_programs(
        reader, now=utc_now(), vendor_id=caller.vendor_id, before=window.before, limit=window.ask
    )
    return window.page(rows)


@router.post(
    "/programs",
    summary="Create a program",
    status_code=HTTPStatus.CREATED,
    response_model=Program,
    responses=PROGRAM_PROBLEMS,
)
async def create_program(
    request: Request, asked: ProgramRequest, caller: ToChange, key: OptionalKey, ledger: TheLedger
) -> Response:
    """A new set of rules that customers can have cards of."""
    once = maybe_once(request, caller.vendor_id, key, asked)
    seed = once.command_id if once else new_id()
    outcome = await ledger.programs.create(
        loyalty_type=asked.loyalty_type,
        currency=asked.currency,
        timezone=asked.timezone,
        rules=lambda now, zone: asked.rules(Rules(1, now, zone)),
        branding=asked.branding(Branding(asked.name)),
        rewards=[r.reward(derived("reward", seed, n)) for n, r in enumerate(asked.points_rewards or [])],
        is_active=asked.is_active,
        caller=caller,
        once=once,
    )
    return answered(outcome, HTTPStatus.CREATED)


@router.get("/programs/{program_id}", summary="Read a program", response_model=Program, responses=READ_PROBLEMS)
async def read_program(program_id: UUID, caller: ToRead, ledger: TheLedger, response: Response) -> Any:
    """The program as it is now, with its version as ETag."""
    found = await ledger.programs.find(program_id, caller.vendor_id)
    response.headers["ETag"] = f'"{found["version"]}"'
    return found


@router.patch("/programs/{program_id}", summary="Change a program", response_model=Program, responses=PROGRAM_PROBLEMS)
async def change_program(
    program_id: UUID, asked: ProgramPatch, caller: ToChange, expected: ExpectedVersion, ledger: TheLedger
) -> Response:
    """Changed rules become a new version. Nothing that happened is scored again."""

    def change(before: ProgramState, now: datetime) -> tuple[Rules, Branding, list[Reward] | None]:
        start = max(asked.effective_from or now, now)
        rewards = None
        if asked.points_rewards is not None:
            known = {reward.name: reward.reward_id for reward in before.rewards}
            rewards = [reward.reward(known.get(reward.name) or new_id()) for reward in asked.points_rewards]
        rules = replace(asked.rules(before.rules_at(start)), effective_from=start)
        return rules, asked.branding(before.branding), rewards

    outcome = await ledger.programs.change(program_id, change, caller=caller, expected_version=expected)
    return answered(outcome, HTTPStatus.OK)


@router.post(
    "/programs/{program_id}/activate",
    summary="Activate a program",
    response_model=Program,
    responses=PROGRAM_PROBLEMS,
)
async def activate_program(program_id: UUID, caller: ToChange, ledger: TheLedger) -> Response:
    """Cards can earn from now on. Nothing happens to an active program."""
    return answered(await ledger.programs.activate(program_id, caller=caller), HTTPStatus.OK)


@router.post(
    "/programs/{program_id}/deactivate",
    summary="Deactivate a program",
    response_model=Program,
    responses=PROGRAM_PROBLEMS,
)
async def deactivate_program(program_id: UUID, caller: ToChange, ledger: TheLedger) -> Response:
    """Nothing is earned from now on; rewards can be redeemed for the wind-down period."""
    return answered(await ledger.programs.deactivate(program_id, caller=caller), HTTPStatus.OK)


@router.get(
    "/programs/{program_id}/stats",
    summary="Statistics of a program",
    tags=["statistics"],
    response_model=Statistics,
    responses=READ_PROBLEMS,
    dependencies=[Projected],
)
async def read_program_statistics(
    program_id: UUID, caller: ToRead, ledger: TheLedger, reader: TheReader, between: TimeRange
) -> Any:
    """Cards, units and redemptions, with series by local day, from the query tables."""
    await ledger.programs.find(program_id, caller.vendor_id)
    return await statistics(reader, now=utc_now(), program_id=program_id, start=between.start, end=between.end)
