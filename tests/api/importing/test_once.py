"""A file is imported once, however often it is tried, interrupted and interfered with."""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from uuid import UUID, uuid4

import psutil
import psycopg
import pytest

from api import importing as importing_module
from api.importing import Done, FileRefused, import_file
from ledger.commands import import_batches
from ledger.commands.imports import Import, ImportStopped
from ledger.ids import new_card_number
from tests.api.importing.place import EXAMPLE, Place, cards, line, opened
from tests.api.test_cli import environment
from tests.clock import eventually
from tests.databases import database, durable_server
from tests.ledgers import MASTER_KEY, rows, running_ledger
from tests.service import REAL


@pytest.fixture(params=["alone", "helped"])
def small_batches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four cards each, recorded by this process alone and by two in turn."""
    monkeypatch.setattr(importing_module, "BATCH_EVENTS", 20)
    monkeypatch.setattr(importing_module, "HELPED_LINES", 1 if request.param == "helped" else 1_000_000)


@pytest.fixture
def helped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing_module, "BATCH_EVENTS", 20)
    monkeypatch.setattr(importing_module, "HELPED_LINES", 1)


def test_a_finished_file_changes_nothing(place: Place) -> None:
    place.bring(EXAMPLE)
    before = place.counts()
    again = place.bring(EXAMPLE, "renamed.ndjson")
    assert again.was_there and place.counts() == before


@pytest.mark.usefixtures("small_batches")
def test_an_interrupted_import_goes_on_and_nothing_happens_twice(place: Place) -> None:
    file, is_first = cards(40), True

    def crash(_title: str, done: int, _total: int) -> None:
        if is_first and _title == "Importing" and done > 80:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        place.bring(file, progress=crash)
    half = place.counts()
    with pytest.raises(ImportStopped, match="another --program"):
        place.bring(file, program_id=place.shop.program_id)
    is_first = False
    done = place.bring(file, progress=crash)
    assert done.began_after > 80 and done.importing.cards == 40
    assert half < place.counts() and place.is_sound()
    assert rows(place.url, "SELECT count(*), sum(version) FROM streams WHERE stream_type = 'card'") == [(40, 236)]


@pytest.mark.usefixtures("small_batches")
def test_a_clash_in_the_middle_is_told_again_with_another_number(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [new_card_number() for _ in range(10)]
    drawn = iter([*numbers, numbers[0]])  # The eleventh card draws a number that the first batch has by then.
    monkeypatch.setattr(import_batches, "new_card_number", lambda: next(drawn, None) or new_card_number())
    done = place.bring([line(customer=f"D-{n}", stamps=1) for n in range(50)])
    assert next(drawn, None) is None
    assert done.importing.cards == 50 and place.is_sound()


@pytest.mark.usefixtures("helped")
def test_what_a_till_does_meanwhile_is_told_again_by_the_other_process(place: Place) -> None:
    """An address that somebody enrols with, after the helper told its batch and before its turn to write that."""

    async def enrol() -> None:
        async with running_ledger(place.url) as ledger:
            await place.shop.at(ledger).card(email="c12@example.lu")

    def meanwhile(title: str, done: int, _total: int) -> None:
        if title == "Importing" and done == 60:
            time.sleep(1)  # The fourth batch is told.
            asyncio.run(enrol())

    done = place.bring(cards(40), progress=meanwhile)
    assert done.importing.cards == 40 and place.is_sound()
    assert rows(place.url, "SELECT count(*) FROM claims WHERE kind = 'customer_email'") == [(40,)]


@pytest.mark.usefixtures("helped")
def test_a_helper_that_is_killed_stops_it_and_the_same_file_goes_on(place: Place) -> None:
    file = cards(60)

    def kill(title: str, done: int, _total: int) -> None:
        if title == "Importing" and done == 60:
            multiprocessing.active_children()[0].kill()

    with pytest.raises(ImportStopped, match="died; give the same file again"):
        place.bring(file, progress=kill)
    assert multiprocessing.active_children() == []
    done = place.bring(file)
    assert done.began_after >= 60 and done.importing.cards == 60 and place.is_sound()
    assert multiprocessing.active_children() == []


@pytest.mark.usefixtures("helped")
def test_a_helper_that_loses_the_database_says_so_as_we_do(place: Place) -> None:
    newest = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
    ORDER BY backend_start DESC LIMIT 1
    """

    def cut(title: str, done: int, _total: int) -> None:
        if title == "Importing" and done == 60:
            assert rows(place.url, newest) == [(True,)]

    with pytest.raises(psycopg.OperationalError) as caught:
        place.bring(cards(60), progress=cut)
    assert "In the helping process" in "".join(caught.value.__notes__)
    assert place.bring(cards(60)).began_after >= 60 and place.is_sound()


@pytest.mark.usefixtures("small_batches")
def test_what_is_taken_meanwhile_stops_it_and_says_where(place: Place) -> None:

    def interfere(title: str, done: int, _total: int) -> None:
        if title == "Importing" and done == 20:
            rows(
                place.url,
                "INSERT INTO claims (kind, scope, value, stream_id) VALUES ('card_number', %s, %s, %s)",
                UUID(int=0),
                b"400000000002",
                uuid4(),
            )

    file = [*cards(12), line(customer="last", card_number="400000000002")]
    with pytest.raises(ImportStopped, match=r"lines \d+ to 61"):
        place.bring(file, progress=interfere)
    with pytest.raises(FileRefused) as caught:
        place.bring(file)
    assert caught.value.findings.shown == [(61, "card_number is a card's already")]


@pytest.mark.usefixtures("small_batches")
def test_two_who_import_the_same_file_at_once_do_not_double_it(place: Place) -> None:
    file = place.file(cards(60))
    outcomes: list[Done | Exception] = []

    def bring() -> None:
        try:
            outcomes.append(import_file(place.url, MASTER_KEY, file, code=place.code))
        except ImportStopped as stopped:
            outcomes.append(stopped)

    threads = [threading.Thread(target=bring) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    finished = [outcome for outcome in outcomes if isinstance(outcome, Done) and not outcome.was_there]
    assert len(finished) == 1 and place.is_sound()
    assert rows(place.url, "SELECT count(*) FROM streams WHERE stream_type = 'card'") == [(60,)]


@pytest.mark.usefixtures("small_batches")
def test_progress_is_fenced_even_where_two_have_the_turn(place: Place) -> None:

    def overtake(title: str, done: int, _total: int) -> None:
        if title == "Importing":
            rows(place.url, "UPDATE imports SET lines_done = lines_done + 1")

    with pytest.raises(ImportStopped, match="somebody else"):
        place.bring(cards(40), progress=overtake)


def test_a_file_that_changes_meanwhile_is_not_imported(place: Place) -> None:
    path = place.folder / "cards.ndjson"

    def change(title: str, _done: int, _total: int) -> None:
        if title == "Checking":
            path.write_text(path.read_text() + "\n")

    with pytest.raises(ImportStopped, match="was changed"):
        place.bring(EXAMPLE, progress=change)


def test_stamping_goes_on_beside_an_import(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing_module, "BATCH_EVENTS", 50)

    async def story() -> Import:
        async with running_ledger(place.url) as ledger:
            shop = place.shop.at(ledger)
            card = await shop.card()
            bringing = asyncio.create_task(asyncio.to_thread(place.bring, cards(200)))
            while not bringing.done():
                await shop.stamp(card)
            return (await bringing).importing

    assert asyncio.run(story()).cards == 200
    assert place.is_sound()


def test_a_batch_costs_the_same_however_many_events_are_there(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database looks each predecessor up; it must not read all events for every batch."""
    monkeypatch.setattr(importing_module, "BATCH_EVENTS", 50)
    place.bring(cards(300))
    sql = "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'stored_events_pkey'"
    until = time.monotonic() + 10
    while (read := rows(place.url, sql)[0][0]) == 0 and time.monotonic() < until:
        time.sleep(0.1)
    assert 0 < read < 3_000


def command(place: Place, *words: str) -> list[str]:
    return [REAL, "import", str(place.folder / "cards.ndjson"), "--vendor", place.code, *words]


def typed(place: Place, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(place, *words), env=environment(place.url), capture_output=True, text=True, timeout=240, check=False
    )


def has_ended(process: psutil.Process) -> bool:
    """Within ten seconds. Where nobody waits for orphans, what has ended stays as a zombie."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.05)
                continue
        return True
    return False


def test_a_killed_import_goes_on_where_it_was(tmp_path: Path) -> None:
    with durable_server() as server, database(server.start(), upgraded=True) as url:
        place = opened(url, tmp_path)
        place.file([line(customer="C-1", stamps=-1)])
        wrong = typed(place)
        assert (wrong.returncode, wrong.stdout) == (1, "")
        assert "line 1: stamps must be at least 0" in wrong.stderr and "Nothing was written" in wrong.stderr

        place.file(cards(5_000))
        first = subprocess.Popen(command(place), env=environment(url), stderr=subprocess.DEVNULL)
        eventually(lambda: rows(url, "SELECT coalesce(max(lines_done), 0) FROM imports")[0][0] > 0)
        children = psutil.Process(first.pid).children(recursive=True)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        assert children and all(has_ended(child) for child in children)
        ((done, finished_at),) = rows(url, "SELECT lines_done, finished_at FROM imports")
        assert 0 < done < 25_000 and finished_at is None
        second, third = typed(place), typed(place)
        assert (second.returncode, third.returncode) == (0, 0), second.stderr
        assert "Imported 5000 cards with 24500 entries. It went on behind line" in second.stdout
        assert "was imported already" in third.stdout
        assert rows(url, "SELECT count(*) FROM streams WHERE stream_type = 'card'") == [(5_000,)]
        assert place.is_sound()
