"""Exchanging the master key: nothing is lost on the way, nothing changes for anybody, and the old key opens nothing."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import Connection

from ledger import master_keys
from ledger.master_keys import MasterKeyUnknown, in_force, rotate
from ledger.seal import CARRIED, MasterKey, SealBroken, SubjectKey
from tests.examples import VENDOR_ID

ROOT = Path(__file__).parent.parent.parent
FIRST, SECOND, THIRD = (MasterKey(bytes([number]) * 32) for number in (1, 2, 3))
ADD = "INSERT INTO subject_keys (subject_id, vendor_id, master_key_id, wrapped_key) VALUES (%s, %s, %s, %s)"
WRAPPED = "SELECT subject_id, vendor_id, wrapped_key FROM subject_keys"
# Of no use once it is over: who looks for them looks under the newest key.
DIE = {"subject keys", "carried keys", "key id", "addresses", "browser sessions", "one-time codes"}


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def add(connection: Connection, master: MasterKey, count: int = 1) -> dict[UUID, SubjectKey]:
    """People whose keys this master key wrapped."""
    people = [master.new_subject(uuid4(), VENDOR_ID) for _ in range(count)]
    for person in people:
        connection.execute(ADD, (person.subject_id, VENDOR_ID, master.key_id, master.wrap(person)))
    return {person.subject_id: person for person in people}


def opened(connection: Connection, master: MasterKey) -> dict[UUID, SubjectKey]:
    return {row[0]: master.unwrap(*row) for row in connection.execute(WRAPPED).fetchall()}


def test_every_purpose_of_a_master_key_is_carried_on_or_dies() -> None:
    used = {
        purpose
        for part in ("ledger", "projections", "wallet_sync", "api")
        for path in (ROOT / part).rglob("*.py")
        for purpose in re.findall(r'derive\(\s*"([^"]+)"', path.read_text(encoding="utf-8"))
    }
    assert used - DIE == set(CARRIED)


def test_after_a_rotation_the_new_key_opens_everything_and_the_old_one_nothing(connection: Connection) -> None:
    people = add(connection, FIRST, 2_500)
    backup = connection.execute(WRAPPED).fetchall()
    told: list[tuple[int, int]] = []
    both = in_force(connection, replace(SECOND, previous=FIRST))
    assert opened(connection, both) == people
    assert rotate(connection, both, lambda done, total: told.append((done, total))) == 2_500
    assert told == [(1_000, 2_500), (2_000, 2_500), (2_500, 2_500)]
    alone = in_force(connection, SECOND)
    assert opened(connection, alone) == people
    for row in connection.execute(WRAPPED).fetchall():
        with pytest.raises(SealBroken):
            FIRST.unwrap(*row)
    for row in backup:
        with pytest.raises(SealBroken):
            alone.unwrap(*row)
    with pytest.raises(MasterKeyUnknown, match=SECOND.key_id):
        in_force(connection, FIRST)


def test_what_phones_and_pins_depend_on_stays_through_several_rotations(connection: Connection) -> None:
    before = {purpose: FIRST.derive(purpose) for purpose in CARRIED}
    add(connection, FIRST)
    for key, previous in ((SECOND, FIRST), (THIRD, SECOND)):
        both = in_force(connection, replace(key, previous=previous))
        assert {purpose: both.derive(purpose) for purpose in CARRIED} == before
        rotate(connection, both, lambda *_: None)
        alone = in_force(connection, key)
        assert {purpose: alone.derive(purpose) for purpose in CARRIED} == before
        assert alone.derive("subject keys") != previous.derive("subject keys")
    kept = str(connection.execute("SELECT * FROM carried_keys").fetchall())
    assert not [purpose for purpose, secret in before.items() if repr(secret)[2:-1] in kept]


def test_a_rotation_that_was_cut_off_goes_on(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    people = add(connection, FIRST, 50)
    monkeypatch.setattr(master_keys, "BATCH", 20)
    both = in_force(connection, replace(SECOND, previous=FIRST))

    def dies(done: int, _total: int) -> None:
        if done == 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rotate(connection, both, dies)
    with pytest.raises(MasterKeyUnknown, match=FIRST.key_id):
        in_force(connection, SECOND)
    both = in_force(connection, replace(SECOND, previous=FIRST))
    assert opened(connection, both) == people
    assert rotate(connection, both, lambda *_: None) == 10
    assert opened(connection, in_force(connection, SECOND)) == people
    assert rotate(connection, both, lambda *_: None) == 0


def test_whoever_came_in_between_under_the_old_key_is_wrapped_too(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = add(connection, FIRST, 30)
    monkeypatch.setattr(master_keys, "BATCH", 10)
    both = in_force(connection, replace(SECOND, previous=FIRST))

    def enrols(done: int, _total: int) -> None:
        if done <= 30:
            people.update(add(connection, FIRST))

    rotate(connection, both, enrols)
    assert opened(connection, in_force(connection, SECOND)) == people and len(people) > 30


def test_a_database_of_another_master_key_is_named(connection: Connection) -> None:
    add(connection, FIRST)
    with pytest.raises(MasterKeyUnknown, match=FIRST.key_id):
        in_force(connection, replace(THIRD, previous=SECOND))
