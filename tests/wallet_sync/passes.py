"""Cards and programs as the ledger tells them, and passes of them."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from api.wallets import pass_texts
from wallet_sync.apple_certificates import Signer
from wallet_sync.apple_pass import Rendered, render, serial_number
from wallet_sync.pass_content import PassContent, pass_content

NOW = datetime.now(UTC)  # Of certificates: signatures are made by the machine's own clock, and looked at `now()`.
CARD_ID = UUID("0195a1b0-0000-7000-8000-0000000000c1")
SECRET = bytes(range(32))
SERIAL = serial_number(SECRET, CARD_ID)
TEXTS = pass_texts()
TOKEN = "zgc2uCDrnA-Cy0Oof_GoBYZ_4CZjjGRO"
CAKE = {"name": "A slice of cake", "points_cost": 20, "translations": {}}
BEANS = {"name": "A bag of beans", "points_cost": 500, "translations": {}}


def now() -> datetime:
    return datetime.now(UTC)


def card(**given: Any) -> dict[str, Any]:
    return {
        "id": CARD_ID,
        "status": "active",
        "customer": {"name": "Anna", "email": "anna@example.com", "phone": None},
        "card_number": "927826510269",
        "qr_code_data": TOKEN,
        "stamp_count": 7,
        "stamps_target": 10,
        "points_balance": 0,
        "rewards_available": 0,
        **given,
    }


def program(**given: Any) -> dict[str, Any]:
    return {
        "loyalty_type": "stamps",
        "name": "Coffee card",
        "card_name": None,
        "card_color": "#6f4e37",
        "card_secondary_color": "#f2c879",
        "stamps_reward_description": "A coffee of your choice",
        "points_rewards": [],
        "terms_text": None,
        "privacy_url": None,
        "translations": {},
        **given,
    }


def points_program(**given: Any) -> dict[str, Any]:
    offers = {"loyalty_type": "points", "stamps_reward_description": None, "points_rewards": [BEANS, CAKE]}
    return program(**{**offers, **given})


TRANSLATED = program(
    card_name="Kaffiskaart",
    stamps_reward_description="E Kaffi no Wiel",
    terms_text="Eng pro Besuch.\nKee Boergeld.",
    loyalty_type="hybrid",
    points_rewards=[{**CAKE, "translations": {"fr": {"name": "Une part de gâteau"}}}, BEANS],
    translations={
        "fr": {
            "card_name": "Carte café",
            "stamps_reward_description": "Un café au choix",
            "terms_text": "Une par visite.\nPas d’espèces.",
        },
        "de": {"stamps_reward_description": "Ein Kaffee nach Wahl"},
        "en": {"card_name": "Coffee card"},
    },
)
"""A hybrid program of a Luxembourgish shop, with something in every language."""


def content(card_: dict[str, Any] | None = None, program_: dict[str, Any] | None = None) -> PassContent:
    return pass_content(
        card_ or card(), program_ or program(), TEXTS, merchant="Café Beim Rousegäertchen", issuer="hello@cafe.example"
    )


def rendered(signer: Signer, card_: dict[str, Any] | None = None, program_: dict[str, Any] | None = None) -> Rendered:
    return render(content(card_, program_), serial=SERIAL, signer=signer)
