"""Writing to Google: whatever was there, in the end there is what was put; and an answer that says what to do next."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, TypeVar

import httpx2
import pytest

from tests.fake_google import RETRY_AFTER_SECONDS, FakeGoogle, Trouble, account
from tests.wallet_sync.passes import TOKEN, card
from tests.wallet_sync.test_google_pass import CLASS, HYBRID, OBJECT, POINTS, STAMPS, class_of, object_of
from wallet_sync.google_client import Answer, GoogleClient, GoogleRefused, _judged

T = TypeVar("T")
ITS_CLASS = class_of(STAMPS[1], callback_url="https://cafe.example/wallet/google")
ITS_OBJECT = object_of(*STAMPS)
HEARD_SECONDS = 0.3
MESSAGE = {"id": "reward-1", "header": "A coffee", "body": "is waiting for you", "messageType": "TEXT_AND_NOTIFY"}


@pytest.fixture
def google() -> Iterator[FakeGoogle]:
    with FakeGoogle() as served:
        yield served


def ask(google: FakeGoogle, question: Callable[[GoogleClient], Awaitable[T]], **given: Any) -> T:
    async def story() -> T:
        urls = {"base_url": google.base_url, "token_url": google.token_url}
        async with GoogleClient(account().info, **{**urls, **given}) as client:
            return await question(client)

    return asyncio.run(story())


async def put_both(client: GoogleClient) -> list[str]:
    return [(await client.put("loyaltyClass", ITS_CLASS)).what, (await client.put("loyaltyObject", ITS_OBJECT)).what]


def put(google: FakeGoogle, body: dict[str, Any] = ITS_OBJECT, **given: Any) -> Answer:
    return ask(google, lambda client: client.put("loyaltyObject", body), **given)


# ------------------------------------------------------------------ it converges


def test_what_is_not_there_is_made_and_what_is_there_is_changed(google: FakeGoogle) -> None:
    assert ask(google, put_both) == ["done", "done"]
    assert google.held["loyaltyObject"][OBJECT] == ITS_OBJECT
    assert google.held["loyaltyClass"][CLASS] == {**ITS_CLASS, "reviewStatus": "APPROVED"}
    google.calls.clear()
    assert ask(google, put_both) == ["done", "done"]
    assert google.calls == ["token", "PATCH loyaltyClass", "PATCH loyaltyObject"]


def test_a_suspended_cards_code_goes_at_google_too(google: FakeGoogle) -> None:
    ask(google, put_both)
    suspended = object_of(card(status="suspended"), STAMPS[1])
    assert put(google, suspended).what == "done"
    assert google.held["loyaltyObject"][OBJECT] == suspended
    assert TOKEN not in str(google.held)


def test_a_class_loses_what_its_program_has_lost(google: FakeGoogle) -> None:
    ask(google, put_both)
    assert ask(google, lambda client: client.put("loyaltyClass", class_of(STAMPS[1]))).what == "done"
    assert "callbackOptions" not in google.held["loyaltyClass"][CLASS]


def test_all_kinds_of_cards_may_follow_each_other(google: FakeGoogle) -> None:
    ask(google, put_both)
    for of in (POINTS, HYBRID, STAMPS):
        assert put(google, object_of(*of)).what == "done"
        assert google.held["loyaltyObject"][OBJECT] == object_of(*of)


def test_who_is_overtaken_changes_what_the_other_has_made(google: FakeGoogle) -> None:
    google.is_overtaken = True
    assert ask(google, lambda client: client.put("loyaltyClass", ITS_CLASS)).what == "done"
    google.is_overtaken = True
    google.calls.clear()
    assert put(google).what == "done"
    assert google.calls[1:] == ["PATCH loyaltyObject", "POST loyaltyObject", "PATCH loyaltyObject"]
    assert google.held["loyaltyObject"][OBJECT] == ITS_OBJECT


def test_many_who_put_the_same_card_all_succeed(google: FakeGoogle) -> None:
    async def at_once(client: GoogleClient) -> list[Answer]:
        await client.put("loyaltyClass", ITS_CLASS)
        return await asyncio.gather(*(client.put("loyaltyObject", ITS_OBJECT) for _ in range(8)))

    assert {answer.what for answer in ask(google, at_once)} == {"done"}
    assert google.held["loyaltyObject"][OBJECT] == ITS_OBJECT


def test_a_card_without_its_class_says_so(google: FakeGoogle) -> None:
    assert put(google) == Answer("class_missing", 404, "classNotFound", None)
    ask(google, put_both)
    assert put(google, {**ITS_OBJECT, "classId": f"{CLASS}.other"}).what == "class_missing"


# ------------------------------------------------------------------ it says what to do


@pytest.mark.parametrize(
    ("trouble", "answer"),
    [
        ("503", Answer("back_off", 503, None, None)),
        ("429", Answer("back_off", 429, "rateLimitExceeded", float(RETRY_AFTER_SECONDS))),
        ("429 RESOURCE_EXHAUSTED", Answer("back_off", 429, "RESOURCE_EXHAUSTED", None)),
        ("403 quotaExceeded", Answer("back_off", 403, "quotaExceeded", None)),
        ("403 permissionDenied", Answer("stop_issuer", 403, "permissionDenied", None)),
        ("400 badRequest", Answer("our_mistake", 400, "badRequest", None)),
    ],
)
def test_trouble_is_told_by_its_reason(google: FakeGoogle, trouble: Trouble, answer: Answer) -> None:
    google.trouble = trouble
    assert put(google) == answer
    google.trouble = None
    assert ask(google, put_both) == ["done", "done"]


def test_who_does_not_answer_is_asked_later(google: FakeGoogle) -> None:
    google.trouble = "hang"
    answer = put(google, timeout_seconds=HEARD_SECONDS)
    assert (answer.what, answer.status) == ("back_off", None)
    assert "Timeout" in str(answer.reason)


def test_where_nobody_is_nothing_is_wrong_with_the_card(google: FakeGoogle) -> None:
    answer = put(google, base_url="http://127.0.0.1:9")
    assert answer == Answer("back_off", None, "ConnectError", None)


@pytest.mark.parametrize(
    "changed", [{"unheardOf": 1}, {"state": "active"}, {"id": "7.somebody.elses"}, {"hasUsers": True}]
)
def test_a_body_that_google_does_not_take_is_our_mistake(google: FakeGoogle, changed: dict[str, Any]) -> None:
    ask(google, lambda client: client.put("loyaltyClass", ITS_CLASS))
    assert put(google, {**ITS_OBJECT, **changed}).what == "our_mistake"
    assert google.held["loyaltyObject"] == {}


def test_a_class_that_is_a_draft_takes_no_cards(google: FakeGoogle) -> None:
    draft = {**ITS_CLASS, "reviewStatus": "DRAFT"}
    assert ask(google, lambda client: client.put("loyaltyClass", draft)).what == "done"
    assert put(google).what == "our_mistake"


def test_a_class_that_echoes_its_approval_is_our_mistake(google: FakeGoogle) -> None:
    ask(google, put_both)
    echo = google.held["loyaltyClass"][CLASS]
    assert ask(google, lambda client: client.put("loyaltyClass", echo)).what == "our_mistake"


@pytest.mark.parametrize(
    ("status", "content", "what", "reason"),
    [
        (409, b'{"error":{"status":"ABORTED"}}', "back_off", "ABORTED"),
        (403, b'{"error":{"status":"PERMISSION_DENIED"}}', "stop_issuer", "PERMISSION_DENIED"),
        (403, b'{"error":{"details":[{"reason":"RATE_LIMIT_EXCEEDED"}]}}', "back_off", "RATE_LIMIT_EXCEEDED"),
        (400, b'{"error":{"errors":[{"reason":7}]}}', "our_mistake", None),
        (400, b"[]", "our_mistake", None),
        (302, b"", "our_mistake", None),
        (500, b'{"error":null}', "back_off", None),
    ],
)
def test_errors_in_any_form_are_understood(status: int, content: bytes, what: str, reason: str | None) -> None:
    assert _judged(httpx2.Response(status, content=content)) == Answer(what, status, reason, None)  # type: ignore[arg-type]


def test_a_wait_may_be_given_as_a_date() -> None:
    def waits(value: str) -> float | None:
        return _judged(httpx2.Response(503, headers={"Retry-After": value})).retry_after

    in_a_minute = waits(format_datetime(datetime.now(UTC) + timedelta(minutes=1), usegmt=True))
    assert in_a_minute is not None and 50 < in_a_minute <= 60
    assert waits("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert waits("soon") is None


# ------------------------------------------------------------------ tokens


def test_one_token_serves_many_and_is_asked_for_once(google: FakeGoogle) -> None:
    async def at_once(client: GoogleClient) -> None:
        await asyncio.gather(*(client.get("loyaltyObject", OBJECT) for _ in range(10)))

    ask(google, at_once)
    assert google.calls.count("token") == 1


def test_a_token_about_to_run_out_is_made_anew(google: FakeGoogle) -> None:
    google.token_seconds = 299
    ask(google, put_both)
    assert google.calls.count("token") == len(google.calls) / 2


def test_a_token_that_is_no_longer_taken_is_replaced_once(google: FakeGoogle) -> None:
    async def story(client: GoogleClient) -> list[str]:
        await put_both(client)
        google.forget_tokens()
        google.calls.clear()
        return await put_both(client)

    assert ask(google, story) == ["done", "done"]
    assert google.calls == ["PATCH loyaltyClass", "token", "PATCH loyaltyClass", "PATCH loyaltyObject"]


def test_a_new_token_that_is_not_taken_either_stops_the_issuer(google: FakeGoogle) -> None:
    class Forgetful(set[str]):
        def add(self, token: str) -> None:
            pass

    google.tokens = Forgetful()
    assert put(google) == Answer("stop_issuer", 401, "authError", None)
    assert google.calls == ["token", "PATCH loyaltyObject", "token", "PATCH loyaltyObject"]


def test_an_account_that_google_does_not_know_stops_the_issuer(google: FakeGoogle) -> None:
    google.token_trouble = "invalid_grant"
    assert put(google) == Answer("stop_issuer", 401, "invalid_grant", None)
    google.token_trouble = None
    strange = {**account().info, "client_email": "somebody@else.example"}

    async def as_a_stranger() -> Answer:
        async with GoogleClient(strange, base_url=google.base_url, token_url=google.token_url) as client:
            return await client.put("loyaltyObject", ITS_OBJECT)

    assert asyncio.run(as_a_stranger()).reason == "invalid_grant"


@pytest.mark.parametrize(
    ("trouble", "status", "reason"),
    [("503", 503, None), ("hang", None, "ReadTimeout"), ("not_json", 200, "not_json")],
)
def test_a_token_that_does_not_come_is_asked_for_later_by_everybody(
    google: FakeGoogle, trouble: Any, status: int | None, reason: str | None
) -> None:
    async def at_once(client: GoogleClient) -> list[Answer]:
        return await asyncio.gather(*(client.put("loyaltyObject", ITS_OBJECT) for _ in range(5)))

    google.token_trouble = trouble
    patience = {"token_timeout_seconds": HEARD_SECONDS} if trouble == "hang" else {}
    answers = ask(google, at_once, **patience)
    assert set(answers) == {Answer("back_off", status, reason, None)}
    assert google.calls == ["token"]


def test_no_token_and_no_holder_is_ever_logged(google: FakeGoogle, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    ask(google, put_both)
    google.trouble = "400 badRequest"
    with pytest.raises(GoogleRefused) as refused:
        ask(google, lambda client: client.get("loyaltyObject", OBJECT))
    for said in (caplog.text, str(refused.value), repr(refused.value.answer)):
        assert "ya29" not in said and "Anna" not in said and TOKEN not in said and "eyJ" not in said


# ------------------------------------------------------------------ get, add_message


def test_what_was_put_can_be_read_and_what_was_not_is_none(google: FakeGoogle) -> None:
    ask(google, put_both)
    found = ask(google, lambda client: client.get("loyaltyObject", OBJECT))
    assert {key: found[key] for key in ITS_OBJECT} == ITS_OBJECT and found["hasUsers"] is False
    assert ask(google, lambda client: client.get("loyaltyObject", f"{OBJECT}.other")) is None


@pytest.mark.parametrize(("trouble", "what"), [("503", "back_off"), ("403 permissionDenied", "stop_issuer")])
def test_a_question_that_is_not_answered_says_whether_to_ask_again(
    google: FakeGoogle, trouble: Trouble, what: str
) -> None:
    google.trouble = trouble
    with pytest.raises(GoogleRefused) as refused:
        ask(google, lambda client: client.get("loyaltyObject", OBJECT))
    assert refused.value.answer.what == what


def test_a_message_rings_while_the_quota_lasts_and_then_is_shown_silently(google: FakeGoogle) -> None:
    ask(google, put_both)
    google.alerts_left = 1
    for _ in range(2):
        assert ask(google, lambda client: client.add_message("loyaltyObject", OBJECT, MESSAGE)).what == "done"
    shown = google.held["loyaltyObject"][OBJECT]["messages"]
    assert [message["messageType"] for message in shown] == ["TEXT_AND_NOTIFY", "TEXT"]


def test_a_message_for_a_card_that_is_not_there_is_our_mistake(google: FakeGoogle) -> None:
    answer = ask(google, lambda client: client.add_message("loyaltyObject", OBJECT, MESSAGE))
    assert (answer.what, answer.status) == ("our_mistake", 404)
