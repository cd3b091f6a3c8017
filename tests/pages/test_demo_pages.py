"""What `LOYALTY_DEMO=1 make run` prints, followed as by somebody who tries it out: each address leads to its page."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect

from api.demo_shop import BRANDING, PROFILE, STAFF
from ledger.translations import by_language
from tests.clock import eventually
from tests.databases import BIN_DIR, directory_for_servers
from tests.pages.browser import DESKTOP, Person
from tests.service import REAL, ServiceProcess

ADDRESS = re.compile(r"^  (\S.*?) {2,}(http://\S+)$", re.MULTILINE)
ADMIN_KEY = re.compile(r"^Admin key: (\S+)", re.MULTILINE)
LAST_WORDS = "Stop with Ctrl-C."
DEMO_SECONDS_MAX = 200  # About ten for 90 days of history, on a machine that does nothing else.

pytestmark = pytest.mark.timeout(DEMO_SECONDS_MAX + 100)


@dataclass(frozen=True)
class Printed:
    """What stands on the screen once the demo is ready: addresses by what is said of them."""

    addresses: dict[str, str]
    admin_key: str

    def of(self, beginning: str) -> list[str]:
        return [address for what, address in self.addresses.items() if what.startswith(beginning)]


@pytest.fixture(scope="module")
def printed(browser: Browser) -> Iterator[Printed]:
    """The browser is asked for first: without one, nothing need be started."""
    with directory_for_servers() as folder:
        environment = {"LOYALTY_DATA_DIR": str(folder / "data"), "LOYALTY_DEMO": "1"}
        environment |= {} if BIN_DIR is None else {"LOYALTY_PG_BIN": str(BIN_DIR)}
        made_at_the_start = {"LOYALTY_ADMIN_KEY": "", "LOYALTY_AUDITOR_KEY": "", "LOYALTY_MASTER_KEY": ""}
        service = ServiceProcess((REAL, "run"), folder / "log", **environment, **made_at_the_start)
        try:
            text = all_it_says(service.start())
            key = ADMIN_KEY.search(text)
            assert key is not None, text
            yield Printed(dict(ADDRESS.findall(text)), key[1])
        finally:
            service.end()


def all_it_says(service: ServiceProcess) -> str:
    def is_said() -> bool:
        assert service.process is not None and service.process.poll() is None, service.last_words()
        return LAST_WORDS in service.log.read_text()

    eventually(is_said, DEMO_SECONDS_MAX, service.last_words)
    return service.log.read_text()


@pytest.fixture
def visitor(browser: Browser, printed: Printed) -> Iterator[Callable[[], Person]]:
    """Makes people who try it out. No page may have an error, not even one that only the console tells of."""
    people: list[Person] = []

    def made() -> Person:
        people.append(Person(browser, printed.of("Audit")[0].removesuffix("/audit"), window=DESKTOP))
        return people[-1]

    yield made
    for one in people:
        one.leaves()


def heading(page: Page) -> str:
    """What the page is called, by itself; on a page that tells of no error."""
    shown = page.locator("h1:visible")
    expect(shown).to_have_count(1)
    expect(page.locator(".alert.danger:visible, .error:visible")).to_have_count(0)
    return shown.inner_text()


def follow(page: Page, links: str) -> list[str]:
    """The headings behind each link of a navigation, each followed once from where it stands."""
    addresses = [link.get_attribute("href") for link in page.locator(links).all()]
    assert addresses
    headings = []
    for address in addresses:
        page.locator(f"{links}[href='{address}']").click()
        page.wait_for_url(f"**{address}")
        headings.append(heading(page))
        assert page.locator(f"{links}[href='{address}'][aria-current=page]").count() == 1, address
    return headings


def brings_the_key(page: Page, printed: Printed) -> None:
    assert heading(page) == "Sign in"
    page.get_by_label("Your key").fill(printed.admin_key)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "sign-in" not in url)


def test_each_kind_of_page_is_printed_once(printed: Printed) -> None:
    names = [branding.name for branding in BRANDING.values()]
    kinds = [*(f"Join {name}" for name in names), *(f"A card of {name}" for name in names)]
    kinds += ["The shop (", "A till (", "Administration (", "Audit ("]
    assert {kind: len(printed.of(kind)) for kind in kinds} == dict.fromkeys(kinds, 1)
    assert len(printed.addresses) == len(kinds)


def test_a_customer_can_join_and_sees_a_card(printed: Printed, visitor: Callable[[], Person]) -> None:
    anna = visitor()
    for address in printed.of("Join "):
        page = anna.opens(address)
        assert heading(page).startswith("Collect")
        expect(page.get_by_role("button", name="Get my card")).to_be_visible()
    for branding in BRANDING.values():
        (address,) = printed.of(f"A card of {branding.name}")
        page = anna.opens(address)
        in_others = by_language(name=branding.card_name_in).values()
        assert heading(page) in {branding.name, *(words["name"] for words in in_others)}  # It is its holder's language.
        expect(page.locator(".show .code")).to_be_visible()


def test_the_shops_link_lets_in_once_and_its_code_pairs_the_till(
    printed: Printed, visitor: Callable[[], Person]
) -> None:
    (link,), (till,) = printed.of("The shop"), printed.of("A till")
    owner = visitor()
    page = owner.opens(link)
    assert heading(page) == "You are one step away"
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/app")
    expect(page.get_by_role("link", name=PROFILE.name)).to_be_visible()
    headings = follow(page, "nav.parts a")
    assert len(set(headings)) == len(headings) == 7
    page.goto("/app/keys")
    page.locator("#till-name").fill("Counter")
    page.get_by_role("button", name="Make a code").click()
    code = page.locator(".code-big").inner_text()

    counter = visitor().opens(till)
    assert heading(counter) == "Pair this till"
    counter.get_by_label("Code").fill(code)
    counter.get_by_role("button", name="Pair this till").click()
    expect(counter.get_by_role("heading", name="Who is at the till?")).to_be_visible()
    for member in STAFF:
        expect(counter.get_by_role("button", name=member.name)).to_be_visible()

    late = visitor()
    late.expected = ["401"]
    page = late.opens(link)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="This link cannot be used any more")).to_be_visible()


@pytest.mark.parametrize("area", ["Administration", "Audit"])
def test_with_the_printed_key_the_offices_open(printed: Printed, visitor: Callable[[], Person], area: str) -> None:
    (address,) = printed.of(area)
    page = visitor().opens(address)
    brings_the_key(page, printed)
    assert page.url == address
    for navigation in ("nav.places", "nav.tabs")[: 2 if area == "Administration" else 1]:
        page.goto(address)
        headings = follow(page, f"{navigation} a")
        assert len(set(headings)) == len(headings) > 1
