"""The auditor's pages: a card version by version, what was changed behind the service's back, and who may look."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.callers import ADMIN_KEY, AUDITOR_KEY, Till, ok
from tests.pages.browser import DESKTOP, SMALL, Person, barriers, overflowing
from tests.service import Service

People = Callable[..., Person]
CANARY = "<img src=x onerror=alert(1)>{{7*7}}"
TAMPER = """
UPDATE stored_events SET state = replace(convert_from(state, 'UTF8'), %s, %s)::bytea
WHERE originator_id = %s AND originator_version = %s
"""


@pytest.fixture
def shop(service: Service) -> Till:
    return service.shop()


@pytest.fixture
def card(shop: Till) -> dict[str, Any]:
    """Twenty versions: given out, 18 stamps, and a reward redeemed."""
    card = shop.card(shop.program()["id"], name="Anna")
    for _ in range(18):
        ok(shop.stamp(card["id"]))
    ok(shop.post("/redemptions", {"card": card["id"]}))
    return card


@pytest.fixture
def auditor(person: People) -> Person:
    return signed_in(person(window=DESKTOP), AUDITOR_KEY)


def signed_in(somebody: Person, key: str) -> Person:
    somebody.expected = ["404", "403"] if key.startswith("llk_") else []
    page = somebody.opens("/sign-in")
    page.get_by_label("Your key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "sign-in" not in url)
    page.close()
    return somebody


def at(card: dict[str, Any], more: str = "") -> str:
    return f"/audit/cards/{card['id']}{more}"


def tamper(
    service: Service, card: dict[str, Any], version: int, was: str = '"stamps":1', is_: str = '"stamps":9'
) -> None:
    """As somebody does who owns the database."""
    service.rows("ALTER TABLE stored_events DISABLE TRIGGER USER")
    service.rows(TAMPER, was, is_, card["id"], version)
    service.rows("ALTER TABLE stored_events ENABLE TRIGGER USER")


def verified_here(page: Page, key: str = "") -> str:
    page.get_by_label("The ledger’s public key").fill(key)
    page.get_by_role("button", name="Verify in this browser").click()
    verdict = page.locator("#browser-verdict .alert, #browser-verdict .badge").first
    expect(verdict).to_be_visible()
    return page.locator("#browser-verdict").inner_text()


# ------------------------------------------------------------------ version by version


def test_the_slider_shows_version_17_and_its_address_does_too(auditor: Person, card: dict[str, Any]) -> None:
    page = auditor.opens(at(card))
    slider = page.get_by_role("slider", name="Version")
    expect(slider).to_have_value("20")
    slider.focus()
    for _ in range(3):
        slider.press("ArrowLeft")
    expect(page.locator("#replay [data-shown='17']")).to_be_visible()
    expect(page.get_by_role("img", name="10 of 10 stamps")).to_be_visible()
    expect(page.locator("#replay .balance")).to_contain_text("16 stamps")
    assert page.url.endswith("?version=17")
    page.reload()
    expect(page.get_by_role("slider", name="Version")).to_have_value("17")
    expect(page.locator("#replay .balance")).to_contain_text("16 stamps")


def test_going_back_leads_to_the_page_before_however_far_the_slider_went(auditor: Person, card: dict[str, Any]) -> None:
    page = auditor.opens("/audit")
    page.goto(at(card))
    for version in (19, 18, 17):
        page.locator("#replay a[rel=prev]").click()
        expect(page.locator(f"#replay [data-shown='{version}']")).to_be_visible()
        expect(page.locator("#replay a[rel=prev]")).to_be_focused()
    page.go_back()
    expect(page.get_by_role("heading", name="Find a card")).to_be_visible()


def test_without_a_script_the_versions_are_links(person: People, card: dict[str, Any]) -> None:
    page = signed_in(person(java_script_enabled=False), AUDITOR_KEY).opens(at(card, "?version=17"))
    expect(page.locator("#replay .balance")).to_contain_text("16 stamps")
    page.get_by_role("link", name="Version 16").first.click()
    assert page.url.endswith("?version=16")
    expect(page.locator("#replay .balance")).to_contain_text("15 stamps")


def test_two_versions_are_compared(auditor: Person, card: dict[str, Any]) -> None:
    page = auditor.opens(at(card, "?version=20&against=2"))
    rows = page.get_by_role("region", name="What is different").get_by_role("row")
    expect(rows.filter(has_text="Stamp rewards redeemed")).to_contain_text("0")
    expect(rows.filter(has_text="Stamps ever earned")).to_contain_text("18")
    expect(rows.filter(has_text="Points")).to_have_count(0)


def test_a_version_says_who_where_when_and_why(auditor: Person, shop: Till) -> None:
    pin = shop.pin()
    card = shop.card(shop.program(require_staff_pin=True)["id"])
    session = ok(shop.post(f"/pins/{pin['id']}/sessions", {"pin": "4071", "terminal_id": "till-1"}))
    ok(shop.with_session(session["token"]).stamp(card["id"]))
    page = auditor.opens(at(card))
    shown = page.locator("#replay")
    expect(shown).to_contain_text(f"Staff: {pin['staff_id']}")
    expect(shown).to_contain_text("At the counter: till-1")
    expect(shown.locator("time")).to_have_count(2)
    expect(shown).to_contain_text("the cooldown of 0 minutes was over")
    expect(shown).to_contain_text("it comes out the same")


def test_refusals_stand_between_the_events_and_say_why(auditor: Person, service: Service, shop: Till) -> None:
    card = shop.card(shop.program(cooldown_minutes=15)["id"])
    ok(shop.stamp(card["id"]))
    assert shop.stamp(card["id"]).status_code == 409
    service.catch_up()
    page = auditor.opens(at(card))
    line = page.get_by_role("listitem").filter(has_text="Refused: Too soon after the last stamp")
    line.get_by_role("link", name="Why?").click()
    expect(page.get_by_role("heading", name="Why it was decided so")).to_be_visible()
    expect(page.get_by_text("The last stamp is too recent")).to_be_visible()


# ------------------------------------------------------------------ what was changed


def test_an_untouched_history_holds_on_the_server_and_in_the_browser(
    auditor: Person, service: Service, card: dict[str, Any]
) -> None:
    service.seal()
    page = auditor.opens(at(card))
    page.get_by_role("button", name="Verify on the server").click()
    expect(page.get_by_text("Everything holds.")).to_be_visible()
    key = service.rows("SELECT verifier_key FROM sealing_keys")[0]["verifier_key"]
    told = verified_here(page, key)
    assert "Everything that was checked holds." in told and told.count("Holds") == 4
    assert "Not checked That the balances add up" in told
    expect(page.locator("code.same")).to_have_count(20)
    expect(page.locator(".alarm:visible")).to_have_count(0)


def test_a_row_changed_by_sql_raises_the_banner_with_its_version(
    auditor: Person, service: Service, card: dict[str, Any]
) -> None:
    service.seal()
    tamper(service, card, 5)
    page = auditor.opens(at(card, "?verify=true"))
    banner = page.get_by_role("alert").filter(has_text="This history was changed.").first
    expect(banner).to_contain_text("Version 5 is not what was recorded.")
    background = banner.evaluate("one => getComputedStyle(one).backgroundColor")
    assert background == "rgb(168, 35, 28)"
    expect(page.locator("#server-verdict")).to_contain_text("Version 5 is not what was recorded.")
    assert "Version 5 is not what was recorded." in verified_here(page)
    expect(page.locator(".alarm:visible")).to_have_count(1)
    expect(page.locator("code.other")).to_have_count(0)
    page.emulate_media(color_scheme="dark")
    assert banner.evaluate("one => getComputedStyle(one).backgroundColor") == background


def test_a_history_written_anew_is_found_by_the_tree(auditor: Person, service: Service, shop: Till) -> None:
    card = shop.card(shop.program()["id"])
    ok(shop.stamp(card["id"]))
    service.seal()
    tamper(service, card, 2)
    page = auditor.opens(at(card))
    expect(page.locator(".alarm").first).to_contain_text("Version 2")  # By the state row, which was left as it was.
    service.rows(HEAD_ANEW, new_head(service, card), card["id"])
    page = auditor.opens(at(card, "?verify=true"))
    expect(page.get_by_text("The chain holds")).to_be_visible()
    expect(page.locator("#server-verdict")).to_contain_text("the history was written anew")
    assert "Version 2 is not what was recorded." in verified_here(page)
    expect(page.locator("#browser-alarm")).to_contain_text("Version 2 is not what was recorded.")


HEAD_ANEW = "UPDATE streams SET head = decode(%s, 'hex') WHERE stream_id = %s"


def new_head(service: Service, card: dict[str, Any]) -> str:
    return str(service.auditor.get(f"/cards/{card['id']}/events").json()["items"][-1]["hash"])


def test_a_row_that_is_gone_or_cannot_be_read_is_named_and_the_page_stands(
    auditor: Person, service: Service, card: dict[str, Any]
) -> None:
    tamper(service, card, 7, '"stamps":1', '"stamps":"many"')
    page = auditor.opens(at(card, "?version=9"))
    expect(page.locator(".alarm").first).to_contain_text("Version 7 is not what was recorded.")
    expect(page.get_by_text("This event cannot be read any more.")).to_be_visible()
    expect(page.get_by_text("From here on the events cannot be added up any more.")).to_be_visible()
    service.rows("ALTER TABLE stored_events DISABLE TRIGGER USER")
    service.rows("DELETE FROM stored_events WHERE originator_id = %s AND originator_version = 4", card["id"])
    service.rows("ALTER TABLE stored_events ENABLE TRIGGER USER")
    page.goto(at(card, "?version=4"))
    expect(page.locator(".alarm").first).to_contain_text("Version 4 is missing.")


def test_a_key_that_is_not_the_ledgers_is_said_so(auditor: Person, service: Service, card: dict[str, Any]) -> None:
    service.seal()
    other = "other.example/ledger+08b4b41b+AT2Bt8HLWO/AJWJ8szG6GMmt70+zAAmwdhxRkMcoesGu"
    told = verified_here(auditor.opens(at(card)), other)
    assert "This does not hold." in told and "Does not hold That the key is the one you trust" in told


# ------------------------------------------------------------------ beginning


def test_a_card_is_found_by_number_and_by_its_qr_code(auditor: Person, card: dict[str, Any]) -> None:
    page = auditor.opens("/audit")
    for name in (card["card_number"], card["qr_code_data"], card["id"]):
        page.goto("/audit")
        page.get_by_label("Card number, id or QR code").fill(name)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name=f"Card {card['card_number']}")).to_be_visible()
        assert card["qr_code_data"] not in page.url


def test_a_card_that_is_not_there_is_said_beside_the_field(auditor: Person) -> None:
    auditor.expected = ["404"]
    page = auditor.opens("/audit")
    page.get_by_label("Card number, id or QR code").fill("123456789012")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("There is no such card.")).to_be_visible()


def test_what_was_signed_last_and_by_which_key_is_shown(
    auditor: Person, service: Service, card: dict[str, Any]
) -> None:
    service.seal()
    key = service.rows("SELECT verifier_key FROM sealing_keys")[0]["verifier_key"]
    page = auditor.opens("/audit")
    expect(page.get_by_text(key)).to_be_visible()
    assert page.get_by_role("region", name="Checkpoints").get_by_role("row").count() >= 2


# ------------------------------------------------------------------ who may look


def test_whoever_is_not_signed_in_signs_in_and_comes_back(person: People, card: dict[str, Any]) -> None:
    page = person().opens(at(card, "?version=3"))
    page.get_by_label("Your key").fill(AUDITOR_KEY)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#replay [data-shown='3']")).to_be_visible()


def test_a_shop_audits_its_own_cards_and_no_others(
    person: People, service: Service, shop: Till, card: dict[str, Any]
) -> None:
    service.seal()
    owner = signed_in(person(window=DESKTOP), shop.key)
    page = owner.opens(at(card))
    expect(page.get_by_role("heading", name=f"Card {card['card_number']}")).to_be_visible()
    assert "Everything that was checked holds." in verified_here(page)
    stranger = signed_in(person(), service.shop().key)
    stranger.expected += ["404"]
    expect(stranger.opens(at(card)).get_by_role("heading", name="No such card")).to_be_visible()


def test_a_shop_does_not_see_where_auditors_begin(person: People, shop: Till) -> None:
    owner = signed_in(person(), shop.key)
    owner.expected += ["403"]
    expect(owner.opens("/audit").get_by_role("heading", name="This key may not do that")).to_be_visible()


def test_a_form_of_another_site_is_refused(service: Service) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Authorization": f"Bearer {ADMIN_KEY}"}
    assert service.http.post("/audit", data={"card": "1"}, headers=headers).status_code == 403


# ------------------------------------------------------------------ everybody can use it


def test_what_people_wrote_stays_text(auditor: Person, service: Service) -> None:
    shop = service.shop(name=CANARY)
    program = shop.program(name=CANARY, stamps_reward_description=CANARY, stamps_target=2)
    card = shop.card(program["id"], name=CANARY)
    pin = shop.pin(staff_id="canary", name=CANARY, role="manager")
    ok(shop.stamp(card["id"]))
    ok(shop.stamp(card["id"]))
    redeemed = ok(shop.post("/redemptions", {"card": card["id"]}))
    assert shop.post(f"/entries/{redeemed['entry_id']}/reversal", {"reason": CANARY}).status_code in (200, 201, 404)
    ok(shop.post(f"/cards/{card['id']}/suspend", {"reason": CANARY}))
    page = auditor.opens(at(card))
    assert pin and page.locator("img[src=x]").count() == 0
    expect(page.get_by_text(f"Suspended: {CANARY}").first).to_be_visible()
    expect(page.get_by_text(f"Reward redeemed: {CANARY}").first).to_be_visible()
    page.goto(at(card, "?version=4"))
    assert page.locator("img[src=x]").count() == 0


@pytest.mark.parametrize("language", ["en", "fr", "de", "lb"])
def test_nobody_is_kept_out(person: People, service: Service, shop: Till, language: str) -> None:
    card = shop.card(shop.program(cooldown_minutes=15)["id"])
    ok(shop.stamp(card["id"]))
    shop.stamp(card["id"])
    service.catch_up()
    service.seal()
    reader = signed_in(person(window=SMALL), AUDITOR_KEY)
    tab = reader.opens(f"/language/{language}")
    reader.expected = ["404"]
    refusal = service.rows("SELECT id FROM refusals WHERE card_id = %s", card["id"])[0]["id"]
    for address in ("/audit", at(card, "?verify=true"), at(card, f"/decisions/{refusal}")):
        tab.goto(address)
        assert barriers(tab) == [], address
        assert overflowing(tab) == [], address
