"""The OpenAPI document: what FastAPI finds in the signatures, with our problems, callers and names.

Every operation tells every status it can answer. `gaps` names what an operation fails to tell.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from api import errors as edge
from api.languages import DEFAULT_LANGUAGE, translate
from api.problems import MEDIA_TYPE, PROBLEMS, TYPE_BASE, Problem, codes
from ledger.errors import InvalidValue, Overloaded, Refused

METHODS = frozenset({"get", "post", "put", "patch", "delete"})

# What an operation may answer without its endpoint knowing.
ALWAYS: tuple[type[Exception], ...] = (edge.InternalError, Overloaded)
WITH_PARAMETERS: tuple[type[Exception], ...] = (edge.ValidationFailed, edge.MalformedRequest)
WITH_BODY: tuple[type[Exception], ...] = (
    *WITH_PARAMETERS,
    edge.UnsupportedMediaType,
    edge.TooLarge,
    edge.TooSlow,
    InvalidValue,
)

SECURITY_SCHEMES: Mapping[str, Any] = {
    "AdminKey": {
        "type": "http",
        "scheme": "bearer",
        "description": "The administrator's key, or the auditor's: that one reads and changes nothing.",
    },
    "VendorKey": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key of a vendor. Scopes: cards, earn, redeem, reverse, adjust, programs, pins, read.",
    },
    "BrowserSession": {
        "type": "apiKey",
        "in": "cookie",
        "name": "__Host-session",
        "description": "Without an Authorization header: who signed in at /sign-in. What changes something must come"
        " from a page of ours. With the header X-Till it is the cookie __Host-till of a till that was paired.",
    },
    "StaffSession": {
        "type": "apiKey",
        "in": "header",
        "name": "Staff-Session",
        "description": "Beside a vendor's key: which staff member acts. From POST …/pins/{id}/sessions.",
    },
}

# Who may call, by the part of the API: the first prefix that fits. An operation with a `security` of its own keeps it.
SECURITY: Sequence[tuple[str, list[dict[str, list[str]]]]] = (
    ("/api/v1/admin/", [{"AdminKey": []}, {"BrowserSession": []}]),
    (
        "/api/v1/vendor/",
        [
            {"VendorKey": []},
            {"VendorKey": [], "StaffSession": []},
            {"BrowserSession": []},
            {"BrowserSession": [], "StaffSession": []},
        ],
    ),
    ("/", []),
)

PROBLEM_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457. Facts of the refusal (retry_at, held, needed …) stand beside these members.",
    "required": ["type", "title", "status", "detail", "instance", "code", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "description": "Its kind; GET explains it."},
        "title": {"type": "string", "description": "In the language of Accept-Language."},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What happened and what to do, in the same language."},
        "instance": {"type": "string", "description": "The path that was asked."},
        "code": {
            "type": "string",
            "enum": sorted({problem.code for problem in PROBLEMS.values()}),
            "description": "For programs: never translated, never changed.",
        },
        "request_id": {"type": ["string", "null"], "description": "Tell it when you ask for help."},
        "errors": {
            "type": "array",
            "description": "With validation_failed: one for each value that does not fit.",
            "items": {
                "type": "object",
                "required": ["in", "field", "code", "message"],
                "properties": {
                    "in": {"type": "string", "enum": ["body", "query", "path", "header", "cookie"]},
                    "field": {"type": "string"},
                    "pointer": {"type": "string", "description": "RFC 6901, into the body."},
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                },
            },
        },
    },
}


def operation_id(route: APIRoute) -> str:
    """The function's name in camel case. For `FastAPI(generate_unique_id_function=…)`."""
    first, *others = route.name.split("_")
    return first + "".join(word.capitalize() for word in others)


def responses(*kinds: type[Exception]) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses=`: the problems these errors are answered with. A base stands for all its leaves.

    The common ones (500 and 503; 400 and 422 with parameters; 408, 413 and 415 with a body) need no naming.
    """
    return {status: _response(problems) for status, problems in sorted(codes(kinds).items())}


def install(app: FastAPI, tags: Sequence[Mapping[str, str]] = ()) -> None:
    """Complete the app's document, the first time it is asked for.

    Args:
        tags: `{name, description}` of each group of operations, in reading order.
    """
    make = app.openapi
    app.openapi_tags = [dict(tag) for tag in tags] or app.openapi_tags
    done: dict[int, dict[str, Any]] = {}

    def openapi() -> dict[str, Any]:
        document = make()
        if id(document) not in done:
            done.clear()
            done[id(document)] = completed(document)
        return done[id(document)]

    app.openapi = openapi  # type: ignore[method-assign]


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """FastAPI's document with problems and security in it."""
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Problem"] = dict(PROBLEM_SCHEMA)
    components["securitySchemes"] = dict(SECURITY_SCHEMES)
    for path, _, operation in operations(document):
        operation.setdefault("security", next(who for prefix, who in SECURITY if path.startswith(prefix)))
        answers: dict[str, Any] = operation["responses"]
        if "HTTPValidationError" in str(answers.get("422")):
            del answers["422"]
        kinds = ALWAYS + (WITH_PARAMETERS if operation.get("parameters") else ())
        kinds += WITH_BODY if "requestBody" in operation else ()
        if operation["security"]:
            kinds += (edge.Unauthenticated, edge.ScopeMissing, edge.CrossSiteForm)
        for status, problems in codes(kinds).items():
            _add(answers, str(status), problems)
        operation["responses"] = dict(sorted(answers.items()))
    return document


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and operation of everything that can be called."""
    for path, item in document.get("paths", {}).items():
        for method, operation in item.items():
            if method in METHODS:
                yield path, method, operation


def gaps(document: Mapping[str, Any]) -> list[str]:
    """What the operations fail to tell, a line each: operationId, summary, tag, examples, problems."""
    found: list[str] = []
    seen: dict[str, str] = {}
    for path, method, operation in operations(document):
        here = f"{method.upper()} {path}"
        name = operation.get("operationId", "")
        if not name.isalnum():
            found.append(f"{here}: no operationId in camel case")
        elif name in seen:
            found.append(f"{here}: operationId {name} is that of {seen[name]} too")
        seen[name] = here
        found += [f"{here}: no {part}" for part in ("summary", "tags", "security") if part not in operation]
        contents = {"the body": operation.get("requestBody", {}).get("content", {})}
        for status, answer in operation.get("responses", {}).items():
            if status.startswith(("4", "5")):
                if "#/components/schemas/Problem" not in str(answer.get("content", {}).get(MEDIA_TYPE)):
                    found.append(f"{here}: {status} is no problem document")
            else:
                contents[status] = answer.get("content", {})
        for part, content in contents.items():
            media = content.get("application/json")
            if media is not None and not _has_example(media, document):
                found.append(f"{here}: no example for {part}")
        if not any(status.startswith(("4", "5")) for status in operation.get("responses", {})):
            found.append(f"{here}: no problem it can answer")
    return found


def _response(problems: Mapping[str, Problem]) -> dict[str, Any]:
    return {
        "description": ", ".join(f"`{code}`" for code in sorted(problems)),
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": {code: {"value": _example(problem)} for code, problem in sorted(problems.items())},
            }
        },
    }


def _add(answers: dict[str, Any], status: str, problems: Mapping[str, Problem]) -> None:
    named = answers.get(status, {}).get("content", {}).get(MEDIA_TYPE, {}).get("examples", {})
    every = {problem.code: problem for problem in PROBLEMS.values()}
    answers[status] = _response({**{code: every[code] for code in named}, **problems})


def _example(problem: Problem) -> dict[str, Any]:
    kind = next(kind for kind, row in PROBLEMS.items() if row == problem)
    assert issubclass(kind, Refused)
    return {
        "type": TYPE_BASE + problem.code,
        "title": translate(DEFAULT_LANGUAGE, problem.title),
        "status": problem.status.value,
        "detail": translate(DEFAULT_LANGUAGE, kind.sentence, **EXAMPLE_FACTS),
        "code": problem.code,
        "instance": "/api/v1/vendor/loyalty/stamps",
        "request_id": "0198c5a2-7d3c-7c4e-9b1a-2f6d1c0e8a55",
    }


EXAMPLE_FACTS: Mapping[str, Any] = {
    "retry_at": "2026-03-29T10:15:00Z", "cooldown_minutes": 15, "remaining_today": 4, "daily_limit": 5,
    "stamps_today": 5, "asked": 1, "held": 9, "needed": 10, "entry_id": "0198c5a2-7d3c-7c4e-9b1a-2f6d1c0e8a55",
    "entry_type": "stamp_adjusted", "left_minor": 500, "asked_minor": 1250, "code": "cafe-rousegaertchen",
    "version": 7, "expected": "EUR", "given": "USD", "loyalty_type": "points", "field": "count",
    "why": "at most 1 stamps at once", "what": "body", "limit_bytes": 16_384, "limit_seconds": 10,
    "allowed": "GET, POST",
}  # fmt: skip


def _has_example(schema: Any, document: Mapping[str, Any], depth: int = 0) -> bool:
    """Whether the schema shows a value, itself or in every part a caller has to give."""
    if not isinstance(schema, dict) or depth > 12:
        return False
    if schema.keys() & {"example", "examples", "enum", "const", "default"} or schema.get("type") in ("boolean", "null"):
        return True
    if schema.get("format") in ("date-time", "uuid", "date"):
        return True
    if "schema" in schema:
        return _has_example(schema["schema"], document, depth)
    if "$ref" in schema:
        target = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        return _has_example(target, document, depth + 1)
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return any(
                _has_example(part, document, depth + 1) for part in schema[several] if part.get("type") != "null"
            )
    if schema.get("type") == "array":
        return _has_example(schema.get("items"), document, depth + 1)
    needed = schema.get("required", [])
    properties = schema.get("properties", {})
    return bool(properties) and all(_has_example(properties.get(name), document, depth + 1) for name in needed)
