"""The signature of a pass: detached CMS over its manifest, made and looked at again before anybody gets it.

Looking again reads the DER by itself instead of trusting what made it, so a pass that a phone would refuse for its
signature does not leave.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import pkcs7

from wallet_sync.apple_certificates import Signer

SEQUENCE, SET, OBJECT_ID, OCTETS, UTC_TIME = 0x30, 0x31, 0x06, 0x04, 0x17
FIRST_OF_CONTEXT, VERSION = 0xA0, 0x02
MESSAGE_DIGEST = bytes.fromhex("2a864886f70d010904")
SIGNING_TIME = bytes.fromhex("2a864886f70d010905")
CLOCK_LENIENCY = timedelta(minutes=5)


def sign(manifest: bytes, signer: Signer) -> bytes:
    """The detached signature of exactly these bytes, as DER, with the certificate and its intermediate.

    Source: RFC 5652; Apple's Wallet Developer Guide, "Signing and Compressing the Pass".
    """
    builder = pkcs7.PKCS7SignatureBuilder().set_data(manifest)
    builder = builder.add_signer(signer.certificate, signer.key, SHA256()).add_certificate(signer.intermediate)
    # Binary: without it line ends would be rewritten before they are digested.
    options = [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary]
    return builder.sign(serialization.Encoding.DER, options)


def what_is_wrong(signature: bytes, manifest: bytes, signer: Signer, now: datetime) -> str | None:
    """Why a phone would refuse this signature of this manifest; None for a good one.

    It must be made by `signer`, carry both certificates and the time of signing, and hold no copy of the manifest.
    """
    try:
        signed = _read(signature)
        certificates = {certificate.fingerprint(SHA256()) for certificate in signed.certificates}
    except (ValueError, IndexError):
        return "it is no signed data of one signer"
    if signer.certificate.fingerprint(SHA256()) not in certificates:
        return "the certificate is missing in it"
    if signer.intermediate.fingerprint(SHA256()) not in certificates:
        return "Apple's intermediate certificate is missing in it"
    if signed.has_content:
        return "it is not detached"
    if signed.message_digest != sha256(manifest).digest():
        return "it was made for another manifest"
    if signed.signing_time is None:
        return "it does not say when it was made"
    if not signer.valid_from <= signed.signing_time <= min(signer.valid_until, now + CLOCK_LENIENCY):
        return "it was made outside the certificate's time"
    public = signer.certificate.public_key()
    assert isinstance(public, RSAPublicKey)
    try:
        public.verify(signed.value, signed.attributes, padding.PKCS1v15(), SHA256())
        signer.certificate.verify_directly_issued_by(signer.intermediate)
    except InvalidSignature:
        return "it was not made with the certificate's key"
    return None


# ------------------------------------------------------------------ reading it


@dataclass(frozen=True, slots=True)
class _Signed:
    has_content: bool
    certificates: list[x509.Certificate]
    message_digest: bytes | None
    signing_time: datetime | None
    attributes: bytes  # What was signed.
    value: bytes


def _read(signature: bytes) -> _Signed:
    """Raises: ValueError, IndexError where it is not signed data of one signer."""
    ((_, content_info, _),) = _elements(signature)
    (_, (_, wrapped, _)) = _elements(content_info)
    ((_, signed_data, _),) = _elements(wrapped)
    parts = list(_elements(signed_data))
    version, _, content, *_, signers = parts
    if version[0] != VERSION or signers[0] != SET:
        raise ValueError("no signed data")
    ((_, signer, _),) = _elements(signers[1])
    fields = list(_elements(signer))
    # Version, issuer and serial number, digest algorithm; then the signed attributes, if there are any.
    tag, attributes, whole = fields[3]
    if tag != FIRST_OF_CONTEXT:
        raise ValueError("nothing but the digest is signed")
    values = dict(_attribute(attribute) for _, attribute, _ in _elements(attributes))
    signing_time = values.get(SIGNING_TIME)
    return _Signed(
        has_content=len(list(_elements(content[1]))) > 1,
        certificates=list(pkcs7.load_der_pkcs7_certificates(signature)),
        message_digest=values.get(MESSAGE_DIGEST),
        signing_time=None if signing_time is None else _time(signing_time),
        attributes=bytes([SET]) + whole[1:],  # Signed as the SET they are, not under their tag in the message.
        value=fields[5][1],
    )


def _attribute(attribute: bytes) -> tuple[bytes, bytes]:
    """Its id, and its first value's contents."""
    (_, name, _), (_, values, _) = _elements(attribute)
    return name, next(_elements(values))[1]


def _time(text: bytes) -> datetime:
    """A UTCTime or, from the year 2050 on, a GeneralizedTime."""
    digits = text.decode("ascii").removesuffix("Z")
    year = "20" + digits if len(digits) == 12 else digits
    return datetime.strptime(year, "%Y%m%d%H%M%S").replace(tzinfo=UTC)


def _elements(der: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Tag, contents and whole of each element in a row. Raises: ValueError, IndexError where the bytes are no DER."""
    at = 0
    while at < len(der):
        tag, length, start = der[at], der[at + 1], at + 2
        if length >= 0x80:
            start += length - 0x80
            length = int.from_bytes(der[at + 2 : start], "big")
        if start + length > len(der):
            raise ValueError("it ends too early")
        yield tag, der[start : start + length], der[at : start + length]
        at = start + length
