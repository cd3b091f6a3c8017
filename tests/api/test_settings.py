"""How the service is set up, and what keeps it from starting."""

import base64
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from api.key_files import load_keys
from api.settings import PREFIX, Settings, SettingsError, read_settings, settings_table, variable

MASTER_KEY = base64.b64encode(bytes(range(32))).decode()
ADMIN_KEY = "an-admin-key-of-more-than-32-characters"
URL = "postgresql://loyalty@db.example/loyalty"


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(variable(name), raising=False)


@pytest.fixture
def embedded(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


def test_without_any_setting_it_runs_embedded_on_this_machine() -> None:
    settings = read_settings()
    assert settings.is_embedded
    assert (settings.host, settings.port, str(settings.data_dir)) == ("127.0.0.1", 8000, ".data")


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"DATABASE_URL": URL, "PORT": "9000", "DEMO": "1", "PUBLIC_URL": "https://a.example/"}.items():
        monkeypatch.setenv(PREFIX + name, value)
    settings = read_settings()
    assert not settings.is_embedded
    assert (settings.port, settings.demo, settings.public_url) == (9000, True, "https://a.example")


def test_unless_it_is_said_otherwise_links_lead_to_the_port_it_listens_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings(port=0).public_url == read_settings().public_url == "http://127.0.0.1:8000"
    monkeypatch.setenv("LOYALTY_PORT", "9000")
    assert read_settings().public_url == "http://127.0.0.1:9000"


def test_an_empty_setting_is_an_absent_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOYALTY_DATABASE_URL", "")
    assert read_settings().is_embedded


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ADMIN_KEY", "secret-but-short"),
        ("ADMIN_KEY", "secret with spaces in it, and quite long"),
        ("MASTER_KEY", "c2VjcmV0"),
        ("MASTER_KEY", "not secret base64 at all!"),
        ("DATABASE_URL", "mysql://secret@db"),
        ("PORT", "secret"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(SettingsError, match=PREFIX + name) as caught:
        read_settings()
    assert value not in str(caught.value)


def test_secrets_are_not_shown() -> None:
    settings = Settings(admin_key=ADMIN_KEY, master_key=MASTER_KEY, database_url=URL)
    shown = repr(settings) + repr(load_keys(settings))
    assert ADMIN_KEY not in shown and MASTER_KEY not in shown and "db.example" not in shown


def test_keys_are_made_once_and_only_their_owner_can_read_them(embedded: Settings) -> None:
    first, second = load_keys(embedded), load_keys(embedded)
    assert (first.admin_key, first.master_key) == (second.admin_key, second.master_key)
    assert len(first.admin_key) >= 32
    for file in (embedded.data_dir / "keys").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((embedded.data_dir / "keys").stat().st_mode) == 0o700


def test_processes_that_start_at_once_agree_on_the_keys(embedded: Settings) -> None:
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: load_keys(embedded), range(64)))
    assert len({keys.admin_key for keys in found}) == 1
    assert len({keys.master_key.key for keys in found}) == 1
    assert sorted(file.name for file in (embedded.data_dir / "keys").iterdir()) == ["admin_key", "master_key"]


def test_a_key_file_that_others_could_read_is_closed(embedded: Settings) -> None:
    load_keys(embedded)
    file = embedded.data_dir / "keys" / "master_key"
    file.chmod(0o644)
    load_keys(embedded)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_database_of_ones_own_without_a_master_key_is_no_start(tmp_path: Path) -> None:
    settings = Settings(database_url=URL, data_dir=tmp_path)
    with pytest.raises(SettingsError, match=r"LOYALTY_MASTER_KEY.*openssl rand"):
        load_keys(settings)


def test_keys_that_are_set_are_used_and_not_kept(tmp_path: Path) -> None:
    settings = Settings(admin_key=ADMIN_KEY, master_key=MASTER_KEY, data_dir=tmp_path)
    keys = load_keys(settings)
    assert (keys.admin_key, keys.master_key.key, keys.admin_key_file) == (ADMIN_KEY, bytes(range(32)), None)
    assert list(tmp_path.iterdir()) == []


def test_a_lost_master_key_is_not_replaced_behind_the_owners_back(embedded: Settings) -> None:
    load_keys(embedded)
    (embedded.data_dir / "keys" / "master_key").unlink()
    with pytest.raises(SettingsError, match="backup"):
        load_keys(embedded, has_history=True)


def test_a_spoilt_key_file_is_named(embedded: Settings) -> None:
    load_keys(embedded)
    (embedded.data_dir / "keys" / "master_key").write_text("spoilt")
    with pytest.raises(SettingsError, match="master_key"):
        load_keys(embedded)


def test_every_setting_stands_in_the_table_with_a_reason() -> None:
    table = settings_table()
    for name, field in Settings.model_fields.items():
        assert f"| `{variable(name)}` |" in table
        assert field.description and field.description.endswith(".")
