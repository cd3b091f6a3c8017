"""Every setting: name, unit, default and why. Beside these, uvicorn's FORWARDED_ALLOW_IPS is all that is read.

The settings table of the README is made from these descriptions, so they are written for the one who runs the service.
"""

import re
from base64 import b64decode
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "LOYALTY_"
PORT = 8000  # Where nobody says otherwise.
KEY_CHARACTERS_MIN = 32
MASTER_KEY_BYTES = 32
ORIGIN = re.compile(r"[!-*,-~]+")
PASS_TYPE_ID = re.compile(r"pass\.[A-Za-z0-9.-]+")

Seconds = Annotated[float, Field(gt=0, le=86_400)]


class SettingsError(Exception):
    """The service cannot start as it is set up. The text says what to do."""


class Settings(BaseSettings):
    """What the environment says. Secrets are shown nowhere, not in a repr and not in an error."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True, validate_default=True
    )

    # ------------------------------------------------------------------ where

    database_url: SecretStr | None = Field(
        None,
        description="PostgreSQL 15 or newer, `postgresql://user@host/database`. Absent: an embedded PostgreSQL is"
        " started in the data directory.",
    )
    data_dir: Path = Field(
        Path(".data"), description="Directory of the embedded database and of the keys made at the first start."
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(PORT, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    public_url: str = Field(
        "",
        description="Base of links, QR codes and the wallets' web service, without a slash. Absent: this machine's,"
        " `http://127.0.0.1:` with `LOYALTY_PORT`.",
    )
    pg_bin: Path | None = Field(
        None, description="Directory with `postgres` and `initdb` for the embedded database. Absent: those installed."
    )
    demo: bool = Field(
        False, description="`1`: make a demo vendor with programs, staff, cards and history at the first start."
    )

    # ------------------------------------------------------------------ secrets

    admin_key: SecretStr | None = Field(
        None,
        description="Key of the administrator, at least 32 characters. Absent: made once, kept in the data directory"
        " and printed at the start of `run`, and of `serve` with one worker.",
    )
    auditor_key: SecretStr | None = Field(
        None,
        description="Key of an auditor, at least 32 characters: reads what the administrator reads, changes nothing.",
    )
    master_key: SecretStr | None = Field(
        None,
        description="32 bytes in base64: wraps people's keys, derives tokens, peppers PINs. Absent with the embedded"
        " database: made once and kept in the data directory. Absent with a database of your own: no start.",
    )

    master_key_previous: SecretStr | None = Field(
        None,
        description="The master key before that one, while `loyalty-ledger keys rotate-master` is not finished: both"
        " open what they wrapped.",
    )
    sealing_key_file: Path | None = Field(
        None,
        description="File of the key that signs checkpoints; the last checkpoint is kept beside it. Absent:"
        " `keys/sealing_key` in the data directory, made at the first start with the embedded database.",
    )
    checkpoint_origin: str | None = Field(
        None,
        max_length=100,
        description="Name of this ledger in its checkpoints, such as `loyalty.example.com/ledger`. Absent: made of"
        " `LOYALTY_PUBLIC_URL`. The first key is made for it, and then it stays.",
    )

    # ------------------------------------------------------------------ wallets

    apple_pass_type_id: str | None = Field(
        None,
        max_length=100,
        description="Pass Type ID of the passes, such as `pass.com.example.loyalty`. Absent: there are no Apple Wallet"
        " passes. Once phones carry passes it stays as it is.",
    )
    apple_certificate: Path | None = Field(
        None,
        description="File of the Pass Type ID certificate, PEM or DER. Of several in one PEM file the newest valid one"
        " signs.",
    )
    apple_key: Path | None = Field(
        None, description="File of the certificate's private key, PEM; of several, all keys."
    )
    apple_key_password: SecretStr | None = Field(None, description="Password of that key, if it has one.")
    apple_wwdr: Path | None = Field(
        None, description="File of Apple's intermediate certificate (WWDR) that issued the other one, PEM or DER."
    )
    apple_contact: str | None = Field(
        None,
        max_length=200,
        description="Email, phone or address of whoever signs the passes, for their back. Absent:"
        " `LOYALTY_PUBLIC_URL`.",
    )

    apple_push_url: str = Field(
        "https://api.push.apple.com", description="Apple's push service. Another one only to try things out."
    )
    apple_push_ca: Path | None = Field(
        None, description="File of the authority, PEM, that the push service is verified with. Absent: the system's."
    )
    apple_android_readers: bool = Field(
        False, description="`1`: Android apps that read Apple's passes, and say `AndroidPass`, get updates too."
    )

    google_issuer_id: str | None = Field(
        None,
        pattern=r"^[0-9]{1,30}$",
        description="Number of the issuer account at the Google Pay & Wallet console. Absent: there is no Google"
        " Wallet. Once phones carry cards it stays as it is.",
    )
    google_service_account: Path | None = Field(
        None,
        description="File of the service account's key, JSON, as Google makes it. The account is a user of the issuer.",
    )
    google_environment: str = Field(
        "live",
        pattern=r"^[A-Za-z0-9_-]{1,20}$",
        description="Part of each id at Google: keeps installations apart that share an issuer.",
    )
    google_origins: str | None = Field(
        None,
        max_length=300,
        description="Web origins whose pages show the button, such as `https://cafe.example`, separated by commas."
        " Absent: that of `LOYALTY_PUBLIC_URL`.",
    )
    google_api_url: str = Field(
        "https://walletobjects.googleapis.com/walletobjects/v1",
        description="Google's interface for passes. Another one only to try things out.",
    )
    google_token_url: str = Field(
        "https://oauth2.googleapis.com/token", description="Where access tokens come from; as the one before."
    )
    google_keys_url: str = Field(
        "https://pay.google.com/gp/m/issuer/keys", description="Where the keys are that sign Google's messages."
    )
    google_callback_sender: str = Field(
        "GooglePayPasses", max_length=100, description="Whom Google's messages say they are from."
    )

    # ------------------------------------------------------------------ limits

    body_bytes_max: int = Field(
        16_384, ge=1_024, le=10_485_760, description="Bytes of a request body; more is answered 413."
    )
    body_seconds_max: Seconds = Field(
        10.0, description="Seconds in which a request body must have arrived; else 408. A slow sender holds nothing."
    )
    in_flight_max: int = Field(
        400,
        ge=1,
        le=100_000,
        description="Requests worked on at once by a process. One more is answered 503 with Retry-After: who is"
        " accepted is answered soon.",
    )
    open_cards_max: int = Field(
        2_000,
        ge=0,
        le=1_000_000,
        description="Cards on people's screens that a process tells of changes at once; more of them ask every"
        " quarter of a minute. Never more than half of the files a process may open (`ulimit -n`).",
    )
    min_position_wait_seconds: Seconds = Field(
        2.0, description="Seconds a reader who names a `min_position` is kept waiting for it."
    )
    lookups_per_minute: int = Field(
        120,
        ge=1,
        description="Look-ups a minute, for each API key and process, of cards that are not there: numbers cannot be"
        " guessed in bulk.",
    )
    enrolments_per_hour: int = Field(
        20, ge=1, description="Public enrolments an hour from one network address. A shop's wi-fi is one address."
    )
    sign_ins_per_hour: int = Field(
        60,
        ge=1,
        description="Tries an hour from one network address to sign in or to pair a till: links, codes and keys cannot"
        " be guessed.",
    )
    browser_session_idle_seconds: Seconds = Field(
        3_600.0, description="Seconds without a request after which whoever signed in by a browser is signed out."
    )
    browser_session_max_seconds: Seconds = Field(
        43_200.0, description="Seconds after which they are signed out in any case: a working day."
    )
    staff_session_idle_seconds: Seconds = Field(
        300.0, description="Seconds without a command after which a staff session ends."
    )
    staff_session_max_seconds: Seconds = Field(
        28_800.0, description="Seconds after which a staff session ends in any case: a long shift."
    )
    shutdown_seconds_max: Seconds = Field(
        10.0, description="Seconds that requests under way are given to end when the service is stopped."
    )

    badges_dir: Path | None = Field(
        None,
        description="Folder with Apple's and Google's badges, `apple-de.svg`, `google-de.svg` and so on, which only you"
        " may get from them. Absent: the buttons that add a card to a wallet are plain.",
    )

    # ------------------------------------------------------------------ running

    trust_proxy: bool = Field(
        False,
        description="`1`: believe X-Forwarded-For and X-Forwarded-Proto. Only behind a proxy of your own that sets"
        " them.",
    )
    log_format: Literal["json", "console"] = Field("json", description="`json`: a line for each event; or `console`.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least level logged.")

    # ------------------------------------------------------------------ checks

    @field_validator(
        "database_url",
        "admin_key",
        "auditor_key",
        "master_key",
        "master_key_previous",
        "sealing_key_file",
        "checkpoint_origin",
        "pg_bin",
        "badges_dir",
        "apple_pass_type_id",
        "apple_certificate",
        "apple_key",
        "apple_key_password",
        "apple_wwdr",
        "apple_contact",
        "apple_push_ca",
        "google_issuer_id",
        "google_service_account",
        "google_origins",
        mode="before",
    )
    @classmethod
    def _empty_is_absent(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("admin_key", "auditor_key")
    @classmethod
    def _long_enough(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(key.get_secret_value()) < KEY_CHARACTERS_MIN:
            raise ValueError(f"a key has at least {KEY_CHARACTERS_MIN} characters")
        if key is not None and not all("!" <= c <= "~" for c in key.get_secret_value()):
            raise ValueError("a key is written in visible ASCII characters, without spaces")
        return key

    @field_validator("master_key", "master_key_previous")
    @classmethod
    def _right_length(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(b64decode(key.get_secret_value(), validate=True)) != MASTER_KEY_BYTES:
            raise ValueError(f"a master key is {MASTER_KEY_BYTES} bytes in base64")
        return key

    @field_validator("checkpoint_origin")
    @classmethod
    def _key_name(cls, origin: str | None) -> str | None:
        if origin is not None and not ORIGIN.fullmatch(origin):
            raise ValueError("it is written in visible ASCII characters, without spaces and without +")
        return origin

    @field_validator("database_url")
    @classmethod
    def _postgresql(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("it begins with postgresql://")
        return url

    @field_validator("apple_pass_type_id")
    @classmethod
    def _pass_type(cls, pass_type_id: str | None) -> str | None:
        if pass_type_id is not None and not PASS_TYPE_ID.fullmatch(pass_type_id):
            raise ValueError("it begins with pass. and goes on in letters, digits, dots and hyphens")
        return pass_type_id

    @field_validator("apple_certificate", "apple_key", "apple_wwdr")
    @classmethod
    def _all_or_none(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        has_pass_type = info.data.get("apple_pass_type_id") is not None
        if file is None and has_pass_type:
            raise ValueError("passes cannot be signed without it")
        if file is not None and not has_pass_type:
            raise ValueError(f"it is of no use without {variable('apple_pass_type_id')}")
        return file

    @field_validator("google_service_account")
    @classmethod
    def _of_an_issuer(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        has_issuer = info.data.get("google_issuer_id") is not None
        if file is None and has_issuer:
            raise ValueError("Google takes nothing without it")
        if file is not None and not has_issuer:
            raise ValueError(f"it is of no use without {variable('google_issuer_id')}")
        return file

    @field_validator("public_url")
    @classmethod
    def _base(cls, url: str, info: ValidationInfo) -> str:
        if not url:
            return f"http://127.0.0.1:{info.data.get('port') or PORT}"
        if not url.startswith(("http://", "https://")):
            raise ValueError("it begins with https:// (or http:// while trying things out)")
        return url.rstrip("/")

    @property
    def has_wallets(self) -> bool:
        """Whether there are phones to keep up with."""
        return self.apple_pass_type_id is not None or self.google_issuer_id is not None

    @property
    def sealing_key_path(self) -> Path:
        """Where the key that signs checkpoints is kept."""
        return self.sealing_key_file or self.data_dir / "keys" / "sealing_key"

    @property
    def checkpoint_name(self) -> str:
        """What a new log is called."""
        address = self.public_url.partition("://")[2].replace("+", "-")
        return self.checkpoint_origin or f"{address}/ledger"

    @property
    def is_embedded(self) -> bool:
        """Whether the service runs a database of its own."""
        return self.database_url is None


def read_settings() -> Settings:
    """The settings from the environment.

    Raises:
        SettingsError: One or more make no sense; names each, and shows no value.
    """
    try:
        return Settings()
    except ValidationError as error:
        wrong = [f"{variable(str(e['loc'][0]))}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors()]
        raise SettingsError("These settings cannot be used:\n  " + "\n  ".join(wrong)) from None


def variable(field: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + field.upper()


def settings_table() -> str:
    """All settings as a markdown table, in the order they are declared."""
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        rows.append(f"| `{variable(name)}` | {_shown(field.default)} | {field.description} |")
    return "\n".join(rows) + "\n"


def _shown(default: Any) -> str:
    if default in (None, ""):
        return ""
    if isinstance(default, bool):
        return f"`{int(default)}`"
    if isinstance(default, float):
        return f"`{default:g}`"
    return f"`{default}`"
