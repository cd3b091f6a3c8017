"""Install the peers: Debian's packages as root, npm's packages beside this file. `python -m tests.wallet_sync.peers`.

Nothing of it is needed: what is not to be had is said, and the tests that ask for it are skipped.
"""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).parent
LOCK = HERE / "package-lock.json"
MODULES = HERE / "node_modules"
INSTALLED = MODULES / ".installed"  # The digest of the lock file it was installed from.
NPM_SECONDS_MAX = 60
APT_SECONDS_MAX = 180
APT = ("apt-get", "-q", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20", "-o", "DPkg::Lock::Timeout=60")
NPM_CI = (
    *("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"),
    *("--fetch-timeout=20000", "--fetch-retries=1", "--fetch-retry-mintimeout=1000"),
)

KPKPASS_HEADERS = Path("/usr/include/KPim")
DEBIANS_PACKAGES = {"node": "nodejs", "npm": "npm", "g++": "g++", "pkg-config": "pkg-config", "curl": "curl"}


class NotToBeHad(Exception):
    """A peer is not on this machine. The text says why."""


def install_debians_packages() -> None:
    """What is missing of them, one by one: one that does not exist here keeps no other away.

    Raises:
        NotToBeHad: Naming those that are still missing.
    """
    missing = _missing()
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        _runs([*APT, "update"], APT_SECONDS_MAX)
        for package in missing:
            _runs([*APT, "install", "-y", "--no-install-recommends", package], APT_SECONDS_MAX)
    if missing := _missing():
        raise NotToBeHad(f"not installed: {' '.join(missing)}")


def install_npms_packages() -> Path:
    """The packages of the lock file, once for all who ask at the same time.

    Returns: The folder they are in.

    Raises:
        NotToBeHad: npm is missing, or cannot reach its registry.
    """
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise NotToBeHad(f"{program} is not installed")
    with LOCK.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        digest = sha256(lock.read()).hexdigest()
        if not INSTALLED.exists() or INSTALLED.read_text() != digest:
            if reason := _runs(NPM_CI, NPM_SECONDS_MAX, cwd=HERE):
                raise NotToBeHad(f"npm ci failed: {reason}")
            INSTALLED.write_text(digest)
    return MODULES


def _missing() -> list[str]:
    missing = [package for program, package in DEBIANS_PACKAGES.items() if shutil.which(program) is None]
    return missing if KPKPASS_HEADERS.is_dir() else [*missing, "libkpimpkpass-dev"]


def _runs(command: Sequence[str], seconds_max: int, cwd: Path | None = None) -> str:
    """Nothing where it went well; else how its complaint begins."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command, cwd=cwd, env=environment, timeout=seconds_max, capture_output=True, text=True, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no end after {seconds_max} seconds"
    return "" if done.returncode == 0 else " ".join(done.stderr.splitlines()[:2]) or f"exit {done.returncode}"
