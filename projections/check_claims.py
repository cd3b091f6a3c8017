"""Look-ups compared with the stream: numbers, QR codes, serial numbers, open cards, contacts, tills' references.

A look-up that leads elsewhere would put a stranger's stamps on this card; without one an order could count twice.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter
from typing import Any
from uuid import UUID

from ledger.card import Card, CardEnrolled
from ledger.commands import answers
from ledger.commands.references import card_of_claim, contact_claim, number_claim, qr_claim, serial_claim
from ledger.decision import Claim
from ledger.ids import derived
from ledger.personal import Secret
from ledger.seal import MasterKey, SealBroken, SubjectKey, unseal
from ledger.stream import Stored, decode
from ledger.wallet_pass import WalletPass
from projections.differences import Known
from projections.fold import SUBJECT_KEYS
from projections.loyalty_cards import OPEN

CARD_CLAIMS = ("card_number", "card_qr", "open_card", "apple_serial")
CAN_BE_OLD = ("card_qr", "apple_serial")  # One that is not expected may be a forgotten person's, or of an earlier pass.
CONTACT_CLAIMS = ("customer_email", "customer_phone")
CARDS_AT_ONCE = 2_000
AT_HOME = "public"

CLAIMS = "SELECT kind, scope, value, stream_id FROM claims WHERE kind = ANY(%s)"
COUNT = "SELECT count(*) FROM claims WHERE kind = 'external_ref'"
# The table of entries was compared with the stream already; entries that are not in it yet are not compared.
REFERENCES = """
SELECT coalesce(c.scope, t.program_id), coalesce(c.value, sha256(convert_to(t.external_ref, 'UTF8'))),
    t.card_id, t.id, c.stream_id, c.entry_id
FROM (SELECT * FROM claims WHERE kind = 'external_ref') c
FULL JOIN (SELECT * FROM loyalty_transactions WHERE external_ref IS NOT NULL) t
    ON c.scope = t.program_id AND c.value = sha256(convert_to(t.external_ref, 'UTF8'))
WHERE (t.card_id, t.id) IS DISTINCT FROM (c.stream_id, c.entry_id)
"""
# What each of those cards said of its holder, one after the other, whose details were ever changed.
DETAILS = """
SELECT originator_id, originator_version, topic, state, notification_id FROM stored_events
WHERE originator_id IN (SELECT originator_id FROM stored_events WHERE topic = 'customer-details-changed')
    AND topic IN ('card-enrolled', 'customer-details-changed')
ORDER BY originator_id, originator_version
"""
REPLACING = """
SELECT card_id, related_card_id FROM loyalty_transactions
WHERE transaction_type = 'card_enrolled' AND related_card_id IS NOT NULL
"""
ENROLLED_SINCE = """
SELECT originator_id, originator_version, topic, state, notification_id FROM stored_events
WHERE notification_id > %s AND topic = 'card-enrolled'
"""
NEWER_ENTRY = """
SELECT EXISTS (SELECT FROM stored_events WHERE originator_id = %s AND notification_id > %s)
"""


def compare_claims(known: Known, master_key: MasterKey) -> None:
    """Compare the look-ups of cards, passes and people with where the streams stand.

    QR codes and contacts that nobody can open are left out: those of forgotten people.
    """
    _compare_cards(known)
    _compare_contacts(known, master_key)
    _compare_references(known)


def _compare_cards(known: Known) -> None:
    expected = {claim: id_ for id_ in known.heads for claim in _of(known, id_)}
    for row in _rows(known, CARD_CLAIMS):
        claim = Claim(row[0], row[1], row[2])
        should_be = expected.pop(claim, None)
        if should_be != row[3] and (should_be is not None or claim.kind not in CAN_BE_OLD):
            known.differences.add("claims", shown(claim), "stream_id", should_be, row[3])
    for claim, stream_id in expected.items():
        known.differences.add("claims", shown(claim), "stream_id", stream_id, None)


def _of(known: Known, stream_id: UUID) -> Iterator[Claim]:
    head = known.heads[stream_id]
    if head.stream_type == "wallet_pass":
        held: WalletPass = head.state
        if held.serial_number is not None:
            yield serial_claim(held.serial_number)
    if head.stream_type != "card":
        return
    card: Card | None = known.state_of(stream_id)
    if card is None:  # Its first event cannot be read, or is not there: that is told already.
        return
    yield number_claim(card.number)
    if card.status in OPEN and head.program_id is not None:
        yield card_of_claim(head.program_id, card.customer_id)
    kept = known.cards.get(stream_id)
    token = None if kept is None else kept.opened(card.qr_token)
    if token is not None:
        yield qr_claim(token)


# ------------------------------------------------------------------ people


def _compare_contacts(known: Known, master_key: MasterKey) -> None:
    """A contact leads to somebody who gave it.

    Where several gave one, to the first of them: it is not missed once that one has another. Whoever enrols at home
    gets no look-up, nor by a card that replaces theirs; and where somebody was forgotten, theirs is gone, and nobody
    can tell any more whose it was: so none is missed with that vendor.
    """
    owners: dict[Claim, set[UUID]] = {}
    missed: set[Claim] = set()
    closed: set[tuple[UUID, UUID]] = set()
    subjects = [head for head in known.heads.values() if head.stream_type == "subject"]
    forgotten = {(head.vendor_id, head.state.customer_id) for head in subjects}
    vendors = {head.vendor_id for head in subjects}
    at_home = _at_home(known)
    cards = (id_ for id_, head in known.heads.items() if head.stream_type == "card")
    while chunk := list(islice(cards, CARDS_AT_ONCE)):
        for contact in _contacts(known, master_key, chunk):
            head = known.heads[contact.card_id]
            if contact.claim is None:
                closed.add((head.vendor_id, contact.customer_id))
                continue
            owners.setdefault(contact.claim, set()).add(contact.customer_id)
            if contact.card_id not in at_home and head.vendor_id not in vendors:
                missed.add(contact.claim)
    for kind, scope, value, customer_id in _rows(known, CONTACT_CLAIMS):
        claim = Claim(kind, scope, value)
        missed.discard(claim)
        if (scope, customer_id) in forgotten:
            known.differences.add("claims", shown(claim), "stream_id", None, customer_id)
        elif customer_id not in owners.get(claim, ()) and (scope, customer_id) not in closed:
            expected = min(owners[claim]) if claim in owners else None
            known.differences.add("claims", shown(claim), "stream_id", expected, customer_id)
    given_up = _given_up(known, master_key) if missed else set()
    for claim in sorted(missed - given_up, key=str):
        known.differences.add("claims", shown(claim), "stream_id", min(owners[claim]), None)


@dataclass(frozen=True, slots=True)
class _Contact:
    """Whose it is, and what finds them by it; None where nobody can open it any more."""

    card_id: UUID
    customer_id: UUID
    claim: Claim | None


def _at_home(known: Known) -> set[UUID]:
    """Cards that their holders made, and those that replace one."""
    replaced: dict[UUID, UUID] = dict(known.connection.execute(REPLACING, binary=True).fetchall())
    for row in known.connection.execute(ENROLLED_SINCE, (known.projected,), binary=True):
        event = _decoded(row)
        if isinstance(event, CardEnrolled) and event.replaces is not None:
            replaced[row[0]] = event.replaces
    made = {id_ for id_, head in known.heads.items() if head.stream_type == "card" and head.channel == AT_HOME}
    for card_id in replaced:
        first, seen = card_id, set[UUID]()  # A table that somebody wrote in may go round in circles.
        while first in replaced and first not in seen:
            seen.add(first)
            first = replaced[first]
        if first in made:
            made.add(card_id)
    return made


def _decoded(row: tuple[Any, ...]) -> Any:
    """None for an event that cannot be read: that is told already."""
    try:
        return decode(Stored(*row)).event
    except Exception:
        return None


def _given_up(known: Known, master_key: MasterKey) -> set[Claim]:
    """Contacts that a card said before its holder's details were put right, and says no more."""
    given_up: set[Claim] = set()
    for card_id, rows in groupby(known.connection.execute(DETAILS, binary=True), key=itemgetter(0)):
        card: Card | None = known.state_of(card_id) if card_id in known.heads else None
        said = [event for row in rows if (event := _decoded(row)) is not None]
        if card is not None and said:
            *before, now = (_claims(known, master_key, card_id, card.customer_id, event) for event in said)
            given_up |= set().union(*before) - now
    return given_up


def _claims(known: Known, master_key: MasterKey, card_id: UUID, customer_id: UUID, said: Any) -> set[Claim]:
    found = _opened(known, master_key, [(card_id, customer_id, said.email, said.phone)])
    return {contact.claim for contact in found if contact.claim is not None}


def _contacts(known: Known, master_key: MasterKey, card_ids: list[UUID]) -> Iterator[_Contact]:
    cards = [(card_id, known.state_of(card_id)) for card_id in card_ids]
    return _opened(
        known, master_key, [(id_, card.customer_id, card.email, card.phone) for id_, card in cards if card is not None]
    )


def _opened(
    known: Known, master_key: MasterKey, said: list[tuple[UUID, UUID, Secret | None, Secret | None]]
) -> Iterator[_Contact]:
    """Card, customer, email and phone, as sealed."""
    given = [
        (card_id, customer_id, derived(*answers.subject_of(known.heads[card_id].vendor_id, customer_id)), email, phone)
        for card_id, customer_id, email, phone in said
        if email or phone
    ]
    if not given:
        return
    rows = known.connection.execute(
        SUBJECT_KEYS, (list({subject_id for _, _, subject_id, _, _ in given}),), binary=True
    )
    keys: dict[UUID, SubjectKey] = {row[0]: master_key.unwrap(*row) for row in rows}
    for card_id, customer_id, subject_id, email, phone in given:
        for kind, secret in (("email", email), ("phone", phone)):
            if secret is None:
                continue
            if subject_id not in keys:
                yield _Contact(card_id, customer_id, None)
                continue
            try:
                plain = unseal(secret, keys[subject_id], stream_id=card_id).plain
            except SealBroken:
                known.differences.add("stored_events", card_id, kind, "opens with the person's key", "does not")
                continue
            assert plain is not None
            claim = contact_claim(master_key, known.heads[card_id].vendor_id, kind, plain)
            yield _Contact(card_id, customer_id, claim)


# ------------------------------------------------------------------ references


def _compare_references(known: Known) -> None:
    """A till's reference belongs to the entry that was made under it, for ever."""
    row = known.connection.execute(COUNT).fetchone()
    known.differences.rows["claims"] += 0 if row is None else row[0]
    for scope, value, card_id, entry_id, found_card, found_entry in known.connection.execute(REFERENCES, binary=True):
        if card_id is None:
            newer = known.connection.execute(NEWER_ENTRY, (found_card, known.projected)).fetchone()
            if newer is not None and newer[0]:
                continue
        place = shown(Claim("external_ref", scope, value))
        for column, should_be, is_ in (("stream_id", card_id, found_card), ("entry_id", entry_id, found_entry)):
            if should_be != is_:
                known.differences.add("claims", place, column, should_be, is_)


def _rows(known: Known, kinds: Iterable[str]) -> Iterator[tuple[Any, ...]]:
    with known.connection.cursor("claimed", binary=True) as cursor:
        cursor.itersize = CARDS_AT_ONCE
        for row in cursor.execute(CLAIMS, (list(kinds),)):
            known.differences.rows["claims"] += 1
            yield row


def shown(claim: Claim) -> str:
    if claim.kind == "card_number":
        return f"{claim.kind}/{claim.value.decode(errors='replace')}"
    if claim.kind == "open_card":
        return f"{claim.kind}/{claim.scope}/{UUID(bytes=claim.value)}"
    return f"{claim.kind}/{claim.value.hex()}"
