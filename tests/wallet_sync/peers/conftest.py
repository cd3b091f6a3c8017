"""The peers, ready to run; a test that asks for one which is not here is skipped and says why."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import pytest

from tests.wallet_sync.peers.installing import HERE, KPKPASS_HEADERS, NotToBeHad, install_npms_packages

SECONDS_MAX = 30

ReadPass: TypeAlias = Callable[[Path, str], dict[str, Any]]


@pytest.fixture(scope="session")
def read_pass(tmp_path_factory: pytest.TempPathFactory) -> ReadPass:
    """KPkPass: what it finds in a file, in a language."""
    for needed in ("g++", "pkg-config"):
        if shutil.which(needed) is None:
            pytest.skip(f"{needed} is not installed")
    if not KPKPASS_HEADERS.is_dir():
        pytest.skip("libkpimpkpass-dev is not installed")
    program = tmp_path_factory.mktemp("kpkpass") / "read_pass"
    qt = _said(["pkg-config", "--cflags", "--libs", "Qt5Gui"]).split()
    headers = [f"-I{KPKPASS_HEADERS}", f"-I{KPKPASS_HEADERS / 'KPkPass'}"]
    source = str(HERE / "read_pass.cpp")
    _said(["g++", "-std=c++17", "-fPIC", source, "-o", str(program), *headers, *qt, "-lKPimPkPass"])
    return lambda file, language: orjson.loads(_said([str(program), language, str(file)]))


@pytest.fixture(scope="session")
def needs_node() -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")


@pytest.fixture(scope="session")
def npms_packages() -> Path:
    """The folder they are in."""
    try:
        return install_npms_packages()
    except NotToBeHad as reason:
        pytest.skip(str(reason))


def run_node(script: str, told: Any) -> Any:
    """A script of this folder: JSON in, JSON out."""
    return orjson.loads(_said(["node", str(HERE / script)], orjson.dumps(told).decode()))


@contextmanager
def serving_node(script: str, told: Any) -> Iterator[int]:
    """A script of this folder that serves until its input ends. Returns its port."""
    command = ["node", str(HERE / script)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(orjson.dumps(told) + b"\n")
        process.stdin.flush()
        try:
            yield orjson.loads(process.stdout.readline())["port"]
        finally:
            process.stdin.close()
            process.wait(SECONDS_MAX)


def _said(command: list[str], told: str = "") -> str:
    done = subprocess.run(command, input=told, timeout=SECONDS_MAX, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
