"""The batches of an import, written in order by two processes in turn: while one writes, the other tells the next.

Telling keeps a processor of ours as busy as writing keeps one of the database's. In one process, a second thread for
one of them would only wait for the interpreter. The other process ends with this one, however that ends.
"""

import gc
import multiprocessing
import pickle
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from multiprocessing.connection import Connection as Pipe
from typing import Any

import psycopg
from psycopg import Connection

from ledger.commands.import_batches import Batch, told, write
from ledger.commands.imports import SESSION, Import, ImportStopped
from ledger.committer import is_clash
from ledger.history import Past
from ledger.seal import MasterKey

TRIES_MAX = 5
STOP_SECONDS = 5.0


def record(
    connection: Connection[Any],
    helper: Pipe | None,
    importing: Import,
    pieces: Iterator[bytes],
    master_key: MasterKey,
    clock: Callable[[], datetime],
) -> Iterator[Import]:
    """Record cards, each batch in one transaction with how far the import has come.

    Args:
        connection: With autocommit, and `SESSION` executed on it. Only this function uses it meanwhile.
        helper: What `helping` gave: takes every other batch. None: this process does all by itself.
        pieces: Batches in order, each a pickled list of `Past`.
        clock: The time they are recorded at; no entry of them lies later.

    Returns:
        The import as it stands, after each batch.

    Raises:
        ImportStopped: A line cannot be recorded any more, somebody else goes on with the import, or the helper died.
            The batches in front are recorded, nothing of that one is.
        psycopg.OperationalError: The outcome of the last batch is unknown; `find` tells how far it has come.
    """

    def own() -> tuple[bytes, Batch] | None:
        """The next batch, told by this process."""
        if (piece := next(pieces, None)) is None:
            return None
        return piece, told(connection, importing, pickle.loads(piece), master_key, clock())

    def handed() -> tuple[Pipe, bytes] | None:
        """The next batch, which the helper begins to tell."""
        if helper is None or (piece := next(pieces, None)) is None:
            return None
        _say(helper, (importing, piece, clock()))
        return helper, piece

    def told_again(piece: bytes) -> Import:
        """After a clash: with other numbers, other keys or newer rules, as the clash may want it."""
        pasts: list[Past] = pickle.loads(piece)
        for _ in range(TRIES_MAX):
            batch = told(connection, importing, pasts, master_key, clock())
            if (after := _written(connection, importing, batch, master_key)) is not None:
                return after
        lines = f"lines {pasts[0].line} to {pasts[-1].last_line}"
        raise ImportStopped(f"{lines}: a number, customer or reference in them is in use by now")

    ours = own()
    while ours is not None:
        piece, batch = ours
        theirs = handed()
        importing = _written(connection, importing, batch, master_key) or told_again(piece)
        yield importing
        if theirs is not None:
            _say(theirs[0], importing)
        ours = own()
        if theirs is not None:
            importing = _answer(theirs[0]) or told_again(theirs[1])
            yield importing


def _written(connection: Connection[Any], before: Import, batch: Batch, master_key: MasterKey) -> Import | None:
    """None after a clash."""
    try:
        return write(connection, before, batch, master_key)
    except psycopg.Error as error:
        if is_clash(error):
            return None
        raise


# ------------------------------------------------------------------ the other process


@contextmanager
def helping(url: str, master_key: MasterKey) -> Iterator[Pipe]:
    """A process that helps `record`, and our end of the pipe to it. It takes a second to start; nobody waits for that.

    Args:
        url: The database `record` writes to.
    """
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe()
    # Spawned, it holds no copy of our end: where we are killed, its pipe ends. The key reaches it through a pipe too.
    process = spawning.Process(target=_help, args=(theirs, url, master_key), name="import", daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.join(STOP_SECONDS)  # For the transaction it may be in.
        process.kill()
        process.join()


def _say(helper: Pipe, what: object) -> None:
    try:
        helper.send(what)
    except OSError as error:
        raise _died() from error


def _answer(helper: Pipe) -> Import | None:
    """None after a clash."""
    try:
        answer: Import | Exception | None = helper.recv()
    except (EOFError, OSError) as error:
        raise _died() from error
    if isinstance(answer, Exception):
        raise answer
    return answer


def _died() -> ImportStopped:
    return ImportStopped("the process that helps with it died; give the same file again")


def _help(pipe: Pipe, url: str, master_key: MasterKey) -> None:
    """What the other process does, as long as its pipe is open."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started us: we end when they do.
    gc.disable()  # Events make no cycles: looking for some costs time.
    with suppress(EOFError, OSError):
        try:
            with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
                connection.execute(SESSION)
                while True:
                    importing, piece, now = pipe.recv()
                    batch = told(connection, importing, pickle.loads(piece), master_key, now)
                    pipe.send(_written(connection, pipe.recv(), batch, master_key))
        except (EOFError, OSError):
            raise
        except Exception as error:
            error.add_note("In the helping process:\n" + traceback.format_exc())
            pipe.send(error)
            while True:  # Whatever it is still told.
                pipe.recv()
