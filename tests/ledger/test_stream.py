"""What stands in the database: names for ever, an envelope, and a chain of digests over the bytes."""

import re
from hashlib import sha256
from typing import Any, get_args

import orjson
import pytest
from msgspec.structs import replace

from ledger import attempts, audit, card, program, staff_pin, subject, vendor, wallet_pass
from ledger.personal import Secret
from ledger.seal import SubjectKey, unseal
from ledger.stream import (
    EVENT_NAMES,
    NAME_OF,
    STREAM_KINDS,
    Envelope,
    Stored,
    decode,
    digest,
    encode,
    evolve,
    first_prev,
    sealed,
)
from tests import examples
from tests.examples import CARD_ID, CUSTOMER_ID, ENROLLED, MONDAY, NEW_CARD_ID, STAMPED, VENDOR_ID, envelope
from tests.given import fold

PERSON = SubjectKey(CUSTOMER_ID, VENDOR_ID, bytes(32))


# ------------------------------------------------------------------ names


def test_names_are_plain_words_in_small_letters_with_hyphens() -> None:
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in EVENT_NAMES)


def test_no_two_names_mean_the_same_event() -> None:
    assert len(set(EVENT_NAMES.values())) == len(EVENT_NAMES) == len(NAME_OF)


def test_every_event_of_every_noun_has_a_name() -> None:
    unions = (
        vendor.VendorEvent,
        program.ProgramEvent,
        card.CardEvent,
        attempts.AttemptEvent,
        staff_pin.StaffPinEvent,
        wallet_pass.WalletPassEvent,
    )
    alone = {subject.SubjectKeyDestroyed, audit.ProjectionChecked}
    assert {cls for union in unions for cls in get_args(union)} | alone == set(EVENT_NAMES.values())


@pytest.mark.parametrize("event", examples.EVENTS, ids=lambda event: NAME_OF[type(event)])
def test_every_stream_knows_how_to_fold_its_events(event: Any) -> None:
    kind = examples.stream_type_of(event)
    before = fold([e for e in examples.EVENTS if examples.stream_type_of(e) == kind][:1])
    after = evolve(kind, before, event)
    assert isinstance(after, STREAM_KINDS[kind].state)


# ------------------------------------------------------------------ digests


def test_a_digest_is_sha_256_over_four_parts_each_after_its_length() -> None:
    """Written out byte by byte, as somebody else would who only has the documentation."""
    state = '{"name":"Zëss"}'.encode()
    by_hand = (
        b"\x00"
        + b"\x00\x00\x00\x00\x00\x00\x00\x10"
        + bytes.fromhex("0195a1b0000070008000000000000003")
        + b"\x00\x00\x00\x00\x00\x00\x00\x08"
        + b"\x00\x00\x00\x00\x00\x00\x01\x02"
        + b"\x00\x00\x00\x00\x00\x00\x00\x0c"
        + b"stamps-added"
        + b"\x00\x00\x00\x00\x00\x00\x00\x10"
        + b'{"name":"Z\xc3\xabss"}'
    )
    assert digest(CARD_ID, 258, "stamps-added", state) == sha256(by_hand).hexdigest()


def test_every_part_of_an_event_changes_its_digest() -> None:
    digests = {
        digest(CARD_ID, 1, "stamps-added", b"{}"),
        digest(NEW_CARD_ID, 1, "stamps-added", b"{}"),
        digest(CARD_ID, 2, "stamps-added", b"{}"),
        digest(CARD_ID, 1, "points-earned", b"{}"),
        digest(CARD_ID, 1, "stamps-added", b"{ }"),
        digest(CARD_ID, 1, "stamps-added{", b"}"),
        digest(CARD_ID, 1, "stamps-adde", b"d{}"),
    }
    assert len(digests) == 7


def test_the_first_event_follows_a_label_and_its_stream_so_no_chain_can_be_moved() -> None:
    by_hand = b"loyalty-ledger stream\x00" + bytes.fromhex("0195a1b0000070008000000000000003")
    assert first_prev(CARD_ID) == sha256(by_hand).hexdigest()
    assert first_prev(CARD_ID) != first_prev(NEW_CARD_ID)


def chain(*events: Any) -> list[Stored]:
    """Events as they would be stored, one after the other."""
    stored: list[Stored] = []
    prev = first_prev(CARD_ID)
    for version, event in enumerate(events, 1):
        state, name = encode(event, envelope("card"), prev), NAME_OF[type(event)]
        stored.append(Stored(CARD_ID, version, name, state, version))
        prev = digest(CARD_ID, version, name, state)
    return stored


def test_every_event_names_the_digest_of_the_one_before() -> None:
    history = [decode(stored) for stored in chain(ENROLLED, STAMPED, examples.CARD_SUSPENDED)]
    assert [recorded.prev for recorded in history] == [first_prev(CARD_ID), history[0].digest, history[1].digest]


def test_a_changed_byte_breaks_the_chain() -> None:
    first, second = chain(ENROLLED, STAMPED)
    forged = replace(first, state=first.state.replace(b'"lb"', b'"fr"'))
    assert decode(forged).digest != decode(second).prev == decode(first).digest


# ------------------------------------------------------------------ bytes


@pytest.mark.parametrize("event", examples.EVENTS, ids=lambda event: NAME_OF[type(event)])
def test_an_event_comes_back_with_everything_around_it(event: Any) -> None:
    around = envelope(examples.stream_type_of(event))
    state = encode(event, around, "ab" * 32)
    name = NAME_OF[type(event)]
    recorded = decode(Stored(CARD_ID, 7, name, state, 99))
    assert (recorded.event, recorded.envelope, recorded.prev) == (event, around, "ab" * 32)
    assert (recorded.stream_id, recorded.version, recorded.position, recorded.name) == (CARD_ID, 7, 99, name)
    assert recorded.digest == digest(CARD_ID, 7, name, state)


def test_an_event_of_a_later_version_of_the_service_is_not_guessed_at() -> None:
    with pytest.raises(KeyError, match="card-polished"):
        decode(replace(chain(ENROLLED)[0], name="card-polished"))


def test_no_class_or_module_name_is_ever_stored() -> None:
    for event in examples.EVENTS:
        text = encode(event, envelope(examples.stream_type_of(event)), "").decode()
        assert "ledger." not in text and type(event).__name__ not in text


def test_the_envelope_stands_beside_the_data_not_in_it() -> None:
    plain = orjson.loads(encode(STAMPED, envelope("card"), "ab"))
    assert plain.keys() == {"prev", "data"} | set(Envelope.__struct_fields__)
    assert plain["data"]["stamps"] == 1


# ------------------------------------------------------------------ secrets


def test_every_secret_of_an_event_is_sealed_for_its_place() -> None:
    plain = replace(ENROLLED, name=Secret("Lena"), email=None, phone=Secret("+352621"), qr_token=Secret("token"))
    event = sealed(plain, PERSON, stream_id=CARD_ID, version=1)
    assert event.email is None
    for name, text in (("name", "Lena"), ("phone", "+352621"), ("qr_token", "token")):
        secret = getattr(event, name)
        assert secret.plain is None and secret.sealed.startswith(f"1.{name}.")
        assert unseal(secret, PERSON, stream_id=CARD_ID) == Secret(text)
    assert b"Lena" not in encode(event, envelope("card"), "")


def test_what_is_sealed_already_or_has_no_secret_stays_the_same() -> None:
    assert sealed(ENROLLED, PERSON, stream_id=CARD_ID, version=1) is ENROLLED
    assert sealed(STAMPED, None, stream_id=CARD_ID, version=1) is STAMPED


def test_a_secret_without_a_key_is_a_mistake_of_ours() -> None:
    with pytest.raises(AssertionError, match="name is personal"):
        sealed(replace(ENROLLED, name=Secret("Lena")), None, stream_id=CARD_ID, version=1)


def test_times_in_an_event_are_kept_to_the_microsecond() -> None:
    at = MONDAY.replace(microsecond=123456)
    event = replace(STAMPED, at=at)
    stored = Stored(CARD_ID, 1, "stamps-added", encode(event, envelope("card"), ""), 1)
    assert decode(stored).event.at == at
