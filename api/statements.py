"""A card's statement as a response: what vendors and auditors are given to prove a balance with."""

from uuid import UUID

import orjson
import structlog
from fastapi import Response

from api.dependencies import Parts
from api.errors import StatementUnavailable
from ledger.commands.caller import utc_now
from ledger.commands.references import CardReference
from projections.proofs.sealing_keys import SealingRefused
from projections.proofs.statement import statement

log = structlog.get_logger("api.statements")


async def answer_statement(parts: Parts, card_id: UUID, vendor_id: UUID | None) -> Response:
    """The statement of this vendor's card; None as vendor finds anybody's.

    Raises: CardNotFound; StatementUnavailable while nothing is sealed, or where no key is at hand to sign with.
    """
    reference = CardReference(str(card_id))
    reference.find(await parts.reader.view(reference.streams), vendor_id)
    try:
        made = await statement(parts.reader, parts.settings.sealing_key_path, card_id, utc_now())
    except SealingRefused as refusal:
        log.warning("no-statement", error=str(refusal))
        raise StatementUnavailable from None
    return Response(orjson.dumps(made), media_type="application/json")
