"""A page: a template in the reader's language, with the headers that every page carries.

Templates speak through `Words`, fail on a name that nobody gave, and escape everything. Nothing inline is ever run:
the policy below allows scripts and styles from files of ours alone.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.responses import HTMLResponse
from starlette.types import Scope

from api.languages import LANGUAGES, Language, known, negotiate
from api.pages import assets
from api.pages.accents import accent_sheet, house
from api.pages.words import NAMES, Words

LANGUAGE_COOKIE = "language"
LANGUAGE_SECONDS = 365 * 86_400
POLICY: Mapping[str, str] = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",
    "connect-src": "'self'",
    "font-src": "'none'",
    "manifest-src": "'self'",
    "worker-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
PERMISSIONS = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"


def page(
    request: Request,
    template: str,
    /,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    own_language: str | None = None,
    policy: Mapping[str, str] | None = None,
    permissions: str = PERMISSIONS,
    **values: Any,
) -> HTMLResponse:
    """A page, or a part of one.

    Args:
        template: Its file under `templates`.
        own_language: What the thing on the page speaks, such as a card; the person's explicit choice goes before it.
        policy: Directives of the Content-Security-Policy to put in place of those in POLICY.
        permissions: Another Permissions-Policy, for a page that needs a camera.
        values: What the template names. A missing one is an error of ours: 500.
    """
    language = language_of(request.scope, own_language)
    content = render(template, language, request.scope, **values)
    return HTMLResponse(content, status, headers={**page_headers(language, policy, permissions), **(headers or {})})


def render(template: str, language: Language, scope: Scope, /, **values: Any) -> str:
    """The text of a template alone."""
    words = Words(language)
    return (
        environment()
        .get_template(template)
        .render(
            **{
                "words": words,
                "t": words.text,
                "tn": words.count,
                "th": words.html,
                "language": language,
                "switches": switches(language, scope),
                "accent": accent_address(None, None),
                **values,
            }
        )
    )


def page_headers(
    language: Language, policy: Mapping[str, str] | None = None, permissions: str = PERMISSIONS
) -> dict[str, str]:
    """What every page says beside itself. Nothing is kept by anybody in between: pages are about people."""
    return {
        "Content-Language": language,
        "Cache-Control": "no-store",
        "Vary": "Accept-Language, Cookie",
        "Content-Security-Policy": "; ".join(f"{name} {what}" for name, what in {**POLICY, **(policy or {})}.items()),
        # Not no-referrer: with that browsers hide from us that our own forms are ours.
        "Referrer-Policy": "same-origin",
        "Permissions-Policy": permissions,
        "Cross-Origin-Opener-Policy": "same-origin",
    }


# ------------------------------------------------------------------ languages


def language_of(scope: Scope, own_language: str | None = None) -> Language:
    """What the person chose; else what the thing shown speaks; else what their browser asks for."""
    headers = Headers(scope=scope)
    chosen = known(cookie_parser(headers.get("cookie", "")).get(LANGUAGE_COOKIE, ""))
    return chosen or known(own_language or "") or negotiate(headers.get("accept-language"))


def switches(language: Language, scope: Scope) -> list[dict[str, Any]]:
    """A link for each language, back to where the reader is; after a form, to the page of its address."""
    here = scope.get("path", "/")
    if scope.get("method") == "GET" and scope.get("query_string"):
        here += "?" + scope["query_string"].decode("latin-1")
    return [
        {
            "code": code,
            "name": NAMES[code],
            "href": f"/language/{code}?to={quote(here)}",
            "is_current": code == language,
        }
        for code in LANGUAGES
    ]


def local_path(text: str) -> str:
    """A path of ours to go back to: `/` in place of anything that could lead elsewhere."""
    is_ours = text.startswith("/") and not text.startswith("//")
    is_plain = text.isascii() and text.isprintable() and "\\" not in text
    return text if is_ours and is_plain else "/"


# ------------------------------------------------------------------ colours


def accent_address(color: str | None, secondary: str | None) -> str:
    """The style sheet of a program's colours, `#rrggbb`; None takes the house's."""
    name = (color or house()).removeprefix("#").lower()
    if secondary:
        name += "-" + secondary.removeprefix("#").lower()
    return f"{assets.PREFIX}/{assets.digest()}/accent/{name}.css"


def accent_content(name: str) -> str:
    """The sheet by its name as `accent_address` makes it: `rrggbb` or `rrggbb-rrggbb`."""
    color, _, secondary = name.partition("-")
    return accent_sheet(color, secondary or None)


# ------------------------------------------------------------------ templates


@cache
def environment() -> Environment:
    """One for the process: templates are compiled once."""
    made = Environment(
        loader=PackageLoader("api.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals["asset"] = assets.address
    made.globals["accent_address"] = accent_address
    return made
