"""A pass as a phone gets it: over HTTP, from a real service with throw-away certificates."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZipFile

import httpx2
import orjson
import pytest

from api.doctor import Finding
from api.settings import Settings, SettingsError, read_settings, variable
from api.wallets import apple_wallet_state
from tests.callers import Till, ok, problem
from tests.conftest import SERVER
from tests.databases import database
from tests.service import Service
from wallet_sync.apple_check import faults
from wallet_sync.apple_key_ring import KeyRing
from wallet_sync.apple_pass import MEDIA_TYPE
from wallet_sync.dev_certificates import DevCertificates, make_dev_certificates

CONTACT = "hello@cards.example"
DAY = timedelta(days=1)


def settings_for(made: DevCertificates) -> dict[str, Any]:
    files = made.files
    return {
        "apple_pass_type_id": files.pass_type_id,
        "apple_certificate": files.certificate,
        "apple_key": files.key,
        "apple_wwdr": files.wwdr,
        "apple_contact": CONTACT,
    }


class Scene(NamedTuple):
    service: Service
    made: DevCertificates


@pytest.fixture(scope="module")
def scene(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    made = make_dev_certificates(tmp_path_factory.mktemp("certificates"), now=datetime.now(UTC))
    server = pytestconfig.stash[SERVER]
    with (
        database(server.url, template=server.template) as url,
        Service(url, public_url="https://cards.example", **settings_for(made)) as service,
    ):
        yield Scene(service, made)


@pytest.fixture
def till(scene: Scene) -> Till:
    return scene.service.shop()


def download(scene: Scene, token: str, **headers: str) -> httpx2.Response:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return scene.service.public.send("GET", f"/cards/{token}/apple.pkpass", headers=given)


def opened(response: httpx2.Response) -> dict[str, Any]:
    """pass.json of what was downloaded."""
    assert (response.status_code, response.headers["content-type"]) == (200, MEDIA_TYPE), response.text
    with ZipFile(BytesIO(response.content)) as archive:
        shown: dict[str, Any] = orjson.loads(archive.read("pass.json"))
    return shown


def values(shown: dict[str, Any]) -> dict[str, str]:
    return {field["key"]: field["value"] for group in shown["storeCard"].values() for field in group}


# ------------------------------------------------------------------ getting one


def test_who_joins_is_told_where_the_pass_is_and_gets_it_there(scene: Scene, till: Till) -> None:
    program = till.program(name="Café-Kaart", card_color="#7a1f3d")
    joined = ok(scene.service.public.post(f"/programs/{program['id']}/enrolments", {"name": "Anna", "consent": True}))
    base = "https://cards.example"
    token, link = joined["qr_code_data"], joined["links"]["apple_pass"]
    assert link == f"{base}/api/v1/loyalty/cards/{token}/apple.pkpass"
    shown = opened(scene.service.http.get(link.removeprefix(base)))
    assert (shown["logoText"], shown["backgroundColor"]) == ("Café-Kaart", "rgb(122, 31, 61)")
    assert shown["barcodes"][0]["message"] == token
    assert values(shown)["stamps"] == "0 / 10" and values(shown)["member"] == "Anna"
    assert values(shown)["issuer"] == f"Café Beim Rousegäertchen\nThrow-away\n{CONTACT}"


def test_a_pass_comes_as_a_file_that_nobody_keeps(scene: Scene, till: Till) -> None:
    card = till.card(till.program()["id"])
    answer = download(scene, card["qr_code_data"])
    assert answer.headers["content-disposition"] == 'attachment; filename="card.pkpass"'
    assert answer.headers["cache-control"] == "no-store"
    assert parsedate_to_datetime(answer.headers["last-modified"]) < datetime.now(UTC)
    signer, now = KeyRing(scene.made.files).signer(datetime.now(UTC)), datetime.now(UTC)
    assert faults(answer.content, signer, now) == []


def test_a_stamp_stands_on_the_next_pass_of_the_same_serial_number(scene: Scene, till: Till) -> None:
    card = till.card(till.program()["id"])
    before = opened(download(scene, card["qr_code_data"]))
    ok(till.stamp(card["id"]))
    after = opened(download(scene, card["qr_code_data"]))
    assert values(after)["stamps"] == "1 / 10"
    assert before["serialNumber"] == after["serialNumber"]
    assert card["card_number"] not in after["serialNumber"] and card["id"] not in str(after)


def test_what_has_not_changed_is_not_sent_again(scene: Scene, till: Till) -> None:
    card = till.card(till.program()["id"])
    tag = download(scene, card["qr_code_data"]).headers["etag"]
    again = download(scene, card["qr_code_data"], If_None_Match=tag)
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    ok(till.stamp(card["id"]))
    changed = download(scene, card["qr_code_data"], If_None_Match=tag)
    assert changed.status_code == 200 and changed.headers["etag"] != tag


def test_a_change_of_the_program_or_the_shops_name_is_a_change_of_the_pass(scene: Scene, till: Till) -> None:
    program = till.program()
    card = till.card(program["id"])
    tags = [download(scene, card["qr_code_data"]).headers["etag"]]
    ok(till.patch(f"/programs/{program['id']}", {"card_color": "#004d40"}))
    tags.append(download(scene, card["qr_code_data"]).headers["etag"])
    ok(scene.service.admin.patch(f"/vendors/{till.vendor_id}", {"name": "Café Op der Plaz"}))
    tags.append(download(scene, card["qr_code_data"]).headers["etag"])
    assert len(set(tags)) == 3


@pytest.mark.skipif(any(shutil.which(p) is None for p in ("bash", "curl", "unzip", "openssl")), reason="not installed")
def test_the_guides_look_at_a_pass_is_run_as_it_is_printed(scene: Scene, till: Till, tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs/guides/apple-wallet.md").read_text(encoding="utf-8")
    (printed,) = re.findall(r"^```bash\n(curl .*?)^```$", guide, re.DOTALL | re.MULTILINE)
    typed = printed.replace("http://127.0.0.1:8000", str(scene.service.http.base_url).rstrip("/"))
    (tmp_path / ".data").mkdir()
    (tmp_path / ".data" / "apple").symlink_to(scene.made.root.parent)
    token = till.card(till.program()["id"])["qr_code_data"]
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", typed],
        cwd=tmp_path,
        env={**os.environ, "TOKEN": token},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0 and "Verification successful" in done.stderr, done.stdout + done.stderr


# ------------------------------------------------------------------ cards that cannot be used


@pytest.mark.parametrize("end", ["suspend", "close", "replace"])
def test_a_card_that_cannot_be_used_is_a_voided_pass_of_the_same_serial_number(
    scene: Scene, till: Till, end: str
) -> None:
    card = till.card(till.program()["id"])
    before = opened(download(scene, card["qr_code_data"]))
    ok(till.post(f"/cards/{card['id']}/{end}", {"reason": "Lost"}))
    after = opened(download(scene, card["qr_code_data"]))
    assert after["voided"] is True and "barcodes" not in after and "status" in values(after)
    assert after["serialNumber"] == before["serialNumber"]


def test_a_card_that_is_reinstated_can_be_scanned_again(scene: Scene, till: Till) -> None:
    card = till.card(till.program()["id"])
    ok(till.post(f"/cards/{card['id']}/suspend", {"reason": "Lost"}))
    ok(till.post(f"/cards/{card['id']}/reinstate", {"reason": "Found"}))
    assert "voided" not in opened(download(scene, card["qr_code_data"]))


def test_an_unknown_token_is_no_card_and_a_card_number_is_no_token(scene: Scene, till: Till) -> None:
    problem(download(scene, "A" * 32), 404, "card_not_found")
    number = till.card(till.program()["id"])["card_number"]
    problem(download(scene, number), 422, "validation_failed")


# ------------------------------------------------------------------ kinds of programs


def test_points_and_many_stamps_make_passes_too(scene: Scene, till: Till) -> None:
    points = {"loyalty_type": "points", "stamps_target": None, "stamps_reward_description": None}
    card = till.card(till.program(**points)["id"])
    assert values(opened(download(scene, card["qr_code_data"])))["next"] == "20 · A slice of cake"
    many = till.card(till.program(stamps_target=250)["id"])
    assert values(opened(download(scene, many["qr_code_data"])))["stamps"] == "0 / 250"


# ------------------------------------------------------------------ certificates


def test_without_certificates_there_are_no_passes_and_no_link(database_url: str) -> None:
    with Service(database_url) as service:
        till = service.shop()
        program = till.program()
        joined = ok(service.public.post(f"/programs/{program['id']}/enrolments", {"consent": True}))
        assert joined["links"]["apple_pass"] is None
        answer = service.public.get(f"/cards/{joined['qr_code_data']}/apple.pkpass")
        problem(answer, 404, "apple_wallet_off")
        assert ok(service.admin.get("/system"))["apple_certificate_days_left"] is None


def test_certificates_are_exchanged_while_the_service_runs(database_url: str, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    old = make_dev_certificates(tmp_path / "old", now=now, valid_from=now - 9 * DAY, valid_until=now - DAY)
    new = make_dev_certificates(tmp_path / "new", now=now)
    with Service(database_url, **settings_for(old)) as service:
        till = service.shop()
        path = f"/cards/{till.card(till.program()['id'])['qr_code_data']}/apple.pkpass"
        told = problem(service.public.get(path), 503, "apple_wallet_unavailable")
        assert str(tmp_path) not in str(told)
        assert service.public.get(path).headers["retry-after"] == "600"
        ok(till.stamp(till.card(till.program()["id"])["id"]))  # Tills do not need passes.
        for name in ("key", "wwdr", "certificate"):
            shutil.copy(getattr(new.files, name), getattr(old.files, name))
        assert service.public.get(path).status_code == 200
        assert ok(service.admin.get("/system"))["apple_certificate_days_left"] == 394


# ------------------------------------------------------------------ settings and doctor

Set = Callable[..., Settings]


@pytest.fixture
def set_(monkeypatch: pytest.MonkeyPatch) -> Set:
    for name in Settings.model_fields:
        monkeypatch.delenv(variable(name), raising=False)

    def set_(**values: object) -> Settings:
        for name, value in values.items():
            monkeypatch.setenv(variable(name), str(value))
        return read_settings()

    return set_


def test_the_doctor_says_that_apple_is_off(set_: Set) -> None:
    finding = Finding(*apple_wallet_state(set_()))
    assert finding.is_well and "Apple Wallet is off" in finding.sentence


def test_the_doctor_says_how_many_days_are_left(set_: Set, scene: Scene) -> None:
    finding = Finding(*apple_wallet_state(set_(**settings_for(scene.made))))
    assert finding.is_well and "394 days left" in finding.sentence and "phones refuse" in finding.sentence


def test_the_doctor_asks_for_a_new_certificate_in_time(set_: Set, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    made = make_dev_certificates(tmp_path, now=now, valid_until=now + 20 * DAY)
    finding = Finding(*apple_wallet_state(set_(**settings_for(made))))
    assert not finding.is_well and "days left" in finding.sentence and str(made.files.certificate) in finding.sentence


def test_the_doctor_finds_what_cannot_be_used(set_: Set, tmp_path: Path) -> None:
    made = make_dev_certificates(tmp_path, now=datetime.now(UTC))
    settings = set_(**settings_for(made))
    made.files.key.chmod(0o644)
    assert f"chmod 600 {made.files.key}" in apple_wallet_state(settings)[1]
    made.files.key.unlink()
    is_well, sentence = apple_wallet_state(settings)
    assert not is_well and f"{made.files.key} cannot be read" in sentence


@pytest.mark.parametrize("missing", ["apple_certificate", "apple_key", "apple_wwdr", "apple_pass_type_id"])
def test_settings_that_are_not_complete_name_what_is_missing(set_: Set, scene: Scene, missing: str) -> None:
    given = {name: value for name, value in settings_for(scene.made).items() if name != missing}
    with pytest.raises(SettingsError, match=variable(missing)):
        set_(**given)


def test_a_pass_type_id_begins_with_pass(set_: Set) -> None:
    with pytest.raises(SettingsError, match="begins with pass"):
        set_(apple_pass_type_id="com.example.loyalty")
