"""The certificates that passes are signed with, read from their files and checked.

Nothing is signed with a certificate that a phone would refuse: every reason is a sentence that says what to do.
"""

import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509.oid import NameOID, ObjectIdentifier

PASS_TYPE_EXTENSION = ObjectIdentifier("1.2.840.113635.100.6.1.16")
PASS_SIGNING_USAGE = ObjectIdentifier("1.2.840.113635.100.4.14")
APPLES_ROOT = "Apple Root CA"
TEAM_ID = re.compile(r"[A-Z0-9]{10}")
PRIVATE_KEY = re.compile(rb"-----BEGIN ((?:[A-Z]+ )?PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)
PEM = b"-----BEGIN"


class AppleKeysUnfit(Exception):
    """No pass can be signed. The text says what to do."""


@dataclass(frozen=True, slots=True)
class AppleKeyFiles:
    """Where the key material lies. A file may hold several of a kind: the old and the new while one is renewed."""

    pass_type_id: str
    certificate: Path  # PEM or DER.
    key: Path  # PEM.
    wwdr: Path  # PEM or DER: Apple's intermediate certificate.
    key_password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Signer:
    """One certificate with all that belongs to it, checked."""

    certificate: x509.Certificate
    key: RSAPrivateKey = field(repr=False)
    intermediate: x509.Certificate
    pass_type_id: str
    team_id: str
    organization: str

    @property
    def valid_from(self) -> datetime:
        return self.certificate.not_valid_before_utc

    @property
    def valid_until(self) -> datetime:
        """The end of the certificate, or of the intermediate if that comes first."""
        return min(self.certificate.not_valid_after_utc, self.intermediate.not_valid_after_utc)

    @property
    def is_apples(self) -> bool:
        """Whether it claims to descend from Apple's root. Throw-away certificates do not, and phones refuse them."""
        return _name(self.intermediate.issuer, NameOID.COMMON_NAME) == APPLES_ROOT

    def days_left(self, now: datetime) -> int:
        """Whole days; below zero once it has ended."""
        return (self.valid_until - now).days


def read_signers(files: AppleKeyFiles) -> list[Signer]:
    """All certificates of the files with their keys and intermediates; at least one. Dates are not looked at.

    Raises:
        AppleKeysUnfit: One of them cannot be used, with what to do about it.

    Source: what Apple's Pass Type ID certificates contain: UID, OU, and the extension 1.2.840.113635.100.6.1.16.
    """
    certificates = _certificates(files.certificate)
    keys = _keys(files)
    intermediates = _certificates(files.wwdr)
    return [_signer(certificate, keys, intermediates, files) for certificate in certificates]


def _signer(
    certificate: x509.Certificate,
    keys: list[RSAPrivateKey],
    intermediates: list[x509.Certificate],
    files: AppleKeyFiles,
) -> Signer:
    where, subject = files.certificate, certificate.subject
    uid = _name(subject, NameOID.USER_ID)
    if not uid.startswith("pass.") or _is_authority(certificate):
        raise AppleKeysUnfit(
            f"{where} holds a certificate for another purpose ({subject.rfc4514_string()}): what is needed is a Pass"
            " Type ID certificate from developer.apple.com, Identifiers, Pass Type IDs."
        )
    if uid != files.pass_type_id or not _names_pass_type(certificate, uid):
        raise AppleKeysUnfit(f"The certificate in {where} is for {uid}, the settings say {files.pass_type_id}.")
    if not _may_sign_passes(certificate):
        raise AppleKeysUnfit(
            f"The certificate in {where} may not sign passes: its extended key usage lacks"
            f" {PASS_SIGNING_USAGE.dotted_string}. Make a Pass Type ID certificate at developer.apple.com."
        )
    team_id = _name(subject, NameOID.ORGANIZATIONAL_UNIT_NAME)
    if not TEAM_ID.fullmatch(team_id):
        raise AppleKeysUnfit(f"The certificate in {where} names no team of ten characters (OU): it is not Apple's.")
    public = certificate.public_key()
    key = next((key for key in keys if key.public_key() == public), None)
    if key is None:
        raise AppleKeysUnfit(
            f"No key in {files.key} fits the certificate in {where}: take the key that its request was made with."
        )
    # Renewed ones have the same name and key: the one that lasts longest.
    fitting = [one for one in intermediates if _has_issued(one, certificate)]
    intermediate = max(fitting, key=lambda one: one.not_valid_after_utc, default=None)
    if intermediate is None:
        raise AppleKeysUnfit(
            f"{files.wwdr} does not hold the certificate that issued {where}, which is"
            f" {certificate.issuer.rfc4514_string()}: download it from apple.com/certificateauthority."
        )
    organization = _name(subject, NameOID.ORGANIZATION_NAME)
    return Signer(certificate, key, intermediate, uid, team_id, organization)


# ------------------------------------------------------------------ files


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise AppleKeysUnfit(
            f"{file} cannot be read ({reason}): put it there, readable by the user who runs the service."
        ) from None


def _certificates(file: Path) -> list[x509.Certificate]:
    found = _bytes(file)
    try:
        return x509.load_pem_x509_certificates(found) if PEM in found else [x509.load_der_x509_certificate(found)]
    except ValueError:
        raise AppleKeysUnfit(f"{file} holds no certificate, neither as PEM nor as DER.") from None


def _keys(files: AppleKeyFiles) -> list[RSAPrivateKey]:
    password = files.key_password.encode() if files.key_password else None
    keys = []
    for pem in PRIVATE_KEY.finditer(_bytes(files.key)):
        # A key without a password is taken as it is, so that an old and a new one need not agree.
        is_encrypted = b"ENCRYPTED" in pem[0]
        try:
            key = serialization.load_pem_private_key(pem[0], password if is_encrypted else None)
        except (ValueError, TypeError):
            remedy = "its password is missing or wrong" if is_encrypted else "it is damaged"
            raise AppleKeysUnfit(f"The key in {files.key} cannot be opened: {remedy}.") from None
        if not isinstance(key, RSAPrivateKey):
            raise AppleKeysUnfit(f"The key in {files.key} is no RSA key: passes are signed with RSA.")
        keys.append(key)
    if not keys:
        raise AppleKeysUnfit(
            f"{files.key} holds no private key as PEM. Out of a .p12: openssl pkcs12 -in FILE.p12 -nocerts -legacy"
        )
    return keys


# ------------------------------------------------------------------ what a certificate says


def _name(name: x509.Name, oid: ObjectIdentifier) -> str:
    found = name.get_attributes_for_oid(oid)
    return str(found[0].value) if found else ""


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _names_pass_type(certificate: x509.Certificate, uid: str) -> bool:
    """The extension holds a short DER string: two bytes, then the id. Older certificates may lack it."""
    try:
        found = certificate.extensions.get_extension_for_oid(PASS_TYPE_EXTENSION).value
    except x509.ExtensionNotFound:
        return True
    return isinstance(found, x509.UnrecognizedExtension) and found.value[2:] == uid.encode()


def _may_sign_passes(certificate: x509.Certificate) -> bool:
    """A certificate that lists its uses must list ours; one that lists none was seen too, and works."""
    try:
        return PASS_SIGNING_USAGE in certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True


def _has_issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
