"""What is written about the service: the reference is what the code says, links lead somewhere, JSON is JSON.

The commands of the README and the guides are run in `journeys/test_written_calls.py`.
"""

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import orjson
import pytest

from api.settings import settings_table
from tests.docs_reference import PAGES, REWRITE, ROOT, Page

README = ROOT / "README.md"
WRITTEN = [README, *sorted((ROOT / "docs").rglob("*.md"))]
SETTINGS_BEGIN, SETTINGS_END = "<!-- settings -->", "<!-- /settings -->"

FENCED = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\[[^\]]*\]\(<?([^)>\s]+)>?[^)]*\)")
REFERENCE = re.compile(r"^\[[^\]]+\]: <?(\S+?)>?(?:\s|$)", re.MULTILINE)
HEADING = re.compile(r"^#+ +(.*?) *$", re.MULTILINE)
ANCHOR = re.compile(r"(?:id|name)=\"([^\"]+)\"")
JSON = re.compile(r"^ *```json\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
SHELL = re.compile(r"^ *```(?:bash|sh)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# ------------------------------------------------------------------ made from the code


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_reference_is_what_the_code_says(page: Page) -> None:
    assert page.path.exists() and text_of(page.path) == page.make(), f"run {REWRITE}"


def test_the_readme_lists_the_settings() -> None:
    readme = text_of(README)
    assert SETTINGS_BEGIN in readme and SETTINGS_END in readme, f"README.md has no {SETTINGS_BEGIN} … {SETTINGS_END}"
    block = readme.partition(SETTINGS_BEGIN)[2].partition(SETTINGS_END)[0]
    assert block.strip() == settings_table().strip(), "put what api.settings.settings_table() says between the markers"


# ------------------------------------------------------------------ links


def links(path: Path) -> list[str]:
    """Where the page's relative links lead. Code is no prose: nothing in it is a link."""
    prose = CODE.sub("", FENCED.sub("", text_of(path)))
    found = LINK.findall(prose) + REFERENCE.findall(prose)
    return [unquote(link) for link in found if not re.match(r"[a-z][a-z0-9+.-]*:|//", link, re.IGNORECASE)]


@cache
def anchors(path: Path) -> set[str]:
    """What a link into the page may name: its headings as GitHub names them, and ids."""
    prose = FENCED.sub("", text_of(path))
    found = set(ANCHOR.findall(prose))
    for heading in HEADING.findall(prose):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        number = 1
        free = slug
        while free in found:
            free = f"{slug}-{number}"
            number += 1
        found.add(free)
    return found


@pytest.mark.parametrize("path", WRITTEN, ids=shown)
def test_relative_links_lead_somewhere(path: Path) -> None:
    lost = []
    for link in links(path):
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        is_there = target.is_relative_to(ROOT) and target.exists()
        if not is_there or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


# ------------------------------------------------------------------ examples


@pytest.mark.parametrize("path", WRITTEN, ids=shown)
def test_json_is_json(path: Path) -> None:
    for block in JSON.findall(text_of(path)):
        if "…" not in block:
            try:
                orjson.loads(block)
            except orjson.JSONDecodeError as error:
                pytest.fail(f"{error} in {block}")


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize("path", WRITTEN, ids=shown)
def test_what_one_is_told_to_type_can_be_read_by_the_shell(path: Path) -> None:
    for block in SHELL.findall(text_of(path)):
        read = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, timeout=60, check=False)
        assert (read.returncode, read.stderr) == (0, ""), block
