"""What was signed, for auditors: every checkpoint, proofs between two of them, and pasts that were given up."""

from base64 import b64encode
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query

from api.bodies import StrictRoute
from api.cursors import LIMIT_DEFAULT, POSITION_MAX, After, Limit, decode_cursor, page_of
from api.dependencies import AdminOrAuditor, TheReader
from api.errors import NothingSealed
from api.models import Page
from api.openapi import responses
from api.proof_models import AcceptedRestores, Consistency, SealedCheckpoint
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


def told(sealed: Sealed) -> dict[str, Any]:
    return {**asdict(sealed), "tree_size": sealed.size, "root": b64encode(sealed.root).decode()}
