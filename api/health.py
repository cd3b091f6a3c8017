"""Whether the process lives, whether it can work, and numbers for those who watch."""

import re
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from api.bodies import StrictRoute
from api.dependencies import Public, TheParts
from api.errors import NotReady
from api.openapi import responses
from api.system_models import Health
from ledger.errors import StoreAway
from projections.read_model import NAME as QUERY_TABLES
from projections.read_model import status
from wallet_sync import breaker
from wallet_sync.wallet_work import backlog

REASON = re.compile(r"[A-Za-z0-9 _]{1,64}")  # As Apple's and Google's are, and the names of our exceptions.

router = APIRouter(tags=["health"], dependencies=[Public], route_class=StrictRoute)


@router.get("/health/live", summary="Whether the process lives", response_model=Health)
async def read_liveness() -> Any:
    """Answers as long as the process runs, whatever else is broken."""
    return {"status": "live"}


@router.get("/health/ready", summary="Whether it can work", response_model=Health, responses=responses(NotReady))
async def read_readiness(parts: TheParts) -> Any:
    """The stream's position and each projection's; 503 while the database is away or the query tables are stopped."""
    try:
        head, found = await parts.reader.last_position(), await status(parts.reader)
    except StoreAway:
        raise NotReady from None
    projections = [
        {"name": p["name"], "position": p["position"], "lag_events": max(head - p["position"], 0)} for p in found
    ]
    is_ready = not any(p["error"] for p in found if p["name"] == QUERY_TABLES)  # Tills need neither seals nor phones.
    body = {"status": "ready" if is_ready else "not_ready", "position": head, "projections": projections}
    if not is_ready:
        raise NotReady
    return JSONResponse(body, HTTPStatus.OK)


@router.get(
    "/metrics",
    summary="Numbers for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus text format."}},
)
async def read_metrics(parts: TheParts) -> Response:
    """The service's gauges in Prometheus's text format. No label ever holds a name, a number or a key."""
    registry = CollectorRegistry()
    Gauge("loyalty_commands_waiting", "Commands in the committer's queue", registry=registry).set(
        parts.ledger.committer.waiting
    )
    Gauge("loyalty_rounds_total", "Rounds written since the start", registry=registry).set(
        parts.ledger.committer.rounds
    )
    head, found = await parts.reader.last_position(), await status(parts.reader)
    Gauge("loyalty_stream_position", "Newest position of the stream", registry=registry).set(head)
    lag = Gauge("loyalty_projection_lag_events", "Events not yet projected", ["projection"], registry=registry)
    told = "1 where it found something wrong or is stopped by it: /system says what"
    wrong = Gauge("loyalty_projection_error", told, ["projection"], registry=registry)
    for projection in found:
        wrong.labels(projection["name"]).set(projection["error"] is not None)
        lag.labels(projection["name"]).set(max(head - projection["position"], 0))
    _add_wallets(registry, await backlog(parts.reader), None if parts.apple is None else parts.apple.days_left())
    stop = Gauge("loyalty_wallet_stopped", "1 while it refuses whatever is sent", ["provider"], registry=registry)
    for provider in await breaker.stopped(parts.reader):
        stop.labels(provider).set(1)
    phones = Gauge("loyalty_phone_log_lines_total", "Complaints of phones", ["about"], registry=registry)
    for about, count in parts.phone_log.items():
        phones.labels(about).set(count)
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _add_wallets(registry: CollectorRegistry, channels: list[dict[str, Any]], days_left: int | None) -> None:
    """Not one of these is there where nothing is owed, or where no usable certificate is set up."""
    if days_left is not None:
        told = "Days that passes for Apple Wallet can still be signed"
        Gauge("loyalty_apple_certificate_days_left", told, registry=registry).set(days_left)
    waiting = Gauge("loyalty_wallet_waiting", "What wallets are owed", ["channel"], registry=registry)
    parked = Gauge("loyalty_wallet_parked", "Of that, what was given up", ["channel"], registry=registry)
    lag = Gauge("loyalty_wallet_lag_seconds", "For how long the oldest is owed", ["channel"], registry=registry)
    failing = Gauge("loyalty_wallet_errors", "Of that, what failed last", ["channel", "error"], registry=registry)
    for row in channels:
        waiting.labels(row["channel"]).set(row["waiting"])
        parked.labels(row["channel"]).set(row["parked"])
        lag.labels(row["channel"]).set(row["lag_seconds"])
        for error, count in row["errors"].items():
            failing.labels(row["channel"], error if REASON.fullmatch(error) else "other").inc(count)
