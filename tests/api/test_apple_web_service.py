"""Phones that carry passes: registered, told what changed, and always given the newest pass."""

import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, NamedTuple

import httpx2
import pytest

from api.public.apple_web_service import complaint
from tests.api.test_passes import settings_for
from tests.callers import Till, ok, problem
from tests.conftest import SERVER
from tests.databases import database
from tests.phones import Carried, Phone
from tests.service import Service
from wallet_sync.dev_certificates import make_dev_certificates

BASE = "/api/v1/loyalty/apple"


class Scene(NamedTuple):
    service: Service
    till: Till

    def phone(self) -> Phone:
        return Phone(self.service.http, BASE)

    def card(self, **program: Any) -> dict[str, Any]:
        return self.till.card(self.till.program(**program)["id"], name="Anna")

    def download(self, card: dict[str, Any]) -> httpx2.Response:
        self.service.catch_up()
        return self.service.public.get(f"/cards/{card['qr_code_data']}/apple.pkpass")

    def stamp(self, card: dict[str, Any]) -> None:
        ok(self.till.stamp(card["id"]))
        self.service.catch_up()

    def registrations(self, card: dict[str, Any]) -> list[dict[str, Any]]:
        self.service.catch_up()
        return self.service.rows("SELECT * FROM apple_device_registrations WHERE card_id = %s", card["id"])


@pytest.fixture(scope="module")
def service(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    made = make_dev_certificates(tmp_path_factory.mktemp("certificates"), now=datetime.now(UTC))
    server = pytestconfig.stash[SERVER]
    with (
        database(server.url, template=server.template) as url,
        Service(url, public_url="https://cards.example", **settings_for(made)) as service,
    ):
        yield service


@pytest.fixture
def scene(service: Service) -> Scene:
    return Scene(service, service.shop())


# ------------------------------------------------------------------ the way of a pass


def test_a_phone_registers_hears_of_a_stamp_and_shows_it(scene: Scene) -> None:
    card, phone = scene.card(cooldown_minutes=0), scene.phone()
    carried = phone.add(scene.download(card))
    assert carried.told["webServiceURL"] == f"https://cards.example{BASE}"
    serial = carried.told["serialNumber"]
    assert phone.refresh() == [serial]  # As every phone asks after registering, without a tag.
    assert phone.refresh() == []
    scene.stamp(card)
    assert phone.refresh() == [serial]
    assert phone.passes[serial].value("stamps") == "1 / 10"
    assert phone.alerts == ["Now on the card: 1 / 10"]
    assert phone.fetch(phone.passes[serial]) == 304


def test_what_changed_before_a_phone_registered_is_news_to_it_also_where_it_knows_of_later_changes(
    scene: Scene,
) -> None:
    old, new, phone = scene.card(cooldown_minutes=0), scene.card(cooldown_minutes=0), scene.phone()
    phone.add(scene.download(old))
    downloaded = scene.download(new)
    scene.stamp(new)
    scene.stamp(old)
    phone.refresh()
    serial = phone.add(downloaded).told["serialNumber"]
    phone.refresh()
    assert phone.passes[serial].value("stamps") == "1 / 10"


def test_two_stamps_within_a_second_are_two_changes(scene: Scene) -> None:
    card, phone = scene.card(cooldown_minutes=0), scene.phone()
    phone.add(scene.download(card))
    for count in (1, 2, 3):
        scene.stamp(card)
        (serial,) = phone.refresh()
        assert phone.passes[serial].value("stamps") == f"{count} / 10"


def test_only_what_changed_is_told_and_all_of_it(scene: Scene) -> None:
    cards, phone = [scene.card(), scene.card(), scene.card()], scene.phone()
    serials = [phone.add(scene.download(card)).told["serialNumber"] for card in cards]
    assert sorted(phone.refresh()) == sorted(serials)
    scene.stamp(cards[0])
    scene.stamp(cards[2])
    assert sorted(phone.refresh()) == sorted([serials[0], serials[2]])
    assert phone.refresh() == []
    phone.tag = "not one of ours"
    assert sorted(phone.refresh()) == sorted(serials)


def test_a_change_of_the_program_reaches_each_of_its_passes(scene: Scene) -> None:
    program = scene.till.program()
    phone = scene.phone()
    for _ in range(2):
        phone.add(scene.download(scene.till.card(program["id"])))
    phone.refresh()
    ok(scene.till.patch(f"/programs/{program['id']}", {"card_name": "Café-Kaart"}))
    scene.service.catch_up()
    assert len(phone.refresh()) == 2
    assert {carried.told["logoText"] for carried in phone.passes.values()} == {"Café-Kaart"}


@pytest.mark.parametrize("end", ["suspend", "close", "replace"])
def test_a_card_that_ends_is_voided_in_the_phone(scene: Scene, end: str) -> None:
    card, phone = scene.card(), scene.phone()
    phone.add(scene.download(card))
    phone.refresh()
    ok(scene.till.post(f"/cards/{card['id']}/{end}", {"reason": "Lost"}))
    scene.service.catch_up()
    (serial,) = phone.refresh()
    assert phone.passes[serial].told["voided"] is True


# ------------------------------------------------------------------ registrations


def test_the_first_registration_is_created_and_others_find_it(scene: Scene) -> None:
    card, phone = scene.card(), scene.phone()
    carried = Phone._opened(scene.download(card))
    phone.passes[carried.told["serialNumber"]] = carried
    assert [phone.register(carried).status_code for _ in range(3)] == [201, 200, 200]
    (row,) = scene.registrations(card)
    assert (row["device_library_identifier"], row["push_token"]) == (phone.id, phone.push_token)
    assert (row["serial_number"], row["version"]) == (carried.told["serialNumber"], 2)


def test_a_new_push_token_replaces_the_old_one(scene: Scene) -> None:
    card, phone = scene.card(), scene.phone()
    carried = phone.add(scene.download(card))
    phone.push_token = "ab12"
    assert phone.register(carried).status_code == 200
    (row,) = scene.registrations(card)
    assert row["push_token"] == "ab12" and row["updated_at"] > row["created_at"]


def test_a_new_push_token_counts_for_all_passes_of_the_phone_and_for_no_others(scene: Scene) -> None:
    phone, other, (first, second, left) = scene.phone(), scene.phone(), [scene.card() for _ in range(3)]
    carried = phone.add(scene.download(first))
    for card in (second, left):
        phone.add(scene.download(card))
    other.add(scene.download(second))
    phone.remove(next(one for one in phone.passes.values() if one.told["serialNumber"] == serial_of(scene, left)))
    phone.push_token = "ab12"
    assert phone.register(carried).status_code == 200
    scene.service.catch_up()
    assert [row["push_token"] for row in scene.registrations(first)] == ["ab12"]
    assert {row["push_token"] for row in scene.registrations(second)} == {"ab12", other.push_token}
    assert scene.registrations(left) == []


def serial_of(scene: Scene, card: dict[str, Any]) -> str:
    return str(scene.registrations(card)[0]["serial_number"])


def test_of_many_at_once_one_creates_the_registration(scene: Scene) -> None:
    card, phone = scene.card(), scene.phone()
    carried = Phone._opened(scene.download(card))
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: phone.register(carried).status_code, range(16)))
    assert sorted(statuses) == [200] * 15 + [201]
    assert len(scene.registrations(card)) == 1


def test_one_pass_sits_on_two_phones_and_leaves_them_one_by_one(scene: Scene) -> None:
    card, phones = scene.card(), [scene.phone(), scene.phone()]
    carried = [phone.add(scene.download(card)) for phone in phones]
    assert len(scene.registrations(card)) == 2
    assert phones[0].remove(carried[0]).status_code == 200
    assert [row["device_library_identifier"] for row in scene.registrations(card)] == [phones[1].id]
    phones[0].passes[carried[0].told["serialNumber"]] = carried[0]
    assert phones[0].remove(carried[0]).status_code == 200
    assert phones[0].register(carried[0]).status_code == 201
    assert scene.service.differences() == []


def test_the_stream_tells_neither_phone_nor_push_token(scene: Scene) -> None:
    card, phone = scene.card(), scene.phone()
    carried = phone.add(scene.download(card))
    for sql in ("SELECT convert_from(state, 'UTF8') AS t FROM stored_events", "SELECT state AS t FROM streams"):
        stored = " ".join(row["t"] for row in scene.service.rows(sql))
        assert carried.told["serialNumber"] in stored
        assert phone.id not in stored and phone.push_token not in stored


# ------------------------------------------------------------------ who may not


def _with(carried: Carried, **changed: str) -> Carried:
    return Carried({**carried.told, **changed}, carried.last_modified)


def test_without_the_passs_token_nothing_is_told(scene: Scene) -> None:
    card, phone = scene.card(), scene.phone()
    carried = phone.add(scene.download(card))
    other = Phone._opened(scene.download(scene.card()))
    wrong = [
        _with(carried, authenticationToken="x" * 43),
        _with(carried, authenticationToken=other.told["authenticationToken"]),
        _with(carried, serialNumber="A" * 32),
        _with(carried, passTypeIdentifier="pass.example.other"),
    ]
    for shown in wrong:
        for method, path in (
            ("POST", phone._registration(shown)),
            ("DELETE", phone._registration(shown)),
            ("GET", f"passes/{shown.path}"),
        ):
            bodies = [{"json": {"pushToken": "ab"}}, {"content": b"none"}] if method == "POST" else [{}]
            for body in bodies:
                answer = phone.ask(method, path, shown, **body)
                assert (answer.status_code, answer.content) == (401, b"")
    assert len(scene.registrations(card)) == 1


@pytest.mark.parametrize("shown", ["", "Bearer {}", "{}", "ApplePass", "ApplePass  {}", "AndroidPass {}"])
def test_the_scheme_is_apples(scene: Scene, shown: str) -> None:
    carried = Phone._opened(scene.download(scene.card()))
    header = {"Authorization": shown.format(carried.told["authenticationToken"])}
    assert scene.service.http.get(f"{BASE}/v1/passes/{carried.path}", headers=header).status_code == 401
    header = {"Authorization": "applepass " + carried.told["authenticationToken"]}
    assert scene.service.http.get(f"{BASE}/v1/passes/{carried.path}", headers=header).status_code == 200


def test_a_phone_nobody_knows_has_no_news(scene: Scene) -> None:
    for device in ("0" * 32, "a%00b", "%F0%9F%92%A9"):
        answer = scene.service.http.get(f"{BASE}/v1/devices/{device}/registrations/pass.example.loyalty")
        assert (answer.status_code, answer.content) == (204, b"")


# ------------------------------------------------------------------ tolerance


@pytest.mark.parametrize(("before", "after"), [("/", ""), ("", "/"), ("/", "/")])
def test_addresses_joined_blindly_are_understood(scene: Scene, before: str, after: str) -> None:
    carried = Phone._opened(scene.download(scene.card()))
    header = {"Authorization": carried.authorization}
    path = f"{BASE}{before}/v1/passes/{carried.path}{after}"
    assert scene.service.http.get(path, headers=header, follow_redirects=False).status_code == 200


@pytest.mark.parametrize("since", ["yesterday", "", "Thu, 99 Foo 2020 00:00:00 GMT", "Wed, 01 Jan 2020 00:00:00 GMT"])
def test_a_time_that_cannot_be_read_brings_the_pass(scene: Scene, since: str) -> None:
    carried = Phone._opened(scene.download(scene.card()))
    header = {"Authorization": carried.authorization, "If-Modified-Since": since}
    assert scene.service.http.get(f"{BASE}/v1/passes/{carried.path}", headers=header).status_code == 200


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"pushToken": 7}', b'{"pushToken": "no hex"}', b"\xff"])
def test_a_registration_without_a_token_is_malformed(scene: Scene, body: bytes) -> None:
    card, phone = scene.card(), scene.phone()
    carried = Phone._opened(scene.download(card))
    answer = phone.ask("POST", phone._registration(carried), carried, content=body)
    problem(answer, 400, "malformed_request")
    assert scene.registrations(card) == []


# ------------------------------------------------------------------ complaints

LINE = (
    "[2024-07-08 10:22:35 AM +0200] Web service error for pass.example.loyalty (https://cards.example/): "
    "Response to 'What changed?' request included 1 serial numbers but the lastUpdated tag (7) remained the same."
)


def counted(scene: Scene) -> Counter[str]:
    """Complaints so far, by what they are about."""
    told = re.findall(r'loyalty_phone_log_lines_total{about="(.+)"} (.+)', scene.service.http.get("/metrics").text)
    return Counter({about: int(float(count)) for about, count in told})


def test_complaints_are_counted_and_their_words_not_kept(scene: Scene) -> None:
    lines = [LINE, "[2024] Get serial #s task: encountered error: Unexpected response code 503", "💥"]
    before = counted(scene)
    answer = scene.service.http.post(f"{BASE}/v1/log", json={"logs": lines + ["x"] * 200})
    assert (answer.status_code, answer.content) == (200, b"")
    assert counted(scene) - before == {"tag_unchanged": 1, "status_503": 1, "other": 98}


@pytest.mark.parametrize("body", [b"", b"{}", b'{"logs": "x"}', b'{"logs": [1]}', b"nothing"])
def test_a_log_that_is_none_is_malformed(scene: Scene, body: bytes) -> None:
    problem(scene.service.http.post(f"{BASE}/v1/log", content=body), 400, "malformed_request")


@pytest.mark.parametrize(
    ("line", "about"),
    [(LINE, "tag_unchanged"), ("a: got 401 from it", "status_401"), ("a: got 999", "other"), ("503", "other")],
)
def test_what_a_line_is_about(line: str, about: str) -> None:
    assert complaint(line) == about


def test_a_log_may_be_large_but_not_huge(scene: Scene) -> None:
    sizes = {size: scene.service.http.post(f"{BASE}/v1/log", json={"logs": ["x" * size]}) for size in (60_000, 70_000)}
    assert sizes[60_000].status_code == 200
    problem(sizes[70_000], 413, "too_large")


def test_without_certificates_there_is_no_web_service(database_url: str) -> None:
    with Service(database_url) as service:
        problem(service.http.get(f"{BASE}/v1/passes/pass.example.loyalty/{'A' * 32}"), 404, "apple_wallet_off")
