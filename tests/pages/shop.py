"""What the tests of customers' pages begin with: a shop, its program, and cards."""

import re
from dataclasses import dataclass
from typing import Any

import httpx2

from tests.callers import Till, ok
from tests.service import Service

FORM = re.compile(r'name="form" value="([^"]+)"')
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@dataclass(frozen=True)
class Shop:
    service: Service
    till: Till
    program: dict[str, Any]

    @property
    def poster(self) -> str:
        """What the QR code of the poster leads to."""
        return f"/j/{self.program['id']}"

    def card(self, **customer: Any) -> dict[str, Any]:
        return self.till.card(self.program["id"], **customer)

    def page_of(self, card: dict[str, Any]) -> str:
        return f"/c/{card['qr_code_data']}"

    def cards(self) -> list[dict[str, Any]]:
        self.service.catch_up()
        return self.service.rows(
            "SELECT card_number, qr_code_data, language, status FROM loyalty_cards WHERE program_id = %s",
            self.program["id"],
        )

    def form(self) -> str:
        """The mark of a form that was just handed out."""
        found = FORM.search(self.service.http.get(self.poster, headers=BROWSER).text)
        assert found is not None
        return found[1]

    def join(self, form: str, **fields: str) -> httpx2.Response:
        return self.service.http.post(self.poster, data={"form": form, "consent": "yes", **fields}, headers=BROWSER)


def shop(service: Service, **program: Any) -> Shop:
    till = service.shop()
    given = {"loyalty_type": "stamps", "earn_rate": None, "points_rewards": None, "card_color": "#8c2f39", **program}
    return Shop(service, till, till.program(**given))


def stamp(shop: Shop, card: dict[str, Any], times: int = 1) -> None:
    for _ in range(times):
        ok(shop.till.stamp(card["id"]))
