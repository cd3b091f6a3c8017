"""The commands `loyalty-ledger archive …`: the whole ledger as a file. Heavy imports wait until one is called."""

from pathlib import Path
from typing import Annotated, Any

import typer

from api.progress import Progress

REFUSED = 4
"""Exit code: the file is not what was made, or was made by somebody else."""

archive = typer.Typer(help="The ledger as a file that proves itself.", no_args_is_help=True)

Readable = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="An archive.")]
TrustedKey = Annotated[str, typer.Option(help="The public key of the service it comes from, or a file that holds it.")]


@archive.command("make")
def make(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="Where to write it. Must not exist.")],
    vendor: Annotated[str | None, typer.Option(help="One vendor's code.")] = None,
    everything: Annotated[bool, typer.Option("--everything", help="All vendors, with the signed tree.")] = False,
) -> None:
    """Write every event as it is stored, with what proves it, while the service goes on."""
    from api.database import opened
    from api.settings import read_settings
    from ledger.commands.caller import utc_now
    from projections.archive.making import ArchiveNotMade, make_archive

    if (vendor is None) != everything:
        raise typer.BadParameter("name either --vendor or --everything")
    settings = read_settings()
    with opened(settings) as database, Progress("Writing", is_shown_apart=True) as progress:
        try:
            made = make_archive(
                database.url,
                settings.sealing_key_path,
                file,
                code=vendor,
                master_key_id=database.keys.master_key.key_id,
                now=utc_now(),
                progress=progress,
            )
        except (ArchiveNotMade, OSError) as error:
            raise _stopped(f"Nothing was made: {error}.", 1) from None
    typer.echo(f"{made.events:,} events in {made.lines:,} lines, {made.sealed:,} of them under a checkpoint.")


@archive.command("verify")
def verify(
    file: Readable,
    key: TrustedKey,
    kept: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="A checkpoint fetched earlier: the archive must go on from it."),
    ] = None,
) -> None:
    """Verify an archive with nothing but a public key; exit 4 and name the line where it is not what was made.

    Held against a checkpoint you kept: exit 50 where the archive is older, 51 where it does not go on from it.
    """
    from projections.archive.lines import ArchiveRefused, Event, Header
    from projections.archive.reading import verified
    from projections.proofs.verify_statement import Fault

    header, events = None, 0
    note = None if kept is None else kept.read_bytes().decode("utf-8", "replace")
    with file.open("rb") as stream, Progress("Verifying", is_shown_apart=True) as progress:
        try:
            for _, line in verified(stream, _trusted(key), note):
                if isinstance(line, Header):
                    header = line
                elif isinstance(line, Event) and header is not None:
                    events += 1
                    if events % 1_000 == 0 or events == header.events:
                        progress(events, header.events)
        except ArchiveRefused as refused:
            raise _stopped(f"This does not hold: {refused}.", REFUSED) from None
        except Fault as fault:
            raise _stopped(f"This does not hold: {fault}.", int(fault.kind)) from None
    assert header is not None
    typer.echo(_described(header) + ("" if note is None else f" {_held(header, note)}"))


@archive.command("load")
def load(file: Readable, key: TrustedKey) -> None:
    """Take an archive into an empty service: verified to the last byte, all of it or nothing. Exit 4 where refused."""
    from api.database import opened
    from api.key_files import in_force
    from api.settings import read_settings
    from projections.archive.lines import ArchiveRefused
    from projections.archive.loading import NotLoaded, load_archive
    from projections.read_model import Projector

    trusted = _trusted(key)
    with opened(read_settings()) as database, file.open("rb") as stream:
        try:
            with Progress("Loading", is_shown_apart=True) as progress:
                loaded = load_archive(database.url, database.keys.master_key, stream, trusted, progress)
        except ArchiveRefused as refused:
            raise _stopped(f"Refused: {refused}. Nothing was written.", REFUSED) from None
        except NotLoaded as why:
            raise _stopped(f"Nothing was loaded: {why}.", 1) from None
        # With what the archive carries on from master keys before.
        Projector(database.url, in_force(database.keys, database.url).master_key).catch_up()
    typer.echo(f"{_described(loaded.header)} Loaded, with {loaded.histories:,} histories.")


def _trusted(key: str) -> Any:
    from projections.proofs.verify_statement import Fault, VerifierKey

    try:
        return VerifierKey.parse(key if key.count("+") >= 2 else Path(key).read_text(encoding="utf-8"))
    except (Fault, OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(str(error), param_hint="--key") from None


def _described(header: Any) -> str:
    of = "everything" if header.vendor_id is None else f"vendor {header.code}"
    return (
        f"An archive of {of} from {header.origin}, made {header.made_at}: {header.events:,} events up to position"
        f" {header.position}, the tree over {header.sealed:,} is signed."
    )


def _held(header: Any, note: str) -> str:
    """What the kept checkpoint shows, once all of it held."""
    size = int(note.split("\n")[1])
    if header.vendor_id is None or header.sealed == size:
        return f"It goes on from the checkpoint over {size:,} that you kept."
    return (
        f"It is newer than the checkpoint over {size:,} that you kept. That it goes on from that one, only an archive"
        " of everything can show."
    )


def _stopped(sentence: str, code: int) -> typer.Exit:
    typer.secho(sentence, fg=typer.colors.RED, err=True)
    return typer.Exit(code)
