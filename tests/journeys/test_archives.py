"""A ledger moves: made into a file by one service, taken in by another, which goes on as if nothing had been."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from ledger.seal import MasterKey
from projections.archive.rows import CARRIED, FOLLOWING, IN_LINES_OF_THEIR_OWN
from projections.proofs.notes import sign
from projections.proofs.sealing_keys import read_key
from projections.proofs.verify_statement import Checkpoint, VerifierKey, open_note, verify
from tests.api.test_cli import ask
from tests.callers import ok, problem
from tests.databases import database, durable_server
from tests.journeys.people import NAME, everything, somebody, wallet_service
from tests.service import MASTER_KEY, Service

TABLES = (*IN_LINES_OF_THEIR_OWN, *FOLLOWING, *(carried.table for carried in CARRIED if carried.table != "projections"))
VENDORS_OWN = (
    *("streams", "idempotency_keys", "subject_keys", "loyalty_programs", "loyalty_cards", "loyalty_transactions"),
    *("staff_pins", "api_keys", "refusals"),
)
PIN = "4071"


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    with durable_server() as server:
        yield server.start()


class Shop:
    """A service with everything in it that can be in one, and a key that it signs with."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.person = somebody(service)
        self.till = self.person.till
        self.erased = self.till.card(self.person.program_id, name="Tom Gone", email="tom.gone@example.lu")
        self.neighbour = somebody(service, name="Eve Next-Door", email="eve@example.lu", phone="+352621000111")
        self.pin_id = self.till.pin(PIN)["id"]
        service.seal()
        ok(self.till.post(f"/customers/{self.erased['customer_id']}/erasure", {"reason": "asked"}))
        entry = ok(self.till.stamp(self.person.card["id"]))
        ok(self.till.post(f"/entries/{entry['entry_id']}/reversal", {"reason": "Wrong card"}))
        self.stamped = self.till.stamp(self.person.card["id"], key="just-before")
        service.seal()
        ok(self.till.stamp(self.person.card["id"]))
        service.catch_up()

    @property
    def key(self) -> str:
        return self.service.public.get("/checkpoint/key").text.strip()


@pytest.fixture(scope="module")
def shop(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with (
        database(server_url, upgraded=True) as url,
        wallet_service(url, tmp_path_factory.mktemp("shop")) as service,
    ):
        yield Shop(service)


def command(service: Service, *words: str, url: str | None = None) -> str:
    """What an `archive` command says, which must succeed."""
    key_file = service._settings.sealing_key_path
    done = ask("archive", *words, url=url or service.database_url, LOYALTY_SEALING_KEY_FILE=str(key_file))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def moved(shop: Shop, server_url: str, folder: Path, *which: str) -> Iterator[Service]:
    """Another service, with what the first one was made into."""
    file = folder / "ledger.ndjson"
    command(shop.service, "make", str(file), *which)
    assert file.stat().st_mode & 0o077 == 0
    key_file = folder / "keys" / "sealing_key"
    if which == ("--everything",):
        shutil.copytree(shop.service._settings.sealing_key_path.parent, key_file.parent)
    with database(server_url) as url:
        assert "Loaded" in command(shop.service, "load", str(file), "--key", shop.key, url=url)
        with wallet_service(url, folder, sealing_key_file=key_file) as service:
            yield service


def rows(service: Service, table: str, condition: str = "true") -> list[str]:
    found = service.rows(f"SELECT t::text AS row FROM {table} t WHERE {condition} ORDER BY t::text")
    return [row["row"] for row in found]


def goes_on(service: Service, shop: Shop) -> None:
    """What a till, a customer and a member of staff notice: nothing."""
    till, card = shop.till.at(service.http), shop.person.card
    assert till.read(card["id"]) == shop.till.read(card["id"])
    again = till.stamp(card["id"], key="just-before")
    assert (ok(again), again.headers["Idempotent-Replayed"]) == (ok(shop.stamped), "true")
    assert ok(till.post("/cards/lookup", {"card": card["qr_code_data"]}))["id"] == card["id"]
    known = ok(till.post(f"/customers/{shop.person.customer_id}/export"))
    assert known["customer"]["name"] == NAME
    problem(till.stamp(shop.erased["id"]), 410, "card_erased")
    assert ok(till.post(f"/pins/{shop.pin_id}/sessions", {"pin": PIN}))["token"]
    problem(till.stamp(card["id"]), 409, "stamp_daily_limit")
    before = till.read(card["id"])["points_balance"]
    bought = ok(till.post("/points", {"card": card["id"], "purchase_amount_minor": 1000, "currency": "EUR"}))
    assert bought["points_balance"] == before + 10
    service.catch_up()
    assert service.differences() == []


def test_a_ledger_that_moved_is_the_one_it_was(shop: Shop, server_url: str, tmp_path: Path) -> None:
    trusted, card_id = VerifierKey.parse(shop.key), shop.person.card["id"]
    kept = tmp_path / "kept.txt"
    kept.write_text(shop.service.public.get("/checkpoint").text)
    with moved(shop, server_url, tmp_path, "--everything") as service:
        assert service.heads() == shop.service.heads()
        assert [table for table in TABLES if rows(service, table) != rows(shop.service, table)] == []
        old, new = (one.auditor.get(f"/cards/{card_id}/statement").content for one in (shop.service, service))
        assert verify(new, trusted).balance == verify(old, trusted).balance
        goes_on(service, shop)
        service.seal()
        told = verify(service.auditor.get(f"/cards/{card_id}/statement").content, trusted)
        assert told.signed.sealed == told.signed.version
        done = ask("verify", "--key", shop.key, "--kept", str(kept), url=service.database_url)
        assert done.returncode == 0, done.stderr


def test_one_vendor_moves_alone(shop: Shop, server_url: str, tmp_path: Path) -> None:
    vendor, neighbour = shop.till.vendor_id, shop.neighbour.till.vendor_id
    streams = f"originator_id IN (SELECT stream_id FROM streams WHERE vendor_id = '{vendor}')"
    code = shop.service.rows("SELECT code FROM vendors WHERE id = %s", vendor)[0]["code"]
    nudged = "UPDATE wallet_passes SET nudge = 5, number = number + 5 WHERE card_id = %s RETURNING card_id"
    assert shop.service.rows(nudged, shop.person.card["id"])  # A phone that knows of it asks for what is newer.
    with moved(shop, server_url, tmp_path, "--vendor", code) as service:
        assert rows(service, "stored_events") == rows(shop.service, "stored_events", streams)
        for table in VENDORS_OWN:
            assert rows(service, table) == rows(shop.service, table, f"vendor_id = '{vendor}'"), table
        passes = f"card_id IN (SELECT id FROM loyalty_cards WHERE vendor_id = '{vendor}')"
        assert rows(service, "wallet_passes") == rows(shop.service, "wallet_passes", passes) != []
        assert neighbour not in everything(service)
        problem(shop.neighbour.till.at(service.http).get("/cards"), 401, "unauthenticated")
        service.seal()
        told = ok(service.auditor.get(f"/cards/{shop.person.card['id']}/statement"))
        own_key = VerifierKey.parse(service.public.get("/checkpoint/key").text)
        assert verify(orjson.dumps(told), own_key).signed.version == shop.till.read(shop.person.card["id"])["version"]
        goes_on(service, shop)
        service.seal()
        assert ask("verify", "--key", str(own_key), url=service.database_url).returncode == 0


@pytest.fixture(scope="module")
def whole(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("whole") / "ledger.ndjson"
    command(shop.service, "make", str(file), "--everything")
    return file


def test_a_changed_file_is_refused_with_its_line_and_nothing_is_written(
    shop: Shop, whole: Path, server_url: str, tmp_path: Path
) -> None:
    file, key_file = tmp_path / "changed.ndjson", str(shop.service._settings.sealing_key_path)
    lines = whole.read_text().splitlines(keepends=True)
    number = next(number for number, line in enumerate(lines, 1) if '"line":"event"' in line) + 3
    lines[number - 1] = lines[number - 1].replace('"state":"eyJ', '"state":"eyK')
    file.write_text("".join(lines))
    with database(server_url, upgraded=True) as url:
        for words, said in ((["verify"], "does not hold"), (["load"], "Nothing was written")):
            done = ask("archive", *words, str(file), "--key", shop.key, url=url, LOYALTY_SEALING_KEY_FILE=key_file)
            assert done.returncode == 4 and f"line {number}: " in done.stderr and said in done.stderr, done.stderr
        assert ask("check", url=url).returncode == 0
        assert Service(url).rows("SELECT FROM stored_events") == []


def test_a_file_is_held_against_a_checkpoint_that_was_kept(shop: Shop, whole: Path, tmp_path: Path) -> None:
    key_file, kept = shop.service._settings.sealing_key_path, tmp_path / "kept.txt"
    code = shop.service.rows("SELECT code FROM vendors WHERE id = %s", shop.till.vendor_id)[0]["code"]
    vendors = tmp_path / "vendors.ndjson"
    command(shop.service, "make", str(vendors), "--vendor", code)
    first, *_, last = shop.service.rows("SELECT note FROM checkpoints ORDER BY number")
    known = Checkpoint.parse(open_note(last["note"], [VerifierKey.parse(shop.key)])[0])
    newer = sign(str(replace(known, size=known.size + 1)), read_key(key_file))
    another = sign(str(replace(known, root=bytes(32))), read_key(key_file))
    for file, note, code_, said in (
        (whole, first["note"], 0, "It goes on from the checkpoint over"),
        (vendors, last["note"], 0, "It goes on from the checkpoint over"),
        (vendors, first["note"], 0, "only an archive of everything can show"),
        (whole, newer, 50, f"made with a tree of {known.size}, and you know one of {known.size + 1}"),
        (vendors, another, 51, f"two different trees of {known.size} were signed"),
        (whole, "kept", 22, "This does not hold"),
    ):
        kept.write_text(note)
        done = ask("archive", "verify", str(file), "--key", shop.key, "--kept", str(kept))
        assert done.returncode == code_ and said in done.stdout + done.stderr, (done.returncode, done.stderr)


def test_what_cannot_be_done_is_said_in_a_sentence(shop: Shop, whole: Path, tmp_path: Path) -> None:
    url, new = shop.service.database_url, str(tmp_path / "new.ndjson")
    for words, code, said in (
        (["load", str(whole), "--key", shop.key], 1, "Nothing was loaded: this service is not empty"),
        (["make", new, "--everything"], 2, "there is no sealing key in /nowhere/key"),
        (["make", new], 2, "either --vendor or"),
        (["verify", str(whole), "--key", "nonsense+1+2"], 2, "--key"),
    ):
        done = ask("archive", *words, url=url, LOYALTY_SEALING_KEY_FILE="/nowhere/key")
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_vendor_that_left_with_the_old_master_key_needs_it_no_more(
    shop: Shop, server_url: str, tmp_path: Path
) -> None:
    file, code = tmp_path / "vendors.ndjson", shop.service.rows("SELECT code FROM vendors LIMIT 1")[0]["code"]
    command(shop.service, "make", str(file), "--vendor", code)
    new = MasterKey(bytes(32)).to_base64()
    both = {"LOYALTY_MASTER_KEY": new, "LOYALTY_MASTER_KEY_PREVIOUS": MASTER_KEY.to_base64()}
    with database(server_url, upgraded=True) as url:
        words = ("archive", "load", str(file), "--key", shop.key)
        refused = ask(*words, url=url, LOYALTY_MASTER_KEY=new)
        assert refused.returncode == 1 and "LOYALTY_MASTER_KEY" in refused.stderr
        for each in (words, ("keys", "rotate-master")):
            done = ask(*each, url=url, **both)
            assert done.returncode == 0, done.stderr
        done = ask("check", url=url, LOYALTY_MASTER_KEY=new)
        assert done.returncode == 0, done.stdout + done.stderr


def test_cards_are_found_where_they_move_also_after_the_master_key_was_changed(
    shop: Shop, server_url: str, tmp_path: Path
) -> None:
    old, later = tmp_path / "old.ndjson", tmp_path / "later.ndjson"
    command(shop.service, "make", str(old), "--everything")
    shutil.copytree(shop.service._settings.sealing_key_path.parent, tmp_path / "keys")
    new = {
        "LOYALTY_MASTER_KEY": MasterKey(bytes(32)).to_base64(),
        "LOYALTY_SEALING_KEY_FILE": str(tmp_path / "keys" / "sealing_key"),
    }
    both = new | {"LOYALTY_MASTER_KEY_PREVIOUS": MASTER_KEY.to_base64()}
    with database(server_url) as here, database(server_url) as there:
        for words, url, keys in (
            (("archive", "load", str(old), "--key", shop.key), here, both),
            (("keys", "rotate-master"), here, both),
            (("archive", "make", str(later), "--everything"), here, new),
            (("archive", "load", str(later), "--key", shop.key), there, new),
            (("check",), there, new),
        ):
            done = ask(*words, url=url, **keys)
            assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
