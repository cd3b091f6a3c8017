"""What a problem document's `type` leads to: a page for people, saying what the code means and what to do about it."""

import re
from html import escape

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from api.bodies import StrictRoute
from api.dependencies import Public
from api.errors import NotFoundHere
from api.languages import Language, negotiate, translate
from api.openapi import responses
from api.problems import PROBLEMS, TYPE_BASE, Problem
from ledger.errors import Busy, Refused

router = APIRouter(tags=["public"], dependencies=[Public], route_class=StrictRoute)

LATER = "Wait as long as Retry-After says, then send the same request again, with the same Idempotency-Key."
AGAIN = "Send the same request again, with the same Idempotency-Key and growing pauses."
LOOK = "Look at how things are now. Where there is a retry_at, try then, with a new Idempotency-Key."
CHANGE = "Change the request. Sent again as it is, it will be refused again."
HEADINGS = ("When it happens", "What to do")

PAGE = """<!doctype html>
<html lang="{language}">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<h1>{title}</h1>
<p><code>{code}</code>, HTTP {status}</p>
<h2>{when}</h2>
<ul>
{cases}
</ul>
<h2>{what}</h2>
<p>{advice}</p>
</html>
"""


@router.get(
    TYPE_BASE + "{code}",
    summary="Explain a problem",
    response_class=HTMLResponse,
    responses=responses(NotFoundHere),
)
async def explain_problem(code: str, request: Request) -> HTMLResponse:
    """The page that the `type` of a problem document leads to, in the language of Accept-Language."""
    kinds = [kind for kind, problem in PROBLEMS.items() if problem.code == code and issubclass(kind, Refused)]
    if not kinds:
        raise NotFoundHere
    language = negotiate(request.headers.get("accept-language"))
    headers = {"Content-Language": language, "Vary": "Accept-Language"}
    return HTMLResponse(page(PROBLEMS[kinds[0]], kinds, language), headers=headers)


def page(problem: Problem, kinds: list[type[Refused]], language: Language) -> str:
    """One problem and the refusals that are told by it; facts that differ each time are left open."""
    cases = []
    for sentence in dict.fromkeys(kind.sentence for kind in kinds):
        case = translate(language, sentence, **dict.fromkeys(re.findall(r"{(\w+)}", sentence), "…"))
        cases += [case] if re.search(r"\w", case) else []  # One says nothing but facts.
    when, what = (translate(language, heading) for heading in HEADINGS)
    return PAGE.format(
        language=language,
        title=escape(translate(language, problem.title)),
        code=problem.code,
        status=problem.status.value,
        when=escape(when),
        cases="\n".join(f"<li>{escape(case)}</li>" for case in cases),
        what=escape(what),
        advice=escape(translate(language, advice(problem, kinds))),
    )


def advice(problem: Problem, kinds: list[type[Refused]]) -> str:
    if problem.status in (408, 423, 429, 503) or any(issubclass(kind, Busy) for kind in kinds):
        return LATER
    if problem.status >= 500:
        return AGAIN
    return LOOK if problem.status in (409, 410, 412) else CHANGE
