"""An Apple Wallet pass: what a card says, rendered, drawn, listed, signed and packed as a .pkpass.

The parts of a pass are a function of what it says and of whose certificate it is; only the signature differs from
time to time. Nothing leaves that the self-check does not find in order.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha1, sha256
from io import BytesIO
from typing import Any
from uuid import UUID
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import orjson

from wallet_sync.apple_certificates import Signer
from wallet_sync.apple_check import faults
from wallet_sync.apple_signing import sign
from wallet_sync.colours import Palette, Rgb, palette
from wallet_sync.pass_content import TITLE, Line, PassContent
from wallet_sync.pass_strip import marks, strip

MEDIA_TYPE = "application/vnd.apple.pkpass"
SERIAL_BYTES = 24
TOKEN_BYTES = 32
ENTRY_TIME = (2020, 1, 1, 0, 0, 0)  # The same for ever: equal contents make equal bytes.
READABLE_BY_ALL = 0o100644 << 16
CREATED_ON_UNIX = 3
MERCHANT = "merchant"  # Beside the keys of the lines.
WORD_JOINER = "\u2060"  # Nobody sees or hears it.


class PassUnfit(Exception):
    """The pass was not let out: a phone would refuse it. Our mistake, not the holder's; names each fault."""


@dataclass(frozen=True, slots=True)
class UpdatesFrom:
    """Where a phone asks for the pass as it is now, and what it shows to get it."""

    web_service_url: str  # Without `/v1`, which the phone appends.
    authentication_token: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """All of a pass but its signature."""

    files: Mapping[str, bytes]
    manifest: bytes  # Exactly these bytes are signed.

    @property
    def digest(self) -> str:
        """Equal for passes that show the same, whenever they were signed."""
        return sha256(self.manifest).hexdigest()[:32]


def serial_number(secret: bytes, card_id: UUID) -> str:
    """The pass's name at Apple: always the same for a card, and telling nothing about it.

    Args:
        secret: A key derived for this purpose alone; another key makes other passes of all cards.
    """
    return urlsafe_b64encode(hmac.digest(secret, card_id.bytes, "sha256")[:SERIAL_BYTES]).decode()


def authentication_token(secret: bytes, pass_type_id: str, serial: str) -> str:
    """What the phones that carry a pass show to get it again: never changes, and is kept nowhere.

    Args:
        secret: A key derived for this purpose alone.

    Source: Apple's Wallet Passes documentation, `authenticationToken`: at least 16 characters.
    """
    digest = hmac.digest(secret, f"{pass_type_id}\0{serial}".encode(), "sha256")
    return urlsafe_b64encode(digest[:TOKEN_BYTES]).decode().rstrip("=")


def render(content: PassContent, *, serial: str, signer: Signer, updates: UpdatesFrom | None = None) -> Rendered:
    """Everything in the pass, and the manifest that lists it. Without `updates` phones never ask for a newer one.

    Source: Apple's Wallet Passes documentation, `Pass` and `PassFields`, style storeCard.
    """
    colors = palette(content.color, content.secondary_color)
    said, strings = _said(content)
    told = _pass(content, said, colors, serial, signer, updates)
    files: dict[str, bytes] = {"pass.json": _json(told), **marks(colors)}
    if content.progress is not None:
        files |= strip(colors, content.progress)
    for language, texts in strings.items():
        files[f"{language}.lproj/pass.strings"] = _strings(texts)
    # SHA-1 is what the format asks for; that nothing was exchanged is for the signature to say.
    listed = {name: sha1(files[name], usedforsecurity=False).hexdigest() for name in files}
    return Rendered(files, _json(listed))


def packed(rendered: Rendered, signer: Signer, now: datetime) -> bytes:
    """The signed pass.

    Raises:
        PassUnfit: The self-check found something that a phone would refuse.

    Source: Apple's Wallet Passes documentation, "Building a Pass".
    """
    archive = archived(rendered, sign(rendered.manifest, signer))
    found = faults(archive, signer, now)
    if found:
        raise PassUnfit("; ".join(found))
    return archive


def archived(rendered: Rendered, signature: bytes) -> bytes:
    """The files at the root of a ZIP archive, in a fixed order and with a fixed time."""
    files = {**rendered.files, "manifest.json": rendered.manifest, "signature": signature}
    written = BytesIO()
    with ZipFile(written, "w", ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = ZipInfo(name, ENTRY_TIME)
            entry.compress_type = ZIP_DEFLATED
            entry.create_system = CREATED_ON_UNIX
            entry.external_attr = READABLE_BY_ALL
            archive.writestr(entry, files[name])
    return written.getvalue()


# ------------------------------------------------------------------ pass.json


def _pass(
    content: PassContent,
    said: Mapping[str, str],
    colors: Palette,
    serial: str,
    signer: Signer,
    updates: UpdatesFrom | None,
) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "formatVersion": 1,
        "passTypeIdentifier": signer.pass_type_id,
        "teamIdentifier": signer.team_id,
        "serialNumber": serial,
        "organizationName": said[MERCHANT],
        "description": content.description,
        "logoText": said[TITLE],
        "backgroundColor": _rgb(colors.background),
        "foregroundColor": _rgb(colors.foreground),
        "labelColor": _rgb(colors.label),
        "sharingProhibited": True,  # Who has the code has the card.
        "storeCard": {
            "headerFields": [_field(content.balance, said)],
            "secondaryFields": [_field(line, said) for line in content.front],
            "backFields": [_field(line, said) for line in content.back],
        },
    }
    if content.barcode is not None:
        code = {"format": "PKBarcodeFormatQR", "message": content.barcode, "messageEncoding": "iso-8859-1"}
        shown["barcodes"] = [{**code, "altText": content.barcode_text}]
    if content.is_voided:
        shown["voided"] = True
    if updates is not None:
        shown["webServiceURL"] = updates.web_service_url
        shown["authenticationToken"] = updates.authentication_token
    return shown


def _field(line: Line, said: Mapping[str, str]) -> dict[str, str]:
    """Balances are texts too: some readers show nothing for a number."""
    field = {"key": line.key, "label": line.label, "value": said[line.key]}
    return field if line.change is None else {**field, "changeMessage": line.change}


def _said(content: PassContent) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """What pass.json says for each value, by its key, and what each language's file makes of it.

    A phone looks up every text of pass.json in its language's file. So the vendor's words that differ by language stand
    there as keys; all others are no key of any file, or they would be translated.
    """
    values = {MERCHANT: content.merchant, **content.values}
    said: dict[str, str] = {}
    known: dict[str, dict[str, str]] = {
        sentence: {language: texts[sentence] for language, texts in content.texts.items()}
        for sentence in next(iter(content.texts.values()), {})
    }
    for key, plain in values.items():
        if any(key in own for own in content.words.values()):
            in_each = {language: content.words.get(language, {}).get(key, plain) for language in content.texts}
            said[key] = _apart(_one_line(plain), {text for text in known if known[text] != in_each})
            known[said[key]] = in_each
    for key in values.keys() - said.keys():
        said[key] = values[key] if key == "status" else _apart(values[key], known)
    return said, {language: {text: known[text][language] for text in sorted(known)} for language in content.texts}


def _apart(words: str, others: Container[str]) -> str:
    """The vendor's words so that they equal none of the others: what they equal would be read in their place."""
    while words in others:
        words += WORD_JOINER
    return words


def _one_line(words: str) -> str:
    """As a key that every reader finds, and still to be read where a language is none of ours."""
    return _quoted(words.replace("\n", " ")).replace("=", "＝")


def _rgb(color: Rgb) -> str:
    return f"rgb({color[0]}, {color[1]}, {color[2]})"


def _strings(texts: Mapping[str, str]) -> bytes:
    """One line for each text, in UTF-8."""
    return "".join(f'"{_quoted(key)}" = "{_quoted(text)}";\n' for key, text in texts.items()).encode()


def _quoted(text: str) -> str:
    """Quotes become typographic: not every reader knows how to undo escapes. Only new lines have no other way."""
    return text.replace("\\", "⧵").replace('"', "”").replace("\n", "\\n")


def _json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2)
