"""The commands `loyalty-ledger keys …`: the key that signs checkpoints. Heavy imports wait until one is called."""

from typing import Annotated

import typer

keys = typer.Typer(
    help="The keys of the service: the one that signs checkpoints, and the master key.", no_args_is_help=True
)


@keys.command("make")
def make_key() -> None:
    """Make the first sealing key and print its public key. With the embedded database `run` does it by itself."""
    from api.database import opened
    from api.settings import read_settings
    from ledger.commands.caller import utc_now
    from projections.proofs.sealer import connected
    from projections.proofs.sealing_keys import make_first_key

    settings = read_settings()
    with opened(settings) as database, connected(database.url) as connection:
        key = make_first_key(connection, settings.sealing_key_path, settings.checkpoint_name, utc_now())
    typer.echo(str(key.verifier))
    typer.echo(f"The private key is in {settings.sealing_key_path}: back it up, apart from the database.", err=True)


@keys.command("show")
def show_key() -> None:
    """Print the public key that checkpoints are verified with."""
    from api.database import opened
    from api.settings import read_settings
    from projections.proofs.sealer import connected
    from projections.proofs.sealing_keys import recorded_keys

    with opened(read_settings()) as database, connected(database.url) as connection:
        recorded = recorded_keys(connection)
    if not recorded:
        typer.secho("There is no sealing key yet.", fg=typer.colors.RED, err=True)
        raise typer.Exit(1)
    typer.echo(str(recorded[-1]))


@keys.command("rotate")
def rotate() -> None:
    """Sign with a new key from now on; the old one signs the new one, and is destroyed. Prints the new public key."""
    from api.database import opened
    from api.settings import read_settings
    from ledger.commands.caller import utc_now
    from projections.proofs.sealer import connected
    from projections.proofs.sealing_keys import rotate_key

    settings = read_settings()
    with opened(settings) as database, connected(database.url) as connection:
        key = rotate_key(connection, settings.sealing_key_path, utc_now())
    typer.echo(str(key.verifier))
    typer.echo(f"The private key is in {settings.sealing_key_path}: back it up, apart from the database.", err=True)


@keys.command("accept-restore")
def accept_restored(
    reason: Annotated[str, typer.Option(help="One line for those who will ask: which backup, and why.")],
) -> None:
    """Say, signed and on record, that a past which was signed is given up; then sealing goes on."""
    from api.database import opened
    from api.settings import read_settings
    from ledger.commands.caller import utc_now
    from projections.proofs.restores import REASON_CHARACTERS_MAX, accept_restore

    if not reason.strip() or not reason.isprintable() or len(reason) > REASON_CHARACTERS_MAX:
        raise typer.BadParameter(f"one line of at most {REASON_CHARACTERS_MAX} characters", param_hint="--reason")
    settings = read_settings()
    with opened(settings) as database:
        typer.echo(accept_restore(database.url, settings.sealing_key_path, reason, utc_now()), nl=False)
