"""Ids: derived where a retry must find the same one, random where nobody may guess."""

from uuid import UUID

import pytest
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st

from ledger.ids import (
    attempts_id,
    command_id,
    derived,
    is_card_number,
    looks_like_card_number,
    luhn_digit,
    new_card_number,
    new_id,
    new_qr_token,
)
from tests.examples import CARD_ID, ENROLLED, PROGRAM_ID, VENDOR_ID


@pytest.mark.parametrize(
    ("body", "digit"), [("7992739871", "3"), ("411111111111111", "1"), ("37828224631000", "5"), ("0", "0")]
)
def test_the_check_digit_is_the_one_of_the_published_examples(body: str, digit: str) -> None:
    assert luhn_digit(body) == digit


@hypothesis_given(
    body=st.text("0123456789", min_size=11, max_size=11), place=st.integers(0, 11), digit=st.integers(1, 9)
)
def test_one_wrong_digit_is_always_noticed(body: str, place: int, digit: int) -> None:
    number = body + luhn_digit(body)
    assert is_card_number(number)
    wrong = number[:place] + str((int(number[place]) + digit) % 10) + number[place + 1 :]
    assert not is_card_number(wrong)


@hypothesis_given(body=st.text("0123456789", min_size=11, max_size=11), place=st.integers(0, 10))
def test_two_swapped_digits_are_noticed_except_nought_and_nine(body: str, place: int) -> None:
    number = body + luhn_digit(body)
    swapped = number[:place] + number[place + 1] + number[place] + number[place + 2 :]
    pair = {number[place], number[place + 1]}
    assert is_card_number(swapped) == (len(pair) == 1 or pair == {"0", "9"})


def test_new_card_numbers_are_twelve_digits_that_check() -> None:
    numbers = {new_card_number() for _ in range(1000)}
    assert len(numbers) >= 999
    assert all(is_card_number(number) and number[0] != "0" for number in numbers)


@pytest.mark.parametrize(
    "text", ["", "40000000000", "4000000000002", "400000000003", "40000000000a", " 40000000000", "٤٠٠٠٠٠٠٠٠٠٠٢"]
)
def test_what_is_no_card_number_is_not_taken_for_one(text: str) -> None:
    assert is_card_number(ENROLLED.number)
    assert not is_card_number(text)


def test_a_mistyped_card_number_is_still_looked_up_as_a_number() -> None:
    assert looks_like_card_number("400000000003")
    assert not looks_like_card_number("٤٠٠٠٠٠٠٠٠٠٠٢") and not looks_like_card_number("4000000000")


def test_the_same_names_give_the_same_id_for_ever() -> None:
    assert derived("card", 1) == UUID("eb70ef6d-6373-577a-a2fa-bc3217d825d7")
    assert command_id(VENDOR_ID, "abc") == UUID("9a1ac144-b64e-581a-ab18-bf9080b1050d")
    assert attempts_id(CARD_ID) == UUID("3c63f66c-5f42-57b3-9420-6164ae25d590")


def test_other_names_give_another_id() -> None:
    ids = {
        command_id(VENDOR_ID, "abc"),
        command_id(VENDOR_ID, "ab"),
        command_id(PROGRAM_ID, "abc"),
        derived("ab", "c"),
        derived("a", "bc"),
        derived("abc"),
    }
    assert len(ids) == 6


def test_new_ids_grow_with_time() -> None:
    ids = [new_id() for _ in range(100)]
    assert ids == sorted(ids) and {id_.version for id_ in ids} == {7}


def test_qr_tokens_are_long_and_fit_a_url() -> None:
    tokens = {new_qr_token() for _ in range(1000)}
    assert len(tokens) == 1000
    assert all(len(token) == 32 and token.replace("-", "").replace("_", "").isalnum() for token in tokens)


def test_a_qr_token_is_never_taken_for_a_card_number() -> None:
    assert not any(is_card_number(new_qr_token()) for _ in range(1000))
