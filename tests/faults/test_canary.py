"""Somebody whose name, email and phone went through every route and page, and was forgotten: nothing says it any more.

Looked for in a dump of the whole database, in the files of the server with its log and its write-ahead log, in what the
service logged, and in everything it still answers.
"""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from fastapi.routing import iter_route_contexts

from api.key_files import Keys
from api.main import create_app
from api.pages.routing import PageRoute
from api.settings import Settings
from migrations.local_postgres import LocalPostgres
from migrations.postgres_programs import _find
from tests.api.test_passes import settings_for
from tests.browser import Browser
from tests.callers import ADMIN, ADMIN_KEY, AUDITOR_KEY, VENDOR, Client, ok, problem
from tests.clock import eventually
from tests.databases import BIN_DIR, directory_for_servers
from tests.journeys.people import EMAIL, NAME, PHONE, Person, somebody, traces
from tests.journeys.test_authorisation import OPERATIONS, Operation, ask
from tests.service import MASTER_KEY, REAL, Served, ServiceProcess, sealing, service_process
from wallet_sync.dev_certificates import make_dev_certificates

PERSONAL = [NAME, EMAIL, PHONE]
CUSTOMER = {"name": NAME, "email": EMAIL, "phone": PHONE}
pytestmark = pytest.mark.faults

# What ends something the other routes need; asked after them, the erasure last.
LAST = ("/close", "/replace", "/deactivate", "/erasure", "/revoke", "/delete", "/sign-out")
ENDLESS = "/c/{token}/changes"
# The forms in which somebody may be named, or may name themselves by mistake, and by which fields.
NAMING = {
    "/j/{name}": ("name", "email", "phone"),
    "/c/{token}/delete": ("known",),
    "/app/cards": ("q",),
    "/app/cards/{card_id}/customer": ("name", "email", "phone"),
    "/sign-in": ("key", "to"),
    "/till/pair": ("code",),
    "/audit": ("card",),
}


# ------------------------------------------------------------------ everywhere


@contextmanager
def service_that_tells_everything(folder: Path) -> Iterator[tuple[ServiceProcess, Path]]:
    """On a server of its own, with every line of the log. Beside it: where that server keeps its files."""
    made = make_dev_certificates(folder / "certificates", now=datetime.now(UTC))
    wallet = {f"LOYALTY_{name.upper()}": str(value) for name, value in settings_for(made).items()}
    with directory_for_servers() as directory:
        server = LocalPostgres(directory / "server", bin_dir=BIN_DIR)
        try:
            url = server.start()
            with service_process(
                folder / "log",
                url,
                command=(REAL, "run"),
                LOYALTY_LOG_LEVEL="debug",
                LOYALTY_PUBLIC_URL="https://cards.example",
                LOYALTY_APPLE_PUSH_URL="https://127.0.0.1:9",
                **wallet,
                **sealing(url, folder),
            ) as service:
                yield service, directory / "server"
        finally:
            server.stop()


def objects_of(service: Served, person: Person) -> dict[str, str]:
    till = person.till
    pin = till.pin()
    entry = ok(till.stamp(person.card["id"]))
    return {
        "vendor_id": till.vendor_id,
        "program_id": person.program_id,
        "card_id": person.card["id"],
        "customer_id": person.customer_id,
        "pin_id": pin["id"],
        "entry_id": entry["entry_id"],
        "key_id": service.admin.api_key(till.vendor_id, "read")["id"],
        "qr_code_data": person.card["qr_code_data"],
        "card_number": person.card["card_number"],
        "code": ok(service.admin.get(f"/vendors/{till.vendor_id}"))["code"],
    }


def every_route(service: Served, person: Person) -> None:
    """Asked about the person by whoever may, and with what names them wherever a text may stand."""
    objects = objects_of(service, person)
    callers: dict[str, Client] = {"admin": service.admin, "vendor": person.till, "public": Client(service.http, "")}
    for operation in sorted(OPERATIONS, key=lambda operation: operation.path.endswith(LAST)):
        if operation.path.endswith("/erasure") or operation.method == "delete":
            continue
        answer = ask(callers[operation.audience], operation, objects)
        assert answer.status_code < 500, f"{operation}: {answer.text}"
    till, program = person.till, person.program_id
    for text in PERSONAL:
        till.get("/cards", q=text)
        till.post("/cards/lookup", {"card": text})
        till.post(f"/programs/{program}/cards", {"customer": {"name": text, "mail": text}})
        till.post(f"/programs/{program}/cards", {"customer": CUSTOMER | {"email": text * 40}})
        till.send("POST", f"/cards/{text}/close", {"reason": 1})
        service.public.get(f"/cards/{text}")
        service.admin.get(f"/vendors/{text}")
    till.post(f"/programs/{program}/cards", {"customer": CUSTOMER}, key=EMAIL)
    ok(till.post(f"/programs/{program}/activate"))
    home = {"name": NAME, "email": EMAIL, "phone": PHONE, "consent": True}
    ok(service.public.post(f"/programs/{program}/enrolments", home, key="at-home"))
    service.http.post(
        f"{VENDOR}/programs/{program}/cards",
        content=f'{{"customer": {EMAIL}',
        headers={"Content-Type": "application/json"},
    )


def pages(method: str) -> list[str]:
    """The paths of all pages that are asked by this method."""
    keys = Keys("", None, MASTER_KEY, None)
    contexts = iter_route_contexts(create_app(Settings(), keys, "").routes)
    found = [
        str(context.path)
        for context in contexts
        if isinstance(route := context.original_route, PageRoute) and method in route.methods
    ]
    return sorted(found, key=lambda path: path.endswith(LAST))


def signed_in(service: Served, person: Person) -> Callable[[str], Browser]:
    """Whoever may see a page, in a browser."""
    browsers = {"/admin": ADMIN_KEY, "/audit": AUDITOR_KEY, "/app": person.till.key, "": None}
    there = {place: Browser(service.http) for place in browsers}
    for place, key in browsers.items():
        assert key is None or there[place].submit("/sign-in", key=key).status_code == 303
    return lambda path: there[next(place for place in browsers if path.startswith(place))]


def address(path: str, objects: dict[str, str]) -> str:
    for name, value in objects.items():
        path = path.replace(f"{{{name}}}", value)
    return path


def every_page(service: Served, person: Person) -> None:
    """Looked at with what names them in the address, and its form sent with it, by whoever may."""
    objects = objects_of(service, person)
    objects |= {"token": person.card["qr_code_data"], "name": person.program_id, "action": "reinstate"}
    browser = signed_in(service, person)
    for path in pages("GET"):
        for text in PERSONAL if path != ENDLESS else []:
            answer = browser(path).get(address(path, objects) + "?" + urlencode({"q": text, "email": text, "to": text}))
            assert answer.status_code < 500, f"{path}: {answer.text}"
    for path in pages("POST"):
        for text in PERSONAL if path in NAMING else [""]:
            answer = browser(path).submit(address(path, objects), **dict.fromkeys(NAMING.get(path, ()), text))
            assert answer.status_code < 500, f"{path}: {answer.text}"
    ok(person.till.post(f"/programs/{person.program_id}/activate"))


def joined_by_a_page(service: Served, person: Person) -> str:
    """The card page's path of somebody of the same name, whom the shop then found and put right."""
    ok(person.till.patch(f"/programs/{person.program_id}", {"enrolment_fields": ["name", "email"]}))
    at_home = Browser(service.http)
    form = {"form": str(uuid4()), "name": "Lea Canary-Weber", "email": EMAIL, "consent": "yes"}
    page: str = at_home.submit(f"/j/{person.program_id}", **form).headers["location"].partition("#")[0]
    service.catch_up()
    card = ok(person.till.post("/cards/lookup", {"card": page.removeprefix("/c/")}))
    person.secrets += ["Lea Canary-Weber", page.removeprefix("/c/")]
    at_the_desk = Browser(service.http)
    at_the_desk.submit("/sign-in", key=person.till.key)
    assert card["card_number"][-4:] in at_the_desk.submit("/app/cards", q=EMAIL).text
    right = {"name": NAME, "phone": PHONE, "was-name": "Lea Canary-Weber", "was-phone": "", "once": "right"}
    assert at_the_desk.submit(f"/app/cards/{card['id']}/customer", **right).status_code == 303
    assert NAME in at_the_desk.get(f"/app/cards/{card['id']}").text
    return page


def everybody(service: Served, person: Person) -> list[str]:
    """The customers behind all cards of the shop: at home they are somebody else each time."""
    service.catch_up()
    cards = ok(person.till.get("/cards", limit=200))["items"]
    return sorted({card["customer_id"] for card in cards})


def answers(service: Served, person: Person) -> str:
    """What every route and page that only reads still says, and the whole stream."""
    objects = {
        "vendor_id": person.till.vendor_id,
        "program_id": person.program_id,
        "card_id": person.card["id"],
        "customer_id": person.customer_id,
        "qr_code_data": "A" * 32,  # A problem document repeats the path that was asked.
    }
    callers: dict[str, Client] = {"admin": service.admin, "vendor": person.till, "public": Client(service.http, "")}
    reads: list[Operation] = [operation for operation in OPERATIONS if operation.method == "get"]
    told = [ask(callers[operation.audience], operation, objects).text for operation in reads]
    browser, names = signed_in(service, person), objects | {"token": "A" * 32, "name": person.program_id}
    told += [browser(path).get(address(path, names)).text for path in pages("GET") if path != ENDLESS]
    after: Any = 0
    while after is not None:
        page = service.http.get(f"{ADMIN}/events", params={"after": after, "limit": 200}, headers=service.admin.headers)
        told.append(page.text)
        after = page.json()["next_after"]
    return "\n".join(told)


def dump(url: str) -> str:
    program = _find(BIN_DIR) / "pg_dump"
    done = subprocess.run([program, url], capture_output=True, timeout=60, check=True)
    return done.stdout.decode(errors="replace")


def balances(service: Served) -> list[dict[str, Any]]:
    return service.rows("SELECT id, stamp_count, points_balance, total_stamps_earned FROM loyalty_cards ORDER BY id")


def test_nothing_says_that_they_were_ever_here(tmp_path: Path) -> None:
    with service_that_tells_everything(tmp_path) as (service, server):
        person = somebody(service)
        every_page(service, person)
        page = joined_by_a_page(service, person)
        every_route(service, person)
        whoever, before = everybody(service, person), balances(service)
        assert len(whoever) >= 3
        themselves = Browser(service.http).submit(f"{page}/delete", sure="yes", known=EMAIL)
        assert themselves.status_code == 200, themselves.text
        for customer_id in whoever:
            if ok(person.till.get(f"/customers/{customer_id}"))["is_erased"]:
                continue
            ok(person.till.post(f"/customers/{customer_id}/erasure", {"reason": "asked"}))
            problem(person.till.post(f"/customers/{customer_id}/export"), 410, "customer_erased")
        eventually(lambda: {row["status"] for row in service.rows("SELECT status FROM loyalty_cards")} == {"erased"})
        eventually(lambda: service.rows("SELECT * FROM apple_device_registrations") == [])

        assert balances(service) == before
        assert service.differences() == []
        dumped = dump(service.database_url)
        assert len(dumped) > 50_000 and str(person.customer_id) in dumped
        assert traces(person.secrets, dumped) == []
        assert traces(person.secrets, answers(service, person)) == []
        log = service.log.read_text(errors="replace")
        assert log.count("\n") > 50 and traces(person.secrets, log) == []
        for file in sorted(path for path in server.rglob("*") if path.is_file() and path.stat().st_size):
            assert traces(PERSONAL, file.read_bytes().decode("latin-1")) == [], file
