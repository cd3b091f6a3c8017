"""Whoever calls the service: tills, administrators, auditors, anybody; what they send, and what they expect."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx2

from tests.clock import PATIENCE_SECONDS

ADMIN_KEY = "the-administrators-key-in-every-test"
AUDITOR_KEY = "the-auditors-key-in-each-of-the-tests"
ALL_SCOPES = ("cards", "earn", "redeem", "reverse", "adjust", "programs", "pins", "read")

ADMIN = "/api/v1/admin/loyalty"
VENDOR = "/api/v1/vendor/loyalty"
PUBLIC = "/api/v1/loyalty"

UUIDS_AND_FRACTIONS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\.[0-9]{1,6}Z")

FRESH = "fresh"
"""As Idempotency-Key: a new one for each request. None sends none."""


class Client:
    """One caller. Paths are relative to the caller's part of the API."""

    def __init__(self, http: httpx2.Client, prefix: str, key: str | None = None, **headers: str) -> None:
        self.http = http
        self.prefix = prefix
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            self.headers["Authorization"] = f"Bearer {key}"

    def send(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> httpx2.Response:
        content: dict[str, Any] = {} if body is None else {"json": body}
        return self.http.request(
            method, self.prefix + path, headers={**self.headers, **(headers or {})}, **content, **more
        )

    def get(self, path: str, **query: Any) -> httpx2.Response:
        return self.send("GET", path, params=query)

    def post(
        self,
        path: str,
        body: Any = None,
        *,
        key: str | None = FRESH,
        headers: Mapping[str, str] | None = None,
        **query: Any,
    ) -> httpx2.Response:
        return self.send("POST", path, body, headers={**once(key), **(headers or {})}, params=query)

    def patch(self, path: str, body: Any, **headers: str) -> httpx2.Response:
        return self.send("PATCH", path, body, headers={name.replace("_", "-"): v for name, v in headers.items()})

    def delete(self, path: str) -> httpx2.Response:
        return self.send("DELETE", path)


class Admin(Client):
    def __init__(self, http: httpx2.Client, key: str = ADMIN_KEY) -> None:
        super().__init__(http, ADMIN, key)

    def vendor(self, **given: Any) -> dict[str, Any]:
        body = {
            "name": "Café Beim Rousegäertchen",
            "code": f"shop-{uuid4().hex[:12]}",
            "country": "LU",
            "timezone": "Europe/Luxembourg",
            "currency": "EUR",
            "languages": ["lb", "fr"],
        }
        return ok(self.post("/vendors", body | given))

    def api_key(self, vendor_id: str, *scopes: str, **given: Any) -> dict[str, Any]:
        body = {"name": "Till 1", "scopes": list(scopes or ALL_SCOPES)}
        return ok(self.post(f"/vendors/{vendor_id}/api-keys", body | given))


class Till(Client):
    """A vendor's system with a key; what it makes, it makes with values that most tests do not care about."""

    def __init__(self, http: httpx2.Client, key: str, vendor_id: str = "", **headers: str) -> None:
        super().__init__(http, VENDOR, key, **headers)
        self.vendor_id = vendor_id
        self.key = key

    def with_session(self, token: str) -> "Till":
        return Till(self.http, self.key, self.vendor_id, Staff_Session=token)

    def at(self, http: httpx2.Client) -> "Till":
        """The same till, asking another process."""
        return Till(http, self.key, self.vendor_id)

    def program(self, **given: Any) -> dict[str, Any]:
        """Hybrid: ten stamps, or a point for each euro. No cooldown, no PIN, hardly a daily limit."""
        body = {
            "loyalty_type": "hybrid",
            "name": "Coffee card",
            "stamps_target": 10,
            "stamps_reward_description": "A coffee of your choice",
            "earn_rate": {"points": 1, "per_minor": 100},
            "points_rewards": [{"name": "A slice of cake", "points_cost": 20, "value_minor": 420}],
            "cooldown_minutes": 0,
            "max_daily_stamps": 1000,
            "require_staff_pin": False,
        }
        return ok(self.post("/programs", body | given))

    def pin(self, pin: str = "4071", **given: Any) -> dict[str, Any]:
        return ok(self.post("/pins", {"staff_id": f"staff-{uuid4().hex[:8]}", "name": "Marie", "pin": pin} | given))

    def card(self, program_id: str, **customer: Any) -> dict[str, Any]:
        return ok(self.post(f"/programs/{program_id}/cards", {"customer": customer}))

    def stamp(self, card: str, *, key: str | None = FRESH, **given: Any) -> httpx2.Response:
        return self.post("/stamps", {"card": card, **given}, key=key)

    def read(self, card_id: str) -> dict[str, Any]:
        return ok(self.get(f"/cards/{card_id}"))


def once(key: str | None) -> dict[str, str]:
    if key is None:
        return {}
    return {"Idempotency-Key": str(uuid4()) if key == FRESH else key}


def ok(response: httpx2.Response) -> dict[str, Any]:
    """What was answered, by a request that must have worked."""
    assert response.status_code < 300, f"{response.status_code}: {response.text}"
    told: dict[str, Any] = response.json()
    return told


def problem(response: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document, of a request that must have been refused just so."""
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json"), (
        response.text
    )
    told: dict[str, Any] = response.json()
    assert (told["status"], told["code"], told["instance"]) == (status, code, response.request.url.path), told
    assert told["type"] == f"/problems/{code}" and told["title"] and told["detail"], told
    assert told["request_id"] == response.headers["x-request-id"]
    return told


def words_of(response: httpx2.Response) -> str:
    """What an answer says, without the digits that are there by chance: ids and fractions of a second.

    A short PIN turns up in a random id sooner or later; that is not a leak.
    """
    return UUIDS_AND_FRACTIONS.sub("-", f"{response.text} {response.json()}")


def moment(text: str) -> datetime:
    """A time as it was answered: with its zone, which is UTC."""
    at = datetime.fromisoformat(text)
    assert at.utcoffset() == timedelta(0), text
    return at


@dataclass(frozen=True)
class Ask:
    """A POST to be sent beside others."""

    client: Client
    path: str
    body: Any = None
    key: str | None = FRESH


def at_once(asks: Sequence[Ask], *, connections: int = 100) -> list[httpx2.Response]:
    """Send all of them in parallel; the answers in the order asked."""

    async def send_all() -> list[httpx2.Response]:
        limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
        async with httpx2.AsyncClient(timeout=PATIENCE_SECONDS, limits=limits) as http:

            async def send(ask: Ask) -> httpx2.Response:
                url = str(ask.client.http.base_url).rstrip("/") + ask.client.prefix + ask.path
                return await http.post(url, json=ask.body, headers={**ask.client.headers, **once(ask.key)})

            return list(await asyncio.gather(*map(send, asks)))

    return asyncio.run(send_all())
