"""The till `/till`: one page for the counter, its texts, and what makes it installable.

The page asks the API as every till does, and decides nothing. Its scripts stand in `static/till`.
"""

import re
from collections.abc import Mapping
from functools import cache
from string import Formatter
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from api.currencies import CURRENCIES, exponent
from api.dependencies import Public, TheParts
from api.errors import Unauthenticated
from api.languages import Language, translate, translate_count
from api.pages import assets
from api.pages.frame import accent_address, language_of, page
from api.pages.routing import PageRoute
from api.sessions import TILL

router = APIRouter(dependencies=[Public], route_class=PageRoute, include_in_schema=False)

FOLDER = "till/"
READER = "vendor/barcode-detector-3.2.2.js"
WASM = "vendor/zxing-reader-3.1.3.wasm"
# The reader of QR codes is WebAssembly where the browser has none of its own; nothing else may be evaluated.
POLICY: Mapping[str, str] = {
    "script-src": "'self' 'wasm-unsafe-eval'",
    "img-src": "'self'",
    "media-src": "'self' blob:",
}
PERMISSIONS = "camera=(self), screen-wake-lock=(self), geolocation=(), microphone=(), payment=(), usb=()"

_TOLD = re.compile(r"\bt\(\s*\"([^\"]+)\"")
_COUNTED = re.compile(r"\btn\(\s*\"([^\"]+)\"")


@router.get("/till")
async def show_till(request: Request, parts: TheParts) -> Response:
    """The till of a paired device; others are sent to be paired."""
    try:
        await parts.sessions.identify(request, TILL)
    except Unauthenticated:
        return RedirectResponse("/till/pair", 303, {"Cache-Control": "no-store"})
    return page(
        request, "till/till.html", policy=POLICY, permissions=PERMISSIONS, till=given(language_of(request.scope))
    )


@router.get("/till/manifest.webmanifest")
async def read_manifest(request: Request) -> Response:
    """By which a browser installs the till."""
    language = language_of(request.scope)
    manifest = {
        "id": "/till",
        "name": translate(language, "Till"),
        "short_name": translate(language, "Till"),
        "lang": language,
        "start_url": "/till",
        "scope": "/till",
        "display": "standalone",
        "background_color": "#f6f5f2",
        "theme_color": "#f6f5f2",
        "icons": [
            {"src": assets.address(f"till/icon-{side}.png"), "sizes": f"{side}x{side}", "type": "image/png", **purpose}
            for side in (192, 512)
            for purpose in ({}, {"purpose": "maskable"})
        ],
    }
    headers = {"Cache-Control": "no-cache", "Vary": "Accept-Language, Cookie"}
    return Response(orjson.dumps(manifest), media_type="application/manifest+json", headers=headers)


@router.get("/till/worker.js")
async def read_worker() -> Response:
    """The service worker, with the files of this release. It may also serve `/till` itself, above its own folder."""
    shell = [assets.address(path) for path in ("pages.css", "icon.svg", READER, WASM, *_files())]
    told = orjson.dumps({"release": assets.digest(), "files": [*shell, accent_address(None, None)]})
    content = b"const GIVEN = " + told + b";\n" + assets.all_assets()[FOLDER + "worker.js"].content
    headers = {
        "Cache-Control": "no-cache",
        "Service-Worker-Allowed": "/till",
        "Content-Security-Policy": "default-src 'none'; connect-src 'self'",
    }
    return Response(content, media_type="text/javascript; charset=utf-8", headers=headers)


def given(language: Language) -> dict[str, Any]:
    """What the scripts are given with the page: their texts in this language, and where the reader of codes is.

    Counted sentences have three forms: for none, one, and more.
    """
    return {
        "texts": {sentence: translate(language, sentence, **_themselves(sentence)) for sentence in sentences()},
        "counted": {
            sentence: [
                translate_count(language, sentence, sentence, count, **_themselves(sentence)) for count in (0, 1, 2)
            ]
            for sentence in counted_sentences()
        },
        "digits": {currency: exponent(currency) for currency in sorted(CURRENCIES) if exponent(currency) != 2},
        "reader": assets.address(READER),
        "wasm": assets.address(WASM),
    }


@cache
def sentences() -> tuple[str, ...]:
    """The sentences that the till's scripts say."""
    return _found(_TOLD)


@cache
def counted_sentences() -> tuple[str, ...]:
    """Those that depend on a number, in their form for one thing."""
    return _found(_COUNTED)


def _files() -> list[str]:
    return [path for path in assets.all_assets() if path.startswith(FOLDER) and path != FOLDER + "worker.js"]


def _found(form: "re.Pattern[str]") -> tuple[str, ...]:
    scripts = [assets.all_assets()[path].content.decode() for path in _files() if path.endswith(".js")]
    return tuple(sorted({sentence for script in scripts for sentence in form.findall(script)}))


def _themselves(sentence: str) -> dict[str, str]:
    """Facts that stand for themselves: the scripts fill them in."""
    return {name: f"{{{name}}}" for _, name, _, _ in Formatter().parse(sentence) if name}
