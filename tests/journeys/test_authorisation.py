"""Who may call what: every operation of openapi.json, asked by everybody who should not be answered.

Somebody else's object and one that does not exist are the same answer, byte for byte.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from uuid import uuid4

import httpx2
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts

from api.dependencies import VendorWith, _admin, _admin_or_auditor, public
from api.key_files import Keys
from api.main import create_app, describe
from api.openapi import operations
from api.pages.routing import PageRoute
from api.settings import Settings
from tests.callers import ADMIN, VENDOR, Client, Till, ok, problem
from tests.service import MASTER_KEY, Service

DOCUMENT = describe()
OF_ONE_REQUEST = ("date", "x-request-id")


class Operation(NamedTuple):
    path: str
    method: str
    about: dict[str, Any]

    @property
    def audience(self) -> str:
        return next((part for part in ("admin", "vendor") if self.path.startswith(f"/api/v1/{part}/")), "public")

    @property
    def changes(self) -> bool:
        return self.method != "get"

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"


OPERATIONS = [Operation(*found) for found in operations(DOCUMENT)]
GUARDED = [operation for operation in OPERATIONS if operation.audience != "public"]
OF_VENDORS = [operation for operation in OPERATIONS if operation.audience == "vendor"]
READS_BY_POST = {f"{VENDOR}/cards/lookup"}

# Where the examples of the single fields do not make a request that means something.
BODIES: dict[str, dict[str, Any]] = {
    f"{VENDOR}/adjustments": {"card": "{card_id}", "stamps_delta": 1, "reason": "Forgotten yesterday"},
    f"{VENDOR}/programs": {"loyalty_type": "stamps", "name": "Bread card", "stamps_target": 8},
    f"{VENDOR}/points": {"card": "{card_id}", "purchase_amount_minor": 1250, "currency": "EUR"},
}


class Scene(NamedTuple):
    """A vendor with one of everything, and a second vendor with a key for everything of their own."""

    service: Service
    owner: Till
    stranger: Till
    reader: Till
    objects: dict[str, str]


@pytest.fixture(scope="module")
def scene(service: Service) -> Scene:
    owner, stranger = service.shop(), service.shop()
    program, pin = owner.program(), owner.pin()
    card = owner.card(program["id"], email="lea@example.lu")
    entry = ok(owner.stamp(card["id"]))
    issued = service.admin.api_key(owner.vendor_id, "read")
    objects = {
        "vendor_id": owner.vendor_id,
        "program_id": program["id"],
        "card_id": card["id"],
        "customer_id": card["customer_id"],
        "pin_id": pin["id"],
        "entry_id": entry["entry_id"],
        "decision_id": entry["entry_id"],
        "key_id": issued["id"],
        "qr_code_data": card["qr_code_data"],
        "card_number": card["card_number"],
        "code": ok(service.admin.get(f"/vendors/{owner.vendor_id}"))["code"],
    }
    service.seal()
    return Scene(service, owner, stranger, service.till(issued["key"], owner.vendor_id), objects)


def ask(client: Client, operation: Operation, objects: dict[str, str], **more: Any) -> httpx2.Response:
    """The operation on these objects, with a body that its own examples make."""
    path = operation.path
    for name, value in objects.items():
        path = path.replace(f"{{{name}}}", value)
    body = body_of(operation, objects)
    content: dict[str, Any] = {} if body is None else {"json": body}
    headers = {**client.headers, "Idempotency-Key": str(uuid4())}
    return client.http.request(operation.method.upper(), path, headers=headers, **content, **more)


def body_of(operation: Operation, objects: dict[str, str]) -> Any:
    media = operation.about.get("requestBody", {}).get("content", {}).get("application/json")
    if media is None:
        return None
    body = dict(BODIES[operation.path]) if operation.path in BODIES else example(media["schema"])
    if "card" in body:
        body["card"] = objects["card_id"]
    return body


def example(schema: dict[str, Any]) -> Any:
    if "$ref" in schema:
        return example(DOCUMENT["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]])
    if "const" in schema:
        return schema["const"]
    for several in ("examples", "enum"):
        if several in schema:
            return schema[several][0]
    if "default" in schema:
        return schema["default"]
    if "properties" in schema:
        return {name: example(schema["properties"][name]) for name in schema.get("required", [])}
    raise AssertionError(f"no example of {schema}")


# ------------------------------------------------------------------ every route says who may call


def test_every_route_says_who_may_call_it() -> None:
    keys = Keys("", None, MASTER_KEY, None)
    said = {}
    for context in iter_route_contexts(create_app(Settings(), keys, "").routes):
        route = context.original_route
        if isinstance(route, APIRoute) and not isinstance(route, PageRoute):
            called = {audience_of(call) for call in calls(route.dependant)} - {None}
            said[context.path] = (called, {Operation(str(context.path), "", {}).audience})
    assert {path for path, (called, expected) in said.items() if called != expected} == set()
    assert {path for path in said if not is_spelling(path)} == {operation.path for operation in OPERATIONS}


def is_spelling(path: str | None) -> bool:
    """Another way to write an address of Apple's web service, kept out of the description."""
    return path is not None and ("//" in path or path.endswith("/"))


def calls(dependant: Dependant) -> Iterator[Callable[..., Any] | None]:
    for dependency in dependant.dependencies:
        yield dependency.call
        yield from calls(dependency)


def audience_of(call: Callable[..., Any] | None) -> str | None:
    if isinstance(call, VendorWith):
        return "vendor"
    return {_admin: "admin", _admin_or_auditor: "admin", public: "public"}.get(call)  # type: ignore[arg-type]


# ------------------------------------------------------------------ nobody, and somebody else's door


@pytest.mark.parametrize("operation", GUARDED, ids=str)
def test_without_a_valid_key_there_is_nothing(scene: Scene, operation: Operation) -> None:
    heads = scene.service.heads()
    http = scene.service.http
    for authorization in (
        None,
        "Bearer",
        "Bearer ",
        "Bearer llk_wrong",
        f"Basic {scene.owner.key}",
        f"Bearer {scene.owner.key}x",
        f"Bearer {scene.owner.key} ",
        "Bearer \xe9",
    ):
        client = Client(http, "")
        headers: dict[str, Any] = {} if authorization is None else {"Authorization": authorization.encode("latin-1")}
        client.headers = headers
        if authorization is not None and authorization.endswith(" "):
            continue  # The header is trimmed on its way: it would be the key itself, or nothing.
        answer = ask(client, operation, scene.objects)
        problem(answer, 401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert scene.service.heads() == heads


@pytest.mark.parametrize("operation", GUARDED, ids=str)
def test_a_key_of_the_other_side_is_not_enough(scene: Scene, operation: Operation) -> None:
    others: dict[str, list[Client]] = {
        "admin": [scene.owner, scene.reader],
        "vendor": [scene.service.admin, scene.service.auditor],
    }
    for client in others[operation.audience]:
        problem(ask(client, operation, scene.objects), 403, "scope_missing")


@pytest.mark.parametrize("operation", [op for op in GUARDED if op.changes], ids=str)
def test_who_may_only_read_changes_nothing(scene: Scene, operation: Operation) -> None:
    heads = scene.service.heads()
    reader = scene.reader if operation.audience == "vendor" else scene.service.auditor
    answer = ask(reader, operation, scene.objects)
    if operation.path in READS_BY_POST:
        assert answer.status_code == 200
    else:
        problem(answer, 403, "scope_missing")
    assert scene.service.heads() == heads


@pytest.mark.parametrize("operation", [op for op in GUARDED if not op.changes], ids=str)
def test_who_may_read_reads(scene: Scene, operation: Operation) -> None:
    scene.service.catch_up()
    reader = scene.reader if operation.audience == "vendor" else scene.service.auditor
    assert ask(reader, operation, scene.objects).status_code == 200


# ------------------------------------------------------------------ another vendor's objects


def is_about_an_object(operation: Operation) -> bool:
    return "{" in operation.path or "card" in (body_of(operation, {"card_id": ""}) or {})


def alike(answer: httpx2.Response, objects: dict[str, str]) -> tuple[Any, ...]:
    """The answer without what belongs to one request: its id, its time, and the path that was asked."""
    text = answer.text.replace(answer.headers["x-request-id"], "REQUEST").replace(answer.request.url.path, "PATH")
    for name, value in objects.items():
        text = text.replace(value, name)
    headers = sorted((name, value) for name, value in answer.headers.items() if name not in OF_ONE_REQUEST)
    return answer.status_code, headers, text


@pytest.mark.parametrize("operation", [op for op in OF_VENDORS if is_about_an_object(op)], ids=str)
def test_another_vendors_object_is_one_that_does_not_exist(scene: Scene, operation: Operation) -> None:
    nowhere = {name: str(uuid4()) for name in scene.objects}
    nowhere["card_number"], nowhere["qr_code_data"] = "482913570264", "A" * 32
    heads = scene.service.heads()
    theirs = ask(scene.stranger, operation, scene.objects)
    nobodys = ask(scene.stranger, operation, nowhere)
    assert alike(theirs, scene.objects) == alike(nobodys, nowhere)
    assert theirs.status_code == (403 if operation.path.endswith("/sessions") else 404), theirs.text
    assert scene.service.heads() == heads


@pytest.mark.parametrize("name", ["card_id", "card_number", "qr_code_data"])
@pytest.mark.parametrize(
    "operation", [op for op in OF_VENDORS if "card" in (body_of(op, {"card_id": ""}) or {})], ids=str
)
def test_no_name_of_another_vendors_card_finds_it(scene: Scene, operation: Operation, name: str) -> None:
    nowhere = {"card_id": str(uuid4()), "card_number": "482913570264", "qr_code_data": "A" * 32}
    theirs = ask(scene.stranger, operation, {"card_id": scene.objects[name]})
    assert alike(theirs, {}) == alike(ask(scene.stranger, operation, {"card_id": nowhere[name]}), {})
    problem(theirs, 404, "card_not_found")


def test_another_vendors_staff_member_cannot_act(scene: Scene) -> None:
    card = scene.stranger.card(scene.stranger.program()["id"])
    answers = [
        scene.stranger.stamp(card["id"], staff_pin_id=pin_id, pin="4071")
        for pin_id in (scene.objects["pin_id"], str(uuid4()))
    ]
    problem(answers[0], 403, "pin_invalid")
    assert alike(answers[0], {}) == alike(answers[1], {})


def test_another_vendors_staff_session_is_none(scene: Scene) -> None:
    session = ok(scene.owner.post(f"/pins/{scene.objects['pin_id']}/sessions", {"pin": "4071"}))
    card = scene.stranger.card(scene.stranger.program()["id"])
    for token in (session["token"], session["token"][:-1] + "0", "made.up", "", "."):
        problem(scene.stranger.with_session(token).stamp(card["id"]), 401, "staff_session_invalid")


def test_lists_hold_what_is_the_vendors_own(scene: Scene) -> None:
    scene.service.catch_up()
    for path in ("/programs", "/cards", "/transactions", "/pins"):
        mine = {item["vendor_id"] for item in ok(scene.owner.get(path))["items"]}
        others = {item["vendor_id"] for item in ok(scene.stranger.get(path))["items"]}
        assert mine == {scene.owner.vendor_id} and scene.owner.vendor_id not in others
    for query in (
        {"program_id": scene.objects["program_id"]},
        {"q": scene.objects["card_number"]},
        {"q": "lea@example.lu"},
    ):
        assert ok(scene.owner.get("/cards", **query))["items"]
        assert ok(scene.stranger.get("/cards", **query))["items"] == []
    assert ok(scene.stranger.get("/transactions", program_id=scene.objects["program_id"]))["items"] == []


def test_a_made_up_reward_or_program_of_another_vendor_cannot_be_used(scene: Scene) -> None:
    theirs = scene.stranger.program()
    pin = {"staff_id": "a", "name": "A", "pin": "4071", "program_id": scene.objects["program_id"]}
    problem(scene.stranger.post("/pins", pin), 404, "program_not_found")
    card = scene.stranger.card(theirs["id"])
    reward = ok(scene.owner.get(f"/programs/{scene.objects['program_id']}"))["points_rewards"][0]["id"]
    problem(scene.stranger.post("/redemptions", {"card": card["id"], "reward_id": reward}), 404, "not_found")


def test_what_is_public_needs_no_key_and_names_no_vendors_secrets(scene: Scene) -> None:
    public_client = scene.service.public
    for path in (
        f"/vendors/{scene.objects['code']}/programs",
        f"/programs/{scene.objects['program_id']}",
        f"/cards/{scene.objects['qr_code_data']}",
    ):
        told = ok(public_client.get(path))
        assert "lea@example.lu" not in str(told) and "customer_id" not in str(told)
    for unknown in ("A" * 32, scene.objects["card_number"], scene.objects["card_id"]):
        assert public_client.get(f"/cards/{unknown}").status_code in (404, 422)
    assert all(ADMIN not in operation.path for operation in OPERATIONS if operation.audience == "public")
