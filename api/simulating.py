"""The subcommand `simulate`: other rules out of words, and the comparison as a table or as JSON."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec.structs import replace
from pydantic import ValidationError

from api.database import Database
from api.problems import PROBLEMS
from api.vendor.programs import RULE_FIELDS, ProgramChange
from ledger import errors
from ledger.commands.caller import utc_now
from ledger.simulation import Change, Figures
from projections.simulation import MEASURES, Progress, Report, simulate

SETTABLE = sorted(RULE_FIELDS - {"stamps_reward_description", "timezone", "require_staff_pin"} | {"earn_rate"})
NOTE = (
    "Customers come and ask just as they did: whether other rules had brought them more often, or less, nobody knows."
    " A reward nobody asked for is counted as available."
)


class WrongSetting(ValueError):
    """What was said after --set names no rule, or is nothing that rule can be."""


def change_of(settings: Iterable[str]) -> Change:
    """A change of rules out of `name=value`; `earn_rate` is written as `points/per_minor`.

    Raises: WrongSetting.
    """
    given: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if name not in SETTABLE or not equals:
            raise WrongSetting(f"{setting}: write name=value; names are {', '.join(SETTABLE)}")
        if name == "earn_rate":
            points, _, per_minor = text.partition("/")
            given[name] = {"points": _value(points), "per_minor": _value(per_minor)}
        else:
            given[name] = _value(text)
    try:
        asked = ProgramChange.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise WrongSetting(f"{first['loc'][0]}: {first['msg']}") from None

    def change(rules: Any) -> Any:
        return replace(asked.rules(rules), version=rules.version, effective_from=rules.effective_from)

    return change


def _value(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() else text


def simulated(
    database: Database,
    program_id: UUID,
    change: Change,
    *,
    start: datetime | None,
    end: datetime | None,
    progress: Progress,
) -> Report:
    """Raises: WrongSetting where there is no such program, or it could not have such rules."""
    try:
        return simulate(database.url, program_id, change, now=utc_now(), start=start, end=end, progress=progress)
    except errors.Refused as refusal:
        raise WrongSetting(str(refusal)) from refusal


def as_json(report: Report) -> dict[str, Any]:
    """The report in plain values: `limits` by problem code."""
    return {
        "customers": report.customers,
        "was": asdict(report.was),
        "would_be": asdict(report.would),
        "customers_by": {measure: asdict(moved) for measure, moved in report.moved.items()},
        "limits": limits(report),
        "not_decided_again": report.unknown,
        "note": NOTE,
    }


def limits(report: Report) -> dict[str, dict[str, int]]:
    """By problem code: how often a limit fired, would have, would not have any more, and would have only then."""
    told: dict[str, dict[str, int]] = {}

    def count(refusal: str, name: str, times: int) -> None:
        code = PROBLEMS[getattr(errors, refusal)].code
        told.setdefault(code, {"fired": 0, "would_fire": 0, "no_more": 0, "only_then": 0})[name] += times

    for (was, would), times in report.verdicts.items():
        if was is not None:
            count(was, "fired", times)
        if would is not None:
            count(would, "would_fire", times)
        if was is not None and would != was:
            count(was, "no_more", times)
        if would is not None and would != was:
            count(would, "only_then", times)
    return dict(sorted(told.items()))


def print_table(report: Report, say: Callable[[str], None]) -> None:
    """The report for people, a line at a time."""
    say(f"{'':24}{'was':>14}{'would be':>14}{'difference':>14}")
    for field in fields(Figures):
        was, would = getattr(report.was, field.name), getattr(report.would, field.name)
        say(f"{field.name.replace('_', ' '):24}{was:>14}{would:>14}{would - was:>+14}")
    say("")
    say(f"Of {report.customers} customers:")
    for measure in MEASURES:
        moved = report.moved[measure]
        say(f"  {measure}: {moved.gaining} gain {moved.gained}, {moved.losing} lose {moved.lost}")
    if found := limits(report):
        say("")
        say(f"{'limit':24}{'fired':>14}{'would fire':>14}{'no more':>14}{'only then':>14}")
        for code, times in found.items():
            say(f"{code:24}" + "".join(f"{number:>14}" for number in times.values()))
    if report.unknown:
        say(f"{report.unknown} older refusals do not say what was asked, and stay refused.")
    say("")
    say(NOTE)
