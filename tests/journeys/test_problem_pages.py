"""A problem document's `type` is an address, and there is something to read."""

import pytest

from api.problems import PROBLEMS
from tests.callers import problem
from tests.service import Service


@pytest.mark.parametrize("code", sorted({row.code for row in PROBLEMS.values()}))
def test_every_code_is_explained(service: Service, code: str) -> None:
    page = service.http.get(f"/problems/{code}")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    row = next(row for row in PROBLEMS.values() if row.code == code)
    assert row.title in page.text and f"HTTP {row.status.value}" in page.text
    assert "<li>" in page.text and "unknown)" not in page.text and "{" not in page.text


def test_the_type_of_a_refusal_leads_to_its_explanation(service: Service) -> None:
    till = service.shop()
    told = problem(till.post("/cards/lookup", {"card": "400000000002"}), 404, "card_not_found")
    page = service.http.get(told["type"], headers={"Accept-Language": "fr"})
    assert page.headers["content-language"] == "fr" and '<html lang="fr">' in page.text
    assert told["title"] not in page.text and "card_not_found" in page.text


def test_facts_of_a_moment_are_left_open(service: Service) -> None:
    assert "Stamps on the card: …. Needed: …." in service.http.get("/problems/insufficient_stamps").text


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("card_busy", "Retry-After"),
        ("idempotency_in_flight", "Retry-After"),
        ("pin_locked", "Retry-After"),
        ("internal_error", "growing pauses"),
        ("stamp_cooldown", "a new Idempotency-Key"),
        ("validation_failed", "Change the request"),
    ],
)
def test_what_to_do_depends_on_whether_asking_again_helps(service: Service, code: str, advice: str) -> None:
    assert advice in service.http.get(f"/problems/{code}").text


@pytest.mark.parametrize("code", ["nothing", "Card_not_found", "%3Cscript%3E", "%00"])
def test_a_code_that_nobody_answers_with_is_not_explained(service: Service, code: str) -> None:
    answer = service.http.get(f"/problems/{code}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
