"""Buttons that put a card into a phone's wallet: those this service has, the person's own phone first.

Apple's and Google's badges may not be handed on by us. Who runs the service gets them there and puts them into the
folder LOYALTY_BADGES_DIR as `apple-de.svg`, `google-de.svg` and so on, one for each language; without them the buttons
are plain.
"""

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Literal, TypeAlias

from fastapi import APIRouter
from starlette.responses import Response

from api.dependencies import Parts, Public, TheParts
from api.errors import NotFoundHere
from api.languages import LANGUAGES
from api.pages.assets import FOREVER
from api.pages.routing import PageRoute

Wallet: TypeAlias = Literal["apple", "google"]

LABELS = {"apple": "Add to Apple Wallet", "google": "Add to Google Wallet"}
BADGES_BYTES_MAX = 200_000

router = APIRouter(dependencies=[Public], route_class=PageRoute, include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Button:
    wallet: Wallet
    label: str  # One of LABELS.
    href: str
    badges: dict[str, str]  # Address of the official badge by language; empty without one.


def buttons(parts: Parts, token: str, user_agent: str) -> list[Button]:
    """Google's first on Android, elsewhere Apple's."""
    base = f"/api/v1/loyalty/cards/{token}"
    found = badges(parts.settings.badges_dir)
    offered: list[tuple[Wallet, str]] = []
    if parts.apple is not None:
        offered.append(("apple", f"{base}/apple.pkpass"))
    if parts.google is not None:
        offered.append(("google", f"{base}/google"))
    if "Android" in user_agent:
        offered.reverse()
    return [
        Button(
            wallet,
            LABELS[wallet],
            href,
            {
                language: f"/badges/{name}?{sha256(found[name]).hexdigest()[:12]}"
                for language in LANGUAGES
                if (name := f"{wallet}-{language}.svg") in found
            },
        )
        for wallet, href in offered
    ]


@cache
def badges(folder: Path | None) -> dict[str, bytes]:
    """The badges in the folder by file name; none without a folder, and none that is larger than a badge can be."""
    if folder is None:
        return {}
    named = {f"{wallet}-{language}.svg" for wallet in LABELS for language in LANGUAGES}
    files = (folder / name for name in sorted(named))
    return {file.name: file.read_bytes() for file in files if file.is_file() and file.stat().st_size < BADGES_BYTES_MAX}


@router.get("/badges/{name}")
async def read_badge(name: str, parts: TheParts) -> Response:
    """A badge as it was put there."""
    found = badges(parts.settings.badges_dir)
    if name not in found:
        raise NotFoundHere
    headers = {"Cache-Control": FOREVER, "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return Response(found[name], media_type="image/svg+xml", headers=headers)
