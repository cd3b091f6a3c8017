"""A refusal as a page: for somebody at a browser who asked for a page, in their language."""

from collections.abc import Mapping
from math import ceil
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse
from starlette.types import Scope

from api.pages.frame import language_of, page_headers, render
from api.pages.words import Words

NO_PAGES = ("/api/", "/health", "/metrics", "/openapi.json", "/problems/", "/static/")
MEDIA_TYPES_READ_MAX = 20

# What a person can do about it. Other refusals say by themselves what is the matter.
ADVICE: Mapping[str, str] = {
    "not_found": "There is no page at this address. Perhaps the link is not complete.",
    "card_not_found": "No card belongs to this link. Perhaps it is not complete, or the card got a new code.",
    "program_not_found": "No loyalty card belongs to this link. Ask at the counter for the right one.",
    "card_replaced": "A new one took its place, with everything that was on it. Ask at the counter for your card.",
    "card_erased": "Everything about its holder was deleted, as was asked for.",
    "rate_limited": "There were too many attempts from here.",
    "too_large": "What was sent is too large. Send less.",
    "malformed_request": "What was sent cannot be read. Go back and try again.",
    "method_not_allowed": "There is no page at this address. Perhaps the link is not complete.",
    "cross_site_form": "It was sent from another website, so nothing was done.",
    "internal_error": "It is our fault, not yours. Nothing is lost. Try again in a moment.",
    "overloaded": "Very many people are here right now. Try again in a moment.",
}


def wants_page(scope: Scope) -> bool:
    """Whether whoever asks is to get HTML: at an address of pages, and `text/html` before any JSON."""
    if scope["type"] != "http" or scope["path"].startswith(NO_PAGES):
        return False
    accepted = Headers(scope=scope).get("accept", "").lower().split(",")[:MEDIA_TYPES_READ_MAX]
    for media_type in (one.partition(";")[0].strip() for one in accepted):
        if media_type in ("text/html", "application/xhtml+xml"):
            return True
        if media_type.endswith("json"):
            return False
    return False


def refusal_page(document: Mapping[str, Any], headers: Mapping[str, str], scope: Scope) -> HTMLResponse:
    """The problem document as a person reads it: what is the matter, what to do, and the number to ask about.

    Args:
        document: As `problems.problem_document` makes it, with title and detail in the page's language.
        headers: Of the document; what a page says of itself goes before them.
    """
    language = language_of(scope)
    words = Words(language)
    advice = words.text(ADVICE[document["code"]]) if document["code"] in ADVICE else document["detail"]
    content = render(
        "refusal.html",
        language,
        scope,
        problem=document,
        advice=advice,
        minutes=ceil(int(headers.get("Retry-After", 0)) / 60),
    )
    return HTMLResponse(content, document["status"], headers={**headers, **page_headers(language)})
