"""JSON and back: whatever is written is read again as it was, and no secret is written in clear."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, Literal
from uuid import UUID

import orjson
import pytest
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import asdict, replace

from ledger import attempts, card, program, staff_pin, vendor, wallet_pass
from ledger.codec import from_json, from_plain, to_json, to_plain
from ledger.personal import Secret
from tests import examples
from tests.examples import ENROLLED, MONDAY, STAMPED, sealed, stamp_program
from tests.given import fold

STATES = [
    fold([examples.REGISTERED, examples.KEY_ISSUED]),
    stamp_program(),
    fold([examples.RULES_CHANGED], examples.hybrid_program()),
    fold([examples.PROGRAM_DEACTIVATED], examples.point_program()),
    fold(
        [examples.TRANSLATED_RULES, examples.TRANSLATED_REWARD, examples.TRANSLATED_BRANDING], examples.hybrid_program()
    ),
    fold([ENROLLED]),
    fold([ENROLLED, STAMPED, examples.EARN_REVERSED]),
    fold([examples.REPLACEMENT_ENROLLED, examples.CARD_REPLACED]),
    fold([examples.STAMP_REFUSED]),
    fold([examples.PASS_ISSUED, examples.DEVICE_REGISTERED]),
    examples.pin(),
    fold([examples.PIN_REJECTED, examples.PIN_LOCKED, examples.PIN_REJECTED], examples.pin()),
]
ENVELOPES = [examples.envelope("vendor"), examples.envelope("card")]


@pytest.mark.parametrize("value", [*examples.EVENTS, *STATES, *ENVELOPES], ids=lambda value: type(value).__name__)
def test_what_is_written_is_read_again_as_it_was(value: Any) -> None:
    again = from_json(type(value), to_json(value))
    assert again == value
    assert hash_of_types(again) == hash_of_types(value)


def hash_of_types(value: Any) -> str:
    """Equality alone would let a list pass for a tuple of nothing, or True for 1."""
    return repr(value)


def test_every_state_is_among_those_tried() -> None:
    kinds = {vendor.Vendor, program.Program, card.Card, attempts.Attempts, staff_pin.StaffPin, wallet_pass.WalletPass}
    assert {type(state) for state in STATES} == kinds


@pytest.mark.parametrize("event", examples.EVENTS, ids=lambda event: type(event).__name__)
def test_fields_of_a_later_version_are_ignored(event: Any) -> None:
    plain = orjson.loads(to_json(event)) | {"invented_in_2031": {"deep": [1, 2]}}
    assert from_plain(type(event), plain) == event


def test_unknown_fields_inside_are_ignored_too() -> None:
    plain = orjson.loads(to_json(examples.PROGRAM_CREATED))
    plain["rules"]["invented_in_2031"] = True
    assert from_plain(program.ProgramCreated, plain) == examples.PROGRAM_CREATED


def test_a_field_that_was_not_invented_yet_takes_its_default() -> None:
    plain = orjson.loads(to_json(ENROLLED))
    for name in ("name", "email", "phone", "has_consented", "reversed", "recent_stamps", "stamps"):
        plain.pop(name, None)
    assert from_plain(card.CardEnrolled, plain) == replace(
        ENROLLED, name=None, email=None, phone=None, has_consented=False
    )


def test_what_is_none_is_left_out() -> None:
    bare = replace(STAMPED, staff_pin_id=None, order_reference=None, external_ref=None)
    assert to_plain(STAMPED).keys() - to_plain(bare).keys() == {"staff_pin_id", "order_reference", "external_ref"}
    assert from_json(card.StampsAdded, to_json(bare)) == bare


def test_what_is_none_inside_is_left_out_too() -> None:
    """So that a field added one day changes no byte of what was written before."""
    assert "null" not in to_json(stamp_program())


def test_a_role_of_none_stays_none() -> None:
    changed = staff_pin.StaffPinChanged(MONDAY, operations=())
    assert from_json(staff_pin.StaffPinChanged, to_json(changed)) == changed


# ------------------------------------------------------------------ secrets


@pytest.mark.parametrize(
    "event",
    [event for event in examples.EVENTS if any(isinstance(part, Secret) for part in asdict(event).values())],
    ids=lambda event: type(event).__name__,
)
def test_an_event_whose_secret_was_never_sealed_cannot_be_written(event: Any) -> None:
    name = next(name for name, part in asdict(event).items() if isinstance(part, Secret))
    with pytest.raises(AssertionError, match=name):
        to_json(replace(event, **{name: Secret("Lena Weber")}))


def test_an_empty_secret_cannot_be_written_either() -> None:
    with pytest.raises(AssertionError):
        to_json(replace(ENROLLED, name=Secret()))


def test_only_the_ciphertext_of_a_secret_is_written() -> None:
    enrolled = replace(ENROLLED, name=Secret(plain="Lena", sealed="1.name.xyz"))
    assert to_plain(enrolled)["name"] == {"sealed": "1.name.xyz"}
    assert "Lena" not in to_json(enrolled)


class Person(Struct, frozen=True):
    name: Secret


class Household(Struct, frozen=True):
    head: Person
    others: tuple[Person, ...] = ()


def test_a_secret_further_inside_is_not_written_in_clear_either() -> None:
    household = Household(Person(sealed("name")), (Person(sealed("name")),))
    assert from_json(Household, to_json(household)) == household
    for leaky in (Household(Person(Secret("Lena"))), Household(Person(sealed("name")), (Person(Secret("Lena")),))):
        with pytest.raises(AssertionError):
            to_json(leaky)


# ------------------------------------------------------------------ values


class Everything(Struct, frozen=True):
    text: str
    number: int
    flag: bool
    at: datetime
    day: date
    id_: UUID
    kind: Literal["a", "b"]
    maybe: int | None
    several: tuple[int, ...]
    days: tuple[date, ...]
    by_name: dict[str, int]
    moments: dict[str, datetime]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
moments = st.integers(0, 2**53).map(lambda n: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=n))


@hypothesis_given(
    value=st.builds(
        Everything,
        text=texts,
        number=st.integers(-(2**63), 2**63 - 1),
        flag=st.booleans(),
        at=moments,
        day=st.dates(),
        id_=st.uuids(),
        kind=st.sampled_from(["a", "b"]),
        maybe=st.none() | st.integers(0, 10),
        several=st.lists(st.integers(0, 5), max_size=3).map(tuple),
        days=st.lists(st.dates(), max_size=3).map(tuple),
        by_name=st.dictionaries(texts, st.integers(0, 5), max_size=3),
        moments=st.dictionaries(texts, moments, max_size=3),
    )
)
def test_any_value_survives_the_way_there_and_back(value: Everything) -> None:
    assert from_json(Everything, to_json(value)) == value


def test_a_time_keeps_its_microseconds_and_its_moment() -> None:
    at = datetime(2026, 3, 2, 9, 0, 0, 1, tzinfo=timezone(timedelta(hours=1)))
    again = from_json(attempts.EarnRefused, to_json(replace(examples.EARN_REFUSED, at=at)))
    assert again.at == at


@pytest.mark.parametrize("name", ["Zëss", "日本", "👩‍🍳", 'a "quoted" \\ name', "line\nbreak", "\u2028", "null", ""])
def test_any_name_survives(name: str) -> None:
    branding = replace(examples.BRANDING, name=name)
    assert from_json(program.Branding, to_json(branding)) == branding


def test_a_state_with_both_kinds_of_facts_keeps_them_apart() -> None:
    facts: dict[str, str | int] = {"held": 1, "retry_at": "1"}
    again = from_json(attempts.StampRefused, to_json(replace(examples.STAMP_REFUSED, facts=facts)))
    assert again.facts == facts
