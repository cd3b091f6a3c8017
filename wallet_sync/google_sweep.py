"""Each night the objects of a class are compared with the cards they stand for: whatever drifted is owed again.

Google keeps what it was sent; people with access to its console, and an older copy of this service, may have sent
something else. Each difference is written by the ordinary way, whose pace and pauses hold here too.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

import structlog

from ledger.commands import Ledger
from ledger.commands.references import CardReference
from wallet_sync.google_client import Answer, GoogleClient, GoogleRefused
from wallet_sync.google_issuer import Issuer
from wallet_sync.google_pass import OWNED
from wallet_sync.wallet_work import Owed, keep, owe_class_again

EXPECTED = "SELECT id FROM loyalty_cards WHERE program_id = %s AND google_object_id IS NOT NULL"
OWE_AGAIN = """
UPDATE wallet_work SET synced = least(synced, desired - 1), due_at = now(), owed_since = now()
WHERE channel = 'google' AND id = ANY(%s) AND synced >= desired
RETURNING id
"""

log = structlog.get_logger("wallet_sync.google_sweep")


async def sweep(ledger: Ledger, issuer: Issuer, client: GoogleClient, owed: Owed) -> Answer:
    """Compare the objects of the one program that the row is about.

    Returns: As a write; the differences are owed to their own rows. Where the class is not there any more, it is
        owed too, and comparing comes after it.
    """
    missing = {card_id for (card_id,) in await ledger.reader.rows(EXPECTED, (owed.id,))}
    differing: list[UUID] = []
    page: str | None = None
    while True:
        await keep(ledger.reader, "google_sweep", owed)
        try:
            objects, page = await client.objects(issuer.class_id(owed.id), page)
        except GoogleRefused as refused:
            if refused.answer.status != 404:
                return refused.answer
            await owe_class_again(ledger.reader, owed.id)
            return replace(refused.answer, what="class_missing")
        for found in objects:
            card_id = issuer.card_of(str(found.get("id")))
            if card_id is None or card_id not in missing:
                log.warning("google-object-unknown", id=str(found.get("id")))
                continue
            missing.discard(card_id)
            if not await _is_as_it_should_be(ledger, issuer, card_id, found):
                differing.append(card_id)
        if page is None:
            break
    again = await ledger.reader.rows(OWE_AGAIN, ([*differing, *missing],))
    if again:
        log.warning("google-drifted", program_id=str(owed.id), differing=len(differing), missing=len(missing))
    return Answer("done", 200, None, None)


async def _is_as_it_should_be(ledger: Ledger, issuer: Issuer, card_id: UUID, found: Mapping[str, Any]) -> bool:
    card = await ledger.cards.look_up(CardReference(str(card_id)), None)
    vendor = await ledger.vendors.find(card["vendor_id"])
    wanted = issuer.loyalty_object(card, vendor["name"])
    return all(_is_shown(wanted.get(name), found.get(name)) for name in OWNED["loyaltyObject"])


def _is_shown(wanted: Any, found: Any) -> bool:
    """Whether Google has what we sent. It adds to objects, such as a `kind`; that is no difference."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(_is_shown(value, found.get(name)) for name, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(_is_shown, wanted, found))
    if wanted is None:
        return found is None or found == [] or found == {}
    return bool(wanted == found)
