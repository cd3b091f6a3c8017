"""For auditors: what was signed, proofs between two checkpoints, pasts that were given up, and what a check found."""

from base64 import b64encode
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from msgspec import structs

from api.bodies import StrictRoute
from api.cursors import LIMIT_DEFAULT, POSITION_MAX, After, Limit, decode_cursor, page_of
from api.dependencies import AdminOrAuditor, TheReader
from api.errors import NothingSealed
from api.models import Page
from api.openapi import responses
from api.proof_models import AcceptedRestores, Consistency, LastCheck, SealedCheckpoint
from ledger.audit import Audit
from ledger.commands.audits import AUDIT_ID
from ledger.reader import Reader
from projections.proofs.checkpoints import Sealed, read_newest, read_of_size, read_page, read_restores
from projections.proofs.merkle import consistency_proof
from projections.proofs.tiles import read_node, wanted

router = APIRouter(tags=["audit"], route_class=StrictRoute)

Size = Annotated[int | None, Query(ge=1, le=POSITION_MAX, description="How many events a checkpoint is over.")]


@router.get("/audit/checkpoints", summary="List checkpoints", response_model=Page[SealedCheckpoint])
async def list_checkpoints(
    _: AdminOrAuditor, reader: TheReader, limit: Limit = LIMIT_DEFAULT, cursor: After = None
) -> Any:
    """Everything that was signed, newest first."""
    before = POSITION_MAX if cursor is None else decode_cursor(cursor, int)[0]
    found = await read_page(reader, before=before, limit=limit + 1)
    shown, next_cursor = page_of(found, limit, lambda sealed: (sealed.number,))
    return {"items": [told(sealed) for sealed in shown], "next_cursor": next_cursor}


@router.get(
    "/audit/consistency",
    summary="Prove that one checkpoint goes on from another",
    response_model=Consistency,
    responses=responses(NothingSealed),
)
async def prove_consistency(_: AdminOrAuditor, reader: TheReader, old: Size = None, new: Size = None) -> Any:
    """The proof of RFC 6962 between two checkpoints, by their numbers of events; absent, the newest one."""
    first, second = [await (read_newest(reader) if size is None else read_of_size(reader, size)) for size in (old, new)]
    if first is None or second is None:
        raise NothingSealed
    first, second = sorted((first, second), key=lambda sealed: sealed.size)
    node = await read_node(reader, wanted(lambda node: consistency_proof(first.size, second.size, node)))
    proof = consistency_proof(first.size, second.size, node)
    return {"old": told(first), "new": told(second), "proof": [b64encode(hash_).decode() for hash_ in proof]}


@router.get("/audit/restores", summary="List accepted restores", response_model=AcceptedRestores)
async def list_accepted_restores(_: AdminOrAuditor, reader: TheReader) -> Any:
    """Operators' signed statements that a past which was signed is given up, oldest first. Empty is good news."""
    return {"items": await read_restores(reader)}


@router.get("/audit/check", summary="What the last check found", response_model=LastCheck)
async def read_last_check(_: AdminOrAuditor, reader: TheReader) -> Any:
    """When every table was last compared with the stream, by `loyalty-ledger check`, and what differed."""
    return await last_check(reader)


async def last_check(reader: Reader) -> dict[str, Any]:
    """The answer, from the ledger's own stream."""
    stream = await reader.stream(AUDIT_ID)
    if stream is None:
        return {"status": "never_checked", "checks": 0}
    audit: Audit = stream.state
    status = "differs" if audit.last.differences else "adds_up"
    return {"status": status, "checks": audit.checks, **structs.asdict(audit.last)}


def told(sealed: Sealed) -> dict[str, Any]:
    return {**asdict(sealed), "tree_size": sealed.size, "root": b64encode(sealed.root).decode()}
