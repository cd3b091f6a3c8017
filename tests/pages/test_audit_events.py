"""The search of events as auditors use it in a browser: the API's search, page by page and as a file."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from playwright.sync_api import expect

from api.languages import LANGUAGES
from api.pages import audit_events
from api.pages.event_story import LABELS
from ledger.attempts import AttemptEvent
from ledger.card import CardEvent
from ledger.stream import EVENT_NAMES
from projections.loyalty_transactions import ENTRY_TYPES
from tests.api.test_languages import catalogue, texts
from tests.callers import AUDITOR_KEY, Till, ok
from tests.pages.browser import DESKTOP, SMALL, Person, barriers, overflowing
from tests.pages.test_audit import CANARY, signed_in
from tests.service import Service

People = Callable[..., Person]
POSITION = re.compile(r"Position ([0-9,]+)")
LOCATION = "0195a1b0-0000-7000-8000-0000000000f1"


@pytest.fixture
def shop(service: Service) -> Till:
    return service.shop(name="Café Zopf")


@pytest.fixture
def day(service: Service, shop: Till) -> dict[str, Any]:
    """What a search finds of a day at a till: ids and numbers by the name of their filter."""
    program = shop.program(cooldown_minutes=15)
    pin = shop.pin()
    session = ok(shop.post(f"/pins/{pin['id']}/sessions", {"pin": "4071", "terminal_id": "till-7"}))["token"]
    card = shop.card(program["id"], name="Léa Canary")
    staffed = shop.with_session(session)
    ok(staffed.stamp(card["id"], key="the-first", order_reference="R-77", location_id=LOCATION))
    assert staffed.stamp(card["id"]).status_code == 409
    service.catch_up()
    return {
        "card": card["card_number"],
        "card_id": card["id"],
        "vendor_id": shop.vendor_id,
        "program_id": program["id"],
        "location_id": LOCATION,
        "staff_pin_id": pin["id"],
        "actor_id": pin["id"],
        "terminal_id": "till-7",
        "reference": "R-77",
        "idempotency_key": "the-first",
    }


@pytest.fixture
def auditor(person: People) -> Person:
    return signed_in(person(window=DESKTOP), AUDITOR_KEY)


def shown(service: Service, key: str = AUDITOR_KEY, status: int = 200, **asked: Any) -> str:
    """The page, asked for as a program does."""
    headers = {"Authorization": f"Bearer {key}", "Accept": "text/html", "Accept-Language": "en"}
    answer = service.http.get("/audit/events", params=asked, headers=headers)
    assert answer.status_code == status, answer.text
    return answer.text


def positions(text: str) -> list[int]:
    return [int(found.replace(",", "")) for found in POSITION.findall(text)]


def api_positions(service: Service, **asked: Any) -> list[int]:
    items = ok(service.auditor.get("/events", **{"order": "newest", **asked}))["items"]
    return [item["position"] for item in items]


# ------------------------------------------------------------------ the same search


def test_a_card_is_searched_by_its_number_and_a_row_leads_to_that_version(auditor: Person, day: dict[str, Any]) -> None:
    page = auditor.opens("/audit")
    page.get_by_role("link", name="Search all events").click()
    expect(page.get_by_role("heading", name="Events", exact=True)).to_be_visible()
    expect(page.get_by_label("Till")).to_be_hidden()
    page.get_by_label("Card, by number or id").fill(f"{day['card'][:4]} {day['card'][4:]}")
    page.get_by_role("button", name="Search").click()
    rows = page.get_by_role("main").get_by_role("listitem")
    expect(rows).to_have_count(3)
    expect(rows.nth(0)).to_contain_text("Refused: Too soon after the last stamp")
    expect(rows.nth(1)).to_contain_text("1 stamp added")
    expect(rows.nth(1)).to_contain_text("At the counter: till-7 · Café Zopf")
    rows.nth(1).get_by_role("link", name=f"Card {day['card']}, version 2").click()
    assert page.url.endswith(f"/audit/cards/{day['card_id']}?version=2")
    expect(page.locator("#replay [data-shown='2']")).to_be_visible()
    page.get_by_role("link", name="Search the events of this card").click()
    rows = page.get_by_role("main").get_by_role("listitem")
    rows.nth(0).get_by_role("link", name="why?").click()
    expect(page.get_by_role("heading", name="Why it was decided so")).to_be_visible()


@pytest.mark.parametrize(
    "name",
    ["card_id", "program_id", "location_id", "terminal_id", "staff_pin_id", "actor_id", "reference", "idempotency_key"],
)
def test_each_filter_finds_what_the_api_finds(service: Service, day: dict[str, Any], name: str) -> None:
    asked = {"vendor_id": day["vendor_id"], name: day[name]}
    found = api_positions(service, **asked)
    everything = api_positions(service, vendor_id=day["vendor_id"])
    assert 0 < len(found) < len(everything)
    if name == "card_id":
        asked = {"vendor_id": day["vendor_id"], "card": day["card"]}
    assert positions(shown(service, **asked)) == found
    assert positions(shown(service, **asked, order="oldest")) == found[::-1]


def test_each_kind_finds_the_events_that_belong_to_it(service: Service, day: dict[str, Any]) -> None:
    for kind, (_, names) in audit_events.KINDS.items():
        found = api_positions(service, vendor_id=day["vendor_id"], type=names)
        assert positions(shown(service, vendor_id=day["vendor_id"], kind=kind)) == found, kind
    refused = api_positions(service, vendor_id=day["vendor_id"], type="stamp-refused")
    assert len(refused) == 1
    assert positions(shown(service, vendor_id=day["vendor_id"], type="stamp-refused,earn-refused")) == refused


def test_every_event_is_of_some_kind_and_has_words() -> None:
    parts = [part for _, names in audit_events.KINDS.values() for part in names.split(",")]
    assert set(parts) <= {*EVENT_NAMES, *ENTRY_TYPES}
    entries = {cls for type_ in parts for cls in ENTRY_TYPES.get(type_, ())}
    assert {name for name, cls in EVENT_NAMES.items() if name not in parts and cls not in entries} == set()
    told_by_themselves = get_args(CardEvent) + get_args(AttemptEvent)
    assert LABELS.keys() == {name for name, cls in EVENT_NAMES.items() if cls not in told_by_themselves}


def test_days_are_whole_days_in_utc(service: Service, day: dict[str, Any]) -> None:
    recorded = service.auditor.get("/events", vendor_id=day["vendor_id"]).json()["items"]
    first, last = (recorded[at]["recorded_at"][:10] for at in (0, -1))
    everything = api_positions(service, vendor_id=day["vendor_id"])
    assert positions(shown(service, vendor_id=day["vendor_id"], **{"from": first, "to": last})) == everything
    assert positions(shown(service, vendor_id=day["vendor_id"], to="2020-02-29")) == []
    assert positions(shown(service, vendor_id=day["vendor_id"], occurred_from=first, occurred_to=last)) == everything
    moment = recorded[2]["recorded_at"]
    since = api_positions(service, vendor_id=day["vendor_id"], **{"from": moment})
    assert positions(shown(service, vendor_id=day["vendor_id"], **{"from": moment})) == since != everything


def test_pages_lead_there_and_back(auditor: Person, service: Service, shop: Till) -> None:
    card = shop.card(shop.program()["id"])
    for _ in range(audit_events.SHOWN + 4):
        ok(shop.stamp(card["id"]))
    service.catch_up()
    page = auditor.opens(f"/audit/events?card={card['id']}&kind=earned")
    first = positions(page.content())
    assert len(first) == audit_events.SHOWN
    expect(page.get_by_role("link", name="Newer")).to_have_count(0)
    page.get_by_role("link", name="Older").click()
    page.wait_for_url("**cursor=**")
    second = positions(page.content())
    assert [*first, *second] == api_positions(service, card_id=card["id"], type="stamp_earned", limit=200)
    expect(page.get_by_label("Card, by number or id")).to_have_value(card["id"])
    expect(page.get_by_role("link", name="Older")).to_have_count(0)
    page.get_by_role("link", name="Newer").click()
    expect(page.get_by_role("link", name="Older")).to_be_visible()
    assert positions(page.content()) == first


@pytest.mark.parametrize(("name", "accept"), [("CSV", "text/csv"), ("NDJSON", "application/x-ndjson")])
def test_the_file_is_the_apis_for_the_very_same_filter(
    auditor: Person, service: Service, day: dict[str, Any], name: str, accept: str
) -> None:
    page = auditor.opens(f"/audit/events?card={day['card']}&kind=earned&terminal_id=till-7")
    with page.expect_download() as download:
        page.get_by_role("link", name=f"Everything found, as {name}").click()
    assert download.value.suggested_filename == f"events.{name.lower()}"
    asked = {"card_id": day["card_id"], "type": "stamp_earned,points_earned", "terminal_id": "till-7"}
    answer = service.auditor.send("GET", "/events", params=asked, headers={"Accept": accept})
    assert Path(download.value.path()).read_bytes() == answer.content
    assert answer.text.count("stamps-added") == 1


# ------------------------------------------------------------------ nothing, and what makes no sense


def test_nothing_found_says_so_and_leads_back(auditor: Person, day: dict[str, Any]) -> None:
    page = auditor.opens(f"/audit/events?card={day['card']}&terminal_id=nowhere")
    expect(page.get_by_text("Nothing fits.")).to_be_visible()
    expect(page.get_by_label("Till", exact=True)).to_have_value("nowhere")
    expect(page.get_by_role("link", name="Everything found, as CSV")).to_have_count(0)
    page.get_by_role("link", name="Show everything").click()
    expect(page.get_by_role("main").get_by_role("listitem").first).to_be_visible()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"card": "123456789012"}, "There is no such card."),
        ({"card": "Aa_-" * 8}, "Type its number or its id."),
        ({"program_id": "coffee"}, "Must be a UUID"),
        ({"from": "yesterday"}, "Must be a date and time with a zone"),
        ({"from": "2026-03-05", "to": "2026-03-01"}, "Must not lie before the beginning"),
        ({"type": "stamps-added,stamps"}, "One of these is no name of an event."),
        ({"kind": "stamps"}, "One of these is no name of an event."),
        ({"kind": "earned", "type": "stamps-added"}, "Choose one of both"),
        ({"idempotency_key": "k"}, "Is missing."),
        ({"terminl_id": "till-1"}, "terminl_id: is not a field of this request."),
    ],
)
def test_a_filter_that_makes_no_sense_finds_nothing_and_is_named(
    service: Service, asked: dict[str, str], said: str
) -> None:
    text = shown(service, status=422, **asked)
    errors = re.findall(r'class="error".*?<span>(.*?)</span>|role="alert">.*?<p>(.*?)</p>', text, re.DOTALL)
    assert said in str(errors), errors
    assert positions(text) == []
    headers = {"Authorization": f"Bearer {AUDITOR_KEY}"}
    assert service.http.get("/audit/events.csv", params=asked, headers=headers).status_code == 400


def test_what_is_wrong_in_a_hidden_filter_is_shown(auditor: Person) -> None:
    auditor.expected = ["422"]
    page = auditor.opens("/audit/events?program_id=coffee")
    expect(page.get_by_label("Program, by id")).to_be_visible()
    assert page.get_by_label("Program, by id").get_attribute("aria-invalid") == "true"


# ------------------------------------------------------------------ who may look


def test_a_shop_finds_what_happened_at_it_and_nothing_else(service: Service, shop: Till, day: dict[str, Any]) -> None:
    other = service.shop()
    others = other.card(other.program()["id"])
    service.catch_up()
    own = api_positions(service, vendor_id=shop.vendor_id)
    text = shown(service, shop.key)
    assert positions(text) == own
    assert "vendor_id" not in text
    assert "There is no such card." in shown(service, shop.key, 422, card=others["card_number"])
    assert positions(shown(service, shop.key, 422, vendor_id=other.vendor_id)) == []
    shown(service, service.shop("earn").key, 403)
    headers = {"Authorization": f"Bearer {other.key}"}
    assert day["card_id"] not in service.http.get("/audit/events.ndjson", headers=headers).text


def test_whoever_is_not_signed_in_signs_in_and_comes_back(person: People, day: dict[str, Any]) -> None:
    page = person().opens(f"/audit/events?card={day['card']}&kind=refused")
    page.get_by_label("Your key").fill(AUDITOR_KEY)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("main").get_by_role("listitem")).to_have_count(1)


def test_nothing_personal_is_shown_and_what_people_wrote_stays_text(
    auditor: Person, service: Service, shop: Till, day: dict[str, Any]
) -> None:
    ok(shop.post(f"/cards/{day['card_id']}/suspend", {"reason": CANARY}))
    shop.pin(staff_id="canary", name="Marie Canary")
    service.catch_up()
    page = auditor.opens(f"/audit/events?vendor_id={shop.vendor_id}")
    expect(page.get_by_text(f"Suspended: {CANARY}")).to_be_visible()
    expect(page.get_by_text("PIN created: canary")).to_be_visible()
    assert page.locator("img[src=x]").count() == 0
    assert "Léa" not in page.content() and "Marie" not in page.content()


# ------------------------------------------------------------------ everybody can use it


@pytest.mark.parametrize("language", LANGUAGES)
def test_nobody_is_kept_out(person: People, service: Service, day: dict[str, Any], language: str) -> None:
    reader = signed_in(person(window=SMALL), AUDITOR_KEY)
    reader.expected = ["422"]
    tab = reader.opens(f"/language/{language}?to=/audit/events")
    for address in (
        f"/audit/events?vendor_id={day['vendor_id']}",
        "/audit/events?terminal_id=nowhere",
        "/audit/events?card=123456789012&program_id=coffee&from=yesterday",
    ):
        tab.goto(address)
        assert barriers(tab) == [], address
        assert overflowing(tab) == [], address


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_sentence_is_missing(language: str) -> None:
    there = {texts(message.id)[0] for message in catalogue(language) if all(texts(message.string))}  # type: ignore[arg-type]
    said = {*LABELS.values(), *(label for label, _ in audit_events.KINDS.values())}
    said |= {audit_events.NO_CARD, audit_events.NO_NUMBER, audit_events.NO_NAME, audit_events.TWICE}
    assert sorted(said - there) == []
