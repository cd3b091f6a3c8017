"""The command as one types it: a process of its own, on a server that keeps its word."""

import asyncio
import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from api.settings import Settings
from api.wallets import apple_wallet_state
from ledger.errors import NotEnoughStamps
from ledger.seal import MasterKey
from migrations.local_postgres import LocalPostgres
from migrations.upgrade import current, head
from projections.proofs.sealer import Sealer
from projections.proofs.verify_statement import Kind
from projections.read_model import Projector
from projections.rebuild import TABLES
from tests.callers import ADMIN_KEY
from tests.databases import BIN_DIR, database, directory_for_servers, durable_server
from tests.ledgers import Shop, running_ledger
from tests.projections.proofs.statements import KEY, STRANGER, made
from tests.projections.stories import MASTER_KEY, Store, busy_days, enrolled, stamped
from tests.service import REAL, free_port

CARD = UUID("0195a1b0-0000-7000-8000-0000000000c1")
HELP_CPU_SECONDS_MAX = 0.8


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    with durable_server() as server:
        yield server.start()


@pytest.fixture
def url(server_url: str) -> Iterator[str]:
    with database(server_url, upgraded=True) as url:
        yield url


@pytest.fixture
def filled_url(url: str) -> str:
    """With a little history, in the query tables too. One card holds two stamps."""
    store = Store(url).opened()
    busy_days(store, cards=4, rounds=10)
    store.append(("card", CARD, [enrolled(), stamped(1), stamped(2)]))
    store.connection.close()
    Projector(url, MASTER_KEY).catch_up()
    return url


def environment(url: str | None = None, **settings: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("LOYALTY_")}
    ours |= {"LOYALTY_ADMIN_KEY": ADMIN_KEY, "LOYALTY_MASTER_KEY": MASTER_KEY.to_base64(), "COLUMNS": "120"}
    return ours | ({"LOYALTY_DATABASE_URL": url} if url else {}) | settings


def ask(*words: str, url: str | None = None, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [REAL, *words], env=environment(url, **settings), capture_output=True, text=True, timeout=240, check=False
    )


def execute(url: str, sql: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(sql)


def cpu_seconds(*words: str) -> float:
    """What one run costs the processor, whatever else the machine does meanwhile."""
    with subprocess.Popen([REAL, *words], env=environment(), stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_utime + used.ru_stime


def test_help_names_every_subcommand_and_is_there_at_once() -> None:
    words = ask("--help").stdout.split()
    assert {"run", "serve", "migrate", "project", "rebuild", "check", "demo", "openapi", "doctor"} <= set(words)
    assert {"wallet", "keys", "verify", "simulate", "sign-in-link"} <= set(words)
    assert min(cpu_seconds("--help") for _ in range(3)) < HELP_CPU_SECONDS_MAX


def test_the_api_is_described_in_json(tmp_path: Path) -> None:
    said = ask("openapi")
    written = ask("openapi", "--file", str(tmp_path / "openapi.json"))
    assert (said.returncode, said.stderr, written.returncode) == (0, "", 0)
    document = json.loads(said.stdout)
    assert document["openapi"].startswith("3.1") and len(document["paths"]) > 20
    assert json.loads((tmp_path / "openapi.json").read_text()) == document


def test_throw_away_certificates_come_with_the_settings_that_use_them(tmp_path: Path) -> None:
    made = ask("wallet", "dev-certificates", str(tmp_path / "apple"), "--pass-type-id", "pass.lu.cafe.kaart")
    assert (made.returncode, made.stderr) == (0, "")
    words = [shlex.split(line) for line in made.stdout.splitlines()]
    assert {word for word, _ in words} == {"export"}
    given = (pair.removeprefix("LOYALTY_").split("=", 1) for _, pair in words)
    settings = Settings.model_validate({name.lower(): value for name, value in given})
    is_well, sentence = apple_wallet_state(settings)
    assert is_well and "pass.lu.cafe.kaart" in sentence
    again = ask("wallet", "dev-certificates", str(tmp_path / "apple"))
    assert again.returncode == 1 and "is there already" in again.stderr
    assert ask("wallet", "dev-certificates", str(tmp_path / "b"), "--pass-type-id", "com.cafe").returncode == 2


def test_migrating_twice_is_migrating_once(server_url: str) -> None:
    with database(server_url) as url:
        first, second = ask("migrate", url=url), ask("migrate", url=url)
        assert current(url) == head()
    assert (first.returncode, second.returncode) == (0, 0)
    assert first.stdout == second.stdout == f"The database is at revision {head()}.\n"


def test_check_finds_nothing_wrong_with_an_honest_database(filled_url: str) -> None:
    found = ask("check", url=filled_url)
    assert (found.returncode, found.stderr) == (0, "")
    assert "Every table says what the stream says." in found.stdout


def test_check_names_table_row_column_and_both_values(filled_url: str) -> None:
    execute(filled_url, f"UPDATE loyalty_cards SET stamp_count = 9 WHERE id = '{CARD}'")
    found = ask("check", url=filled_url)
    assert found.returncode == 1
    assert f"loyalty_cards {CARD} stamp_count: expected 2, found 9" in found.stdout
    assert "stamps_outstanding" in found.stdout and "2 differences" in found.stderr
    told = json.loads(ask("check", "--json", url=filled_url).stdout)
    assert told["count"] == 2 and told["rows"]["loyalty_cards"] > 1
    assert {"table": "loyalty_cards", "row": str(CARD), "column": "stamp_count", "expected": 2, "found": 9} in told[
        "differences"
    ]


def test_rebuild_puts_right_what_somebody_changed(filled_url: str) -> None:
    execute(filled_url, f"UPDATE loyalty_cards SET stamp_count = 9 WHERE id = '{CARD}'; DELETE FROM refusals")
    assert ask("check", url=filled_url).returncode == 1
    rebuilt = ask("rebuild", url=filled_url)
    assert (rebuilt.returncode, rebuilt.stderr) == (0, "")
    assert "The tables are rebuilt." in rebuilt.stdout
    assert ask("check", url=filled_url).returncode == 0


def test_one_table_can_be_rebuilt_and_an_unknown_one_is_named(filled_url: str) -> None:
    execute(filled_url, "DELETE FROM loyalty_cards")
    assert ask("rebuild", "loyalty_cards", url=filled_url).returncode == 0
    assert ask("check", url=filled_url).returncode == 0
    unknown = ask("rebuild", "loyalty_crads", url=filled_url)
    assert unknown.returncode == 2
    assert "loyalty_crads" in unknown.stderr and all(table in unknown.stderr for table in TABLES[:1])


def test_doctor_exits_as_it_finds(url: str) -> None:
    well = ask("doctor", url=url, LOYALTY_PORT=str(free_port()))
    assert (well.returncode, "✗" in well.stdout) == (0, False), well.stdout
    execute(url, "GRANT DELETE ON stored_events TO loyalty_app")
    ill = ask("doctor", url=url, LOYALTY_PORT=str(free_port()))
    assert ill.returncode == 1
    assert "✗ The role loyalty_app may DELETE events" in ill.stdout


def test_what_wallets_were_not_told_is_listed_and_tried_again(filled_url: str) -> None:
    columns = "channel, id, card_id, desired, synced, failures, last_error, is_parked, owed_since"
    since = "2026-03-14 09:26 UTC"
    execute(
        filled_url,
        f"INSERT INTO wallet_work ({columns}) VALUES ('apple', '{CARD}', '{CARD}', 3, 2, 1, 'PayloadEmpty', true,"
        f" '{since}'), ('program', '{UUID(int=1)}', NULL, 7, 7, 0, NULL, false, '{since}')",
    )
    listed = ask("wallet", "parked", url=filled_url)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert listed.stdout == f"apple card {CARD}: PayloadEmpty, owed since {since}\n1 parked.\n"
    other = ask("wallet", "retry", "--card", str(UUID(int=2)), url=filled_url)
    assert "0 to be tried again" in other.stdout
    assert "1 to be tried again" in ask("wallet", "retry", url=filled_url).stdout
    assert ask("wallet", "parked", url=filled_url).stdout == "0 parked.\n"


@pytest.mark.parametrize("command", ["migrate", "check", "run"])
def test_what_the_one_at_the_keyboard_can_mend_is_a_sentence(command: str, server_url: str) -> None:
    wrong = ask(command, url=server_url, LOYALTY_MASTER_KEY="")
    assert wrong.returncode == 2
    assert "LOYALTY_MASTER_KEY is not set" in wrong.stderr and "Traceback" not in wrong.stderr


def test_the_demo_is_made_once(url: str) -> None:
    made, again = ask("demo", url=url), ask("demo", url=url)
    assert (made.returncode, again.returncode) == (0, 0), made.stderr + again.stderr
    assert "API key: llk_" in made.stdout and "already" in again.stdout
    assert "Making demo data" in made.stdout and again.stdout.strip().startswith("The demo is there already")
    assert ask("check", url=url).returncode == 0


# ------------------------------------------------------------------ another master key


def test_a_master_key_of_the_settings_is_exchanged_while_both_are_given(filled_url: str) -> None:
    new = MasterKey(bytes(32)).to_base64()
    alone = ask("keys", "rotate-master", url=filled_url)
    assert alone.returncode == 2 and "LOYALTY_MASTER_KEY_PREVIOUS" in alone.stderr
    assert "LOYALTY_MASTER_KEY_PREVIOUS" in ask("check", url=filled_url, LOYALTY_MASTER_KEY=new).stderr
    both = {"LOYALTY_MASTER_KEY": new, "LOYALTY_MASTER_KEY_PREVIOUS": MASTER_KEY.to_base64()}
    for said in ("6 keys of people were wrapped anew.", "0 keys of people were wrapped anew."):
        rotated = ask("keys", "rotate-master", url=filled_url, **both)
        assert (rotated.returncode, rotated.stderr) == (0, "") and said in rotated.stdout.replace("\n", " ")
    assert ask("check", url=filled_url, LOYALTY_MASTER_KEY=new).returncode == 0
    refused = ask("check", url=filled_url)
    assert refused.returncode == 2 and MasterKey(bytes(32)).key_id in refused.stderr


def test_a_master_key_of_the_data_directory_is_exchanged_while_nothing_runs() -> None:
    with directory_for_servers() as directory:
        data = directory / "data"
        bin_dir = {} if BIN_DIR is None else {"LOYALTY_PG_BIN": str(BIN_DIR)}
        embedded = {"LOYALTY_MASTER_KEY": "", "LOYALTY_DATA_DIR": str(data), **bin_dir}
        assert ask("demo", **embedded).returncode == 0
        file, previous = data / "keys" / "master_key", data / "keys" / "master_key_previous"
        before = file.read_text()
        previous.write_text(before)  # As a rotation leaves it that was cut off early.
        rotated = ask("keys", "rotate-master", **embedded)
        assert rotated.returncode == 0, rotated.stderr
        assert file.read_text() != before and not previous.exists()
        assert (file.stat().st_mode & 0o777) == 0o600
        checked = ask("check", **embedded)
        assert checked.returncode == 0, checked.stdout
        with LocalPostgres(data / "postgres", bin_dir=BIN_DIR):
            refused = ask("keys", "rotate-master", **embedded)
        assert refused.returncode == 2 and "Stop it" in refused.stderr


def test_a_sealing_key_is_made_once_shown_and_rotated(filled_url: str, tmp_path: Path) -> None:
    settings = {
        "LOYALTY_SEALING_KEY_FILE": str(tmp_path / "sealing_key"),
        "LOYALTY_PUBLIC_URL": "https://loyalty.example.com",
    }
    nothing = ask("keys", "show", url=filled_url, **settings)
    assert (nothing.returncode, nothing.stdout) == (1, "") and "no sealing key" in nothing.stderr
    made = ask("keys", "make", url=filled_url, **settings)
    assert made.returncode == 0 and made.stdout.startswith("loyalty.example.com/ledger+"), made.stderr
    assert ask("keys", "show", url=filled_url, **settings).stdout == made.stdout
    again = ask("keys", "make", url=filled_url, **settings)
    assert again.returncode == 2 and "keys rotate" in again.stderr and "Traceback" not in again.stderr
    rotated = ask("keys", "rotate", url=filled_url, **settings)
    assert rotated.returncode == 0 and rotated.stdout != made.stdout
    assert ask("keys", "show", url=filled_url, **settings).stdout == rotated.stdout
    accepted = ask("keys", "accept-restore", "--reason", "none", url=filled_url, **settings)
    assert accepted.returncode == 2 and "nothing to accept" in accepted.stderr
    assert ask("keys", "accept-restore", "--reason", "a\nb", url=filled_url, **settings).returncode == 2


def test_a_statement_is_verified_without_a_database(tmp_path: Path) -> None:
    file = tmp_path / "statement.json"
    file.write_text(json.dumps(made()))
    held = ask("verify", str(file), "--key", str(KEY.verifier))
    assert held.returncode == 0 and "Balance: 1 stamps, 0 points." in held.stdout, held.stderr
    other = ask("verify", str(file), "--key", str(STRANGER.verifier))
    assert (other.returncode, other.stdout) == (Kind.WRONG_KEY, "") and "does not hold" in other.stderr


def test_the_whole_store_is_verified_and_the_first_fault_named(filled_url: str, tmp_path: Path) -> None:
    settings = {"LOYALTY_SEALING_KEY_FILE": str(tmp_path / "sealing_key")}
    assert ask("keys", "make", url=filled_url, **settings).returncode == 0
    Sealer(filled_url, tmp_path / "sealing_key").catch_up()
    well = ask("verify", url=filled_url, **settings)
    assert (well.returncode, "every chain is whole" in well.stdout) == (0, True), well.stderr
    execute(
        filled_url,
        "SET session_replication_role = replica; UPDATE stored_events SET state = state || ' '"
        f" WHERE originator_id = '{CARD}' AND originator_version = 2",
    )
    wrong = ask("verify", url=filled_url, **settings)
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "event-changed at position" in wrong.stderr and str(CARD) in wrong.stderr
    elsewhere = ask("verify", "--key", str(KEY.verifier), url=filled_url, **settings)
    assert elsewhere.returncode == 1 and "does not hold" in elsewhere.stderr
    assert ask("verify", url=filled_url, LOYALTY_SEALING_KEY_FILE=str(tmp_path / "gone")).returncode == 1


def test_simulate_compares_what_was_with_what_would_have_been(url: str) -> None:
    async def two_stamps() -> str:
        async with running_ledger(url) as ledger:
            shop = await Shop.opened(ledger, stamps_target=3)
            card = await shop.card()
            for _ in range(2):
                await shop.stamp(card)
            with pytest.raises(NotEnoughStamps):
                await shop.redeem(card)
            return str(shop.program_id)

    program = asyncio.run(two_stamps())
    told = ask("simulate", "--program", program, "--set", "stamps_target=2", "--json", url=url)
    assert told.returncode == 0, told.stderr
    report = json.loads(told.stdout)
    assert (report["was"]["rewards_redeemed"], report["would_be"]["rewards_redeemed"]) == (0, 1)
    assert report["limits"] == {"insufficient_stamps": {"fired": 1, "would_fire": 0, "no_more": 1, "only_then": 0}}
    assert "nobody knows" in report["note"]
    table = ask("simulate", "--program", program, "--set", "stamps_target=2", url=url)
    assert "rewards: 1 gain 1, 0 lose 0" in table.stdout and "nobody knows" in table.stdout
    for wrong in ("stamps_target=0", "name=x", "max_stamps_per_scan=1000", "reversal_policy=never"):
        assert ask("simulate", "--program", program, "--set", wrong, url=url).returncode == 2
    assert ask("simulate", "--program", str(CARD), url=url).returncode == 2
