"""A person can be told all that is held about them, and be forgotten: nobody can tell any more who it was."""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import httpx2
import orjson
import psycopg
import pytest

from ledger.held import NOBODYS, PLACES
from ledger.master_keys import in_force, rotate
from ledger.seal import MasterKey
from projections.proofs.notes import SigningKey
from projections.proofs.receipts import run
from projections.proofs.verify_statement import Kind
from projections.rebuild import rebuild
from tests.callers import VENDOR, Ask, at_once, ok, problem
from tests.clock import eventually
from tests.journeys.people import APPLE, EMAIL, NAME, PHONE, Person, everything, somebody, traces, wallet_service
from tests.phones import Phone
from tests.service import MASTER_KEY, Service, service_process


@pytest.fixture
def service(database_url: str, tmp_path: Path) -> Iterator[Service]:
    with wallet_service(database_url, tmp_path) as service:
        yield service


@pytest.fixture
def person(service: Service) -> Person:
    return somebody(service)


# ------------------------------------------------------------------ the list


def test_every_column_says_whose_it_is(service: Service) -> None:
    """A new column belongs into `ledger.held`: into PLACES where it holds something of a person, else into NOBODYS."""
    there = service.rows(
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name <> 'alembic_version'"
    )
    columns = {(row["table_name"], row["column_name"]) for row in there}
    persons = [(place.table, column) for place in PLACES for column in place.columns]
    nobodys = [(table, column) for table, names in NOBODYS.items() for column in names.split()]
    assert len(set(persons + nobodys)) == len(persons + nobodys), "named twice"
    assert set(persons + nobodys) == columns


@pytest.mark.parametrize("secret", [NAME, EMAIL, PHONE])
def test_who_looks_finds(secret: str) -> None:
    raw = secret.encode()
    written = [
        f"x{secret}y",
        secret.swapcase(),
        f"{{{orjson.dumps(secret).decode()}}}",
        f"\\x00{raw.hex()}ff",
        raw.hex().upper(),
        secret[::-1],
        *(b64encode(b"x" * before + raw + b"yz").decode() for before in range(4)),
        *(urlsafe_b64encode(b"x" * before + raw).decode().rstrip("=") for before in range(4)),
    ]
    assert [text for text in written if traces([secret], text) != [secret]] == []
    assert traces([secret], "Nobody at nobody@example.lu, +352621000000") == []


# ------------------------------------------------------------------ told


def test_a_person_is_told_everything(person: Person) -> None:
    told = ok(person.till.post(f"{person.path}/export"))
    assert told["customer"] == {"name": NAME, "email": EMAIL, "phone": PHONE, "language": "en"}
    assert {card["status"] for card in told["cards"]} == {"replaced", "active"}
    assert [card["qr_code_data"] for card in told["cards"] if card["status"] == "active"] == person.secrets[4:5]
    assert all(card["email_digest"] and card["phone_digest"] for card in told["cards"])
    kinds = {entry["transaction_type"] for entry in told["entries"]}
    assert {"card_enrolled", "stamp_earned", "points_earned", "points_redeemed", "stamp_adjusted"} <= kinds
    assert [refusal["refusal"] for refusal in told["refusals"]] == ["StampDailyLimit"]
    (phone,) = told["registrations"]
    assert (phone["device_library_identifier"], phone["push_token"]) == (person.phone.id, person.phone.push_token)
    assert {lookup["kind"] for lookup in told["lookups"]} >= {"customer_email", "customer_phone", "card_qr"}
    assert [consent["has_consented"] for consent in told["consents"]] == [False, False]
    enrolled = next(event for event in told["history"] if event["name"] == "card-enrolled")["event"]["data"]
    assert (enrolled["name"], enrolled["email"], enrolled["phone"]) == (NAME, EMAIL, PHONE)
    registered = next(event for event in told["history"] if event["name"] == "apple-device-registered")["event"]
    assert registered["data"]["device"] == person.phone.id
    assert "'sealed':" not in str(told)
    assert {place["table"] for place in told["places"]} == {place.table for place in PLACES}
    by_admin = ok(person.service.admin.post(f"/vendors/{person.till.vendor_id}{person.path}/export"))
    assert by_admin | {"exported_at": told["exported_at"]} == told


def test_consent_given_at_home_is_told(service: Service) -> None:
    till = service.shop()
    program = till.program()
    ok(service.public.post(f"/programs/{program['id']}/enrolments", {"email": EMAIL, "consent": True}))
    service.catch_up()
    (card,) = ok(till.get("/cards"))["items"]
    told = ok(till.post(f"/customers/{card['customer_id']}/export"))
    assert [consent["has_consented"] for consent in told["consents"]] == [True]
    assert told["customer"]["email"] == EMAIL


def test_nobody_is_told_of_another_vendors_customer(person: Person) -> None:
    stranger = person.service.shop()
    asks = [("/export", None), ("/erasure", {"reason": "asked"})]
    for end, body in asks:
        problem(stranger.post(person.path + end, body), 404, "not_found")
        problem(stranger.post(f"/customers/{uuid4()}{end}", body), 404, "not_found")
        may_read = person.service.till(person.service.admin.api_key(person.till.vendor_id, "read", "earn")["key"])
        problem(may_read.post(person.path + end, body), 403, "scope_missing")
        nobodys = f"/vendors/{stranger.vendor_id}{person.path}{end}"
        problem(person.service.admin.post(nobodys, body), 404, "not_found")
        theirs = f"/vendors/{person.till.vendor_id}{person.path}{end}"
        problem(person.service.auditor.post(theirs, body), 403, "scope_missing")
    assert ok(person.till.get(person.path))["is_erased"] is False


# ------------------------------------------------------------------ forgotten


def test_nothing_of_a_forgotten_person_can_be_found(person: Person) -> None:
    assert set(traces(person.secrets, everything(person.service))) == set(person.secrets[3:]), "looking finds nothing"
    receipt = ok(person.erase())
    found = everything(person.service)
    assert traces(person.secrets, found) == []
    assert person.service.rows("SELECT * FROM apple_device_registrations") == []
    assert person.service.rows("SELECT * FROM subject_keys WHERE vendor_id = %s", person.till.vendor_id) == []
    told = ok(person.till.get(person.path))
    assert told["is_erased"] and {card["status"] for card in told["cards"]} == {"erased"}
    assert told["receipt"] == {name: value for name, value in receipt.items() if name != "position"}
    assert traces(person.secrets, str(told)) == []


def test_the_receipt_says_what_was_cleared_when_and_by_whom(person: Person) -> None:
    receipt = ok(person.erase(reason="consent_withdrawn"))
    cleared = {row["table"]: row["rows"] for row in receipt["cleared"]}
    assert cleared == {"claims": 5, "subject_keys": 1}  # Email, phone, the open card, and a QR code for each card.
    assert (receipt["reason"], receipt["phones"], len(receipt["cards"])) == ("consent_withdrawn", 1, 2)
    assert receipt["erased_by"]["type"] == "api_key" and receipt["signature"] is None  # Nothing was sealed yet.
    (event,) = ok(person.service.auditor.get("/events", names="subject-key-destroyed"))["items"]
    assert (event["stream_id"], event["hash"]) == (receipt["receipt_id"], receipt["hash"])


def test_the_receipt_is_signed_and_verified_offline(
    person: Person, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    person.service.seal()
    receipt = ok(person.erase(key="forget"))
    key = person.service.public.get("/checkpoint/key").text
    file = tmp_path / "receipt.json"
    for answer in (receipt, ok(person.till.get(person.path))["receipt"], ok(person.erase(key="forget"))):
        file.write_bytes(orjson.dumps(answer, option=orjson.OPT_INDENT_2))
        assert run(file, key) == 0 and receipt["customer_id"] in capsys.readouterr().out
    for changed in ({"erased_at": "2020-01-01T00:00:00Z"}, {"cards": []}, {"reason": "law"}, {"more": 1}):
        file.write_bytes(orjson.dumps(receipt | changed))
        assert run(file, key) == Kind.SIGNATURE
    file.write_bytes(orjson.dumps(receipt))
    another = SigningKey.new("shop.example/ledger").verifier
    assert run(file, str(another)) == Kind.WRONG_KEY


def test_balances_history_and_statistics_stay(person: Person) -> None:
    service, card_id = person.service, person.card["id"]
    others = somebody(service, name="Other", email="other@example.lu", phone="+352621555444")
    stats = ok(person.till.get("/stats"))
    before, history = person.till.read(card_id), ok(service.auditor.get(f"/cards/{card_id}/events", limit=200))["items"]
    receipt = ok(person.erase())
    after, known = person.till.read(card_id), len(history)
    for name in ("stamp_count", "points_balance", "total_stamps_earned", "points_redeemed", "card_number"):
        assert after[name] == before[name], name
    assert after["status"] == "erased" and set(after["customer"].values()) == {None} and after["qr_code_data"] is None
    later = ok(service.auditor.get(f"/cards/{card_id}/events", limit=200))["items"]
    assert later[:known] == history and [event["name"] for event in later[known:]] == ["card-erased"]
    assert later[known]["prev_hash"] == history[-1]["hash"]
    now = ok(person.till.get("/stats"))
    assert now["cards_by_status"] == {"erased": 2}
    unchanged = {name: value for name, value in stats.items() if name not in ("cards_by_status", "as_of")}
    assert {name: now[name] for name in unchanged} == unchanged
    assert service.differences() == []
    assert ok(others.till.get(others.path))["is_erased"] is False and len(receipt["cards"]) == 2


def test_tables_made_anew_are_the_same(person: Person) -> None:
    ok(person.erase())
    somebody(person.service, name="Other", email="other@example.lu", phone="+352621555444")
    person.service.catch_up()
    live = person.service.tables()
    rebuild(person.service.database_url, MASTER_KEY)
    assert person.service.tables() == live
    assert person.service.differences() == []
    assert traces(person.secrets, everything(person.service)) == []


def test_whoever_is_forgotten_cannot_be_forgotten_again(person: Person) -> None:
    first = person.erase(key="forget")
    again = person.erase(key="forget")
    assert again.json() == ok(first) and again.headers["Idempotent-Replayed"] == "true"
    told = problem(person.erase(key="another"), 410, "customer_erased")
    assert told["erased_at"] == ok(first)["erased_at"]
    problem(person.erase(), 410, "customer_erased")
    problem(person.till.post(f"{person.path}/export"), 410, "customer_erased")
    problem(person.erase(key="forget", reason="law"), 422, "idempotency_key_reused")
    assert len(person.service.events(first.json()["receipt_id"])) == 1


def test_an_erased_card_can_do_nothing(person: Person) -> None:
    ok(person.erase())
    card = person.card
    for name in (card["id"], card["card_number"]):
        problem(person.till.stamp(name), 410, "card_erased")
    problem(person.till.stamp(card["qr_code_data"]), 404, "card_not_found")
    for action in ("suspend", "close", "replace"):
        problem(person.till.post(f"/cards/{card['id']}/{action}", {"reason": "x"}), 410, "card_erased")
    problem(person.service.public.get(f"/cards/{card['qr_code_data']}"), 404, "card_not_found")
    problem(person.service.public.get(f"/cards/{card['qr_code_data']}/apple.pkpass"), 404, "card_not_found")


def test_retries_of_what_was_said_about_them_say_that_they_are_gone(person: Person) -> None:
    ok(person.erase())
    problem(person.enrol_again(key="enrol"), 410, "card_erased")
    problem(person.enrol_again(key="enrol-again"), 410, "card_erased")
    (first, second) = (row["id"] for row in ok(person.till.get(person.path))["cards"])
    for card_id, action, reason in (
        (first, "suspend", "Lost"),
        (first, "replace", "Lost"),
        (second, "reinstate", "Found"),
    ):
        problem(person.till.post(f"/cards/{card_id}/{action}", {"reason": reason}, key=action), 410, "card_erased")


# ------------------------------------------------------------------ and back


def test_enrolled_again_they_are_somebody_new(person: Person) -> None:
    ok(person.erase())
    again = person.enrol_again()
    assert again.status_code == 201
    card = again.json()
    assert card["customer_id"] != person.customer_id and card["customer"]["email"] == EMAIL
    assert (card["stamp_count"], card["points_balance"]) == (0, 0)
    assert person.enrol_again().json()["id"] == card["id"]
    problem(person.enrol_again(key="enrol"), 410, "card_erased")
    assert person.service.differences() == []
    assert ok(person.till.post(f"/customers/{card['customer_id']}/export"))["customer"]["name"] == NAME


def test_the_vendors_own_id_finds_the_new_person(service: Service) -> None:
    own_id = str(uuid4())
    person = somebody(service, id=own_id)
    assert person.customer_id == own_id
    for _ in range(2):
        ok(person.till.post(f"/customers/{person.card['customer_id']}/erasure", {"reason": "asked"}))
        made = person.enrol_again(id=own_id, name=NAME)
        assert made.status_code == 201 and made.json()["customer_id"] not in (own_id, person.card["customer_id"])
        found = person.enrol_again(id=own_id, name=NAME)
        assert (found.status_code, found.json()["id"]) == (200, made.json()["id"])
        person.card = made.json()
    rebuild(service.database_url, MASTER_KEY)
    assert service.differences() == []


def test_a_destroyed_key_is_never_made_again(person: Person) -> None:
    receipt = ok(person.erase())
    key = "INSERT INTO subject_keys (subject_id, vendor_id, master_key_id, wrapped_key) VALUES (%s, %s, 'k', '')"
    with pytest.raises(Exception, match="forgotten"):
        person.service.rows(key, UUID(receipt["receipt_id"]), UUID(person.till.vendor_id))


# ------------------------------------------------------------------ at the same moment


def test_whatever_happens_at_that_moment_nobody_is_half_forgotten(person: Person) -> None:
    till, card = person.till, person.card
    customer = {"customer": {"name": NAME, "email": EMAIL, "phone": PHONE}}
    other = till.program()
    asks = [
        *(Ask(till, "/stamps", {"card": card["id"]}) for _ in range(5)),
        *(
            Ask(till, f"/programs/{program}/cards", customer)
            for program in (person.program_id, other["id"])
            for _ in "1234"
        ),
        Ask(till, f"/cards/{card['id']}/replace", {"reason": "Lost"}),
        *(Ask(till, f"{person.path}/erasure", {"reason": "asked"}) for _ in range(3)),
    ]
    answers = at_once([*asks[:7], *asks[-3:], *asks[7:-3]])
    assert {answer.status_code for answer in answers} <= {200, 201, 409, 410, 503}, [a.text for a in answers]
    erasures = [a for a in answers if a.request.url.path.startswith(f"{VENDOR}/customers/")]
    assert sorted(a.status_code for a in erasures) == [201, 410, 410]
    told = ok(till.get(person.path))
    assert told["is_erased"] and {row["status"] for row in told["cards"]} == {"erased"}
    receipt = next(a for a in erasures if a.status_code == 201).json()
    assert sorted(receipt["cards"]) == sorted(row["id"] for row in told["cards"])
    assert person.service.differences() == []
    rebuild(person.service.database_url, MASTER_KEY)
    assert person.service.differences() == []
    claims = "SELECT kind FROM claims WHERE stream_id = %s"
    assert person.service.rows(claims, UUID(person.customer_id)) == []


# ------------------------------------------------------------------ when something dies


def test_what_follows_an_erasure_is_done_when_the_projector_is_back(database_url: str, tmp_path: Path) -> None:
    with wallet_service(database_url, tmp_path) as service:
        person = somebody(service)
        service.stop_projecting()
        ok(person.erase())
        left = service.rows("SELECT push_token FROM apple_device_registrations")
        assert [row["push_token"] for row in left] == [person.phone.push_token], "nobody has followed yet"
        assert ok(person.till.get(person.path))["is_erased"]
        service.catch_up()
        assert traces(person.secrets, everything(service)) == []
        assert service.differences() == []


def test_an_erasure_that_is_cut_off_happened_not_at_all_and_then_once(database_url: str, tmp_path: Path) -> None:
    with wallet_service(database_url, tmp_path) as first:
        person = somebody(first)
        first.catch_up()
    with (
        service_process(tmp_path / "log", database_url) as service,
        psycopg.connect(database_url) as holder,
        ThreadPoolExecutor(1) as asking,
    ):
        till = person.till.at(service.http)
        holder.execute("SELECT * FROM claims WHERE kind = 'customer_phone' FOR UPDATE")
        asked = asking.submit(till.post, f"{person.path}/erasure", {"reason": "asked"}, key="forget")
        waiting = "SELECT count(*) AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'DELETE%%'"
        eventually(lambda: service.rows(waiting)[0]["n"] == 1)
        service.kill()
        with pytest.raises(httpx2.TransportError):
            asked.result()
        holder.rollback()
        service.start().ready()
        assert ok(till.get(person.path))["is_erased"] is False
        assert ok(till.post(f"{person.path}/export"))["customer"]["name"] == NAME
        ok(till.post(f"{person.path}/erasure", {"reason": "asked"}, key="forget"))
        eventually(lambda: traces(person.secrets, everything(service)) == [])
        assert service.differences() == []


# ------------------------------------------------------------------ phones


def test_the_phone_shows_an_empty_pass_and_is_then_a_stranger(person: Person) -> None:
    phone, (carried,) = person.phone, person.phone.passes.values()
    ok(person.erase())
    serial = carried.told["serialNumber"]
    phone.refresh()
    empty = phone.passes[serial]
    assert empty.told["voided"] is True and "barcodes" not in empty.told
    assert empty.value("status") == "This card was erased" and empty.value("stamps") == "–"
    for personal in (*person.secrets, person.card["card_number"], NAME.split(maxsplit=1)[0]):
        assert personal not in str(empty.told)
    assert phone.ask("GET", f"passes/{carried.path}", carried).status_code == 200  # The answer may have been lost.
    assert phone.refresh() == []
    assert phone.register(carried).status_code == 401
    an_hour_passes(person.service)
    for _ in range(2):
        assert phone.ask("GET", f"passes/{carried.path}", carried).status_code == 401


def an_hour_passes(service: Service) -> None:
    service.rows("UPDATE wallet_farewells SET until = until - interval '1 hour'")


def test_each_phone_hears_it_for_an_hour_and_after_a_week_no_more(person: Person) -> None:
    service, second = person.service, Phone(person.service.http, APPLE)
    second.add(service.public.get(f"/cards/{person.card['qr_code_data']}/apple.pkpass"))
    second.refresh()
    assert ok(person.erase())["phones"] == 2
    assert len(person.phone.refresh()) == 1
    an_hour_passes(service)
    (carried,) = second.passes.values()
    assert second.ask("GET", f"passes/{carried.path}", carried).status_code == 200
    service.rows("UPDATE wallet_farewells SET until = now() - interval '1 second'")
    assert second.refresh() == []
    assert second.ask("GET", f"passes/{carried.path}", carried).status_code == 401


def test_a_phone_that_was_never_registered_gets_nothing(service: Service) -> None:
    till = service.shop()
    card = till.card(till.program()["id"], name=NAME)
    service.catch_up()
    downloaded = service.public.get(f"/cards/{card['qr_code_data']}/apple.pkpass")
    phone = Phone(service.http, APPLE)
    carried = phone._opened(downloaded)
    assert phone.ask("GET", f"passes/{carried.path}", carried).status_code == 200
    assert ok(till.post(f"/customers/{card['customer_id']}/erasure", {"reason": "asked"}))["phones"] == 0
    assert phone.ask("GET", f"passes/{carried.path}", carried).status_code == 401


# ------------------------------------------------------------------ another master key


def test_nobody_at_a_till_notices_that_the_master_key_changes(database_url: str, tmp_path: Path) -> None:
    with wallet_service(database_url, tmp_path) as first:
        person = somebody(first)
        pin = person.till.pin("4071")
        first.catch_up()
    new = MasterKey(bytes(32))
    both = {"LOYALTY_MASTER_KEY": new.to_base64(), "LOYALTY_MASTER_KEY_PREVIOUS": MASTER_KEY.to_base64()}
    with service_process(tmp_path / "both", database_url, **both) as service:
        till = person.till.at(service.http)
        others = [till.card(person.program_id, email=f"{number}@example.lu") for number in range(20)]
        with psycopg.connect(database_url, autocommit=True) as connection:
            ring = in_force(connection, replace(new, previous=MASTER_KEY))
            rotate(connection, ring, lambda *_: others.append(till.card(person.program_id, name="In between")))
        assert till.read(person.card["id"])["customer"]["name"] == NAME
    with service_process(tmp_path / "new", database_url, LOYALTY_MASTER_KEY=new.to_base64()) as service:
        till = person.till.at(service.http)
        again = till.post(f"/programs/{person.program_id}/cards", {"customer": {"email": EMAIL}})
        assert (again.status_code, again.json()["id"]) == (200, person.card["id"])
        assert [till.read(card["id"])["customer"] for card in others] == [card["customer"] for card in others]
        ok(till.stamp(person.card["id"], staff_pin_id=pin["id"], pin="4071"))
        retried = till.post(f"/cards/{person.card['id']}/reinstate", {"reason": "Found"}, key="reinstate")
        assert retried.headers["Idempotent-Replayed"] == "true" and retried.json()["customer"]["name"] == NAME
        rebuild(database_url, ring)
        assert len(ok(till.get("/cards", q=EMAIL))["items"]) == 2
        ok(till.post(f"{person.path}/erasure", {"reason": "asked"}))
