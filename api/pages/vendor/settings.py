"""What a vendor may set about itself, and what the installation has set up around it."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from msgspec.structs import replace
from pydantic import Field, ValidationError
from starlette.responses import Response

from api.dependencies import Public
from api.languages import LANGUAGES
from api.pages.routing import PageRoute, read_form
from api.pages.vendor.desk import FINE, Desk, Form, TheDesk, Wrong, to
from api.pages.words import NAMES
from api.shapes import Body, Language, Name, TimeZone
from ledger.errors import Refused
from ledger.vendor import Profile

router = APIRouter(dependencies=[Public], route_class=PageRoute, include_in_schema=False)


class ShopChange(Body):
    name: Name
    timezone: TimeZone
    languages: list[Language] = Field(min_length=1, max_length=4)


@router.get("/app/settings")
async def show_settings(desk: TheDesk) -> Response:
    vendor = desk.vendor
    form = {"name": vendor["name"], "timezone": vendor["timezone"]}
    return _page(desk, form | {f"language-{code}": "yes" for code in vendor["languages"]})


def _page(desk: Desk, form: Form, wrong: Wrong = FINE) -> Response:
    return desk.page(
        "settings.html",
        wrong=wrong,
        form=form,
        languages=[(code, NAMES[code]) for code in LANGUAGES],
        wallets=_wallets(desk),
        public_url=desk.parts.settings.public_url,
        can_change="programs" in desk.caller.may,
    )


def _wallets(desk: Desk) -> list[Mapping[str, Any]]:
    """Whether cards can go into wallets. Why not is for whoever runs the service."""
    apple, google = desk.parts.apple, desk.parts.google
    days = apple.days_left() if apple is not None else None
    return [
        {"name": "Apple Wallet", "is_on": apple is not None, "works": days is not None, "days": days},
        {"name": "Google Wallet", "is_on": google is not None, "works": google is not None, "days": None},
    ]


@router.post("/app/settings")
async def change_settings(desk: TheDesk) -> Response:
    """Name, time zone and languages. Country and currency stay: what was counted was counted in them."""
    desk.needs("programs")
    form = await read_form(desk.request)
    languages = [code for code in LANGUAGES if form.get(f"language-{code}") == "yes"]
    try:
        asked = ShopChange.model_validate(
            {"name": form.get("name", ""), "timezone": form.get("timezone", ""), "languages": languages}
        )
        # The first language is the one its customers are spoken to in: it stays first.
        first = [code for code in desk.vendor["languages"] if code in asked.languages]
        spoken = tuple(dict.fromkeys([*first, *asked.languages]))

        def change(before: Profile) -> Profile:
            return replace(before, name=asked.name, timezone=asked.timezone, languages=spoken)

        await desk.parts.ledger.vendors.update(desk.caller.vendor_id, change, is_active=None, caller=desk.caller)
    except (ValidationError, Refused) as error:
        return _page(desk, form, desk.what_is_wrong(error))
    return to("/app/settings", done="saved")
