"""A superuser changes the past of a running service, or puts yesterday's files back: it is named, and where.

By the monitor within a minute, in the log, in `/system` and as a metric; and by anybody who kept a checkpoint. How many
events lie around the one that is changed is set by AUDIT_EVENTS.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from rich.console import Console
from rich.table import Table

from api.logs import configure
from ledger.stream import digest, first_prev
from migrations.local_postgres import LocalPostgres
from projections.proofs.sealer import Sealer
from tests.benchmarks.population import Place, populate
from tests.callers import Till, ok
from tests.clock import eventually
from tests.databases import BIN_DIR, directory_for_servers
from tests.service import MASTER_KEY, REAL, ServiceProcess, service_process

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

EVENTS = int(os.environ.get("AUDIT_EVENTS", "20000"))
EVENTS_EACH = 100
NAMED_SECONDS = 60.0
ORIGIN = "shop.example/ledger"
PAST_TRIGGERS = "SET session_replication_role = replica"
CARD_EVENTS = """
SELECT originator_version, notification_id, topic, state FROM stored_events
WHERE originator_id = %s ORDER BY originator_version
"""

found: list[tuple[str, str, str, str, str]] = []


@dataclass
class Watched:
    """A service at work, all of whose events are sealed, and a card in the middle of them."""

    server: LocalPostgres
    directory: Path
    url: str
    service: ServiceProcess
    environment: dict[str, str]
    till: Till
    card: UUID
    kept: Path = Path()
    key: str = ""

    def seal(self) -> None:
        """Sign everything, with the service's own sealer at rest."""
        self.service.kill()
        configure("json", "error")
        Sealer(self.url, Path(self.environment["LOYALTY_SEALING_KEY_FILE"]), new_key_name=ORIGIN).catch_up()
        self.service.start().ready()

    def history(self) -> list[tuple[int, int, str, bytes]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(CARD_EVENTS, (self.card,)).fetchall()

    def by_force(self, *statements: tuple[str, tuple[Any, ...]]) -> None:
        with psycopg.connect(self.url) as connection:
            connection.execute(PAST_TRIGGERS)
            for sql, parameters in statements:
                connection.execute(sql, parameters)

    def shown(self) -> str:
        """What is wrong, by `/system`."""
        projections = ok(self.service.auditor.get("/system"))["projections"]
        return "; ".join(p["error"] for p in projections if p["error"] and p["name"] in ("verification", "checkpoints"))

    def verified(self) -> subprocess.CompletedProcess[str]:
        """By an auditor who trusts a key and a checkpoint of their own."""
        return subprocess.run(
            [REAL, "verify", "--key", self.key, "--kept", str(self.kept)],
            env={**self.service._environment, "COLUMNS": "300"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    key_file = tmp_path / "sealing_key"
    environment = {"LOYALTY_SEALING_KEY_FILE": str(key_file)}
    with directory_for_servers(in_memory=False) as directory:
        server = LocalPostgres(directory / "durable", bin_dir=BIN_DIR)
        try:
            url = server.start()
            with service_process(tmp_path / "log", url, command=(REAL, "run"), **environment) as service:
                till = service.shop()
                program = till.program()["id"]
                place = Place(url, MASTER_KEY, UUID(till.vendor_id), UUID(program))
                populate(place, max(EVENTS // EVENTS_EACH // 2, 1), EVENTS_EACH)
                card = till.card(program)["id"]
                for _ in range(5):
                    ok(till.stamp(card))
                populate(place, max(EVENTS // EVENTS_EACH // 2, 1), EVENTS_EACH)
                ok(till.stamp(card))
                watched = Watched(server, directory, url, service, environment, till, UUID(card))
                watched.seal()
                watched.kept, watched.key = tmp_path / "kept.txt", service.public.get("/checkpoint/key").text.strip()
                watched.kept.write_text(service.public.get("/checkpoint").text)
                yield watched
        finally:
            server.stop()


def a_byte_is_changed(watched: Watched) -> int:
    version, position, _, state = watched.history()[2]
    changed = state.replace(b'"stamps":1,', b'"stamps":9,', 1)
    assert changed != state and len(changed) == len(state)
    sql = "UPDATE stored_events SET state = %s WHERE originator_id = %s AND originator_version = %s"
    watched.by_force((sql, (changed, watched.card, version)))
    return position


def two_states_are_swapped(watched: Watched) -> int:
    (one, position, _, first), (other, _, _, second) = watched.history()[2:4]
    sql = "UPDATE stored_events SET state = %s WHERE originator_id = %s AND originator_version = %s"
    watched.by_force((sql, (second, watched.card, one)), (sql, (first, watched.card, other)))
    return position


def the_last_event_is_deleted(watched: Watched) -> int:
    *_, (version, position, _, _) = watched.history()
    sql = "DELETE FROM stored_events WHERE originator_id = %s AND originator_version = %s"
    watched.by_force((sql, (watched.card, version)))
    return position


def one_is_forged_and_the_chain_rebuilt(watched: Watched) -> int:
    """A stamp more, in the middle: everything after it moves on by a place, and names what it follows now."""
    history = watched.history()
    at = history[3][1]
    statements: list[tuple[str, tuple[Any, ...]]] = [
        ("UPDATE stored_events SET notification_id = -notification_id - 1 WHERE notification_id >= %s", (at,)),
        ("UPDATE stored_events SET notification_id = -notification_id WHERE notification_id < 0", ()),
        ("DELETE FROM stored_events WHERE originator_id = %s", (watched.card,)),
    ]
    forged = (0, at, history[3][2], history[3][3].replace(b'"stamps":1,', b'"stamps":3,', 1))
    moved = [(version, position + (position >= at), name, state) for version, position, name, state in history]
    head = first_prev(watched.card)
    for version, (_, position, name, state) in enumerate([*moved[:3], forged, *moved[3:]], 1):
        state = b'{"prev":"' + head.encode() + state[73:]
        row = (watched.card, version, position, name, state)
        statements.append(
            (
                "INSERT INTO stored_events (originator_id, originator_version, notification_id, topic, state)"
                " OVERRIDING SYSTEM VALUE VALUES (%s, %s, %s, %s, %s)",
                row,
            )
        )
        head = digest(watched.card, version, name, state)
    sql = "UPDATE streams SET version = version + 1, head = %s WHERE stream_id = %s"
    watched.by_force(*statements, (sql, (bytes.fromhex(head), watched.card)))
    return int(at)


def yesterdays_files_are_put_back(watched: Watched) -> int:
    cluster, yesterday = watched.directory / "durable", watched.directory / "yesterday"
    last = watched.history()[-1][1]
    watched.server.stop()
    subprocess.run(["cp", "-a", str(cluster), str(yesterday)], check=True)
    assert watched.server.start() == watched.url
    eventually(lambda: watched.till.stamp(str(watched.card)).status_code == 201, 30)
    watched.seal()
    watched.kept.write_text(watched.service.public.get("/checkpoint").text)
    watched.server.stop()
    subprocess.run(["rm", "-rf", str(cluster)], check=True)
    yesterday.rename(cluster)
    assert watched.server.start() == watched.url
    return last


TAMPERINGS: dict[Callable[[Watched], int], str] = {
    a_byte_is_changed: "event-changed",
    two_states_are_swapped: "event-changed",
    the_last_event_is_deleted: "event-missing",
    one_is_forged_and_the_chain_rebuilt: "event-changed",
    yesterdays_files_are_put_back: "behind what was signed",
}


@pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda tamper: tamper.__name__)
def test_it_is_named_with_its_place(watched: Watched, tamper: Callable[[Watched], int]) -> None:
    assert watched.shown() == "" and watched.verified().returncode == 0
    position = tamper(watched)
    began = time.monotonic()
    kind, is_of_a_card = TAMPERINGS[tamper], tamper is not yesterdays_files_are_put_back

    def is_named(text: str) -> bool:
        return kind in text and f"position {position}" in text and (str(watched.card) in text or not is_of_a_card)

    def is_shown() -> bool:
        try:
            return is_named(watched.shown())
        except Exception:  # The service finds its database again.
            return False

    eventually(is_shown, NAMED_SECONDS, lambda: watched.shown() or "nothing is shown")
    seconds = time.monotonic() - began
    log = watched.service.log.read_text()
    assert ("tampering-found" in log and str(watched.card) in log) if is_of_a_card else "sealing-refused" in log
    metric = f'loyalty_projection_error{{projection="{"verification" if is_of_a_card else "checkpoints"}"}} 1.0'
    assert metric in watched.service.http.get("/metrics").text
    shown = watched.shown()
    verified = watched.verified()
    assert verified.returncode == 1 and f"position {position}" in verified.stderr, verified.stderr
    by_checkpoint = next(line for line in verified.stderr.splitlines() if f"position {position}" in line)
    found.append((tamper.__name__.replace("_", " "), str(position), f"{seconds:.1f} s", shown, by_checkpoint))


@pytest.fixture(scope="module", autouse=True)
def told() -> Iterator[None]:
    yield
    table = Table("tampering", "position", "named after", "by the monitor", "by who kept a checkpoint", show_lines=True)
    for row in found:
        table.add_row(*row)
    Console(width=180).print(f"among {EVENTS:,} events", table)
