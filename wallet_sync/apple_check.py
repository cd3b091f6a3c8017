"""The last look at a pass before it leaves: everything that is known to make a phone refuse one.

A phone says nothing to the holder but that it cannot add the pass. So it is found out here, and said in words.
"""

import re
import struct
from collections.abc import Iterator, Mapping
from datetime import datetime
from hashlib import sha1
from io import BytesIO
from typing import Any, TypeAlias
from zipfile import BadZipFile, ZipFile

import orjson

from wallet_sync.apple_certificates import Signer
from wallet_sync.apple_signing import what_is_wrong

Files: TypeAlias = Mapping[str, bytes]

ARCHIVE_BYTES_MAX = 500_000
SECRET_CHARACTERS_MIN = 16  # Of serial number and authentication token.
STYLES = ("boardingPass", "coupon", "eventTicket", "generic", "storeCard")
REQUIRED = {
    "formatVersion": int,
    "passTypeIdentifier": str,
    "serialNumber": str,
    "teamIdentifier": str,
    "organizationName": str,
    "description": str,
}
FIELDS_MAX = {"headerFields": 3, "primaryFields": 1, "secondaryFields": 4, "auxiliaryFields": 4, "backFields": 100}
MIDDLE_FIELDS_MAX = 4  # secondaryFields and auxiliaryFields together.
COLORS = ("foregroundColor", "backgroundColor", "labelColor")
DATES = ("expirationDate", "relevantDate")
BARCODES = ("PKBarcodeFormatQR", "PKBarcodeFormatPDF417", "PKBarcodeFormatAztec", "PKBarcodeFormatCode128")
IMAGE_POINTS = {"icon": (29, 29), "logo": (160, 50), "strip": (375, 144)}
EXACT = ("icon", "strip")  # A logo may be smaller.
NEEDED_IMAGES = ("icon.png", "icon@2x.png")

NAME = re.compile(r"(?:[a-z]{2,3}(?:-[A-Z]{2})?\.lproj/)?[A-Za-z0-9@._-]+")
SERIAL = re.compile(r"[A-Za-z0-9._-]+")
RGB = re.compile(r"rgb\((\d{1,3}), ?(\d{1,3}), ?(\d{1,3})\)")
DATE_WITH_ZONE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?(?:Z|[+-]\d\d:\d\d)")
IMAGE = re.compile(r"(?:.*/)?(\w+?)(?:@([23])x)?\.png")
STRINGS_LINE = re.compile(r'"([^"\\=]+)" = "((?:[^"\\]|\\n)*)";')
PNG_BEGINS = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


def faults(archive: bytes, signer: Signer, now: datetime) -> list[str]:
    """What is wrong with a pass, a sentence each; nothing for one that may leave.

    Args:
        archive: The .pkpass as it would be sent.
        signer: Whose signature and ids it must carry.

    Source: Apple's Wallet Passes documentation, and what readers of passes were seen to refuse.
    """
    try:
        files = _unpacked(archive)
        told = orjson.loads(files["pass.json"])
    except (BadZipFile, KeyError, orjson.JSONDecodeError) as error:
        return [f"it cannot be opened: {error}"]
    if not isinstance(told, dict):
        return ["pass.json is no object"]
    found = [*_archive(archive, files), *_top(told, signer), *_fields(told), *_barcodes(told)]
    found += [*_images(files), *_strings(files), *_manifest(files)]
    wrong = what_is_wrong(files.get("signature", b""), files.get("manifest.json", b""), signer, now)
    return found + ([f"signature: {wrong}"] if wrong else [])


def _unpacked(archive: bytes) -> Files:
    with ZipFile(BytesIO(archive)) as opened:
        names = opened.namelist()
        if len(set(names)) != len(names):
            raise BadZipFile("a name occurs twice")
        return {name: opened.read(name) for name in names}


def _archive(archive: bytes, files: Files) -> Iterator[str]:
    if len(archive) > ARCHIVE_BYTES_MAX:
        yield f"it has {len(archive):,} bytes, more than {ARCHIVE_BYTES_MAX:,}"
    yield from (f"{name} has no place in it" for name in files if not NAME.fullmatch(name))


def _top(told: dict[str, Any], signer: Signer) -> Iterator[str]:
    for key, kind in REQUIRED.items():
        if not isinstance(told.get(key), kind) or not told[key]:
            yield f"{key} is missing or not of its type"
    if told.get("formatVersion") != 1:
        yield "formatVersion is not 1"
    if told.get("passTypeIdentifier") != signer.pass_type_id:
        yield "passTypeIdentifier is not the certificate's"
    if told.get("teamIdentifier") != signer.team_id:
        yield "teamIdentifier is not the certificate's"
    serial = str(told.get("serialNumber", ""))
    if len(serial) < SECRET_CHARACTERS_MIN or not SERIAL.fullmatch(serial):
        yield "serialNumber is too short or has other characters than letters, digits and . _ -"
    if [style for style in STYLES if style in told] != ["storeCard"]:
        yield "it is not of the one style storeCard"
    if ("webServiceURL" in told) != ("authenticationToken" in told):
        yield "webServiceURL and authenticationToken need each other"
    if signer.is_apples and not str(told.get("webServiceURL", "https://")).startswith("https://"):
        yield "webServiceURL is not https"
    if len(str(told.get("authenticationToken", "-" * SECRET_CHARACTERS_MIN))) < SECRET_CHARACTERS_MIN:
        yield "authenticationToken is too short"
    yield from (f"{key} is no colour" for key in COLORS if key in told and not _is_color(told[key]))
    yield from (f"{key} is no date with a zone" for key in DATES if key in told and not _is_date(told[key]))
    yield from (f"{path} is null" for path in _nulls(told))


def _fields(told: dict[str, Any]) -> Iterator[str]:
    groups = told.get("storeCard")
    if not isinstance(groups, dict):
        return
    keys: set[str] = set()
    for group, fields in groups.items():
        if len(fields) > FIELDS_MAX.get(group, 0):
            yield f"{group} has too many fields"
        for field in fields:
            yield from _field(field)
            if field.get("key") in keys:
                yield f"the field key {field['key']} occurs twice"
            keys.add(str(field.get("key")))
    if len(groups.get("secondaryFields", ())) + len(groups.get("auxiliaryFields", ())) > MIDDLE_FIELDS_MAX:
        yield "secondaryFields and auxiliaryFields have too many fields"
    if not groups.get("backFields"):
        yield "backFields do not say whom to turn to"


def _field(field: dict[str, Any]) -> Iterator[str]:
    name = field.get("key")
    if not isinstance(name, str) or not name:
        yield "a field has no key"
    if not isinstance(field.get("value"), str) and "currencyCode" not in field:
        yield f"the value of the field {name} is no text"
    if str(field.get("changeMessage", "%@")).count("%@") != 1:
        yield f"the changeMessage of the field {name} does not have one %@"
    if ("dateStyle" in field or "timeStyle" in field) and not _is_date(field.get("value")):
        yield f"the value of the field {name} is no date with a zone"


def _barcodes(told: dict[str, Any]) -> Iterator[str]:
    codes = told.get("barcodes", [])
    if told.get("voided") and codes:
        yield "it is voided and can be scanned"
    for code in codes:
        if code.get("format") not in BARCODES:
            yield "a barcode has no format that every phone knows"
        if not code.get("message"):
            yield "a barcode has no message"
        try:
            str(code.get("message")).encode(str(code.get("messageEncoding")))
        except (LookupError, UnicodeEncodeError):
            yield "a barcode's message does not fit its messageEncoding"


def _images(files: Files) -> Iterator[str]:
    yield from (f"{name} is missing" for name in NEEDED_IMAGES if name not in files)
    for name, content in files.items():
        if not (match := IMAGE.fullmatch(name)):
            continue
        points = IMAGE_POINTS.get(match[1])
        if points is None:
            yield f"{name} is no picture of a store card"
            continue
        if not content.startswith(PNG_BEGINS):
            yield f"{name} is no PNG"
            continue
        scale = int(match[2] or 1)
        most = (points[0] * scale, points[1] * scale)
        size = struct.unpack_from(">II", content, len(PNG_BEGINS))
        if size != most and (match[1] in EXACT or size[0] > most[0] or size[1] > most[1]):
            yield f"{name} is {size[0]} × {size[1]} pixels, not {most[0]} × {most[1]}"


def _strings(files: Files) -> Iterator[str]:
    """Each file's lines can be read, and all have the same keys."""
    seen: dict[str, list[str]] = {}
    for name, content in files.items():
        if not name.endswith("/pass.strings"):
            continue
        try:
            lines = [STRINGS_LINE.fullmatch(line) for line in content.decode().splitlines()]
        except UnicodeDecodeError:
            lines = [None]
        if None in lines:
            yield f"{name} cannot be read"
        seen[name] = sorted(line[1] for line in lines if line is not None)
    first = next(iter(seen.values()), [])
    yield from (f"{name} has other keys than the rest" for name, keys in seen.items() if keys != first)


def _manifest(files: Files) -> Iterator[str]:
    listed = {n: sha1(c, usedforsecurity=False).hexdigest() for n, c in files.items() if n not in UNLISTED}
    try:
        told = orjson.loads(files.get("manifest.json", b""))
    except orjson.JSONDecodeError:
        told = None
    if told != listed:
        yield "manifest.json does not list the files as they are"


UNLISTED = ("manifest.json", "signature")


def _is_color(value: Any) -> bool:
    match = RGB.fullmatch(value) if isinstance(value, str) else None
    return match is not None and all(int(part) <= 255 for part in match.groups())


def _is_date(value: Any) -> bool:
    if not isinstance(value, str) or not DATE_WITH_ZONE.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _nulls(value: Any, path: str = "pass.json") -> Iterator[str]:
    if value is None:
        yield path
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _nulls(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _nulls(inner, f"{path}[{number}]")
