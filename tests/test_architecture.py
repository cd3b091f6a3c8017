"""The shape of the code: imports point down, rules read no clock, and nothing that must be told twice is forgotten."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from ledger.errors import Refused
from ledger.stream import EVENT_NAMES
from tests import examples
from tests.golden import golden_events

ROOT = Path(__file__).parent.parent
EVENTS_PAGE = ROOT / "docs" / "reference" / "events.md"

# Each may import from itself and from what is named.
PARTS: dict[str, set[str]] = {
    "api": {"wallet_sync", "projections", "ledger", "migrations"},
    "wallet_sync": {"projections", "ledger"},
    "projections": {"ledger"},
    "ledger": set(),
    "migrations": set(),
}
# Inside the ledger from top to bottom: a module imports only from lines below its own.
LEDGER_LAYERS = (
    {"commands"},
    {"balance"},
    {"committer", "reader"},
    {"round"},
    {"remembered", "recorder"},
    {"decision"},
    {"stream"},
    {"master_keys"},
    {"codec", "seal", "ids", "private_files"},
    {"simulation"},
    {"again"},
    {"rewards", "reversal", "history"},
    {"card_life", "earning"},
    {"attempts", "audit", "card", "program", "staff_pin", "subject", "vendor", "wallet_pass"},
    {"errors", "held", "personal", "translations"},
)
RULES = {
    "attempts",
    "audit",
    "card",
    "card_life",
    "earning",
    "errors",
    "history",
    "personal",
    "program",
    "reversal",
    "rewards",
    "staff_pin",
    "subject",
    "translations",
    "wallet_pass",
    "vendor",
}
# Where the outside world would come into a rule: the time of day, chance, the machine, other threads.
OUTSIDE = {"asyncio", "logging", "os", "random", "secrets", "socket", "subprocess", "sys", "threading", "time"}


# ------------------------------------------------------------------ imports


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def modules(part: str) -> list[Path]:
    return sorted((ROOT / part).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """The dotted names a file imports, wherever in the file."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ledger_imports(path: Path) -> set[str]:
    """Which modules right inside the ledger a file imports."""
    return {name.split(".")[1] for name in imports(path) if name.startswith("ledger.")}


def ledger_modules() -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in modules("ledger"):
        name = path.relative_to(ROOT / "ledger").parts[0].removesuffix(".py")
        if name != "__init__":
            found.setdefault(name, []).append(path)
    return found


@pytest.mark.parametrize("part", PARTS)
def test_imports_between_parts_point_down(part: str) -> None:
    for path in modules(part):
        others = {name.split(".")[0] for name in imports(path)} & PARTS.keys() - {part}
        assert others <= PARTS[part], f"{path.relative_to(ROOT)} imports {others - PARTS[part]}"


def test_imports_inside_the_ledger_point_down() -> None:
    for depth, layer in enumerate(LEDGER_LAYERS):
        below = set().union(*LEDGER_LAYERS[depth + 1 :])
        for module in layer:
            for path in ledger_modules()[module]:
                wrong = ledger_imports(path) - below - {module}
                assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_every_module_of_the_ledger_has_its_place() -> None:
    assert ledger_modules().keys() == set().union(*LEDGER_LAYERS)


def test_rules_need_nothing_but_python_and_structs() -> None:
    for module in RULES:
        (path,) = ledger_modules()[module]
        assert ledger_imports(path) <= RULES
        packages = {name.split(".")[0] for name in imports(path)} - {"ledger", "msgspec"}
        assert packages <= sys.stdlib_module_names, f"{path.relative_to(ROOT)} imports {packages}"


def test_rules_read_no_clock_and_know_nothing_of_the_machine() -> None:
    for module in RULES:
        (path,) = ledger_modules()[module]
        assert not {name.split(".")[0] for name in imports(path)} & OUTSIDE, path
        reads = {node.attr for node in ast.walk(parsed(path)) if isinstance(node, ast.Attribute)}
        assert not reads & {"now", "utcnow", "today", "environ"}, path


def test_refusals_and_secrets_know_nothing_of_the_ledger() -> None:
    for module in ("errors", "personal"):
        (path,) = ledger_modules()[module]
        assert not ledger_imports(path)


def test_the_database_knows_nothing_of_the_rules() -> None:
    for path in modules("migrations"):
        assert not {name.split(".")[0] for name in imports(path)} & (PARTS.keys() - {"migrations"})


# ------------------------------------------------------------------ events


@pytest.mark.parametrize("name", EVENT_NAMES)
def test_every_event_is_shown_by_an_example_and_kept_by_a_golden_line(name: str) -> None:
    assert EVENT_NAMES[name] in examples.EXAMPLE_OF, "add it to tests/examples.py"
    assert name in {golden.name for golden in golden_events()}, "run python -m tests.golden.append"


def test_every_event_has_one_example() -> None:
    assert len(examples.EVENTS) == len(examples.EXAMPLE_OF) == len(EVENT_NAMES)


def test_every_event_is_explained_in_the_reference() -> None:
    if EVENTS_PAGE.exists():
        page = EVENTS_PAGE.read_text(encoding="utf-8")
        assert [name for name in EVENT_NAMES if f"`{name}`" not in page] == []


# ------------------------------------------------------------------ refusals


def refusals(cls: type[Refused] = Refused) -> Iterator[type[Refused]]:
    for below in cls.__subclasses__():
        yield below
        yield from refusals(below)


def raised() -> set[str]:
    """The names after `raise` in all parts."""
    nodes = (node for part in PARTS for path in modules(part) for node in ast.walk(parsed(path)))
    things = (node.exc for node in nodes if isinstance(node, ast.Raise))
    called = (thing.func if isinstance(thing, ast.Call) else thing for thing in things)
    return {thing.id if isinstance(thing, ast.Name) else getattr(thing, "attr", "") for thing in called}


def test_every_refusal_has_a_row_in_the_table_of_problems() -> None:
    from api.problems import PROBLEMS

    answered = [cls for cls in refusals() if not cls.__subclasses__() or cls.__name__ in raised()]
    assert [cls.__name__ for cls in answered if cls not in PROBLEMS] == []


def test_every_refusal_says_something_of_its_own() -> None:
    leaves = [cls for cls in refusals() if not cls.__subclasses__()]
    sentences = [cls.sentence for cls in leaves]
    assert len(set(sentences)) == len(leaves) and Refused.sentence not in sentences
