"""The machine that was measured, so that its figures can be read."""

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import gettempdir

import psutil
import psycopg

from tests.benchmarks.servers import DISKS

FLUSHES = 500
PAGE = b"x" * 8192
LIBRARIES = ("eventsourcing", "psycopg", "fastapi", "uvicorn", "sqlalchemy")


def described(database_url: str) -> list[tuple[str, str]]:
    """What it is, in words, by topic."""
    with psycopg.connect(database_url) as connection:
        postgres = str(connection.info.parameter_status("server_version"))
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    delay = DISKS["slow"]["commit_delay"]
    return [
        ("cores", f"{os.cpu_count()} × {_processor()}"),
        ("memory", f"{psutil.virtual_memory().total / 2**30:.0f} GiB"),
        ("system", f"{platform.system()} {platform.release()}, load {psutil.getloadavg()[0]:.1f} at the start"),
        ("fast disk", f"flushes 8 kB in {flush_milliseconds():.2f} ms (median of {FLUSHES})"),
        ("slow disk", f"the same one, each flush waited for {int(delay) / 1000:g} ms longer (`commit_delay`)"),
        ("PostgreSQL", f"{postgres}, as the service configures it"),
        ("Python", f"{platform.python_version()}; {libraries}"),
    ]


def flush_milliseconds(folder: Path | None = None) -> float:
    """How long the disk takes to make one page durable."""
    file = (folder or Path(gettempdir())) / f"flush-{os.getpid()}"
    took = []
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT)
    try:
        for _ in range(FLUSHES):
            os.pwrite(descriptor, PAGE, 0)
            began = time.perf_counter()
            os.fdatasync(descriptor)
            took.append((time.perf_counter() - began) * 1000)
    finally:
        os.close(descriptor)
        file.unlink()
    return median(took)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
