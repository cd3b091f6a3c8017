"""Routes of pages: what another site's page sends is refused, forms are read, and the way to static files.

A browser sends our cookies along with a form that another site wrote. It also says where the form came from: in
Sec-Fetch-Site, and older ones in Origin. Who says neither is no browser.
"""

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from fastapi import APIRouter, Path
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api.dependencies import Public, TheParts, parts_of
from api.errors import CrossSiteForm, MalformedRequest, NotFoundHere, Unauthenticated
from api.languages import known
from api.pages import assets
from api.pages.frame import LANGUAGE_COOKIE, LANGUAGE_SECONDS, accent_content, local_path

SAFE = ("GET", "HEAD", "OPTIONS")
FIELDS_MAX = 100
SIGN_IN = "/sign-in"
BY_HTMX = "hx-request"


class PageRoute(APIRoute):
    """A route of a page: `APIRouter(route_class=PageRoute, include_in_schema=False)`.

    Whoever is not signed in, where that is needed, is led to signing in and back.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def ours_alone(request: Request) -> Response:
            if request.method not in SAFE and not is_ours(request.headers, parts_of(request).settings.public_url):
                raise CrossSiteForm
            try:
                return await handle(request)
            except Unauthenticated:
                return _to_sign_in(request)

        return ours_alone


def _to_sign_in(request: Request) -> Response:
    """To signing in, and back. A script that asked for a part of a page is told to leave the page as a whole.

    Source: htmx 4, request headers HX-Request and HX-Current-URL, response header HX-Redirect.
    """
    address = f"{SIGN_IN}?to={quote(_page_before(request))}"
    if BY_HTMX in request.headers:
        return Response(status_code=204, headers={"HX-Redirect": address, "Cache-Control": "no-store"})
    return RedirectResponse(address, 303, {"Cache-Control": "no-store"})


def _page_before(request: Request) -> str:
    """The page somebody was on or asked for; for a form the one it stands on, which has no answer to a GET."""
    address = str(request.url)
    if request.method not in SAFE or BY_HTMX in request.headers:
        address = request.headers.get("hx-current-url") or request.headers.get("referer", "")
    try:
        parts = urlsplit(address)
    except ValueError:
        return "/"
    return local_path(parts.path + (f"?{parts.query}" if parts.query else ""))


def is_ours(headers: Headers, public_url: str) -> bool:
    """Whether a request that changes something was sent by a page of ours, or by no browser at all."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site in ("same-origin", "none")
    return origin is None or urlsplit(origin).netloc in (headers.get("host"), urlsplit(public_url).netloc)


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form as the browser sent them, by name; of equal names the last.

    Raises: MalformedRequest for anything but the usual encoding of forms.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind != "application/x-www-form-urlencoded":
            raise ValueError(kind)
        sent = (await request.body()).decode("ascii")
        return dict(
            parse_qsl(sent, keep_blank_values=True, encoding="utf-8", errors="strict", max_num_fields=FIELDS_MAX)
        )
    except ValueError:
        raise MalformedRequest(what="body", why="it is not a form") from None


router = APIRouter(dependencies=[Public], route_class=PageRoute, include_in_schema=False)


@router.get(assets.PREFIX + "/{_}/accent/{name}.css")
async def read_accent(name: str = Path(pattern=r"^[0-9a-f]{6}(-[0-9a-f]{6})?$")) -> Response:
    """A program's colours."""
    return Response(accent_content(name), media_type="text/css", headers={"Cache-Control": assets.FOREVER})


@router.get(assets.PREFIX + "/{digest}/{path:path}")
async def read_asset(request: Request, digest: str, path: str) -> Response:
    """A script, a style sheet or a picture. Under an older release's address stands the newest, and is not kept."""
    asset = assets.all_assets().get(path)
    if asset is None:
        raise NotFoundHere
    is_current = digest == assets.digest()
    headers = {"Cache-Control": assets.FOREVER if is_current else "no-cache", "Vary": "Accept-Encoding"}
    if asset.is_zipped and "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(asset.sent, media_type=asset.media_type, headers=headers)
    return Response(asset.content, media_type=asset.media_type, headers=headers)


@router.get("/language/{code}")
async def choose_language(code: str, parts: TheParts, to: str = "/") -> Response:
    """Remember the language that was chosen, and go back."""
    language = known(code)
    if language is None:
        raise NotFoundHere
    answer = RedirectResponse(local_path(to), 303, {"Cache-Control": "no-store"})
    answer.set_cookie(
        LANGUAGE_COOKIE,
        language,
        max_age=LANGUAGE_SECONDS,
        httponly=True,
        samesite="lax",
        secure=parts.settings.public_url.startswith("https://"),
    )
    return answer
