"""The pages of docs/reference, made from the code they describe: `python -m tests.docs_reference` rewrites them.

`tests/test_docs.py` compares: a page that is not what the code says now is a failing test.
"""

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from string import Formatter
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from msgspec import NODEFAULT, Struct
from msgspec.structs import fields

from api.dependencies import VendorWith, _admin, _admin_or_auditor, public
from api.key_files import Keys
from api.languages import DEFAULT_LANGUAGE, translate
from api.main import create_app, describe
from api.openapi import SECURITY_SCHEMES, operations
from api.problems import MEDIA_TYPE, PROBLEMS, TYPE_BASE
from api.settings import Settings, settings_table
from ledger.errors import Refused
from ledger.seal import MasterKey
from ledger.stream import EVENT_NAMES, STREAM_KINDS, Envelope
from tests.golden import golden_events

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "reference"
REWRITE = "python -m tests.docs_reference"
NOTE = f"<!-- Made from the code by `{REWRITE}`. Change the code, not this page. -->"


def page(title: str, *parts: str) -> str:
    return "\n\n".join((f"# {title}", NOTE, *(part.strip("\n") for part in parts))) + "\n"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


# ------------------------------------------------------------------ events

EVENTS_INTRO = """
Everything that ever happened stands in the table `stored_events`, a row for each event, under a name that never
changes. The bytes of a row (column `state`) are one JSON object: the [envelope](#envelope), `prev`, and the event's own
fields under `data`. A field without a value is left out.
"""
EVENTS_TYPES = """
How types are written: `UUID`, `datetime` (RFC 3339, in UTC) and `date` are JSON strings. `Secret` is personal or
secret text and stands there as ciphertext only, `version.field.ciphertext`, under a key of the person's own.
Amounts of money (`…_minor`) are whole numbers of the currency's smallest unit. Behind *else* stands what a field means
that an event does not have.
"""
PREV = """
Beside the envelope, each event says `prev`: the [digest](#digest) of the event before it in its stream, in hex. The
first event of a stream follows the SHA-256 of the bytes `loyalty-ledger stream`, one zero byte, and the 16 bytes of the
stream's id, so that no history can be moved to another stream.
"""
DIGEST = """
The digest of an event is the SHA-256, written in hex, of these bytes in this order:

1. one zero byte;
2. the stream's id (column `originator_id`), its 16 bytes;
3. the event's version in its stream (`originator_version`), 8 bytes big-endian, counted from 1;
4. the event's name (`topic`) in UTF-8;
5. the bytes as stored (`state`).

Before each of 2 to 5 stands its length in bytes, as 8 bytes big-endian. The bytes are taken as they are stored:
no JSON is parsed or written again, so anybody can check a chain with a SHA-256 alone.
"""


def events_page() -> str:
    groups: dict[str, list[str]] = {}
    for name, cls in EVENT_NAMES.items():
        groups.setdefault(cls.__module__, []).append(name)
    parts: list[str] = []
    for module, names in groups.items():
        kind = module.rpartition(".")[2]
        assert kind in STREAM_KINDS, f"{module} is not the module of a stream"
        parts += [f"## Stream `{kind}`", first_line(import_module(module))]
        parts += [event_section(name) for name in names]
    parts.append("## Shapes inside events")
    parts += [f"### `{shape.__name__}`\n\n{about(shape)}" for shape in shapes(EVENT_NAMES.values())]
    index = table(
        ("name", "class", "module"),
        ((f"[`{name}`](#{name})", f"`{cls.__name__}`", f"`{cls.__module__}`") for name, cls in EVENT_NAMES.items()),
    )
    envelope = [about(Envelope), PREV]
    envelope += [f"### `{shape.__name__}`\n\n{about(shape)}" for shape in shapes([Envelope])]
    return page(
        "Events", EVENTS_INTRO, EVENTS_TYPES, index, "## Envelope", *envelope, "## Digest", DIGEST, example(), *parts
    )


def example() -> str:
    """An event as it is stored, with the digest that belongs to it."""
    shown = next(golden for golden in golden_events() if golden.name == "stamps-added")
    return (
        f"An example. Version {shown.version} of stream `{shown.stream_id}`, name `{shown.name}`, stored as\n\n"
        f"```json\n{shown.state.decode()}\n```\n\nhas the digest `{shown.digest}`."
    )


def event_section(name: str) -> str:
    cls = EVENT_NAMES[name]
    return f"### `{name}`\n\nClass `{cls.__name__}` in `{cls.__module__}`.\n\n{about(cls)}"


def about(cls: type[Any]) -> str:
    """The first line of its docstring, and its fields."""
    remarks, hints = comments(cls), get_type_hints(cls)
    rows = [(f"`{f.name}`", shown(hints[f.name]) + default(f), remarks.get(f.name, "")) for f in fields(cls)]
    return f"{first_line(cls)}\n\n{table(('field', 'type', 'remark'), rows)}".lstrip("\n")


def first_line(thing: Any) -> str:
    return inspect.cleandoc(thing.__doc__ or "").partition("\n")[0]


def comments(cls: type[Any]) -> dict[str, str]:
    """What is written behind a field in the source."""
    return dict(re.findall(r"^    (\w+): [^#\n]*  # (.+)$", inspect.getsource(cls), re.MULTILINE))


def default(field: Any) -> str:
    value = field.default
    if value is NODEFAULT or value is None or value == ():
        return ""
    return f", else `{str(value).lower() if isinstance(value, bool) else value}`"


def shown(hint: Any) -> str:
    """A type in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        absent = ", may be absent" if type(None) in arguments else ""
        return " or ".join(shown(one) for one in arguments if one is not type(None)) + absent
    if origin is Literal:
        return "one of " + ", ".join(f"`{one}`" for one in arguments)
    if origin is tuple:
        return f"list of {shown(arguments[0])}"
    if origin is dict:
        return f"object, values {shown(arguments[1])}"
    return f"[`{hint.__name__}`](#{hint.__name__.lower()})" if is_shape(hint) else f"`{hint.__name__}`"


def is_shape(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Struct)


def shapes(classes: Iterable[type[Any]]) -> list[type[Any]]:
    """The structs that fields of these consist of, each once, by name."""
    found: dict[str, type[Any]] = {}

    def look(hint: Any) -> None:
        if is_shape(hint) and found.setdefault(hint.__name__, hint) is hint:
            inside(hint)
        for argument in get_args(hint):
            look(argument)

    def inside(cls: type[Any]) -> None:
        for hint in get_type_hints(cls).values():
            look(hint)

    for cls in classes:
        inside(cls)
    return [found[name] for name in sorted(found)]


# ------------------------------------------------------------------ problems

PROBLEMS_INTRO = f"""
Every refusal is answered as a problem document (RFC 9457, `{MEDIA_TYPE}`). `code` is for programs: it
is never translated and never changed, and `type` is `{TYPE_BASE}` with the code behind it. Title and sentence
(`detail`) are in the language of Accept-Language; here they are in English. Names in braces are facts of the refusal;
most of them stand beside the other members of the document too.

Several refusals may share a code where telling them apart would help nobody, or the wrong ones.
"""


def problems_page() -> str:
    rows = [
        (f"`{problem.code}`", str(problem.status.value), title(problem.title), sentence(cls), f"`{cls.__name__}`")
        for cls, problem in PROBLEMS.items()
    ]
    return page("Problems", PROBLEMS_INTRO, table(("code", "status", "title", "sentence", "class"), rows))


def title(text: str) -> str:
    return translate(DEFAULT_LANGUAGE, text)


def sentence(cls: type[Exception]) -> str:
    """The English sentence, its facts still named."""
    assert issubclass(cls, Refused)
    names = {name for _, name, _, _ in Formatter().parse(cls.sentence) if name}
    return translate(DEFAULT_LANGUAGE, cls.sentence, **{name: f"{{{name}}}" for name in names})


# ------------------------------------------------------------------ tables

TABLES: dict[str, str] = {
    "stored_events": "The events: the one thing that cannot be made again. Rows are added and never changed; versions"
    " of a stream have no gap. `notification_id` is the event's position in the whole store; see [Events](events.md)"
    " for what `state` holds.",
    "streams": "What each stream's events add up to, written together with them: never behind. `head` is the digest of"
    " the newest event.",
    "claims": "What must be unique and finds its stream: a card's number, a vendor's code, a reference.",
    "idempotency_keys": "One row for each command that was carried out, or refused by a rule, with what it was"
    " answered; one that was sent without an Idempotency-Key has an id of its own.",
    "subject_keys": "The key of each person, wrapped with the master key. Without its row, what was sealed for that"
    " person can never be read again.",
    "pin_turns": "Whose turn it is to check a PIN: one check at a time for each, in all processes together. Unlogged.",
    "one_time_codes": "Sign-in links and codes that pair a till: digests, until they are used or too old.",
    "rate_counts": "How often something was asked in a window of time.",
    "loyalty_programs": "Programs as they are now, with the rules in force.",
    "loyalty_cards": "Cards as they are now, with their balances.",
    "loyalty_transactions": "One row for each event of a card: its entries, and what else befell it. Rows are added and"
    " never changed.",
    "staff_pins": "Staff members and their PINs.",
    "apple_device_registrations": "Which phones want to hear about which pass. A row goes when its phone does.",
    "vendors": "Merchants.",
    "api_keys": "The vendors' API keys, by digest.",
    "refusals": "What was refused at a till: which rule (by the name of its class), which facts, when.",
    "other_events": "Where the events stand that are neither entries nor refusals: of vendors, programs, staff PINs,"
    " passes, forgotten people and checks. Events are found by it; what happened stands in `stored_events`.",
    "imports": "Files that were imported, and how far each has come.",
    "wallet_passes": "Which revision the pass of a card has come to, and which one was fetched last. `number` is the"
    " change that the revision was noticed at; `nudge` counts those that no event tells of.",
    "wallet_work": "What each channel was told and is owed: it owes where `synced` is below `desired`. `look_again_at`"
    " is when somebody looks whether what was told had an effect. Channel `sweep` has one row, whose revision is the"
    " number of the last night; `nudge` has one that counts.",
    "google_alerts": "How many rewards a card showed at Google, and when it rang for another one.",
    "google_nonces": "What Google told, until it can tell it no more: each message counts once.",
    "paces": "When somebody outside may be asked next, by all processes together.",
    "wallet_farewells": "Phones of people who were forgotten, until they have heard it: digests and sealed tokens.",
    "carried_keys": "Keys that stay the same when the master key changes, wrapped with the new one.",
    "tree_tiles": "The tree over all events, 256 neighbouring hashes to a row: leaf hashes on level 0, with the"
    " positions of their events, and on each level above what stands over the full tiles of the one below.",
    "checkpoints": "The tree as it was signed, again and again. Rows are added and never changed.",
    "sealing_keys": "Every public key that ever signed, each in a note signed by itself and by the one before.",
    "accepted_restores": "An operator's signed statements that a past which was signed is given up.",
    "projections": "Who follows the stream, how far, and under which lease.",
}
TABLES_INTRO = """
The **store** holds the events and what is written together with them. The **query tables** are what the stream adds up
to, for lists, statistics and other systems; their rows can be made again from the stream. In them, `position` is the
place in the whole store of the last event that changed the row, `version` that event's version in its own stream, and
`state` what the row was derived from. The **wallet tables** stand beside the stream: what phones know is no fact of a
card.

A `…_minor` column is an amount in the currency's smallest unit; every `timestamptz` is a moment in UTC.
"""
MIGRATIONS = (
    ("Store", "migrations.versions.0001_event_store"),
    ("Query tables", "migrations.versions.0002_query_tables"),
    ("Imports", "migrations.versions.0003_imports"),
    ("Wallets", "migrations.versions.0004_wallet_work"),
    ("Checkpoints", "migrations.versions.0005_checkpoints"),
    ("Forgetting", "migrations.versions.0006_forgetting"),
    ("Event search", "migrations.versions.0007_event_search"),
    ("Sign-in links and tills", "migrations.versions.0008_one_time_codes"),
    ("", "migrations.versions.0009_translations"),  # No table, but a column.
    ("", "migrations.versions.0010_cards_by_contact"),
)
CREATE_TABLE = re.compile(r"CREATE (?:UNLOGGED )?TABLE (\w+) \(\n(.*?)\n\)", re.DOTALL)
ADD_COLUMN = re.compile(r"ALTER TABLE (\w+) ADD COLUMN (.*)")
INDEX = re.compile(r"CREATE (UNIQUE )?INDEX (\w+)\s+ON (\w+) (.*?);", re.DOTALL)
PRIMARY_KEY = re.compile(r"(?:CONSTRAINT \w+ )?PRIMARY KEY \((.*)\)")
SQL = [value for _, module in MIGRATIONS for value in vars(import_module(module)).values() if isinstance(value, str)]
ADDED = [found for sql in SQL for found in ADD_COLUMN.findall(sql)]
INDEXES = [found for sql in SQL for found in INDEX.findall(sql)]


def tables_page() -> str:
    parts: list[str] = []
    for heading, module in MIGRATIONS:
        sql = "\n".join(value for value in vars(import_module(module)).values() if isinstance(value, str))
        parts += [f"## {heading}"] if heading else []
        parts += [table_section(name, body) for name, body in CREATE_TABLE.findall(sql)]
    return page("Tables", TABLES_INTRO, *parts)


def table_section(name: str, body: str) -> str:
    assert name in TABLES, f"say in TABLES what {name} is"
    lines = [line.strip().removesuffix(",") for line in body.splitlines()]
    lines += [column for table_, column in ADDED if table_ == name]
    key = next((match[1] for line in lines if (match := PRIMARY_KEY.match(line))), "")
    columns: list[tuple[str, ...]] = []
    for line in lines:
        if PRIMARY_KEY.match(line):
            continue
        column, kind, *rest = line.split(" ", 2)
        more = " ".join(rest)
        if "PRIMARY KEY" in more:
            key = column
        is_given = "NOT NULL" in more or kind == "bigserial" or column in key.split(", ")
        begins = f"`{match[1]}`" if (match := re.search(r"DEFAULT (.*)", more)) else ""
        columns.append((f"`{column}`", f"`{kind}`", "" if is_given else "may be null", begins))
    is_plain = not any(begins for *_, begins in columns)
    head = ("column", "type", "null") if is_plain else ("column", "type", "null", "default")
    indexes = [
        f"* {'Unique index' if unique else 'Index'} `{index}`: `{' '.join(on.split())}`"
        for unique, index, of, on in INDEXES
        if of == name
    ]
    parts = [f"### `{name}`", TABLES[name], table(head, (row[: len(head)] for row in columns))]
    return "\n\n".join([*parts, "\n".join([f"* Primary key: `{key}`", *indexes])])


# ------------------------------------------------------------------ settings

SETTINGS_INTRO = """
The service is set up by environment variables and nothing else. One that makes no sense stops the start with a
sentence that names it and shows no value.
"""


def settings_page() -> str:
    return page("Settings", SETTINGS_INTRO, settings_table())


# ------------------------------------------------------------------ routes

ROUTES_INTRO = """
The OpenAPI document of a running service, `/openapi.json`, says all there is to say about shapes and answers. This is
the overview. A key is sent as `Authorization: Bearer …`; of several scopes any one is enough.
"""


def routes_page() -> str:
    document = describe()
    callers = who_may_call()
    sections: dict[str, list[tuple[str, ...]]] = {}
    for path, method, about_it in operations(document):
        names = (f"`{about_it['operationId']}`", about_it["summary"], callers[path, method])
        sections.setdefault(audience(path), []).append((method.upper(), f"`{path}`", *names))
    schemes = table(
        ("key", "header", "what it is"),
        (
            (f"`{name}`", f"`{scheme.get('name', 'Authorization')}`", scheme["description"])
            for name, scheme in SECURITY_SCHEMES.items()
        ),
    )
    head = ("method", "path", "operationId", "summary", "who may call")
    return page(
        "Routes", ROUTES_INTRO, schemes, *(f"## {name}\n\n{table(head, rows)}" for name, rows in sections.items())
    )


def audience(path: str) -> str:
    starts = {"/api/v1/admin/": "Administration", "/api/v1/vendor/": "Vendors", "/api/v1/": "Customers"}
    return next((name for start, name in starts.items() if path.startswith(start)), "Operations")


@cache
def who_may_call() -> dict[tuple[str, str], str]:
    """By path and method: what the route's own signature asks of its caller."""
    nothing = Keys(admin_key="", auditor_key=None, master_key=MasterKey(bytes(32)), admin_key_file=None)
    found: dict[tuple[str, str], str] = {}
    for context in iter_route_contexts(create_app(Settings(), nothing, "").routes):
        route = context.original_route
        if isinstance(route, APIRoute):
            who = [words for call in calls(route.dependant) if (words := caller(call))]
            for method in route.methods:
                found[str(context.path), method.lower()] = ", ".join(dict.fromkeys(who))
    return found


def calls(dependant: Dependant) -> Iterator[Callable[..., Any] | None]:
    for dependency in dependant.dependencies:
        yield dependency.call
        yield from calls(dependency)


def caller(call: Callable[..., Any] | None) -> str:
    if isinstance(call, VendorWith):
        return "vendor: " + ", ".join(f"`{scope}`" for scope in call.scopes)
    if call is _admin:
        return "administrator"
    if call is _admin_or_auditor:
        return "administrator, auditor"
    return "anybody" if call is public else ""


# ------------------------------------------------------------------ modules

MODULES_INTRO = (
    "Imports point down: `api` → `wallet_sync` → `projections` → `ledger`; `migrations` imports none of them."
)
PARTS = {
    "ledger": "The rules and the stream.",
    "ledger/commands": "What can be asked of the ledger.",
    "projections": "The query tables.",
    "projections/proofs": "What an auditor can prove: a tree over all events, signed again and again.",
    "projections/archive": "The ledger as a file that proves itself: made, verified, loaded.",
    "api": "HTTP, and the place where the parts meet.",
    "api/admin": "Routes for administrators and auditors.",
    "api/vendor": "Routes for vendors and their tills.",
    "api/public": "Routes for everybody.",
    "api/pages": "Pages: what people see in a browser.",
    "api/pages/customer": "Pages for customers.",
    "api/pages/vendor": "Pages for shops.",
    "wallet_sync": "Passes in phones, Apple's and Google's.",
    "migrations": "The database's shape, and a database to run it in.",
    "migrations/versions": "The revisions, plain SQL inside.",
}


def modules_page() -> str:
    return page("Modules", MODULES_INTRO, *(part_section(part, about) for part, about in PARTS.items()))


def part_section(part: str, about: str) -> str:
    files = sorted(file for file in (ROOT / part).glob("*.py") if file.name != "__init__.py")
    rows = ((f"`{file.name}`", first_paragraph(file)) for file in files)
    return "\n\n".join((f"## {part}/", about, table(("module", "what it is"), rows)))


def first_paragraph(file: Path) -> str:
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.split("\n\n")[0].split())


# ------------------------------------------------------------------ all of them


@dataclass(frozen=True, slots=True)
class Page:
    """A file of docs/reference and what makes it."""

    name: str
    make: Callable[[], str]

    @property
    def path(self) -> Path:
        return FOLDER / self.name


PAGES = (
    Page("events.md", events_page),
    Page("problems.md", problems_page),
    Page("tables.md", tables_page),
    Page("settings.md", settings_page),
    Page("routes.md", routes_page),
    Page("modules.md", modules_page),
)


def rewrite() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for one in PAGES:
        one.path.write_text(one.make(), encoding="utf-8", newline="\n")
        sys.stdout.write(f"{one.path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    rewrite()
