"""What is kept under an idempotency key: the answer, or the refusal. Asked again, it is told as it was the first time.

An answer that holds personal data is kept sealed with the person's own key, and is forgotten with the person.
"""

from typing import Any
from uuid import UUID

import orjson

from ledger import errors
from ledger.codec import keywords_from_plain
from ledger.decision import Once, Outcome
from ledger.errors import CardIsErased, KeyReused, Refused
from ledger.personal import Secret
from ledger.seal import SealBroken, SubjectKey, seal, unseal


def answer_text(answer: dict[str, Any]) -> str:
    """The answer as JSON text, times in UTC."""
    return orjson.dumps(answer, option=orjson.OPT_UTC_Z).decode()


def kept(answer: str, once: Once, subject: SubjectKey | None) -> str:
    """An answer as it stands in the database."""
    if subject is None:
        return answer
    sealed = seal(Secret(answer), subject, stream_id=once.command_id, version=0, name="answer").sealed
    assert sealed is not None
    return sealed


def kept_refusal(refusal: Refused) -> str:
    """A refusal as it stands in the database."""
    recorded = {} if refusal.decision_id is None else {"decision_id": refusal.decision_id}
    return answer_text({"refused": type(refusal).__name__, "facts": refusal.facts, **recorded})


def recalled(text: str | None, position: int | None, once: Once, subject: SubjectKey | None) -> Outcome | Refused:
    """What is kept under a key: the outcome, or the refusal with the same facts.

    A sealed answer that `subject` cannot open was about somebody who was forgotten since.
    """
    if text is None:
        return KeyReused()
    if text.startswith('{"refused":'):
        stored = orjson.loads(text)
        refusal = refusal_again(stored["refused"], stored["facts"])
        refusal.decision_id = UUID(stored["decision_id"]) if "decision_id" in stored else None
        return repeated(refusal)
    if not text.startswith("{"):
        if subject is None:
            return CardIsErased()
        try:
            opened = unseal(Secret(sealed=text), subject, stream_id=once.command_id).plain
        except SealBroken:
            return CardIsErased()
        assert opened is not None
        text = opened
    return Outcome(text, position, is_replay=True)


def refusal_again(name: str, facts: dict[str, Any]) -> Refused:
    """A refusal out of its class's name and its facts as JSON tells them."""
    cls: type[Refused] = getattr(errors, name)
    return cls(**keywords_from_plain(cls.__init__, facts))


def repeated(refusal: Refused) -> Refused:
    """The same refusal for one who asks again."""
    again = type(refusal)(**refusal.facts)
    again.is_replay = True
    again.decision_id = refusal.decision_id
    return again
