"""An archive that somebody without the key changed is refused, whatever they did to it."""

import gzip

import pytest

from projections.archive.lines import LINE_BYTES_MAX, ArchiveRefused
from tests.projections.archive.archives import Scene, load, rows_in, verified_at_once


def put(raw: bytes, number: int, *instead: bytes) -> bytes:
    """A file with other lines in the place of one."""
    parts = raw.splitlines(keepends=True)
    parts[number : number + 1] = [line + b"\n" for line in instead]
    return b"".join(parts)


def test_no_line_can_be_changed_left_out_doubled_or_moved(scene: Scene) -> None:
    """Lines from all over the file, in each of these ways."""
    for whole in (scene.whole, scene.of_vendor):
        parts = whole.splitlines()
        looked_at = [number for number in range(len(parts)) if number < 8 or number % 9 == 0 or number > len(parts) - 4]
        for number in looked_at:
            line = parts[number]
            middle = len(line) // 2
            other = bytes([line[middle] ^ 1])
            for instead in (
                (line[:middle] + other + line[middle + 1 :],),
                (),
                (line, line),
                (line + b" ",),
                (line[:-1],),
            ):
                with pytest.raises(ArchiveRefused):
                    verified_at_once(put(whole, number, *instead), scene.store.public_key)
        for number in looked_at[:-1]:
            swapped = [*parts[:number], parts[number + 1], parts[number], *parts[number + 2 :]]
            with pytest.raises(ArchiveRefused):
                verified_at_once(b"\n".join(swapped) + b"\n", scene.store.public_key)


def test_no_file_that_was_cut_off_is_taken(scene: Scene) -> None:
    size = len(scene.whole)
    for end in {*range(0, size, 997), size - 1, size - 2, *(len(scene.whole.rpartition(b'{"line"')[0]),)}:
        with pytest.raises(ArchiveRefused):
            verified_at_once(scene.whole[:end], scene.store.public_key)


HOSTILE = {
    "empty": b"",
    "newlines": b"\n" * 100,
    "text": b"Dear service, please load this.\n",
    "zeros": b"\0" * 5_000 + b"\n",
    "compressed": gzip.compress(b'{"line":"header"}\n'),
    "not UTF-8": b'{"line":"header","format":"\xff"}\n',
    "a list": b"[1,2]\n",
    "deep": b"[" * 100_000 + b"]" * 100_000 + b"\n",
    "deep in a row": b'{"line":"row","table":"claims","values":' + b"[" * 100_000 + b"\n",
    "a huge number": b'{"line":"header","events":' + b"9" * 10_000 + b"}\n",
    "a trailer alone": b'{"line":"trailer","note":"x"}\n',
    "too long": b'{"line":"header","format":"' + b"a" * (LINE_BYTES_MAX + 10) + b'"}\n',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_archive_is_refused_at_its_first_line(scene: Scene, name: str) -> None:
    with pytest.raises(ArchiveRefused, match=r"^line 1: ") as refused:
        load(scene.empty_url, HOSTILE[name], scene.store.public_key)
    assert len(str(refused.value)) < 200
    assert rows_in(scene.empty_url) == 0
