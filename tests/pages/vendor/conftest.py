"""A vendor's shop, and one in which something happened."""

import pytest

from tests.callers import Till, ok
from tests.pages.vendor.desk import BusyShop
from tests.service import Service


@pytest.fixture
def shop(service: Service) -> Till:
    return service.shop(name="Café Zopf")


@pytest.fixture
def busy_shop(service: Service, shop: Till) -> BusyShop:
    """A shop with a program, somebody who works there, and a card on which something happened."""
    program = shop.program()
    shop.pin(name="Marie")
    card = shop.card(program["id"], name="Anna Weber", email="anna@example.lu")
    for count in (3, 2):
        for _ in range(count):
            ok(shop.stamp(card["id"]))
    service.catch_up()
    return shop, program, card
