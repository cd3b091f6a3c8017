"""Signing in by a browser, and what somebody can do who would like to be somebody else."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from api.sessions import PERSON, TILL
from tests.browser import Browser
from tests.callers import ADMIN, ADMIN_KEY, AUDITOR_KEY, VENDOR, Till, moment, ok, problem
from tests.clock import not_at_the_full_hour
from tests.conftest import SERVER
from tests.databases import database
from tests.service import Service


@pytest.fixture
def shop(service: Service) -> Till:
    return service.shop()


@pytest.fixture
def signed_in(service: Service, shop: Till) -> Browser:
    return by_key(service, shop.key)


@pytest.fixture(scope="module")
def hasty(pytestconfig: pytest.Config) -> Iterator[Service]:
    """A service whose sessions are over in a moment, and that knows an address but the one it is asked at."""
    server = pytestconfig.stash[SERVER]
    with (
        database(server.url, template=server.template) as url,
        Service(
            url, browser_session_idle_seconds=4, browser_session_max_seconds=10, public_url="https://cards.example"
        ) as service,
    ):
        yield service


def by_key(service: Service, key: str) -> Browser:
    browser = Browser(service.http)
    assert browser.submit("/sign-in", key=key).status_code == 303
    return browser


def link_for(service: Service, shop: Till) -> str:
    """The path of a link, as somebody gets it by mail."""
    made = ok(service.admin.post(f"/vendors/{shop.vendor_id}/sign-in-links"))
    assert timedelta(minutes=14) < moment(made["expires_at"]) - datetime.now(UTC) <= timedelta(minutes=15)
    return "/sign-in/" + made["url"].rpartition("/sign-in/")[2]


def by_link(service: Service, shop: Till) -> Browser:
    browser = Browser(service.http)
    assert browser.submit(link_for(service, shop)).headers["location"] == "/app"
    return browser


def key_names(shop: Till) -> list[str]:
    return [key["name"] for key in ok(shop.get("/api-keys"))["items"]]


def last_actor(service: Service, shop: Till) -> dict[str, str]:
    sql = (
        "SELECT convert_from(state, 'UTF8')::json->'actor' AS actor, convert_from(state, 'UTF8')::json->>'channel'"
        " AS channel FROM stored_events WHERE convert_from(state, 'UTF8')::json->>'vendor_id' = %s"
        " ORDER BY notification_id DESC LIMIT 1"
    )
    (row,) = service.rows(sql, shop.vendor_id)
    return {**row["actor"], "channel": row["channel"]}


# ------------------------------------------------------------------ signing in


def test_whoever_types_a_vendors_key_may_do_what_the_key_may(service: Service, shop: Till, signed_in: Browser) -> None:
    program = signed_in.fetch(
        "POST", f"{VENDOR}/programs", {"loyalty_type": "stamps", "name": "Bread", "stamps_target": 8}
    )
    assert ok(program)["vendor_id"] == shop.vendor_id
    assert last_actor(service, shop) | {"id": ""} == {
        "type": "api_key",
        "id": "",
        "authenticated_by": "session",
        "channel": "vendor_ui",
    }
    service.catch_up()
    assert [one["name"] for one in ok(signed_in.get(f"{VENDOR}/programs"))["items"]] == ["Bread"]


def test_a_cookie_stamps_by_the_tills_fast_path(shop: Till, signed_in: Browser) -> None:
    card = shop.card(shop.program()["id"])
    asked = {"Idempotency_Key": str(uuid4())}
    first = signed_in.fetch("POST", f"{VENDOR}/stamps", {"card": card["id"]}, **asked)
    again = signed_in.fetch("POST", f"{VENDOR}/stamps", {"card": card["id"]}, **asked)
    assert (first.status_code, ok(first)["stamp_count"], ok(again)["stamp_count"]) == (201, 1, 1)


def test_each_key_leads_to_its_own_pages_and_no_others(service: Service, shop: Till) -> None:
    homes = {}
    for key in (ADMIN_KEY, AUDITOR_KEY, shop.key):
        homes[key] = Browser(service.http).submit("/sign-in", key=key).headers["location"]
    assert homes == {ADMIN_KEY: "/admin", AUDITOR_KEY: "/audit", shop.key: "/app"}
    assert by_key(service, ADMIN_KEY).get(f"{ADMIN}/vendors").status_code == 200
    problem(
        by_key(service, AUDITOR_KEY).fetch("POST", f"{ADMIN}/vendors/{shop.vendor_id}/sign-in-links"),
        403,
        "scope_missing",
    )
    problem(by_key(service, shop.key).get(f"{ADMIN}/vendors"), 403, "scope_missing")


def test_the_cookie_is_this_hosts_alone_and_out_of_reach_of_scripts(signed_in: Browser) -> None:
    (said,) = signed_in.told
    parts = {part.strip().partition("=")[0].lower() for part in said.split(";")[1:]}
    assert said.startswith("__Host-session=") and parts == {"max-age", "path", "secure", "httponly", "samesite"}
    assert "Path=/;" in said and "SameSite=Lax" in said


@pytest.mark.parametrize("key", ["", "llk_wrong", "Bearer", "\xe9"])
def test_a_wrong_key_opens_nothing(service: Service, key: str) -> None:
    browser = Browser(service.http)
    assert browser.submit("/sign-in", key=key).status_code == 401
    assert not browser.cookies


def test_a_wrong_key_in_the_header_is_not_made_good_by_a_cookie(signed_in: Browser) -> None:
    problem(signed_in.get(f"{VENDOR}/cards", Authorization="Bearer llk_wrong"), 401, "unauthenticated")


# ------------------------------------------------------------------ links


def test_a_link_signs_in_once_and_is_used_up_by_no_preview(service: Service, shop: Till) -> None:
    link = link_for(service, shop)
    for _ in range(3):
        assert Browser(service.http).get(link).status_code == 200
    first, second = Browser(service.http), Browser(service.http)
    assert first.submit(link).status_code == 303
    assert second.submit(link).status_code == 401 and not second.cookies
    assert ok(first.get(f"{VENDOR}/api-keys"))["items"][-1]["prefix"].startswith("link_")


def test_what_is_done_by_link_says_so(service: Service, shop: Till) -> None:
    browser = by_link(service, shop)
    assert last_actor(service, shop)["authenticated_by"] == "sign_in_link"
    ok(browser.fetch("POST", f"{VENDOR}/pins", {"staff_id": "marie", "name": "Marie", "pin": "4071"}))
    assert last_actor(service, shop)["authenticated_by"] == "sign_in_link"
    assert last_actor(service, shop)["type"] == "api_key"


def test_of_two_who_open_a_link_at_one_moment_one_gets_in(service: Service, shop: Till) -> None:
    link = link_for(service, shop)
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: Browser(service.http).submit(link).status_code, range(8)))
    assert sorted(statuses) == [303] + [401] * 7


def test_an_old_link_opens_nothing(service: Service, shop: Till) -> None:
    link = link_for(service, shop)
    service.rows("UPDATE one_time_codes SET expires_at = now() - interval '1 second'")
    assert Browser(service.http).submit(link).status_code == 401


def test_a_link_is_kept_as_a_digest(service: Service, shop: Till) -> None:
    link = link_for(service, shop)
    kept = str(service.rows("SELECT * FROM one_time_codes"))
    assert link.rpartition("/")[2] not in kept and shop.vendor_id in kept


def test_nobody_but_the_administrator_makes_links(service: Service, shop: Till) -> None:
    path = f"/vendors/{shop.vendor_id}/sign-in-links"
    problem(service.auditor.post(path), 403, "scope_missing")
    problem(service.admin.post(f"/vendors/{uuid4()}/sign-in-links"), 404, "not_found")


def test_a_link_of_a_suspended_vendor_opens_nothing(service: Service, shop: Till) -> None:
    link = link_for(service, shop)
    ok(service.admin.patch(f"/vendors/{shop.vendor_id}", {"is_active": False}))
    assert Browser(service.http).submit(link).status_code == 401


# ------------------------------------------------------------------ the end of a session


def test_a_revoked_key_ends_its_sessions_at_once(service: Service, shop: Till) -> None:
    issued = service.admin.api_key(shop.vendor_id, "read")
    browser = by_key(service, issued["key"])
    assert browser.get(f"{VENDOR}/cards").status_code == 200
    assert service.admin.delete(f"/vendors/{shop.vendor_id}/api-keys/{issued['id']}").status_code == 204
    problem(browser.get(f"{VENDOR}/cards"), 401, "unauthenticated")


def test_who_came_by_link_and_signs_out_leaves_nothing_to_steal(service: Service, shop: Till) -> None:
    browser = by_link(service, shop)
    thief = Browser(service.http, browser.cookies)
    assert thief.get(f"{VENDOR}/cards").status_code == 200
    assert browser.submit("/sign-out").headers["location"] == "/sign-in"
    assert not browser.cookies
    problem(thief.get(f"{VENDOR}/cards"), 401, "unauthenticated")
    assert "Sign-in by link" not in key_names(shop)


def test_a_cookie_stolen_before_a_sign_out_by_key_works_until_the_key_is_revoked(service: Service, shop: Till) -> None:
    """What a cookie without a table behind it cannot do. The decision says so."""
    issued = service.admin.api_key(shop.vendor_id, "read")
    browser = by_key(service, issued["key"])
    thief = Browser(service.http, browser.cookies)
    browser.submit("/sign-out")
    assert thief.get(f"{VENDOR}/cards").status_code == 200
    service.admin.delete(f"/vendors/{shop.vendor_id}/api-keys/{issued['id']}")
    problem(thief.get(f"{VENDOR}/cards"), 401, "unauthenticated")


def test_signing_out_twice_does_no_harm(service: Service, shop: Till) -> None:
    browser = by_link(service, shop)
    before = dict(browser.cookies)
    browser.submit("/sign-out")
    assert Browser(service.http, before).submit("/sign-out").status_code == 303
    assert Browser(service.http).submit("/sign-out").status_code == 303


def test_a_session_ends_when_it_is_not_used_and_in_any_case_in_the_end(hasty: Service) -> None:
    shop = hasty.shop()
    idle, busy = by_key(hasty, shop.key), by_key(hasty, shop.key)
    began = time.monotonic()
    while time.monotonic() - began < 5.5:
        assert busy.get(f"{VENDOR}/cards").status_code == 200
        time.sleep(0.2)
    problem(idle.get(f"{VENDOR}/cards"), 401, "unauthenticated")
    assert len(busy.told) > 1, "it was renewed while it was used"
    while time.monotonic() - began < 10.1:
        busy.get(f"{VENDOR}/cards")
        time.sleep(0.2)
    problem(busy.get(f"{VENDOR}/cards"), 401, "unauthenticated")


def test_another_administrators_key_ends_the_administrators_sessions(service: Service) -> None:
    browser = by_key(service, ADMIN_KEY)
    with Service(service.database_url) as other:
        assert Browser(other.http, browser.cookies).get(f"{ADMIN}/vendors").status_code == 200
    changed = Service(service.database_url)
    changed._keys = type(changed._keys)("another-key-" * 4, AUDITOR_KEY, changed._keys.master_key, None)
    with changed:
        problem(Browser(changed.http, browser.cookies).get(f"{ADMIN}/vendors"), 401, "unauthenticated")


@pytest.mark.parametrize("at", [0, 10, 40, -2])
def test_a_cookie_that_was_changed_is_none(signed_in: Browser, at: int) -> None:
    text = signed_in.cookies[PERSON]
    other = "A" if text[at] != "A" else "B"
    index = at % len(text)
    signed_in.cookies[PERSON] = text[:index] + other + text[index + 1 :]
    problem(signed_in.get(f"{VENDOR}/cards"), 401, "unauthenticated")


@pytest.mark.parametrize("text", ["", "A", "AAAA", "A" * 3_000, "%00", "=====", "é"])
def test_a_cookie_that_was_made_up_is_none(service: Service, text: str) -> None:
    answer = service.http.get(f"{VENDOR}/cards", headers={"Cookie": f"{PERSON}={text}".encode()})
    problem(answer, 401, "unauthenticated")


# ------------------------------------------------------------------ another site


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none", None])
def test_another_sites_page_changes_nothing(service: Service, shop: Till, signed_in: Browser, site: str | None) -> None:
    card = shop.card(shop.program()["id"])
    heads = service.heads()
    for path, body in (
        ("/stamps", {"card": card["id"]}),
        (f"/cards/{card['id']}/suspend", {"reason": "Lost"}),
        ("/pins", {"staff_id": "m", "name": "M", "pin": "4071"}),
    ):
        answer = signed_in.fetch("POST", VENDOR + path, body, site=site, Idempotency_Key=str(uuid4()))
        problem(answer, 403, "cross_site_form")
    assert service.heads() == heads


def test_another_sites_page_signs_nobody_in_or_out(service: Service, shop: Till, signed_in: Browser) -> None:
    link = link_for(service, shop)
    stranger = Browser(service.http)
    assert stranger.submit("/sign-in", "cross-site", key=shop.key).status_code == 403
    assert stranger.submit(link, "cross-site").status_code == 403 and not stranger.cookies
    assert signed_in.submit("/sign-out", "cross-site").status_code == 403
    assert signed_in.get(f"{VENDOR}/cards").status_code == 200
    assert stranger.submit(link).status_code == 303, "the link was not used up"


def test_a_browser_that_says_only_the_origin_is_believed(hasty: Service) -> None:
    shop = hasty.shop()
    here = str(hasty.http.base_url).rstrip("/")
    browser = by_key(hasty, shop.key)
    for origin, status in (
        (here, 201),
        ("https://cards.example", 201),
        ("http://cards.example", 403),
        ("https://evil.example", 403),
        ("null", 403),
        ("", 403),
    ):
        pin = {"staff_id": f"m-{uuid4().hex[:6]}", "name": "M", "pin": "4071"}
        answer = browser.fetch("POST", f"{VENDOR}/pins", pin, site=None, Origin=origin)
        assert answer.status_code == status, origin


def test_a_bearer_key_needs_no_origin(shop: Till) -> None:
    answer = shop.http.post(
        f"{VENDOR}/pins",
        json={"staff_id": "m", "name": "M", "pin": "4071"},
        headers={**shop.headers, "Sec-Fetch-Site": "cross-site"},
    )
    assert answer.status_code == 201


# ------------------------------------------------------------------ tills


def paired(service: Service, shop: Till, **more: str) -> Browser:
    made = ok(shop.post("/till-pairings", {"name": "Counter left", **more}))
    browser = Browser(service.http)
    assert browser.submit("/till/pair", code=made["code"]).headers["location"] == "/till"
    return browser


def desk(browser: Browser) -> dict:  # type: ignore[type-arg]
    return ok(browser.get(f"{VENDOR}/till", **{"X-Till": "1"}))


def test_a_paired_till_finds_all_it_needs(service: Service, shop: Till) -> None:
    program, other = shop.program(), shop.program(name="Tea card")
    ok(shop.post(f"/programs/{other['id']}/deactivate"))
    pins = [shop.pin(name=name) for name in ("Paul", "Anna")]
    location = str(uuid4())
    till = paired(service, shop, location_id=location, program_id=program["id"])
    service.catch_up()
    told = desk(till)
    assert told["vendor"]["id"] == shop.vendor_id
    assert [one["id"] for one in told["programs"]] == [program["id"]]
    assert told["staff"] == [{"id": pin["id"], "name": name} for pin, name in ((pins[1], "Anna"), (pins[0], "Paul"))]
    terminal = told["terminal"]
    assert (terminal["name"], terminal["location_id"], terminal["program_id"]) == (
        "Counter left",
        location,
        program["id"],
    )
    assert terminal["terminal_id"].startswith("till-")


def test_what_a_till_does_is_recorded_under_its_name(service: Service, shop: Till) -> None:
    location = str(uuid4())
    till = paired(service, shop, location_id=location)
    card = shop.card(shop.program()["id"])
    asked = {"X_Till": "1", "X_Terminal_Id": "another", "Idempotency_Key": str(uuid4())}
    ok(till.fetch("POST", f"{VENDOR}/stamps", {"card": card["id"]}, **asked))
    service.catch_up()
    (row,) = service.rows(
        "SELECT terminal_id, location_id FROM loyalty_transactions WHERE card_id = %s AND terminal_id IS NOT NULL",
        card["id"],
    )
    assert (row["terminal_id"], str(row["location_id"])) == (desk(till)["terminal"]["terminal_id"], location)
    assert last_actor(service, shop)["authenticated_by"] == "paired_till"


def test_a_till_asks_as_a_till_whoever_else_is_signed_in_there(service: Service, shop: Till) -> None:
    till = paired(service, shop)
    till.submit("/sign-in", key=shop.key)
    assert set(till.cookies) == {PERSON, TILL}
    assert desk(till)["terminal"]["name"] == "Counter left"
    assert ok(till.get(f"{VENDOR}/till"))["terminal"]["name"] == "Till 1"
    problem(till.get(f"{VENDOR}/api-keys", **{"X-Till": "1"}), 403, "scope_missing")


def test_without_saying_so_nobody_asks_as_a_till(service: Service, shop: Till) -> None:
    problem(paired(service, shop).get(f"{VENDOR}/till"), 401, "unauthenticated")


def test_one_cookie_is_not_the_other(service: Service, shop: Till) -> None:
    till, person = paired(service, shop), by_key(service, shop.key)
    swapped = Browser(service.http, {PERSON: till.cookies[TILL], TILL: person.cookies[PERSON]})
    problem(swapped.get(f"{VENDOR}/till"), 401, "unauthenticated")
    problem(swapped.get(f"{VENDOR}/till", **{"X-Till": "1"}), 401, "unauthenticated")


def test_the_tills_cookie_lasts_and_comes_along_with_nothing_that_begins_elsewhere(
    service: Service, shop: Till
) -> None:
    (said,) = paired(service, shop).told
    assert "SameSite=Strict" in said and "Max-Age=345" in said


def test_a_till_is_unpaired_by_revoking_its_key_or_by_itself(service: Service, shop: Till) -> None:
    far, near = paired(service, shop), paired(service, shop)
    key_id = desk(far)["terminal"]["key_id"]
    assert shop.delete(f"/api-keys/{key_id}").status_code == 204
    problem(far.get(f"{VENDOR}/till", **{"X-Till": "1"}), 401, "unauthenticated")
    thief = Browser(service.http, near.cookies)
    assert near.submit("/till/unpair").headers["location"] == "/till/pair" and not near.cookies
    problem(thief.get(f"{VENDOR}/till", **{"X-Till": "1"}), 401, "unauthenticated")
    assert "Counter left" not in key_names(shop)


def test_a_code_pairs_one_till_however_it_is_typed(service: Service, shop: Till) -> None:
    code = ok(shop.post("/till-pairings", {"name": "Counter"}))["code"]
    typed = f" {code.lower().replace('-', ' ')} "
    first, second = Browser(service.http), Browser(service.http)
    assert first.submit("/till/pair", code=typed).status_code == 303
    assert second.submit("/till/pair", code=code).status_code == 401 and not second.cookies


def test_a_sign_in_link_pairs_no_till_and_a_code_signs_nobody_in(service: Service, shop: Till) -> None:
    token = link_for(service, shop).rpartition("/")[2]
    code = ok(shop.post("/till-pairings", {"name": "Counter"}))["code"].replace("-", "")
    assert Browser(service.http).submit("/till/pair", code=token).status_code == 401
    assert Browser(service.http).submit(f"/sign-in/{code}").status_code == 401


def test_an_old_code_or_one_of_a_revoked_key_pairs_nothing(service: Service, shop: Till) -> None:
    issued = service.admin.api_key(shop.vendor_id)
    code = ok(service.till(issued["key"], shop.vendor_id).post("/till-pairings", {"name": "Counter"}))["code"]
    ok_or_gone = service.admin.delete(f"/vendors/{shop.vendor_id}/api-keys/{issued['id']}")
    assert ok_or_gone.status_code == 204
    assert Browser(service.http).submit("/till/pair", code=code).status_code == 401
    old = ok(shop.post("/till-pairings", {"name": "Counter"}))["code"]
    service.rows("UPDATE one_time_codes SET expires_at = now() - interval '1 second'")
    assert Browser(service.http).submit("/till/pair", code=old).status_code == 401


# ------------------------------------------------------------------ keys


def test_nobody_gives_or_takes_more_than_they_hold(service: Service, shop: Till) -> None:
    shop_id = shop.vendor_id
    manager = service.till(service.admin.api_key(shop_id, "pins", "earn")["key"], shop_id)
    problem(manager.post("/api-keys", {"name": "X", "scopes": ["earn", "adjust"]}), 403, "scope_missing")
    problem(manager.post("/till-pairings", {"name": "X"}), 403, "scope_missing")
    mighty = service.admin.api_key(shop_id)
    problem(manager.delete(f"/api-keys/{mighty['id']}"), 403, "scope_missing")
    small = ok(manager.post("/api-keys", {"name": "Small", "scopes": ["earn"]}))
    assert service.till(small["key"]).get("/api-keys").status_code == 403
    assert manager.delete(f"/api-keys/{small['id']}").status_code == 204


def test_a_pairing_for_another_vendors_program_is_one_for_none(service: Service, shop: Till) -> None:
    theirs = service.shop().program()["id"]
    for program_id in (theirs, str(uuid4())):
        problem(shop.post("/till-pairings", {"name": "X", "program_id": program_id}), 404, "program_not_found")


def test_people_who_left_make_room(service: Service, shop: Till) -> None:
    """Who came by a link and never signed out has a key that is over. It goes when the next one comes."""
    by_link(service, shop)
    by_link(service, shop)
    assert key_names(shop).count("Sign-in by link") == 2


# ------------------------------------------------------------------ guessing


def test_whoever_guesses_is_slowed_down_and_shuts_nobody_else_out(own_service: Service) -> None:
    own_service.stop()
    not_at_the_full_hour()
    with Service(own_service.database_url, sign_ins_per_hour=5, trust_proxy=True) as service:
        shop = service.shop()
        guesser = Browser(service.http)
        ways = ("203.0.113.7", "203.0.113.7, 10.0.0.2", "198.51.100.9, 203.0.113.7, fd00::2")  # The last one is forged.
        tries = [
            guesser.send("POST", path, {"Sec-Fetch-Site": "same-origin", "X-Forwarded-For": way}, data=given)
            for way, (path, given) in zip(
                ways * 2,
                (("/sign-in", {"key": "llk_a"}), ("/sign-in/abc", {}), ("/till/pair", {"code": "A"})) * 2,
                strict=True,
            )
        ]
        assert [answer.status_code for answer in tries] == [401] * 5 + [429]
        assert int(tries[-1].headers["retry-after"]) <= 3600
        elsewhere = {"Sec-Fetch-Site": "same-origin", "X-Forwarded-For": "203.0.113.8"}
        assert Browser(service.http).send("POST", "/sign-in", elsewhere, data={"key": shop.key}).status_code == 303
