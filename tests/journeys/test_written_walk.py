"""Cards in two phones, walked through as the README prints it: three terminals, and only the address another one."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.clock import eventually
from tests.databases import directory_for_servers
from tests.docs_reference import ROOT
from tests.journeys.test_written_calls import (
    PRINTED_ADDRESS,
    README,
    blocks,
    environment,
    needs,
    section,
    typed,
    wait_until_ready,
)
from tests.service import free_port

WALK = section(README, "Cards in a phone, without Apple or Google")
END_SECONDS = 60
NEXT = "\nprintf '\\0'\n"


def steps() -> list[str]:
    """The numbered steps, as one sees them: without the spaces that put them into the list."""
    return re.split(r"^\d\. ", re.sub(r"^   ", "", WALK, flags=re.MULTILINE), flags=re.MULTILINE)[1:]


def command(step: str) -> str:
    (printed,) = blocks(step, "bash")
    return printed


def is_as_printed(said: str, printed: str) -> bool:
    """`…` in print stands for anything on a line."""
    return re.fullmatch(".*".join(map(re.escape, printed.strip().split("…"))), said.strip()) is not None


def in_any_order(told: str) -> list[str]:
    """Nobody can say whether Apple or Google is told first."""
    return sorted(told.strip().splitlines())


@contextmanager
def terminal(script: str, folder: Path, environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command that runs in a terminal of its own, until Ctrl-C."""
    with log.open("wb") as output:
        shell = subprocess.Popen(
            ["bash", "-c", script],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield shell
        os.killpg(shell.pid, signal.SIGINT)
        eventually(lambda: shell.poll() is not None and not running(shell.pid), END_SECONDS, log.read_text)
        assert "Traceback" not in log.read_text(), log.read_text()
    finally:
        for process in running(shell.pid):
            process.kill()
        shell.wait()


def running(session: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def checkout(folder: Path) -> None:
    """As after `git clone` and `make setup`, with this checkout's files and installation."""
    for name in ("Makefile", "pyproject.toml", "uv.lock", "tests"):
        (folder / name).symlink_to(ROOT / name)
    installed = folder / ".venv"
    installed.mkdir()
    for part in Path(sys.prefix).iterdir():
        if part.name != ".ok":
            (installed / part.name).symlink_to(part)
    (installed / ".ok").touch()


def left_in(folder: Path) -> list[list[str]]:
    """The commands that still run there."""
    found = (process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"]))
    return [words for words in found if any(str(folder) in word for word in words)]


@needs("bash", "make", "curl", "python3", "unzip", "openssl")
@pytest.mark.timeout(600)
def test_two_phones_follow_a_card_as_the_readme_shows() -> None:
    providing, serving, *walking, stopping = steps()
    assert "Ctrl-C in both terminals" in stopping
    (calls,) = blocks(section(README, "Five calls"), "bash")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with directory_for_servers() as folder:
        checkout(folder)
        its_environment = environment(LOYALTY_PORT=str(port))
        played, served = folder / "third-terminal", folder / "first-terminal"
        with terminal(command(providing), folder, its_environment, played) as providers:
            eventually(lambda: "Stop with" in played.read_text() or providers.poll() is not None)
            with terminal(command(serving), folder, its_environment, served) as service:
                wait_until_ready(address, service, served)
                script = NEXT.join([calls.replace(PRINTED_ADDRESS, address), *map(command, walking)])
                _, *said = typed("exec 2>&1\n" + script, folder, its_environment).stdout.split("\0")
        came = played.read_text()
        assert left_in(folder) == [] and not (folder / ".data/providers").exists()

    for step, told in zip(walking, said, strict=True):
        assert is_as_printed(told, blocks(step, "text")[0]), told
    begun, gotten = blocks(providing, "text")[0], blocks(walking[-1], "text")[1]
    for line, printed in zip(in_any_order(came), in_any_order(begun + gotten), strict=True):
        assert is_as_printed(line, printed), came
