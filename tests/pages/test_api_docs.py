"""The API's description is read and tried in a browser, with nothing from anywhere else."""

from collections.abc import Callable
from urllib.parse import urlsplit

from playwright.sync_api import expect

from tests.pages.browser import Person
from tests.service import Service


def test_the_api_is_described_and_tried_from_here_alone(person: Callable[..., Person], service: Service) -> None:
    page = person(window={"width": 400, "height": 900}, is_dark=True).context.new_page()
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
    page.goto("/docs")
    expect(page.get_by_role("heading", name="Loyalty ledger")).to_be_visible()
    route = page.locator(".opblock", has_text="/health/live").first
    route.get_by_role("button").first.click()
    route.get_by_role("button", name="Try it out").click()
    route.get_by_role("button", name="Execute").click()
    expect(route.locator(".live-responses-table tbody .response-col_status").first).to_contain_text("200")
    here = urlsplit(str(service.http.base_url)).netloc
    assert {place for place in asked if place} == {here}
