"""The document that describes the API."""

from typing import Any

import pytest

from api.main import describe
from api.openapi import gaps, operation_id, operations, responses
from api.problems import MEDIA_TYPE, PROBLEMS
from ledger import errors
from tests.api.edge import tiny_app


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return tiny_app().openapi()


def test_the_operations_of_the_tiny_app_tell_everything(document: dict[str, Any]) -> None:
    assert [gap for gap in gaps(document) if "no example for 200" not in gap] == []


def test_our_own_operations_are_named_and_tell_what_goes_wrong() -> None:
    """Apple's web service answers 401 as Apple wants it; large answers have their examples field by field."""
    assert [gap for gap in gaps(describe()) if "no example for" not in gap and "/apple/v1/" not in gap] == []


def test_an_operation_is_named_after_its_function(document: dict[str, Any]) -> None:
    assert {operation["operationId"] for _, _, operation in operations(document)} == {
        "takeShape",
        "showPage",
        "showCard",
    }
    assert callable(operation_id)


def test_common_problems_need_no_naming_and_named_ones_stay(document: dict[str, Any]) -> None:
    answers = document["paths"]["/api/v1/vendor/shapes"]["post"]["responses"]
    assert {"400", "401", "403", "404", "408", "413", "415", "422", "423", "500", "503"} <= answers.keys()
    found = answers["404"]["content"][MEDIA_TYPE]["examples"].keys()
    assert found == {"card_not_found", "program_not_found", "not_found"}
    assert "HTTPValidationError" not in str(document)


def test_a_read_without_a_body_tells_nothing_of_bodies(document: dict[str, Any]) -> None:
    assert not {"408", "413", "415"} & document["paths"]["/api/v1/vendor/pages"]["get"]["responses"].keys()


def test_the_callers_of_each_part_are_told(document: dict[str, Any]) -> None:
    operation = document["paths"]["/api/v1/vendor/shapes"]["post"]
    assert operation["security"] == [
        {"VendorKey": []},
        {"VendorKey": [], "StaffSession": []},
        {"BrowserSession": []},
        {"BrowserSession": [], "StaffSession": []},
    ]


def test_the_document_is_completed_once(document: dict[str, Any]) -> None:
    app = tiny_app()
    assert app.openapi() is app.openapi()
    assert document["openapi"].startswith("3.1")
    assert set(document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]) == {
        problem.code for problem in PROBLEMS.values()
    }


def test_a_pin_is_written_and_never_read(document: dict[str, Any]) -> None:
    pin = document["components"]["schemas"]["Shape"]["properties"]["pin"]["anyOf"][0]
    assert pin["writeOnly"] is True


def test_what_an_operation_fails_to_tell_is_named() -> None:
    poor = {
        "paths": {"/x": {"get": {"operationId": "a b", "responses": {"200": {"content": {"application/json": {}}}}}}}
    }
    assert gaps(poor) == [
        "GET /x: no operationId in camel case",
        "GET /x: no summary",
        "GET /x: no tags",
        "GET /x: no security",
        "GET /x: no example for 200",
        "GET /x: no problem it can answer",
    ]


def test_an_error_nobody_answers_cannot_be_documented() -> None:
    with pytest.raises(AssertionError):
        responses(KeyError)
    assert set(responses(errors.Gone)) == {410}
