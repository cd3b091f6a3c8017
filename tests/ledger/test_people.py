"""Forgetting somebody at the very moment when something else happens to them: whoever comes later finds nobody."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from ledger.commands import Ledger
from ledger.commands.caller import just_this
from ledger.commands.cards import Customer
from ledger.decision import Stream
from ledger.errors import CardIsBusy, CardIsErased, CardNotFound, CustomerIsErased, CustomerNotFound
from projections.check import check
from projections.read_model import Projector
from tests.ledgers import MASTER_KEY, Shop, facts, rows, running_ledger

PASS = {"pass_type_id": "pass.example.zess", "serial_number": "zess-1"}
AT_GOOGLE = {"class_id": "3388.live.prog.1", "object_id": "3388.live.card.1"}
EMAIL = "lena@zess.example"


def told(url: str, story: Callable[[Shop], Awaitable[None]]) -> None:
    async def run() -> None:
        async with running_ledger(url) as ledger:
            await story(await Shop.opened(ledger))

    asyncio.run(run())
    Projector(url, MASTER_KEY).catch_up()
    assert check(url, MASTER_KEY) == []


async def erase(shop: Shop, customer_id: UUID) -> dict[str, Any]:
    return facts(await shop.ledger.people.erase(customer_id, reason="asked", caller=shop.caller, once=just_this()))


def in_between(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, name: str, what: Callable[[], Awaitable[Any]]) -> None:
    """Let something happen once, after the reader answered and before whoever asked goes on."""
    read, is_due = getattr(ledger.reader, name), [True]

    async def read_and_then(*asked: Any, **more: Any) -> Any:
        answer = await read(*asked, **more)
        if is_due.pop() if is_due else False:
            await what()
        return answer

    monkeypatch.setattr(ledger.reader, name, read_and_then)


def test_a_phone_that_registers_while_its_holder_is_forgotten_is_a_stranger(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(shop: Shop) -> None:
        customer = uuid4()
        card = await shop.card(id=customer)
        await shop.ledger.passes.issue_apple(card, **PASS, caller=shop.caller)
        found = await shop.ledger.passes.find_apple(**PASS)
        assert isinstance(found, Stream)
        in_between(shop.ledger, monkeypatch, "subject_key", lambda: erase(shop, customer))
        with pytest.raises(CardIsErased):
            await shop.ledger.passes.register(found, device="phone", push_token="ab", caller=shop.caller)

    told(database_url, story)
    assert rows(database_url, "SELECT * FROM stored_events WHERE topic = 'apple-device-registered'") == []


def test_a_pass_is_not_given_out_while_its_holder_is_forgotten(database_url: str) -> None:
    async def story(shop: Shop) -> None:
        customer = uuid4()
        card = await shop.card(id=customer)
        await erase(shop, customer)
        with pytest.raises(CardIsErased):
            await shop.ledger.passes.issue_apple(card, **PASS, caller=shop.caller)
        with pytest.raises(CardIsErased):
            await shop.ledger.passes.create_at_google(card, **AT_GOOGLE, caller=shop.caller)

    told(database_url, story)
    assert rows(database_url, "SELECT * FROM streams WHERE stream_type = 'wallet_pass'") == []


def test_whoever_is_enrolled_while_they_are_forgotten_is_somebody_new_when_asked_again(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(shop: Shop) -> None:
        customer = uuid4()
        await shop.card(id=customer, email=EMAIL)
        ledger, again = shop.ledger, Customer(email=EMAIL)
        in_between(ledger, monkeypatch, "subject_key_or_new", lambda: erase(shop, customer))
        with pytest.raises(CardIsBusy):
            await ledger.cards.enrol(shop.program_id, again, caller=shop.caller)
        card = facts(await ledger.cards.enrol(shop.program_id, again, caller=shop.caller))
        assert card["created"] and card["customer_id"] != str(customer)
        with pytest.raises(CustomerIsErased):
            await erase(shop, customer)

    told(database_url, story)


def test_cards_that_no_table_knows_yet_are_erased_too(database_url: str) -> None:
    """Nothing is projected in this test until it is over."""

    async def story(shop: Shop) -> None:
        customer, other = uuid4(), uuid4()
        cards = [await shop.card(id=customer), await shop.card(id=other)]
        assert (await erase(shop, customer))["cards"] == [str(cards[0])]
        assert [(await shop.read(card))["status"] for card in cards] == ["erased", "active"]
        with pytest.raises(CustomerNotFound):
            await erase(shop, uuid4())

    told(database_url, story)


def test_the_same_customer_of_another_vendor_is_somebody_else(database_url: str) -> None:
    async def story(shop: Shop) -> None:
        customer, other = uuid4(), await Shop.opened(shop.ledger)
        card, theirs = await shop.card(id=customer, email=EMAIL), await other.card(id=customer, email=EMAIL)
        assert (await erase(other, customer))["cards"] == [str(theirs)]
        assert (await shop.read(card))["customer"]["email"] == EMAIL
        with pytest.raises(CardNotFound):
            await shop.read(theirs)

    told(database_url, story)


def test_a_stamp_waits_for_an_erasure_and_comes_too_late(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(shop: Shop) -> None:
        customer = uuid4()
        card, people = await shop.card(id=customer), shop.ledger.people
        stamps: list[asyncio.Task[Any]] = []
        read = people._read

        async def read_and_be_slow(*asked: Any) -> Any:
            seen = await read(*asked)
            stamps.append(asyncio.create_task(shop.stamp(card)))
            await asyncio.sleep(0.2)
            return seen

        monkeypatch.setattr(people, "_read", read_and_be_slow)
        await erase(shop, customer)
        with pytest.raises(CardIsErased):
            await stamps[0]

    told(database_url, story)
