"""A database's shape: made once whoever asks at the same time, undone, and made again."""

import subprocess
import sys

import psycopg
import pytest
from alembic.util import CommandError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from migrations import apart
from migrations import upgrade as upgrade_module
from migrations.apart import UpgradeIsBusy
from migrations.upgrade import LOCK, current, downgrade, head, upgrade

UPGRADER = """
import sys
from migrations.upgrade import upgrade

print("ready", flush=True)
sys.stdin.readline()
upgrade(sys.argv[1])
"""

SHAPE = """
SELECT 'relation', relname::text, relkind::text, relacl::text FROM pg_class
WHERE relnamespace = 'public'::regnamespace
UNION ALL
SELECT 'column', attrelid::regclass::text, attname, format_type(atttypid, atttypmod) || attnotnull
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE relnamespace = 'public'::regnamespace AND NOT attisdropped
UNION ALL
SELECT 'index', tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT 'function', proname, pg_get_function_identity_arguments(oid), prosrc FROM pg_proc
WHERE pronamespace = 'public'::regnamespace
UNION ALL
SELECT 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid)
FROM pg_trigger WHERE NOT tgisinternal
ORDER BY 1, 2, 3, 4
"""


def shape(url: str) -> list[tuple[str, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(SHAPE).fetchall()


def upgrader(url: str) -> subprocess.Popen[str]:
    """A process that is about to upgrade, and does when it is sent a line."""
    words = [sys.executable, "-c", UPGRADER, url]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def test_an_empty_database_is_at_no_revision_and_comes_to_the_newest(empty_database_url: str) -> None:
    assert current(empty_database_url) is None
    upgrade(empty_database_url)
    assert current(empty_database_url) == head()


def test_an_upgrade_of_what_is_up_to_date_changes_nothing(database_url: str) -> None:
    before = shape(database_url)
    upgrade(database_url)
    assert shape(database_url) == before


def test_four_processes_upgrading_at_the_same_moment_all_succeed(empty_database_url: str, database_url: str) -> None:
    processes = [upgrader(empty_database_url) for _ in range(4)]
    for process in processes:
        go(process)
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    assert current(empty_database_url) == head()
    assert shape(empty_database_url) == shape(database_url)


def test_down_to_nothing_and_up_again_is_the_same_shape(database_url: str) -> None:
    before = shape(database_url)
    downgrade(database_url, "base")
    assert current(database_url) is None
    assert {name for kind, name, *_ in shape(database_url) if kind == "relation"} <= {
        "alembic_version",
        "alembic_version_pkc",
    }
    upgrade(database_url)
    assert current(database_url) == head()
    assert shape(database_url) == before


def test_waiting_for_another_upgrade_disturbs_no_index_built_concurrently(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        process = upgrader(empty_database_url)
        go(process)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        other.execute("SET statement_timeout = '10s'")
        other.execute("CREATE TABLE busy AS SELECT 1 AS a")
        other.execute("CREATE INDEX CONCURRENTLY ON busy (a)")
        other.execute("DROP TABLE busy")
    process.communicate()
    assert process.returncode == 0
    assert current(empty_database_url) == head()


def test_waiting_has_an_end(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrade_module, "LOCK_WAIT_SECONDS_MAX", 0.2)
    with psycopg.connect(empty_database_url, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        with pytest.raises(UpgradeIsBusy):
            upgrade(empty_database_url)
    assert current(empty_database_url) is None


def test_a_failed_upgrade_gives_the_lock_back(empty_database_url: str) -> None:
    with pytest.raises(CommandError):
        upgrade(empty_database_url, "no-such-revision")
    upgrade(empty_database_url)


def test_the_url_may_name_several_hosts_of_which_one_answers(empty_database_url: str) -> None:
    host = conninfo_to_dict(empty_database_url).get("host", "localhost")
    url = make_conninfo(empty_database_url, host=f"/nowhere,{host}")
    upgrade(url)
    assert current(url) == head()


def test_a_database_that_is_away_is_psycopgs_error() -> None:
    with pytest.raises(psycopg.OperationalError):
        upgrade("postgresql:///ledger?host=/nowhere")


def test_an_upgrade_apart_does_the_same_and_leaves_nothing_of_alembic_here(empty_database_url: str) -> None:
    script = "import sys; from migrations import apart; apart.upgrade(sys.argv[1]); print('alembic' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script, empty_database_url], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
    assert current(empty_database_url) == head()


def test_nothing_is_started_where_nothing_is_to_be_done(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert head() == apart.NEWEST
    monkeypatch.setattr(sys, "executable", "/nowhere")
    apart.upgrade(database_url)
    downgrade(database_url, "0008")
    with pytest.raises(FileNotFoundError):
        apart.upgrade(database_url)


def test_an_upgrade_apart_is_refused_in_the_same_words(empty_database_url: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="nowhere"):
        apart.upgrade("postgresql:///ledger?host=/nowhere")
    with psycopg.connect(empty_database_url, autocommit=True) as other:
        other.execute("CREATE TABLE streams (nobody_knows integer)")
    with pytest.raises(apart.UpgradeFailed, match="streams"):
        apart.upgrade(empty_database_url)
    assert current(empty_database_url) is None
