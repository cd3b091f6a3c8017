"""What this installation is at Google: whose issuer, under which ids, and where its pictures are."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from wallet_sync import google_pass, google_pictures
from wallet_sync.pass_content import Texts, pass_content

_OBJECT = re.compile(r"([0-9]+)\.([A-Za-z0-9_-]+)\.card\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


@dataclass(frozen=True, slots=True)
class Issuer:
    """Renders programs and cards as Google shall have them.

    Args:
        id: Of the issuer account, digits.
        environment: Keeps installations apart that share an issuer.
        texts: Each of SENTENCES in every language.
        contact: How to reach who issues the cards, for their details.
        picture_url: Where the picture of a name is, by HTTPS.
        callback_url: Where Google tells of saving and removing; None: nowhere.
    """

    id: str
    environment: str
    texts: Texts
    contact: str
    picture_url: Callable[[str], str]
    callback_url: str | None

    def class_id(self, program_id: UUID) -> str:
        return google_pass.class_id(self.id, self.environment, program_id)

    def object_id(self, card_id: UUID) -> str:
        return google_pass.object_id(self.id, self.environment, card_id)

    def card_of(self, object_id: str) -> UUID | None:
        """The card behind an object; None where it is none of this installation's."""
        found = _OBJECT.fullmatch(object_id)
        return UUID(found[3]) if found and (found[1], found[2]) == (self.id, self.environment) else None

    def loyalty_class(self, program: Mapping[str, Any], merchant: str) -> dict[str, Any]:
        """A program as its class. `program` as `ProgramCommands.find` tells it."""
        logo = program.get("logo_url")
        if not (logo and logo.startswith("https://")):
            logo = self.picture_url(
                google_pictures.logo_name(program.get("card_color"), program.get("card_secondary_color"))
            )
        return google_pass.loyalty_class(
            program,
            merchant,
            self.texts,
            id=self.class_id(program["id"]),
            logo_url=logo,
            callback_url=self.callback_url,
        )

    def loyalty_object(self, card: Mapping[str, Any], merchant: str) -> dict[str, Any]:
        """A card as its object; one whose holder was forgotten says nothing any more, and cannot be used.

        Args:
            card: As `CardCommands.look_up` tells it, with its program.
        """
        if card["status"] == "erased":
            return google_pass.erased_object(id=self.object_id(card["id"]), class_id=self.class_id(card["program_id"]))
        content = pass_content(card, card["program"], self.texts, merchant=merchant, issuer=self.contact)
        picture = google_pictures.progress_name(content)
        return google_pass.loyalty_object(
            content,
            id=self.object_id(card["id"]),
            class_id=self.class_id(card["program_id"]),
            hero_url=None if picture is None else self.picture_url(picture),
        )
