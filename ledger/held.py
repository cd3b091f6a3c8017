"""Where something of a person stands in the database: one list, by which they are told everything and forgotten.

A test compares it with the columns there are: what is new must say whose it is, in `PLACES` or in `NOBODYS`.

The statements know `subject_id`, `customer_id`, `vendor_id`, and the person's `cards`, `streams` (of cards, refusals
and passes) and `phones`.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Clearing: TypeAlias = Literal["erasure", "key", "stream", "time", "stays", "staff"]
"""How it is cleared.

erasure: taken out in the very transaction.
key: it is ciphertext under the person's key, which is destroyed in that transaction; the bytes stay for the chain.
stream: it follows from the stream, and the query tables and wallets follow within moments, or at the next start.
time: it goes by itself.
stays: an id, a count or a word of the shop's accounts. Once the rest is gone, nothing here leads to a person.
staff: of a member of staff, who has a key of their own.
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Columns of one table that are cleared in one way.

    `tell` selects what a person is told, in rows that name the `stream_id` where something in them is sealed; `forget`
    takes it out, and its rows are counted.
    """

    table: str
    columns: tuple[str, ...]
    what: str
    clearing: Clearing
    section: str | None = None
    tell: str | None = None
    forget: str | None = None


PLACES: tuple[Place, ...] = (
    Place(
        "subject_keys",
        ("subject_id", "wrapped_key"),
        "The person's key, wrapped with the master key.",
        "erasure",
        "keys",
        "SELECT master_key_id, created_at FROM subject_keys WHERE subject_id = %(subject_id)s",
        "DELETE FROM subject_keys WHERE subject_id = %(subject_id)s",
    ),
    Place(
        "claims",
        ("value",),
        "Look-ups: keyed digests of email and phone, the vendor's id where it was given anew, and of QR codes.",
        "erasure",
        "lookups",
        "SELECT kind, encode(value, 'hex') AS value FROM claims"
        " WHERE (stream_id = %(customer_id)s AND scope = %(vendor_id)s) OR stream_id = ANY(%(streams)s)"
        " ORDER BY kind, value",
        "DELETE FROM claims WHERE (stream_id = %(customer_id)s AND scope = %(vendor_id)s)"
        " OR (stream_id = ANY(%(streams)s) AND kind IN ('card_qr', 'open_card'))",
    ),
    Place(
        "claims",
        ("stream_id", "entry_id"),
        "Which card a number, a pass or a till's reference belongs to: so that none is given out or counted again.",
        "stays",
    ),
    Place(
        "stored_events",
        ("state",),
        "Everything that happened to the person's cards, with names, addresses, tokens and phones as ciphertext.",
        "key",
        "history",
        "SELECT originator_id AS stream_id, originator_version AS version, topic AS name,"
        " convert_from(state, 'UTF8')::jsonb AS event FROM stored_events WHERE originator_id = ANY(%(streams)s)"
        " ORDER BY notification_id",
    ),
    Place(
        "stored_events",
        ("originator_id",),
        "The id of a card: random.",
        "stays",
    ),
    Place(
        "streams",
        ("state",),
        "What the events add up to, with ciphertext until the erasure and without it after.",
        "stream",
        "state",
        "SELECT stream_id, stream_type, version, state::jsonb AS state FROM streams WHERE stream_id = ANY(%(streams)s)"
        " ORDER BY stream_type, stream_id",
    ),
    Place("streams", ("stream_id",), "The id of a card: random.", "stays"),
    Place(
        "idempotency_keys",
        ("answer",),
        "What a command about the person was answered, for its retries; sealed where it names them.",
        "key",
    ),
    Place(
        "idempotency_keys",
        ("fingerprint", "command_id", "stream_id"),
        "That a command was sent: keyed digests and ids.",
        "stays",
    ),
    Place(
        "loyalty_cards",
        ("qr_code_data", "details", "email_digest", "phone_digest", "state"),
        "What the holder shows, in clear; name, email and phone as ciphertext, with keyed digests that find them.",
        "stream",
        "cards",
        "SELECT id, program_id, card_number, qr_code_data, language, stamp_count, total_stamps_earned, stamps_redeemed,"
        " points_balance, total_points_earned, points_redeemed, apple_serial_number, google_object_id,"
        " is_saved_at_google, email_digest, phone_digest, last_stamp_at, last_points_at, last_redemption_at, status,"
        " replaced_by, version, created_at, updated_at"
        " FROM loyalty_cards WHERE id = ANY(%(cards)s) ORDER BY created_at, id",
    ),
    Place(
        "loyalty_cards",
        ("id", "customer_id", "card_number", "replaced_by", "apple_serial_number", "language"),
        "Ids, numbers, the language, and beside them what the card counts.",
        "stays",
    ),
    Place(
        "loyalty_cards",
        ("google_object_id", "is_saved_at_google"),
        "The card's name at Google, made of its id, and whether Google says that it is in a wallet.",
        "stays",
    ),
    Place("loyalty_cards", ("google_object_jwt", "apple_auth_token"), "Not kept.", "stays"),
    Place(
        "loyalty_transactions",
        ("id", "card_id", "related_card_id", "order_reference", "external_ref", "reason", "actor_id", "request_id"),
        "The entries: the shop's accounts, by the card's id.",
        "stays",
        "entries",
        "SELECT * FROM loyalty_transactions WHERE card_id = ANY(%(cards)s) ORDER BY position",
    ),
    Place("loyalty_transactions", ("staff_pin_id",), "Which member of staff acted, by id.", "staff"),
    Place(
        "refusals",
        ("id", "card_id", "facts", "actor_id", "request_id"),
        "What was refused at a till, by the card's id.",
        "stays",
        "refusals",
        "SELECT * FROM refusals WHERE card_id = ANY(%(cards)s) ORDER BY position",
    ),
    Place("refusals", ("staff_pin_id",), "Which member of staff acted, by id.", "staff"),
    Place(
        "other_events",
        ("stream_id", "actor_id"),
        "Where the events of a pass, and the erasure, stand in the store, and who did it, by id.",
        "stays",
    ),
    Place(
        "apple_device_registrations",
        ("id", "card_id", "device_library_identifier", "push_token", "serial_number", "state"),
        "Phones that have a pass, in clear while they are registered.",
        "stream",
        "registrations",
        "SELECT id, card_id, device_library_identifier, push_token, pass_type_identifier, serial_number, created_at,"
        " updated_at FROM apple_device_registrations WHERE card_id = ANY(%(cards)s) ORDER BY created_at, id",
    ),
    Place(
        "wallet_passes",
        ("card_id", "digest"),
        "A digest of what the pass says, to notice changes.",
        "stream",
        "passes",
        "SELECT card_id, revision, changed_at, fetched_at FROM wallet_passes WHERE card_id = ANY(%(cards)s)"
        " ORDER BY card_id",
    ),
    Place("wallet_passes", ("fetched_at",), "When a phone, nobody knows which, last fetched the card's pass.", "stays"),
    Place(
        "wallet_work",
        ("id", "card_id", "last_error", "asked_at"),
        "What a wallet is still owed, and when a phone last asked what changed.",
        "stream",
        "owed_to_wallets",
        "SELECT channel, id, card_id, desired, synced, last_tried_at, last_done_at, last_error, asked_at"
        " FROM wallet_work WHERE card_id = ANY(%(cards)s) ORDER BY channel, id",
    ),
    Place(
        "google_alerts",
        ("card_id", "rewards", "rung_at"),
        "How many rewards the card showed at Google, and when it rang for another one.",
        "stream",
        "alerts",
        "SELECT card_id, rewards, rung_at FROM google_alerts WHERE card_id = ANY(%(cards)s) ORDER BY card_id",
    ),
    Place(
        "google_nonces", ("nonce",), "Google's own words for messages that somebody saved or removed a card.", "time"
    ),
    Place(
        "wallet_farewells",
        ("id", "card_id", "serial_number", "device_digest", "push_token"),
        "How a forgotten person's phones are reached once more: a keyed digest, and a sealed token.",
        "time",
    ),
    Place(
        "rate_counts",
        ("subject",),
        "How often an address asked, as a keyed digest, and how often a till guessed a PIN.",
        "time",
    ),
    Place("pin_turns", ("turn_id", "holder"), "Whose turn it is to check a PIN.", "time"),
    Place(
        "staff_pins",
        ("id", "staff_id", "name", "role", "pin_hash", "last_used_at", "state"),
        "Members of staff.",
        "staff",
    ),
)

NOBODYS: dict[str, str] = {
    "stored_events": "originator_version topic notification_id",
    "streams": "stream_type vendor_id parent_id version head",
    "claims": "kind scope",
    "idempotency_keys": "vendor_id version position recorded_at",
    "subject_keys": "vendor_id master_key_id created_at",
    "carried_keys": "purpose master_key_id wrapped_key",
    "rate_counts": "window_start count",
    "pin_turns": "expires_at",
    "loyalty_programs": "id vendor_id loyalty_type name stamps_target stamps_reward_description"
    " stamps_reward_value_minor points_per_currency_unit points_rewards currency timezone cooldown_minutes"
    " max_daily_stamps max_stamps_per_scan minimum_purchase_minor require_staff_pin reversal_policy wind_down_days"
    " rules_version next_rules_at rules targets card_name card_color card_secondary_color logo_url hero_image_url"
    " terms_text privacy_url translations google_class_id apple_pass_type_id is_active activated_at deactivated_at"
    " version position created_at updated_at state",
    "loyalty_cards": "program_id vendor_id stamp_count total_stamps_earned stamps_redeemed points_balance"
    " total_points_earned points_redeemed cycle_version recent_stamps last_stamp_at last_points_at last_redemption_at"
    " is_active status version position created_at updated_at",
    "loyalty_transactions": "program_id vendor_id location_id terminal_id actor_type authenticated_by channel"
    " causation_id transaction_type event_name stamps_delta points_delta stamps_balance_after points_balance_after"
    " purchase_amount_minor net_amount_minor refund_amount_minor currency reward_id reward_description"
    " reward_value_minor reverses_id shortfall status_after local_date program_version occurred_at recorded_at position"
    " card_version",
    "refusals": "program_id vendor_id kind refusal location_id terminal_id actor_type channel at version position",
    "one_time_codes": "digest purpose vendor_id details expires_at",
    "other_events": "position stream_type version event_name vendor_id program_id location_id terminal_id actor_type"
    " occurred_at recorded_at",
    "staff_pins": "vendor_id program_id operations is_active failed_attempts locks_in_a_row locked_until version"
    " position created_at updated_at",
    "apple_device_registrations": "pass_type_identifier version position created_at updated_at",
    "wallet_passes": "program_id revision changed_at number nudge fetched_number fetched_revision",
    "wallet_work": "channel desired synced owed_since due_at failures last_status last_tried_at last_done_at"
    " look_again_at times_again is_parked leased_until",
    "google_nonces": "expires_at",
    "paces": "name next_at",
    "wallet_farewells": "vendor_id pass_type_id position until due_at failures asked_at",
    "vendors": "id code name country timezone currency languages is_active version position created_at updated_at"
    " state",
    "api_keys": "key_id vendor_id name digest prefix scopes issued_at expires_at revoked_at version position state",
    "tree_tiles": "level tile hashes positions",
    "checkpoints": "number tree_size position root note sealed_at",
    "sealing_keys": "number verifier_key note recorded_at",
    "accepted_restores": "number checkpoint_number note accepted_at",
    "projections": "name position holder lease_until fencing_token error updated_at",
    "imports": "id vendor_id program_id file_sha256 lines_total lines_done cards entries started_at finished_at",
}
"""Columns that hold nothing of a person, by table."""
