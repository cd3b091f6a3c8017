"""What every request goes through."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
import structlog
from starlette.types import Message, Receive, Scope, Send
from structlog.testing import capture_logs

from api.middleware import Admission, BodyLimit, Requests, route_of
from tests.api.edge import BODY_BYTES_MAX, client


@pytest.fixture(autouse=True)
def every_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a service in an earlier test was told to log."""
    monkeypatch.setattr("api.logs._has_quick_requests", False)
    structlog.reset_defaults()


def scope(path: str = "/api/v1/x", method: str = "POST", **headers: str) -> Scope:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "path": path, "method": method, "headers": raw, "http_version": "1.1"}


async def answer(app: Any, asked: Scope, receive: Receive) -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await app(asked, receive, send)
    return sent


def pieces(*bodies: bytes, pause_seconds: float = 0) -> Receive:
    waiting = list(bodies)

    async def receive() -> Message:
        await asyncio.sleep(pause_seconds)
        if not waiting:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    return receive


async def echo(_: Scope, receive: Receive, send: Send) -> None:
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message.get("body", b"")})


def test_a_sane_request_id_is_kept_and_another_one_is_made() -> None:
    tiny = client()
    assert tiny.get("/health/live", headers={"x-request-id": "till-2.0001"}).headers["x-request-id"] == "till-2.0001"
    for odd in ("short", "x" * 65, "a b c d e f g", "línea-0001", "-leading-0001"):
        made = tiny.get("/health/live", headers={b"x-request-id": odd.encode()}).headers["x-request-id"]
        assert UUID(made).version == 7


def test_every_answer_carries_the_headers_that_keep_browsers_careful() -> None:
    tiny = client(RuntimeError(), public_url="https://cards.example")
    for path in ("/api/v1/vendor/pages", "/api/v1/vendor/raise/0", "/api/v1/nowhere"):
        headers = tiny.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert "max-age" in headers["strict-transport-security"]


def test_the_log_line_holds_no_token_no_query_and_no_body() -> None:
    with capture_logs() as lines:
        client().get("/api/v1/vendor/tokens/very-secret-token?pin=4071")
    (line,) = [line for line in lines if line["event"] == "request"]
    assert line["route"] == "/api/v1/vendor/tokens/{token}"
    assert (line["method"], line["status"]) == ("GET", 200)
    assert line.keys() == {"event", "log_level", "method", "route", "status", "milliseconds"}


def test_an_unknown_path_is_logged_without_the_path() -> None:
    with capture_logs() as lines:
        client().get("/cards/very-secret-token")
    assert [line["route"] for line in lines if line["event"] == "request"] == ["-"]


def test_a_token_with_slashes_is_no_part_of_a_route() -> None:
    asked = {**scope("/files/a/b/c"), "route": object(), "path_params": {"path": "a/b/c"}}
    assert route_of(asked) == "/files/{path}"


def test_the_request_id_is_bound_for_everything_that_logs() -> None:
    seen: dict[str, Any] = {}

    async def look(asked: Scope, receive: Receive, send: Send) -> None:
        seen.update(structlog.contextvars.get_contextvars())
        await echo(asked, receive, send)

    asyncio.run(answer(Requests(look), scope(x_request_id="till-2.0001"), pieces(b"")))
    assert seen == {"request_id": "till-2.0001"}
    assert structlog.contextvars.get_contextvars() == {}


def test_half_an_answer_is_not_followed_by_a_problem() -> None:
    async def breaks(_: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        asyncio.run(answer(Requests(breaks), scope(), pieces(b"")))


def test_one_request_too_many_is_sent_away_at_once_and_liveness_is_not() -> None:
    async def both() -> tuple[int, int, dict[bytes, bytes]]:
        leave = asyncio.Event()

        async def slow(asked: Scope, receive: Receive, send: Send) -> None:
            if asked["path"] != "/health/live":
                await leave.wait()
            await echo(asked, receive, send)

        app = Admission(slow, in_flight_max=2)
        held = [asyncio.create_task(answer(app, scope(), pieces(b""))) for _ in range(2)]
        await asyncio.sleep(0)
        sent_away = await answer(app, scope(), pieces(b""))
        live = await answer(app, scope("/health/live"), pieces(b""))
        leave.set()
        await asyncio.gather(*held)
        again = await answer(app, scope(), pieces(b""))
        assert again[0]["status"] == 200
        return sent_away[0]["status"], live[0]["status"], dict(sent_away[0]["headers"])

    refused, live, headers = asyncio.run(both())
    assert (refused, live) == (503, 200)
    assert 1 <= int(headers[b"retry-after"]) <= 3


def test_a_failing_request_gives_its_place_back() -> None:
    async def breaks(_: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError

    async def many() -> int:
        app = Admission(breaks, in_flight_max=1)
        for _ in range(3):
            with pytest.raises(RuntimeError):
                await answer(app, scope(), pieces(b""))
        return app._in_flight

    assert asyncio.run(many()) == 0


LimitedAnswer = Callable[..., list[Message]]


@pytest.fixture
def limited() -> LimitedAnswer:
    def run(asked: Scope, receive: Receive, seconds_max: float = 1) -> list[Message]:
        app = BodyLimit(echo, bytes_max=10, seconds_max=seconds_max, larger={"/api/large": 20})
        return asyncio.run(answer(app, asked, receive))

    return run


def test_a_body_in_pieces_arrives_whole(limited: LimitedAnswer) -> None:
    assert limited(scope(transfer_encoding="chunked"), pieces(b"abc", b"", b"def"))[1]["body"] == b"abcdef"


def test_a_body_that_grows_past_the_limit_is_refused_without_a_declared_length(limited: LimitedAnswer) -> None:
    assert limited(scope(transfer_encoding="chunked"), pieces(b"12345678", b"901"))[0]["status"] == 413


def test_a_path_may_have_a_larger_limit(limited: LimitedAnswer) -> None:
    body = b"x" * 20
    assert limited(scope("/api/large/1", content_length="20"), pieces(body))[0]["status"] == 200
    assert limited(scope("/api/small/1", content_length="20"), pieces(body))[0]["status"] == 413


@pytest.mark.parametrize("length", ["-1", "ten", "1e3", "9" * 30])
def test_a_length_that_is_no_number_is_malformed(limited: LimitedAnswer, length: str) -> None:
    assert limited(scope(content_length=length), pieces(b""))[0]["status"] == 400


def test_a_body_that_dribbles_in_is_given_up(limited: LimitedAnswer) -> None:
    slow = pieces(b"1", b"2", b"3", pause_seconds=0.05)
    assert limited(scope(transfer_encoding="chunked"), slow, seconds_max=0.06)[0]["status"] == 408


def test_a_caller_who_left_is_not_answered(limited: LimitedAnswer) -> None:
    assert limited(scope(content_length="5"), pieces()) == []


def test_the_limit_holds_through_the_whole_application() -> None:
    parts = (b" " * 1_000 for _ in range(BODY_BYTES_MAX // 1_000 + 1))
    answered = client().post(
        "/api/v1/vendor/shapes", content=parts, headers={"content-type": "application/json", "accept-language": "lb"}
    )
    assert (answered.status_code, answered.json()["code"]) == (413, "too_large")
    assert answered.json()["title"] == "D’Ufro ass ze grouss"
    assert answered.headers["x-request-id"] == answered.json()["request_id"]
