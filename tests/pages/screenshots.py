"""`make screenshots`: every page in docs/pictures, on a phone and on a desk, in light and in dark.

A line of SHOTS for each page and state. The data are those of the demo, and what a shot prepares for itself.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import psycopg
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page
from rich.progress import track

from api import demo, demo_shop
from api.demo_visits import TERMINALS
from api.pages.frame import LANGUAGE_COOKIE
from projections.proofs.monitor import NAME, Monitor
from projections.proofs.verify_statement import VerifierKey
from tests.callers import ADMIN_KEY, AUDITOR_KEY, Till
from tests.databases import database, shared_server
from tests.pages import counter
from tests.pages.browser import DESKTOP, PHONE, chromium
from tests.service import MASTER_KEY, Service

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
COLOURS_MAX = 64
WINDOWS: tuple[tuple[str, dict[str, int], float], ...] = (("phone", PHONE, 1.5), ("desktop", DESKTOP, 1))
SCHEMES = ("light", "dark")


@dataclass(frozen=True)
class Scene:
    """The demo's café, served."""

    service: Service
    till: Till
    programs: dict[str, dict[str, Any]]  # By name.


@dataclass(frozen=True)
class Shot:
    """A page to be shown.

    Args:
        name: What its files are called.
        address: Of the page; a function where the scene must be prepared for it.
        signs_in: Whoever must be signed in gets their cookies here, before the page is opened.
        before: What happens on the page before the picture is taken.
    """

    name: str
    address: str | Callable[[Scene], str]
    language: str = "en"
    signs_in: Callable[[BrowserContext, Scene], None] | None = None
    before: Callable[[Page, Scene], object] | None = None


def card_with(scheme: str, at_least: int, status: str = "active") -> Callable[[Scene], str]:
    """The page of a card of the demo that holds about so much."""

    def address(scene: Scene) -> str:
        column = "stamp_count" if scheme == "Kaffiskaart" else "points_balance"
        (row,) = scene.service.rows(
            f"SELECT qr_code_data FROM loyalty_cards WHERE program_id = %s AND {column} >= %s AND status = %s"
            f" ORDER BY {column}, id LIMIT 1",
            scene.programs[scheme]["id"],
            at_least,
            status,
        )
        return f"/c/{row['qr_code_data']}"

    return address


def suspended(scene: Scene) -> str:
    address = card_with("Kaffiskaart", 5)(scene)
    card = scene.till.post("/cards/lookup", {"card": address.removeprefix("/c/")}, key=None).json()
    if card["status"] == "active":
        scene.till.post(f"/cards/{card['id']}/suspend", {"reason": "Found on the street"}, key=None)
    return address


def joining(scheme: str) -> Callable[[Scene], str]:
    return lambda scene: f"/j/{scene.programs[scheme]['id']}"


def then(address: Callable[[Scene], str], more: str) -> Callable[[Scene], str]:
    return lambda scene: address(scene) + more


def send_empty(page: Page, _: Scene) -> None:
    page.locator("form button").click()
    page.locator(".error").first.wait_for()


def signed_in(key: Callable[[Scene], str]) -> Callable[[BrowserContext, Scene], None]:
    """Somebody who brought this key."""

    def sign_in(context: BrowserContext, scene: Scene) -> None:
        page = context.new_page()
        page.goto("/sign-in")
        page.locator("#key").fill(key(scene))
        page.locator("main button").click()
        page.wait_for_url(lambda url: "sign-in" not in url)
        page.close()

    return sign_in


def audited(what: str = "", *, changed_version: int | None = None) -> Callable[[Scene], str]:
    """The auditor's page of a card with a long history, sealed; and perhaps changed by somebody since."""

    def address(scene: Scene) -> str:
        scene.service.seal()
        kind = "ASC" if changed_version is None else "DESC"
        card_id = scene.service.rows(f"SELECT id FROM loyalty_cards WHERE version > 18 ORDER BY id {kind} LIMIT 1")[0][
            "id"
        ]
        if changed_version is not None:
            scene.service.rows("ALTER TABLE stored_events DISABLE TRIGGER USER")
            scene.service.rows(CHANGE, card_id, changed_version)
        return f"/audit/cards/{card_id}{what}"

    return address


def busy_till(scene: Scene) -> str:
    """What was refused at one of the tills."""
    return f"/audit/events?kind=refused&vendor_id={scene.till.vendor_id}&terminal_id={TERMINALS[0]}&limit=6"


def verified_here(page: Page, _: Scene) -> None:
    page.locator("#verify-here").click()
    page.locator("#browser-verdict .alert").wait_for()


def sealed_and_checked(scene: Scene) -> str:
    """The health of a service whose sealer ran."""
    scene.service.seal()
    key = VerifierKey.parse(scene.service.rows("SELECT verifier_key FROM sealing_keys")[0]["verifier_key"])
    monitor = Monitor()
    with psycopg.connect(scene.service.database_url, autocommit=True) as connection:
        while not scene.service.rows("SELECT name FROM projections WHERE name = %s AND position > 0", NAME):
            monitor.step(connection, key)
    return "/admin/health"


def of_the_shop(scene: Scene) -> str:
    return f"/admin/vendors/{scene.till.vendor_id}"


ADMINISTRATOR, AUDITOR = signed_in(lambda _: ADMIN_KEY), signed_in(lambda _: AUDITOR_KEY)
OWNER = signed_in(lambda scene: scene.till.key)
CHANGE = """
UPDATE stored_events SET state = replace(convert_from(state, 'UTF8'), '"channel":"', '"channel": "')::bytea
WHERE originator_id = %s AND originator_version = %s
"""


def card_page(scene: Scene) -> str:
    """A card on which much happened."""
    rows = scene.service.rows("SELECT id FROM loyalty_cards WHERE status = 'active' ORDER BY version DESC LIMIT 1")
    return f"/app/cards/{rows[0]['id']}"


def program_page(scene: Scene, then: str = "") -> str:
    program = next(one for one in scene.programs.values() if one["loyalty_type"] == "stamps")
    return f"/app/programs/{program['id']}{then}"


def pairs(page: Page, _: Scene) -> None:
    page.locator("#till-name").fill("Counter")
    page.locator("form[action='/app/keys/pair'] button").click()
    page.locator(".code-big").wait_for()


def takes_back(page: Page, _: Scene) -> None:
    page.locator(".take-back summary").first.click()
    page.locator(".take-back[open] input[name=reason]").fill("Stamped twice")


SHOTS: tuple[Shot, ...] = (
    Shot("start", "/"),
    Shot("nothing-here", "/nothing-here"),
    Shot("join", joining("Kaffiskaart"), language="lb"),
    Shot("join-points", joining("Rousepunkten"), language="fr"),
    Shot("join-error", joining("Kaffiskaart"), language="de", before=send_empty),
    Shot("card", card_with("Kaffiskaart", 6), language="en"),
    Shot("card-new", then(card_with("Kaffiskaart", 0), "#new"), language="de"),
    Shot("card-ready", card_with("Kaffiskaart", 10), language="fr"),
    Shot("card-points", card_with("Rousepunkten", 60), language="lb"),
    Shot("card-delete", then(card_with("Kaffiskaart", 6), "/delete"), language="de"),
    Shot("card-suspended", suspended, language="de"),
    Shot("admin", "/admin?days=90", signs_in=ADMINISTRATOR),
    Shot("admin-vendors", "/admin/vendors", language="fr", signs_in=ADMINISTRATOR),
    Shot("admin-vendor", of_the_shop, signs_in=ADMINISTRATOR),
    Shot("admin-programs", "/admin/programs", language="de", signs_in=ADMINISTRATOR),
    Shot("admin-health", sealed_and_checked, signs_in=ADMINISTRATOR),
    Shot("audit-card", audited("?version=17&verify=true"), signs_in=AUDITOR, before=verified_here),
    Shot("audit", "/audit", signs_in=AUDITOR),
    Shot("audit-events", "/audit/events?limit=8", signs_in=AUDITOR),
    Shot("audit-events-filters", busy_till, language="de", signs_in=AUDITOR),
    Shot("audit-changed", audited("?verify=true", changed_version=5), signs_in=AUDITOR, before=verified_here),
    Shot("sign-in", "/sign-in"),
    Shot("sign-in-link", "/sign-in/a-link"),
    Shot("till-pair", "/till/pair"),
    Shot("vendor-home", "/app", signs_in=OWNER),
    Shot("vendor-cards", "/app/cards", signs_in=OWNER),
    Shot("vendor-card", card_page, signs_in=OWNER),
    Shot("vendor-take-back", card_page, signs_in=OWNER, before=takes_back),
    Shot("vendor-entries", "/app/transactions", signs_in=OWNER),
    Shot("vendor-programs", "/app/programs", signs_in=OWNER),
    Shot("vendor-designer", program_page, signs_in=OWNER),
    Shot("vendor-new-program", "/app/programs/new", signs_in=OWNER, language="de"),
    Shot("vendor-poster", lambda scene: program_page(scene, "/poster"), signs_in=OWNER),
    Shot("vendor-staff", "/app/staff", signs_in=OWNER),
    Shot("vendor-keys", "/app/keys", signs_in=OWNER, before=pairs),
    Shot("vendor-settings", "/app/settings", signs_in=OWNER),
    Shot("till-staff", "/till", signs_in=counter.is_paired, before=counter.chooses),
    Shot("till-pin", "/till", signs_in=counter.is_paired, before=counter.types_the_pin),
    Shot("till-scan", "/till", signs_in=counter.is_paired, before=counter.waits_for_a_card),
    Shot("till-card", "/till", signs_in=counter.is_paired, before=counter.shows_a_card),
    Shot("till-amount", "/till", language="fr", signs_in=counter.is_paired, before=counter.asks_for_the_amount),
    Shot("till-done", "/till", language="lb", signs_in=counter.is_paired, before=counter.stamps_it),
    Shot("till-wait", "/till", language="de", signs_in=counter.is_paired, before=counter.stamps_it_again),
    Shot("till-refused", "/till", signs_in=counter.is_paired, before=counter.scans_something_else),
    Shot("till-left", "/till", language="de", signs_in=counter.is_paired, before=counter.finds_what_somebody_left),
    Shot("till-waiting", "/till", signs_in=counter.is_paired, before=counter.has_no_connection),
)


@contextmanager
def scene() -> Iterator[Scene]:
    with ExitStack() as resources:
        server = resources.enter_context(shared_server())
        url = resources.enter_context(database(server, upgraded=True))
        demo.seed(url, MASTER_KEY, lambda *_: None)
        service = resources.enter_context(Service(url, sign_ins_per_hour=10_000))
        vendor = next(v for v in service.admin.get("/vendors").json()["items"] if v["code"] == demo_shop.CODE)
        till = service.till(service.admin.api_key(vendor["id"])["key"], vendor["id"])
        programs = {program["name"]: program for program in till.get("/programs").json()["items"]}
        yield Scene(service, till, programs)


def take(browser: Browser, shot: Shot, scene: Scene) -> None:
    """Four pictures of a page, in as few colours as do."""
    address = shot.address if isinstance(shot.address, str) else shot.address(scene)
    base_url = str(scene.service.http.base_url)
    for window, size, scale in WINDOWS:
        context = browser.new_context(
            base_url=base_url,
            locale=shot.language,
            viewport=size,  # type: ignore[arg-type]
            device_scale_factor=scale,
            reduced_motion="reduce",
        )
        context.add_cookies([{"name": LANGUAGE_COOKIE, "value": shot.language, "url": base_url}])
        if shot.signs_in is not None:
            shot.signs_in(context, scene)
        page = context.new_page()
        page.goto(address)
        if shot.before is not None:
            shot.before(page, scene)
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            picture = Image.open(BytesIO(page.screenshot(full_page=True))).convert("RGB")
            picture.quantize(COLOURS_MAX, dither=Image.Dither.NONE).save(
                FOLDER / f"{shot.name}-{window}-{scheme}.png", optimize=True
            )
        context.close()


def main(*names: str) -> None:
    """All pages, or those whose name begins with one of these."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = [shot for shot in SHOTS if not names or shot.name.startswith(names)]
    with scene() as made, chromium() as browser:
        for shot in track(wanted, "Pages"):
            take(browser, shot, made)


if __name__ == "__main__":
    main(*sys.argv[1:])
