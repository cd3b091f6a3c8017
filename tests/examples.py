"""One authoritative example of every event, and the programs, cards and people to start a test from.

Everything is fixed: ids, times, and sealed secrets as the text that would stand in the database.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from ledger import attempts, audit, card, program, staff_pin, subject, vendor, wallet_pass
from ledger.personal import Secret
from ledger.program import Branding, LoyaltyType, Program, Reward, Rules
from ledger.staff_pin import OPERATIONS, StaffPin
from ledger.stream import Actor, Envelope, StreamType
from ledger.translations import Translations

MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)  # Ten o'clock in Luxembourg.
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
LUXEMBOURG = "Europe/Luxembourg"

VENDOR_ID = UUID("0195a1b0-0000-7000-8000-000000000001")
PROGRAM_ID = UUID("0195a1b0-0000-7000-8000-000000000002")
CARD_ID = UUID("0195a1b0-0000-7000-8000-000000000003")
NEW_CARD_ID = UUID("0195a1b0-0000-7000-8000-000000000004")
CUSTOMER_ID = UUID("0195a1b0-0000-7000-8000-000000000005")
STAFF_ID = UUID("0195a1b0-0000-7000-8000-000000000006")
COLLEAGUE_ID = UUID("0195a1b0-0000-7000-8000-000000000007")
ATTEMPTS_ID = UUID("0195a1b0-0000-7000-8000-000000000008")
LOCATION_ID = UUID("0195a1b0-0000-7000-8000-000000000009")
KEY_ID = UUID("0195a1b0-0000-7000-8000-00000000000a")
SESSION_ID = UUID("0195a1b0-0000-7000-8000-00000000000b")
REWARD_ID = UUID("0195a1b0-0000-7000-8000-00000000000c")
ENTRY_ID = UUID("0195a1b0-0000-7000-8000-00000000000d")
REVERSAL_ID = UUID("0195a1b0-0000-7000-8000-00000000000e")
WALLET_PASS_ID = UUID("0195a1b0-0000-7000-8000-00000000000f")
REGISTRATION_ID = UUID("0195a1b0-0000-7000-8000-000000000010")
SUBJECT_ID = UUID("0195a1b0-0000-7000-8000-000000000011")
AUDIT_ID = UUID("0195a1b0-0000-7000-8000-000000000012")

STREAM_IDS: dict[StreamType, UUID] = {
    "vendor": VENDOR_ID,
    "program": PROGRAM_ID,
    "card": CARD_ID,
    "attempts": ATTEMPTS_ID,
    "staff_pin": STAFF_ID,
    "wallet_pass": WALLET_PASS_ID,
    "subject": SUBJECT_ID,
    "audit": AUDIT_ID,
}


def sealed(name: str, version: int = 1) -> Secret:
    """What a sealed field looks like in the database: a fixed nonce and 16 bytes of nothing."""
    return Secret(sealed=f"{version}.{name}.AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGw==")


# ------------------------------------------------------------------ vendor

PROFILE = vendor.Profile(
    name="Café Zëss", country="LU", timezone=LUXEMBOURG, currency="EUR", languages=("lb", "fr", "en")
)
REGISTERED = vendor.VendorRegistered(at=MONDAY, code="cafe-zess", profile=PROFILE)
VENDOR_UPDATED = vendor.VendorUpdated(at=MONDAY, profile=replace(PROFILE, name="Café Zëss an Zorn"))
VENDOR_SUSPENDED = vendor.VendorSuspended(at=MONDAY)
VENDOR_REINSTATED = vendor.VendorReinstated(at=MONDAY)
KEY_ISSUED = vendor.ApiKeyIssued(
    at=MONDAY,
    key_id=KEY_ID,
    name="till 1",
    digest="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    prefix="llk_Zx3vQ9aB",
    scopes=("cards", "earn", "redeem", "reverse", "read"),
    expires_at=MONDAY + 365 * DAY,
)
KEY_REVOKED = vendor.ApiKeyRevoked(at=MONDAY, key_id=KEY_ID)

# ------------------------------------------------------------------ program

STAMP_RULES = Rules(
    version=1,
    effective_from=MONDAY,
    timezone=LUXEMBOURG,
    stamps_target=10,
    stamps_reward_description="One coffee of your choice",
    stamps_reward_value_minor=350,
)
POINT_RULES = Rules(version=1, effective_from=MONDAY, timezone=LUXEMBOURG, rate_points=1, rate_minor=10)
HYBRID_RULES = replace(STAMP_RULES, rate_points=1, rate_minor=10, minimum_purchase_minor=500)
BRANDING = Branding(
    name="Zëss Coffee Club",
    card_name="Coffee card",
    card_color="#7A1F3D",
    card_secondary_color="#F4E9DC",
    logo_url="https://zess.example/logo.png",
    hero_image_url="https://zess.example/beans.jpg",
    terms_text="One stamp for each coffee.",
    privacy_url="https://zess.example/privacy",
)
CAKE = Reward(reward_id=REWARD_ID, name="A slice of cake", points_cost=50, value_minor=420)

PROGRAM_CREATED = program.ProgramCreated(
    at=MONDAY, loyalty_type="hybrid", currency="EUR", rules=HYBRID_RULES, branding=BRANDING
)
RULES_CHANGED = program.ProgramRulesChanged(
    at=MONDAY, rules=replace(HYBRID_RULES, version=2, effective_from=MONDAY + 30 * DAY, stamps_target=12)
)
REWARD_DEFINED = program.RewardDefined(at=MONDAY, reward=CAKE)
REWARD_CHANGED = program.RewardChanged(at=MONDAY, reward=replace(CAKE, points_cost=60))
REWARD_RETIRED = program.RewardRetired(at=MONDAY, reward_id=REWARD_ID)
BRANDING_CHANGED = program.ProgramBrandingChanged(at=MONDAY, branding=replace(BRANDING, card_color="#0B3D2E"))
PROGRAM_ACTIVATED = program.ProgramActivated(at=MONDAY)
PROGRAM_DEACTIVATED = program.ProgramDeactivated(at=MONDAY)

# The same in other languages too.
TRANSLATED_RULES = program.ProgramRulesChanged(
    at=MONDAY,
    rules=replace(RULES_CHANGED.rules, stamps_reward_description_in=Translations(fr="Un café au choix", lb="E Kaffi")),
)
TRANSLATED_REWARD = program.RewardChanged(
    at=MONDAY, reward=replace(CAKE, name_in=Translations(fr="Une part de gâteau", de="Ein Stück Kuchen"))
)
TRANSLATED_BRANDING = program.ProgramBrandingChanged(
    at=MONDAY,
    branding=replace(
        BRANDING, card_name_in=Translations(fr="Carte café"), terms_text_in=Translations(de="Ein Stempel je Kaffee.")
    ),
)


def _program(loyalty_type: LoyaltyType, rules: Rules, rewards: list[Reward], currency: str) -> Program:
    state: Program | None = None
    for event in program.create(
        loyalty_type=loyalty_type,
        currency=currency,
        rules=rules,
        branding=BRANDING,
        rewards=rewards,
        is_active=True,
        now=MONDAY,
    ):
        state = program.evolve(state, event)
    assert state is not None
    return state


def stamp_program(**rules: Any) -> Program:
    """Ten coffees, the next one free; with these rules changed."""
    return _program("stamps", replace(STAMP_RULES, **rules), [], "EUR")


def point_program(*, currency: str = "EUR", rewards: tuple[Reward, ...] = (CAKE,), **rules: Any) -> Program:
    """A point for each ten cents, cake for fifty points; with these rules changed."""
    return _program("points", replace(POINT_RULES, **rules), list(rewards), currency)


def hybrid_program(**rules: Any) -> Program:
    """Stamps and points; with these rules changed."""
    return _program("hybrid", replace(HYBRID_RULES, **rules), [CAKE], "EUR")


def rules_changed(before: Program, now: datetime, *, effective_from: datetime | None = None, **rules: Any) -> Any:
    """The event of a change to a program's rules, from now on unless said otherwise."""
    wanted = replace(before.rules_at(now), effective_from=effective_from or now, **rules)
    (event,) = program.change(before, rules=wanted, branding=None, rewards=None, now=now)
    return event


# ------------------------------------------------------------------ card

ENROLLED = card.CardEnrolled(
    at=MONDAY,
    customer_id=CUSTOMER_ID,
    number="400000000002",
    qr_token=sealed("qr_token"),
    language="lb",
    cycle_version=1,
    name=sealed("name"),
    email=sealed("email"),
    phone=sealed("phone"),
    has_consented=True,
)
RECENT = card.RecentStamp(entry_id=ENTRY_ID, at=MONDAY, local_date=date(2026, 3, 2), stamps=1)
REPLACEMENT_ENROLLED = replace(
    ENROLLED,
    number="400000000010",
    replaces=CARD_ID,
    stamps=1,
    points=120,
    total_stamps_earned=11,
    rewards_redeemed=1,
    total_points_earned=170,
    points_redeemed=50,
    reversed={str(ENTRY_ID): card.Reversed(units=3, amount_minor=30)},
    recent_stamps=(RECENT,),
    last_points_at=MONDAY,
    last_redemption_at=MONDAY,
)
STAMPED = card.StampsAdded(
    at=MONDAY,
    entry_id=ENTRY_ID,
    stamps=1,
    local_date=date(2026, 3, 2),
    stamps_today=1,
    daily_limit=5,
    cooldown_minutes=15,
    next_stamp_at=MONDAY + 15 * MINUTE,
    target=10,
    cycle_version=1,
    stamps_after=1,
    points_after=0,
    staff_pin_id=STAFF_ID,
    order_reference="2026-0342",
    external_ref="pos:ticket:99311",
)
EARNED = card.PointsEarned(
    at=MONDAY,
    entry_id=ENTRY_ID,
    points=120,
    purchase_amount_minor=1250,
    paid_with_reward_minor=50,
    currency="EUR",
    rate_points=1,
    rate_minor=10,
    minimum_minor=500,
    stamps_after=0,
    points_after=120,
    staff_pin_id=STAFF_ID,
    order_reference="2026-0343",
    external_ref="pos:ticket:99312",
)
REDEEMED = card.RewardRedeemed(
    at=MONDAY,
    entry_id=ENTRY_ID,
    reward_id=REWARD_ID,
    reward_description="A slice of cake",
    reward_value_minor=420,
    stamps_spent=0,
    points_spent=50,
    cycle_redeemed=1,
    cycle_version=1,
    stamps_after=0,
    points_after=70,
    staff_pin_id=STAFF_ID,
    order_reference="2026-0344",
    external_ref="pos:ticket:99313",
)
EARN_REVERSED = card.EarnReversed(
    at=MONDAY,
    entry_id=REVERSAL_ID,
    reverses_id=ENTRY_ID,
    reason="wrong customer",
    policy="within_balance",
    stamps_taken=0,
    points_taken=70,
    shortfall=50,
    amount_minor=1250,
    is_stamps=False,
    total_units_reversed=120,
    total_amount_reversed=1250,
    last_stamp_at=MONDAY,
    stamps_after=0,
    points_after=0,
    staff_pin_id=STAFF_ID,
)
REDEMPTION_REVERSED = card.RedemptionReversed(
    at=MONDAY,
    entry_id=REVERSAL_ID,
    reverses_id=ENTRY_ID,
    reason="the cake was gone",
    stamps_returned=0,
    points_returned=50,
    cycle_version=1,
    stamps_after=0,
    points_after=120,
    staff_pin_id=STAFF_ID,
)
ADJUSTED = card.UnitsAdjusted(
    at=MONDAY,
    entry_id=ENTRY_ID,
    stamps=2,
    points=0,
    reason="the till was down on Saturday",
    cycle_version=1,
    stamps_after=2,
    points_after=0,
    staff_pin_id=STAFF_ID,
)
CARD_SUSPENDED = card.CardSuspended(at=MONDAY, reason="reported as stolen")
CARD_REINSTATED = card.CardReinstated(at=MONDAY, reason="found again")
CARD_REPLACED = card.CardReplaced(at=MONDAY, reason="lost", replaced_by=NEW_CARD_ID, stamps_moved=1, points_moved=120)
FORFEITED = card.UnitsForfeited(at=MONDAY, entry_id=ENTRY_ID, stamps=1, points=120)
CARD_CLOSED = card.CardClosed(at=MONDAY, reason="moved away")
DETAILS_CHANGED = card.CustomerDetailsChanged(at=MONDAY, language="fr", name=sealed("name", 2))
QR_ROTATED = card.QrTokenRotated(at=MONDAY, qr_token=sealed("qr_token", 2))

# ------------------------------------------------------------------ attempts

STAMP_REFUSED = attempts.StampRefused(
    at=MONDAY,
    card_id=CARD_ID,
    refusal="StampCooldown",
    facts={"retry_at": "2026-03-02T09:15:00+00:00", "cooldown_minutes": 15, "remaining_today": 4},
    staff_pin_id=STAFF_ID,
    decision_id=ENTRY_ID,
    asked={"count": 1},
    card_version=2,
    program_events=3,
)
EARN_REFUSED = attempts.EarnRefused(at=MONDAY, card_id=CARD_ID, refusal="ProgramIsInactive", facts={})
REDEMPTION_REFUSED = attempts.RedemptionRefused(
    at=MONDAY, card_id=CARD_ID, refusal="NotEnoughPoints", facts={"held": 49, "needed": 50}, staff_pin_id=STAFF_ID
)
REVERSAL_REFUSED = attempts.ReversalRefused(
    at=MONDAY, card_id=CARD_ID, refusal="AlreadyReversed", facts={"entry_id": str(ENTRY_ID)}, staff_pin_id=STAFF_ID
)

# ------------------------------------------------------------------ staff PIN

PIN_CREATED = staff_pin.StaffPinCreated(
    at=MONDAY,
    program_id=PROGRAM_ID,
    staff_id="lena",
    name=sealed("name"),
    role="staff",
    operations=OPERATIONS,
    pin_hash=sealed("pin_hash"),
)
PIN_CHANGED = staff_pin.StaffPinChanged(
    at=MONDAY, name=sealed("name", 2), role="manager", operations=("stamp", "redeem"), pin_hash=sealed("pin_hash", 2)
)
PIN_REJECTED = staff_pin.StaffPinRejected(at=MONDAY)
PIN_ACCEPTED = staff_pin.StaffPinAccepted(at=MONDAY)
PIN_LOCKED = staff_pin.StaffPinLocked(at=MONDAY, locked_until=MONDAY + 15 * MINUTE)
PIN_UNLOCKED = staff_pin.StaffPinUnlocked(at=MONDAY)
PIN_REVOKED = staff_pin.StaffPinRevoked(at=MONDAY)
SESSION_OPENED = staff_pin.StaffSessionOpened(
    at=MONDAY, session_id=SESSION_ID, terminal_id="till-1", ends_at=MONDAY + 8 * HOUR
)


def pin(**changes: Any) -> StaffPin:
    """Lena's PIN as it was created, with these fields changed."""
    return replace(staff_pin.evolve(None, PIN_CREATED), **changes)


# ------------------------------------------------------------------ wallet pass

PASS_ISSUED = wallet_pass.ApplePassIssued(
    at=MONDAY,
    card_id=CARD_ID,
    customer_id=CUSTOMER_ID,
    pass_type_id="pass.example.zess",
    serial_number="zess-0001",
)
DEVICE_REGISTERED = wallet_pass.AppleDeviceRegistered(
    at=MONDAY,
    registration_id=REGISTRATION_ID,
    card_id=CARD_ID,
    customer_id=CUSTOMER_ID,
    pass_type_id="pass.example.zess",
    serial_number="zess-0001",
    device=sealed("device", 2),
    push_token=sealed("push_token", 2),
)
DEVICE_UNREGISTERED = wallet_pass.AppleDeviceUnregistered(at=MONDAY, registration_id=REGISTRATION_ID, reason="asked")
GOOGLE_CREATED = wallet_pass.GooglePassCreated(
    at=MONDAY,
    card_id=CARD_ID,
    customer_id=CUSTOMER_ID,
    class_id=f"3388000000012345678.live.prog.{PROGRAM_ID}",
    object_id=f"3388000000012345678.live.card.{CARD_ID}",
)
GOOGLE_SAVED = wallet_pass.GooglePassSaved(at=MONDAY, card_id=CARD_ID)
GOOGLE_REMOVED = wallet_pass.GooglePassRemoved(at=MONDAY, card_id=CARD_ID)

# ------------------------------------------------------------------ people

CARD_ERASED = card.CardErased(at=MONDAY)
KEY_DESTROYED = subject.SubjectKeyDestroyed(
    at=MONDAY,
    customer_id=CUSTOMER_ID,
    reason="asked",
    cards=(CARD_ID,),
    phones=1,
    cleared={"claims": 4, "subject_keys": 1},
)

# ------------------------------------------------------------------ audit

CHECKED = audit.ProjectionChecked(
    at=MONDAY,
    position=4711,
    last_position=4712,
    rows={"loyalty_cards": 200, "loyalty_transactions": 3_100},
    differences=1,
    places=("loyalty_cards 0195a1b0-0000-7000-8000-000000000003 stamp_count",),
    duration_ms=1_250,
)

# ------------------------------------------------------------------ all of them

EVENTS: tuple[Any, ...] = (
    REGISTERED,
    VENDOR_UPDATED,
    VENDOR_SUSPENDED,
    VENDOR_REINSTATED,
    KEY_ISSUED,
    KEY_REVOKED,
    PROGRAM_CREATED,
    RULES_CHANGED,
    REWARD_DEFINED,
    REWARD_CHANGED,
    REWARD_RETIRED,
    BRANDING_CHANGED,
    PROGRAM_ACTIVATED,
    PROGRAM_DEACTIVATED,
    REPLACEMENT_ENROLLED,
    STAMPED,
    EARNED,
    REDEEMED,
    EARN_REVERSED,
    REDEMPTION_REVERSED,
    ADJUSTED,
    CARD_SUSPENDED,
    CARD_REINSTATED,
    CARD_REPLACED,
    FORFEITED,
    CARD_CLOSED,
    DETAILS_CHANGED,
    QR_ROTATED,
    STAMP_REFUSED,
    EARN_REFUSED,
    REDEMPTION_REFUSED,
    REVERSAL_REFUSED,
    PIN_CREATED,
    PIN_CHANGED,
    PIN_REJECTED,
    PIN_ACCEPTED,
    PIN_LOCKED,
    PIN_UNLOCKED,
    PIN_REVOKED,
    SESSION_OPENED,
    PASS_ISSUED,
    DEVICE_REGISTERED,
    DEVICE_UNREGISTERED,
    GOOGLE_CREATED,
    GOOGLE_SAVED,
    GOOGLE_REMOVED,
    CARD_ERASED,
    KEY_DESTROYED,
    CHECKED,
)
EXAMPLE_OF: dict[type[Any], Any] = {type(event): event for event in EVENTS}


def stream_type_of(event: Any) -> StreamType:
    """Which stream an event belongs to."""
    types: dict[str, StreamType] = {
        "ledger.vendor": "vendor",
        "ledger.program": "program",
        "ledger.card": "card",
        "ledger.attempts": "attempts",
        "ledger.staff_pin": "staff_pin",
        "ledger.wallet_pass": "wallet_pass",
        "ledger.subject": "subject",
        "ledger.audit": "audit",
    }
    return types[type(event).__module__]


def envelope(stream_type: StreamType) -> Envelope:
    """The envelope of an event that staff recorded at a till, with everything an envelope can say."""
    return Envelope(
        stream_type=stream_type,
        vendor_id=VENDOR_ID,
        channel="pos",
        actor=Actor(type="staff", id=str(STAFF_ID), authenticated_by="pin+api_key"),
        request_id="req-7f3a",
        recorded_at=MONDAY,
        occurred_at=MONDAY,
        program_id=None if stream_type == "vendor" else PROGRAM_ID,
        program_version=None if stream_type == "vendor" else 1,
        location_id=LOCATION_ID,
        terminal_id="till-1",
        causation_id=ENTRY_ID,
    )
