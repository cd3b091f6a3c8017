"""Every operation asked for nonsense, and for sense, as its own description allows: no 5xx, nothing undocumented.

Each generated request is sent twice: as it came, and once more about objects that are there, to get past the door.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias
from uuid import uuid4

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.main import describe
from tests.callers import ADMIN, ADMIN_KEY, VENDOR, Till, ok
from tests.conftest import SERVER
from tests.databases import database
from tests.service import Service

EXAMPLES = 8
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
FRAMING = {"transfer-encoding", "content-length", "connection", "upgrade", "expect"}  # The server's, before any route.
PIN = "4071"
Case: TypeAlias = schemathesis.Case[Any]

schema = schemathesis.openapi.from_dict(describe())


class Scene(NamedTuple):
    url: str
    till: Till
    objects: dict[str, str]
    spare_vendor_id: str


@pytest.fixture(scope="module")
def service(pytestconfig: pytest.Config) -> Iterator[Service]:
    """One that keeps nobody waiting for a position that may never come."""
    server = pytestconfig.stash[SERVER]
    with (
        database(server.url, template=server.template) as url,
        Service(url, min_position_wait_seconds=0.02) as service,
    ):
        yield service


@pytest.fixture(scope="module")
def scene(service: Service) -> Scene:
    till = service.shop()
    program, pin = till.program(), till.pin(PIN)
    card = till.card(program["id"], email="lea@example.lu")
    entry = ok(till.stamp(card["id"]))
    objects = {
        "program_id": program["id"],
        "reward_id": program["points_rewards"][0]["id"],
        "card_id": card["id"],
        "card": card["card_number"],
        "qr_code_data": card["qr_code_data"],
        "pin_id": pin["id"],
        "staff_pin_id": pin["id"],
        "pin": PIN,
        "entry_id": entry["entry_id"],
        "decision_id": entry["entry_id"],
        "key_id": str(uuid4()),
        "code": ok(service.admin.get(f"/vendors/{till.vendor_id}"))["code"],
    }
    service.seal()
    return Scene(str(service.http.base_url).rstrip("/"), till, objects, service.admin.vendor()["id"])


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_request_is_too_odd(case: Case, scene: Scene) -> None:
    ask(case, scene)
    about_what_is_there(case, scene)
    ask(case, scene)


def ask(case: Case, scene: Scene) -> None:
    headers = {}
    for name in [name for name in case.headers or () if name.lower() in FRAMING]:
        case.headers.pop(name)
    if case.path.startswith(ADMIN):
        headers["Authorization"] = f"Bearer {ADMIN_KEY}"
    elif case.path.startswith(VENDOR):
        headers["Authorization"] = f"Bearer {scene.till.key}"
    response = case.call(base_url=scene.url, headers=headers)
    case.validate_response(response, checks=CHECKS)
    if response.status_code >= 400:
        assert response.headers["content-type"] == ["application/problem+json"]
        told = response.json()
        assert (told["status"], told["instance"] is not None) == (response.status_code, True)
        assert told["request_id"] == response.headers["x-request-id"][0]


def about_what_is_there(case: Case, scene: Scene) -> None:
    """Ids that are known, a key of one's own, nothing that would end the request at the door."""
    known = {**scene.objects, "vendor_id": scene.spare_vendor_id}
    for name in list(case.path_parameters or {}):
        case.path_parameters[name] = known.get(name, case.path_parameters[name])
    for name in ("If-Match", "Staff-Session", "Idempotency-Key", "X-Terminal-Id"):
        case.headers.pop(name, None)
    case.headers["Idempotency-Key"] = str(uuid4())
    case.headers["Content-Type"] = "application/json"
    if isinstance(case.body, dict):
        body: dict[str, Any] = {name: known.get(name, value) for name, value in case.body.items()}
        if "pin" in body and "staff_pin_id" not in body and case.path != f"{VENDOR}/pins":
            body["staff_pin_id"] = known["staff_pin_id"]
        if "/sessions" in case.path:
            body.pop("staff_pin_id", None)
        case.body = body
