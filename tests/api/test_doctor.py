"""The doctor names what is wrong and what to do, and changes nothing."""

import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from uuid import uuid4

import psutil
import psycopg
import pytest
import time_machine

from api.doctor import Finding, _python, examine
from api.settings import PREFIX, Settings, variable
from ledger.seal import MasterKey
from migrations.local_postgres import LocalPostgres
from migrations.upgrade import downgrade
from projections.read_model import Projector
from tests.callers import ADMIN_KEY
from tests.databases import BIN_DIR, database, directory_for_servers, durable_server
from tests.projections.stories import Store, pin_created
from tests.service import MASTER_KEY, free_port

Set = Callable[..., None]


@pytest.fixture(name="set_", autouse=True)
def settings_of_a_test(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Set:
    for name in Settings.model_fields:
        monkeypatch.delenv(variable(name), raising=False)

    def set_(**values: object) -> None:
        for name, value in values.items():
            monkeypatch.setenv(variable(name), str(value))

    set_(port=free_port(), data_dir=tmp_path / "data")
    if BIN_DIR is not None:
        set_(pg_bin=BIN_DIR)
    return set_


@pytest.fixture(scope="module")
def fit_server_url() -> Iterator[str]:
    with durable_server() as server:
        yield server.start()


@pytest.fixture
def url(fit_server_url: str, set_: Set) -> Iterator[str]:
    """A database as it should be, and settings that lead there."""
    with database(fit_server_url, upgraded=True) as url:
        set_(database_url=url, admin_key=ADMIN_KEY, master_key=MASTER_KEY.to_base64())
        yield url


def wrong() -> list[str]:
    return [finding.sentence for finding in examine() if not finding.is_well]


def right() -> list[str]:
    return [finding.sentence for finding in examine() if finding.is_well]


def execute(url: str, sql: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql)


def test_a_service_in_order_has_nothing_wrong(url: str) -> None:
    assert wrong() == []
    text = "\n".join(right())
    assert "up with the stream" in text and "neither change nor delete" in text and "clocks" in text


def test_before_the_first_start_all_is_well_and_nothing_is_made(tmp_path: Path) -> None:
    assert wrong() == []
    assert any("will be made" in sentence for sentence in right())
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------ this machine


def test_a_python_too_old_is_named_with_the_one_needed() -> None:
    assert _python((3, 10)) == Finding(False, "Python is 3.10: install 3.11 or newer.")
    assert _python((3, 11)).is_well


def test_settings_that_make_no_sense_end_the_look(set_: Set) -> None:
    set_(port="eighty")
    (sentence,) = wrong()
    assert PREFIX + "PORT" in sentence
    assert len(examine()) == 2


def test_a_data_directory_that_is_a_file_is_found(set_: Set, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    set_(data_dir=tmp_path / "file")
    assert any("is no directory" in sentence for sentence in wrong())


def test_a_data_directory_nobody_may_write_is_found(set_: Set, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.doctor.os.access", lambda *_: False)  # Root may write anywhere.
    (sentence,) = wrong()
    assert "cannot be written" in sentence and variable("data_dir") in sentence


@pytest.mark.parametrize("name", ["admin_key", "master_key"])
def test_a_key_file_open_to_others_is_found_and_left_as_it_is(tmp_path: Path, name: str) -> None:
    file = tmp_path / "data" / "keys" / name
    file.parent.mkdir(parents=True)
    file.write_text(MASTER_KEY.to_base64() + "\n")
    file.chmod(0o644)
    (sentence,) = wrong()
    assert f"chmod 600 {file}" in sentence
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


@pytest.mark.parametrize(("name", "text"), [("admin_key", "short"), ("master_key", "no base64"), ("master_key", "é")])
def test_a_key_file_that_holds_no_key_is_found(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / "data" / "keys" / name
    file.parent.mkdir(parents=True)
    file.write_text(text)
    file.chmod(0o600)
    (sentence,) = wrong()
    assert str(file) in sentence and text not in sentence


def test_postgresql_programs_that_are_missing_are_named(set_: Set, tmp_path: Path) -> None:
    set_(pg_bin=tmp_path)
    (sentence,) = wrong()
    assert "no postgres in" in sentence and variable("pg_bin") in sentence


@contextmanager
def listening(answer: bytes) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_port_that_another_program_has_is_found(set_: Set) -> None:
    with listening(b"hello") as port:
        set_(port=port)
        (sentence,) = wrong()
    assert f"Another program has port {port}" in sentence and variable("port") in sentence


def test_a_port_where_the_service_answers_is_well(set_: Set) -> None:
    with listening(b'{"status":"live"}') as port:
        set_(port=port)
        assert f"The service answers on port {port}." in right()


def test_an_address_of_another_machine_is_found(set_: Set) -> None:
    set_(host="192.0.2.1")
    (sentence,) = wrong()
    assert "Nothing can listen on 192.0.2.1" in sentence


@pytest.mark.parametrize(
    ("public_url", "is_well"),
    [("http://127.0.0.1:8000", True), ("https://cards.example", True), ("http://cards.example", False)],
)
def test_a_public_address_needs_https(set_: Set, public_url: str, is_well: bool) -> None:
    set_(public_url=public_url)
    assert (wrong() == []) is is_well


# ------------------------------------------------------------------ the database


def test_a_database_that_is_away_is_named_without_its_password(set_: Set) -> None:
    away = f"postgresql://ledger:hushhush@127.0.0.1:{free_port()}/ledger"
    set_(database_url=away, admin_key=ADMIN_KEY, master_key=MASTER_KEY.to_base64())
    (sentence,) = wrong()
    assert "cannot be reached" in sentence and variable("database_url") in sentence
    assert "hushhush" not in sentence


def test_a_forgetful_server_is_found_with_each_setting(set_: Set, database_url: str) -> None:
    set_(database_url=database_url, admin_key=ADMIN_KEY, master_key=MASTER_KEY.to_base64())
    assert [s.split()[0] for s in wrong()] == ["fsync", "full_page_writes", "synchronous_commit"]


def test_without_a_master_key_a_database_of_ones_own_is_not_well(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(variable("master_key"))
    (sentence,) = wrong()
    assert "openssl rand -base64 32" in sentence


def test_another_master_key_than_the_databases_is_found(url: str, set_: Set) -> None:
    store = Store(url).opened()
    store.append(("staff_pin", uuid4(), [pin_created()]))
    store.connection.close()
    Projector(url, MASTER_KEY).catch_up()
    assert wrong() == []
    set_(master_key=MasterKey(bytes(32)).to_base64())
    (sentence,) = wrong()
    assert "was written under" in sentence and MASTER_KEY.key_id in sentence


@pytest.mark.parametrize(("revision", "found"), [("base", "no tables yet"), ("0001", "revision 0001 of")])
def test_a_database_behind_is_to_be_migrated_and_is_not(url: str, revision: str, found: str) -> None:
    downgrade(url, revision)
    for _ in range(2):
        (sentence,) = wrong()
        assert found in sentence and "loyalty-ledger migrate" in sentence


def test_a_database_of_a_newer_program_is_found(url: str) -> None:
    execute(url, "UPDATE alembic_version SET version_num = '9999'")
    (sentence,) = wrong()
    assert "install the newer program" in sentence


def test_a_user_who_may_not_act_as_the_application_is_found(url: str, set_: Set) -> None:
    name = f"stranger_{uuid4().hex[:8]}"
    execute(url, f"CREATE ROLE {name} LOGIN")
    try:
        set_(database_url=url.replace("ledger@", f"{name}@", 1))
        (sentence,) = wrong()
        assert f'GRANT loyalty_app TO "{name}"' in sentence
    finally:
        execute(url, f"DROP ROLE {name}")


@pytest.mark.parametrize("right", ["UPDATE", "DELETE", "TRUNCATE"])
def test_a_right_to_rewrite_history_is_found(url: str, right: str) -> None:
    execute(url, f"GRANT {right} ON stored_events TO loyalty_app")
    (sentence,) = wrong()
    assert f"REVOKE {right} ON stored_events FROM loyalty_app" in sentence


def test_a_right_to_one_column_of_history_is_found(url: str) -> None:
    execute(url, "GRANT UPDATE (state) ON stored_events TO loyalty_app")
    (sentence,) = wrong()
    assert "may UPDATE events" in sentence


def test_a_guard_of_history_that_sleeps_is_found(url: str) -> None:
    execute(url, "ALTER TABLE stored_events DISABLE TRIGGER stored_events_append_only")
    (sentence,) = wrong()
    assert "ENABLE TRIGGER stored_events_append_only" in sentence


def test_query_tables_that_stopped_are_found_with_the_event(url: str) -> None:
    store = Store(url).opened()
    store.connection.close()
    execute(url, "UPDATE projections SET error = 'position 1: no-such-event'")
    (sentence,) = wrong()
    assert "position 1: no-such-event" in sentence and "events behind" in sentence


def test_query_tables_that_only_wait_for_the_service_are_well(url: str) -> None:
    store = Store(url).opened()
    store.connection.close()
    assert wrong() == []
    assert any("follow once `loyalty-ledger run`" in sentence for sentence in right())


def test_clocks_that_differ_are_found(url: str) -> None:
    with time_machine.travel("2031-01-01", tick=True):
        (sentence,) = wrong()
    assert "seconds apart" in sentence


def test_a_database_that_cannot_be_read_is_told_and_not_thrown(url: str) -> None:
    execute(url, "DROP TABLE projections")
    (sentence,) = wrong()
    assert "projections" in sentence


# ------------------------------------------------------------------ the embedded one


def test_the_embedded_database_is_started_for_the_look_and_stopped_again(set_: Set) -> None:
    with directory_for_servers() as directory:
        data_dir = directory / "data"
        with LocalPostgres(data_dir / "postgres", bin_dir=BIN_DIR):
            pass
        set_(data_dir=data_dir)
        (without_key, without_tables) = wrong()
        assert "master_key is missing" in without_key
        assert "loyalty-ledger migrate" in without_tables
        assert not (data_dir / "keys").exists()
        working = {process.info["cwd"] for process in psutil.process_iter(["cwd"])}
        assert not any(str(data_dir) in str(cwd) for cwd in working)


def test_the_embedded_database_of_a_running_service_is_looked_at_as_it_runs(set_: Set) -> None:
    with directory_for_servers() as directory:
        data_dir = directory / "data"
        server = LocalPostgres(data_dir / "postgres", bin_dir=BIN_DIR)
        try:
            server.start()
            before = server.pid
            set_(data_dir=data_dir, master_key=MASTER_KEY.to_base64())
            (sentence,) = wrong()
            assert "loyalty-ledger migrate" in sentence
            assert server.pid == before
        finally:
            server.stop()
