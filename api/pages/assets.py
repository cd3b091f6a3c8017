"""Scripts, styles and pictures of the pages, read once and kept as small as they go over the wire.

All of them stand under one address that is made of all their bytes: a browser keeps them for ever, and a release that
changed one of them has another address. So scripts may import each other by relative names.
"""

import gzip
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable

PREFIX = "/static"
DIGEST_CHARACTERS = 12
FOREVER = "public, max-age=31536000, immutable"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
}
COMPRESSIBLE = frozenset(MEDIA_TYPES) - {".png"}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it goes over the wire: by gzip, where that makes it smaller."""

    media_type: str
    sent: bytes
    is_zipped: bool

    @property
    def content(self) -> bytes:
        """The file itself."""
        return gzip.decompress(self.sent) if self.is_zipped else self.sent


@cache
def all_assets() -> dict[str, Asset]:
    """Every file under `static` by its path there. Files of a kind we do not serve are left out."""
    return dict(sorted(_found(files("api.pages").joinpath("static"), "")))


@cache
def digest() -> str:
    """Names the state of all files together."""
    whole = sha256()
    for path, asset in all_assets().items():
        for part in (path.encode(), asset.content):
            whole.update(len(part).to_bytes(8) + part)
    return whole.hexdigest()[:DIGEST_CHARACTERS]


def address(path: str) -> str:
    """Where browsers find this file; for ever the same bytes.

    Raises: KeyError for a file that is not there: a page must not name one.
    """
    assert path in all_assets(), f"there is no asset {path}"
    return f"{PREFIX}/{digest()}/{path}"


def _found(folder: Traversable, prefix: str) -> list[tuple[str, Asset]]:
    found = []
    for entry in folder.iterdir():
        path = prefix + entry.name
        suffix = "." + entry.name.rpartition(".")[2]
        if entry.is_dir():
            found += _found(entry, path + "/")
        elif suffix in MEDIA_TYPES:
            found.append((path, _asset(entry.read_bytes(), suffix)))
    return found


def _asset(content: bytes, suffix: str) -> Asset:
    zipped = gzip.compress(content, 9, mtime=0) if suffix in COMPRESSIBLE else content
    is_zipped = len(zipped) < len(content)
    return Asset(MEDIA_TYPES[suffix], zipped if is_zipped else content, is_zipped)
