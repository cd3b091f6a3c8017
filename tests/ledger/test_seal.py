"""Sealed fields open only with the person's key, and only where they were sealed."""

from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from uuid import UUID

import pytest

from ledger.personal import Secret
from ledger.seal import MasterKey, SealBroken, SubjectKey, digest_of, seal, unseal
from tests.examples import CARD_ID, CUSTOMER_ID, NEW_CARD_ID, PROGRAM_ID, VENDOR_ID

MASTER = MasterKey(bytes(range(32)))
PERSON = SubjectKey(CUSTOMER_ID, VENDOR_ID, bytes(32))


def sealed_name() -> str:
    text = seal(Secret("Lena Weber"), PERSON, stream_id=CARD_ID, version=3, name="name").sealed
    assert text is not None
    return text


def opened(text: str, subject: SubjectKey = PERSON, stream_id: UUID = CARD_ID) -> str | None:
    return unseal(Secret(sealed=text), subject, stream_id=stream_id).plain


@pytest.mark.parametrize("plain", ["Lena Weber", "", "Zëss 👩‍🍳", "x" * 10_000, "1.name.abc"])
def test_what_is_sealed_opens_again(plain: str) -> None:
    sealed = seal(Secret(plain), PERSON, stream_id=CARD_ID, version=1, name="name")
    assert sealed.plain is None
    assert unseal(sealed, PERSON, stream_id=CARD_ID) == Secret(plain)


def test_a_sealed_field_says_for_which_event_and_field_it_was_sealed_and_nothing_else() -> None:
    version, name, text = sealed_name().split(".")
    assert (version, name) == ("3", "name")
    assert len(urlsafe_b64decode(text)) == 12 + len("Lena Weber") + 16
    assert b"Lena" not in urlsafe_b64decode(text)


def test_the_same_name_sealed_twice_looks_different() -> None:
    assert sealed_name() != sealed_name()


def test_another_persons_key_does_not_open_it() -> None:
    with pytest.raises(SealBroken):
        opened(sealed_name(), SubjectKey(CUSTOMER_ID, VENDOR_ID, bytes(31) + b"\x01"))


def test_it_does_not_open_on_another_card() -> None:
    with pytest.raises(SealBroken):
        opened(sealed_name(), stream_id=NEW_CARD_ID)


def test_it_does_not_open_as_another_event_or_field() -> None:
    _, _, text = sealed_name().split(".")
    for moved in (f"4.name.{text}", f"3.email.{text}", f"3.nam.{text}"):
        with pytest.raises(SealBroken):
            opened(moved)


@pytest.mark.parametrize("place", [0, 11, 12, 20, -1], ids=["nonce", "nonce's end", "first", "middle", "tag"])
def test_a_changed_byte_is_noticed(place: int) -> None:
    _, _, text = sealed_name().split(".")
    raw = bytearray(urlsafe_b64decode(text))
    raw[place] ^= 1
    with pytest.raises(SealBroken):
        opened(f"3.name.{urlsafe_b64encode(raw).decode()}")


@pytest.mark.parametrize(
    "spoil",
    ["", "name", "3.name", "3.name.", "3.name.AAAA", "x.name.{text}", "-3.name.{text}", "3.name.{text}A", "3.name.é"],
)
def test_what_was_never_sealed_is_broken_and_not_a_surprise(spoil: str) -> None:
    _, _, text = sealed_name().split(".")
    with pytest.raises(SealBroken):
        opened(spoil.format(text=text))


# ------------------------------------------------------------------ keys


def test_a_new_person_gets_a_key_of_their_own() -> None:
    one, other = (MASTER.new_subject(CUSTOMER_ID, VENDOR_ID) for _ in range(2))
    assert one.key != other.key and len(one.key) == 32


def test_a_wrapped_key_comes_back_under_the_same_master_key() -> None:
    person = MASTER.new_subject(CUSTOMER_ID, VENDOR_ID)
    wrapped = MASTER.wrap(person)
    assert person.key not in wrapped
    again = MASTER.unwrap(CUSTOMER_ID, VENDOR_ID, wrapped)
    assert (again.key, again.subject_id, again.vendor_id) == (person.key, CUSTOMER_ID, VENDOR_ID)


def test_another_master_key_opens_no_wrapped_key() -> None:
    wrapped = MASTER.wrap(PERSON)
    with pytest.raises(SealBroken):
        MasterKey(bytes(32)).unwrap(CUSTOMER_ID, VENDOR_ID, wrapped)


@pytest.mark.parametrize("spoil", [b"", b"short", bytes(40), bytes(41)])
def test_a_spoilt_wrapped_key_is_broken(spoil: bytes) -> None:
    with pytest.raises(SealBroken):
        MASTER.unwrap(CUSTOMER_ID, VENDOR_ID, spoil)


def test_a_master_key_has_thirty_two_bytes() -> None:
    assert MasterKey.from_base64(b64encode(bytes(range(32))).decode()) == MASTER
    for text in ("", "AAAA", b64encode(bytes(31)).decode(), b64encode(bytes(33)).decode(), "not base64!", "é"):
        with pytest.raises(ValueError):
            MasterKey.from_base64(text)


def test_a_master_key_is_written_and_read_again() -> None:
    assert MasterKey.from_base64(MASTER.to_base64()) == MASTER


def test_a_network_address_is_counted_without_being_kept() -> None:
    counted = MASTER.lookup_address("2001:db8::1")
    assert counted == MASTER.lookup_address("2001:db8::1") != MASTER.lookup_address("2001:db8::2")
    assert "2001" not in counted


def test_each_purpose_has_a_key_of_its_own() -> None:
    keys = {MASTER.derive(purpose) for purpose in ("subject keys", "look-ups", "PIN pepper", "staff sessions")}
    assert len(keys) == 4 and MASTER.key not in keys


def test_the_name_of_a_master_key_tells_nothing_of_it() -> None:
    assert MASTER.key_id == MasterKey(bytes(range(32))).key_id != MasterKey(bytes(32)).key_id
    assert len(MASTER.key_id) == 16


def test_no_key_is_ever_printed() -> None:
    person = MASTER.new_subject(CUSTOMER_ID, VENDOR_ID)
    assert repr(person.key) not in repr(person)
    assert repr(MASTER.key) not in repr(MASTER) and "key=" not in repr(MASTER)


def test_a_person_is_found_by_email_at_one_vendor_only() -> None:
    found = MASTER.lookup(VENDOR_ID, "email", "lena@zess.example")
    assert found == MASTER.lookup(VENDOR_ID, "email", "lena@zess.example")
    others = {
        MASTER.lookup(PROGRAM_ID, "email", "lena@zess.example"),
        MASTER.lookup(VENDOR_ID, "phone", "lena@zess.example"),
        MASTER.lookup(VENDOR_ID, "email", "tom@zess.example"),
        MasterKey(bytes(32)).lookup(VENDOR_ID, "email", "lena@zess.example"),
    }
    assert len(others) == 4 and found not in others


def test_a_token_stands_in_the_database_as_its_digest() -> None:
    assert digest_of("a-token") == sha256(b"a-token").digest()
