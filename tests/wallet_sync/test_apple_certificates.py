"""Key material as people put it there: right, wrong, old, exchanged. Each reason says what to do."""

import re
import shutil
from base64 import b64decode
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.wallet_sync.passes import NOW
from wallet_sync.apple_certificates import AppleKeysUnfit, read_signers
from wallet_sync.apple_key_ring import KeyRing
from wallet_sync.dev_certificates import TEAM_ID, DevCertificates, make_dev_certificates

DAY = timedelta(days=1)


def why(made: DevCertificates) -> str:
    with pytest.raises(AppleKeysUnfit) as unfit:
        KeyRing(made.files).signer(NOW)
    return str(unfit.value)


def test_a_good_set_tells_its_pass_type_team_and_days(certificates: DevCertificates) -> None:
    signer = KeyRing(certificates.files).signer(NOW)
    assert (signer.pass_type_id, signer.team_id, signer.organization) == ("pass.example.loyalty", TEAM_ID, "Throw-away")
    assert signer.days_left(NOW) == 394 and signer.days_left(NOW + 400 * DAY) < 0
    assert not signer.is_apples


def test_the_key_and_its_password_are_in_no_repr(certificates: DevCertificates) -> None:
    files = replace(certificates.files, key_password="hushhush")
    assert "hushhush" not in repr(files) and "key=" not in repr(KeyRing(files).signer(NOW))


@pytest.mark.parametrize("name", ["certificate", "key", "wwdr"])
def test_a_file_that_is_not_there_is_named(own: DevCertificates, name: str) -> None:
    file: Path = getattr(own.files, name)
    file.unlink()
    assert f"{file} cannot be read" in why(own)


@pytest.mark.parametrize(("name", "says"), [("certificate", "no certificate"), ("key", "no private key")])
def test_a_file_with_something_else_in_it_is_named(own: DevCertificates, name: str, says: str) -> None:
    file: Path = getattr(own.files, name)
    file.write_text("something else")
    assert str(file) in why(own) and says in why(own)


def test_a_key_of_another_certificate_does_not_fit(own: DevCertificates, tmp_path: Path) -> None:
    other = make_dev_certificates(tmp_path / "other", now=NOW)
    shutil.copy(other.files.key, own.files.key)
    assert "fits the certificate" in why(own)


def test_an_intermediate_that_did_not_issue_it_is_refused(own: DevCertificates, tmp_path: Path) -> None:
    other = make_dev_certificates(tmp_path / "other", now=NOW)
    shutil.copy(other.files.wwdr, own.files.wwdr)  # The same name, another key.
    assert "apple.com/certificateauthority" in why(own)


def test_of_an_intermediate_and_its_renewal_the_one_that_lasts_longer_counts(own: DevCertificates) -> None:
    good = own.files.wwdr.read_bytes()
    intermediate = x509.load_pem_x509_certificate(good)
    ended = (
        x509.CertificateBuilder(extensions=list(intermediate.extensions))
        .subject_name(intermediate.subject)
        .issuer_name(intermediate.issuer)
        .public_key(intermediate.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - 9 * DAY)
        .not_valid_after(NOW - DAY)
        .sign(rsa.generate_private_key(65537, 2048), hashes.SHA256())
    )
    own.files.wwdr.write_bytes(ended.public_bytes(serialization.Encoding.PEM) + good)
    assert KeyRing(own.files).signer(NOW).intermediate == intermediate


def test_a_certificate_for_another_purpose_is_refused(own: DevCertificates) -> None:
    shutil.copy(own.files.wwdr, own.files.certificate)
    assert "for another purpose" in why(own)


def test_a_certificate_of_another_pass_type_is_refused(own: DevCertificates) -> None:
    other = DevCertificates(replace(own.files, pass_type_id="pass.example.other"), own.root)
    assert "is for pass.example.loyalty, the settings say pass.example.other" in why(other)


def test_a_certificate_that_ended_or_has_not_begun_says_when(tmp_path: Path) -> None:
    ended = make_dev_certificates(tmp_path / "a", now=NOW, valid_from=NOW - 9 * DAY, valid_until=NOW - DAY)
    assert f"ended on {NOW - DAY:%Y-%m-%d}" in why(ended)
    begins = make_dev_certificates(tmp_path / "b", now=NOW, valid_from=NOW + DAY, valid_until=NOW + 9 * DAY)
    assert f"begins on {NOW + DAY:%Y-%m-%d}" in why(begins)


def encrypted(pem: bytes, password: bytes) -> bytes:
    key = serialization.load_pem_private_key(pem, None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password),
    )


def test_a_key_with_a_password_needs_the_right_one(own: DevCertificates) -> None:
    own.files.key.write_bytes(encrypted(own.files.key.read_bytes(), b"hushhush"))
    assert "password is missing or wrong" in why(own)
    wrong = DevCertificates(replace(own.files, key_password="wrong"), own.root)
    assert "password is missing or wrong" in why(wrong)
    assert read_signers(replace(own.files, key_password="hushhush"))


def test_certificates_as_apple_hands_them_out_are_read_too(own: DevCertificates) -> None:
    for file in (own.files.certificate, own.files.wwdr):
        pem = file.read_bytes()
        der = b"".join(re.findall(rb"^[A-Za-z0-9+/=]+$", pem, re.MULTILINE))
        file.write_bytes(b64decode(der))
    assert KeyRing(own.files).signer(NOW)


# ------------------------------------------------------------------ exchanged


def test_of_several_the_newest_valid_one_signs(tmp_path: Path) -> None:
    old = make_dev_certificates(tmp_path / "old", now=NOW)
    new = make_dev_certificates(tmp_path / "new", now=NOW, valid_from=NOW - timedelta(minutes=1))
    next_ = make_dev_certificates(tmp_path / "next", now=NOW, valid_from=NOW + 5 * DAY, valid_until=NOW + 90 * DAY)
    for name in ("certificate", "key", "wwdr"):
        file: Path = getattr(old.files, name)
        file.write_bytes(b"".join(getattr(made.files, name).read_bytes() for made in (old, new, next_)))
    ring = KeyRing(old.files)
    assert ring.signer(NOW).valid_from == (NOW - timedelta(minutes=1)).replace(microsecond=0)
    assert ring.signer(NOW + 6 * DAY).valid_from == (NOW + 5 * DAY).replace(microsecond=0)


def test_new_files_are_taken_up_and_while_they_do_not_fit_together_the_old_ones_sign(
    own: DevCertificates, tmp_path: Path
) -> None:
    told: list[str] = []
    ring = KeyRing(own.files, on_unfit=told.append)
    first = ring.signer(NOW)
    new = make_dev_certificates(tmp_path / "new", now=NOW)
    shutil.copy(new.files.certificate, own.files.certificate)
    assert ring.signer(NOW) is first and ring.signer(NOW) is first
    assert len(told) == 1
    shutil.copy(new.files.key, own.files.key)
    shutil.copy(new.files.wwdr, own.files.wwdr)
    assert ring.signer(NOW).certificate != first.certificate


def test_files_that_are_mended_are_seen(own: DevCertificates) -> None:
    kept = own.files.key.read_bytes()
    own.files.key.unlink()
    ring = KeyRing(own.files)
    with pytest.raises(AppleKeysUnfit):
        ring.signer(NOW)
    own.files.key.write_bytes(kept)
    assert ring.signer(NOW)


def test_throw_away_certificates_replace_nothing_and_keep_their_key_to_the_owner(own: DevCertificates) -> None:
    before = own.files.key.read_bytes()
    with pytest.raises(FileExistsError):
        make_dev_certificates(own.root.parent, now=NOW)
    assert own.files.key.read_bytes() == before


def test_the_key_of_throw_away_certificates_is_its_owners(certificates: DevCertificates) -> None:
    assert certificates.files.key.stat().st_mode & 0o777 == 0o600
