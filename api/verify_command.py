"""What `loyalty-ledger verify` says of a whole store: one sentence where all is as it was sealed, else what is not."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from api.settings import Settings
from projections.proofs.checkpoints import opened
from projections.proofs.findings import Findings
from projections.proofs.sealer import connected, number, remembered_file
from projections.proofs.sealing_keys import SealingRefused, read_key, recorded_keys, trusted_keys
from projections.proofs.store import verify_store
from projections.proofs.verify_statement import Fault, VerifierKey

EVENTS = "SELECT count(*) FROM stored_events"


@dataclass(frozen=True, slots=True)
class Told:
    wrong: list[str]
    done: str


def verify_for(
    settings: Settings, url: str, *, key: str | None, kept: Path | None, progress: Callable[[int, int], None]
) -> Told:
    """Hold the store against everything that was signed.

    Args:
        key: The public key to trust; None takes that of the key file, which is outside the database.
        kept: A checkpoint that was fetched earlier; None takes the one that is remembered beside the key.
        progress: Told how many events were read, of how many; where something is wrong, it begins again.
    """
    with connected(url) as connection:
        trusted: VerifierKey | None = None
        try:
            trusted = _trusted(key) if key is not None else read_key(settings.sealing_key_path).verifier
        except SealingRefused:
            recorded = recorded_keys(connection)
            if recorded:
                return Told(["There is no sealing key on this machine: name the public key with --key."], "")
        except Fault as fault:
            return Told([f"This does not hold: {fault}."], "")
        try:
            keys = [] if trusted is None else trusted_keys(connection, trusted)
            file = kept or remembered_file(settings.sealing_key_path)
            checkpoint = opened(file.read_text(encoding="utf-8"), keys) if file.exists() and keys else None
        except Fault as fault:
            return Told([f"This does not hold: {fault}."], "")
        total = int(number(connection, EVENTS))
        findings = Findings()
        for findings in verify_store(connection, trusted, checkpoint):
            progress(findings.events, max(total, findings.events))
    if findings.first:
        more = findings.faults - len(findings.first)
        return Told([*map(str, findings.first.values()), *([f"And {more} more faults."] if more else [])], "")
    return Told([], _all_well(findings))


def _trusted(key: str) -> VerifierKey:
    return VerifierKey.parse(key if key.count("+") >= 2 else Path(key).read_text(encoding="utf-8"))


def _all_well(findings: Findings) -> str:
    said = (
        f"{findings.events:,} events in {findings.histories:,} histories: every chain is whole."
        f" {findings.checkpoints:,} checkpoints: the tree over {findings.sealed_events:,} events is the one signed."
    )
    if findings.given_up:
        said += f" {findings.given_up:,} checkpoints are of a past that an operator gave up: see /audit/restores."
    return said
