"""The newest signed checkpoint and the keys to verify it with: whoever keeps one can later hold the past against it."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from api.bodies import StrictRoute
from api.dependencies import Public, TheReader
from api.errors import NothingSealed
from api.openapi import responses
from api.proof_models import SealingKeys
from projections.proofs.checkpoints import read_newest
from projections.proofs.sealing_keys import read_recorded

router = APIRouter(tags=["public"], dependencies=[Public], route_class=StrictRoute)

ANSWERS = responses(NothingSealed)


@router.get("/checkpoint", summary="The newest checkpoint", response_class=PlainTextResponse, responses=ANSWERS)
async def read_checkpoint(reader: TheReader) -> str:
    """A signed note as C2SP's tlog-checkpoint has it: name of the ledger, number of events, root of their tree."""
    found = await read_newest(reader)
    if found is None:
        raise NothingSealed
    return found.note


@router.get("/checkpoint/key", summary="The public key", response_class=PlainTextResponse, responses=ANSWERS)
async def read_checkpoint_key(reader: TheReader) -> str:
    """The key that signs now, as C2SP's signed-note writes verifier keys. Keep it from a source you trust."""
    recorded = await read_recorded(reader)
    if not recorded:
        raise NothingSealed
    return f"{recorded[-1].verifier_key}\n"


@router.get("/checkpoint/keys", summary="All public keys", response_model=SealingKeys)
async def list_checkpoint_keys(reader: TheReader) -> Any:
    """Every key that ever signed, oldest first, each in a note signed by itself and by the one before."""
    return {"items": await read_recorded(reader)}
