"""Run pytest on Debian's PostgreSQL 15, the oldest we promise: `python -m tests.with_debian_postgres …`.

Both the shared server and those that tests start for themselves are then of that version.
"""

import os
import subprocess
import sys
from pathlib import Path

from migrations.local_postgres import TEST_SETTINGS, LocalPostgres
from tests.databases import SERVER_URL_VARIABLE, directory_for_servers

# Where it matters which server it is. What is left out speaks to one through these parts alone.
PARTS = ("read_model", "rebuild", "check", "search", "positions", "readers", "apple_device_registrations")
STORIES = ("vendor_journey", "races", "checkpoints")
CHOSEN = (
    "tests/migrations",
    "tests/ledger",
    *(f"tests/projections/test_{part}.py" for part in PARTS),
    *(f"tests/journeys/test_{story}.py" for story in STORIES),
)
BIN_DIR = Path("/usr/lib/postgresql/15/bin")


def main() -> int:
    if not (BIN_DIR / "postgres").exists():
        if os.geteuid() != 0:
            sys.stderr.write(f"There is no {BIN_DIR}. As root: apt-get install postgresql-15\n")
            return 1
        subprocess.run(["apt-get", "update", "-q"], check=True)
        subprocess.run(["apt-get", "install", "-qy", "--no-install-recommends", "postgresql-15"], check=True)
    with (
        directory_for_servers() as directory,
        LocalPostgres(directory / "shared", settings=TEST_SETTINGS, bin_dir=BIN_DIR) as url,
    ):
        environment = os.environ | {SERVER_URL_VARIABLE: url, "LOYALTY_PG_BIN": str(BIN_DIR)}
        command = [sys.executable, "-m", "pytest", *(sys.argv[1:] or CHOSEN)]
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
