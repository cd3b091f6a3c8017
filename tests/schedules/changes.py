"""What happens in a schedule's shop: two cards of one program, and everything that may change what they show."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from ledger.commands import Ledger
from ledger.commands.references import CardReference
from ledger.errors import Refused
from tests.ledgers import Shop

TARGET = 3
CHANGES = ("stamp", "buy", "redeem", "suspend or reinstate", "rename program", "rename shop")


@dataclass
class Changes:
    """After each change, `note` is told of every card that may show another state."""

    shop: Shop
    cards: list[UUID]
    note: Callable[[UUID], Awaitable[None]]
    names: int = 0

    @classmethod
    async def opened(cls, ledger: Ledger, note: Callable[[UUID], Awaitable[None]]) -> "Changes":
        shop = await Shop.opened(ledger, stamps_target=TARGET)
        return cls(shop, [await shop.card() for _ in range(2)], note)

    async def make(self, what: str, card: UUID, number: int) -> None:
        """Where it is refused, nothing has changed."""
        shop, reference = self.shop, CardReference(str(card))
        try:
            match what:
                case "stamp":
                    await shop.stamp(card)
                case "buy":
                    await self._buy(reference, number * 100)
                case "redeem":
                    await shop.redeem(card)
                case "suspend or reinstate":
                    found = await shop.read(card)
                    life: Callable[..., Any] = shop.ledger.cards.reinstate
                    if found["status"] == "active":
                        life = shop.ledger.cards.suspend
                    await life(reference, reason="?", caller=shop.caller)
                case "rename program":
                    await self._rename_program()
                case "rename shop":
                    self.names += 1
                    name = f"Café {self.names}"
                    await shop.ledger.vendors.update(
                        shop.caller.vendor_id, lambda p: replace(p, name=name), is_active=None, caller=shop.caller
                    )
        except Refused:
            return
        for shown_on in self.cards if what.startswith("rename") else [card]:
            await self.note(shown_on)

    async def _buy(self, reference: CardReference, amount_minor: int) -> None:
        await self.shop.ledger.till.earn(
            reference,
            purchase_amount_minor=amount_minor,
            paid_with_reward_minor=0,
            currency="EUR",
            asked=self.shop.asked(),
        )

    async def _rename_program(self) -> None:
        self.names += 1
        name = f"Card {self.names}"
        await self.shop.ledger.programs.change(
            self.shop.program_id,
            lambda program, _: (None, replace(program.branding, card_name=name), None),
            caller=self.shop.caller,
        )


def place(history: list[dict[str, Any]], told: dict[str, Any], least: int) -> int:
    """Which of the states, oldest first, was told: the first that is no older than `least`."""
    for at in range(least, len(history)):
        if history[at] == told:
            return at
    raise AssertionError(f"an older state after a newer one, or one that never was: {told}, after {history[least]}")
