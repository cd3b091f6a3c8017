"""Small files that only their owner may read, written whole or not at all."""

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def keep(file: Path, text: str) -> None:
    """Write a file unless there is one. Of several processes that do so at once, one is first and its text stays."""
    with suppress(FileExistsError):
        _write(file, text, os.link)


def replace(file: Path, text: str) -> None:
    """Write a file in place of the one that is there: whoever reads finds the old text or the new one."""
    _write(file, text, os.replace)


def _write(file: Path, text: str, put: Callable[[Path, Path], None]) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        put(draft, file)
    finally:
        draft.unlink(missing_ok=True)
    flush(file.parent)


def flush(folder: Path) -> None:
    """What was put into a folder, or taken out of it, is so after a power cut too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
