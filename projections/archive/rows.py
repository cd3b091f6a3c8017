"""What an archive carries of each table: nothing, because it follows from events, or rows as they are.

A test compares it with the tables there are: a new one must say what becomes of it, in `CARRIED` or in `LEFT_BEHIND`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Carried:
    """A table whose rows do not follow from events.

    `of_all` picks the rows `t` of an archive of everything; `of_vendor` those of one vendor, by `%(vendor_id)s`, and is
    None where its archive has none of them.
    """

    table: str
    key: str
    of_vendor: str | None = None
    of_all: str = "true"


CARRIED: tuple[Carried, ...] = (
    Carried("carried_keys", "purpose", "true"),
    Carried("subject_keys", "subject_id", "t.vendor_id = %(vendor_id)s"),
    Carried(
        "claims",
        "scope, value, kind",
        "t.scope = %(vendor_id)s OR t.stream_id IN (SELECT stream_id FROM streams WHERE vendor_id = %(vendor_id)s)",
    ),
    Carried("idempotency_keys", "command_id", "t.vendor_id = %(vendor_id)s"),
    Carried("imports", "id", "t.vendor_id = %(vendor_id)s"),
    # How far the wallets' follower is: of one vendor it begins anew, and tells the phones once more.
    Carried("projections", "name", of_all="t.name = 'wallets'"),
    # What phones were told counts on: they remember how far they are.
    Carried(
        "wallet_passes",
        "card_id",
        "t.card_id IN (SELECT stream_id FROM streams WHERE vendor_id = %(vendor_id)s)",
    ),
    Carried("wallet_work", "channel, id", "t.channel = 'nudge'"),
    Carried("wallet_farewells", "id", "t.vendor_id = %(vendor_id)s"),
    Carried("google_alerts", "card_id"),
    Carried("google_nonces", "nonce"),
)

IN_LINES_OF_THEIR_OWN = ("stored_events", "sealing_keys", "accepted_restores", "checkpoints")

FOLLOWING = (
    "streams",
    "tree_tiles",
    "loyalty_programs",
    "loyalty_cards",
    "loyalty_transactions",
    "staff_pins",
    "apple_device_registrations",
    "vendors",
    "api_keys",
    "refusals",
    "other_events",
)
"""Made anew out of the events."""

LEFT_BEHIND: dict[str, str] = {
    "pin_turns": "whose turn it is to check a PIN",
    "rate_counts": "how often an address asked lately",
    "paces": "when Google may be asked next, and what is stopped",
    "one_time_codes": "links and codes that open a door once, within minutes",
}

MUST_BE_EMPTY = (
    *("stored_events", "streams", "checkpoints", "tree_tiles"),
    *(carried.table for carried in CARRIED if carried.table != "projections"),
)
"""Before an archive is loaded. `projections` says how far followers are: in an empty service, nowhere."""
