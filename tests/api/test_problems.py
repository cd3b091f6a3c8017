"""How refusals read on the wire."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from starlette.exceptions import HTTPException

from api import errors as edge
from api.problems import MEDIA_TYPE, PROBLEMS
from ledger import errors
from ledger.decision import Once
from ledger.errors import Refused
from ledger.remembered import kept_refusal, recalled
from tests.api.edge import client, refused

LATER = datetime(2099, 3, 29, 10, 15, tzinfo=UTC)


def leaves(kind: type[Exception]) -> set[type[Exception]]:
    below = kind.__subclasses__()
    return {kind} | set().union(*map(leaves, below)) if not below else set().union(*map(leaves, below))


def test_every_refusal_has_a_row() -> None:
    assert {kind.__name__ for kind in leaves(Refused) if kind not in PROBLEMS} == set()


def test_a_code_has_one_status_and_one_title() -> None:
    seen = {problem.code: problem for problem in PROBLEMS.values()}
    assert [problem for problem in PROBLEMS.values() if seen[problem.code] != problem] == []


@pytest.mark.parametrize(
    ("status", "codes"),
    [
        (400, "idempotency_key_missing malformed_request"),
        (401, "unauthenticated"),
        (403, "scope_missing pin_required pin_invalid staff_not_allowed"),
        (404, "card_not_found program_not_found not_found"),
        (410, "card_replaced card_erased"),
        (409, "stamp_cooldown stamp_daily_limit insufficient_stamps insufficient_points card_suspended card_closed"),
        (409, "program_inactive already_reversed duplicate_reference idempotency_in_flight code_taken"),
        (412, "version_mismatch"),
        (413, "too_large"),
        (422, "validation_failed idempotency_key_reused currency_mismatch program_type_mismatch pin_too_weak"),
        (423, "pin_locked"),
        (429, "rate_limited"),
        (503, "card_busy overloaded"),
    ],
)
def test_the_codes_of_the_contract_keep_their_status(status: int, codes: str) -> None:
    statuses = {problem.code: problem.status for problem in PROBLEMS.values()}
    assert {code: statuses[code] for code in codes.split()} == dict.fromkeys(codes.split(), status)


def test_a_refusal_tells_its_facts_and_who_to_ask_about() -> None:
    answer = refused(errors.NotEnoughStamps(held=9, needed=10), X_Request_Id="till-2.0001")
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.json() == {
        "type": "/problems/insufficient_stamps",
        "title": "Not enough stamps",
        "status": 409,
        "detail": "Stamps on the card: 9. Needed: 10.",
        "code": "insufficient_stamps",
        "held": 9,
        "needed": 10,
        "instance": "/api/v1/vendor/raise/0",
        "request_id": "till-2.0001",
    }


@pytest.mark.parametrize(
    ("asked", "title"),
    [
        ("fr-LU,fr;q=0.9", "Pas assez de tampons"),
        ("de", "Nicht genug Stempel"),
        ("lb", "Net genuch Stempelen"),
        ("lu", "Net genuch Stempelen"),
        ("pt", "Not enough stamps"),
    ],
)
def test_title_and_detail_follow_the_language_and_the_code_does_not(asked: str, title: str) -> None:
    answer = refused(errors.NotEnoughStamps(held=9, needed=10), Accept_Language=asked)
    assert (answer.json()["title"], answer.json()["code"]) == (title, "insufficient_stamps")
    assert "9" in answer.json()["detail"] and "10" in answer.json()["detail"]


def test_a_cooldown_says_when_in_utc_and_in_seconds() -> None:
    retry_at = datetime.now(UTC) + timedelta(minutes=10)
    answer = refused(errors.StampCooldown(retry_at=retry_at, cooldown_minutes=15, remaining_today=4))
    assert answer.json()["retry_at"].endswith("Z")
    assert 540 <= int(answer.headers["retry-after"]) <= 600


def test_a_locked_pin_says_when_it_opens() -> None:
    answer = refused(errors.PinLocked(retry_at=LATER))
    assert answer.status_code == 423
    assert "2099-03-29T10:15:00Z" in answer.json()["detail"]
    assert int(answer.headers["retry-after"]) > 1


@pytest.mark.parametrize("kind", [errors.CardIsBusy, errors.Overloaded, errors.StoreAway, errors.PinBusy])
def test_who_must_wait_is_told_how_long(kind: type[errors.Busy]) -> None:
    assert refused(kind()).headers["retry-after"] == "1"
    assert refused(kind(retry_after_seconds=7)).headers["retry-after"] == "7"


def test_a_refusal_remembered_under_a_key_reads_as_it_did_the_first_time() -> None:
    first = errors.PinLocked(retry_at=LATER)
    once = Once(uuid4(), b"")
    again = recalled(kept_refusal(first), None, once, None)
    assert isinstance(again, errors.Refused)
    replayed, original = refused(again), refused(first)
    assert replayed.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in original.headers
    assert replayed.json() | {"request_id": ""} == original.json() | {"request_id": ""}


def test_without_a_valid_key_the_scheme_is_named() -> None:
    assert refused(edge.Unauthenticated()).headers["www-authenticate"].startswith("Bearer")
    assert refused(errors.StaffSessionInvalid()).json()["code"] == "staff_session_invalid"


def test_a_value_without_meaning_is_told_like_any_other_that_does_not_fit() -> None:
    answer = refused(errors.InvalidValue(field="count", why="at most 3 stamps at once"), Accept_Language="fr")
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {
            "in": "body",
            "field": "count",
            "pointer": "/count",
            "code": "not_possible",
            "message": "au plus 3 tampons à la fois",
        }
    ]


def test_ids_and_unusual_facts_never_make_an_answer_fail() -> None:
    entry = UUID("0198c5a2-7d3c-7c4e-9b1a-2f6d1c0e8a55")
    assert refused(errors.AlreadyReversed(entry_id=entry)).json()["entry_id"] == str(entry)
    assert refused(errors.CardNotFound(odd=object())).status_code == 404


def test_the_unexpected_is_a_problem_without_a_word_of_what_it_was() -> None:
    answer = refused(RuntimeError("PIN 40711704 of Anna"))
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert "40711704" not in answer.text and "Anna" not in answer.text
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_the_frameworks_own_refusals_are_problems_too() -> None:
    tiny = client()
    absent, wrong_method = tiny.get("/nowhere"), tiny.put("/api/v1/vendor/shapes")
    assert (absent.status_code, absent.json()["code"]) == (404, "not_found")
    assert (wrong_method.status_code, wrong_method.json()["code"]) == (405, "method_not_allowed")
    assert "POST" in wrong_method.headers["allow"]
    assert {absent.headers["content-type"], wrong_method.headers["content-type"]} == {MEDIA_TYPE}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 406, 413, 415, 429, 500, 502, 503])
def test_whatever_status_a_library_raises_the_answer_is_a_problem_of_the_same_kind(status: int) -> None:
    answer = refused(HTTPException(status, detail="of no concern to anybody"))
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.status_code // 100 == status // 100
    assert "concern" not in answer.text
