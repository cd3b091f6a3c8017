"""What a vendor's pages have in common: who is signed in, the frame around them, and how a form says what is wrong.

A form is read into the request body of the API's route, and the route's own function is called with it. So there is one
set of rules, and whatever the API refuses is told beside the field.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeAlias, TypeVar
from urllib.parse import urlencode

from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from api.auth import Principal
from api.dependencies import Parts, TheParts, VendorWith
from api.errors import ScopeMissing
from api.languages import Language
from api.pages.frame import language_of, page
from api.pages.sign_in import HOMES
from api.pages.words import Words
from api.problems import PROBLEMS, problem_document
from api.sessions import PERSON
from api.validation import described
from ledger.commands.caller import Caller
from ledger.errors import InvalidValue, PinTooWeak, Refused, StaffIdTaken
from ledger.ids import new_id
from ledger.vendor import SCOPES

Asked = TypeVar("Asked", bound=BaseModel)
Form: TypeAlias = Mapping[str, str]

# What each part is for, and any of which scopes it needs.
PARTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("/app", "Overview", ()),
    ("/app/programs", "Programs", ("read", "programs")),
    ("/app/cards", "Cards", ("read", "cards")),
    ("/app/transactions", "Entries", ("read", "cards")),
    ("/app/staff", "Staff", ("read", "pins")),
    ("/app/keys", "Tills and keys", ("read", "pins")),
    ("/app/settings", "Settings", ()),
)
DONE: Mapping[str, str] = {
    "saved": "Saved.",
    "published": "Published. Cards follow within seconds.",
    "announced": "Announced. The new rules hold from the day you chose, everything else from now on.",
    "activated": "The program is active. Cards can earn from now on.",
    "deactivated": "The program is closed. Rewards can still be redeemed for a while.",
    "adjusted": "The balance is changed.",
    "stamped": "Stamped.",
    "taken-back": "Taken back. What was taken back stays in the history.",
    "corrected": "Put right, on all cards of this customer.",
    "suspended": "The card is suspended.",
    "reinstated": "The card can be used again.",
    "closed": "The card is closed.",
    "replaced": "This is the new card. The old one can no longer be used.",
    "added": "Added.",
    "removed": "Removed.",
    "unlocked": "Unlocked.",
    "revoked": "Revoked. It is refused from now on.",
}
"""What a page says after something worked, by the word in its address."""
BESIDE: Mapping[type[Exception], str] = {PinTooWeak: "pin", StaffIdTaken: "name"}
"""Refusals that are about one field."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is the matter with a form: by field, and as a whole."""

    fields: Mapping[str, str] = field(default_factory=dict)
    sentence: str | None = None
    status: int = 200


FINE = Wrong()


@dataclass(frozen=True, slots=True)
class Desk:
    """Somebody signed in for a vendor."""

    request: Request
    parts: Parts
    caller: Caller
    principal: Principal
    vendor: Mapping[str, Any]

    @property
    def language(self) -> Language:
        return language_of(self.request.scope)

    @property
    def words(self) -> Words:
        return Words(self.language)

    def needs(self, *scopes: str) -> None:
        """Raises: ScopeMissing unless the key has any of them."""
        if not self.caller.may.intersection(scopes):
            raise ScopeMissing(needed=scopes[0])

    def page(self, template: str, /, *, wrong: Wrong = FINE, status: int = 200, **values: Any) -> Response:
        """A page in the vendor's frame."""
        here = self.request.url.path
        parts = [(at, name) for at, name, scopes in PARTS if not scopes or self.caller.may.intersection(scopes)]
        current = max((at for at, _ in parts if here == at or here.startswith(at + "/")), key=len, default="")
        return page(
            self.request,
            f"vendor/{template}",
            status=wrong.status if wrong is not FINE else status,
            vendor=self.vendor,
            parts=parts,
            current=current,
            may=self.caller.may,
            done=DONE.get(self.request.query_params.get("done", "")),
            wrong=wrong,
            once=str(new_id()),
            **values,
        )

    def what_is_wrong(self, error: ValidationError | Refused) -> Wrong:
        """What the API would have answered, for the people who filled in the form."""
        if isinstance(error, ValidationError):
            found = described(error.errors(include_url=False, include_input=False, include_context=True), self.language)
            fields = {one["field"]: self._sentence(one["message"]) for one in found}
            return Wrong(fields, self.words.text("Something does not fit: see below."), 422)
        document = problem_document(error, self.language)
        if isinstance(error, InvalidValue):
            one = document["errors"][0]
            return Wrong({one["field"]: self._sentence(one["message"])}, None, document["status"])
        if type(error) in BESIDE:
            return Wrong({BESIDE[type(error)]: self._sentence(document["detail"])}, None, document["status"])
        return Wrong({}, self._sentence(document["detail"]), PROBLEMS[type(error)].status.value)

    def _sentence(self, text: str) -> str:
        return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


async def _desk(request: Request, parts: TheParts) -> Desk:
    """Raises: Unauthenticated, which `PageRoute` answers by leading to signing in."""
    principal = await parts.sessions.identify(request, PERSON)
    if principal.kind != "api_key" or principal.vendor_id is None:
        raise HTTPException(303, headers={"Location": HOMES[principal.kind]})
    caller = VendorWith(*SCOPES).caller(request, principal, None)
    return Desk(request, parts, caller, principal, await parts.ledger.vendors.find(principal.vendor_id))


TheDesk = Annotated[Desk, Depends(_desk)]


def filled(form: Form, *names: str) -> dict[str, str]:
    """The fields of these names that something was written in."""
    return {name: form[name].strip() for name in names if form.get(name, "").strip()}


def whole(text: str | None) -> Any:
    """A number as the API wants it; what is none stays text, and is refused as the API refuses it."""
    text = (text or "").strip().replace("\u2212", "-")
    try:
        return int(text)
    except ValueError:
        return text or None


def to(address: str, **query: str) -> Response:
    return RedirectResponse(address + (f"?{urlencode(query)}" if query else ""), 303, {"Cache-Control": "no-store"})
