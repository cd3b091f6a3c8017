"""The server that plays Apple's push service answers Node's own HTTP/2 as it answers our client."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import orjson
import pytest

from tests.fake_apns import GONE_AT, FakeApns, fake_apns
from tests.wallet_sync.peers.conftest import run_node
from wallet_sync.dev_certificates import DevCertificates

TOKEN = "a1" * 32


@pytest.fixture(scope="module")
def apns(needs_node: None, certificates: DevCertificates, tmp_path_factory: Any) -> Iterator[FakeApns]:
    with fake_apns(certificates, tmp_path_factory.mktemp("apns")) as fake:
        yield fake


def push(apns: FakeApns, token: str, body: str = "{}", **headers: str) -> dict[str, Any]:
    """A request as Apple describes it; what is given stands in for what would be there."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    whole = {":method": "POST", ":path": f"/3/device/{token}", "apns-topic": apns.topic, **given}
    return {"headers": {name: value for name, value in whole.items() if value}, "body": body}


def pushed(apns: FakeApns, made: DevCertificates | None, *requests: dict[str, Any]) -> list[dict[str, Any]]:
    credentials = {} if made is None else {"certificate": str(made.files.certificate), "key": str(made.files.key)}
    told = {"url": apns.url, "ca": str(apns.ca_file), "requests": requests, **credentials}
    answers: list[dict[str, Any]] = run_node("push.mjs", told)
    return answers


def test_a_hundred_at_once_use_one_connection_and_each_gets_its_own_answer(
    apns: FakeApns, certificates: DevCertificates
) -> None:
    ids = [str(uuid4()) for _ in range(100)]
    apns.pushes.clear()
    answers = pushed(apns, certificates, *(push(apns, TOKEN, apns_id=id_) for id_ in ids))
    assert [(answer["status"], answer["body"]) for answer in answers] == [(200, "")] * 100
    assert [answer["headers"]["apns-id"] for answer in answers] == ids
    assert len(apns.connections) == 1
    assert {(one.token, one.body, one.http_version) for one in apns.pushes} == {(TOKEN, b"{}", "2")}


def test_each_refusal_says_why(apns: FakeApns, certificates: DevCertificates) -> None:
    refused = {
        (410, "Unregistered"): push(apns, "gone01"),
        (400, "BadDeviceToken"): push(apns, "bad01"),
        (429, "TooManyRequests"): push(apns, "slow01"),
        (503, "ServiceUnavailable"): push(apns, "down01"),
        (400, "TopicDisallowed"): push(apns, TOKEN, apns_topic="pass.example.other"),
        (400, "MissingTopic"): push(apns, TOKEN, apns_topic=""),
        (400, "PayloadEmpty"): push(apns, TOKEN, body=""),
        (400, "MissingDeviceToken"): push(apns, ""),
        (404, "BadPath"): push(apns, TOKEN, **{":path": "/2/device/x"}),
        (405, "MethodNotAllowed"): push(apns, TOKEN, **{":method": "PUT"}),
    }
    answers = pushed(apns, certificates, *refused.values())
    bodies = [orjson.loads(answer["body"]) for answer in answers]
    assert [(answer["status"], body["reason"]) for answer, body in zip(answers, bodies, strict=True)] == list(refused)
    timestamps = [body.get("timestamp") for body in bodies]
    assert timestamps == [int(GONE_AT.timestamp() * 1000), *[None] * (len(refused) - 1)]


def test_nobody_gets_in_without_a_certificate(apns: FakeApns) -> None:
    apns.pushes.clear()
    assert pushed(apns, None, push(apns, TOKEN)) == [{"body": ""}]
    assert apns.pushes == []
