"""The figures as a table on the screen, and as the page docs/reference/performance.md.

Of the page only what stands between its marks is written; everything else is written by hand and stays.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.measuring import Figure

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "performance.md"
MET = {True: "met", False: "not met", None: ""}
COLOURS = {True: "green", False: "red", None: "dim"}


def show(figures: Sequence[Figure], console: Console) -> None:
    table = Table(title="Medians over the rounds")
    for heading, justify in (("figure", "left"), ("value", "right"), ("goal", "right"), ("", "left")):
        table.add_column(heading, justify="right" if justify == "right" else "left")
    table.add_column("rounds", justify="right")
    table.add_column("behind it", style="dim")
    group = ""
    for figure in figures:
        if group and figure.group != group:
            table.add_section()
        group = figure.group
        mark = f"[{COLOURS[figure.is_met]}]{MET[figure.is_met]}[/]"
        table.add_row(figure.name, _value(figure), _goal(figure), mark, _spread(figure), figure.note)
    console.print(table)


def write(name: str, text: str, page: Path = PAGE) -> None:
    """Put a text between the marks of this name."""
    marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    old = page.read_text(encoding="utf-8")
    new, count = marked.subn(lambda found: f"{found[1]}{text}{found[2]}", old)
    if count != 1:
        raise RuntimeError(f"{page} has no place marked {name}")
    page.write_text(new, encoding="utf-8")


def page_table(figures: Sequence[Figure]) -> str:
    rows = ["| figure | value | goal | | rounds | behind it |", "|---|--:|--:|---|--:|---|"]
    rows += [f"| {f.name} | {_value(f)} | {_goal(f)} | {MET[f.is_met]} | {_spread(f)} | {f.note} |" for f in figures]
    return "\n".join(rows) + "\n"


def page_machine(described: Sequence[tuple[str, str]], how: str) -> str:
    rows = [f"| {topic} | {text} |" for topic, text in described]
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    return "\n".join(["| | |", "|---|---|", f"| measured | {day}, {how} |", *rows]) + "\n"


def _value(figure: Figure) -> str:
    return _number(figure.value) + (f" {figure.unit}" if figure.unit else "")


def _number(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _goal(figure: Figure) -> str:
    return "" if figure.goal is None else f"{figure.goal.sense} {figure.goal.bound:g}"


def _spread(figure: Figure) -> str:
    """The lowest and the highest round: how far the machine can be trusted."""
    if len(figure.values) < 2:
        return ""
    return f"{_number(min(figure.values))}–{_number(max(figure.values))}"
