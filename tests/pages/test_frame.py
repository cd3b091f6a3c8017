"""What all pages have in common: languages, headers, refusals in words, files that are kept, and nothing inline."""

import hashlib
import json
import re
from collections.abc import Callable
from importlib.resources import files
from itertools import product
from urllib.parse import urlsplit

import pytest
from jinja2 import UndefinedError, nodes
from starlette.datastructures import Headers

from api.languages import LANGUAGES
from api.pages import assets
from api.pages.accents import SURFACES_DARK, SURFACES_LIGHT, accent_sheet
from api.pages.customer import joining, leaving, showing, wallet_buttons
from api.pages.frame import environment, local_path, render
from api.pages.refusals import ADVICE
from api.pages.routing import is_ours
from api.pages.words import Words
from api.problems import PROBLEMS
from tests.api.test_languages import catalogue, texts
from tests.pages.browser import DESKTOP, SMALL, Person, barriers, overflowing
from tests.service import Service
from wallet_sync.colours import contrast, parsed

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
STATIC = files("api.pages").joinpath("static")
SCOPE = {"type": "http", "method": "GET", "path": "/nothing", "query_string": b"", "headers": []}

# ------------------------------------------------------------------ refusals


def test_somebody_at_a_browser_is_refused_in_words_and_a_program_by_a_document(service: Service) -> None:
    page = service.http.get("/nothing-here", headers=BROWSER)
    document = service.http.get("/nothing-here")
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "There is no page at this address" in page.text
    assert document.headers["content-type"] == "application/problem+json"


def test_the_api_answers_documents_to_browsers_too(service: Service) -> None:
    answer = service.http.get("/api/v1/loyalty/nothing", headers=BROWSER)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_refusal_speaks_the_language_of_the_browser(service: Service, language: str) -> None:
    page = service.http.get("/nothing-here", headers={**BROWSER, "Accept-Language": language})
    assert f'<html lang="{language}">' in page.text and page.headers["content-language"] == language


def test_too_large_a_form_is_refused_in_words(service: Service) -> None:
    page = service.http.post("/nothing-here", content=b"a" * 40_000, headers=BROWSER)
    assert page.status_code == 413 and "<h1>The request is too large</h1>" in page.text


def test_each_advice_belongs_to_a_problem() -> None:
    assert ADVICE.keys() <= {problem.code for problem in PROBLEMS.values()}


def test_a_refusal_keeps_nobody_out(person: Callable[..., Person]) -> None:
    anna = person(language="de", window=SMALL)
    anna.expected = ["404"]
    page = anna.opens("/nothing-here")
    assert barriers(page) == [] and overflowing(page) == []


# ------------------------------------------------------------------ the start page


def test_the_start_page_leads_to_every_part_and_names_nobody(person: Callable[..., Person], service: Service) -> None:
    service.shop(name="Café Zopf")
    page = person(window=DESKTOP).opens("/")
    page.get_by_role("link", name="Audit").click()
    page.wait_for_url("**/sign-in?to=/audit")
    answer = service.http.get("/", headers=BROWSER)
    links = [
        link for link in re.findall(r"href=\"(/[^\"]*)\"", answer.text) if not link.startswith(("/static", "/lang"))
    ]
    assert links == ["/till", "/app", "/admin", "/audit", "/docs", "/openapi.json"]
    assert [link for link in links if service.http.get(link).status_code not in (200, 303)] == []
    assert answer.status_code == 200 and "Zopf" not in answer.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_start_page_keeps_nobody_out(person: Callable[..., Person], language: str) -> None:
    page = person(language=language, window=SMALL).opens("/")
    assert page.locator("html").get_attribute("lang") == language
    assert barriers(page) == [] and overflowing(page) == []


# ------------------------------------------------------------------ languages


def test_the_language_is_switched_without_a_script_and_stays(person: Callable[..., Person]) -> None:
    anna = person(language="fr", java_script_enabled=False)
    anna.expected = ["404"]
    page = anna.opens("/nothing-here?and=this")
    assert page.locator("html").get_attribute("lang") == "fr"
    page.get_by_role("link", name="LB Lëtzebuergesch").click()
    assert page.url.endswith("/nothing-here?and=this")
    assert page.locator("html").get_attribute("lang") == "lb"
    assert page.locator("[aria-current=true]").inner_text().startswith("LB")
    page.goto("/another")
    assert page.locator("html").get_attribute("lang") == "lb"


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "//[", "javascript:alert(1)", "", "/a\r\nb"],
)
def test_switching_the_language_leads_nowhere_else(elsewhere: str) -> None:
    assert local_path(elsewhere) == "/"
    assert local_path("/c/abc?x=1") == "/c/abc?x=1"


def test_an_unknown_language_is_no_language(service: Service) -> None:
    assert service.http.get("/language/xx").status_code == 404


TOLD = {
    *ADVICE.values(),
    *showing.TITLES.values(),
    *showing.STATES.values(),
    *joining.MISSING.values(),
    *joining.WRONG.values(),
    *wallet_buttons.LABELS.values(),
    leaving.NOT_IT,
    leaving.NOT_TICKED,
}
"""What pages say that stands in no template."""


def calls(kind: str) -> set[str]:
    """The sentences that templates give to `t`, `th` or `tn`, wherever they stand."""
    found = set()
    for name in environment().list_templates():
        tree = environment().parse(environment().loader.get_source(environment(), name)[0])  # type: ignore[union-attr]
        for call in tree.find_all(nodes.Call):
            if getattr(call.node, "name", "") == kind and isinstance(call.args[0], nodes.Const):
                found.add(str(call.args[0].value))  # What is no constant is one of TOLD.
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_sentence_of_a_template_is_missing(language: str) -> None:
    there = {texts(message.id)[0] for message in catalogue(language) if all(texts(message.string))}  # type: ignore[arg-type]
    assert sorted((calls("t") | calls("th") | calls("tn") | TOLD) - there) == []
    plural = {texts(m.id)[0] for m in catalogue(language) if len(texts(m.id)) == 2}  # type: ignore[arg-type]
    assert sorted(calls("tn") - plural) == []


# ------------------------------------------------------------------ words


def test_what_stands_in_a_sentence_is_escaped_and_its_markup_is_not() -> None:
    told = Words("en").html("If it happens again, tell us this number:")
    assert str(told) == "If it happens again, tell us this number:"
    assert "&lt;b&gt;" in render(
        "refusal.html", "en", SCOPE, problem={"title": "<b>", "status": 404}, advice="", minutes=0
    )


def test_a_name_that_nobody_gave_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render("refusal.html", "en", SCOPE)


def test_counts_are_written_as_each_language_writes_numbers() -> None:
    one, many = "Try again in {count} minute.", "Try again in {count} minutes."
    assert Words("en").count(one, many, 1) == "Try again in 1 minute."
    assert "1.200" in Words("de").count(one, many, 1200)


# ------------------------------------------------------------------ headers


def test_a_page_runs_nothing_but_our_own_files_and_is_framed_by_nobody(service: Service) -> None:
    headers = service.http.get("/nothing-here", headers=BROWSER).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store" and "camera=()" in headers["permissions-policy"]


def test_no_template_holds_a_script_or_a_style() -> None:
    for name in environment().list_templates():
        source = environment().loader.get_source(environment(), name)[0]  # type: ignore[union-attr]
        assert not re.search(r"<style|<script(?![^>]*\bsrc=)|\sstyle=|\son[a-z]+=|javascript:", source), name


# ------------------------------------------------------------------ files


def test_a_file_is_kept_for_ever_and_sent_compressed(service: Service) -> None:
    answer = service.http.get(assets.address("pages.css"), headers={"Accept-Encoding": "gzip"})
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-encoding"] == "gzip" and answer.headers["content-type"].startswith("text/css")
    assert answer.text == STATIC.joinpath("pages.css").read_text()
    plain = service.http.get(assets.address("pages.css"), headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers and plain.text == answer.text


def test_an_older_page_gets_the_newest_file_and_keeps_it_not(service: Service) -> None:
    older = assets.address("pages.css").replace(assets.digest(), "0" * 12)
    assert service.http.get(older).headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["nothing.js", "vendor", "..%2f__init__.py", "%2e%2e%2fframe.py", "..%5cframe.py"])
def test_only_files_that_are_there_are_served(service: Service, path: str) -> None:
    assert service.http.get(f"{assets.PREFIX}/{assets.digest()}/{path}").status_code == 404


def test_what_others_wrote_is_what_they_published() -> None:
    vendor = STATIC.joinpath("vendor")
    listed = json.loads(vendor.joinpath("manifest.json").read_text())
    named = {one["file"] for one in listed} | {one["licence_file"] for one in listed} | {"manifest.json"}
    assert {entry.name for entry in vendor.iterdir()} == named
    for one in listed:
        assert hashlib.sha256(vendor.joinpath(one["file"]).read_bytes()).hexdigest() == one["sha256"], one["file"]
        assert one["version"] in one["source"] and one["licence"]


# ------------------------------------------------------------------ colours

COLOURS = ("000000", "ffffff", "ffff00", "8c2f39", "1f3a52", "777777", "00ff88")


def tokens(css: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z-]+):\s*(#[0-9a-f]{6})", css))


@pytest.mark.parametrize(("color", "secondary"), list(product(COLOURS, (None, "f6e7d8", "000000"))))
def test_any_program_s_colours_can_be_read(color: str, secondary: str | None) -> None:
    light, dark = accent_sheet(color, secondary).split("@media")
    told = tokens(light)
    assert contrast(parsed(told["accent"]), parsed(told["on-accent"])) >= 4.5
    assert contrast(parsed(told["card"]), parsed(told["card-label"])) >= 4.5
    for sheet, surfaces in ((light, SURFACES_LIGHT), (dark, SURFACES_DARK)):
        for surface in surfaces:
            assert contrast(parsed(tokens(sheet)["accent-text"]), parsed(surface)) >= 4.5
            assert contrast(parsed(tokens(sheet)["accent-edge"]), parsed(surface)) >= 3


def test_the_surfaces_are_those_of_the_style_sheet() -> None:
    light, dark = STATIC.joinpath("pages.css").read_text().split("@media (prefers-color-scheme: dark)", 1)
    assert (tokens(light)["surface"], tokens(light)["page"]) == SURFACES_LIGHT
    assert (tokens(dark)["surface"], tokens(dark)["page"]) == SURFACES_DARK


@pytest.mark.parametrize("name", ["zzzzzz", "12345", "123456-", "123456;}"])
def test_a_colour_is_a_colour(service: Service, name: str) -> None:
    assert service.http.get(f"{assets.PREFIX}/{assets.digest()}/accent/{name}.css").status_code in (404, 422)


# ------------------------------------------------------------------ other sites


@pytest.mark.parametrize(
    ("headers", "is_taken"),
    [
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site", "Origin": "https://cards.example"}, False),
        ({"Origin": "https://cards.example"}, True),
        ({"Origin": "http://10.0.0.7:8000", "Host": "10.0.0.7:8000"}, True),
        ({"Origin": "https://evil.example", "Host": "cards.example"}, False),
        ({"Origin": "null"}, False),
        ({}, True),
    ],
)
def test_forms_of_other_sites_are_told_from_ours(headers: dict[str, str], is_taken: bool) -> None:
    assert is_ours(Headers(headers), "https://cards.example") == is_taken


def test_a_page_names_no_other_host() -> None:
    told = render("refusal.html", "en", SCOPE, problem={"title": "x", "status": 404}, advice="", minutes=0)
    assert [url for url in re.findall(r"(?:href|src)=\"([^\"]+)", told) if urlsplit(url).netloc] == []
