"""Google's own client finds in the server that plays Google what it finds at Google, and in it what ours has written.

It is built from the description of the interface that it carries. Each answer is held against the form that this
description names for it.
"""

import asyncio
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import orjson
import pytest
from google.auth.exceptions import RefreshError
from google.oauth2.service_account import Credentials
from googleapiclient.discovery import build
from googleapiclient.discovery_cache import get_static_doc
from googleapiclient.errors import HttpError

from tests.fake_google import ISSUER, SCOPE, FakeGoogle, Told, Trouble, account, schema_faults
from tests.wallet_sync.passes import card, program
from tests.wallet_sync.test_google_pass import CLASS, HYBRID, OBJECT, STAMPS, class_of, object_of
from wallet_sync.google_client import Answer, GoogleClient

ITS_CLASS = class_of(program())
ITS_OBJECT = object_of(*STAMPS)
MESSAGE = {"id": "reward-1", "header": "A coffee", "body": "is waiting for you", "messageType": "TEXT_AND_NOTIFY"}


@cache
def form_of_answers(kind: str, method: str) -> Told:
    told: Told = orjson.loads(get_static_doc("walletobjects", "v1"))["resources"][kind]["methods"][method]["response"]
    return told


class AccountOfTheFake(Credentials):
    """A service account that asks for its token and nothing else: Google's own also looks up its region, at Google."""

    def before_request(self, request: Any, method: str, url: str, headers: dict[str, str]) -> None:
        if not self.valid:
            self.refresh(request)
        self.apply(headers)


class GooglesClient:
    """What it is asked: `insert("loyaltyobject", body=…)`, by the names that Google gives."""

    def __init__(self, google: FakeGoogle, **changed: str) -> None:
        info = {**account().info, "token_uri": google.token_url, **changed}
        self._service = build(
            "walletobjects",
            "v1",
            credentials=AccountOfTheFake.from_service_account_info(info, scopes=[SCOPE]),
            client_options={"api_endpoint": google.base_url.removesuffix("walletobjects/v1")},
            static_discovery=True,
        )

    def __getattr__(self, method: str) -> Callable[..., Told]:
        def ask(kind: str, **asked: Any) -> Told:
            answer: Told = self.request(kind, method, **asked).execute()
            assert schema_faults(answer, form_of_answers(kind, method), "") == []
            return answer

        return ask

    def request(self, kind: str, method: str, **asked: Any) -> Any:
        return getattr(getattr(self._service, kind)(), method)(**asked)

    def close(self) -> None:
        self._service.close()


@pytest.fixture
def google() -> Iterator[FakeGoogle]:
    with FakeGoogle() as served:
        yield served


@pytest.fixture
def client(google: FakeGoogle) -> Iterator[GooglesClient]:
    client = GooglesClient(google)
    yield client
    client.close()


def ours(google: FakeGoogle, question: Callable[[GoogleClient], Any]) -> Any:
    async def story() -> Any:
        async with GoogleClient(account().info, base_url=google.base_url, token_url=google.token_url) as client:
            return await question(client)

    return asyncio.run(story())


def insert_both(client: GooglesClient) -> None:
    client.insert("loyaltyclass", body=ITS_CLASS)
    client.insert("loyaltyobject", body=ITS_OBJECT)


def refusal(client: GooglesClient, kind: str, method: str, **asked: Any) -> tuple[int, str]:
    """The status, and the reason that it found in the answer."""
    with pytest.raises(HttpError) as refused:
        getattr(client, method)(kind, **asked)
    (detail,) = refused.value.error_details
    return refused.value.status_code, detail["reason"]


# ------------------------------------------------------------------ what it can do


def test_it_finds_a_class_and_a_card_as_it_inserted_them(client: GooglesClient) -> None:
    insert_both(client)
    known = {"kind": "walletobjects#loyaltyClass", "version": "1", "reviewStatus": "APPROVED"}
    assert client.get("loyaltyclass", resourceId=CLASS) == {**ITS_CLASS, **known}
    known = {"kind": "walletobjects#loyaltyObject", "version": "1", "hasUsers": False}
    assert client.get("loyaltyobject", resourceId=OBJECT) == {**ITS_OBJECT, **known}


def test_a_patch_changes_what_it_names_and_null_removes(client: GooglesClient) -> None:
    insert_both(client)
    changed = client.patch("loyaltyobject", resourceId=OBJECT, body={"state": "INACTIVE", "barcode": None})
    assert changed == {**{name: said for name, said in ITS_OBJECT.items() if name != "barcode"}, "state": "INACTIVE"}
    body = {"programName": "Tea card", "reviewStatus": "UNDER_REVIEW"}
    assert client.patch("loyaltyclass", resourceId=CLASS, body=body)["programName"] == "Tea card"


def test_cards_are_listed_by_their_class_a_page_at_a_time_and_classes_by_their_issuer(client: GooglesClient) -> None:
    insert_both(client)
    client.insert("loyaltyclass", body={**ITS_CLASS, "id": f"{CLASS}.other"})
    ids = [f"{OBJECT}.{number}" for number in range(4)]
    for id_ in ids:
        client.insert("loyaltyobject", body={**ITS_OBJECT, "id": id_})
    pages, token = [], None
    while not pages or token:
        page = client.list("loyaltyobject", classId=CLASS, maxResults=2, token=token)
        pages.append([listed["id"] for listed in page["resources"]])
        token = page["pagination"].get("nextPageToken")
    assert pages == [[OBJECT, ids[0]], ids[1:3], ids[3:]]
    assert client.list("loyaltyobject", classId=f"{CLASS}.other")["resources"] == []
    classes = client.list("loyaltyclass", issuerId=int(ISSUER))["resources"]
    assert [listed["id"] for listed in classes] == [CLASS, f"{CLASS}.other"]


@pytest.mark.parametrize(("kind", "id_"), [("loyaltyobject", OBJECT), ("loyaltyclass", CLASS)])
def test_a_message_is_added_and_comes_back_with_what_it_was_added_to(
    client: GooglesClient, kind: str, id_: str
) -> None:
    insert_both(client)
    shown = client.addmessage(kind, resourceId=id_, body={"message": MESSAGE})["resource"]
    assert (shown["id"], shown["messages"]) == (id_, [MESSAGE])


# ------------------------------------------------------------------ what is refused


def test_each_refusal_says_why(google: FakeGoogle, client: GooglesClient) -> None:
    insert_both(client)
    other = f"{OBJECT}.other"
    google.alerts_left = 0
    assert refusal(client, "loyaltyclass", "insert", body=ITS_CLASS) == (409, "existingResource")
    assert refusal(client, "loyaltyobject", "insert", body=ITS_OBJECT) == (409, "existingResource")
    assert refusal(client, "loyaltyobject", "get", resourceId=other) == (404, "resourceNotFound")
    assert refusal(client, "loyaltyobject", "patch", resourceId=other, body={}) == (404, "resourceNotFound")
    assert refusal(client, "loyaltyclass", "patch", resourceId=other, body={}) == (404, "classNotFound")
    assert refusal(client, "loyaltyobject", "list", classId=other) == (404, "classNotFound")
    assert refusal(client, "loyaltyclass", "list", issuerId=7) == (403, "permissionDenied")
    orphan = {**ITS_OBJECT, "id": other, "classId": f"{CLASS}.other"}
    assert refusal(client, "loyaltyobject", "insert", body=orphan) == (404, "classNotFound")
    message = {"message": MESSAGE}
    assert refusal(client, "loyaltyobject", "addmessage", resourceId=other, body=message) == (404, "resourceNotFound")
    assert refusal(client, "loyaltyobject", "addmessage", resourceId=OBJECT, body=message) == (403, "quotaExceeded")


def test_a_body_with_a_key_that_nobody_knows_is_refused_and_the_key_is_named(client: GooglesClient) -> None:
    insert_both(client)
    odd: Told = {"unheardOf": 1}
    for kind, id_, body in (("loyaltyobject", OBJECT, ITS_OBJECT), ("loyaltyclass", CLASS, ITS_CLASS)):
        assert refusal(client, kind, "insert", body={**body, **odd}) == (400, "badRequest")
        assert refusal(client, kind, "patch", resourceId=id_, body={**body, **odd}) == (400, "badRequest")
    with pytest.raises(HttpError, match="unheardOf is unknown"):
        client.patch("loyaltyobject", resourceId=OBJECT, body=odd)
    assert refusal(client, "loyaltyobject", "addmessage", resourceId=OBJECT, body=odd) == (400, "badRequest")


def test_a_class_is_not_changed_by_echoing_its_approval(client: GooglesClient) -> None:
    insert_both(client)
    for body in ({"programName": "Tea card"}, {"programName": "Tea card", "reviewStatus": "APPROVED"}):
        assert refusal(client, "loyaltyclass", "patch", resourceId=CLASS, body=body) == (400, "badRequest")


@pytest.mark.parametrize(
    ("trouble", "is_tried_again"),
    [
        ("503", True),
        ("429", True),
        ("429 RESOURCE_EXHAUSTED", True),
        ("403 permissionDenied", False),
        ("400 badRequest", False),
    ],
)
def test_it_tries_again_where_our_client_says_later(
    google: FakeGoogle, client: GooglesClient, trouble: Trouble, is_tried_again: bool
) -> None:
    google.trouble = trouble
    request = client.request("loyaltyobject", "insert", body=ITS_OBJECT)
    request._sleep = lambda seconds: None
    with pytest.raises(HttpError):
        request.execute(num_retries=1)
    assert google.calls.count("POST loyaltyObject") == 1 + is_tried_again
    answer: Answer = ours(google, lambda client: client.put("loyaltyObject", ITS_OBJECT))
    assert (answer.what == "back_off") == is_tried_again


# ------------------------------------------------------------------ tokens


def test_one_token_serves_until_it_is_no_longer_taken(google: FakeGoogle, client: GooglesClient) -> None:
    insert_both(client)
    google.forget_tokens()
    client.get("loyaltyobject", resourceId=OBJECT)
    get = "GET loyaltyObject"
    assert google.calls == ["token", "POST loyaltyClass", "POST loyaltyObject", get, "token", get]


def test_an_account_that_google_does_not_know_gets_no_token(google: FakeGoogle) -> None:
    stranger = GooglesClient(google, client_email="somebody@else.example")
    with pytest.raises(RefreshError, match="invalid_grant"):
        stranger.insert("loyaltyclass", body=ITS_CLASS)
    assert google.calls == ["token"]
    stranger.close()


# ------------------------------------------------------------------ beside ours


def test_both_clients_find_the_same_and_each_goes_on_with_what_the_other_wrote(
    google: FakeGoogle, client: GooglesClient
) -> None:
    async def put(client: GoogleClient, body: Told) -> tuple[str, Told | None, list[Told]]:
        done = (await client.put("loyaltyObject", body)).what
        listed, _ = await client.objects(CLASS)
        return done, await client.get("loyaltyObject", OBJECT), listed

    insert_both(client)
    for body in (object_of(card(status="suspended"), STAMPS[1]), object_of(*HYBRID), ITS_OBJECT):
        done, found, listed = ours(google, lambda client, body=body: put(client, body))
        assert done == "done"
        assert found == {**body, "kind": "walletobjects#loyaltyObject", "version": "1", "hasUsers": False}
        assert client.get("loyaltyobject", resourceId=OBJECT) == found
        assert client.list("loyaltyobject", classId=CLASS)["resources"] == listed == [found]
        client.patch("loyaltyobject", resourceId=OBJECT, body={"state": "EXPIRED", "heroImage": None})
