"""A server that would forget, or could not run our SQL, is refused by the name of its setting."""

from collections.abc import Iterator
from urllib.parse import quote

import psycopg
import pytest

from migrations.local_postgres import TEST_SETTINGS, LocalPostgres
from migrations.preconditions import Problem, ServerUnfit, Setting, check_server, judge, problems
from tests.databases import BIN_DIR, database, directory_for_servers, durable_server

GOOD = {
    "server_version_num": Setting("180004"),
    "server_encoding": Setting("UTF8"),
    "fsync": Setting("on"),
    "full_page_writes": Setting("on"),
    "synchronous_commit": Setting("on"),
}


@pytest.fixture(scope="module")
def fit_server_url() -> Iterator[str]:
    with durable_server() as server:
        yield server.start()


@pytest.fixture
def fit_url(fit_server_url: str) -> Iterator[str]:
    with database(fit_server_url) as url:
        yield url


def test_the_embedded_server_may_keep_balances(fit_url: str) -> None:
    check_server(fit_url)
    assert problems(fit_url) == []


def test_a_forgetful_server_is_refused_naming_each_setting_and_what_to_do() -> None:
    with (
        directory_for_servers() as directory,
        LocalPostgres(directory / "forgetful", settings=TEST_SETTINGS, bin_dir=BIN_DIR) as url,
        pytest.raises(ServerUnfit) as refusal,
    ):
        check_server(url)
    names = [problem.name for problem in refusal.value.problems]
    assert names == ["fsync", "full_page_writes", "synchronous_commit"]
    assert "fsync is off" in str(refusal.value)
    assert "start the server without -c fsync=off" in str(refusal.value)


@pytest.mark.parametrize(
    ("spoil", "remedy"),
    [
        ("ALTER DATABASE {database} SET synchronous_commit = off", "ALTER DATABASE"),
        ("ALTER ROLE CURRENT_USER IN DATABASE {database} SET synchronous_commit = off", "IN DATABASE"),
    ],
    ids=["database", "user in database"],
)
def test_a_database_or_user_with_a_setting_of_its_own_is_found_out(fit_url: str, spoil: str, remedy: str) -> None:
    with psycopg.connect(fit_url) as connection:
        connection.execute(spoil.format(database=connection.info.dbname))
    (problem,) = problems(fit_url)
    assert (problem.name, problem.found) == ("synchronous_commit", "off")
    assert remedy in problem.remedy


@pytest.mark.parametrize(
    ("value", "faults"), [("off", ["synchronous_commit"]), ("local", []), ("remote_write", []), ("on", [])]
)
def test_only_a_commit_that_waits_for_no_disk_is_refused(fit_url: str, value: str, faults: list[str]) -> None:
    url = f"{fit_url}&options={quote(f'-c synchronous_commit={value}')}"
    assert [problem.name for problem in problems(url)] == faults


def test_a_database_that_is_not_utf8_is_refused(fit_server_url: str, fit_url: str) -> None:
    with psycopg.connect(fit_server_url, autocommit=True) as connection:
        connection.execute(
            "CREATE DATABASE bytes ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
        )
    (problem,) = problems(fit_server_url.replace("/postgres?", "/bytes?"))
    assert (problem.name, problem.found, problem.needed) == ("server_encoding", "SQL_ASCII", "UTF8")


@pytest.mark.parametrize(("number", "faults"), [("140012", ["14"]), ("150000", []), ("180004", [])])
def test_versions_from_15_on_will_do(number: str, faults: list[str]) -> None:
    found = judge(GOOD | {"server_version_num": Setting(number)})
    assert [problem.found for problem in found] == faults


@pytest.mark.parametrize("name", ["fsync", "full_page_writes", "synchronous_commit"])
def test_a_setting_from_the_servers_own_file_is_mended_there(name: str) -> None:
    (problem,) = judge(GOOD | {name: Setting("off", "configuration file")})
    assert problem.name == name
    assert problem.remedy == f"ALTER SYSTEM SET {name} = on, then SELECT pg_reload_conf()"


def test_a_problem_reads_as_a_sentence() -> None:
    problem = Problem("fsync", "off", "on", "switch it on")
    assert str(problem) == "fsync is off, needed is on: switch it on."
