"""The command `loyalty-ledger`. Everything heavy is imported by the subcommand that needs it."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from api.archive_commands import archive
from api.key_commands import keys
from api.progress import Progress

MENDABLE = ("SettingsError", "LocalPostgresError", "ServerUnfit", "UpgradeIsBusy", "SealingRefused")
app = typer.Typer(
    help="An event-sourced ledger for loyalty cards: stamps and points that can be proved.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
wallet = typer.Typer(help="Passes in phones.", no_args_is_help=True)
app.add_typer(wallet, name="wallet")
app.add_typer(keys, name="keys")
app.add_typer(archive, name="archive")


def main() -> None:
    """The entry point: an error that the one at the keyboard can mend is a sentence, not a traceback."""
    try:
        app()
    except Exception as error:
        if type(error).__name__ not in MENDABLE:
            raise
        typer.secho(str(error), fg=typer.colors.RED, err=True)
        sys.exit(2)


@app.command()
def run() -> None:
    """All in one: database, migrations, API, query tables, checkpoints and wallets, until Ctrl-C."""
    _serve(projects=True, workers=1)


@app.command()
def serve(
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that answer requests.")] = 1,
) -> None:
    """The API alone. Run `project`, `seal` and, with wallets, `sync-wallets` beside it."""
    _serve(projects=False, workers=workers)


def _serve(*, projects: bool, workers: int) -> None:
    from api.database import opened
    from api.logs import configure
    from api.serving import run_all, serve_with_workers
    from api.settings import read_settings

    settings = read_settings()
    configure(settings.log_format, settings.log_level)
    typer.echo("Starting …")
    with opened(settings) as database:

        def ready(address: str) -> None:
            typer.echo(f"Ready: {address}   API reference: {address}/docs")
            if database.keys.admin_key_file is not None:
                typer.echo(f"Admin key: {database.keys.admin_key}   (kept in {database.keys.admin_key_file})")
            if settings.demo:
                from api.demo_pages import addresses

                shown = addresses(database.url, database.keys.master_key, public_url=settings.public_url)
                typer.echo(f"The demo's pages:\n{shown}")
            typer.echo("Stop with Ctrl-C.")

        if settings.demo:
            _demo(database)
        if workers > 1:
            serve_with_workers(settings, database, workers)
        else:
            run_all(settings, database, projects=projects, ready=ready)


@app.command()
def migrate() -> None:
    """Bring the database to the newest shape. Safe to run at any time, also from several places at once."""
    from api.database import opened
    from api.settings import read_settings
    from migrations.upgrade import current

    with opened(read_settings()) as database:
        typer.echo(f"The database is at revision {current(database.url)}.")


@app.command()
def project() -> None:
    """Keep the query tables up with the stream, until Ctrl-C."""
    from api.database import opened
    from api.following import project_until_stopped
    from api.logs import configure
    from api.settings import read_settings

    settings = read_settings()
    configure(settings.log_format, settings.log_level)
    with opened(settings) as database:
        project_until_stopped(database)


@app.command()
def seal() -> None:
    """Sign checkpoints over everything recorded, until Ctrl-C. Run it beside `serve`; `run` does it by itself."""
    from api.database import opened
    from api.following import seal_until_stopped
    from api.logs import configure
    from api.settings import read_settings

    settings = read_settings()
    configure(settings.log_format, settings.log_level)
    with opened(settings) as database:
        seal_until_stopped(settings, database)


@app.command("sync-wallets")
def sync_wallets() -> None:
    """Keep cards in Apple Wallet and Google Wallet as they are, until Ctrl-C. Run it beside `serve` and `project`."""
    from api.database import opened
    from api.following import sync_until_stopped
    from api.logs import configure
    from api.settings import read_settings, variable

    settings = read_settings()
    configure(settings.log_format, settings.log_level)
    if not settings.has_wallets:
        names = f"{variable('apple_pass_type_id')} nor {variable('google_issuer_id')}"
        raise typer.BadParameter(f"no wallet is set up: neither {names} is set")
    with opened(settings) as database:
        sync_until_stopped(settings, database)


@app.command()
def rebuild(
    tables: Annotated[list[str] | None, typer.Argument(help="Tables to make anew; none: all.")] = None,
) -> None:
    """Make query tables anew from the stream, while the service goes on."""
    from api.database import opened
    from api.settings import read_settings
    from projections.rebuild import TABLES
    from projections.rebuild import rebuild as make_anew

    unknown = sorted(set(tables or ()) - set(TABLES))
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: known are {', '.join(TABLES)}")
    with opened(read_settings()) as database, Progress("Rebuilding") as progress:
        make_anew(database.url, database.keys.master_key, tables=tables or None, progress=progress)
    typer.echo("The tables are rebuilt.")


@app.command()
def check(
    as_json: Annotated[bool, typer.Option("--json", help="What was compared and what differs as JSON.")] = False,
) -> None:
    """Fold every stream and compare with the tables; exit 1 and name each difference."""
    import orjson

    from api import check_command
    from api.database import opened
    from api.settings import read_settings

    with opened(read_settings()) as database, Progress("Checking", is_shown_apart=as_json) as progress:
        checked = check_command.check_for(database.url, database.keys.master_key, progress)
    if as_json:
        typer.echo(orjson.dumps(check_command.as_json(checked), default=str, option=orjson.OPT_INDENT_2).decode())
    else:
        *differences, count = check_command.described(checked) or ["Every table says what the stream says."]
        for difference in differences:
            typer.echo(difference)
        typer.secho(count, fg=typer.colors.RED if checked.count else None, err=bool(checked.count))
    if checked.count:
        raise typer.Exit(1)


@app.command()
def demo() -> None:
    """A vendor with two programs, staff, 200 cards and 90 days of history. Does nothing where it is already."""
    from api.database import opened
    from api.settings import read_settings

    with opened(read_settings()) as database:
        _demo(database)


def _demo(database: Any) -> None:
    from api.demo import seed

    with Progress("Making demo data") as progress:
        shown = seed(database.url, database.keys.master_key, progress=progress)
    typer.echo(shown)


@app.command("sign-in-link")
def sign_in_link(vendor: Annotated[str, typer.Option(help="The vendor's code.")]) -> None:
    """A link that signs in one person for a vendor, once, within 15 minutes."""
    from api.database import opened
    from api.doors import VendorUnknown, make_link_for
    from api.settings import read_settings

    settings = read_settings()
    with opened(settings) as database:
        try:
            url, expires_at = make_link_for(
                database.url, database.keys.master_key, vendor, public_url=settings.public_url
            )
        except VendorUnknown:
            typer.secho(f"There is no vendor with the code {vendor}.", fg=typer.colors.RED, err=True)
            raise typer.Exit(1) from None
    typer.echo(url)
    typer.echo(f"It can be used once, until {expires_at:%H:%M} UTC.", err=True)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="NDJSON or CSV.")],
    vendor: Annotated[str, typer.Option(help="The vendor's code.")],
    program: Annotated[UUID | None, typer.Option(help="Of cards that name none; absent: the only one.")] = None,
    report: Annotated[Path | None, typer.Option(help="Where to write which line became which card, as CSV.")] = None,
) -> None:
    """Bring in cards, opening balances and history. Checked as a whole first; goes on where it was interrupted."""
    from api.database import opened
    from api.import_command import import_for
    from api.settings import read_settings

    with opened(read_settings()) as database, Progress("Reading", is_shown_apart=True) as progress:
        told = import_for(database, file, code=vendor, program_id=program, report=report, progress=progress.titled)
    for sentence in told.wrong:
        typer.secho(sentence, fg=typer.colors.RED, err=True)
    if told.wrong:
        raise typer.Exit(1)
    typer.echo(told.done)


@app.command()
def verify(
    statement: Annotated[
        Path | None, typer.Argument(help="A card's statement or an erasure receipt; none: all.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="The ledger's public key, or a file that holds it.")] = None,
    kept: Annotated[
        Path | None, typer.Option(exists=True, help="A checkpoint fetched earlier: nothing may be older.")
    ] = None,
    consistency: Annotated[Path | None, typer.Option(help="The proof from that one to the statement's.")] = None,
) -> None:
    """Verify a card's statement or a receipt, offline, each fault with its exit code; or the whole store."""
    from projections.proofs import receipts
    from projections.proofs.verify_statement import run

    if statement is None:
        _verify_store(key, kept)
        return
    if key is None:
        raise typer.BadParameter("whose statement is it? Name the ledger's public key", param_hint="--key")
    if statement.is_file() and receipts.is_receipt(statement.read_bytes()):
        raise typer.Exit(receipts.run(statement, key))
    given = {"--key": key, "--kept": kept, "--consistency": consistency}
    words = [word for name, value in given.items() if value is not None for word in (name, str(value))]
    raise typer.Exit(run([*words, "--", str(statement)]))


def _verify_store(key: str | None, kept: Path | None) -> None:
    from api.database import opened
    from api.settings import read_settings
    from api.verify_command import verify_for

    settings = read_settings()
    with opened(settings) as database, Progress("Verifying", is_shown_apart=True) as progress:
        told = verify_for(settings, database.url, key=key, kept=kept, progress=progress)
    for sentence in told.wrong:
        typer.secho(sentence, fg=typer.colors.RED, err=True)
    if told.wrong:
        raise typer.Exit(1)
    typer.echo(told.done)


@app.command()
def simulate(
    program: Annotated[UUID, typer.Option(help="Whose history.")],
    set_: Annotated[list[str] | None, typer.Option("--set", help="A rule as name=value; may be repeated.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="Other rules from this moment on, RFC 3339.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="History before this moment only, RFC 3339.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The comparison as JSON.")] = False,
) -> None:
    """What would have been under other rules: a program's history decided again. Nothing is written."""
    import json

    from pydantic import TypeAdapter, ValidationError

    from api import simulating
    from api.database import opened
    from api.settings import read_settings
    from api.shapes import Timestamp

    moments = TypeAdapter[Any](Timestamp | None)
    try:
        change = simulating.change_of(set_ or ())
        first, last = moments.validate_python(start), moments.validate_python(end)
        with (
            opened(read_settings(), migrates=False) as database,
            Progress("Deciding", is_shown_apart=True) as progress,
        ):
            report = simulating.simulated(database, program, change, start=first, end=last, progress=progress)
    except ValidationError as error:
        raise typer.BadParameter(f"--from and --to: {error.errors()[0]['msg']}") from None
    except simulating.WrongSetting as error:
        raise typer.BadParameter(str(error)) from None
    if as_json:
        typer.echo(json.dumps(simulating.as_json(report), indent=2))
    else:
        simulating.print_table(report, typer.echo)


@app.command()
def openapi(
    file: Annotated[Path | None, typer.Option(help="Where to write it; absent: standard output.")] = None,
) -> None:
    """The API's description, OpenAPI 3.1 in JSON."""
    import json

    from api.main import describe

    text = json.dumps(describe(), indent=2, ensure_ascii=False) + "\n"
    if file is None:
        sys.stdout.write(text)
    else:
        file.write_text(text)


@app.command()
def doctor() -> None:
    """Say what keeps the service from running well, and what to do about it; exit 1 if anything does."""
    from api.doctor import examine

    findings = examine()
    for finding in findings:
        mark, colour = ("✓", typer.colors.GREEN) if finding.is_well else ("✗", typer.colors.RED)
        typer.secho(f"{mark} {finding.sentence}", fg=colour)
    if not all(finding.is_well for finding in findings):
        raise typer.Exit(1)


@wallet.command("dev-certificates")
def dev_certificates(
    directory: Annotated[Path, typer.Argument(file_okay=False, metavar="DIR", help="Where to write them.")],
    pass_type_id: Annotated[str, typer.Option(help="Whose passes they shall sign.")] = "pass.example.loyalty",
) -> None:
    """Make throw-away certificates to try Apple Wallet passes with. Phones refuse passes signed with them."""
    from api.settings import PASS_TYPE_ID, variable
    from ledger.commands.caller import utc_now
    from wallet_sync.dev_certificates import make_dev_certificates

    if not PASS_TYPE_ID.fullmatch(pass_type_id) or len(pass_type_id) > 100:
        raise typer.BadParameter("a Pass Type ID begins with pass. and goes on in letters, digits, dots and hyphens")
    try:
        made = make_dev_certificates(directory.resolve(), now=utc_now(), pass_type_id=pass_type_id).files
    except OSError as error:
        typer.secho(f"Nothing was made: {error}.", fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from None
    settings = {
        "apple_pass_type_id": made.pass_type_id,
        "apple_certificate": made.certificate,
        "apple_key": made.key,
        "apple_wwdr": made.wwdr,
    }
    for name, value in settings.items():
        typer.echo(f"export {variable(name)}={shlex.quote(str(value))}")


@wallet.command("retry")
def retry(
    card: Annotated[UUID | None, typer.Option(help="Only what the wallets are owed of this card.")] = None,
) -> None:
    """Try at once again what failed or was given up."""
    from api.database import opened
    from api.settings import read_settings
    from wallet_sync.wallet_work import retry_at_once

    with opened(read_settings()) as database:
        typer.echo(f"{retry_at_once(database.url, card)} to be tried again.")


@wallet.command("parked")
def parked(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 100,
) -> None:
    """List what was given up, and why: longest owed first."""
    from api.database import opened
    from api.settings import read_settings
    from wallet_sync.wallet_work import parked_at_once

    with opened(read_settings()) as database:
        rows = parked_at_once(database.url, limit)
    for row in rows:
        of = f"card {row['card_id']}" if row["card_id"] else str(row["id"])
        typer.echo(f"{row['channel']} {of}: {row['last_error']}, owed since {row['owed_since']:%Y-%m-%d %H:%M} UTC")
    typer.echo(f"{len(rows)} parked." if len(rows) < limit else f"The first {limit}; there may be more.")


@keys.command("rotate-master")
def rotate_master() -> None:
    """Wrap every person's key with a new master key; goes on where it was interrupted."""
    from api.rotating import rotate_master as rotate
    from api.settings import read_settings

    with Progress("Wrapping keys anew") as progress:
        told = rotate(read_settings(), progress)
    typer.echo(told)
