"""A card's life: enrolled, suspended, lost and replaced, closed."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from ledger import card as cards
from ledger import card_life
from ledger.card import CardClosed, CardReinstated, CardReplaced, CardSuspended, UnitsForfeited
from ledger.errors import CardIsClosed, CardIsErased, CardIsNotSuspended, CardIsReplaced, CardIsSuspended, Refused
from ledger.personal import Secret
from tests.examples import (
    CARD_CLOSED,
    CARD_ERASED,
    CARD_ID,
    CARD_REINSTATED,
    CARD_REPLACED,
    CARD_SUSPENDED,
    CUSTOMER_ID,
    DETAILS_CHANGED,
    EARNED,
    ENROLLED,
    ENTRY_ID,
    FORFEITED,
    HOUR,
    MINUTE,
    MONDAY,
    NEW_CARD_ID,
    REWARD_ID,
    STAMPED,
    hybrid_program,
    sealed,
    stamp_program,
)
from tests.given import Till, fold, given, refused


def test_a_new_card_is_active_and_empty() -> None:
    card = fold([ENROLLED])
    assert (card.status, card.stamps, card.points) == ("active", 0, 0)
    assert (card.customer_id, card.enrolled_at, card.last_at) == (CUSTOMER_ID, MONDAY, MONDAY)


def test_a_stolen_card_is_suspended_and_found_again() -> None:
    card = given(ENROLLED).when(card_life.suspend, reason="reported as stolen", now=MONDAY).then(CARD_SUSPENDED)
    assert card.status == "suspended"
    card = (
        given(ENROLLED, CARD_SUSPENDED)
        .when(card_life.reinstate, reason="found again", now=MONDAY)
        .then(CARD_REINSTATED)
    )
    assert card.status == "active"


def test_a_suspended_card_cannot_be_suspended_nor_an_active_one_reinstated() -> None:
    given(ENROLLED, CARD_SUSPENDED).when(card_life.suspend, reason="again", now=MONDAY).refused(CardIsSuspended)
    given(ENROLLED).when(card_life.reinstate, reason="why", now=MONDAY).refused(CardIsNotSuspended)


def test_closing_a_card_says_what_is_forfeited() -> None:
    card = (
        given(ENROLLED, STAMPED, replace(EARNED, stamps_after=1))
        .when(card_life.close, entry_id=ENTRY_ID, reason="moved away", now=MONDAY)
        .then(FORFEITED, CARD_CLOSED)
    )
    assert (card.status, card.stamps, card.points) == ("closed", 0, 0)


def test_closing_an_empty_card_forfeits_nothing() -> None:
    given(ENROLLED).when(card_life.close, entry_id=ENTRY_ID, reason="moved away", now=MONDAY).then(CARD_CLOSED)


def test_closing_a_card_in_debt_forgives_the_debt_by_an_event() -> None:
    till = Till(hybrid_program())
    earned = till.earn(MONDAY, 500)
    till.redeem(MONDAY, REWARD_ID)
    till.take_back(MONDAY, earned)
    events = card_life.close(till.card, entry_id=ENTRY_ID, reason="moved away", now=MONDAY)
    assert events == [UnitsForfeited(MONDAY, ENTRY_ID, 0, -50), CardClosed(MONDAY, "moved away")]
    assert fold(events, till.card).points == 0


def test_a_suspended_card_can_be_closed() -> None:
    given(ENROLLED, CARD_SUSPENDED).when(card_life.close, entry_id=ENTRY_ID, reason="fraud", now=MONDAY).then(
        CardClosed(MONDAY, "fraud")
    )


# ------------------------------------------------------------------ lost cards


def test_everything_on_a_lost_card_moves_to_its_replacement() -> None:
    till = Till(hybrid_program(max_stamps_per_scan=5))
    till.adjust(MONDAY, points=100)
    first = till.earn(MONDAY, 1000)
    till.stamp(MONDAY, 5)
    till.adjust(MONDAY, stamps=7)
    till.redeem(MONDAY)
    till.redeem(MONDAY, REWARD_ID)
    till.take_back(MONDAY, first, 100)
    before = till.card
    assert (before.last_points_at, before.last_redemption_at) == (MONDAY, MONDAY)
    assert till.lose(MONDAY + HOUR) == CardReplaced(
        MONDAY + HOUR, "lost", NEW_CARD_ID, stamps_moved=2, points_moved=140
    )
    moved = {
        name: getattr(before, name)
        for name in (
            "customer_id",
            "language",
            "cycle_version",
            "stamps",
            "points",
            "total_stamps_earned",
            "rewards_redeemed",
            "total_points_earned",
            "points_redeemed",
            "recent_stamps",
            "reversed",
            "last_points_at",
            "last_redemption_at",
            "name",
            "email",
            "phone",
        )
    }
    assert {name: getattr(till.card, name) for name in moved} == moved
    assert till.card.number != before.number


def test_the_lost_card_is_empty_and_names_its_replacement() -> None:
    card = fold([ENROLLED, STAMPED, CARD_REPLACED])
    assert (card.status, card.stamps, card.points, card.replaced_by) == ("replaced", 0, 0, NEW_CARD_ID)


def test_the_replacement_names_the_lost_card() -> None:
    till = Till(stamp_program())
    till.lose(MONDAY)
    enrolled = till.events[0]
    assert isinstance(enrolled, cards.CardEnrolled)
    assert (enrolled.replaces, enrolled.number) == (CARD_ID, "400000000010")


def test_losing_a_card_resets_neither_cooldown_nor_daily_limit() -> None:
    till = Till(stamp_program())
    for visit in range(4):
        till.stamp(MONDAY + visit * HOUR)
    till.lose(MONDAY + 3 * HOUR + MINUTE)
    assert till.standing(MONDAY + 4 * HOUR).remaining_stamps_today == 1
    assert till.standing(MONDAY + 3 * HOUR + MINUTE).next_stamp_at == MONDAY + 3 * HOUR + 15 * MINUTE


def test_losing_a_suspended_card_does_not_free_it() -> None:
    till = Till(stamp_program())
    till.record([CARD_SUSPENDED])
    till.lose(MONDAY)
    assert till.card.status == "suspended"
    assert till.events[-1] == CardSuspended(MONDAY, "lost")
    till.record([CardReinstated(MONDAY, "it was the owner")])
    till.stamp(MONDAY)


def test_a_customers_consent_is_not_lost_with_the_card() -> None:
    till = Till(stamp_program())
    till.lose(MONDAY)
    enrolled = till.events[0]
    assert isinstance(enrolled, cards.CardEnrolled) and enrolled.has_consented


# ------------------------------------------------------------------ the person, and the code


def test_a_customers_details_are_replaced_as_a_whole() -> None:
    card = (
        given(ENROLLED)
        .when(card_life.change_details, language="fr", name=sealed("name", 2), email=None, phone=None, now=MONDAY)
        .then(DETAILS_CHANGED)
    )
    assert (card.language, card.name, card.email, card.phone) == ("fr", sealed("name", 2), None, None)
    nobody = {"language": "fr", "name": None, "email": None, "phone": None}
    closed = fold([ENROLLED, CARD_CLOSED])
    assert card_life.change_details(closed, **nobody, now=MONDAY) != []  # It still says whose it was.
    with refused(CardIsErased):
        card_life.change_details(replace(closed, status="erased"), **nobody, now=MONDAY)


def test_a_secret_never_shows_in_what_is_printed() -> None:
    card = fold([replace(ENROLLED, name=Secret("Lena Weber"), qr_token=Secret("a-bearer-token"))])
    assert "Lena" not in repr(card) and "a-bearer-token" not in repr(card)


ENDS: list[tuple[cards.Status, type[Refused]]] = [
    ("closed", CardIsClosed),
    ("replaced", CardIsReplaced),
    ("erased", CardIsErased),
]
DECISIONS: list[tuple[Callable[..., object], dict[str, Any]]] = [
    (card_life.suspend, {"reason": "x"}),
    (card_life.reinstate, {"reason": "x"}),
    (card_life.close, {"reason": "x", "entry_id": ENTRY_ID}),
    (
        card_life.replace_lost,
        {
            "new_card": NEW_CARD_ID,
            "number": "400000000010",
            "qr_token": sealed("qr_token"),
            "old_card": CARD_ID,
            "reason": "x",
        },
    ),
]


@pytest.mark.parametrize(("status", "error"), ENDS, ids=[status for status, _ in ENDS])
@pytest.mark.parametrize(("decision", "asked"), DECISIONS, ids=[decision.__name__ for decision, _ in DECISIONS])
def test_nothing_happens_to_a_card_that_has_ended(
    status: cards.Status, error: type[Refused], decision: Callable[..., object], asked: dict[str, Any]
) -> None:
    with refused(error):
        decision(replace(fold([ENROLLED]), status=status), **asked, now=MONDAY)


@pytest.mark.parametrize("ended", [[], [CARD_SUSPENDED], [CARD_REPLACED], [FORFEITED, CARD_CLOSED]])
def test_an_erased_card_keeps_what_it_counts_and_loses_its_holder(ended: list[Any]) -> None:
    before = fold([ENROLLED, STAMPED, EARNED, *ended])
    card = given(ENROLLED, STAMPED, EARNED, *ended).when(card_life.erase, now=MONDAY).then(CARD_ERASED)
    assert card == replace(before, status="erased", name=None, email=None, phone=None, qr_token=cards.NOTHING)


def test_a_card_is_erased_once() -> None:
    given(ENROLLED, CARD_ERASED).when(card_life.erase, now=MONDAY + HOUR).then()
