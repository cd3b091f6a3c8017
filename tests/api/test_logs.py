"""What may stand in a log."""

import ast
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from api.logs import KEYS, configure

ROOT = Path(__file__).parents[2]
PARTS = ("ledger", "projections", "api", "wallet_sync", "migrations")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_is_json_with_its_time_and_level(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json")
    structlog.get_logger("test").info("stamped", position=7)
    (line,) = lines(capsys)
    assert (line["event"], line["position"], line["level"], line["logger"]) == ("stamped", 7, "info", "test")
    assert line["timestamp"].endswith("Z")


def test_keys_nobody_listed_are_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json")
    structlog.get_logger("test").info("stamped", pin="4071", email="lea@example.lu", authorization="Bearer x")
    (line,) = lines(capsys)
    assert line.keys() == {"event", "level", "logger", "timestamp"}


def test_an_exception_is_told_without_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json")
    try:
        try:
            raise ValueError("PIN 40711704 of Anna")
        except ValueError as error:
            raise RuntimeError("Anna again") from error
    except RuntimeError:
        structlog.get_logger("test").exception("failed")
    text = capsys.readouterr().err
    assert "Anna" not in text and "40711704" not in text
    line = json.loads(text)
    assert line["exception"] == "RuntimeError < ValueError"
    assert "api/test_logs.py" in line["where"]


def test_a_librarys_exception_is_told_without_its_text_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json")
    try:
        raise ValueError("PIN 40711704 of Anna")
    except ValueError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
    text = capsys.readouterr().err
    assert "Anna" not in text and json.loads(text)["exception"] == "ValueError"


def test_the_servers_own_access_log_is_off(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json")
    logging.getLogger("uvicorn.access").info("GET /cards/very-secret-token")
    assert capsys.readouterr().err == ""


def test_a_long_text_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json")
    structlog.get_logger("test").info("x" * 5_000)
    assert len(lines(capsys)[0]["event"]) < 400


def test_a_person_at_a_terminal_gets_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    configure("console", "warning")
    structlog.get_logger("test").info("unseen")
    structlog.get_logger("test").warning("seen", position=7)
    text = capsys.readouterr().err
    assert "unseen" not in text and "seen" in text and "position=7" in text


def test_every_key_anybody_logs_is_listed() -> None:
    unlisted = [
        f"{file.relative_to(ROOT)}:{node.lineno} {keyword.arg}"
        for part in PARTS
        for file in (ROOT / part).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "log"
        for keyword in node.keywords
        if keyword.arg is not None and keyword.arg not in KEYS | {"exc_info"}
    ]
    assert unlisted == []
