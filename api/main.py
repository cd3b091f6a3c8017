"""Where the parts meet: one application out of settings, keys and a database."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import cache
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from psycopg_pool import AsyncConnectionPool
from starlette.routing import BaseRoute

from api import health, openapi, problem_pages, problems
from api.admin import balances as admin_balances
from api.admin import checkpoints as admin_checkpoints
from api.admin import customers as admin_customers
from api.admin import decisions as admin_decisions
from api.admin import events as admin_events
from api.admin import programs as admin_programs
from api.admin import system as admin_system
from api.admin import vendors as admin_vendors
from api.admin import wallets as admin_wallets
from api.auth import Authenticator
from api.dependencies import Parts
from api.google_wallet import CALLBACK, google_wallet
from api.in_flight import InFlight
from api.key_files import Keys
from api.middleware import Admission, BodyLimit, Requests, StraightToTheTill
from api.pages import admin as admin_pages
from api.pages import api_docs, audit, audit_card, audit_events, routing, sign_in, start, till
from api.pages.customer import cards as customer_cards
from api.pages.customer import joining, leaving, wallet_buttons
from api.pages.customer.open_cards import OpenCards, is_waiting
from api.pages.vendor import cards as card_pages
from api.pages.vendor import designer, home, poster, staff, transactions
from api.pages.vendor import keys as key_pages
from api.pages.vendor import settings as settings_pages
from api.public import apple_web_service
from api.public import cards as public_cards
from api.public import checkpoint as public_checkpoint
from api.public import google as public_google
from api.public import passes as public_passes
from api.public import programs as public_programs
from api.sessions import Sessions
from api.settings import Settings
from api.vendor import (
    adjustments,
    api_keys,
    cards,
    customers,
    decisions,
    entries,
    events,
    pins,
    points,
    programs,
    redemptions,
    stamps,
    stats,
)
from api.wallets import apple_wallet
from ledger.commands import Ledger
from ledger.reader import Pool, Reader, act_as_application
from ledger.seal import MasterKey
from projections.positions import Waiter
from wallet_sync.google_callback import MESSAGE_BYTES_MAX

READERS_MAX = 8
PHONE_LOG_BYTES_MAX = 65_536
GC_THRESHOLDS = (200_000, 100, 1_000)

ADMIN = (
    admin_vendors,
    admin_customers,
    admin_programs,
    admin_events,
    admin_balances,
    admin_decisions,
    admin_checkpoints,
    admin_wallets,
    admin_system,
)
TILL = (stamps, points, redemptions)
TILL_ROUTES = {route.path: route for noun in TILL for route in noun.router.routes if isinstance(route, APIRoute)}
VENDOR = (programs, cards, customers, adjustments, entries, decisions, events, pins, api_keys, stats)
PUBLIC = (public_programs, public_cards, public_passes, public_checkpoint, public_google, apple_web_service)
PAGES = (
    routing,
    api_docs,
    start,
    sign_in,
    till,
    customer_cards,
    leaving,
    joining,
    wallet_buttons,
    home,
    card_pages,
    transactions,
    designer,
    staff,
    key_pages,
    poster,
    settings_pages,
    audit,
    audit_card,
    audit_events,
    admin_pages,
)

TAGS = (
    {"name": "stamps", "description": "Stamping cards, with cooldown, daily limit and staff PIN."},
    {"name": "points", "description": "Points for purchases."},
    {"name": "redemptions", "description": "Swapping units for rewards."},
    {"name": "adjustments", "description": "Putting a balance right by hand."},
    {"name": "entries", "description": "Undoing an entry by a new one."},
    {"name": "decisions", "description": "Why something was accepted or refused."},
    {"name": "cards", "description": "Enrolment, look-up, and a card's life."},
    {"name": "customers", "description": "What is held about a person, and forgetting them."},
    {"name": "transactions", "description": "The audit log as a table."},
    {"name": "programs", "description": "The rules of a scheme, through time."},
    {"name": "staff", "description": "Staff PINs and sessions."},
    {"name": "keys", "description": "A vendor's own keys, and its tills."},
    {"name": "statistics", "description": "Counts and series."},
    {"name": "vendors", "description": "Merchants and their API keys."},
    {"name": "audit", "description": "The stream itself, and what was signed over it."},
    {"name": "wallets", "description": "Passes in phones: what they were told, and trying again."},
    {"name": "system", "description": "How the service is doing."},
    {"name": "public", "description": "What customers can read and do, without a key."},
    {"name": "apple", "description": "Apple's web service for passes: called by phones, not by people."},
    {"name": "health", "description": "For those who watch the service."},
)


def create_app(settings: Settings, keys: Keys, conninfo: str) -> FastAPI:
    """The service over a database that is migrated already.

    Args:
        conninfo: Any libpq URI; the login user must be a member of the application's role.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        pool: Pool = AsyncConnectionPool(
            conninfo,
            kwargs={"autocommit": True, "connect_timeout": 2},
            configure=act_as_application,
            min_size=1,
            max_size=READERS_MAX,
            timeout=1,
            max_waiting=500,
            open=False,
        )
        await pool.open()
        ledger = Ledger(
            conninfo,
            pool,
            keys.master_key,
            session_idle=timedelta(seconds=settings.staff_session_idle_seconds),
            session_longest=timedelta(seconds=settings.staff_session_max_seconds),
        )
        waiter = Waiter(conninfo)
        reader = Reader(pool, keys.master_key)
        open_cards = OpenCards(reader, waiter, settings.open_cards_max)
        apple = apple_wallet(settings, keys.master_key)
        google = google_wallet(settings, keys.master_key)
        authenticator = Authenticator(ledger.vendors, admin_key=keys.admin_key, auditor_key=keys.auditor_key)
        app.state.parts = Parts(
            settings=settings,
            ledger=ledger,
            reader=reader,
            master_key=keys.master_key,
            fingerprint_key=keys.master_key.derive("fingerprints"),
            authenticator=authenticator,
            sessions=Sessions(
                authenticator,
                keys.master_key,
                idle=timedelta(seconds=settings.browser_session_idle_seconds),
                longest=timedelta(seconds=settings.browser_session_max_seconds),
                public_url=settings.public_url,
            ),
            in_flight=InFlight(),
            waiter=waiter,
            apple=apple,
            google=google,
            open_cards=open_cards,
        )
        await ledger.start()
        await waiter.start()
        await open_cards.start()
        _calm_the_garbage_collector()
        try:
            yield
        finally:
            await open_cards.stop()
            await waiter.stop()
            await ledger.stop()
            if apple is not None:
                apple.close()
            if google is not None:
                google.close()
            await pool.close()

    app = FastAPI(
        title="Loyalty ledger",
        version="0.1.0",
        lifespan=lifespan,
        docs_url=None,  # Theirs load scripts from elsewhere into our origin; ours are `api.pages.api_docs`.
        redoc_url=None,
    )
    app.router.routes.extend([*TILL_ROUTES.values(), *_other_routes()])
    problems.install(app)
    openapi.install(app, TAGS)
    # The last added is the outermost.
    app.add_middleware(StraightToTheTill, routes=TILL_ROUTES)
    app.add_middleware(
        BodyLimit,
        bytes_max=settings.body_bytes_max,
        seconds_max=settings.body_seconds_max,
        larger={
            CALLBACK: MESSAGE_BYTES_MAX,
            **{f"/api/v1/loyalty/apple{slash}/v1/log": PHONE_LOG_BYTES_MAX for slash in ("", "/")},
        },
    )
    app.add_middleware(Admission, in_flight_max=settings.in_flight_max, is_waiting=is_waiting)
    app.add_middleware(Requests, public_url=settings.public_url)
    return app


@cache
def _other_routes() -> list[BaseRoute]:
    """The same in each application: what FastAPI works out about a route when it first meets it, it keeps there."""
    router = APIRouter(generate_unique_id_function=openapi.operation_id)
    for prefix, nouns in (("/admin", ADMIN), ("/vendor", VENDOR), ("", PUBLIC)):
        for noun in nouns:
            router.include_router(noun.router, prefix=f"/api/v1{prefix}/loyalty")
    for pages in (health, problem_pages, *PAGES):
        router.include_router(pages.router)
    return router.routes


def _calm_the_garbage_collector() -> None:
    """What exists now stays; collecting it again and again costs tens of milliseconds at a time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def describe() -> dict[str, Any]:
    """The OpenAPI document, without a database."""
    nothing = Keys(admin_key="", auditor_key=None, master_key=MasterKey(bytes(32)), admin_key_file=None)
    return create_app(Settings(), nothing, "").openapi()
