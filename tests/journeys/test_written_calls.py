"""The commands of the README and the guides, run as they are printed.

The blocks are taken out of the pages, so what is printed there works or a test fails. Only the address is another one,
because a test takes a free port, and what the page itself leaves open (`…`).
"""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx2
import psycopg
import pytest

from migrations.upgrade import current, head
from tests.callers import AUDITOR_KEY, VENDOR, Till, moment, ok, problem
from tests.clock import eventually
from tests.databases import BIN_DIR, directory_for_servers, durable_server
from tests.docs_reference import ROOT
from tests.service import Service, free_port

README = (ROOT / "README.md").read_text(encoding="utf-8")
TILL = (ROOT / "docs/guides/till.md").read_text(encoding="utf-8")
MOVING = (ROOT / "docs/guides/moving.md").read_text(encoding="utf-8")
RUNNING = (ROOT / "docs/guides/running.md").read_text(encoding="utf-8")
AUDITING = (ROOT / "docs/guides/auditing.md").read_text(encoding="utf-8")
PRINTED_ADDRESS = "http://127.0.0.1:8000"
PRINTED_DATABASE = "postgresql://loyalty:…@host/loyalty"
HERE = Path(sys.executable).parent

# Around every curl of a page: its answer stays what is printed, status and headers are told beside it.
TELLING_CURL = 'curl() { command curl --dump-header /dev/stderr "$@"; }\n'


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed")


def section(page: str, heading: str) -> str:
    """A page's text below a heading of the second rank."""
    found = re.search(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    assert found is not None, f"no section {heading!r}"
    return found[1]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def environment(**settings: str) -> dict[str, str]:
    """As somebody has it who has set nothing, with the installed command within reach."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LOYALTY_")}
    bin_dir = {"LOYALTY_PG_BIN": str(BIN_DIR)} if BIN_DIR else {}
    return inherited | {"PATH": f"{HERE}{os.pathsep}{os.environ['PATH']}"} | bin_dir | settings


def typed(script: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A script as one would type it, but stopped by the first command that fails."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@contextmanager
def started(line: str, folder: Path, environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command that runs until it is stopped; it has to end in order."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {line}"], cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield process
        process.terminate()
        assert process.wait(60) == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def wait_until_ready(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    def is_ready() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return httpx2.get(f"{address}/health/ready", timeout=2).status_code == 200
        except httpx2.TransportError:
            return False

    eventually(is_ready, explain=log.read_text)


def shape(value: Any, name: str = "") -> Any:
    """A value without what is another one each time: ids, times, digests and positions."""
    if isinstance(value, dict):
        return {key: shape(part, key) for key, part in value.items()}
    if name == "position" and isinstance(value, int):
        return "position"
    if isinstance(value, str):
        if re.fullmatch(r"[0-9a-f]{64}", value):
            return "digest"
        for kind in (UUID, moment):
            try:
                kind(value)
            except (ValueError, AssertionError):
                continue
            return kind.__name__
    return value


def shown_of(answer: dict[str, Any], printed: dict[str, Any]) -> dict[str, Any]:
    """Those fields of an answer that a page prints."""
    return {name: answer[name] for name in printed}


# ------------------------------------------------------------------ README


@dataclass(frozen=True)
class Answered:
    status: int
    headers: dict[str, str]


@dataclass(frozen=True)
class FirstMinutes:
    """The README's block typed in, then its fifth call once more, then under a new key."""

    service_said: str
    admin_key: str
    answered: list[Answered]
    printed: list[str]


@pytest.fixture(scope="module")
def first_minutes() -> Iterator[FirstMinutes]:
    with directory_for_servers() as folder:
        log, port = folder / "log", free_port()
        address = f"http://127.0.0.1:{port}"
        with started("loyalty-ledger run", folder, environment(LOYALTY_PORT=str(port)), log) as process:
            wait_until_ready(address, process, log)
            (calls,) = blocks(section(README, "Five calls"), "bash")
            assert calls.count(PRINTED_ADDRESS) == 1 and calls.count("curl ") == 5
            fifth = calls[calls.index("# 5.") :]
            assert "'Idempotency-Key: visit-1'" in fifth
            typed_in = [calls, fifth, fifth.replace("visit-1", "visit-2")]
            script = TELLING_CURL + "\nprintf '\\n'\n".join(typed_in)
            done = typed(script.replace(PRINTED_ADDRESS, address), folder, environment())
            admin_key = (folder / ".data/keys/admin_key").read_text().strip()
        yield FirstMinutes(log.read_text(), admin_key, list(_answered(done.stderr)), done.stdout.splitlines())


def _answered(told: str) -> Iterator[Answered]:
    for head_ in told.replace("\r", "").split("HTTP/1.1 ")[1:]:
        status, *lines = head_.strip().split("\n")
        fields = (line.partition(": ") for line in lines if line)
        yield Answered(int(status.split()[0]), {name.lower(): value for name, _, value in fields})


@needs("bash", "curl", "python3")
def test_the_five_calls_of_the_readme_succeed_as_printed(first_minutes: FirstMinutes) -> None:
    assert [answer.status for answer in first_minutes.answered[:5]] == [201] * 5


@needs("bash", "curl", "python3")
def test_the_service_prints_the_key_it_keeps(first_minutes: FirstMinutes) -> None:
    assert "`.data/keys/admin_key`" in section(README, "Run it")
    assert f"Admin key: {first_minutes.admin_key}" in first_minutes.service_said


@needs("bash", "curl", "python3")
def test_the_stamp_is_answered_as_the_readme_shows(first_minutes: FirstMinutes) -> None:
    printed = json.loads(blocks(section(README, "Five calls"), "json")[0])
    answer = json.loads(first_minutes.printed[0])
    assert shape(shown_of(answer, printed)) == shape(printed)


@needs("bash", "curl", "python3")
def test_sent_twice_the_second_answer_is_the_first_one(first_minutes: FirstMinutes) -> None:
    first, second = first_minutes.answered[4:6]
    assert first_minutes.printed[1] == first_minutes.printed[0]
    assert (second.status, second.headers["idempotent-replayed"]) == (201, "true")
    assert "idempotent-replayed" not in first.headers


@needs("bash", "curl", "python3")
def test_with_a_new_key_it_is_refused_as_the_readme_shows(first_minutes: FirstMinutes) -> None:
    printed = json.loads(blocks(section(README, "Five calls"), "json")[1])
    refusal = json.loads(first_minutes.printed[2])
    assert shape(shown_of(refusal, printed)) == shape(printed)
    assert first_minutes.answered[6].status == printed["status"]
    assert first_minutes.answered[6].headers["content-type"] == "application/problem+json"


# ------------------------------------------------------------------ a till's integration

CALL = re.compile(r"(GET|POST|PATCH|DELETE) (/[^\s`?]*)\s*(\{.*\})?")


def test_the_tills_session_is_opened_as_the_guide_shows(service: Service) -> None:
    till, pin = service.shop(), "4071"
    pin_id = till.pin(pin)["id"]
    (block,) = blocks(section(TILL, "Who acts: PINs and sessions"), "")
    call = CALL.fullmatch(block.strip())
    assert call is not None and f"Base path: `{VENDOR}`" in TILL
    method, path, body = call[1], call[2].format(pin_id=pin_id), json.loads(call[3].replace("…", pin))
    token = ok(till.send(method, path, body))["token"]

    card = till.card(till.program(require_staff_pin=True)["id"])["id"]
    problem(till.stamp(card), 403, "pin_required")
    stamped = till.with_session(token).stamp(card)
    assert ok(stamped)["stamp_count"] == 1
    assert till.with_session(stamped.headers["Staff-Session"]).post("/stamps?dry_run=true", {"card": card}).is_success


def test_every_call_the_guide_names_is_there(service: Service) -> None:
    paths = service.http.get("/openapi.json").json()["paths"]
    routes = {(method.upper(), re.sub(r"\{.*?\}", "{}", path)) for path, known in paths.items() for method in known}
    named = {(call[1], VENDOR + re.sub(r"\{.*?\}", "{}", call[2])) for call in CALL.finditer(TILL)}
    assert len(named) >= 7
    assert named - routes == set()


def test_money_is_counted_as_the_guide_says(service: Service) -> None:
    till: Till = service.shop()
    assert "12.50 EUR is `1250`" in TILL
    card = till.card(till.program(earn_rate={"points": 1, "per_minor": 1})["id"])["id"]
    assert (
        ok(till.post("/points", {"card": card, "purchase_amount_minor": 1250, "currency": "EUR"}))["points_delta"]
        == 1250
    )


# ------------------------------------------------------------------ the guide for auditors


@needs("bash", "curl")
def test_the_auditors_search_finds_what_happened_at_the_till(service: Service, tmp_path: Path) -> None:
    shop = service.shop()
    till = Till(service.http, shop.key, shop.vendor_id, X_Terminal_Id="till-1")
    card = till.card(till.program(max_daily_stamps=1)["id"])["id"]
    ok(shop.post("/adjustments", {"card": card, "stamps_delta": 1, "reason": "elsewhere"}))
    entry = ok(till.stamp(card))
    problem(till.stamp(card), 409, "stamp_daily_limit")
    service.catch_up()
    (call,) = blocks(section(AUDITING, "Search the events"), "bash")
    known = environment(AUDITOR_KEY=AUDITOR_KEY, VENDOR_ID=shop.vendor_id)
    typed(call.replace(PRINTED_ADDRESS, str(service.http.base_url).rstrip("/")), tmp_path, known)
    with (tmp_path / "events.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["stamps-added", "stamp-refused"]
    assert (rows[0]["position"], rows[0]["terminal_id"]) == (str(entry["position"]), "till-1")


def test_every_filter_there_is_stands_in_the_guide_and_no_other(service: Service) -> None:
    found = re.findall(r"^\| (`.*?) \|", section(AUDITING, "Search the events"), re.MULTILINE)
    written = {name for cell in found for name in re.findall(r"`(\w+)`", cell)}
    (route,) = (
        operations["get"]
        for path, operations in service.http.get("/openapi.json").json()["paths"].items()
        if path.endswith("/admin/loyalty/events")
    )
    asked = {parameter["name"] for parameter in route["parameters"] if parameter["in"] == "query"}
    assert written == asked - {"names", "order", "limit", "cursor", "min_position"}


# ------------------------------------------------------------------ running it


@needs("bash", "openssl")
@pytest.mark.timeout(600)
def test_a_database_of_ones_own_is_prepared_and_served_as_the_guide_says() -> None:
    own_database, processes = section(RUNNING, "Your own database"), section(RUNNING, "Processes")
    with durable_server() as server, directory_for_servers() as folder:
        superuser = urlsplit(server.start())
        (prepare,) = blocks(own_database, "sql")
        with psycopg.connect(superuser.geturl(), autocommit=True) as connection:
            for statement in filter(None, map(str.strip, prepare.replace("…", "a-password").split(";"))):
                connection.execute(statement)
        _, at, host = superuser.netloc.rpartition("@")
        url = superuser._replace(netloc=f"loyalty{at}{host}", path="/loyalty").geturl()

        (settings,) = blocks(own_database, "bash")
        assert settings.count(PRINTED_DATABASE) == 1
        port = free_port()
        script = settings.replace(PRINTED_DATABASE, url) + "\nprintf '\\0'; env -0\n"
        done = typed(script, folder, environment(LOYALTY_PORT=str(port)))
        said, _, exported = done.stdout.partition("\0")
        assert "✗" not in said and current(url) == head()

        its_environment = dict(pair.split("=", 1) for pair in exported.split("\0") if pair)
        (all_of_them,) = blocks(processes, "bash")
        serve, project, seal, sync = all_of_them.splitlines()
        address, logs = f"http://127.0.0.1:{port}", [folder / f"{name}.log" for name in ("serve", "project", "seal")]
        with (
            started(serve, folder, its_environment, logs[0]) as serving,
            started(project, folder, its_environment, logs[1]),
            started(seal, folder, its_environment, logs[2]),
        ):
            wait_until_ready(address, serving, logs[0])
            admin = {"Authorization": f"Bearer {its_environment['LOYALTY_ADMIN_KEY']}"}
            vendor = {"name": "Corner Café", "code": "corner-cafe", "country": "LU", "timezone": "Europe/Luxembourg"}
            more = {"currency": "EUR", "languages": ["lb"]}
            vendors = f"{address}/api/v1/admin/loyalty/vendors"
            ok(httpx2.post(vendors, json=vendor | more, headers=admin))
            eventually(lambda: httpx2.get(vendors, headers=admin).json()["items"], explain=logs[1].read_text)
            eventually(lambda: '"sealed"' in logs[2].read_text(), explain=logs[2].read_text)
        without_wallets = subprocess.run(
            ["bash", "-c", sync], cwd=folder, env=its_environment, capture_output=True, timeout=200
        )
        assert without_wallets.returncode == 2 and b"no wallet is set up" in without_wallets.stderr


# ------------------------------------------------------------------ moving it


@needs("bash", "jq")
@pytest.mark.timeout(600)
def test_a_ledger_moves_to_another_machine_as_the_guide_says() -> None:
    there, here = blocks(section(MOVING, "Move a ledger to another machine"), "bash")
    (vendors,) = blocks(section(MOVING, "Hand a vendor its history"), "bash")
    (looks,) = blocks(section(MOVING, "Read it"), "bash")
    with directory_for_servers() as folder:
        old, new, log = folder / "old", folder / "new", folder / "log"
        for machine in (old, new):
            machine.mkdir()
            machine.chmod(0o755)
        typed("loyalty-ledger demo", old, environment())
        with started("loyalty-ledger run", old, environment(LOYALTY_PORT=str(free_port())), log):
            eventually(lambda: '"sealed"' in log.read_text(), explain=log.read_text)
        assert vendors.count("corner-cafe") == 1
        said = typed(there + vendors.replace("corner-cafe", "rousegaertchen-demo"), old, environment()).stdout
        assert said.count("An archive of everything") == 1 and said.count("under a checkpoint") == 2
        assert "stamps-added" in typed(looks, old, environment()).stdout
        carried = f"cp -p {old}/ledger.ndjson {old}/key.txt .\n"
        assert here.count("/media/old/keys") == 1
        said = typed(carried + here.replace("/media/old/keys", f"{old}/.data/keys"), new, environment()).stdout
        assert "Loaded" in said and "Every table says what the stream says." in said and "is the one signed" in said
