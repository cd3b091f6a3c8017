"""The same requests to our web service and to express-passkit-webservice: the same answers, or a reason why not."""

from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from tests.api.test_passes import settings_for
from tests.callers import PUBLIC, ok
from tests.conftest import SERVER
from tests.databases import database
from tests.phones import Carried, Phone
from tests.service import Service
from tests.wallet_sync.peers.conftest import serving_node
from wallet_sync.apple_pass import MEDIA_TYPE
from wallet_sync.dev_certificates import make_dev_certificates

BASE = f"{PUBLIC}/apple"


@dataclass
class Side:
    """One of the two services, and what a phone with two passes remembers of its answers."""

    http: httpx2.Client
    base: str
    downloaded: dict[str, httpx2.Response]  # The same two passes on both sides: "one" and "other".
    change: Callable[[str], object]  # Something happens to the pass of that name.
    seen: dict[str, tuple[int, str]] = field(default_factory=dict)
    tag: str = ""
    last_modified: str = ""

    @property
    def passes(self) -> dict[str, Carried]:
        return {name: Phone._opened(answer) for name, answer in self.downloaded.items()}

    def ask(self, name: str, method: str, path: str, authorization: str = "", **given: Any) -> None:
        """Ask, and note under that name what came: the status, and what kind of body."""
        told = {name: carried.told for name, carried in self.passes.items()}
        known = {
            "type": told["one"]["passTypeIdentifier"],
            **{name: one["serialNumber"] for name, one in told.items()},
            **{f"token_of_{name}": one["authenticationToken"] for name, one in told.items()},
        }
        headers = {"Authorization": authorization.format(**known)} if authorization else {}
        headers |= given.pop("headers", {})
        answer = self.http.request(method, self.base + path.format(**known), headers=headers, **given)
        assert name not in self.seen
        self.seen[name] = answer.status_code, self._kind(answer)

    def _kind(self, answer: httpx2.Response) -> str:
        media_type = answer.headers.get("content-type", "").partition(";")[0]
        if not answer.content:
            return ""
        if media_type == MEDIA_TYPE:
            self.last_modified = answer.headers["last-modified"]
            return f"the pass {self._name_of(Phone._opened(answer).told['serialNumber'])}"
        if media_type == "application/json":
            told = answer.json()
            assert told.keys() == {"serialNumbers", "lastUpdated"} and isinstance(told["lastUpdated"], str)
            self.tag = told["lastUpdated"]
            return "changed: " + " ".join(sorted(map(self._name_of, told["serialNumbers"])))
        return str(media_type)

    def _name_of(self, serial: str) -> str:
        return next(name for name, carried in self.passes.items() if carried.told["serialNumber"] == serial)


@pytest.fixture(scope="module")
def ours(
    pytestconfig: pytest.Config, npms_packages: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Side]]:
    made = make_dev_certificates(tmp_path_factory.mktemp("certificates"), now=datetime.now(UTC))
    server = pytestconfig.stash[SERVER]
    with (
        database(server.url, template=server.template) as url,
        Service(url, public_url="https://cards.example", **settings_for(made)) as service,
    ):

        def side() -> Side:
            till = service.shop()
            cards = {name: till.card(till.program()["id"]) for name in ("one", "other")}
            service.catch_up()

            def change(name: str) -> None:
                ok(till.stamp(cards[name]["id"]))
                service.catch_up()

            links = {name: f"{PUBLIC}/cards/{card['qr_code_data']}/apple.pkpass" for name, card in cards.items()}
            return Side(service.http, BASE, {name: service.http.get(link) for name, link in links.items()}, change)

        yield side


@pytest.fixture
def sides(ours: Callable[[], Side]) -> Iterator[tuple[Side, Side]]:
    """Ours and the package's, with the same passes."""
    mine = ours()
    passes = [
        {
            "serial": carried.told["serialNumber"],
            "token": carried.told["authenticationToken"],
            "content": b64encode(mine.downloaded[name].content).decode(),
        }
        for name, carried in mine.passes.items()
    ]
    pass_type = mine.passes["one"].told["passTypeIdentifier"]
    with (
        serving_node("web_service.mjs", {"passType": pass_type, "passes": passes}) as port,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}") as http,
    ):

        def change(name: str) -> None:
            assert http.post(f"/changed/{mine.passes[name].told['serialNumber']}").status_code == 204

        yield mine, Side(http, "", mine.downloaded, change)


# ------------------------------------------------------------------ the same requests

RIGHT = "ApplePass {token_of_one}"
DEVICE = "/v1/devices/0123456789abcdef0123456789abcdef/registrations/{type}"
PUSH_TOKEN = {"pushToken": "ab" * 32}
OTHER_SCHEME = "with another scheme"
AS_JSON = {"Content-Type": "application/json"}
AS_TEXT = {"Content-Type": "text/plain"}
LINE = "[2026-03-14 09:26:53 AM +0100] Get serial #s task: encountered error: Unexpected response code 503"


def asked(side: Side) -> dict[str, tuple[int, str]]:
    """A phone's life with two passes, and what no phone should ask. Returns what was answered, by name."""
    ask = side.ask
    ask("nothing registered", "GET", DEVICE)
    ask("register", "POST", DEVICE + "/{one}", RIGHT, json=PUSH_TOKEN)
    ask("register again", "POST", DEVICE + "/{one}", RIGHT, json=PUSH_TOKEN)
    ask("register with a new push token", "POST", DEVICE + "/{one}", RIGHT, json={"pushToken": "cd" * 32})
    ask("register the other", "POST", DEVICE + "/{other}", "ApplePass {token_of_other}", json=PUSH_TOKEN)
    ask("list", "GET", DEVICE)
    ask("list since then", "GET", DEVICE, params={"passesUpdatedSince": side.tag})
    ask("list since no time", "GET", DEVICE, params={"passesUpdatedSince": ""})
    ask("list of another type", "GET", "/v1/devices/0123456789abcdef0123456789abcdef/registrations/pass.other")
    ask("list of another phone", "GET", "/v1/devices/" + "f" * 32 + "/registrations/{type}")
    ask("get", "GET", "/v1/passes/{type}/{one}", RIGHT)
    had = {"If-Modified-Since": side.last_modified}
    ask("get what it has", "GET", "/v1/passes/{type}/{one}", RIGHT, headers=had)
    ask("get since no date", "GET", "/v1/passes/{type}/{one}", RIGHT, headers={"If-Modified-Since": "yesterday"})
    tag = side.tag
    side.change("one")
    ask("list after a change", "GET", DEVICE, params={"passesUpdatedSince": tag})
    ask("get after a change", "GET", "/v1/passes/{type}/{one}", RIGHT, headers=had)
    ask("list after that", "GET", DEVICE, params={"passesUpdatedSince": side.tag})
    ask("log", "POST", "/v1/log", json={"logs": [LINE, LINE]})
    ask("log nothing", "POST", "/v1/log", json={"logs": []})

    for method, path in (
        ("POST", DEVICE + "/{one}"),
        ("DELETE", DEVICE + "/{one}"),
        ("GET", "/v1/passes/{type}/{one}"),
    ):
        body: dict[str, Any] = {"json": PUSH_TOKEN} if method == "POST" else {}
        ask(f"{method} with a wrong token", method, path, "ApplePass " + "x" * 43, **body)
        ask(f"{method} without a token", method, path, **body)
        ask(f"{method} {OTHER_SCHEME}", method, path, "Bearer {token_of_one}", **body)
    ask("get with another's token", "GET", "/v1/passes/{type}/{one}", "ApplePass {token_of_other}")
    ask("get an unknown serial", "GET", "/v1/passes/{type}/" + "A" * 32, RIGHT)
    ask("get an unknown type", "GET", "/v1/passes/pass.other/{one}", RIGHT)
    ask("register an unknown serial", "POST", DEVICE + "/" + "A" * 32, RIGHT, json=PUSH_TOKEN)
    ask("unregister an unknown serial", "DELETE", DEVICE + "/" + "A" * 32, RIGHT)
    ask("get with the scheme in small letters", "GET", "/v1/passes/{type}/{one}", "applepass {token_of_one}")
    ask("register without a push token", "POST", DEVICE + "/{one}", RIGHT, json={})
    ask("register with no JSON", "POST", DEVICE + "/{one}", RIGHT, content=b"{", headers=AS_JSON)
    ask("register as plain text", "POST", DEVICE + "/{one}", RIGHT, content=b'{"pushToken": "ab"}', headers=AS_TEXT)
    ask("log no lines", "POST", "/v1/log", json={})
    ask("log no JSON", "POST", "/v1/log", content=b"{", headers=AS_JSON)
    ask("log as plain text", "POST", "/v1/log", content=b'{"logs": ["x"]}', headers=AS_TEXT)
    ask("a slash at the end", "GET", "/v1/passes/{type}/{one}/", RIGHT)
    ask("two slashes", "GET", "//v1/passes/{type}/{one}", RIGHT)
    ask("another version", "GET", "/v2/passes/{type}/{one}", RIGHT)

    ask("unregister", "DELETE", DEVICE + "/{one}", RIGHT)
    ask("unregister again", "DELETE", DEVICE + "/{one}", RIGHT)
    ask("list what is left", "GET", DEVICE)
    ask("register anew", "POST", DEVICE + "/{one}", RIGHT, json=PUSH_TOKEN)
    return side.seen


# ------------------------------------------------------------------ where the two differ


class Decided(NamedTuple):
    """Answers that differ, and what decides: a section of Apple's "PassKit Web Service Reference", else a standard."""

    names: tuple[str, ...]
    ours: tuple[int, str]
    theirs: tuple[int, str]
    why: str


REGISTERING = "Registering a Device to Receive Push Notifications for a Pass"
GETTING = "Getting the Latest Version of a Pass"
UNREGISTERING = "Unregistering a Device"
LOGGING = "Logging Errors"
PROBLEM, PAGE = "application/problem+json", "text/html"

DECIDED = (
    Decided(
        tuple(f"{method} {how}" for method in ("POST", "DELETE", "GET") for how in ("without a token", OTHER_SCHEME)),
        (401, ""),
        (401, PAGE),
        f"{REGISTERING}; {UNREGISTERING}; {GETTING}: Response. 401, and no body is spoken of: ours is empty as for a"
        " wrong token.",
    ),
    Decided(
        ("get with another's token",),
        (401, ""),
        (200, "the pass one"),
        f"{GETTING}: Header. The token is that pass's; the package shows its verifier the token without the pass.",
    ),
    Decided(
        ("get an unknown serial", "get an unknown type"),
        (401, ""),
        (304, ""),
        f"{GETTING}: Response. 401 where not authorized; the package can say nothing but 200 and 304 after the token.",
    ),
    Decided(
        ("register an unknown serial",),
        (401, ""),
        (201, ""),
        f"{REGISTERING}: Header, Response. The token is another pass's.",
    ),
    Decided(
        ("unregister an unknown serial",),
        (401, ""),
        (200, ""),
        f"{UNREGISTERING}: Header, Response. The token is another pass's.",
    ),
    Decided(
        ("get with the scheme in small letters",),
        (200, "the pass one"),
        (401, PAGE),
        "RFC 9110, 11.1: the name of a scheme is the same in small letters. Apple writes it one way only.",
    ),
    Decided(
        ("register without a push token",),
        (400, PROBLEM),
        (200, ""),
        f"{REGISTERING}: Payload, Response. The push token belongs to it; else the appropriate standard status.",
    ),
    Decided(
        ("log no lines",),
        (400, PROBLEM),
        (200, ""),
        f"{LOGGING}: Payload, Response. A list of logs belongs to it; else the appropriate standard status.",
    ),
    Decided(
        ("register with no JSON", "log no JSON"),
        (400, PROBLEM),
        (400, PAGE),
        f"{REGISTERING}; {LOGGING}: Response. The status is the same, and the body is not spoken of.",
    ),
    Decided(
        ("register as plain text", "log as plain text"),
        (200, ""),
        (500, PAGE),
        f"{REGISTERING}; {LOGGING}: Payload. It is JSON; which media type a phone calls it is not spoken of.",
    ),
    Decided(
        ("two slashes",),
        (200, "the pass one"),
        (404, PAGE),
        "Introduction: an address begins with the webServiceURL of the pass, then the version. Some Android readers"
        " join them by a second slash.",
    ),
    Decided(
        ("another version",),
        (404, PROBLEM),
        (404, PAGE),
        f"{GETTING}: Parameters. The version is v1; the status is the same.",
    ),
)


def test_both_answer_the_same_but_where_the_table_says_why_not(sides: tuple[Side, Side]) -> None:
    ours, theirs = (asked(side) for side in sides)
    differences = {name: (answer, theirs[name]) for name, answer in ours.items() if answer != theirs[name]}
    assert differences == {name: (row.ours, row.theirs) for row in DECIDED for name in row.names}


def test_a_list_names_a_tag_that_moved(sides: tuple[Side, Side]) -> None:
    for side in sides:
        side.ask("register", "POST", DEVICE + "/{one}", RIGHT, json=PUSH_TOKEN)
        side.ask("list", "GET", DEVICE)
        before = side.tag
        side.change("one")
        side.ask("list since then", "GET", DEVICE, params={"passesUpdatedSince": before})
        assert side.tag != before


def test_our_phone_lives_with_a_service_that_nobody_here_wrote(sides: tuple[Side, Side]) -> None:
    for side in sides:
        phone = Phone(side.http, side.base)
        carried = phone.add(side.downloaded["one"])
        serial = carried.told["serialNumber"]
        assert phone.refresh() == [serial]
        assert phone.refresh() == []
        side.change("one")
        assert phone.refresh() == [serial]
        assert phone.remove(phone.passes[serial]).status_code == 200
        assert phone.register(carried).status_code == 201
