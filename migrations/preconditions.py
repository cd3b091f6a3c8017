"""What a PostgreSQL server has to promise before it may keep people's balances.

A server that forgets acknowledged commits is refused by name of the setting: killing processes would not show
it, only the first power cut.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg
from psycopg.rows import dict_row

VERSION_MIN = 15

FOUND = """
SELECT name, setting, source
FROM pg_settings
WHERE name IN ('server_version_num', 'server_encoding', 'fsync', 'full_page_writes', 'synchronous_commit')
"""

PROMISES = {
    "fsync": "commits reach the disk",
    "full_page_writes": "a page torn by a power cut can be repaired",
    "synchronous_commit": "a commit is on disk before it is acknowledged",
}

# Where pg_settings says a value comes from, and how it is undone there.
REMEDIES = {
    "database": "ALTER DATABASE … RESET {name}",
    "user": "ALTER ROLE … RESET {name}",
    "database user": "ALTER ROLE … IN DATABASE … RESET {name}",
    "client": "take {name} out of PGOPTIONS and of the URL's options",
    "command line": "start the server without -c {name}=off",
}
REMEDY_IN_SERVER = "ALTER SYSTEM SET {name} = on, then SELECT pg_reload_conf()"


class ServerUnfit(Exception):
    """The server would not keep what it acknowledges, or cannot run our SQL; `problems` says each reason."""

    def __init__(self, problems: list["Problem"]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason not to use a server."""

    name: str  # A server setting, as PostgreSQL spells it.
    found: str
    needed: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.name} is {self.found}, needed is {self.needed}: {self.remedy}."


@dataclass(frozen=True, slots=True)
class Setting:
    """What the server says of one setting, as this database and user get it."""

    value: str
    source: str = "default"


def check_server(url: str) -> None:
    """Refuse a server we cannot trust.

    Raises:
        ServerUnfit: Naming every setting at fault, and its remedy.
        psycopg.OperationalError: The server is away. Safe to ask again.
    """
    if found := problems(url):
        raise ServerUnfit(found)


def problems(url: str) -> list[Problem]:
    """Every reason not to use this server; empty for a good one.

    Args:
        url: A libpq URI or conninfo string. The answer holds for its database and user, who may have settings
            of their own.

    Raises:
        psycopg.OperationalError: The server is away. Safe to ask again.
    """
    # Of a database that has no encoding, psycopg would give us bytes.
    with psycopg.connect(url, client_encoding="UTF8", row_factory=dict_row) as connection:
        rows = connection.execute(FOUND).fetchall()
    return judge({row["name"]: Setting(row["setting"], row["source"]) for row in rows})


def judge(settings: Mapping[str, Setting]) -> list[Problem]:
    """The same question for settings already read."""
    found = []
    version = int(settings["server_version_num"].value) // 10_000
    if version < VERSION_MIN:
        found.append(
            Problem(
                "server_version",
                str(version),
                f"{VERSION_MIN} or newer",
                "upgrade the server with pg_upgrade",
            )
        )
    encoding = settings["server_encoding"].value
    if encoding != "UTF8":
        remedy = "make a new database with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        found.append(Problem("server_encoding", encoding, "UTF8", remedy))
    for name, promise in PROMISES.items():
        # Of synchronous_commit, `local`, `remote_write` and `remote_apply` wait for our own disk too.
        if settings[name].value == "off":
            remedy = REMEDIES.get(settings[name].source, REMEDY_IN_SERVER).format(name=name)
            found.append(Problem(name, "off", f"on, so that {promise}", remedy))
    return found
