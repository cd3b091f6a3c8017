"""What everybody can read of the seals, and what auditors can."""

from base64 import b64decode
from itertools import pairwise

import pytest

from projections.proofs.verify_statement import KEY_TITLE, Checkpoint, VerifierKey, open_note, verify_consistency
from tests.callers import ok, problem
from tests.clock import eventually
from tests.service import Service


@pytest.fixture
def service(own_service: Service) -> Service:
    return own_service


def test_before_anything_is_sealed_there_is_no_checkpoint(service: Service) -> None:
    problem(service.public.get("/checkpoint"), 404, "not_found")
    problem(service.public.get("/checkpoint/key"), 404, "not_found")
    assert ok(service.public.get("/checkpoint/keys")) == {"items": []}
    assert ok(service.auditor.get("/audit/checkpoints")) == {"items": [], "next_cursor": None}
    problem(service.auditor.get("/audit/consistency"), 404, "not_found")
    assert ok(service.auditor.get("/system"))["checkpoint"] is None


def test_anybody_can_read_the_newest_checkpoint_and_verify_it(service: Service) -> None:
    service.shop()
    service.seal()
    answer, key = service.public.get("/checkpoint"), service.public.get("/checkpoint/key")
    assert answer.headers["content-type"].startswith("text/plain") and key.status_code == 200
    text, _ = open_note(answer.text, [VerifierKey.parse(key.text)])
    checkpoint = Checkpoint.parse(text)
    events = ok(service.auditor.get("/events", limit=200))["items"]
    assert (checkpoint.origin, checkpoint.size) == ("shop.example/ledger", len(events))
    (recorded,) = ok(service.public.get("/checkpoint/keys"))["items"]
    assert f"{recorded['verifier_key']}\n" == key.text
    assert open_note(recorded["note"], [VerifierKey.parse(key.text)])[0].startswith(KEY_TITLE)


def test_an_auditor_pages_through_every_checkpoint_and_proves_that_each_goes_on(service: Service) -> None:
    till = service.shop()
    service.seal()
    program = till.program()
    for _ in range(4):
        till.card(program["id"])
        service.seal()
    first = ok(service.auditor.get("/audit/checkpoints", limit=3))
    rest = ok(service.auditor.get("/audit/checkpoints", limit=3, cursor=first["next_cursor"]))
    sealed = first["items"] + rest["items"]
    assert rest["next_cursor"] is None and len(sealed) == 5
    sizes = [one["tree_size"] for one in sealed]
    assert sizes == sorted(sizes, reverse=True)
    key = VerifierKey.parse(service.public.get("/checkpoint/key").text)
    for new, old in pairwise(sealed):
        told = ok(service.auditor.get("/audit/consistency", old=old["tree_size"], new=new["tree_size"]))
        trees = [Checkpoint.parse(open_note(told[which]["note"], [key])[0]) for which in ("old", "new")]
        assert [tree.size for tree in trees] == [old["tree_size"], new["tree_size"]]
        proof = [b64decode(hash_) for hash_ in told["proof"]]
        verify_consistency(trees[0].size, trees[1].size, trees[0].root, trees[1].root, proof)
    problem(service.auditor.get("/audit/consistency", old=sizes[0] + 1), 404, "not_found")
    problem(service.auditor.get("/audit/consistency", old=0), 422, "validation_failed")
    assert ok(service.auditor.get("/audit/restores")) == {"items": []}


def test_the_system_page_tells_how_far_the_seal_is(service: Service) -> None:
    till = service.shop()
    service.seal()
    position = ok(service.auditor.get("/system"))["position"]
    till.program()
    told = ok(service.auditor.get("/system"))
    assert told["checkpoint"]["position"] == position
    assert told["checkpoint"]["lag_events"] == told["position"] - position > 0


def test_a_refusal_to_seal_is_shown_and_keeps_no_till_waiting(service: Service) -> None:
    service.shop()
    service.seal()
    service.rows("UPDATE projections SET error = 'the store is behind' WHERE name = 'checkpoints'")
    shown = {one["name"]: one["error"] for one in ok(service.auditor.get("/system"))["projections"]}
    assert shown["checkpoints"] == "the store is behind"
    eventually(lambda: service.http.get("/health/ready").status_code == 200)
    service.rows("UPDATE projections SET error = 'poison' WHERE name = 'query_tables'")
    assert service.http.get("/health/ready").status_code == 503
