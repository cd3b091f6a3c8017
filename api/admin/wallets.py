"""Passes in phones, for who is asked why a card does not update: what is known, what to do, and trying again."""

import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query

from api.bodies import StrictRoute
from api.cursors import LIMIT_DEFAULT, After, Limit, decode_cursor, page_of
from api.dependencies import AdminOnly, AdminOrAuditor, Parts, TheParts, TheReader
from api.languages import Language, negotiate, translate
from api.models import Page
from api.openapi import responses
from api.wallet_models import CardWallet, ParkedWork, Retried
from ledger import errors
from ledger.commands.caller import utc_now
from ledger.commands.references import CardReference
from ledger.ids import wallet_pass_id
from ledger.reader import Reader
from projections import apple_device_registrations
from wallet_sync import breaker, support, wallet_work
from wallet_sync.support import HINTS, Verdict

router = APIRouter(tags=["wallets"], route_class=StrictRoute)

DIGEST_CHARACTERS = 12
AcceptLanguage = Annotated[str | None, Header(description="Of the hints.")]


@router.get(
    "/cards/{card_id}/wallet",
    summary="Why a card does not update",
    response_model=CardWallet,
    responses=responses(errors.CardNotFound),
)
async def read_card_wallet(
    card_id: UUID, _: AdminOrAuditor, parts: TheParts, accept_language: AcceptLanguage = None
) -> Any:
    """What each wallet was told of the card, what its phones did then, and what to do next.

    A phone is shown as a digest that stays the same; it tells nothing that a phone could be asked with. The fetch of a
    pass names no phone, and neither do phones' complaints: those are counted over all phones since the process began.
    """
    reader, language = parts.reader, negotiate(accept_language)
    status = await _status(reader, card_id)
    facts, work = await support.facts_of(reader, card_id)
    stopped = await breaker.stopped(reader)
    told: dict[str, Any] = {
        "card_id": card_id,
        "status": status,
        "apple": await _apple(parts, card_id, facts, {row["id"]: row for row in work}, stopped.get("apple"), language),
        "google": await _google(parts, card_id, facts, stopped.get("google"), language),
        "complaints_of_all_phones": dict(parts.phone_log),
    }
    if status == "erased":
        told["apple"] |= _judged(Verdict("forgotten"), language)
        told["google"] |= _judged(Verdict("forgotten"), language)
    return told


async def _apple(
    parts: Parts,
    card_id: UUID,
    facts: Mapping[str, Any],
    work: Mapping[UUID, Mapping[str, Any]],
    trial_at: datetime | None,
    language: Language,
) -> dict[str, Any]:
    now, key = utc_now(), parts.master_key.derive("device digests")
    issued = await parts.reader.stream(wallet_pass_id(card_id))
    phones, verdicts = [], []
    for row in await apple_device_registrations.list_of_card(parts.reader, card_id):
        owed = work.get(row["id"])
        verdict = support.of_phone(owed, facts, row["updated_at"], now, trial_at=trial_at)
        verdicts.append(verdict)
        digest = hmac.digest(key, row["device_library_identifier"].encode(), "sha256").hex()[:DIGEST_CHARACTERS]
        registered = {"registered_at": row["created_at"], "push_token_since": row["updated_at"]}
        phones.append({"phone": digest, "verdict": verdict.code, **registered, **(_shown(owed) if owed else {})})
    days_left = None if parts.apple is None else parts.apple.days_left()
    verdict = support.of_apple(
        verdicts, is_on=parts.apple is not None, can_sign=days_left is not None, is_issued=issued is not None
    )
    return _judged(verdict, language) | {
        "certificate_days_left": days_left,
        "issued_at": None if issued is None else issued.state.issued_at,
        "revision": facts["revision"],
        "changed_at": facts["changed_at"],
        "fetched_revision": facts["fetched_revision"],
        "fetched_at": facts["fetched_at"],
        "phones": phones,
    }


async def _google(
    parts: Parts, card_id: UUID, facts: Mapping[str, Any], trial_at: datetime | None, language: Language
) -> dict[str, Any]:
    issued = await parts.reader.stream(wallet_pass_id(card_id))
    object_id = None if issued is None else issued.state.google_object_id
    is_saved = None if issued is None or object_id is None else issued.state.is_saved_at_google
    program_id = None if issued is None else issued.parent_id
    rows = await wallet_work.at_google(parts.reader, card_id, program_id)
    is_on = parts.google is not None
    verdict = support.of_google(rows.values(), facts, utc_now(), is_on=is_on, is_saved=is_saved, trial_at=trial_at)
    return _judged(verdict, language) | {
        "object_id": object_id,
        "is_saved": is_saved,
        "card": _shown(rows["google"]) if "google" in rows else None,
        "program": _shown(rows["google_class"]) if "google_class" in rows else None,
    }


def _judged(verdict: Verdict, language: Language) -> dict[str, Any]:
    hint = translate(language, HINTS[verdict.code], at=verdict.at, error=verdict.error)
    return {"verdict": verdict.code, "hint": hint}


def _shown(work: Mapping[str, Any]) -> dict[str, Any]:
    is_owed = work["synced"] < work["desired"]
    return {
        "revision_wanted": work["desired"],
        "revision_told": work["synced"],
        "owed_since": work["owed_since"] if is_owed else None,
        "next_attempt_at": work["due_at"] if is_owed and not work["is_parked"] else None,
        "last_tried_at": work["last_tried_at"],
        "last_told_at": work["last_done_at"],
        "last_status": work["last_status"],
        "last_error": work["last_error"],
        "failures": work["failures"],
        "is_parked": work["is_parked"],
        "last_asked_at": work["asked_at"],
        "times_told_again": work["times_again"],
        "look_again_at": work["look_again_at"],
    }


@router.post(
    "/cards/{card_id}/wallet/retry",
    summary="Try a card's wallets again",
    response_model=Retried,
    responses=responses(errors.CardNotFound),
)
async def retry_card_wallet(card_id: UUID, _: AdminOnly, reader: TheReader) -> Any:
    """Let what is parked or failing for this card be tried at once."""
    await _status(reader, card_id)
    return {"retried": await wallet_work.retry(reader, card_id)}


@router.post("/wallet/retry", summary="Try all wallets again", response_model=Retried)
async def retry_wallets(_: AdminOnly, reader: TheReader) -> Any:
    """Let everything that is parked or failing be tried at once, as `loyalty-ledger wallet retry` does."""
    return {"retried": await wallet_work.retry(reader)}


@router.get("/wallet/parked", summary="List what was given up", response_model=Page[ParkedWork])
async def list_parked_work(
    _: AdminOrAuditor,
    reader: TheReader,
    channel: Annotated[str | None, Query(max_length=32, description="`apple`, `program` …; absent: all.")] = None,
    limit: Limit = LIMIT_DEFAULT,
    cursor: After = None,
) -> Any:
    """What wallets were not told and will not be until somebody retries: why, and since when. Longest owed first."""
    after = None if cursor is None else decode_cursor(cursor, datetime, UUID)
    rows = await wallet_work.parked(reader, after=after, limit=limit + 1, channel=channel)
    items, following = page_of(rows, limit, lambda row: (row["owed_since"], row["id"]))
    return {"items": items, "next_cursor": following}


async def _status(reader: Reader, card_id: UUID) -> str:
    """Raises: CardNotFound."""
    reference = CardReference(str(card_id))
    return str(reference.find(await reader.view(reference.streams), None).state.status)
