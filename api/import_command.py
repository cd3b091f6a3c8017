"""What `loyalty-ledger import` says: one sentence where a file is in, else one for each thing that is wrong."""

from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import psycopg

from api.database import Database
from api.import_files import CSV_SUFFIXES, NDJSON_SUFFIXES
from api.importing import Done, FileRefused, Progress, import_file
from ledger.commands.imports import ImportStopped

SUFFIXES = (*NDJSON_SUFFIXES, *CSV_SUFFIXES)


@dataclass(frozen=True, slots=True)
class Told:
    """`done`, or the sentences in `wrong`."""

    done: str = ""
    wrong: list[str] = field(default_factory=list)


def import_for(
    database: Database, file: Path, *, code: str, program_id: UUID | None, report: Path | None, progress: Progress
) -> Told:
    if file.suffix.lower() not in SUFFIXES:
        return Told(wrong=[f"{file.name}: the name must end in one of {' '.join(SUFFIXES)}"])
    try:
        done = import_file(
            database.url,
            database.keys.master_key,
            file,
            code=code,
            program_id=program_id,
            progress=progress,
            report=report,
        )
    except FileRefused as refused:
        return Told(wrong=_listed(refused))
    except ImportStopped as stopped:
        return Told(wrong=[f"Not imported: {stopped}."])
    except psycopg.OperationalError:
        return Told(wrong=["The database went away. Give the same file again: it goes on where it stopped."])
    return Told(done=_sentence(done))


def _listed(refused: FileRefused) -> list[str]:
    findings = refused.findings
    lines = [f"line {line}: {sentence}" for line, sentence in findings.shown]
    if (rest := findings.count - len(findings.shown)) > 0:
        lines.append(f"… and {rest} more.")
    return [*lines, f"{findings.count} errors. Nothing was written."]


def _sentence(done: Done) -> str:
    what = f"{done.importing.cards} cards with {done.importing.entries} entries"
    if done.was_there:
        return f"This file was imported already, on {done.importing.finished_at:%Y-%m-%d}: {what}. Nothing was changed."
    again = f" It went on behind line {done.began_after}." if done.began_after else ""
    return f"Imported {what}.{again}"
