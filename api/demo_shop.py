"""The demo's café: what it is called, what it offers, in which words, and who works there."""

from dataclasses import dataclass
from typing import Any

from api.demo_visits import Scheme
from ledger.ids import derived
from ledger.program import Branding, Reward
from ledger.staff_pin import Role
from ledger.translations import Translations
from ledger.vendor import Profile

CODE = "rousegaertchen-demo"
PROFILE = Profile("Café Rousegäertchen", "LU", "Europe/Luxembourg", "EUR", ("lb", "fr", "de", "en"))

TARGET = 10
RULES: dict[Scheme, dict[str, Any]] = {
    "stamps": {
        "stamps_target": TARGET,
        "stamps_reward_description": "E Kaffi no Wiel",
        "stamps_reward_value_minor": 380,
        "stamps_reward_description_in": Translations(fr="Un café au choix", de="Ein Kaffee nach Wahl"),
    },
    "points": {"rate_points": 1, "rate_minor": 100, "minimum_purchase_minor": 300},
}
BRANDING: dict[Scheme, Branding] = {
    "stamps": Branding(
        "Kaffiskaart",
        "Kaffiskaart",
        "#8c2f39",
        "#f6e7d8",
        card_name_in=Translations(fr="Carte café", de="Kaffeekarte"),
    ),
    "points": Branding(
        "Rousepunkten",
        "Rousepunkten",
        "#2f5d50",
        "#f4c9d6",
        card_name_in=Translations(fr="Points de rose", de="Rosenpunkte"),
    ),
}
REWARDS = [
    Reward(derived("demo reward", "croissant"), "Croissant", 40, 240),
    Reward(
        derived("demo reward", "cake"),
        "Quetschentaart",
        90,
        520,
        Translations(fr="Tarte aux quetsches", de="Zwetschgenkuchen"),
    ),
    Reward(
        derived("demo reward", "brunch"),
        "Brunch fir zwee",
        250,
        4_400,
        Translations(fr="Brunch pour deux", de="Brunch für zwei"),
    ),
]
LOCATION_ID = derived("demo location", CODE)


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    pin: str
    role: Role


STAFF = (Member("Inês", "2846", "staff"), Member("Luc", "7391", "staff"), Member("Josiane", "50283", "manager"))
