"""An archive is held against a checkpoint that somebody kept from before."""

import io
from dataclasses import replace as replaced

import pytest

from projections.archive.lines import Checkpoint, Event
from projections.archive.reading import verified
from projections.proofs.checkpoints import opened
from projections.proofs.merkle import Frontier
from projections.proofs.notes import sign
from projections.proofs.verify_statement import Fault, Kind, leaf_data, leaf_hash
from tests.projections.archive.archives import Scene, lines, signer


def kept_notes(raw: bytes) -> list[str]:
    return [line.note for line in lines(raw) if isinstance(line, Checkpoint)]


def read_with(scene: Scene, raw: bytes, kept: str) -> int:
    """How many lines hold."""
    return sum(1 for _ in verified(io.BytesIO(raw), scene.old_key.verifier, kept))


def test_an_archive_goes_on_from_every_checkpoint_that_was_signed_before(scene: Scene) -> None:
    notes = kept_notes(scene.whole)
    assert len(notes) > 3
    for note in notes:
        assert read_with(scene, scene.whole, note) == len(lines(scene.whole))
    for note in (notes[0], notes[-1]):
        assert read_with(scene, scene.of_vendor, note) == len(lines(scene.of_vendor))
    assert kept_notes(scene.of_vendor) == notes[-1:]


@pytest.mark.parametrize("which", ["whole", "of_vendor"])
def test_an_archive_that_is_older_than_what_was_kept_is_refused(scene: Scene, which: str) -> None:
    known = opened(kept_notes(scene.whole)[-1], [signer(scene.store).verifier])
    newer = sign(str(replaced(known, size=known.size + 1)), signer(scene.store))
    with pytest.raises(Fault, match=f"tree of {known.size}, and you know one of {known.size + 1}") as older:
        read_with(scene, getattr(scene, which), newer)
    assert older.value.kind is Kind.OLDER


def test_an_archive_of_another_past_than_the_one_that_was_kept_is_refused(scene: Scene) -> None:
    """Whoever has the key wrote another past and signed it: only the checkpoint that was kept shows it."""
    key = signer(scene.store)
    sizes = [opened(note, [key.verifier, scene.old_key.verifier]) for note in kept_notes(scene.whole)]
    for raw, known in ((scene.whole, sizes[0]), (scene.whole, sizes[-1]), (scene.of_vendor, sizes[-1])):
        with pytest.raises(Fault, match=f"two different trees of {known.size} were signed") as other:
            read_with(scene, raw, sign(str(replaced(known, root=bytes(32))), key))
        assert other.value.kind is Kind.INCONSISTENT


def test_a_checkpoint_that_was_left_out_of_the_archive_is_held_against_its_events(scene: Scene) -> None:
    key, tree = signer(scene.store), Frontier()
    known = opened(kept_notes(scene.whole)[-1], [key.verifier])
    for event in [line for line in lines(scene.whole) if isinstance(line, Event)][: known.size - 1]:
        tree.append(leaf_hash(leaf_data(event.position, bytes.fromhex(event.hash))))
    right = replaced(known, size=tree.size, root=tree.root())
    assert read_with(scene, scene.whole, sign(str(right), key)) == len(lines(scene.whole))
    with pytest.raises(Fault, match=f"two different trees of {tree.size} were signed"):
        read_with(scene, scene.whole, sign(str(replaced(right, root=bytes(32))), key))


def test_what_was_kept_must_be_signed_and_a_checkpoint(scene: Scene) -> None:
    note = kept_notes(scene.whole)[-1]
    kinds = set()
    for wrong in ("", "kept", note.replace("\n\n", "\nmore\n\n"), sign("no checkpoint\n", signer(scene.store))):
        with pytest.raises(Fault) as fault:
            read_with(scene, scene.whole, wrong)
        kinds.add(fault.value.kind)
    assert kinds <= {Kind.CHECKPOINT, Kind.WRONG_KEY}
