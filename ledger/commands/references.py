"""How a card is named from outside, and the claims that find it."""

from hashlib import sha256
from uuid import UUID

from ledger.card import Card
from ledger.decision import Claim, Stream, View
from ledger.errors import CardNotFound, ProgramNotFound
from ledger.ids import looks_like_card_number
from ledger.program import Program
from ledger.seal import MasterKey, digest_of

EVERYWHERE = UUID(int=0)


def number_claim(number: str) -> Claim:
    return Claim("card_number", EVERYWHERE, number.encode())


def qr_claim(token: str) -> Claim:
    return Claim("card_qr", EVERYWHERE, digest_of(token))


def serial_claim(serial_number: str) -> Claim:
    """Finds a card's pass by its serial number at Apple."""
    return Claim("apple_serial", EVERYWHERE, serial_number.encode())


def card_of_claim(program_id: UUID, customer_id: UUID) -> Claim:
    """A customer's open card in a program: there is at most one."""
    return Claim("open_card", program_id, customer_id.bytes)


def contact_claim(master_key: MasterKey, vendor_id: UUID, kind: str, value: str) -> Claim:
    """Finds a customer by email or phone without telling either."""
    return Claim(f"customer_{kind}", vendor_id, master_key.lookup(vendor_id, kind, value))


def customer_claim(vendor_id: UUID, customer_id: UUID) -> Claim:
    """Finds whom a vendor means by an id that belonged to somebody who was forgotten."""
    return Claim("customer_id", vendor_id, customer_id.bytes)


def reference_claim(program_id: UUID, external_ref: str) -> Claim:
    """A till's own reference, unique in its program for ever."""
    return Claim("external_ref", program_id, sha256(external_ref.encode()).digest())


def code_claim(code: str) -> Claim:
    return Claim("vendor_code", EVERYWHERE, code.encode())


def key_claim(digest: str) -> Claim:
    return Claim("api_key", EVERYWHERE, bytes.fromhex(digest))


def staff_claim(vendor_id: UUID, staff_id: str, program_id: UUID | None) -> Claim:
    return Claim("staff_pin", vendor_id, sha256(f"{program_id}:{staff_id}".encode()).digest())


class CardReference:
    """A card's UUID, its 12-digit number, or its QR data."""

    __slots__ = ("claim", "stream_id")

    def __init__(self, text: str) -> None:
        self.stream_id: UUID | None = None
        self.claim: Claim | None = None
        if looks_like_card_number(text):
            self.claim = number_claim(text)
            return
        try:
            self.stream_id = UUID(text)
        except ValueError:
            self.claim = qr_claim(text)

    @property
    def streams(self) -> list[UUID]:
        return [] if self.stream_id is None else [self.stream_id]

    @property
    def claims(self) -> list[Claim]:
        return [] if self.claim is None else [self.claim]

    def find(self, view: View, vendor_id: UUID | None) -> Stream:
        """The card, if it is this vendor's; None as vendor finds anybody's.

        Raises: CardNotFound, the same for a card that is not there and for somebody else's.
        """
        stream_id = self.stream_id
        if self.claim is not None:
            owner = view.owner(self.claim)
            stream_id = owner.stream_id if owner else None
        stream = view.stream(stream_id) if stream_id else None
        if stream is None or not isinstance(stream.state, Card):
            raise CardNotFound
        if vendor_id is not None and stream.vendor_id != vendor_id:
            raise CardNotFound
        return stream


def program_of(view: View, program_id: UUID | None, vendor_id: UUID | None) -> Stream:
    """Raises: ProgramNotFound, the same for one that is not there and for somebody else's."""
    stream = view.stream(program_id) if program_id else None
    if stream is None or not isinstance(stream.state, Program):
        raise ProgramNotFound
    if vendor_id is not None and stream.vendor_id != vendor_id:
        raise ProgramNotFound
    return stream
