"""Throw-away certificates in the shape of Apple's, so that passes can be signed and looked at without an account.

Phones refuse passes signed with them. Nothing is ever replaced.
"""

import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from wallet_sync.apple_certificates import PASS_SIGNING_USAGE, PASS_TYPE_EXTENSION, AppleKeyFiles

TEAM_ID = "THROWAWAY1"
APNS_EXTENSIONS = (ObjectIdentifier("1.2.840.113635.100.6.3.1"), ObjectIdentifier("1.2.840.113635.100.6.3.2"))
INTERMEDIATE_EXTENSION = ObjectIdentifier("1.2.840.113635.100.6.2.1")
DER_NULL = b"\x05\x00"
UTF8_STRING = 0x0C
KEY_BITS = 2048
AUTHORITY_DAYS = 3650
LEAF_DAYS = 395  # About as long as Apple's.


@dataclass(frozen=True, slots=True)
class DevCertificates:
    """Where everything was written; `root` is for those who want to verify."""

    files: AppleKeyFiles
    root: Path


def make_dev_certificates(
    folder: Path,
    *,
    now: datetime,
    pass_type_id: str = "pass.example.loyalty",
    valid_from: datetime | None = None,
    valid_until: datetime | None = None,
) -> DevCertificates:
    """A root, an intermediate under it, and a Pass Type ID certificate with its key.

    Args:
        folder: Made if it is missing. The key is readable by its owner only.
        now: When the certificates begin, less an hour for clocks.
        valid_from, valid_until: Other dates of the leaf.

    Raises:
        FileExistsError: One of the files is there already. Nothing was written over.

    Source: the extensions of Apple's own Pass Type ID certificates and of the WWDR intermediate.
    """
    since = now - timedelta(hours=1)
    until = since + timedelta(days=AUTHORITY_DAYS)
    root_key, middle_key, leaf_key = (rsa.generate_private_key(65537, KEY_BITS) for _ in range(3))
    root_name = _name(common="Throw-away Root CA")
    middle_name = _name(common="Throw-away Developer Relations Certification Authority", unit="DEV")
    root = _authority(root_name, root_key, root_name, root_key, since, until)
    middle = _authority(middle_name, middle_key, root_name, root_key, since, until, marker=INTERMEDIATE_EXTENSION)
    leaf = _leaf(
        pass_type_id,
        leaf_key,
        middle_name,
        middle_key,
        valid_from or since,
        valid_until or since + timedelta(days=LEAF_DAYS),
    )
    files = AppleKeyFiles(pass_type_id, folder / "certificate.pem", folder / "key.pem", folder / "wwdr.pem")
    written = {
        files.key: leaf_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        files.certificate: _pem(leaf),
        files.wwdr: _pem(middle),
        folder / "root.pem": _pem(root),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for file in written:
        if file.exists():
            raise FileExistsError(f"{file} is there already")
    for file, content in written.items():
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if file == files.key else 0o644)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
    return DevCertificates(files, folder / "root.pem")


def _name(*, common: str, unit: str | None = None, uid: str | None = None) -> x509.Name:
    parts = (
        (NameOID.USER_ID, uid),
        (NameOID.COMMON_NAME, common),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
        (NameOID.ORGANIZATION_NAME, "Throw-away"),
    )
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts if value is not None])


def _authority(
    name: x509.Name,
    key: rsa.RSAPrivateKey,
    issuer: x509.Name,
    issuer_key: rsa.RSAPrivateKey,
    since: datetime,
    until: datetime,
    marker: ObjectIdentifier | None = None,
) -> x509.Certificate:
    builder = _builder(name, key, issuer, issuer_key, since, until)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(_usage(is_authority=True), critical=True)
    if marker is not None:
        builder = builder.add_extension(x509.UnrecognizedExtension(marker, DER_NULL), critical=False)
    return builder.sign(issuer_key, SHA256())


def _leaf(
    pass_type_id: str,
    key: rsa.RSAPrivateKey,
    issuer: x509.Name,
    issuer_key: rsa.RSAPrivateKey,
    since: datetime,
    until: datetime,
) -> x509.Certificate:
    name = _name(common=f"Pass Type ID: {pass_type_id}", unit=TEAM_ID, uid=pass_type_id)
    shown = bytes([UTF8_STRING, len(pass_type_id)]) + pass_type_id.encode()
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH, PASS_SIGNING_USAGE]
    builder = _builder(name, key, issuer, issuer_key, since, until)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(is_authority=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=True)
    builder = builder.add_extension(x509.UnrecognizedExtension(PASS_TYPE_EXTENSION, shown), critical=False)
    for oid in APNS_EXTENSIONS:
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, DER_NULL), critical=False)
    return builder.sign(issuer_key, SHA256())


def _builder(
    name: x509.Name,
    key: rsa.RSAPrivateKey,
    issuer: x509.Name,
    issuer_key: rsa.RSAPrivateKey,
    since: datetime,
    until: datetime,
) -> x509.CertificateBuilder:
    theirs = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(theirs, critical=False)
    )


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
