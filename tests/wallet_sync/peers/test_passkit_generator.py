"""passkit-generator takes over our passes without a complaint; in what it makes of them our check finds no fault."""

from base64 import b64decode
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZipFile

import orjson
import pytest

from tests.wallet_sync.passes import SERIAL, TRANSLATED, card, content, now, points_program, program
from tests.wallet_sync.peers.conftest import run_node
from wallet_sync.apple_certificates import Signer
from wallet_sync.apple_check import faults
from wallet_sync.apple_pass import Rendered, UpdatesFrom, archived, render
from wallet_sync.apple_signing import sign
from wallet_sync.dev_certificates import DevCertificates
from wallet_sync.pass_content import PassContent

Told = dict[str, Any]

UPDATES = UpdatesFrom("https://cards.example/api/v1/loyalty/apple", "t" * 43)
PASSES = {
    "stamps": content(card(), program(terms_text="One card each.\nNo cash.", privacy_url="https://a.example/privacy")),
    "points": content(card(stamps_target=None, points_balance=120), points_program()),
    "suspended": content(card(status="suspended")),
    "translated": content(card(points_balance=12), TRANSLATED),
    "plain": content(card(stamps_target=None, customer={}), points_program(points_rewards=[])),
}


class Judge(NamedTuple):
    """passkit-generator, and what to make passes for it with."""

    signer: Signer
    made: DevCertificates
    folder: Path

    def rendered(self, content: PassContent) -> dict[str, bytes]:
        made = render(content, serial=SERIAL, signer=self.signer, updates=UPDATES)
        return {**made.files, "manifest.json": made.manifest}

    def judges(self, files: dict[str, bytes]) -> Told:
        for name, file_content in files.items():
            file = self.folder / name
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(file_content)
        keys = {name: str(getattr(self.made.files, name)) for name in ("certificate", "key", "wwdr")}
        told: Told = run_node("judge_pass.mjs", {"folder": str(self.folder), **keys})
        return told


@pytest.fixture
def judge(npms_packages: Path, signer: Signer, certificates: DevCertificates, tmp_path: Path) -> Judge:
    return Judge(signer, certificates, tmp_path)


@pytest.mark.parametrize("kind", PASSES)
def test_it_takes_over_all_that_our_pass_says(judge: Judge, kind: str) -> None:
    files = judge.rendered(PASSES[kind])
    told = judge.judges(files)
    assert told["complaints"] == []
    assert (told["type"], sorted(told["languages"])) == ("storeCard", ["de", "en", "fr", "lb"])
    taken: Told = told["props"]
    taken["storeCard"] = {group: fields for group, fields in taken["storeCard"].items() if fields}
    assert taken == orjson.loads(files["pass.json"])


def test_it_lists_the_same_pictures_with_the_same_digests(judge: Judge) -> None:
    files = judge.rendered(PASSES["stamps"])
    ours, theirs = orjson.loads(files["manifest.json"]), judge.judges(files)["manifest"]
    pictures = {name for name in ours if name.endswith(".png")}
    assert len(pictures) == 9 and ours.keys() == theirs.keys()
    assert {name: theirs[name] for name in pictures} == {name: ours[name] for name in pictures}


def test_our_check_finds_no_fault_in_the_pass_that_it_makes_of_the_same_parts(judge: Judge) -> None:
    told = judge.judges(judge.rendered(PASSES["stamps"]))
    with ZipFile(BytesIO(b64decode(told["archive"]))) as made:
        files = {name: made.read(name) for name in made.namelist() if name != "signature"}
    manifest = files.pop("manifest.json")
    # Signed by us: its own signature is over SHA-1, with attributes in no order, which DER does not allow.
    assert faults(archived(Rendered(files, manifest), sign(manifest, judge.signer)), judge.signer, now()) == []


SPOILED: list[tuple[Callable[[Told], object], str]] = [
    (lambda p: p.update(description=7), "description"),
    (lambda p: p.update(voided="perhaps"), "voided"),
    (lambda p: p.update(backgroundColor="brown"), "backgroundColor"),
    (lambda p: p.update(webServiceURL="cards.example"), "webServiceURL"),
    (lambda p: p.update(authenticationToken="short"), "authenticationToken"),
    (lambda p: p["barcodes"][0].update(format="QR"), "barcodes"),
    (lambda p: p["storeCard"]["headerFields"][0].pop("value"), "value"),
    (lambda p: p["storeCard"]["headerFields"][0].update(key="reward"), "reward"),
    (lambda p: p.pop("storeCard"), ""),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "names"), SPOILED)
def test_it_complains_of_a_pass_that_was_spoilt(judge: Judge, spoil: Callable[[Told], object], names: str) -> None:
    files = judge.rendered(PASSES["stamps"])
    shown: Told = orjson.loads(files["pass.json"])
    spoil(shown)
    complaints = " ".join(judge.judges({**files, "pass.json": orjson.dumps(shown)})["complaints"])
    assert complaints and names in complaints
