"""A statement that holds, and everything somebody could do to one: each has its exit code and its sentence."""

import ast
import dataclasses
import json
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.stream import digest
from projections.proofs import verify_statement
from projections.proofs.merkle import consistency_proof
from projections.proofs.notes import SigningKey, sign
from projections.proofs.sealing_keys import key_text
from projections.proofs.verify_statement import Checkpoint, Fault, Kind, Verified, run, verify
from tests.examples import ADJUSTED, CARD_ID, CARD_REPLACED, EARN_REVERSED, EARNED, ENROLLED, FORFEITED, MONDAY, STAMPED
from tests.projections.proofs.statements import (
    BEGIN,
    END,
    EVENTS,
    GUIDE,
    KEY,
    NEXT_KEY,
    STRANGER,
    Tree,
    history,
    key_notes,
    made,
    printed,
    tree_of,
)

FILE = Path(verify_statement.__file__)
HONEST = made()
OLD_TREE = Tree(tree_of(history()).leaves[:4])

Change = Callable[[dict[str, Any]], Any]


def as_bytes(told: Any) -> bytes:
    return told if isinstance(told, bytes) else json.dumps(told, ensure_ascii=False).encode()


def verified(told: Any = HONEST, key: Any = KEY, **more: Any) -> Verified:
    return verify(as_bytes(told), key.verifier, **more)


def fault(told: Any, key: Any = KEY, **more: Any) -> Fault:
    with pytest.raises(Fault) as raised:
        verified(told, key, **more)
    return raised.value


def changed(change: Change) -> Any:
    told = deepcopy(HONEST)
    return change(told) or told


# ------------------------------------------------------------------ what holds


def test_an_honest_statement_holds_and_says_the_balance() -> None:
    told = verified()
    assert (told.balance.stamps, told.balance.points) == (1, 0)
    assert "4 events" in str(told) and "Balance: 1 stamps, 0 points." in str(told)


def test_it_says_which_fields_are_sealed() -> None:
    fields = ["card-enrolled: qr_token", "card-enrolled: name", "card-enrolled: email", "card-enrolled: phone"]
    told = verified()
    assert told.balance.sealed_fields == fields
    assert ", ".join(fields) in str(told)


def test_events_newer_than_the_checkpoint_are_signed_though_not_yet_in_the_tree() -> None:
    told = verified(made(tree=OLD_TREE))
    assert (told.signed.sealed, told.signed.version) == (2, 4)
    assert "2 are newer than that checkpoint" in str(told)


@pytest.mark.parametrize("trusted", [KEY, NEXT_KEY], ids=["the first key", "the newest key"])
def test_whoever_trusts_one_key_can_follow_a_rotation(trusted: Any) -> None:
    assert verified(made(key=NEXT_KEY, keys=(KEY, NEXT_KEY)), trusted)
    assert verified(made(key=KEY, keys=(KEY, NEXT_KEY)), trusted)


def test_every_kind_of_entry_is_added_up() -> None:
    held = (
        ENROLLED,
        replace(EARNED, points=120, points_after=120),
        replace(EARN_REVERSED, points_taken=70, points_after=50),
        replace(ADJUSTED, stamps=2, stamps_after=2, points_after=50),
    )
    told = verified(made(history(held))).balance
    assert (told.stamps, told.points) == (2, 50)
    ended = (
        replace(ENROLLED, stamps=3, points=9),
        replace(FORFEITED, stamps=1, points=2),
        replace(CARD_REPLACED, stamps_moved=2, points_moved=7),
    )
    told = verified(made(history(ended))).balance
    assert (told.stamps, told.points) == (0, 0)


# ------------------------------------------------------------------ what does not


def event(n: int, **fields: Any) -> Change:
    return lambda told: told["events"][n].update(fields)


def swapped(told: dict[str, Any]) -> None:
    told["events"][1], told["events"][2] = told["events"][2], told["events"][1]


def rehashed(told: dict[str, Any]) -> None:
    """Every hash made to fit again, as whoever rewrites a history would."""
    forged = history((EVENTS[0], replace(EVENTS[1], stamps=9, stamps_after=9), *EVENTS[2:]))
    for one, (_, state) in zip(told["events"], forged, strict=True):
        one["state"] = b64encode(state).decode()
        one["hash"] = digest(CARD_ID, one["version"], one["name"], state)


def without(n: int) -> Change:
    return lambda told: told["events"].pop(n) and None


def renumbered(told: dict[str, Any]) -> None:
    """The second event left out, and the others moved up."""
    del told["events"][1]
    for version, one in enumerate(told["events"], 1):
        one["version"] = version
        one["hash"] = digest(CARD_ID, version, one["name"], b64decode(one["state"]))


def with_byte(n: int) -> Change:
    def change(told: dict[str, Any]) -> None:
        state = bytearray(b64decode(told["events"][n]["state"]))
        state[-20] ^= 1
        told["events"][n]["state"] = b64encode(state).decode()

    return change


def put(**fields: Any) -> Change:
    return lambda told: told.update(fields)


def older(told: dict[str, Any]) -> None:
    told["checkpoint"] = made(tree=OLD_TREE)["checkpoint"]


def within(name: str, old: str, new: str) -> Change:
    """A note of the statement with something else in it."""
    return lambda told: told.update({name: told[name].replace(old, new)})


def usurped(told: dict[str, Any]) -> None:
    """A key that says it follows ours, and signed that by itself."""
    told["keys"].append(sign(key_text(STRANGER.verifier, KEY.verifier, 0, MONDAY), STRANGER))


def miscounted(told: dict[str, Any]) -> dict[str, Any]:
    return made(history((EVENTS[0], replace(STAMPED, stamps=1, stamps_after=2))))


def text(**replaced: str) -> Change:
    """The JSON itself, with something else in it."""
    ((old, new),) = replaced.items()
    return lambda told: as_bytes(told).replace(old.encode(), new.encode(), 1)


def nested(depth: int) -> Change:
    return lambda told: as_bytes(told).replace(
        b'"events": [', b'"more": ' + b"[" * depth + b"]" * depth + b', "events": ['
    )


def numbered(number: str) -> Change:
    return lambda told: as_bytes(told).replace(b'"position": 3,', f'"position": {number},'.encode())


TAMPERED: list[tuple[str, Change, Kind]] = [
    ("a byte of an event", with_byte(1), Kind.PAYLOAD),
    ("a byte of the newest event", with_byte(3), Kind.PAYLOAD),
    ("the name of an event", event(1, name="points-earned"), Kind.PAYLOAD),
    ("the card", put(card_id="0195a1b0-0000-7000-8000-000000000004"), Kind.OTHER_CARD),
    ("the order", swapped, Kind.ORDER),
    ("an event twice", lambda told: told["events"].insert(1, told["events"][1]), Kind.ORDER),
    ("no first event", without(0), Kind.MISSING),
    ("an event left out", without(1), Kind.MISSING),
    ("an event left out and the rest renumbered", renumbered, Kind.CHAIN),
    ("no newest event", without(3), Kind.TAIL),
    ("no event at all", put(events=[]), Kind.TAIL),
    ("a history written anew", rehashed, Kind.INCLUSION),
    ("another position", event(1, position=5), Kind.INCLUSION),
    ("another place in the tree", event(1, index=5), Kind.INCLUSION),
    ("a place outside the tree", event(1, index=9), Kind.INCLUSION),
    ("a proof cut short", lambda told: told["events"][1]["proof"].pop() and None, Kind.INCLUSION),
    ("a proof left out", event(1, index=None, proof=[]), Kind.INCLUSION),
    ("an older checkpoint", older, Kind.REPLAYED),
    ("a changed checkpoint", within("checkpoint", "\n9\n", "\n8\n"), Kind.CHECKPOINT),
    ("a checkpoint that is none", put(checkpoint=sign("hello\n", KEY)), Kind.CHECKPOINT),
    ("another statement's signature", within("statement", "version 4", "version 3"), Kind.SIGNATURE),
    ("a checkpoint in place of it", lambda told: put(statement=told["checkpoint"])(told), Kind.SIGNATURE),
    ("everything signed by a stranger", lambda told: made(key=STRANGER, keys=(STRANGER,)), Kind.WRONG_KEY),
    ("a stranger's signature under our keys", lambda told: made(key=STRANGER), Kind.WRONG_KEY),
    ("no keys", put(keys=[]), Kind.WRONG_KEY),
    ("a stranger put behind our key", put(keys=key_notes(KEY) + key_notes(STRANGER)), Kind.KEY_CHAIN),
    ("a key that only signed itself", usurped, Kind.KEY_CHAIN),
    ("the keys in another order", put(keys=key_notes(KEY, NEXT_KEY)[::-1]), Kind.KEY_CHAIN),
    ("a balance that does not add up", miscounted, Kind.BALANCE),
    ("half of the file", lambda told: as_bytes(told)[: len(as_bytes(told)) // 2], Kind.TRUNCATED),
    ("nothing", lambda told: b" ", Kind.TRUNCATED),
    ("no JSON", lambda told: b"<html>", Kind.NOT_JSON),
    ("not UTF-8", lambda told: as_bytes(told).replace(b"loyalty", b"loy\xffalty"), Kind.NOT_TEXT),
    ("a name twice", text(**{'"events"': '"card_id": "x", "events"'}), Kind.DUPLICATE_KEY),
    ("NaN", numbered("NaN"), Kind.NUMBER),
    ("an infinity", numbered("-Infinity"), Kind.NUMBER),
    ("a fraction", numbered("3.0"), Kind.NUMBER),
    ("an exponent", numbered("3e0"), Kind.NUMBER),
    ("a huge number", numbered("9" * 100_000), Kind.NUMBER),
    ("a number of 64 bits", numbered(str(2**63)), Kind.NUMBER),
    ("no number", numbered("true"), Kind.SHAPE),
    ("a number below all", numbered("-3"), Kind.SHAPE),
    ("deep nesting", nested(200_000), Kind.TOO_DEEP),
    ("a little too much nesting", nested(40), Kind.TOO_DEEP),
    ("another format", put(format="loyalty-ledger statement 2"), Kind.SHAPE),
    ("a list", lambda told: b"[1]", Kind.SHAPE),
    ("half a character", text(**{'"stamps-added"': '"\\ud800"'}), Kind.SHAPE),
    ("untidy base64", event(1, state="e30"), Kind.SHAPE),
    ("a hash in capitals", lambda told: event(1, hash=told["events"][1]["hash"].upper())(told), Kind.SHAPE),
    ("events that are none", put(events=[1]), Kind.SHAPE),
    ("a proof of short hashes", event(1, proof=["AAAA"]), Kind.SHAPE),
]  # fmt: skip


@pytest.mark.parametrize(("change", "kind"), [(c, k) for _, c, k in TAMPERED], ids=[name for name, _, _ in TAMPERED])
def test_whatever_is_done_to_it_is_found_and_named(change: Change, kind: Kind) -> None:
    found = fault(changed(change))
    assert (found.kind, str(found) != "") == (kind, True), found


def test_every_kind_of_fault_has_an_exit_code_of_its_own_and_is_tried() -> None:
    elsewhere = {Kind.UNREADABLE, Kind.TOO_LARGE, Kind.OLDER, Kind.INCONSISTENT}
    assert {kind for _, _, kind in TAMPERED} | elsewhere == set(Kind)
    assert len({int(kind) for kind in Kind}) == len(Kind) and all(2 < kind < 126 for kind in Kind)


def test_another_key_than_the_one_that_is_trusted_is_refused() -> None:
    assert fault(HONEST, STRANGER).kind is Kind.WRONG_KEY
    assert "nothing leads from the key you trust" in str(fault(HONEST, STRANGER))


def test_what_is_newer_than_the_checkpoint_cannot_be_rewritten_either() -> None:
    told, forged = made(tree=OLD_TREE), made(history((*EVENTS[:3], ADJUSTED)), tree=OLD_TREE)
    told["events"][3] = forged["events"][3]
    assert fault(told).kind is Kind.INCLUSION and "newest event" in str(fault(told))


def test_events_that_were_sealed_in_another_order_than_their_versions_are_refused() -> None:
    assert fault(made(positions=(3, 7, 4, 8))).kind is Kind.ORDER


def test_a_checkpoint_in_another_ledgers_name_is_refused() -> None:
    tree = tree_of(history()).checkpoint
    note = sign(str(dataclasses.replace(tree, origin="other.example/ledger")), KEY)
    assert fault(made() | {"checkpoint": note}).kind is Kind.CHECKPOINT


def test_a_key_of_another_name_is_not_followed() -> None:
    other = SigningKey("other.example/ledger", STRANGER.seed)
    assert fault(made(keys=(KEY, other))).kind is Kind.KEY_CHAIN


def test_a_file_without_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_statement, "FILE_BYTES_MAX", 100)
    assert fault(HONEST).kind is Kind.TOO_LARGE


@hypothesis_given(st.integers(0, len(as_bytes(HONEST)) - 1), st.integers(1, 255))
def test_no_byte_of_a_statement_can_change_what_it_proves(at: int, by: int) -> None:
    raw = bytearray(as_bytes(HONEST))
    raw[at] ^= by
    with suppress(Fault):
        assert str(verified(bytes(raw))) == str(verified())


@hypothesis_given(st.integers(0, len(as_bytes(HONEST)) - 1))
def test_a_statement_cut_anywhere_is_refused(length: int) -> None:
    assert fault(as_bytes(HONEST)[:length]).kind is Kind.TRUNCATED


@hypothesis_given(st.binary())
def test_any_bytes_are_a_statement_or_a_fault(raw: bytes) -> None:
    fault(raw)


# ------------------------------------------------------------------ a checkpoint that was kept


def test_a_statement_older_than_a_kept_checkpoint_is_refused() -> None:
    kept = sign(str(tree_of(history()).checkpoint), KEY)
    assert verified(HONEST, kept=kept)
    assert fault(made(tree=OLD_TREE), kept=kept).kind is Kind.OLDER


def test_a_statement_is_proved_to_go_on_from_a_kept_checkpoint() -> None:
    kept, tree = sign(str(OLD_TREE.checkpoint), KEY), tree_of(history())
    proof = [b64encode(hash_).decode() for hash_ in consistency_proof(4, 9, tree.node)]
    assert verified(HONEST, kept=kept, consistency=as_bytes({"proof": proof}))
    assert fault(HONEST, kept=kept, consistency=as_bytes({"proof": proof[1:]})).kind is Kind.INCONSISTENT
    assert fault(HONEST, kept=kept, consistency=b"[]").kind is Kind.SHAPE


def test_two_trees_of_one_size_are_two_pasts() -> None:
    kept = sign(str(Checkpoint(KEY.name, 9, bytes(32))), KEY)
    assert fault(HONEST, kept=kept).kind is Kind.INCONSISTENT


# ------------------------------------------------------------------ the file alone


def alone(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The one file, copied into an empty folder, as its only program."""
    copy = folder / FILE.name
    copy.write_bytes(FILE.read_bytes())
    command = [sys.executable, "-I", copy.name, *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_the_file_needs_nothing_but_python_and_cryptography() -> None:
    found = set()
    for node in ast.walk(ast.parse(FILE.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).split(".")[0])
    assert found - sys.stdlib_module_names == {"cryptography"}


def test_the_statement_of_the_guide_is_verified_by_the_file_alone(tmp_path: Path) -> None:
    block = GUIDE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip()
    assert block == printed(), "run python -m tests.projections.proofs.statements"
    (tmp_path / "statement.json").write_text(block.removeprefix("```json\n").removesuffix("\n```"), encoding="utf-8")
    assert str(KEY.verifier) in GUIDE.read_text(encoding="utf-8")
    done = alone(tmp_path, "statement.json", "--key", str(KEY.verifier))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() in GUIDE.read_text(encoding="utf-8")


def test_the_command_line_names_key_files_and_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    statement, key = tmp_path / "statement.json", tmp_path / "key"
    statement.write_bytes(as_bytes(HONEST))
    key.write_text(f"{KEY.verifier}\n")
    assert run([str(statement), "--key", str(key)]) == 0
    statement.write_bytes(as_bytes(changed(with_byte(2))))
    assert run([str(statement), "--key", str(key)]) == Kind.PAYLOAD
    assert capsys.readouterr().err == "This does not hold: the bytes of event 3 are not those its hash is of.\n"
    assert run([str(tmp_path / "nowhere"), "--key", str(key)]) == Kind.UNREADABLE
    assert run([str(statement), "--key", str(tmp_path / "nowhere")]) == Kind.UNREADABLE


def test_the_guide_lists_every_exit_code() -> None:
    rows = [line for line in GUIDE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert {int(row.split("|")[1]) for row in rows if row.split("|")[1].strip().isdigit()} == {
        int(kind) for kind in Kind
    }
