"""Somebody with a card and a phone who uses everything there is, and where traces of them may be looked for."""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2

from tests.api.test_passes import settings_for
from tests.callers import Till, ok
from tests.clock import zone_at_noon
from tests.phones import Phone
from tests.service import Served, Service
from wallet_sync.dev_certificates import make_dev_certificates

APPLE = "/api/v1/loyalty/apple"
NAME, EMAIL, PHONE = "Léa Weber-Canary", "lea.canary@example.lu", "+352621987654"


@dataclass
class Person:
    """Enrolled at a till; everything that was answered about them is kept in `told`."""

    service: Served
    till: Till
    program_id: str
    card: dict[str, Any]
    phone: Phone
    secrets: list[str]

    @property
    def customer_id(self) -> str:
        return str(self.card["customer_id"])

    @property
    def path(self) -> str:
        return f"/customers/{self.customer_id}"

    def erase(self, key: str | None = None, reason: str = "asked") -> httpx2.Response:
        return self.till.post(f"{self.path}/erasure", {"reason": reason}, key=key)

    def enrol_again(self, key: str | None = None, **customer: Any) -> httpx2.Response:
        given = customer or {"name": NAME, "email": EMAIL, "phone": PHONE}
        return self.till.post(f"/programs/{self.program_id}/cards", {"customer": given}, key=key)


@contextmanager
def wallet_service(url: str, folder: Path, **settings: Any) -> Iterator[Service]:
    """A service that gives out passes, alone on its database."""
    made = make_dev_certificates(folder / "certificates", now=datetime.now(UTC))
    with Service(url, public_url="https://cards.example", **settings_for(made), **settings) as service:
        yield service


def somebody(service: Served, **customer: Any) -> Person:
    """A person who has been here: stamps, points, a reward, a refusal, a lost card, a pass in a phone."""
    till = service.shop(timezone=zone_at_noon())
    program = till.program(
        max_daily_stamps=5, max_stamps_per_scan=3, translations={"fr": {"stamps_reward_description": "Un café"}}
    )
    given = {"name": NAME, "email": EMAIL, "phone": PHONE} | customer
    path = f"/programs/{program['id']}/cards"
    first = ok(till.post(path, {"customer": given}, key="enrol"))
    assert till.post(path, {"customer": given}, key="enrol-again").status_code == 200
    ok(till.stamp(first["id"], count=3))
    assert till.stamp(first["id"], count=3).status_code == 409
    ok(till.post("/points", {"card": first["card_number"], "purchase_amount_minor": 4250, "currency": "EUR"}))
    reward = program["points_rewards"][0]["id"]
    ok(till.post("/redemptions", {"card": first["qr_code_data"], "reward_id": reward}))
    ok(till.post("/adjustments", {"card": first["id"], "stamps_delta": 4, "reason": "Forgotten yesterday"}))
    ok(till.post(f"/cards/{first['id']}/suspend", {"reason": "Lost"}, key="suspend"))
    card = ok(till.post(f"/cards/{first['id']}/replace", {"reason": "Lost"}, key="replace"))
    ok(till.post(f"/cards/{card['id']}/reinstate", {"reason": "Found"}, key="reinstate"))
    ok(till.post("/cards/lookup", {"card": card["qr_code_data"]}))
    service.catch_up()
    phone = Phone(service.http, APPLE)
    phone.add(service.public.get(f"/cards/{card['qr_code_data']}/apple.pkpass"))
    phone.refresh()
    service.catch_up()
    secrets = [first["qr_code_data"], card["qr_code_data"], phone.id, phone.push_token]
    names = [given["name"], given["email"], given["phone"]]
    return Person(service, till, program["id"], card, phone, [*names, *secrets])


def forms(text: str) -> set[str]:
    """A text in all the ways it may be written, in lower case: plain, escaped, encoded; both cases, backwards."""
    found: set[str] = set()
    for form in {text, text.lower(), text.upper(), text.swapcase(), text.replace("+", ""), text[::-1]}:
        raw = form.encode()
        found |= {form, raw.hex(), form.encode("ascii", "backslashreplace").decode().replace("\\x", "\\u00")}
        # At each of three places within a longer text it is written differently; its ends belong to its neighbours.
        for encode in (b64encode, urlsafe_b64encode):
            found |= {encode(b"-" * shift + raw).decode()[4 if shift else 0 :].rstrip("=")[:-2] for shift in range(3)}
    return {form.lower() for form in found if len(form) >= 6}


def traces(secrets: list[str], text: str) -> list[str]:
    """Which of the secrets stand in a text, in whatever form."""
    text = text.lower()
    return [secret for secret in secrets if any(form in text for form in forms(secret))]


def everything(service: Served) -> str:
    """Every row of every table, as text and as JSON, with the bytes of `bytea` columns in plain as well."""
    parts = []
    tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY table_name"
    for (table,) in (tuple(row.values()) for row in service.rows(tables)):
        for row in service.rows(f"SELECT t.* FROM {table} t"):
            for value in row.values():
                parts.append(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))
    return "\n".join(parts)
