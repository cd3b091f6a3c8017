"""How the service is doing."""

from typing import Any

from fastapi import APIRouter

from api.admin.checkpoints import last_check
from api.bodies import StrictRoute
from api.dependencies import AdminOrAuditor, TheParts
from api.system_models import System
from projections.proofs.checkpoints import read_newest
from projections.read_model import status
from wallet_sync import breaker
from wallet_sync.upkeep import last_sweep
from wallet_sync.wallet_work import backlog

router = APIRouter(tags=["system"], route_class=StrictRoute)


@router.get("/system", summary="Positions and lags", response_model=System)
async def read_system(_: AdminOrAuditor, parts: TheParts) -> Any:
    """The newest position of the stream, how far each projection and the seal are, what the last check found, what
    waits, what wallets are owed, and the days left on Apple's certificate.
    """
    head, sealed = await parts.reader.last_position(), await read_newest(parts.reader)
    return {
        "position": head,
        "projections": [
            {**projection, "lag_events": max(head - projection["position"], 0)}
            for projection in await status(parts.reader)
        ],
        "checkpoint": None
        if sealed is None
        else {
            "tree_size": sealed.size,
            "position": sealed.position,
            "lag_events": max(head - sealed.position, 0),
            "sealed_at": sealed.sealed_at,
        },
        "last_check": await last_check(parts.reader),
        "commands_waiting": parts.ledger.committer.waiting,
        "wallets": {
            "backlog": await backlog(parts.reader),
            "stopped": await breaker.stopped(parts.reader),
            "sweep": await last_sweep(parts.reader),
        },
        "apple_certificate_days_left": None if parts.apple is None else parts.apple.days_left(),
    }
