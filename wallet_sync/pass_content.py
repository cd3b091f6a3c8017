"""What a pass says, whatever phone it is on: words, numbers and colours, before anything is rendered.

A pure function of the card and its program as the ledger tells them: the same facts make the same content, so what
did not change need not be sent again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from ledger.translations import in_language, languages_of

Texts: TypeAlias = Mapping[str, Mapping[str, str]]
"""By language, then by the English sentence: what a person reads."""

ProgressUnit: TypeAlias = Literal["stamps", "percent"]

FRONT_LINES_MAX = 4
BLANK = "–"
PERCENT = 100
VOID_BECAUSE = {
    "suspended": "This card is suspended",
    "closed": "This card is closed",
    "replaced": "This card was replaced",
    "erased": "This card was erased",
}
SENTENCES = (
    "Loyalty card",
    "Stamps",
    "Points",
    "Reward",
    "Next reward",
    "Rewards ready",
    "Member",
    "Card number",
    "Status",
    "Rewards for points",
    "Terms",
    "Privacy",
    "Issued by",
    "Now on the card: %@",
    "Rewards ready: %@",
    *VOID_BECAUSE.values(),
)
"""Everything of ours that a pass may say. Names, rewards and terms are the vendor's own words, in its own languages."""
TITLE = "title"  # Beside the keys of the lines.


@dataclass(frozen=True, slots=True)
class Line:
    """A label with its value. `key` stays the same through a card's life: phones compare by it."""

    key: str
    label: str  # One of SENTENCES.
    value: str
    change: str | None = None  # One of SENTENCES: what a phone says when the value is another; `%@` is the new one.


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is to the next reward: what a strip of stamps or a bar shows."""

    filled: int  # 0 to total.
    total: int  # At least 1.
    unit: ProgressUnit


@dataclass(frozen=True, slots=True)
class PassContent:
    """Everything a holder reads. `description` and the labels are among SENTENCES, in English."""

    merchant: str
    title: str
    description: str
    is_voided: bool
    barcode: str | None  # The text of the QR code; None where nothing may be scanned any more.
    barcode_text: str
    color: str | None
    secondary_color: str | None
    progress: Progress | None
    balance: Line
    front: tuple[Line, ...]  # At most FRONT_LINES_MAX, the important ones first.
    back: tuple[Line, ...]
    texts: Texts = field(default_factory=dict)  # Of the sentences that occur, in every language.
    words: Texts = field(default_factory=dict)  # By language and key of the line, or TITLE: what replaces its value.

    @property
    def values(self) -> dict[str, str]:
        """What stands in each line, by its key, and the TITLE: in the plain words."""
        return {TITLE: self.title, **{line.key: line.value for line in (self.balance, *self.front, *self.back)}}


def pass_content(
    card: Mapping[str, Any], program: Mapping[str, Any], texts: Texts, *, merchant: str, issuer: str
) -> PassContent:
    """What the holder of this card should read, in plain words and in the languages the program has words for.

    Args:
        card: As `CardCommands.look_up` tells it: counts with their standing, status, QR token, name.
        program: As `ProgramCommands.find` tells it: the rules in force, rewards, looks, translations.
        texts: Each of SENTENCES in every language the pass shall speak.
        merchant: The vendor's name.
        issuer: Who signs the passes and how to reach them, for the back.

    Returns:
        The content. An active card can be scanned; any other is voided, says why, and has no code. Of a card whose
        holder was forgotten it says nothing else.
    """
    plain = _content(card, program, merchant, issuer)
    values, words = plain.values, {}
    for language in languages_of(program):
        told = _content(card, in_language(program, language), merchant, issuer).values
        if own := {key: told[key] for key, value in values.items() if told[key] != value}:
            words[language] = own
    return replace(plain, texts=_those_said(texts, plain), words=words)


def title(program: Mapping[str, Any]) -> str:
    """What the program's cards are called."""
    named: str = program.get("card_name") or program["name"]
    return named


def _content(card: Mapping[str, Any], program: Mapping[str, Any], merchant: str, issuer: str) -> PassContent:
    status = card["status"]
    balance, front, progress = _standing(card, program)
    if status == "erased":
        balance, front, progress = replace(balance, value=BLANK, change=None), (), None
    if status != "active":
        front = (Line("status", "Status", VOID_BECAUSE[status]), *front)
    if name := card["customer"].get("name"):
        front = (*front, Line("member", "Member", name))
    back = tuple(line for line in _back(card, program, merchant, issuer) if status != "erased" or line.key != "number")
    return PassContent(
        merchant=merchant,
        title=title(program),
        description="Loyalty card",
        is_voided=status != "active",
        barcode=card["qr_code_data"] if status == "active" else None,
        barcode_text=BLANK if status == "erased" else _grouped(card["card_number"]),
        color=program.get("card_color"),
        secondary_color=program.get("card_secondary_color"),
        progress=progress,
        balance=balance,
        front=front[:FRONT_LINES_MAX],
        back=back,
    )


def _standing(card: Mapping[str, Any], program: Mapping[str, Any]) -> tuple[Line, tuple[Line, ...], Progress | None]:
    """What the card holds, what that is good for, and how far it is to the next reward."""
    points = Line("points", "Points", str(card["points_balance"]), "Now on the card: %@")
    ready = Line("rewards", "Rewards ready", str(card["rewards_available"]), "Rewards ready: %@")
    goal = _next_goal(card["points_balance"], program["points_rewards"])
    next_reward = (Line("next", "Next reward", _priced(goal)),) if goal else ()
    target = card["stamps_target"]
    if target is None:
        return points, (*next_reward, ready), _percent(card["points_balance"], goal, program["points_rewards"])
    stamps = Line("stamps", "Stamps", f"{card['stamp_count']} / {target}", "Now on the card: %@")
    described = program["stamps_reward_description"]
    reward = (Line("reward", "Reward", described),) if described else ()
    # Of a hybrid's two balances the stamps speak up when they change; one visit should ring once.
    also = (Line("points", "Points", points.value),) if program["loyalty_type"] == "hybrid" else ()
    filled = min(max(card["stamp_count"], 0), target)
    return stamps, (*reward, ready, *also), Progress(filled, target, "stamps")


def _next_goal(points: int, rewards: list[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The cheapest reward that the points do not reach yet."""
    return min((r for r in rewards if r["points_cost"] > points), key=lambda r: int(r["points_cost"]), default=None)


def _percent(points: int, goal: Mapping[str, Any] | None, rewards: list[Mapping[str, Any]]) -> Progress | None:
    """Toward the next reward, in whole percent rounded down: full only when something can be had for it."""
    if not rewards:
        return None
    filled = PERCENT if goal is None else max(points, 0) * PERCENT // goal["points_cost"]
    return Progress(filled, PERCENT, "percent")


def _back(card: Mapping[str, Any], program: Mapping[str, Any], merchant: str, issuer: str) -> tuple[Line, ...]:
    described = program["stamps_reward_description"]
    offers = "\n".join(_priced(r) for r in sorted(program["points_rewards"], key=lambda r: int(r["points_cost"])))
    lines = (
        Line("about_reward", "Reward", described or ""),
        Line("offers", "Rewards for points", offers),
        Line("number", "Card number", _grouped(card["card_number"])),
        Line("terms", "Terms", program.get("terms_text") or ""),
        Line("privacy", "Privacy", program.get("privacy_url") or ""),
        Line("issuer", "Issued by", f"{merchant}\n{issuer}"),
    )
    return tuple(line for line in lines if line.value)


def _priced(reward: Mapping[str, Any]) -> str:
    """In no language: the number is what it costs."""
    return f"{reward['points_cost']} · {reward['name']}"


def _grouped(number: str) -> str:
    """As it is read out at a till: `9278 2651 0269`."""
    return " ".join(number[i : i + 4] for i in range(0, len(number), 4))


def _those_said(texts: Texts, content: PassContent) -> Texts:
    said = {content.description}
    for line in (content.balance, *content.front, *content.back):
        said |= {line.label, line.change or line.label}
        if line.key == "status":
            said.add(line.value)
    return {language: {sentence: known[sentence] for sentence in sorted(said)} for language, known in texts.items()}
