"""Tills and keys: pairing a device at the counter, keys for systems, and taking any of them back."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any
from uuid import UUID

import segno
from fastapi import APIRouter
from markupsafe import Markup
from pydantic import ValidationError
from starlette.responses import Response

from api.admin.vendors import ApiKeyRequest
from api.dependencies import Public
from api.pages.routing import PageRoute, read_form
from api.pages.vendor.cards import programs_of
from api.pages.vendor.desk import FINE, Desk, Form, TheDesk, Wrong, filled, to
from api.vendor import api_keys
from ledger.errors import Refused
from ledger.vendor import LINK_PREFIX, SCOPES, TILL_PREFIX

router = APIRouter(dependencies=[Public], route_class=PageRoute, include_in_schema=False)

SCOPE_WORDS: Mapping[str, str] = {
    "cards": "Enrol and look up cards",
    "earn": "Give stamps and points",
    "redeem": "Redeem rewards",
    "reverse": "Undo entries",
    "adjust": "Change balances",
    "programs": "Change programs",
    "pins": "Manage staff, tills and keys",
    "read": "Read everything",
}


@router.get("/app/keys")
async def show_keys(desk: TheDesk) -> Response:
    return await _page(desk)


async def _page(desk: Desk, wrong: Wrong = FINE, form: Form | None = None, **told: Any) -> Response:
    desk.needs("read", "pins")
    keys = [_told(desk, key) for key in await desk.parts.ledger.vendors.keys(desk.caller.vendor_id)]
    kinds: dict[str, list[dict[str, Any]]] = {"till": [], "person": [], "system": []}
    for key in reversed(keys):
        kinds[key["kind"]].append(key)
    programs = await programs_of(desk) if desk.caller.may.intersection(("read", "programs")) else {}
    return desk.page(
        "keys.html",
        wrong=wrong,
        form=form or {},
        kinds=kinds,
        scopes=[(scope, desk.words.text(SCOPE_WORDS[scope])) for scope in SCOPES if scope in desk.caller.may],
        programs=list(programs.items()),
        can_change="pins" in desk.caller.may,
        **{"pairing": None, "secret": None, **told},
    )


def _told(desk: Desk, key: Mapping[str, Any]) -> dict[str, Any]:
    words, zone, prefix = desk.words, desk.vendor["timezone"], key["prefix"]
    kind = "till" if prefix.startswith(TILL_PREFIX) else "person" if prefix.startswith(LINK_PREFIX) else "system"
    return {
        "id": str(key["id"]),
        "kind": kind,
        "name": words.text("Signed in by a link") if kind == "person" else key["name"],
        "prefix": prefix,
        "scopes": ", ".join(words.text(SCOPE_WORDS[scope]) for scope in key["scopes"]),
        "since": words.day(key["issued_at"], zone),
        "until": words.moment(key["expires_at"], zone) if key["expires_at"] else None,
        "is_mine": key["id"] == desk.caller.api_key_id,
    }


@router.post("/app/keys/pair")
async def pair(desk: TheDesk) -> Response:
    """A code, shown once, and the same as a QR code."""
    desk.needs("pins")
    form = await read_form(desk.request)
    try:
        asked = api_keys.PairingRequest.model_validate(filled(form, "name", "program_id"))
        made = await api_keys.pair_till(asked, desk.caller, desk.parts)
    except (ValidationError, Refused) as error:
        return await _page(desk, desk.what_is_wrong(error), {**form, "about": "till"})
    until = desk.words.clock(made["expires_at"], desk.vendor["timezone"])
    return await _page(desk, pairing={**made, "until": until, "qr": qr(made["url"]), "name": asked.name})


@router.post("/app/keys")
async def issue(desk: TheDesk) -> Response:
    """A key for a system. It stands on the answer to this form and nowhere else."""
    desk.needs("pins")
    form = await read_form(desk.request)
    scopes = [scope for scope in SCOPES if form.get(f"scope-{scope}") == "yes"]
    try:
        asked = ApiKeyRequest.model_validate({**filled(form, "name"), "scopes": scopes})
        made = await api_keys.issue_my_api_key(asked, desk.caller, desk.parts.ledger)
    except (ValidationError, Refused) as error:
        return await _page(desk, desk.what_is_wrong(error), {**form, "about": "key"})
    return await _page(desk, secret={"key": made["key"], "name": asked.name})


@router.post("/app/keys/{key_id}/revoke")
async def revoke(key_id: UUID, desk: TheDesk) -> Response:
    desk.needs("pins")
    await api_keys.revoke_my_api_key(key_id, desk.caller, desk.parts)
    return to("/app/keys", done="revoked")


def qr(text: str) -> Markup:
    """A QR code as a drawing."""
    written = BytesIO()
    segno.make_qr(text, error="m").save(written, kind="svg", border=2, xmldecl=False, svgns=True, omitsize=True)
    return Markup(written.getvalue().decode())
