"""What keeps the service from running well, in sentences that say what to do.

Looking changes nothing: no key, table or setting is made or mended. An embedded database that is down is started for
the look and stopped again.
"""

import errno
import http.client
import os
import platform
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import Connection
from pydantic import SecretStr
from sqlalchemy.exc import SQLAlchemyError

from api.database import embedded_data_dir, opened
from api.google_wallet import google_wallet_state
from api.key_files import FOLDER, PREVIOUS
from api.settings import KEY_CHARACTERS_MIN, Settings, SettingsError, read_settings, variable
from api.wallets import apple_wallet_state
from ledger.recorder import APP_ROLE
from ledger.seal import KEY_BYTES, MasterKey
from migrations.local_postgres import LocalPostgresError
from migrations.postgres_programs import Account, Programs
from migrations.preconditions import ServerUnfit, problems
from migrations.upgrade import current, head
from projections.read_model import LAST_POSITION, NAME

PYTHON_MIN = (3, 11)
CLOCK_SECONDS_MAX = 2.0
CONNECT_SECONDS_MAX = 5
PORT_SECONDS_MAX = 2
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # Where a service that listens on all addresses can be asked.

ROLE_MAKER = "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
PRIVILEGES = f"""
SELECT has_any_column_privilege('{APP_ROLE}', 'stored_events', 'UPDATE'),
    has_table_privilege('{APP_ROLE}', 'stored_events', 'DELETE'),
    has_table_privilege('{APP_ROLE}', 'stored_events', 'TRUNCATE')
"""
SLEEPING_TRIGGERS = """
SELECT tgname FROM pg_trigger
WHERE tgrelid = 'stored_events'::regclass AND NOT tgisinternal AND tgenabled NOT IN ('O', 'A') ORDER BY tgname
"""
PROJECTION = f"""
SELECT position, ({LAST_POSITION}), error, coalesce(lease_until > clock_timestamp(), false)
FROM projections WHERE name = %s
"""
MASTER_KEY_OF_DATA = "SELECT master_key_id FROM subject_keys LIMIT 1"


@dataclass(frozen=True, slots=True)
class Finding:
    """One precondition: as it should be, or not and what to do."""

    is_well: bool
    sentence: str


def examine() -> list[Finding]:
    """Look at everything the service stands on, in the order in which to mend it.

    Where something is missing that the rest depends on, the rest is not looked at. Call it from the main thread.
    """
    return list(_examined())


def _examined() -> Iterator[Finding]:
    yield _python(sys.version_info[:2])
    try:
        settings = read_settings()
    except SettingsError as error:
        yield Finding(False, str(error))
        return
    yield Finding(True, "The settings can be read.")
    cluster = embedded_data_dir(settings.data_dir) / "cluster" if settings.is_embedded else None
    has_history = cluster is not None and (cluster / "PG_VERSION").exists()
    yield from _data_dir(settings)
    yield from _keys(settings, has_history)
    if cluster is not None:
        yield _programs(settings, cluster if has_history else None)
    if cluster is not None and not has_history:
        yield Finding(True, f"The embedded database will be made in {cluster} at the first start.")
    else:
        yield from _database(settings)
    yield _port(settings)
    yield _public_url(settings)
    yield Finding(*apple_wallet_state(settings))
    yield Finding(*google_wallet_state(settings))


# ------------------------------------------------------------------ this machine


def _python(version: tuple[int, int]) -> Finding:
    found, needed = (".".join(map(str, v)) for v in (version, PYTHON_MIN))
    if version < PYTHON_MIN:
        return Finding(False, f"Python is {found}: install {needed} or newer.")
    return Finding(True, f"Python is {platform.python_version()}.")


def _data_dir(settings: Settings) -> Iterator[Finding]:
    if not settings.is_embedded and settings.admin_key is not None:
        return  # Nothing is kept there.
    folder = settings.data_dir.expanduser().resolve()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        yield Finding(False, f"{there} is no directory: set {variable('data_dir')} to another place.")
    elif not os.access(there, os.W_OK | os.X_OK):
        remedy = f"give it to the user who runs the service, or set {variable('data_dir')} to another place"
        yield Finding(False, f"The directory {there} cannot be written: {remedy}.")
    elif there != folder:
        yield Finding(True, f"The data directory {folder} will be made at the first start.")
    else:
        yield Finding(True, f"The data directory {folder} can be written.")


def _keys(settings: Settings, has_history: bool) -> Iterator[Finding]:
    folder = settings.data_dir / FOLDER
    if settings.admin_key is not None:
        yield Finding(True, f"{variable('admin_key')} is set.")
    else:
        yield _key_file(folder / "admin_key", "it is made at the next start")
    if settings.master_key is not None:
        yield Finding(True, f"{variable('master_key')} is set.")
    elif not settings.is_embedded:
        yield Finding(
            False,
            f"{variable('master_key')} is not set: restore it from where you keep it, or for a new database make one"
            " with `openssl rand -base64 32`, and store it apart from the database.",
        )
    elif has_history and not (folder / "master_key").exists():
        yield Finding(
            False,
            f"The master key {folder / 'master_key'} is missing, and names in the database cannot be read without it:"
            f" restore that file from a backup, or set {variable('master_key')}.",
        )
    else:
        yield _key_file(folder / "master_key", "it is made at the first start")


def _key_file(file: Path, if_missing: str) -> Finding:
    if not file.exists():
        return Finding(True, f"There is no {file} yet: {if_missing}.")
    try:
        text = file.read_text(encoding="ascii").strip()
        mode = file.stat().st_mode & 0o777
    except (OSError, UnicodeDecodeError) as error:
        return Finding(False, f"The key file {file} cannot be read ({error}): restore it from a backup.")
    if mode & 0o077:
        return Finding(False, f"The key file {file} is open to others, mode {mode:o}: run `chmod 600 {file}`.")
    if file.name == "master_key" and _master_key(text) is None:
        return Finding(False, f"{file} does not hold {KEY_BYTES} bytes in base64: restore it from a backup.")
    if file.name == "admin_key" and len(text) < KEY_CHARACTERS_MIN:
        return Finding(False, f"{file} holds no usable key: delete it, and a new one is made at the next start.")
    return Finding(True, f"The key file {file} is readable by its owner only.")


def _programs(settings: Settings, cluster: Path | None) -> Finding:
    try:
        # For ourselves, even where root will run them as somebody else: then nothing needs to be copied.
        programs = Programs.ready_for(Account(os.geteuid(), os.getegid()), settings.pg_bin, Path(os.devnull))
        if cluster is not None:
            programs.check_version_of(cluster)
    except (LocalPostgresError, OSError) as error:
        return Finding(False, str(error))
    return Finding(True, f"PostgreSQL {programs.major_version} can be run from {programs.directory}.")


def _port(settings: Settings) -> Finding:
    host, port = settings.host, settings.port
    if port == 0:
        return Finding(True, "A free port will be taken.")
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with closing(socket.socket(family, kind, number)) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # As the service does it.
            tried.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return _listener(host, port)
        remedy = f"set {variable('host')} and {variable('port')} to what this user may listen on"
        return Finding(False, f"Nothing can listen on {host}, port {port} ({error.strerror or error}): {remedy}.")
    return Finding(True, f"Port {port} is free.")


def _listener(host: str, port: int) -> Finding:
    with suppress(OSError, http.client.HTTPException):
        asked = http.client.HTTPConnection(EVERYWHERE.get(host, host), port, timeout=PORT_SECONDS_MAX)
        with closing(asked):
            asked.request("GET", "/health/live")
            if asked.getresponse().read(100) == b'{"status":"live"}':
                return Finding(True, f"The service answers on port {port}.")
    return Finding(False, f"Another program has port {port}: stop it, or set {variable('port')} to another one.")


def _public_url(settings: Settings) -> Finding:
    url = urlsplit(settings.public_url)
    if url.scheme == "https":
        return Finding(True, f"{variable('public_url')} is {settings.public_url}.")
    if url.hostname in LOCAL_HOSTS:
        return Finding(True, f"{variable('public_url')} is for this machine only. Phones and wallets will need https.")
    return Finding(
        False,
        f"{variable('public_url')} is {settings.public_url}: wallets refuse http, and keys and card tokens would be"
        " readable on the way. Put a proxy with a certificate in front, and name its https address.",
    )


# ------------------------------------------------------------------ the database


def _database(settings: Settings) -> Iterator[Finding]:
    with ExitStack() as stack:
        try:
            url = _url(settings, stack)
            connection = stack.enter_context(
                psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_SECONDS_MAX, client_encoding="UTF8")
            )
            unfit = problems(url)
        except ServerUnfit as refusal:
            yield from (Finding(False, str(problem)) for problem in refusal.problems)
            return
        except (LocalPostgresError, SettingsError, psycopg.Error) as error:
            yield Finding(False, f"The database cannot be reached: {_first_line(error)} {_remedy(settings)}")
            return
        version = connection.info.server_version // 10_000
        yield Finding(True, f"The database answers: PostgreSQL {version}.")
        yield from (Finding(False, str(problem)) for problem in unfit)
        if not unfit:
            yield Finding(True, "It keeps what it acknowledges.")
        try:
            yield _clock(connection)
            yield from _shape(connection, url, settings)
        except (psycopg.Error, SQLAlchemyError) as error:
            yield Finding(False, f"The database could not be looked at any further: {_first_line(error)}")


def _url(settings: Settings, stack: ExitStack) -> str:
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    # Keys of no meaning, so that opening makes no key and mends no key file.
    keys = {
        "admin_key": SecretStr(secrets.token_urlsafe(KEY_CHARACTERS_MIN)),
        "master_key": SecretStr(MasterKey(bytes(KEY_BYTES)).to_base64()),
    }
    return stack.enter_context(opened(settings.model_copy(update=keys), migrates=False)).url


def _remedy(settings: Settings) -> str:
    if settings.is_embedded:
        return ""
    return f"Start the server, or mend {variable('database_url')}."


def _clock(connection: Connection[Any]) -> Finding:
    before = datetime.now(UTC)
    (theirs,) = _row(connection, "SELECT clock_timestamp()")
    off_seconds = max((before - theirs).total_seconds(), (theirs - datetime.now(UTC)).total_seconds(), 0.0)
    if off_seconds >= CLOCK_SECONDS_MAX:
        return Finding(
            False,
            f"The clocks here and in the database are {off_seconds:,.0f} seconds apart: keep both right with NTP, for"
            " cooldowns and leases are measured with them.",
        )
    return Finding(True, "The clocks here and in the database agree.")


def _shape(connection: Connection[Any], url: str, settings: Settings) -> Iterator[Finding]:
    role = _role(connection)
    yield role
    if not role.is_well:
        return
    revision, newest = current(url), head()
    if revision != newest:
        yield _other_revision(revision, newest)
        return
    yield Finding(True, f"The database is at revision {revision}, the newest.")
    yield from _append_only(connection)
    yield _projection(connection)
    yield from _sealed_by(connection, settings)


def _role(connection: Connection[Any]) -> Finding:
    user = connection.info.user
    try:
        connection.execute(f"SET ROLE {APP_ROLE}")
        connection.execute("RESET ROLE")
    except psycopg.errors.InsufficientPrivilege:
        grant = f'GRANT {APP_ROLE} TO "{user}"'
        return Finding(False, f"User {user} may not act as the role {APP_ROLE}: as a superuser, {grant}.")
    except psycopg.errors.InvalidParameterValue:
        if _row(connection, ROLE_MAKER)[0]:
            return Finding(True, f"There is no role {APP_ROLE} yet: `loyalty-ledger migrate` makes it.")
        make = f'CREATE ROLE {APP_ROLE} NOLOGIN; GRANT {APP_ROLE} TO "{user}"'
        return Finding(False, f"There is no role {APP_ROLE}, and user {user} may not make it: as a superuser, {make}.")
    return Finding(True, f"User {user} may act as the role {APP_ROLE}.")


def _other_revision(revision: str | None, newest: str) -> Finding:
    if revision is None:
        return Finding(False, "The database has no tables yet: run `loyalty-ledger migrate`.")
    if revision > newest:
        return Finding(
            False, f"The database is at revision {revision}, this program knows {newest}: install the newer program."
        )
    return Finding(False, f"The database is at revision {revision} of {newest}: run `loyalty-ledger migrate`.")


def _append_only(connection: Connection[Any]) -> Iterator[Finding]:
    allowed = zip(("UPDATE", "DELETE", "TRUNCATE"), _row(connection, PRIVILEGES), strict=True)
    wrong = [
        Finding(False, f"The role {APP_ROLE} may {right} events: REVOKE {right} ON stored_events FROM {APP_ROLE}.")
        for right, is_allowed in allowed
        if is_allowed
    ]
    for (trigger,) in connection.execute(SLEEPING_TRIGGERS):
        enable = f"ALTER TABLE stored_events ENABLE TRIGGER {trigger}"
        wrong.append(Finding(False, f"The trigger {trigger} on stored_events is off: {enable}."))
    yield from wrong or [Finding(True, "The service can add events, and neither change nor delete one.")]


def _projection(connection: Connection[Any]) -> Finding:
    position, last, error, is_followed = _row(connection, PROJECTION, NAME)
    lag = f"{last - position:,} events behind the stream"
    if error is not None:
        remedy = "install the version that knows it, or report it; the stream itself is not harmed"
        return Finding(False, f"The query tables stopped, {lag}, at {error}: {remedy}.")
    if last <= position:
        return Finding(True, f"The query tables are up with the stream, at position {position:,}.")
    if is_followed:
        return Finding(True, f"The query tables are {lag} and follow.")
    return Finding(True, f"The query tables are {lag} and follow once `loyalty-ledger run` or `project` does.")


def _sealed_by(connection: Connection[Any], settings: Settings) -> Iterator[Finding]:
    """Another key than the one people's keys are wrapped by would show every name as lost."""
    key = _given_master_key(settings)
    found = connection.execute(MASTER_KEY_OF_DATA).fetchone()
    if key is None or found is None:
        return
    if found[0] == key.key_id:
        yield Finding(True, "The master key is the one the database was written under.")
    elif key.previous is not None and found[0] == key.previous.key_id:
        yield Finding(True, "The master key is being exchanged: `loyalty-ledger keys rotate-master` goes on with it.")
    else:
        yield Finding(
            False,
            f"The database was written under the master key {found[0]}, and this is {key.key_id}: restore the other"
            " one, from a backup of the keys.",
        )


# ------------------------------------------------------------------ pieces


def _given_master_key(settings: Settings) -> MasterKey | None:
    if settings.master_key is not None:
        before = settings.master_key_previous
        return _master_key(settings.master_key.get_secret_value(), before.get_secret_value() if before else None)
    folder, before_text = settings.data_dir / FOLDER, None
    with suppress(OSError, UnicodeDecodeError):
        before_text = (folder / PREVIOUS).read_text(encoding="ascii").strip()
    with suppress(OSError, UnicodeDecodeError):
        return _master_key((folder / "master_key").read_text(encoding="ascii").strip(), before_text)
    return None


def _master_key(text: str, before: str | None = None) -> MasterKey | None:
    try:
        previous = None if before is None else MasterKey.from_base64(before)
        return replace(MasterKey.from_base64(text), previous=previous)
    except ValueError:
        return None


def _row(connection: Connection[Any], sql: str, *parameters: Any) -> tuple[Any, ...]:
    row = connection.execute(sql, parameters).fetchone()
    assert row is not None
    return tuple(row)


def _first_line(error: Exception) -> str:
    text = (str(error) or type(error).__name__).splitlines()[0]
    return text if text.endswith(".") else text + "."
