"""A whole pass: rendered, signed, packed; looked at by openssl; held back by our own check for every known fault."""

import shutil
import subprocess
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha1
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import pkcs7

from tests.wallet_sync.passes import (
    CARD_ID,
    NOW,
    SECRET,
    SERIAL,
    TEXTS,
    TOKEN,
    TRANSLATED,
    card,
    now,
    points_program,
    program,
    rendered,
)
from wallet_sync.apple_certificates import Signer
from wallet_sync.apple_check import faults
from wallet_sync.apple_key_ring import KeyRing
from wallet_sync.apple_pass import WORD_JOINER, PassUnfit, Rendered, archived, packed, serial_number
from wallet_sync.apple_signing import sign, what_is_wrong
from wallet_sync.dev_certificates import DevCertificates, make_dev_certificates

Told = dict[str, Any]
LANGUAGES = ("en", "fr", "de", "lb")


def told(pass_: Rendered) -> Told:
    read: Told = orjson.loads(pass_.files["pass.json"])
    return read


def fields(pass_: Told) -> dict[str, Told]:
    return {field["key"]: field for group in pass_["storeCard"].values() for field in group}


def strings(pass_: Rendered, language: str) -> dict[str, str]:
    lines = pass_.files[f"{language}.lproj/pass.strings"].decode().splitlines()
    pairs = (line.removeprefix('"').removesuffix('";').split('" = "') for line in lines)
    return {key: text for key, text in pairs}  # noqa: C416 (mypy knows lists as no pairs)


# ------------------------------------------------------------------ what is in it


def test_a_pass_names_its_type_its_team_and_a_serial_number_that_tells_nothing(signer: Signer) -> None:
    shown = told(rendered(signer))
    assert (shown["passTypeIdentifier"], shown["teamIdentifier"]) == (signer.pass_type_id, signer.team_id)
    assert shown["serialNumber"] == SERIAL
    assert CARD_ID.hex not in SERIAL and "927826510269" not in SERIAL and len(SERIAL) == 32


def test_a_serial_number_is_a_cards_for_ever_and_nobody_elses() -> None:
    assert serial_number(SECRET, CARD_ID) == SERIAL
    assert serial_number(SECRET[::-1], CARD_ID) != SERIAL


def test_an_active_card_can_be_scanned_and_is_not_voided(signer: Signer) -> None:
    shown = told(rendered(signer))
    assert "voided" not in shown
    (code,) = shown["barcodes"]
    assert (code["format"], code["message"], code["altText"]) == ("PKBarcodeFormatQR", TOKEN, "9278 2651 0269")


@pytest.mark.parametrize("status", ["suspended", "closed", "replaced"])
def test_any_other_card_is_voided_without_a_code(signer: Signer, status: str) -> None:
    shown = told(rendered(signer, card(status=status)))
    assert shown["voided"] is True and "barcodes" not in shown
    assert TOKEN not in rendered(signer, card(status=status)).files["pass.json"].decode()


def test_nothing_is_promised_that_is_not_there(signer: Signer) -> None:
    assert told(rendered(signer)).keys().isdisjoint({"webServiceURL", "authenticationToken"})


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_has_all_labels(signer: Signer, language: str) -> None:
    pass_ = rendered(signer, card(status="suspended"), program(terms_text="T", privacy_url="https://a.example"))
    known, shown = strings(pass_, language), told(pass_)
    ours = {field["label"] for field in fields(shown).values()} | {shown["description"]}
    ours |= {field["changeMessage"] for field in fields(shown).values() if "changeMessage" in field}
    assert ours | {"This card is suspended"} == known.keys()
    assert all(text.count("%@") == key.count("%@") for key, text in known.items())


def test_the_four_languages_differ(signer: Signer) -> None:
    pass_ = rendered(signer)
    assert {strings(pass_, language)["Reward"] for language in LANGUAGES} == {
        "Reward", "Récompense", "Prämie", "Belounung",
    }  # fmt: skip


def test_a_point_card_without_rewards_has_no_strip(signer: Signer) -> None:
    plain = rendered(signer, card(stamps_target=None), points_program(points_rewards=[]))
    assert not any("strip" in name for name in plain.files)
    assert faults(packed(plain, signer, now()), signer, now()) == []


def test_what_shows_the_same_has_the_same_bytes_but_for_the_signature(signer: Signer) -> None:
    one, same, other = rendered(signer), rendered(signer), rendered(signer, card(stamp_count=8))
    assert archived(one, b"signature") == archived(same, b"signature")
    assert one.digest == same.digest != other.digest


def test_the_vendors_words_are_left_as_they_are_and_stay_out_of_the_catalogue(signer: Signer) -> None:
    words = 'Say "hi" = 50 % \\ off;\n\u202eتخفيض 🎉'
    pass_ = rendered(signer, card(customer={"name": words}), program(name=words, stamps_reward_description=words))
    assert fields(told(pass_))["member"]["value"] == words
    assert "hi" not in pass_.files["en.lproj/pass.strings"].decode()
    assert faults(packed(pass_, signer, now()), signer, now()) == []


def test_words_of_the_vendor_that_equal_ours_are_not_found_in_the_catalogue(signer: Signer) -> None:
    named = card(status="suspended", customer={"name": "Reward"})
    pass_ = rendered(signer, named, program(card_name="Loyalty card", stamps_reward_description="Stamps"))
    shown = told(pass_)
    theirs = [shown["logoText"], *(fields(shown)[key]["value"] for key in ("reward", "about_reward", "member"))]
    assert [words.rstrip(WORD_JOINER) for words in theirs] == ["Loyalty card", "Stamps", "Stamps", "Reward"]
    assert strings(pass_, "fr").keys().isdisjoint(theirs)
    assert fields(shown)["status"]["value"] in strings(pass_, "fr")
    assert shown["organizationName"] == "Café Beim Rousegäertchen"  # What equals none is as it was.


@pytest.mark.parametrize(
    ("language", "title", "reward", "offers", "terms"),
    [
        ("en", "Coffee card", "E Kaffi no Wiel", "20 · A slice of cake", "Eng pro Besuch.\\nKee Boergeld."),
        ("fr", "Carte café", "Un café au choix", "20 · Une part de gâteau", "Une par visite.\\nPas d’espèces."),
        ("de", "Kaffiskaart", "Ein Kaffee nach Wahl", "20 · A slice of cake", "Eng pro Besuch.\\nKee Boergeld."),
        ("lb", "Kaffiskaart", "E Kaffi no Wiel", "20 · A slice of cake", "Eng pro Besuch.\\nKee Boergeld."),
    ],
)
def test_the_vendors_words_are_read_in_each_language(
    signer: Signer, language: str, title: str, reward: str, offers: str, terms: str
) -> None:
    pass_ = rendered(signer, card(points_balance=12), TRANSLATED)
    shown, known = told(pass_), strings(pass_, language)
    values = {key: known.get(field["value"]) for key, field in fields(shown).items()}
    assert (known[shown["logoText"]], values["reward"], values["about_reward"]) == (title, reward, reward)
    assert values["offers"] == f"{offers}\\n500 · A bag of beans"
    assert values["terms"] == terms
    assert values["member"] is values["number"] is values["issuer"] is None
    assert faults(packed(pass_, signer, now()), signer, now()) == []


def test_where_a_phone_speaks_no_language_of_ours_it_shows_the_plain_words(signer: Signer) -> None:
    shown = told(rendered(signer, card(points_balance=12), TRANSLATED))
    assert (shown["logoText"], fields(shown)["reward"]["value"]) == ("Kaffiskaart", "E Kaffi no Wiel")
    assert fields(shown)["terms"]["value"] == "Eng pro Besuch. Kee Boergeld."


def test_equal_words_with_other_translations_are_kept_apart_and_never_translated_by_chance(signer: Signer) -> None:
    kaffi = program(
        card_name="Kaffi",
        stamps_reward_description="Kaffi",
        terms_text="Kaffi",
        translations={"fr": {"card_name": "Café", "stamps_reward_description": "Reward"}},
    )
    pass_ = rendered(signer, card(customer={"name": "Kaffi"}), kaffi)
    shown, known = told(pass_), strings(pass_, "fr")
    said = {key: field["value"] for key, field in fields(shown).items()}
    assert known[shown["logoText"]] == "Café"
    assert known[said["reward"]] == known[said["about_reward"]] == "Reward"
    assert {said["member"], said["terms"]}.isdisjoint(known)
    assert {value.rstrip(WORD_JOINER) for value in (said["member"], said["terms"], shown["logoText"])} == {"Kaffi"}


def test_a_reward_called_like_a_label_of_ours_has_its_own_words_and_the_label_ours(signer: Signer) -> None:
    words = {"fr": {"stamps_reward_description": "Des timbres"}}
    pass_ = rendered(signer, card(), program(stamps_reward_description="Stamps", translations=words))
    shown, known = told(pass_), strings(pass_, "fr")
    assert known[fields(shown)["reward"]["value"]] == "Des timbres"
    assert known[fields(shown)["stamps"]["label"]] == TEXTS["fr"]["Stamps"] != "Des timbres"


def test_odd_words_in_another_language_are_lines_that_every_reader_can_read(signer: Signer) -> None:
    words = 'Say "hi" = 50 % \\ off;\nتخفيض 🎉'
    odd = program(name=words, terms_text=words, translations={"fr": {"card_name": words + "!", "terms_text": "T = 1"}})
    pass_ = rendered(signer, card(), odd)
    assert strings(pass_, "fr")[fields(told(pass_))["terms"]["value"]] == "T = 1"
    assert faults(packed(pass_, signer, now()), signer, now()) == []


def test_an_archive_has_plain_entries_at_one_fixed_time(signer: Signer) -> None:
    with ZipFile(BytesIO(packed(rendered(signer), signer, now()))) as opened:
        entries = opened.infolist()
    assert {entry.date_time for entry in entries} == {(2020, 1, 1, 0, 0, 0)}
    assert not any(entry.is_dir() or entry.flag_bits & 1 or entry.extra for entry in entries)
    assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)


# ------------------------------------------------------------------ the signature


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_verifies_the_signature_and_refuses_it_for_a_changed_manifest(
    signer: Signer, certificates: DevCertificates, tmp_path: Path
) -> None:
    with ZipFile(BytesIO(packed(rendered(signer), signer, now()))) as opened:
        opened.extractall(tmp_path)

    def verified() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", "signature",
             "-content", "manifest.json", "-CAfile", str(certificates.root), "-purpose", "any", "-out", "/dev/null"],
            cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    assert verified().returncode == 0, verified().stderr
    structure = subprocess.run(
        ["openssl", "cms", "-cmsout", "-print", "-inform", "DER", "-in", "signature"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    assert "signingTime" in structure and "eContent: <ABSENT>" in structure and structure.count("d.certificate:") == 2
    (tmp_path / "manifest.json").write_bytes((tmp_path / "manifest.json").read_bytes().replace(b"icon", b"ikon"))
    assert verified().returncode != 0


MANIFEST = b'{\n  "pass.json": "0"\n}'


def built(signer: Signer, *options: pkcs7.PKCS7Options, intermediate: bool = True, data: bytes = MANIFEST) -> bytes:
    builder = pkcs7.PKCS7SignatureBuilder().set_data(data).add_signer(signer.certificate, signer.key, SHA256())
    builder = builder.add_certificate(signer.intermediate) if intermediate else builder
    return builder.sign(serialization.Encoding.DER, list(options))


def flipped(signature: bytes) -> bytes:
    return signature[:-1] + bytes([signature[-1] ^ 1])


DETACHED, BINARY = pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary


def test_a_good_signature_has_nothing_wrong(signer: Signer) -> None:
    assert what_is_wrong(sign(MANIFEST, signer), MANIFEST, signer, now()) is None


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda s: built(s, DETACHED, BINARY, intermediate=False), "intermediate certificate is missing"),
        (lambda s: built(s, DETACHED, BINARY, pkcs7.PKCS7Options.NoCerts), "no signed data"),
        (lambda s: built(s, BINARY), "not detached"),
        (lambda s: built(s, DETACHED), "another manifest"),  # Its line ends were rewritten.
        (lambda s: built(s, DETACHED, BINARY, data=b"{}"), "another manifest"),
        (lambda s: built(s, DETACHED, BINARY, pkcs7.PKCS7Options.NoAttributes), "no signed data"),
        (lambda s: flipped(built(s, DETACHED, BINARY)), "not made with the certificate's key"),
        (lambda s: built(s, DETACHED, BINARY)[:-9], "no signed data"),
        (lambda s: b"", "no signed data"),
        (lambda s: b"not DER at all, but long enough to be looked at", "no signed data"),
    ],
)  # fmt: skip
def test_a_signature_that_a_phone_would_refuse_is_seen(
    signer: Signer, make: Callable[[Signer], bytes], says: str
) -> None:
    assert says in str(what_is_wrong(make(signer), MANIFEST, signer, now()))


def test_a_signature_of_somebody_else_is_seen(signer: Signer, tmp_path: Path) -> None:
    other = KeyRing(make_dev_certificates(tmp_path, now=NOW).files).signer(NOW)
    assert "certificate is missing" in str(what_is_wrong(sign(MANIFEST, other), MANIFEST, signer, now()))


def test_a_signature_from_a_clock_that_is_wrong_is_seen(signer: Signer) -> None:
    long_ago = now() - timedelta(days=2)
    assert "outside the certificate's time" in str(what_is_wrong(sign(MANIFEST, signer), MANIFEST, signer, long_ago))


# ------------------------------------------------------------------ the check before it leaves


def test_a_good_pass_has_no_fault(signer: Signer) -> None:
    for status in ("active", "closed"):
        assert faults(packed(rendered(signer, card(status=status)), signer, now()), signer, now()) == []


def changed(signer: Signer, change: Callable[[Told], object]) -> list[str]:
    """The faults of a pass whose pass.json was changed before it was listed and signed."""
    pass_ = rendered(signer)
    shown = told(pass_)
    change(shown)
    return remade(signer, {**pass_.files, "pass.json": orjson.dumps(shown)})


def remade(signer: Signer, files: dict[str, bytes]) -> list[str]:
    listed = {name: sha1(content, usedforsecurity=False).hexdigest() for name, content in files.items()}
    manifest = orjson.dumps(listed)
    return faults(archived(Rendered(files, manifest), sign(manifest, signer)), signer, now())


def header(shown: Told) -> Told:
    field: Told = shown["storeCard"]["headerFields"][0]
    return field


SPOILED: list[tuple[Callable[[Told], object], str]] = [
    (lambda p: p.pop("description"), "description is missing"),
    (lambda p: p.update(organizationName=7), "organizationName is missing or not of its type"),
    (lambda p: p.update(formatVersion=2), "formatVersion is not 1"),
    (lambda p: p.update(passTypeIdentifier="pass.example.other"), "passTypeIdentifier is not the certificate's"),
    (lambda p: p.update(teamIdentifier="OTHERTEAM1"), "teamIdentifier is not the certificate's"),
    (lambda p: p.update(serialNumber="short"), "serialNumber is too short"),
    (lambda p: p.update(serialNumber="with spaces and enough of it"), "serialNumber is too short or has other"),
    (lambda p: p.update(coupon={}), "not of the one style"),
    (lambda p: p.pop("storeCard"), "not of the one style"),
    (lambda p: p.update(webServiceURL="https://a.example"), "need each other"),
    (lambda p: p.update(webServiceURL="https://a.example", authenticationToken="t"), "authenticationToken is"),
    (lambda p: p.update(labelColor="#ffffff"), "labelColor is no colour"),
    (lambda p: p.update(labelColor="rgb(256, 0, 0)"), "labelColor is no colour"),
    (lambda p: p.update(expirationDate="2026-03-14T09:26"), "expirationDate is no date with a zone"),
    (lambda p: p.update(expirationDate="2026-02-30T09:26Z"), "expirationDate is no date with a zone"),
    (lambda p: p.update(userInfo={"a": [None]}), "pass.json.userInfo.a[0] is null"),
    (lambda p: header(p).pop("key"), "a field has no key"),
    (lambda p: header(p).update(key="reward"), "occurs twice"),
    (lambda p: header(p).update(value=7), "value of the field stamps is no text"),
    (lambda p: header(p).update(changeMessage="changed"), "does not have one %@"),
    (lambda p: header(p).update(changeMessage="%@ and %@"), "does not have one %@"),
    (lambda p: header(p).update(dateStyle="PKDateStyleShort"), "is no date with a zone"),
    (lambda p: p["storeCard"].update(headerFields=[{"key": k, "value": ""} for k in "abcd"]), "has too many fields"),
    (lambda p: p["storeCard"].update(auxiliaryFields=[{"key": k, "value": ""} for k in "ab"]), "too many fields"),
    (lambda p: p["storeCard"].update(backFields=[]), "whom to turn to"),
    (lambda p: p.update(voided=True), "voided and can be scanned"),
    (lambda p: p["barcodes"][0].update(format="PKBarcodeFormatEAN13"), "no format that every phone knows"),
    (lambda p: p["barcodes"][0].update(message=""), "has no message"),
    (lambda p: p["barcodes"][0].update(message="日本"), "does not fit its messageEncoding"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "says"), SPOILED, ids=[says for _, says in SPOILED])
def test_a_fault_in_pass_json_is_named(signer: Signer, change: Callable[[Told], object], says: str) -> None:
    found = changed(signer, change)
    assert any(says in fault for fault in found), found


def test_phones_ask_by_https_alone(signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    def by_http(told: Told) -> None:
        told.update(webServiceURL="http://127.0.0.1:8000", authenticationToken="t" * 16)

    assert changed(signer, by_http) == []  # No phone takes a throw-away pass; a simulated one may.
    monkeypatch.setattr(Signer, "is_apples", True)
    assert "webServiceURL is not https" in changed(signer, by_http)


EXCHANGED: list[tuple[str, bytes | None, str]] = [
    ("icon.png", None, "icon.png is missing"),
    ("icon@2x.png", None, "icon@2x.png is missing"),
    ("strip.png", b"GIF89a", "strip.png is no PNG"),
    ("thumbnail.png", b"", "is no picture of a store card"),
    ("__MACOSX/x", b"", "has no place in it"),
    ("card/pass.json", b"{}", "has no place in it"),
    ("fr.lproj/pass.strings", b'"Reward" = "R\xe9compense";\n', "fr.lproj/pass.strings cannot be read"),
    ("fr.lproj/pass.strings", b'"Reward" = "R";\n', "has other keys than the rest"),
    ("pass.json", b"\xef\xbb\xbf{}", "cannot be opened"),
    ("pass.json", b"[]", "is no object"),
    ("pass.json", None, "cannot be opened"),
]


@pytest.mark.parametrize(("name", "content", "says"), EXCHANGED)
def test_a_fault_in_the_files_is_named(signer: Signer, name: str, content: bytes | None, says: str) -> None:
    files = {**rendered(signer).files}
    files.pop(name, None)
    if content is not None:
        files[name] = content
    found = remade(signer, files)
    assert any(says in fault for fault in found), found


@pytest.mark.parametrize("name", ["icon@2x.png", "strip@3x.png", "logo.png"])
def test_a_picture_of_a_wrong_size_is_named(signer: Signer, name: str) -> None:
    files = {**rendered(signer).files}
    files[name] = files["strip@2x.png"]
    assert any(name in fault and "pixels" in fault for fault in remade(signer, files))


def test_a_manifest_that_lists_something_else_is_named(signer: Signer) -> None:
    pass_ = rendered(signer)
    signature = sign(pass_.manifest, signer)
    more = Rendered({**pass_.files, "logo.txt": b""}, pass_.manifest)
    less = Rendered({n: c for n, c in pass_.files.items() if n != "logo.png"}, pass_.manifest)
    for spoiled in (more, less):
        assert "manifest.json does not list the files as they are" in faults(
            archived(spoiled, signature), signer, now()
        )


def test_an_altered_manifest_is_named(signer: Signer) -> None:
    pass_ = rendered(signer)
    altered = Rendered(pass_.files, pass_.manifest + b"\n")
    found = faults(archived(altered, sign(pass_.manifest, signer)), signer, now())
    assert found == ["signature: it was made for another manifest"]


def test_a_pass_that_is_too_large_is_named(signer: Signer) -> None:
    files = {**rendered(signer).files, "notes.bin": Random(1).randbytes(500_000)}
    assert any("bytes, more than" in fault for fault in remade(signer, files))


def test_an_archive_that_is_none_or_has_a_name_twice_is_named(signer: Signer) -> None:
    assert "cannot be opened" in faults(b"no archive", signer, now())[0]
    twice = BytesIO()
    with ZipFile(twice, "w", ZIP_DEFLATED) as archive:
        archive.writestr("pass.json", "{}")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("pass.json", "{}")
    assert "occurs twice" in faults(twice.getvalue(), signer, now())[0]


def test_a_pass_with_a_fault_does_not_leave(signer: Signer) -> None:
    pass_ = rendered(signer)
    without_icon = {name: content for name, content in pass_.files.items() if name != "icon.png"}
    with pytest.raises(PassUnfit, match=r"icon\.png is missing"):
        packed(Rendered(without_icon, pass_.manifest), signer, now())
