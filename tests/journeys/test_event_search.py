"""Auditors and vendors find events: by each filter what reading the whole stream finds, page by page or at once."""

import csv
import random
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.cursors import encode_cursor
from api.event_search import COLUMNS, ENVELOPE, accepted, cell
from ledger.ids import wallet_pass_id
from ledger.stream import Actor
from ledger.wallet_pass import ApplePassIssued
from tests.callers import Client, Till, moment, ok, problem
from tests.conftest import SERVER
from tests.databases import database
from tests.examples import DAY, HOUR, LOCATION_ID, MONDAY
from tests.projections.stories import Store, bought, busy_days, enrolled, pin_created, stamped
from tests.service import Service

Event = dict[str, Any]
Asked = dict[str, Any]
PIN = "40711704"

# ------------------------------------------------------------------ a history to be searched


@pytest.fixture(scope="module")
def searched(pytestconfig: pytest.Config) -> Iterator[Service]:
    """Three vendors: two with tills, one whose clocks and histories were in disorder."""
    server = pytestconfig.stash[SERVER]
    with database(server.url, template=server.template) as url, Service(url) as service:
        for _ in range(2):
            a_day(service.shop())
        disorder(url)
        service.catch_up()
        yield service


def a_day(till: Till) -> None:
    """Everything a till does, and what its owner changes meanwhile."""
    program = till.program(max_daily_stamps=4, max_stamps_per_scan=3)
    till.program(cooldown_minutes=15)
    pin = till.pin(PIN)
    session = ok(till.post(f"/pins/{pin['id']}/sessions", {"pin": PIN}))["token"]
    staffed = Till(till.http, till.key, till.vendor_id, Staff_Session=session, X_Terminal_Id="till-1")
    assert till.post(f"/pins/{pin['id']}/sessions", {"pin": "9999"}).status_code == 403
    card, other = (till.card(program["id"], name="Léa") for _ in range(2))
    first = ok(staffed.stamp(card["id"], count=3, order_reference="A-1", location_id=str(LOCATION_ID)))
    reference = {"system": "pos", "type": "ticket", "id": "99311"}
    ok(staffed.stamp(other["id"], order_reference="=SUM(A1)", external_ref=reference, key="ticket"))
    assert staffed.stamp(card["id"], count=3, key="too-many").status_code == 409
    purchase = {"card": card["id"], "purchase_amount_minor": 4250, "currency": "EUR", "order_reference": "A-1"}
    bought_ = ok(till.post("/points", purchase))
    ok(till.post("/redemptions", {"card": card["id"], "reward_id": program["points_rewards"][0]["id"]}))
    assert till.post("/redemptions", {"card": other["id"]}).status_code == 409
    ok(till.post("/adjustments", {"card": other["id"], "stamps_delta": 2, "reason": "'quoted', and\nnot"[:12]}))
    ok(till.post("/adjustments", {"card": other["id"], "points_delta": 2, "reason": "+1"}))
    for entry in (first, bought_):
        ok(till.post(f"/entries/{entry['entry_id']}/reversal", {"reason": "Given twice"}))
    ok(till.post(f"/cards/{other['id']}/suspend", {"reason": "Lost"}))
    ok(till.post(f"/cards/{other['id']}/replace", {"reason": "Lost"}))
    ok(till.post(f"/programs/{program['id']}/deactivate"))


def disorder(url: str) -> None:
    """A clock that jumps back and forth, what occurred long before it was recorded, and passes."""
    store = Store(url).opened()
    busy_days(store, cards=6, rounds=30)
    rng = random.Random(7)
    cards = [uuid4() for _ in range(6)]
    actors = [Actor("api_key", str(uuid4()), "bearer"), Actor("staff", str(uuid4()), "pin+bearer")]
    store.append(("staff_pin", UUID(actors[1].id), [pin_created()]))
    for card_id in cards:
        store.append(("card", card_id, [enrolled()]))
    for n in range(60):
        recorded_at = MONDAY + rng.randrange(-9, 9) * DAY + rng.randrange(24) * HOUR
        envelope = {
            "recorded_at": recorded_at,
            "occurred_at": recorded_at - rng.choice((0, 0, 5)) * DAY,
            "actor": rng.choice(actors),
            "terminal_id": rng.choice((None, "till-1", "@home")),
            "location_id": rng.choice((None, LOCATION_ID)),
        }
        card_id = rng.choice(cards)
        reference = rng.choice((None, "A-1", "pos:ticket:99311"))
        event = (
            stamped(n, order_reference=reference)
            if n % 2
            else bought(7, n, external_ref=reference and f"{reference}/{n}")
        )
        store.append(("card", card_id, [event]), **envelope)
    passes = ApplePassIssued(MONDAY, cards[0], uuid4(), "pass.lu.example", uuid4().hex)
    store.append(("wallet_pass", wallet_pass_id(cards[0]), [passes]))
    store.connection.close()


def stream(service: Service) -> list[Event]:
    """Every event there is, read as it stands."""
    events: list[Event] = []
    after = 0
    while True:
        page = ok(service.auditor.get("/events", after=after, limit=200))
        events += page["items"]
        if page["next_after"] is None:
            return events
        after = page["next_after"]


@pytest.fixture(scope="module")
def quiet_shops(searched: Service) -> list[Till]:
    """Two more, which do nothing."""
    shops = [searched.shop() for _ in range(2)]
    searched.catch_up()
    return shops


@pytest.fixture(scope="module")
def events(searched: Service, quiet_shops: list[Till]) -> list[Event]:
    return stream(searched)


def all_of(client: Client, **asked: Any) -> list[Event]:
    response = client.send("GET", "/events", params=asked, headers={"Accept": "application/x-ndjson"})
    assert response.status_code == 200, response.text
    return [orjson.loads(line) for line in response.text.splitlines()]


# ------------------------------------------------------------------ filters


def entry_type(event: Event) -> str | None:
    name, data = event["name"], event["data"]
    either = {
        "reward-redeemed": ("points_redeemed", "stamp_redeemed")[data.get("reward_id") is None],
        "earn-reversed": ("points_reversed", "stamp_reversed")[bool(data.get("is_stamps"))],
        "units-adjusted": ("points_adjusted", "stamp_adjusted")[bool(data.get("stamps"))],
    }
    status = dict.fromkeys(
        ("card-suspended", "card-reinstated", "card-replaced", "card-closed", "card-erased"), "card_status_changed"
    )
    plain = {"stamps-added": "stamp_earned", "points-earned": "points_earned", "card-enrolled": "card_enrolled"}
    return (either | status | plain).get(name)


def card_of(event: Event) -> str | None:
    kind = event["envelope"]["stream_type"]
    if kind == "attempts":
        return str(event["data"]["card_id"])
    return str(event["stream_id"]) if kind == "card" else None


FITS: dict[str, Callable[[Event, Any], bool]] = {
    "vendor_id": lambda event, id_: event["envelope"]["vendor_id"] == id_,
    "program_id": lambda event, id_: event["envelope"].get("program_id") == id_,
    "location_id": lambda event, id_: event["envelope"].get("location_id") == id_,
    "terminal_id": lambda event, id_: event["envelope"].get("terminal_id") == id_,
    "actor_id": lambda event, id_: event["envelope"]["actor"]["id"] == id_,
    "card_id": lambda event, id_: card_of(event) == id_ or event["stream_id"] == str(wallet_pass_id(UUID(id_))),
    "staff_pin_id": lambda event, id_: (
        event["stream_id"] == id_
        or (event["envelope"]["actor"]["type"], event["envelope"]["actor"]["id"]) == ("staff", id_)
    ),
    "reference": lambda event, text: text in (event["data"].get("order_reference"), event["data"].get("external_ref")),
    "type": lambda event, kinds: bool({event["name"], entry_type(event)} & set(kinds.split(","))),
    "from": lambda event, at: moment(event["recorded_at"]) >= moment(at),
    "to": lambda event, at: moment(event["recorded_at"]) < moment(at),
    "occurred_from": lambda event, at: moment(event["occurred_at"]) >= moment(at),
    "occurred_to": lambda event, at: moment(event["occurred_at"]) < moment(at),
    "after": lambda event, position: event["position"] > position,
}


def values(event: Event) -> Asked:
    """Filters that this event fits."""
    envelope, data = event["envelope"], event["data"]
    later = {
        name: str(moment(event[name]) + timedelta(hours=1)).replace(" ", "T") for name in ("recorded_at", "occurred_at")
    }
    found = {
        **{name: envelope.get(name) for name in ("vendor_id", "program_id", "location_id", "terminal_id")},
        "actor_id": envelope["actor"]["id"],
        "card_id": card_of(event),
        "staff_pin_id": envelope["actor"]["id"] if envelope["actor"]["type"] == "staff" else None,
        "reference": data.get("order_reference") or data.get("external_ref"),
        "type": entry_type(event) or event["name"],
        "from": event["recorded_at"],
        "to": later["recorded_at"],
        "occurred_from": event["occurred_at"],
        "occurred_to": later["occurred_at"],
        "after": event["position"] - 1,
    }
    return {name: value for name, value in found.items() if value is not None}


def fitting(events: list[Event], asked: Asked) -> list[int]:
    return [event["position"] for event in events if all(FITS[name](event, value) for name, value in asked.items())]


def positions(events: list[Event]) -> list[int]:
    return [event["position"] for event in events]


def test_each_filter_finds_what_reading_the_whole_stream_finds(searched: Service, events: list[Event]) -> None:
    used = set()
    for event in events:
        for name, value in values(event).items():
            if (name, value) not in used and name not in ("from", "to", "occurred_from", "occurred_to", "after"):
                used.add((name, value))
                found = all_of(searched.auditor, **{name: value})
                assert positions(found) == fitting(events, {name: value}), (name, value)
                assert found == [event for event in events if event["position"] in positions(found)]
    assert {name for name, _ in used} == FITS.keys() - {"from", "to", "occurred_from", "occurred_to", "after"}


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_filters_together_find_what_fits_all_of_them(
    searched: Service, events: list[Event], data: st.DataObject
) -> None:
    one, other = (values(data.draw(st.sampled_from(events))) for _ in range(2))
    names = data.draw(st.sets(st.sampled_from(sorted(FITS)), min_size=1, max_size=4))
    mixed = data.draw(st.sets(st.sampled_from(sorted(FITS)), max_size=1))
    asked = {name: (other if name in mixed else one).get(name) for name in names}
    asked = {name: value for name, value in asked.items() if value is not None}
    for start, end in (("from", "to"), ("occurred_from", "occurred_to")):
        if start in asked and end in asked and asked[end] < asked[start]:
            del asked[end]
    order = data.draw(st.sampled_from(["oldest", "newest"]))
    found = positions(all_of(searched.auditor, **asked, order=order))
    assert (found if order == "oldest" else found[::-1]) == fitting(events, asked), asked


def test_several_types_are_any_of_them(searched: Service, events: list[Event]) -> None:
    for kinds in (
        "stamp_earned,stamp-refused,program-created",
        "stamps-added,stamp_earned",
        "stamp_redeemed,points_redeemed",
    ):
        assert positions(all_of(searched.auditor, type=kinds)) == fitting(events, {"type": kinds})


def test_a_command_is_found_by_its_idempotency_key(searched: Service, events: list[Event]) -> None:
    vendors = {event["envelope"]["vendor_id"] for event in events if event["data"].get("order_reference") == "=SUM(A1)"}
    assert len(vendors) == 2
    for vendor_id in vendors:
        asked = {"vendor_id": vendor_id, "idempotency_key": "ticket"}
        (entry,) = all_of(searched.auditor, **asked)
        assert (entry["data"]["order_reference"], entry["envelope"]["vendor_id"]) == ("=SUM(A1)", vendor_id)
        (refusal,) = all_of(searched.auditor, **asked | {"idempotency_key": "too-many"})
        assert (refusal["name"], refusal["envelope"]["vendor_id"]) == ("stamp-refused", vendor_id)
        assert all_of(searched.auditor, **asked | {"idempotency_key": "unknown"}) == []


# ------------------------------------------------------------------ pages


@pytest.mark.parametrize("order", ["oldest", "newest"])
@pytest.mark.parametrize("limit", [1, 7, 200])
def test_pages_cover_each_event_once_there_and_back(
    searched: Service, events: list[Event], order: str, limit: int
) -> None:
    asked = {"type": "stamp_earned,stamp-refused,vendor-registered", "order": order, "limit": limit}
    expected = fitting(events, {"type": asked["type"]})[:: 1 if order == "oldest" else -1]
    there = [ok(searched.auditor.get("/events", **asked))]
    while (cursor := there[-1]["next_cursor"]) is not None:
        there.append(ok(searched.auditor.get("/events", **asked, cursor=cursor)))
    assert there[0]["previous_cursor"] is None
    back = [there[-1]]
    while (cursor := back[-1]["previous_cursor"]) is not None:
        back.append(ok(searched.auditor.get("/events", **asked, cursor=cursor)))
    assert [position for page in there for position in positions(page["items"])] == expected
    if len(there) > 1:  # From the first page on, pages are cut from the other end.
        assert [position for page in back[::-1] for position in positions(page["items"])] == expected
        assert all(page["next_cursor"] for page in back[1:])


def test_what_is_recorded_meanwhile_moves_no_page(service: Service) -> None:
    till = service.shop()
    card = till.card(till.program()["id"])
    stamps = [ok(till.stamp(card["id"]))["position"] for _ in range(4)]

    def page(**asked: Any) -> Event:
        return ok(till.get("/events", type="stamps-added", limit=2, min_position=stamps[-1], **asked))

    newest = page(order="newest")
    stamps += [ok(till.stamp(card["id"]))["position"] for _ in range(3)]
    older = page(order="newest", cursor=newest["next_cursor"])
    assert [positions(newest["items"]), positions(older["items"])] == [stamps[3:1:-1], stamps[1::-1]]
    again = page(order="newest", cursor=older["previous_cursor"])
    assert again["items"] == newest["items"]
    newer = page(order="newest", cursor=again["previous_cursor"])
    assert positions(newer["items"]) == stamps[5:3:-1]
    last = page(cursor=page(after=stamps[4])["previous_cursor"]) if page(after=stamps[4])["previous_cursor"] else None
    assert last is None
    empty = page(order="newest", cursor=newest["next_cursor"], after=stamps[3])
    assert empty["items"] == [] and empty["next_cursor"] is None
    assert page(order="newest", after=stamps[3], cursor=empty["previous_cursor"])["items"] == newer["items"]


def test_with_no_filter_nothing_delays_what_auditors_see(own_service: Service) -> None:
    till = own_service.shop()
    card = till.card(till.program()["id"])
    own_service.catch_up()
    own_service.stop_projecting()
    position = ok(till.stamp(card["id"]))["position"]
    assert positions(all_of(own_service.auditor))[-1] == position
    assert all_of(till, type="stamps-added") == []
    own_service.catch_up()
    assert positions(all_of(till, type="stamps-added")) == [position]


# ------------------------------------------------------------------ forms


def test_csv_read_back_is_what_json_says(searched: Service, events: list[Event]) -> None:
    response = searched.auditor.send("GET", "/events", headers={"Accept": "text/csv"})
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["content-disposition"] == 'attachment; filename="events.csv"'
    head, *rows = csv.reader(StringIO(response.text, newline=""), strict=True)
    assert tuple(head) == COLUMNS
    assert [read_back(dict(zip(head, row, strict=True))) for row in rows] == events


def read_back(row: dict[str, str]) -> Event:
    """A row of the CSV as the JSON has it."""
    row = {name: text[1:] if text.startswith("'") else text for name, text in row.items()}
    numbers = {name: int(row[name]) for name in ("position", "version", "schema", "program_version") if row[name]}
    plain: dict[str, Any] = {name: text or None for name, text in row.items()} | numbers
    actor = {"type": row["actor_type"], "id": row["actor_id"], "authenticated_by": row["actor_authenticated_by"]}
    times = {name: row[name] for name in ("recorded_at", "occurred_at")}
    told = {name: plain[name] for name in ENVELOPE if plain[name] is not None}
    return {
        **{name: plain[name] for name in ("position", "stream_id", "version", "name", "hash", "prev_hash")},
        **times,
        "envelope": {**told, **times, "actor": actor},
        "data": orjson.loads(row["data"]),
    }


def test_no_cell_is_taken_for_a_formula(searched: Service) -> None:
    response = searched.auditor.send("GET", "/events", params={"terminal_id": "@home"}, headers={"Accept": "text/csv"})
    rows = list(csv.DictReader(StringIO(response.text, newline="")))
    assert len(rows) > 5 and {row["terminal_id"] for row in rows} == {"'@home"}
    assert not [cell for row in rows for cell in row.values() if cell.startswith(tuple("=+-@\t\r"))]
    for text in ("=1+1", "+1", "-1", "@a", "\ta", "\ra", "'a", "＝1", "a;=1+1", "a\n @b"):
        assert cell(text) == f"'{text}"
    assert [cell(value) for value in ("a=1", "", None, -1)] == ["a=1", "", None, -1]


def test_ndjson_and_json_say_the_same_and_accept_chooses(searched: Service, events: list[Event]) -> None:
    assert all_of(searched.auditor) == events
    for accept, kind in {
        "application/json": "application/json",
        "": "application/json",
        "image/png": "application/json",
        "text/csv;q=0.4, application/json;q=0.5": "application/json",
        "application/json;q=0.4, text/csv": "text/csv; charset=utf-8",
        "text/csv;q=0, */*;q=0.1": "application/json",
        "application/x-ndjson": "application/x-ndjson",
    }.items():
        response = searched.auditor.send("GET", "/events", headers={"Accept": accept})
        assert (response.status_code, response.headers["content-type"]) == (200, kind), accept
        assert response.headers["vary"] == "Accept"
        assert int(response.headers["x-ledger-position"]) == events[-1]["position"]
    assert accepted("text/csv;q=x, application/x-ndjson;q=0.2") == "application/x-ndjson"


# ------------------------------------------------------------------ who sees what


def test_a_vendor_finds_its_own_events_and_nobody_elses(
    searched: Service, events: list[Event], quiet_shops: list[Till]
) -> None:
    own, other = quiet_shops
    for till in (own, other):
        assert all_of(till) == all_of(searched.auditor, vendor_id=till.vendor_id)
        assert {event["envelope"]["vendor_id"] for event in all_of(till)} == {till.vendor_id}
    for event in events:
        for name, value in values(event).items():
            if name not in ("vendor_id", "from", "to", "occurred_from", "occurred_to", "after", "type", "actor_id"):
                assert all_of(own, **{name: value}) == [], (name, value)
    problem(own.get("/events", vendor_id=other.vendor_id), 422, "validation_failed")
    unread = searched.till(searched.admin.api_key(own.vendor_id, "earn")["key"])
    problem(unread.get("/events"), 403, "scope_missing")
    problem(own.http.get("/api/v1/admin/loyalty/events", headers=own.headers), 403, "scope_missing")


def test_another_vendors_cursor_shows_nothing_of_theirs(searched: Service, quiet_shops: list[Till]) -> None:
    till = quiet_shops[0]
    everything = ok(searched.auditor.get("/events", order="newest", limit=1))
    mine = ok(till.get("/events", order="newest", cursor=everything["next_cursor"]))
    assert {event["envelope"]["vendor_id"] for event in mine["items"]} <= {till.vendor_id}


def test_nothing_personal_or_secret_is_told_in_clear(searched: Service) -> None:
    for form in ("application/json", "text/csv", "application/x-ndjson"):
        text = searched.auditor.send("GET", "/events", params={"limit": 200}, headers={"Accept": form}).text
        assert "sealed" in text
        assert not [secret for secret in ("Léa", "$2b$") if secret in text]
        assert not re.search(rf"(?<![0-9a-f])({PIN}|Marie)(?![0-9a-f])", text)


# ------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"card_id": "12"}, "card_id"),
        ({"program_id": "="}, "program_id"),
        ({"staff_pin_id": ""}, "staff_pin_id"),
        ({"location_id": "nowhere"}, "location_id"),
        ({"terminal_id": "till 1"}, "terminal_id"),
        ({"terminal_id": "t" * 65}, "terminal_id"),
        ({"actor_id": "a\x00b"}, "actor_id"),
        ({"reference": ""}, "reference"),
        ({"type": "stamp_given"}, "type"),
        ({"type": "stamps-added,"}, "type"),
        ({"names": "stamps-added", "type": "stamps-added"}, "names"),
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-03-01"}, "to"),
        ({"from": "2026-03-02T00:00:00Z", "to": "2026-03-01T00:00:00Z"}, "to"),
        ({"occurred_from": "2026-03-02T00:00:00Z", "occurred_to": "2026-03-01T00:00:00Z"}, "occurred_to"),
        ({"after": -1}, "after"),
        ({"limit": 201}, "limit"),
        ({"order": "best"}, "order"),
        ({"cursor": "c" * 500}, "cursor"),
        ({"idempotency_key": "ticket"}, "vendor_id"),
        ({"staff": "Marie"}, "staff"),
    ],
)
def test_a_filter_that_makes_no_sense_is_named(searched: Service, asked: Asked, field: str) -> None:
    told = problem(searched.auditor.get("/events", **asked), 422, "validation_failed")
    assert [(error["in"], error["field"]) for error in told["errors"]] == [("query", field)]


def test_cursors_of_other_lists_and_cursors_without_pages_are_refused(searched: Service) -> None:
    for cursor in ("", "AAAA", encode_cursor(4), encode_cursor("beside", 4), encode_cursor("after", "4")):
        problem(searched.auditor.get("/events", cursor=cursor), 400, "malformed_request")
    response = searched.auditor.send(
        "GET", "/events", params={"cursor": encode_cursor("after", 4)}, headers={"Accept": "text/csv"}
    )
    assert problem(response, 422, "validation_failed")["errors"][0]["field"] == "cursor"
