"""Our recorder where the library expects its own: the same table, the same reading, and no surprises in appending."""

import multiprocessing
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from eventsourcing.persistence import IntegrityError, OperationalError, ProgrammingError, StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from ledger.recorder import APP_ROLE, LOCK_STORE, Datastore, Recorder
from tests.ledgers import rows

WRITERS = 8
SHAPE = """
SELECT 'column', c.column_name, c.data_type, c.is_nullable, c.column_default
FROM information_schema.columns c WHERE c.table_name = 'stored_events' AND c.table_schema = %(schema)s
UNION ALL
SELECT 'index', indexname, replace(indexdef, schemaname || '.', ''), NULL, NULL
FROM pg_indexes WHERE tablename = 'stored_events' AND schemaname = %(schema)s
UNION ALL
SELECT 'constraint', conname, pg_get_constraintdef(oid), NULL, NULL
FROM pg_constraint WHERE conrelid = (%(schema)s || '.stored_events')::regclass AND contype <> 'n'
UNION ALL
SELECT 'option', unnest(reloptions), NULL, NULL, NULL
FROM pg_class WHERE oid = (%(schema)s || '.stored_events')::regclass
UNION ALL
SELECT 'attribute', a.attname, format_type(a.atttypid, a.atttypmod), NULL, NULL
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = 'stored_event_uuid' AND n.nspname = %(schema)s
ORDER BY 1, 2
"""


@pytest.fixture
def recorder(database_url: str) -> Iterator[Recorder]:
    with Datastore(database_url) as datastore:
        yield Recorder(datastore)


def events(count: int, stream_id: UUID | None = None, *, first: int = 1) -> list[StoredEvent]:
    stream_id = stream_id or uuid4()
    return [StoredEvent(stream_id, first + n, "card-stamped", b"%d" % n) for n in range(count)]


# ------------------------------------------------------------------ the table


def test_the_migration_makes_just_what_the_library_would(database_url: str) -> None:
    parts = conninfo_to_dict(database_url)
    with PostgresDatastore(
        dbname=str(parts["dbname"]),
        host=str(parts["host"]),
        port=str(parts["port"]),
        user=str(parts["user"]),
        password="",
        schema="librarys_own",
        originator_id_type="uuid",
    ) as datastore:
        datastore.pool.open()
        with datastore.get_connection() as connection:
            connection.execute("CREATE SCHEMA librarys_own")
        PostgresApplicationRecorder(datastore).create_table()

    def shape(schema: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(database_url) as connection:
            found = connection.execute(SHAPE, {"schema": schema}).fetchall()
        return [tuple(str(cell).replace(f"{schema}.", "") for cell in row) for row in found]

    assert len(shape("public")) > 10
    assert shape("public") == shape("librarys_own")


def test_database_functions_are_off(recorder: Recorder, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_ENABLE_DB_FUNCTIONS", "y")
    with Datastore(database_url) as datastore:
        assert datastore.enable_db_functions is False
    assert recorder.datastore.enable_db_functions is False
    assert rows(database_url, "SELECT 1 FROM pg_proc WHERE proname LIKE 'es_insert_events%%'") == []


# ------------------------------------------------------------------ appending and reading


def test_what_is_appended_is_read_in_order(recorder: Recorder) -> None:
    card, other = uuid4(), uuid4()
    positions = recorder.insert_events([*events(3, card), *events(2, other)])
    assert list(positions) == sorted(positions) and len(set(positions)) == 5
    assert [e.originator_version for e in recorder.select_events(card)] == [1, 2, 3]
    assert [e.originator_version for e in recorder.select_events(card, desc=True, limit=1)] == [3]
    assert [e.originator_version for e in recorder.select_events(card, gt=1, lte=2)] == [2]
    assert recorder.select_events(uuid4()) == []
    notifications = recorder.select_notifications(start=positions[1], limit=10)
    assert [n.id for n in notifications] == list(positions)[1:]
    assert recorder.select_notifications(positions[0], 10, topics=["other"]) == []
    assert recorder.max_notification_id() == positions[-1]
    assert recorder.insert_events([]) == []


def test_a_taken_version_is_refused_and_nothing_of_the_batch_stays(recorder: Recorder) -> None:
    card, other = uuid4(), uuid4()
    recorder.insert_events(events(2, card))
    with pytest.raises(IntegrityError):
        recorder.insert_events([*events(1, other), *events(1, card, first=2)])
    assert recorder.select_events(other) == []
    recorder.insert_events(events(1, card, first=3))


@pytest.mark.parametrize("first", [0, -1, 2, 5])
def test_a_gap_is_refused_by_the_database(recorder: Recorder, first: int) -> None:
    with pytest.raises(IntegrityError):
        recorder.insert_events(events(1, first=first))
    card = uuid4()
    recorder.insert_events(events(2, card))
    with pytest.raises(IntegrityError):
        recorder.insert_events(events(1, card, first=4))
    assert len(recorder.select_events(card)) == 2


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE stored_events SET topic = 'x'",
        "DELETE FROM stored_events",
        "TRUNCATE stored_events",
        "DROP TABLE stored_events",
    ],
)
def test_the_application_can_only_add(recorder: Recorder, database_url: str, statement: str) -> None:
    recorder.insert_events(events(1))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(APP_ROLE)))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)
    with pytest.raises(ProgrammingError), recorder.datastore.get_connection() as pooled:
        pooled.execute(statement)
    assert recorder.max_notification_id() is not None


@pytest.mark.parametrize("statement", ["UPDATE stored_events SET topic = 'x'", "DELETE FROM stored_events"])
def test_even_the_owner_cannot_change_by_mistake(recorder: Recorder, database_url: str, statement: str) -> None:
    recorder.insert_events(events(1))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows(database_url, statement)


def test_an_insert_is_tried_once(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = 0

    def lost(*_: Any, **__: Any) -> Any:
        nonlocal tries
        tries += 1
        raise OperationalError("lost")

    recorder.insert_events(events(1))
    monkeypatch.setattr(recorder.datastore, "get_connection", lost)
    began = time.monotonic()
    with pytest.raises(OperationalError):
        recorder.insert_events(events(1))
    assert tries == 1 and time.monotonic() - began < 1.0


def test_a_connection_lost_while_waiting_is_told_at_once(recorder: Recorder, database_url: str) -> None:
    recorder.insert_events(events(1))
    told: list[BaseException] = []

    def insert() -> None:
        try:
            recorder.insert_events(events(1))
        except BaseException as error:
            told.append(error)

    with psycopg.connect(database_url) as holder:
        holder.execute(LOCK_STORE)
        writer = threading.Thread(target=insert)
        writer.start()
        waiting = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while not (found := rows(database_url, waiting)):
            time.sleep(0.01)
        rows(database_url, "SELECT pg_terminate_backend(%s)", found[0][0])
        writer.join(30)
        assert not writer.is_alive()
    assert [type(error) for error in told] == [OperationalError]
    assert recorder.max_notification_id() == 1


# ------------------------------------------------------------------ together


def test_threads_that_append_together_get_their_own_positions_and_their_own_refusals(recorder: Recorder) -> None:
    """Sixteen threads share transactions; whose version is taken is refused, and disturbs nobody."""
    taken = uuid4()
    recorder.insert_events(events(1, taken))
    told: dict[UUID, list[int]] = {}
    refused: list[int] = []

    def append(n: int) -> None:
        card = uuid4()
        told[card] = []
        for version in range(1, 41):
            told[card] += recorder.insert_events(events(1, card, first=version))
            if version % 10 == n % 10:
                with pytest.raises(IntegrityError):
                    recorder.insert_events([*events(1), *events(1, taken)])
                refused.append(n)

    threads = [threading.Thread(target=append, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 16 * 4
    for card, positions in told.items():
        assert positions == sorted(positions)
        found = recorder.select_notifications(1, 100_000)
        assert [n.id for n in found if n.originator_id == card] == positions
        assert [e.originator_version for e in recorder.select_events(card)] == list(range(1, 41))
    assert len(found) == 1 + 16 * 40


# ------------------------------------------------------------------ following


def test_a_subscription_sees_what_was_and_what_comes(recorder: Recorder) -> None:
    recorder.insert_events(events(3))
    with recorder.subscribe(gt=1) as subscription:
        assert [next(subscription).id for _ in range(2)] == [2, 3]
        (position,) = recorder.insert_events(events(1))
        began = time.monotonic()
        assert next(subscription).id == position
        assert time.monotonic() - began < 10


def tail(url: str, seconds: float, writers: int = WRITERS) -> tuple[list[int], list[int]]:
    """Positions as a reader meets them beside writers, and those that were written."""
    seen: list[int] = []
    written: list[int] = []
    stop = threading.Event()

    def write() -> None:
        with Datastore(url) as datastore:
            own = Recorder(datastore)
            card, version = uuid4(), 1
            while not stop.is_set():
                count = 1 + version % 3
                written.extend(own.insert_events(events(count, card, first=version)))
                version += count

    threads = [threading.Thread(target=write) for _ in range(writers)]
    with Datastore(url) as datastore:
        reader = Recorder(datastore)
        for thread in threads:
            thread.start()
        ends = time.monotonic() + seconds
        while True:
            is_over = time.monotonic() > ends
            if is_over:
                stop.set()
                for thread in threads:
                    thread.join()
            found = reader.select_notifications(
                seen[-1] if seen else 0, 100_000 if is_over else 500, inclusive_of_start=False
            )
            seen.extend(notification.id for notification in found)
            if is_over and not found:
                return seen, written


def test_a_reader_beside_eight_writers_misses_nothing(database_url: str) -> None:
    seen, written = tail(database_url, seconds=3)
    assert len(written) > 50
    assert seen == sorted(written)


@pytest.mark.faults
def test_a_reader_beside_eight_writers_misses_nothing_in_a_minute(database_url: str) -> None:
    seen, written = tail(database_url, seconds=60)
    assert seen == sorted(written)
    print(f"\ntailing reader beside {WRITERS} writers: {len(seen)} events in 60 s, 0 missed, 0 out of order")  # noqa: T201


def test_a_reader_beside_committers_and_the_recorder_sees_one_order(database_url: str) -> None:
    """The committer's rounds take the same lock."""
    source = rows(database_url, "SELECT prosrc FROM pg_proc WHERE proname = 'append_batch'")[0][0]
    assert LOCK_STORE.removeprefix("SELECT ") in source


# ------------------------------------------------------------------ starting


def start(url: str, barrier: Any, told: Any) -> None:
    barrier.wait()
    with Datastore(url) as datastore:
        told.put(len(Recorder(datastore).insert_events(events(2))))


def test_several_processes_start_at_the_same_moment(database_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, told = context.Barrier(4), context.Queue()
    processes = [context.Process(target=start, args=(database_url, barrier, told)) for _ in range(4)]
    for process in processes:
        process.start()
    assert [told.get(timeout=60) for _ in processes] == [2] * 4
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    told.close()
    told.join_thread()


def test_importing_connects_to_nothing_and_creates_nothing(database_url: str) -> None:
    before = rows(database_url, "SELECT count(*) FROM pg_class")
    code = "import ledger.recorder, ledger.committer, ledger.commands; print('fine')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "fine\n"
    assert rows(database_url, "SELECT count(*) FROM pg_class") == before
