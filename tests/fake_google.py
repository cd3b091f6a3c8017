"""Google's token endpoint and Wallet interface, as strict as Google or more: a small server on a free port.

It takes no body with a key that the official discovery document does not know, and no class or object that Google
would refuse for its state. Trouble is switched on by a word.
"""

import asyncio
import threading
import time
from base64 import urlsafe_b64decode
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qsl
from uuid import uuid4

import orjson
import uvicorn
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from google.auth import jwt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.google_signer import Signer, document

Told: TypeAlias = dict[str, Any]
Trouble: TypeAlias = Literal[
    "hang", "503", "429", "403 permissionDenied", "403 quotaExceeded", "429 RESOURCE_EXHAUSTED", "400 badRequest"
]
TokenTrouble: TypeAlias = Literal["hang", "503", "invalid_grant", "not_json"]

ISSUER = "3388000000012345678"
SCOPE = "https://www.googleapis.com/auth/wallet_object.issuer"
AUDIENCE = "https://oauth2.googleapis.com/token"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SAVE = "https://pay.google.com/gp/v/save/"
RETRY_AFTER_SECONDS = 7
START_SECONDS = 60.0
SCHEMAS = {"loyaltyClass": "LoyaltyClass", "loyaltyObject": "LoyaltyObject"}
REQUIRED = {
    "loyaltyClass": ("id", "issuerName", "programName", "programLogo", "reviewStatus"),
    "loyaltyObject": ("id", "classId", "state"),
}
LISTED_BY = {"loyaltyClass": "issuerId", "loyaltyObject": "classId"}
NEVER_SENT = ("kind", "version", "locations", "infoModuleData", "hasUsers", "hasLinkedDevice", "classReference")
ID_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


# ------------------------------------------------------------------ the schema


@cache
def schemas() -> Told:
    """Google's own description of its interface, as google-api-python-client carries it."""
    spec = find_spec("googleapiclient")
    assert spec is not None and spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0]) / "discovery_cache" / "documents" / "walletobjects.v1.json"
    described: Told = orjson.loads(path.read_bytes())["schemas"]
    return described


def faults(kind: str, body: Told) -> list[str]:
    """What Google would refuse in a whole class or object. Where an insert is complete, the list is empty."""
    missing = [f"{name} is missing" for name in REQUIRED[kind] if name not in body]
    return missing + schema_faults(body, {"$ref": SCHEMAS[kind]}, "") + _rules(body)


def schema_faults(value: Any, schema: Told, at: str) -> list[str]:
    if "$ref" in schema:
        schema = schemas()[schema["$ref"]]
    match schema["type"]:
        case "object":
            if not isinstance(value, dict):
                return [f"{at} is no object"]
            known = schema["properties"]
            found = [f"{at}.{key} is unknown" for key in value if key not in known]
            for key in value.keys() & known.keys():
                found += schema_faults(value[key], known[key], f"{at}.{key}")
            return found
        case "array":
            if not isinstance(value, list):
                return [f"{at} is no list"]
            return [f for i, item in enumerate(value) for f in schema_faults(item, schema["items"], f"{at}[{i}]")]
        case "string":
            if not isinstance(value, str):
                return [f"{at} is no text"]
            if "enum" in schema and (value not in schema["enum"] or value != value.upper()):
                return [f"{at} is not among the words of today: {value}"]
            return []
        case "integer":
            fits = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31
            return [] if fits else [f"{at} is no int32"]
        case "number":
            return [] if isinstance(value, int | float) and not isinstance(value, bool) else [f"{at} is no number"]
        case "boolean":
            return [] if isinstance(value, bool) else [f"{at} is no boolean"]
        case other:
            raise AssertionError(other)


def _rules(body: Told) -> list[str]:
    found = [f"{name} is not to be sent" for name in NEVER_SENT if name in body]
    if "id" in body:
        issuer, _, suffix = body["id"].partition(".")
        if issuer != ISSUER or not suffix or not set(suffix) <= ID_CHARACTERS:
            found.append("invalid resource id")
    for name in ("loyaltyPoints", "secondaryLoyaltyPoints"):
        if name in body and len(body[name].get("balance", {})) != 1:
            found.append(f"{name} needs exactly one balance")
    found += [f"a module's id has a dot: {m['id']}" for m in body.get("textModulesData", ()) if "." in m.get("id", "")]
    found += [f"not by HTTPS: {url}" for url in _urls(body) if not url.startswith("https://")]
    return found


def _urls(value: Any) -> list[str]:
    if isinstance(value, list):
        return [url for item in value for url in _urls(item)]
    if not isinstance(value, dict):
        return []
    here = [v for k, v in value.items() if k in ("uri", "url") and isinstance(v, str)]
    return here + [url for v in value.values() for url in _urls(v)]


# ------------------------------------------------------------------ the account


@dataclass(frozen=True, slots=True)
class Account:
    """A service account: Google's JSON key file, and the public key that Google keeps."""

    info: Told
    public_pem: bytes


@cache
def account() -> Account:
    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    info = {
        "type": "service_account",
        "project_id": "loyalty-test",
        "private_key_id": "0123456789abcdef0123456789abcdef01234567",
        "private_key": private.decode(),
        "client_email": "wallet@loyalty-test.iam.gserviceaccount.com",
        "client_id": "100000000000000000001",
        "token_uri": AUDIENCE,
    }
    return Account(info, public)


# ------------------------------------------------------------------ the server


def google_settings(google: "FakeGoogle", directory: Path) -> dict[str, Any]:
    """The settings of a service that takes the fake for Google; the key file is written into the directory."""
    file = directory / "service-account.json"
    file.write_bytes(orjson.dumps(account().info))
    file.chmod(0o600)
    return {
        "google_issuer_id": ISSUER,
        "google_service_account": file,
        "google_environment": "test",
        "google_api_url": google.base_url,
        "google_token_url": google.token_url,
        "google_keys_url": google.keys_url,
    }


@dataclass
class FakeGoogle:
    """`with FakeGoogle() as google:` serves. What is stored is in `held`; what was asked, in `calls`.

    Who needs no server asks `app`.
    """

    trouble: Trouble | None = None
    token_trouble: TokenTrouble | None = None
    token_seconds: int = 3600
    is_overtaken: bool = False  # The next insert finds that somebody else has just inserted the same.
    alerts_left: int = 3
    held: dict[str, dict[str, Told]] = field(default_factory=lambda: {kind: {} for kind in SCHEMAS})
    calls: list[str] = field(default_factory=list)  # `PATCH loyaltyObject`; `token`.
    tokens: set[str] = field(default_factory=set)
    taken: list[str] = field(default_factory=list)  # Ids that were written, as often as they were.
    users: set[str] = field(default_factory=set)  # Ids of objects that somebody has in a wallet.
    rung: list[str] = field(default_factory=list)  # Ids of objects whose change was to alert their holder.
    url: str = field(default="http://google.example", init=False, repr=False)  # Where it listens, once it serves.

    @property
    def base_url(self) -> str:
        return f"{self.url}/walletobjects/v1"

    @property
    def token_url(self) -> str:
        return f"{self.url}/token"

    @property
    def keys_url(self) -> str:
        return f"{self.url}/keys"

    def save(self, link: str) -> bytes:
        """What a holder does who opens the link and adds the card. Returns the message that Google then sends."""
        assert link.startswith(SAVE)
        signed, _, signature = link.removeprefix(SAVE).rpartition(".")
        key = serialization.load_pem_public_key(account().public_pem)
        assert isinstance(key, rsa.RSAPublicKey)
        key.verify(urlsafe_b64decode(signature + "=="), signed.encode(), PKCS1v15(), SHA256())
        claims = orjson.loads(urlsafe_b64decode(signed.partition(".")[2] + "=="))
        assert (claims["typ"], claims["aud"]) == ("savetowallet", "google")
        assert claims["iss"] == account().info["client_email"]
        (asked,) = claims["payload"]["loyaltyObjects"]
        assert self.held["loyaltyObject"][asked["id"]]["classId"] == asked["classId"]
        self.users.add(asked["id"])
        return self.told(asked["id"], "save")

    def remove(self, object_id: str) -> bytes:
        """What a holder does who takes the card out of the wallet. Returns the message that Google then sends."""
        self.users.discard(object_id)
        return self.told(object_id, "del")

    def told(self, object_id: str, event: str) -> bytes:
        later = datetime.now(UTC) + timedelta(hours=1)
        said = {"objectId": object_id, "eventType": event, "nonce": uuid4().hex}
        return Signer(key_expires=later, expires=later, told=said).message()

    def serve_too(self, *routes: Route) -> None:
        """Beside Google's own."""
        self.app.routes.extend(routes)

    def forget_tokens(self) -> None:
        self.tokens.clear()

    def __post_init__(self) -> None:
        base = "/walletobjects/v1/{kind}"
        routes = [
            Route("/token", self._token, methods=["POST"]),
            Route("/keys", self._keys, methods=["GET"]),
            Route(base, self._list, methods=["GET"]),
            Route(base, self._insert, methods=["POST"]),
            Route(base + "/{id}", self._get, methods=["GET"]),
            Route(base + "/{id}", self._patch, methods=["PATCH"]),
            Route(base + "/{id}/addMessage", self._add_message, methods=["POST"]),
        ]
        self.app = Starlette(routes=routes)

    def __enter__(self) -> "FakeGoogle":
        config = uvicorn.Config(
            self.app,
            host="127.0.0.1",
            port=0,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="google")
        self._thread.start()
        until = time.monotonic() + START_SECONDS
        while not self._server.started:
            assert self._thread.is_alive() and time.monotonic() < until, "the fake did not start"
            time.sleep(0.005)
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self.trouble = self.token_trouble = None
        self._server.should_exit = True
        self._thread.join()

    async def _token(self, request: Request) -> Response:
        self.calls.append("token")
        while self.token_trouble == "hang":
            await asyncio.sleep(0.02)
        if self.token_trouble == "503":
            return Response(status_code=503)
        if self.token_trouble == "not_json":
            return Response("<p>Please sign in to the network</p>")
        form = dict(parse_qsl((await request.body()).decode()))
        if self.token_trouble == "invalid_grant" or not self._is_ours(form):
            return JSONResponse({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, 400)
        token = f"ya29.{uuid4().hex}"
        self.tokens.add(token)
        return JSONResponse({"access_token": token, "expires_in": self.token_seconds, "token_type": "Bearer"})

    def _is_ours(self, form: dict[str, str]) -> bool:
        try:
            claims = jwt.decode(form["assertion"], account().public_pem, audience=AUDIENCE)
        except ValueError:
            return False
        is_right = claims["iss"] == account().info["client_email"] and claims["scope"] == SCOPE
        return is_right and form["grant_type"] == GRANT

    async def _met(self, request: Request) -> Response | None:
        """What happens before anybody looks at the request's content."""
        kind = request.path_params["kind"]
        self.calls.append(f"{request.method} {kind}" + ("/addMessage" if request.url.path.endswith("ssage") else ""))
        while self.trouble == "hang":
            if await request.is_disconnected():  # Whoever went will ask again: what they asked then counts.
                return Response(status_code=503)
            await asyncio.sleep(0.02)
        match self.trouble:
            case "503":
                return Response("<h1>Backend Error</h1>", 503)
            case "429":
                return _error(429, "rateLimitExceeded", headers={"Retry-After": str(RETRY_AFTER_SECONDS)})
            case "429 RESOURCE_EXHAUSTED":
                return JSONResponse({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": []}}, 429)
            case "403 permissionDenied" | "403 quotaExceeded" | "400 badRequest":
                return _error(int(self.trouble[:3]), self.trouble[4:])
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return _error(401, "authError")
        return None if kind in SCHEMAS else _error(404, "resourceNotFound")

    async def _get(self, request: Request) -> Response:
        if met := await self._met(request):
            return met
        kind = request.path_params["kind"]
        found = self.held[kind].get(request.path_params["id"])
        return _error(404, "resourceNotFound") if found is None else JSONResponse(self._shown(kind, found))

    async def _keys(self, request: Request) -> Response:
        self.calls.append("keys")
        expires = round((datetime.now(UTC) + timedelta(days=30)).timestamp() * 1000)
        return Response(document(keyExpiration=str(expires)), media_type="application/json")

    async def _list(self, request: Request) -> Response:
        if met := await self._met(request):
            return met
        kind, asked = request.path_params["kind"], request.query_params
        if not {LISTED_BY[kind]} <= set(asked) <= {LISTED_BY[kind], "maxResults", "token", "alt"}:
            return _error(400, "badRequest", "unknown or missing parameters")
        if kind == "loyaltyClass" and asked["issuerId"] != ISSUER:
            return _error(403, "permissionDenied")
        if kind == "loyaltyObject" and asked["classId"] not in self.held["loyaltyClass"]:
            return _error(404, "classNotFound")
        of_class = asked.get("classId")
        listed = (one for one in self.held[kind].values() if of_class is None or one["classId"] == of_class)
        found = sorted(listed, key=lambda one: one["id"])
        begin = int(asked.get("token", "0"))
        end = begin + int(asked.get("maxResults", str(len(found) or 1)))
        pagination = {"resultsPerPage": end - begin, **({"nextPageToken": str(end)} if end < len(found) else {})}
        return JSONResponse(
            {"resources": [self._shown(kind, one) for one in found[begin:end]], "pagination": pagination}
        )

    def _shown(self, kind: str, held: Told) -> Told:
        """With what only Google knows."""
        users = {"hasUsers": held["id"] in self.users} if kind == "loyaltyObject" else {}
        return {**held, **users, "kind": f"walletobjects#{kind}", "version": "1"}

    async def _insert(self, request: Request) -> Response:
        if met := await self._met(request):
            return met
        kind, body = request.path_params["kind"], orjson.loads(await request.body())
        if found := faults(kind, body):
            return _error(400, "badRequest", "; ".join(found))
        if self.is_overtaken:
            self.is_overtaken = False
            self.held[kind][body["id"]] = {**body, **({"state": "EXPIRED"} if kind == "loyaltyObject" else {})}
        if body["id"] in self.held[kind]:
            return _error(409, "existingResource")
        return self._stored(kind, body)

    async def _patch(self, request: Request) -> Response:
        if met := await self._met(request):
            return met
        kind, body = request.path_params["kind"], orjson.loads(await request.body())
        before = self.held[kind].get(request.path_params["id"])
        if before is None:
            return _error(404, "classNotFound" if kind == "loyaltyClass" else "resourceNotFound")
        if kind == "loyaltyClass" and body.get("reviewStatus") != "UNDER_REVIEW":
            return _error(400, "badRequest", "an approved class is changed by sending UNDER_REVIEW")
        after = {key: value for key, value in {**before, **body}.items() if value is not None}
        if after["id"] != before["id"]:
            return _error(400, "badRequest", "an id is for ever")
        if found := faults(kind, after) + [f"{key} is unknown" for key in body if not _is_known(kind, key)]:
            return _error(400, "badRequest", "; ".join(found))
        if after.pop("notifyPreference", None) == "NOTIFY_ON_UPDATE":  # Of this change alone.
            self.rung.append(after["id"])
        return self._stored(kind, after)

    def _stored(self, kind: str, body: Told) -> Response:
        if kind == "loyaltyClass":
            if body["reviewStatus"] not in ("UNDER_REVIEW", "DRAFT"):
                return _error(400, "badRequest", "the status is not the issuer's to give")
            if body["reviewStatus"] == "UNDER_REVIEW":
                body = {**body, "reviewStatus": "APPROVED"}
        else:
            parent = self.held["loyaltyClass"].get(body["classId"])
            if parent is None:
                return _error(404, "classNotFound")
            if parent["reviewStatus"] != "APPROVED":
                return _error(400, "badRequest", "class not approved")
        self.held[kind][body["id"]] = body
        self.taken.append(body["id"])
        return JSONResponse(body)

    async def _add_message(self, request: Request) -> Response:
        if met := await self._met(request):
            return met
        kind, body = request.path_params["kind"], orjson.loads(await request.body())
        if found := schema_faults(body, {"$ref": "AddMessageRequest"}, ""):
            return _error(400, "badRequest", "; ".join(found))
        held = self.held[kind].get(request.path_params["id"])
        if held is None:
            return _error(404, "resourceNotFound")
        if body["message"].get("messageType") == "TEXT_AND_NOTIFY":
            if not self.alerts_left:
                return _error(403, "quotaExceeded")
            self.alerts_left -= 1
        held.setdefault("messages", []).append(body["message"])
        return JSONResponse({"resource": held})


def _is_known(kind: str, key: str) -> bool:
    return key in schemas()[SCHEMAS[kind]]["properties"]


def _error(status: int, reason: str, message: str = "", headers: dict[str, str] | None = None) -> Response:
    part = {"message": message, "domain": "walletobjects", "reason": reason}
    return JSONResponse({"error": {"code": status, "message": message, "errors": [part]}}, status, headers)
