"""Logs: one structured line for each thing worth knowing, made of listed keys only.

What is not on the list is dropped, whoever logs it: a name, a key or a PIN cannot get into a log by accident. An
exception is told as its type and the places it passed, never with its text, which may quote what people sent.
"""

import logging
import sys
from collections.abc import Iterator, MutableMapping
from datetime import UTC, datetime
from traceback import walk_tb
from types import TracebackType
from typing import Any, Literal

import orjson
import structlog
from structlog.typing import EventDict, Processor

TEXT_CHARACTERS_MAX = 300
_has_quick_requests = False  # Whether a request's line is JSON, and wanted.
_MARKS = frozenset({"_record", "_from_structlog"})  # structlog's own, which the formatter takes away again.
FRAMES_MAX = 30

KEYS = frozenset(
    {
        # every line
        "event", "level", "logger", "timestamp", "exception", "where",
        # a request
        "request_id", "method", "route", "status", "milliseconds", "code", "in_flight", "seconds",
        # who and what, as ids of ours
        "vendor_id", "program_id", "card_id", "pin_id", "api_key_id", "command_id", "entry_id", "stream_id",
        # the store and those who follow it
        "error", "sqlstate", "constraint", "batch", "attempts", "position", "lag", "events", "rows", "table", "tables",
        "projection", "name", "version", "revision", "waiting", "rounds", "again_in_seconds", "fencing_token", "pid",
        "port", "host", "setting", "signal", "restarts",
        # wallets
        "provider", "due", "pushed", "parked", "count", "days_left", "tokens", "bad", "module", "reason", "channel",
        "id", "differing", "missing",
    }
)  # fmt: skip


def configure(form: Literal["json", "console"] = "json", level: str = "info") -> None:
    """Send every log of this process, those of libraries included, to standard error in this form."""
    global _has_quick_requests
    least = logging.getLevelNamesMapping()[level.upper()]
    _has_quick_requests = form == "json" and least <= logging.INFO
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        where_it_failed,
        only_listed_keys,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer(_json) if form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=_Lines,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared[:-2], where_it_failed, only_listed_keys],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(least)
    for name, quietest in (("uvicorn.access", logging.CRITICAL), ("uvicorn.error", logging.INFO)):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(max(least, quietest))
    for name in ("psycopg", "psycopg.pool", "asyncio", "httpx2", "httpcore2", "hpack"):
        logging.getLogger(name).setLevel(max(least, logging.WARNING))


class _Lines:
    """Where our own lines go: straight to standard error, without the detour of `logging`, which costs five times as
    much as the line.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name

    def msg(self, line: str) -> None:
        sys.stderr.write(line + "\n")

    debug = info = warning = error = critical = msg


def _json(line: EventDict, **_: Any) -> str:
    return orjson.dumps(line, default=str).decode()


def log_request(method: str, route: str, status: int, milliseconds: float, request_id: str) -> None:
    """The line of a request. There is one for each, so it goes past structlog's chain; its keys are on the list."""
    if not _has_quick_requests:
        structlog.get_logger("api.access").info(
            "request", method=method, route=route, status=status, milliseconds=milliseconds
        )
        return
    line = {
        "method": method,
        "route": route,
        "status": status,
        "milliseconds": milliseconds,
        "event": "request",
        "request_id": request_id,
        "level": "info",
        "logger": "api.access",
        "timestamp": datetime.now(UTC),
    }
    sys.stderr.write(orjson.dumps(line, option=orjson.OPT_UTC_Z).decode() + "\n")


def uvicorn_options() -> dict[str, Any]:
    """Keyword arguments for uvicorn: our logs instead of its own, and no header that names the software."""
    return {"log_config": None, "access_log": False, "server_header": False}


def only_listed_keys(_logger: Any, _method: str, line: EventDict) -> EventDict:
    """Everything else is dropped; what stays is short and plain."""
    return {key: _plain(value) if key in KEYS else value for key, value in line.items() if key in KEYS or key in _MARKS}


def where_it_failed(_logger: Any, _method: str, line: EventDict) -> EventDict:
    """`exception` and `where` in place of a traceback: types and places, no text."""
    error = _error_of(line)
    record = line.get("_record")
    if isinstance(record, logging.LogRecord):
        # What a library logged: the formatter would print its traceback, text and all.
        record.exc_info, record.exc_text, record.stack_info = None, None, None
    if error is not None:
        line["exception"] = " < ".join(type(cause).__qualname__ for cause in _chain(error))
        line["where"] = " < ".join(_places(error.__traceback__))
    return line


def _error_of(line: MutableMapping[str, Any]) -> BaseException | None:
    told = line.pop("exc_info", None)
    line.pop("stack_info", None)
    if isinstance(told, BaseException):
        return told
    if isinstance(told, tuple):
        return told[1] if isinstance(told[1], BaseException) else None
    return sys.exc_info()[1] if told else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen = 0
    cause: BaseException | None = error
    while cause is not None and seen < 5:
        yield cause
        cause, seen = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__), seen + 1


def _places(traceback: TracebackType | None) -> list[str]:
    """Innermost first."""
    frames = [
        f"{'/'.join(frame.f_code.co_filename.rsplit('/', 2)[-2:])}:{line} {frame.f_code.co_name}"
        for frame, line in walk_tb(traceback)
    ]
    return frames[::-1][:FRAMES_MAX]


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    return text if len(text) <= TEXT_CHARACTERS_MAX else text[:TEXT_CHARACTERS_MAX] + "…"
