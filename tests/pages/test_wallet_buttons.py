"""The way into a phone's wallet: the own phone's first, plain or with the official badge, where it leads somewhere."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.api.test_google_wallet import google_settings
from tests.api.test_passes import settings_for
from tests.callers import ok
from tests.conftest import SERVER
from tests.databases import database
from tests.fake_google import FakeGoogle
from tests.pages.shop import BROWSER, Shop, shop
from tests.service import Service
from wallet_sync.dev_certificates import make_dev_certificates

IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1"
ANDROID = "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Chrome/140.0.0.0 Mobile Safari/537.36"
BADGE = '<svg xmlns="http://www.w3.org/2000/svg" width="120" height="40"/>'


class Scene(NamedTuple):
    cafe: Shop
    badges: Path


@pytest.fixture(scope="module")
def scene(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("wallets")
    badges = folder / "badges"
    badges.mkdir()
    (badges / "apple-fr.svg").write_text(BADGE)
    (badges / "something-else.svg").write_text("not a badge")
    made = make_dev_certificates(folder, now=datetime.now(UTC))
    server = pytestconfig.stash[SERVER]
    with (
        FakeGoogle() as google,
        database(server.url, template=server.template) as url,
        Service(
            url,
            public_url="https://cards.example",
            badges_dir=badges,
            **settings_for(made),
            **google_settings(google, folder),
        ) as service,
    ):
        yield Scene(shop(service), badges)


def told(scene: Scene, card: dict[str, str], agent: str, language: str = "en") -> str:
    headers = {**BROWSER, "User-Agent": agent, "Cookie": f"language={language}"}
    return scene.cafe.service.http.get(scene.cafe.page_of(card), headers=headers).text


@pytest.mark.parametrize(("agent", "first", "second"), [(IPHONE, "apple", "google"), (ANDROID, "google", "apple")])
def test_the_own_phone_s_wallet_comes_first(scene: Scene, agent: str, first: str, second: str) -> None:
    card = scene.cafe.card()
    page = told(scene, card, agent)
    addresses = {
        "apple": f'href="/api/v1/loyalty/cards/{card["qr_code_data"]}/apple.pkpass"',
        "google": f'href="/api/v1/loyalty/cards/{card["qr_code_data"]}/google"',
    }
    assert 0 < page.index(addresses[first]) < page.index(addresses[second])


def test_the_official_badge_is_shown_in_the_languages_there_is_one_for(scene: Scene) -> None:
    card = scene.cafe.card()
    french, german = told(scene, card, IPHONE, "fr"), told(scene, card, IPHONE, "de")
    address = french.partition('src="/badges/')[2].partition('"')[0]
    badge = scene.cafe.service.http.get(f"/badges/{address}")
    assert (badge.text, badge.headers["content-type"]) == (BADGE, "image/svg+xml")
    assert 'alt="Ajouter à Apple Wallet"' in french and "/badges/" not in german


@pytest.mark.parametrize("name", ["something-else.svg", "..%2fpass.key", "apple-de.svg"])
def test_nothing_but_badges_is_served_from_their_folder(scene: Scene, name: str) -> None:
    assert scene.cafe.service.http.get(f"/badges/{name}").status_code == 404


def test_a_card_that_cannot_be_used_has_no_way_into_a_wallet(scene: Scene) -> None:
    card = scene.cafe.card()
    ok(scene.cafe.till.post(f"/cards/{card['id']}/suspend", {"reason": "Found on the street"}))
    assert "apple.pkpass" not in told(scene, card, IPHONE)


def test_without_wallets_there_are_no_buttons(service: Service) -> None:
    cafe = shop(service)
    page = service.http.get(cafe.page_of(cafe.card()), headers={**BROWSER, "User-Agent": IPHONE}).text
    assert "apple.pkpass" not in page and "Google" not in page
