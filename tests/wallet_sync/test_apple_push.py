"""Waking phones, against a server that behaves like Apple's. Nothing here speaks to Apple."""

import asyncio
import logging
import random
import re
import shutil
import ssl
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, get_args

import h2.config
import h2.connection
import h2.events
import httpx2
import pytest

from tests import fake_apns
from tests.fake_apns import Answer, FakeApns
from wallet_sync.apple_certificates import Signer
from wallet_sync.apple_key_ring import KeyRing
from wallet_sync.apple_push import (
    BODY,
    DOUBLINGS_MAX,
    REASONS,
    ApplePush,
    Outcome,
    What,
    is_mass_bad,
    outcome_of,
    pause_after,
)
from wallet_sync.dev_certificates import DevCertificates, make_dev_certificates

T = TypeVar("T")
NOW = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
TOKEN = "a1" * 32
HANG_SECONDS = 2.0
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def running(certificates: DevCertificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeApns]:
    with fake_apns.fake_apns(certificates, tmp_path_factory.mktemp("apns")) as fake:
        yield fake


@pytest.fixture
def apns(running: FakeApns) -> FakeApns:
    running.pushes.clear()
    running.always = None
    return running


def pushing(apns: FakeApns, signer: Signer, use: Callable[[ApplePush], Awaitable[T]], **settings: Any) -> T:
    async def run() -> T:
        given: dict[str, Any] = {"base_url": apns.url, "ca_file": apns.ca_file} | settings
        async with ApplePush(signer, lambda: NOW, **given) as push:
            return await use(push)

    return asyncio.run(run())


# ------------------------------------------------------------------ what an answer means

STOP = "BadTopic DeviceTokenNotForTopic MissingTopic TopicDisallowed"
OURS = (
    "BadCollapseId BadExpirationDate BadMessageId BadPriority DuplicateHeaders InvalidPushType MissingDeviceToken"
    " PayloadEmpty"
)
STOP_403 = (
    "BadCertificate BadCertificateEnvironment Forbidden ExpiredProviderToken InvalidProviderToken MissingProviderToken"
)
ROWS: list[tuple[int, str | None, What]] = [
    (200, None, "accepted"),
    (400, "BadDeviceToken", "bad_token"),
    *((400, reason, "stop_topic") for reason in STOP.split()),
    *((400, reason, "our_mistake") for reason in OURS.split()),
    (400, "IdleTimeout", "retry"),
    *((403, reason, "stop_topic") for reason in STOP_403.split()),
    (404, "BadPath", "our_mistake"),
    (405, "MethodNotAllowed", "our_mistake"),
    (410, "Unregistered", "gone"),
    (410, "ExpiredToken", "gone"),
    (413, "PayloadTooLarge", "our_mistake"),
    (429, "TooManyRequests", "back_off"),
    (429, "TooManyProviderTokenUpdates", "back_off"),
    (500, "InternalServerError", "retry"),
    (503, "ServiceUnavailable", "retry"),
    (503, "Shutdown", "retry"),
]
STRANGE: list[tuple[int, str | None, What]] = [
    (400, None, "our_mistake"),
    (400, "NewNextYear", "our_mistake"),
    (403, None, "stop_topic"),
    (410, None, "gone"),
    (418, "BadDeviceToken", "our_mistake"),
    (302, None, "our_mistake"),
    (502, None, "retry"),
]


@pytest.mark.parametrize(("status", "reason", "what"), ROWS + STRANGE)
def test_every_answer_says_what_to_do(status: int, reason: str | None, what: What) -> None:
    assert outcome_of(status, reason) == Outcome(what, status, reason)


def test_every_kind_of_outcome_and_every_row_of_the_table_occurs() -> None:
    assert {what for _, _, what in ROWS} == set(get_args(What))
    assert REASONS.keys() <= {(status, reason) for status, reason, _ in ROWS}


def test_only_a_gone_token_has_a_time() -> None:
    at = int(fake_apns.GONE_AT.timestamp() * 1000) + 7
    assert outcome_of(410, "Unregistered", at).gone_at == fake_apns.GONE_AT + timedelta(milliseconds=7)
    assert outcome_of(400, "BadDeviceToken", at).gone_at is None
    assert outcome_of(410, "Unregistered", 10**30).gone_at is None


@pytest.mark.parametrize(
    ("tried", "bad", "is_mass"),
    [(19, 19, False), (20, 4, False), (20, 5, True), (100, 20, False), (100, 21, True), (0, 0, False)],
)
def test_many_bad_tokens_at_once_mean_a_wrong_host_or_certificate(tried: int, bad: int, is_mass: bool) -> None:
    assert is_mass_bad(tried, bad) is is_mass


# ------------------------------------------------------------------ how long to wait


class Always(random.Random):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def random(self) -> float:
        return self.value


@pytest.mark.parametrize(("failures", "seconds"), [(1, 1), (2, 2), (5, 16), (10, 512), (11, 900), (10**6, 900)])
def test_a_failed_push_waits_up_to_twice_as_long_each_time(failures: int, seconds: int) -> None:
    outcome = Outcome("retry", 503)
    assert pause_after(failures, outcome, Always(1.0)) == timedelta(seconds=seconds)
    assert pause_after(failures, outcome, Always(0.25)) == timedelta(seconds=seconds) / 4
    assert pause_after(failures, outcome, Always(0.0)) == timedelta(0)


@pytest.mark.parametrize(("failures", "seconds"), [(1, 60), (2, 120), (6, 1920), (7, 3600), (DOUBLINGS_MAX * 2, 3600)])
def test_a_token_pushed_too_often_rests_for_a_minute_and_then_longer(failures: int, seconds: int) -> None:
    assert pause_after(failures, Outcome("back_off", 429), Always(0.0)) == timedelta(seconds=seconds)


def test_apple_may_ask_for_a_longer_pause_of_up_to_an_hour() -> None:
    rng = random.Random(1)
    assert pause_after(1, Outcome("retry", 503, retry_after=30), rng) == timedelta(seconds=30)
    assert pause_after(1, Outcome("back_off", 429, retry_after=30), rng) == timedelta(seconds=60)
    assert pause_after(1, Outcome("retry", 503, retry_after=999_999), rng) == timedelta(hours=1)


@pytest.mark.parametrize("what", sorted(set(get_args(What)) - {"retry", "back_off"}))
def test_nothing_else_is_repeated(what: What) -> None:
    assert pause_after(1, Outcome(what), random.Random(1)) is None


# ------------------------------------------------------------------ on the wire


def test_a_push_is_exactly_what_apple_asks_for(apns: FakeApns, signer: Signer) -> None:
    assert pushing(apns, signer, lambda push: push.push(TOKEN)) == Outcome("accepted", 200)
    (seen,) = apns.pushes
    headers = dict(seen.headers)
    assert UUID4.fullmatch(headers.pop("apns-id"))
    assert (seen.method, seen.path, seen.body, seen.http_version) == ("POST", f"/3/device/{TOKEN}", b"{}", "2")
    assert len(headers) == len(seen.headers) - 1
    assert headers.pop("host", None) in {None, apns.url.removeprefix("https://")}  # How ASGI shows :authority.
    assert headers == {
        "apns-topic": signer.pass_type_id,
        "apns-expiration": str(int((NOW + timedelta(days=7)).timestamp())),
        "content-type": "application/json",
        "content-length": "2",
    }


def test_priority_and_push_type_are_sent_only_if_wished(apns: FakeApns, signer: Signer) -> None:
    pushing(apns, signer, lambda push: push.push(TOKEN), priority=5, push_type="background")
    headers = dict(apns.pushes[0].headers)
    assert (headers["apns-priority"], headers["apns-push-type"]) == ("5", "background")


def test_twenty_pushes_at_once_and_later_ones_share_a_connection(apns: FakeApns, signer: Signer) -> None:
    async def use(push: ApplePush) -> list[Outcome]:
        first = await asyncio.gather(*(push.push(f"{TOKEN}{number:02}") for number in range(20)))
        return [*first, await push.push(TOKEN)]

    assert {outcome.what for outcome in pushing(apns, signer, use)} == {"accepted"}
    assert len(apns.pushes) == 21
    assert len(apns.connections) == 1
    assert len({dict(push.headers)["apns-id"] for push in apns.pushes}) == 21


@pytest.mark.parametrize(
    ("token", "outcome"),
    [
        ("gone01", Outcome("gone", 410, "Unregistered", gone_at=fake_apns.GONE_AT)),
        ("bad01", Outcome("bad_token", 400, "BadDeviceToken")),
        ("slow01", Outcome("back_off", 429, "TooManyRequests")),
        ("down01", Outcome("retry", 503, "ServiceUnavailable")),
        ("fine01", Outcome("accepted", 200)),
    ],
)
def test_the_answer_follows_the_token(apns: FakeApns, signer: Signer, token: str, outcome: Outcome) -> None:
    assert pushing(apns, signer, lambda push: push.push(token)) == outcome


def test_every_reason_comes_through_the_wire(apns: FakeApns, signer: Signer) -> None:
    rows = [*ROWS, ROWS[0]]

    async def use(push: ApplePush) -> list[Outcome]:
        outcomes = []
        for status, reason, _ in rows:
            apns.always = Answer(status, reason)
            outcomes.append(await push.push(TOKEN))
        return outcomes

    assert pushing(apns, signer, use) == [Outcome(what, status, reason) for status, reason, what in rows]
    # Apple said of two of them that the connection is at its end.
    assert len(apns.connections) == 3


def test_a_pause_that_apple_names_is_passed_on(apns: FakeApns, signer: Signer) -> None:
    apns.always = Answer(503, "ServiceUnavailable", retry_after=40)
    assert pushing(apns, signer, lambda push: push.push(TOKEN)).retry_after == 40.0


@pytest.mark.parametrize("token", ["", "a/../b", "a b", "é1", "a\r\nb", "a?b", "a" * 513, "a1\n"])
def test_what_can_be_no_token_is_not_sent(apns: FakeApns, signer: Signer, token: str) -> None:
    outcome = pushing(apns, signer, lambda push: push.push(token))
    assert outcome == Outcome("bad_token", reason="NotAToken")
    assert apns.pushes == []


def test_a_wrong_topic_stops_the_topic(apns: FakeApns, signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apns, "topic", "pass.example.another")
    outcome = pushing(apns, signer, lambda push: push.push(TOKEN))
    assert outcome == Outcome("stop_topic", 400, "TopicDisallowed")


def test_a_strangers_certificate_is_no_answer_from_apple(apns: FakeApns, tmp_path: Path) -> None:
    made = make_dev_certificates(tmp_path, now=datetime.now(UTC))
    stranger = KeyRing(made.files).signer(datetime.now(UTC))
    assert pushing(apns, stranger, lambda push: push.push(TOKEN)).what == "retry"
    assert apns.pushes == []


def test_no_token_is_written_down_by_anybody(apns: FakeApns, signer: Signer, caplog: pytest.LogCaptureFixture) -> None:
    async def use(push: ApplePush) -> list[Outcome]:
        apns.always = fake_apns.HANG
        lost = await push.push(TOKEN)
        apns.always = None
        return [lost, await push.push(TOKEN)]

    with caplog.at_level(logging.DEBUG):
        outcomes = pushing(apns, signer, use, timeout_seconds=HANG_SECONDS)
    assert [outcome.what for outcome in outcomes] == ["retry", "accepted"]
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(outcomes)
    assert "hpack" not in {record.name.split(".")[0] for record in caplog.records}


# ------------------------------------------------------------------ when it breaks


def test_without_a_certificate_there_is_no_entry(apns: FakeApns) -> None:
    async def knock() -> None:
        tls = ssl.create_default_context(cafile=apns.ca_file)
        async with httpx2.AsyncClient(verify=tls, http1=False, http2=True) as client:
            await client.post(f"{apns.url}/3/device/{TOKEN}", content=BODY)

    with pytest.raises(httpx2.TransportError):
        asyncio.run(knock())
    assert apns.pushes == []


def test_a_server_that_cannot_be_verified_gets_nothing(apns: FakeApns, signer: Signer) -> None:
    outcome = pushing(apns, signer, lambda push: push.push(TOKEN), ca_file=None)
    assert outcome == Outcome("retry", reason="ConnectError")
    assert apns.pushes == []


def test_it_connects_again_however_often_the_server_restarts(apns: FakeApns, signer: Signer) -> None:
    """Three times: httpx2 itself would be stuck after its second broken connection."""

    async def use(push: ApplePush) -> list[str]:
        whats = []
        for _ in range(3):
            whats.append((await push.push(TOKEN)).what)
            await asyncio.to_thread(apns.stop)
            down = await asyncio.gather(*(push.push(TOKEN) for _ in range(5)))
            whats += {outcome.what for outcome in down}
            await asyncio.to_thread(apns.start)
        return [*whats, (await push.push(TOKEN)).what]

    assert pushing(apns, signer, use, timeout_seconds=2) == ["accepted", "retry"] * 3 + ["accepted"]
    assert len(apns.connections) == 4


def test_an_answer_that_never_comes_is_waited_for_only_so_long(apns: FakeApns, signer: Signer) -> None:
    async def use(push: ApplePush) -> list[list[Outcome]]:
        rounds = []
        for _ in range(3):
            apns.always = fake_apns.HANG
            rounds.append(await asyncio.gather(*(push.push(TOKEN) for _ in range(3))))
            apns.always = None
            rounds.append([await push.push(TOKEN)])
        return rounds

    lost, answered = Outcome("retry", reason="ReadTimeout"), Outcome("accepted", 200)
    assert pushing(apns, signer, use, timeout_seconds=HANG_SECONDS) == [[lost] * 3, [answered]] * 3


def test_a_lost_answer_among_others_does_not_hold_its_push_for_ever(apns: FakeApns, signer: Signer) -> None:
    async def use(push: ApplePush) -> tuple[Outcome, int]:
        apns.always = fake_apns.HANG
        lost = asyncio.create_task(push.push(TOKEN))
        while not apns.pushes:
            await asyncio.sleep(0.01)
        apns.always, refused = None, 0
        while not lost.done():
            refused += (await push.push(TOKEN)).what != "accepted"
        return lost.result(), refused

    outcome, refused = pushing(apns, signer, use, timeout_seconds=HANG_SECONDS)
    assert (outcome, refused) == (Outcome("retry", reason="TimeoutError"), 0)


def test_closing_lets_what_is_on_its_way_arrive(apns: FakeApns, signer: Signer) -> None:
    async def use(push: ApplePush) -> Outcome:
        await push.push(TOKEN)
        on_its_way = asyncio.create_task(push.push(TOKEN))
        await asyncio.sleep(0)
        await push.aclose()
        return await on_its_way

    assert pushing(apns, signer, use).what == "accepted"
    assert len(apns.connections) == 1


class GoingAway(asyncio.Protocol):
    """An HTTP/2 server that answers every request by hanging up, with a reason in the debug data, as Apple does."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.http.initiate_connection()
        self.transport.write(self.http.data_to_send())

    def data_received(self, data: bytes) -> None:
        if any(isinstance(event, h2.events.RequestReceived) for event in self.http.receive_data(data)):
            self.http.close_connection(additional_data=b'{"reason":"BadCertificate"}')
            self.transport.write(self.http.data_to_send())
            self.transport.close()
        elif not self.transport.is_closing():
            self.transport.write(self.http.data_to_send())


def test_a_server_that_hangs_up_is_asked_again(apns: FakeApns, signer: Signer) -> None:
    async def run() -> list[Outcome]:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=apns.client_ca_file)
        tls.verify_mode = ssl.CERT_REQUIRED
        tls.load_cert_chain(apns.certificate, apns.key)
        tls.set_alpn_protocols(["h2"])
        server = await asyncio.get_running_loop().create_server(GoingAway, fake_apns.HOST, 0, ssl=tls)
        url = f"https://{fake_apns.HOST}:{server.sockets[0].getsockname()[1]}"
        async with server, ApplePush(signer, lambda: NOW, base_url=url, ca_file=apns.ca_file) as push:
            at_once = await asyncio.gather(*(push.push(TOKEN) for _ in range(5)))
            return [*at_once, await push.push(TOKEN), await push.push(TOKEN)]

    outcomes = asyncio.run(asyncio.wait_for(run(), 8))
    assert {(outcome.what, outcome.status) for outcome in outcomes} == {("retry", None)}
    assert {outcome.reason for outcome in outcomes} <= {"RemoteProtocolError", "ReadError", "WriteError"}


# ------------------------------------------------------------------ the fake itself


def curl(apns: FakeApns, certificates: DevCertificates, token: str, *more: str, topic: str = "") -> tuple[str, str]:
    """What curl is answered: HTTP version and status, and the body. Proxies are left out."""
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl is not there")
    if "HTTP2" not in subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout:
        pytest.skip("this curl speaks no HTTP/2")
    files = certificates.files
    keys = ("--cert", str(files.certificate), "--key", str(files.key), "--cacert", str(apns.ca_file))
    headers = ("-H", f"apns-topic: {topic or apns.topic}", "-H", "apns-id: 11111111-2222-4333-8444-555555555555")
    written = ("-w", "\n%{http_version} %{http_code}", "--data-binary", "{}", "--noproxy", "*", "--max-time", "10")
    line = [program, "-q", "-s", "--http2", *keys, *headers, *written, *more, f"{apns.url}/3/device/{token}"]
    body, _, status = subprocess.run(line, capture_output=True, text=True, check=True).stdout.rpartition("\n")
    return status, body


def test_another_client_is_answered_the_same(apns: FakeApns, certificates: DevCertificates) -> None:
    assert curl(apns, certificates, TOKEN) == ("2 200", "")
    assert curl(apns, certificates, "bad01") == ("2 400", '{"reason":"BadDeviceToken"}')
    milliseconds = int(fake_apns.GONE_AT.timestamp() * 1000)
    assert curl(apns, certificates, "gone01") == ("2 410", f'{{"reason":"Unregistered","timestamp":{milliseconds}}}')
    status, shown = curl(apns, certificates, TOKEN, "-D", "-", "-o", "/dev/null")
    assert status == "2 200" and "apns-id: 11111111-2222-4333-8444-555555555555" in shown


def test_the_fake_is_as_strict_as_apple(apns: FakeApns, certificates: DevCertificates) -> None:
    assert curl(apns, certificates, TOKEN, "--data-binary", "x") == ("2 400", '{"reason":"PayloadEmpty"}')
    assert curl(apns, certificates, TOKEN, topic="pass.example.other") == ("2 400", '{"reason":"TopicDisallowed"}')
    assert curl(apns, certificates, TOKEN, "-X", "PUT") == ("2 405", '{"reason":"MethodNotAllowed"}')
    assert curl(apns, certificates, "") == ("2 400", '{"reason":"MissingDeviceToken"}')
