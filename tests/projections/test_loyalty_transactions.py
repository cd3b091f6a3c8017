"""A row of loyalty_transactions has each fact in its column."""

from typing import Any
from uuid import uuid4

from msgspec.structs import asdict, fields, replace

from ledger import card
from ledger.stream import NAME_OF, Recorded
from projections.fold import Fold
from projections.loyalty_cards import LOYALTY_CARDS
from projections.loyalty_transactions import LOYALTY_TRANSACTIONS
from tests.examples import DAY, EVENTS, MONDAY, STREAM_IDS, envelope, stream_type_of
from tests.projections.stories import MASTER_KEY


def test_each_fact_of_a_cards_event_stands_in_its_column() -> None:
    """Rows are made by position: whatever an event or its envelope calls by a column's name must stand there."""
    fold, card_id = Fold(MASTER_KEY), STREAM_IDS["card"]
    events = [event for event in EVENTS if stream_type_of(event) == "card"]
    for version, event in enumerate(events, 1):
        around = replace(envelope("card"), occurred_at=MONDAY + DAY, recorded_at=MONDAY, causation_id=uuid4())
        fold.apply(Recorded(card_id, version, 40 + version, NAME_OF[type(event)], event, around, "", ""))
        (row,) = map(asdict, fold.take_added(LOYALTY_TRANSACTIONS))
        after = fold.kept[LOYALTY_CARDS.name][card_id].state
        named = {f.name: getattr(of, f.name) for of in (event, around) for f in fields(of) if f.name in row}
        assert named.items() <= row.items()
        beside = {
            "card_id": card_id,
            "actor_type": around.actor.type,
            "actor_id": around.actor.id,
            "authenticated_by": around.actor.authenticated_by,
            "transaction_type": card.entry_type(event),
            "event_name": NAME_OF[type(event)],
            "stamps_balance_after": after.stamps,
            "points_balance_after": after.points,
            "status_after": after.status,
            "position": 40 + version,
            "card_version": version,
        }
        assert beside.items() <= row.items()
        told = {*named, *beside, "id", "stamps_delta", "points_delta"}
        assert {name: row[name] for name in row.keys() - told if row[name] is not None} == only_told_here(event)
    assert len(set(map(type, events))) == 15


def only_told_here(event: Any) -> dict[str, Any]:
    """Columns that the event calls something else."""
    match event:
        case card.PointsEarned():
            return {"net_amount_minor": event.purchase_amount_minor - event.paid_with_reward_minor}
        case card.EarnReversed():
            return {"refund_amount_minor": event.amount_minor}
        case card.CardReplaced():
            return {"related_card_id": event.replaced_by}
        case card.CardEnrolled() if event.replaces is not None:
            return {"related_card_id": event.replaces}
        case _:
            return {}
