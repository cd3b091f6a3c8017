"""Signing in with a key or by a one-time link, signing out, and pairing a till."""

from collections.abc import Mapping

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from api import doors
from api.dependencies import Public, TheParts
from api.errors import Unauthenticated
from api.languages import translate
from api.limits import SignIns
from api.middleware import request_id_of
from api.pages.frame import language_of, local_path, page
from api.pages.routing import SIGN_IN, PageRoute, read_form
from api.sessions import PERSON, TILL, ended
from ledger.errors import CallerRevoked

router = APIRouter(dependencies=[Public], route_class=PageRoute, include_in_schema=False)

HOMES: Mapping[str, str] = {"admin": "/admin", "auditor": "/audit", "api_key": "/app"}
PLACES: Mapping[str, tuple[str, ...]] = {  # Where signing in may lead back to.
    "admin": ("/admin", "/audit"),
    "auditor": ("/audit", "/admin"),
    "api_key": ("/app", "/audit"),
}


@router.get(SIGN_IN)
async def show_sign_in(request: Request, to: str = "") -> Response:
    return page(request, "vendor/sign_in.html", to=to, error=None)


@router.post(SIGN_IN)
async def sign_in(request: Request, parts: TheParts, tries: SignIns) -> Response:
    await tries.count(request)
    form = await read_form(request)
    try:
        principal = await parts.authenticator.identify("Bearer " + form.get("key", "").strip())
    except Unauthenticated:
        error = translate(language_of(request.scope), "This key is not valid, or no longer.")
        return page(request, "vendor/sign_in.html", status=401, to=form.get("to", ""), error=error)
    home, to = HOMES[principal.kind], local_path(form.get("to", ""))
    is_theirs = any(to.partition("?")[0] == place or to.startswith(place + "/") for place in PLACES[principal.kind])
    return _to(to if is_theirs else home, parts.sessions.begun(principal))


@router.get(SIGN_IN + "/{_}")
async def show_link(request: Request) -> Response:
    """Programs that look at the links in a mail use nothing up: only the button does."""
    return page(request, "vendor/sign_in_link.html", is_refused=False)


@router.post(SIGN_IN + "/{token}")
async def sign_in_by_link(token: str, request: Request, parts: TheParts, tries: SignIns) -> Response:
    await tries.count(request)
    try:
        principal = await doors.use_link(parts, token, request_id_of(request.scope))
    except Unauthenticated:
        return page(request, "vendor/sign_in_link.html", status=401, is_refused=True)
    return _to(HOMES[principal.kind], parts.sessions.begun(principal))


@router.post("/sign-out")
async def sign_out(request: Request, parts: TheParts) -> Response:
    """The cookie goes, also where its session had ended before."""
    try:
        principal = await parts.sessions.identify(request, PERSON)
        await doors.end_session(parts, principal, request_id_of(request.scope))
    except (Unauthenticated, CallerRevoked):
        pass
    return _to(SIGN_IN, ended(PERSON))


@router.get("/till/pair")
async def show_pairing(request: Request, code: str = "") -> Response:
    return page(request, "till/pair.html", code=code[:20], error=None)


@router.post("/till/pair")
async def pair(request: Request, parts: TheParts, tries: SignIns) -> Response:
    await tries.count(request)
    code = (await read_form(request)).get("code", "")
    try:
        cookie = await doors.use_pairing_code(parts, code, request_id_of(request.scope))
    except (Unauthenticated, CallerRevoked):
        error = translate(language_of(request.scope), "This code is wrong, was used already, or is too old.")
        return page(request, "till/pair.html", status=401, code="", error=error)
    return _to("/till", cookie)


@router.post("/till/unpair")
async def unpair(request: Request, parts: TheParts) -> Response:
    try:
        principal = await parts.sessions.identify(request, TILL)
        await doors.unpair(parts, principal, request_id_of(request.scope))
    except (Unauthenticated, CallerRevoked):
        pass
    return _to("/till/pair", ended(TILL))


def _to(address: str, cookie: str) -> Response:
    return RedirectResponse(address, 303, {"Set-Cookie": cookie, "Cache-Control": "no-store"})
