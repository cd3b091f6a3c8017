"""Why a card does not show on a phone what it holds: what is known of each channel, and a verdict that says what to do.

Verdicts are functions of what was read. Each has a sentence for whoever is asked for help.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from projections.table import Queries, Row, dicts
from wallet_sync import wallet_work

PATIENCE = timedelta(minutes=1)  # Within it a change is on its way, later somebody should have taken care of it.

HINTS: Final[Mapping[str, str]] = {
    "forgotten": "The card's holder was forgotten: wallets are told to show nothing of it, and there is nothing to do.",
    "off": "This wallet is not set up here: the guide says how.",
    "cannot_sign": "Passes cannot be signed: loyalty-ledger doctor says what is wrong with the certificates.",
    "not_issued": "The card was never added to this wallet: let the holder open the card's link and add it.",
    "not_registered": "No phone asks for updates of this card: let the holder add the pass again and leave automatic"
    " updates on.",
    "not_saved": "The card is at Google, and in nobody's wallet: let the holder open the card's link and save it.",
    "parked": "It was given up because of {error}: mend that, then retry.",
    "stopped": "The wallet's provider refuses whatever this service sends: the log and the system route say why. One"
    " thing is tried from {at} on, or as soon as you retry; the rest waits for that.",
    "nobody_syncs": "Nobody has taken care of wallets since {at}: is loyalty-ledger run or sync-wallets running?",
    "failing": "The last attempt failed with {error}. The next one is at {at}.",
    "not_asked": "A phone has not asked what changed since {at}: is it on, and can it reach the service's public"
    " address? The holder may pull the pass down on its back.",
    "not_fetched": "A phone asked what changed, but the newest pass was not fetched since {at}: look for refused"
    " requests in the log.",
    "waiting": "A change is on its way: look again in a minute.",
    "up_to_date": "The wallet has the newest pass since {at}. If the holder sees another one, let them remove it and"
    " add it again.",
}
"""By verdict, the gravest first: a channel's verdict is that of its worst phone."""

FACTS = """
SELECT w.revision, w.changed_at, w.fetched_revision, w.fetched_at, c.updated_at,
    c.position <= coalesce((SELECT position FROM projections WHERE name = 'wallets'), 0)
FROM loyalty_cards c LEFT JOIN wallet_passes w ON w.card_id = c.id WHERE c.id = %s
"""
FACTS_COLUMNS = "revision, changed_at, fetched_revision, fetched_at, card_changed_at, is_noticed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is the matter, as one of HINTS, with the facts its sentence needs."""

    code: str
    at: datetime | None = None
    error: str | None = None

    @property
    def gravity(self) -> int:
        """Greater for what is worse."""
        return -list(HINTS).index(self.code)


async def facts_of(queries: Queries, card_id: UUID) -> tuple[Row, list[Row]]:
    """What is known of a card's pass, and what each of its channels is owed, as `wallet_work.of_card` tells it.

    Returns:
        revision and changed_at of the pass, None while nobody looked; fetched_revision and fetched_at, None while no
        phone fetched it; whether the newest change of the card was noticed by the wallet sync, and when that change
        was. Nothing is known of a card that is not in the tables yet.

    Raises: StoreAway. Asking again is safe.
    """
    found = dicts(FACTS_COLUMNS, await queries.rows(FACTS, (card_id,)))
    nothing = dict.fromkeys(FACTS_COLUMNS.split(", "))
    return (found[0] if found else nothing), await wallet_work.of_card(queries, card_id)


def of_work(
    work: Mapping[str, Any] | None, facts: Mapping[str, Any], now: datetime, trial_at: datetime | None
) -> Verdict | None:
    """What keeps a channel from being told; None where it was told everything.

    Args:
        trial_at: From when its provider is tried again, where that is stopped.
    """
    if not facts["is_noticed"]:
        since = facts["card_changed_at"]
        return Verdict("nobody_syncs", since) if since and now - since > PATIENCE else Verdict("waiting")
    if work is None:
        return Verdict("waiting")
    if work["is_parked"]:
        return Verdict("parked", error=work["last_error"])
    if work["synced"] >= work["desired"]:
        return None
    if trial_at is not None and now - trial_at <= PATIENCE:
        return Verdict("stopped", trial_at)
    tried_at, due_at = work["last_tried_at"], work["due_at"]
    if now - due_at > PATIENCE and (tried_at is None or now - tried_at > PATIENCE):
        return Verdict("nobody_syncs", due_at)
    if work["failures"]:
        return Verdict("failing", due_at, work["last_error"])
    return Verdict("waiting")


def of_phone(
    work: Mapping[str, Any] | None,
    facts: Mapping[str, Any],
    registered_at: datetime,
    now: datetime,
    *,
    trial_at: datetime | None,
) -> Verdict:
    """What is the matter with one phone that registered for the pass.

    Args:
        work: The phone's row; None while its registration was not noticed.
        registered_at: When it last did so.
        trial_at: From when Apple is tried again, where it is stopped.
    """
    if (verdict := of_work(work, facts, now, trial_at)) is not None:
        return verdict
    assert work is not None
    is_told = work["last_tried_at"] is not None and work["last_tried_at"] >= registered_at
    told_at = work["last_tried_at"] if is_told else registered_at
    has_asked = work["asked_at"] is not None and work["asked_at"] >= told_at
    is_fetched = facts["fetched_revision"] is not None and facts["fetched_revision"] >= facts["revision"]
    # A phone asks at once when it has registered, which may be before its row is there to note it.
    if is_fetched and (has_asked or not is_told):
        return Verdict("up_to_date", facts["fetched_at"])
    if now - told_at <= PATIENCE:
        return Verdict("waiting")
    return Verdict("not_fetched" if has_asked else "not_asked", told_at)


def of_apple(phones: Sequence[Verdict], *, is_on: bool, can_sign: bool, is_issued: bool) -> Verdict:
    """What is the matter with a card in Apple Wallet, everything considered."""
    if not is_on:
        return Verdict("off")
    if not can_sign:
        return Verdict("cannot_sign")
    if not is_issued:
        return Verdict("not_issued")
    return worst(phones) if phones else Verdict("not_registered")


def of_google(
    works: Iterable[Mapping[str, Any]],
    facts: Mapping[str, Any],
    now: datetime,
    *,
    is_on: bool,
    is_saved: bool | None,
    trial_at: datetime | None,
) -> Verdict:
    """What is the matter with a card in Google Wallet.

    Args:
        works: The rows of the card and of its program's class.
        is_saved: What Google confirmed; None where the card was never to be there.
        trial_at: From when Google is tried again, where it is stopped.
    """
    if not is_on:
        return Verdict("off")
    if is_saved is None:
        return Verdict("not_issued")
    found = list(works)
    if not found:
        return of_work(None, facts, now, trial_at) or Verdict("waiting")
    matters = [verdict for row in found if (verdict := of_work(row, facts, now, trial_at)) is not None]
    if matters:
        return worst(matters)
    return Verdict("up_to_date", max(row["last_done_at"] for row in found)) if is_saved else Verdict("not_saved")


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    return max(verdicts, key=lambda verdict: verdict.gravity)
