"""WCAG 2.2 AA on every page: what axe finds in light and dark, wide and narrow. In a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Site, sign_in
from tests.e2e.pages import PLACES, Pages

pytestmark = pytest.mark.e2e

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
ASK = """async (options) => {
  const found = await axe.run(document, {...options, resultTypes: ["violations"]});
  const told = ({html, failureSummary}) => `${html.slice(0, 200)}: ${failureSummary.replace(/\\s+/g, " ")}`;
  return found.violations.map(({id, impact, nodes}) => [id, impact, nodes.slice(0, 3).map(told)]);
}"""
# Of what axe fetches first, no rule of these asks for style sheets.
ALL = {"runOnly": RULES, "preload": {"assets": ["media"]}}
# What colours depend on the scheme; everything else does not.
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
DRAWN = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
STEPS = 15  # of the Tab key on a page
FOCUSED = """() => {
  const element = document.activeElement;
  if (!element || element === document.body) return null;
  const {outlineStyle, outlineWidth} = getComputedStyle(element);
  const box = element.getBoundingClientRect();
  const isInView = box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth && box.width > 0;
  const labels = [...(element.labels ?? [])].map((each) => each.textContent);
  const words = [element.textContent, element.ariaLabel, element.title, ...labels].join("").trim();
  const isNamed = Boolean(words || element.querySelector("img[alt]:not([alt=''])"));
  const isOutlined = outlineStyle !== "none" && outlineWidth !== "0px";
  return {html: element.outerHTML.slice(0, 200), isOutlined, isInView, isNamed};
}"""


def violations(page: Page) -> list[str]:
    """Of the page in view, in both widths and both schemes: of any impact."""
    found = []
    for place, size in PLACES.items():
        page.set_viewport_size(size)
        page.evaluate(DRAWN)  # what depends on the width, such as which tables scroll, is told a frame later
        for scheme, options in (("light", ALL), ("dark", COLOURS)):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            for name, impact, nodes in page.evaluate(ASK, options):
                found.append(f"{place} {scheme}: {name} ({impact})\n    " + "\n    ".join(nodes))
    return found


def walk(page: Page, addresses: dict[str, str]) -> dict[str, list[str]]:
    wrong = {}
    for name, address in addresses.items():
        page.goto(address, wait_until="load")
        page.evaluate(AXE_SCRIPT)
        if found := violations(page):
            wrong[name] = found
    return wrong


def told(wrong: dict[str, list[str]]) -> str:
    return "\n".join(f"{name}\n  " + "\n  ".join(found) for name, found in wrong.items())


def test_axe_finds_nothing_on_a_managers_pages(open_as, site: Site, pages: Pages) -> None:
    page = open_as("mia", "/")
    addresses = pages.own(page)
    assert len(addresses) > 30, sorted(addresses)  # as many as there are, not what was left of them
    wrong = walk(page, addresses)
    assert not wrong, told(wrong)


def test_axe_finds_nothing_on_an_annotators_pages(open_as, site: Site, pages: Pages) -> None:
    page = open_as("ann", "/")
    wrong = walk(page, pages.own(page))
    assert not wrong, told(wrong)


@pytest.fixture
def german(open_as, site: Site) -> Iterator[Page]:
    """bob's first page, in German: kept for him on the server, which other tests use after this one."""
    page = open_as("bob", "/")
    page.get_by_role("button", name="Deutsch").click()
    yield page
    site.ask("forget-language", "bob")


def test_axe_finds_nothing_in_german(german: Page, pages: Pages) -> None:
    page = german
    expect(page.get_by_role("heading", name="Projekte")).to_be_visible()
    addresses = pages.own(page)
    wrong = walk(page, addresses)
    assert not wrong, told(wrong)
    for name, address in addresses.items():
        page.goto(address, wait_until="load")
        assert page.locator("html").get_attribute("lang") == "de", name


@pytest.fixture
def german_manager(open_as, site: Site) -> Iterator[Page]:
    page = open_as("mia", "/")
    page.get_by_role("button", name="Deutsch").click()
    yield page
    site.ask("forget-language", "mia")


def test_axe_finds_nothing_on_a_managers_pages_in_german(german_manager: Page, pages: Pages) -> None:
    """In light and dark, wide and narrow, as `violations` has it."""
    page = german_manager
    expect(page.get_by_role("heading", name="Projekte")).to_be_visible()
    addresses = pages.own(page)
    assert len(addresses) > 30, sorted(addresses)
    wrong = walk(page, addresses)
    assert not wrong, told(wrong)
    for name, address in addresses.items():
        page.goto(address, wait_until="load")
        assert page.locator("html").get_attribute("lang") == "de", name


def test_axe_finds_nothing_where_one_is_not_let_in(browser, site: Site, pages: Pages) -> None:
    page = browser.new_page(base_url=site.url)
    wrong = walk(page, pages.signed_out())
    sign_in(page, "ann", site.password)
    wrong |= walk(page, pages.refused())
    page.close()
    assert not wrong, told(wrong)


def test_a_keyboard_shows_where_it_is_on_every_page(open_as, site: Site, pages: Pages) -> None:
    page = open_as("mia", "/", viewport=PLACES["wide"])
    for name, address in pages.own(page).items():
        page.goto(address, wait_until="load")
        begins_in_a_field = page.evaluate("document.activeElement !== document.body")
        seen = []
        for _ in range(STEPS):
            page.keyboard.press("Tab")
            focused = page.evaluate(FOCUSED)
            if not focused:
                break  # all have had their turn: the browser's own buttons come next
            assert focused["isOutlined"] and focused["isInView"] and focused["isNamed"], (name, focused)
            seen.append(focused["html"])
        assert begins_in_a_field or "skip-link" in seen[0], (name, seen[0])
        assert len(seen) > 2, (name, seen)


def test_axe_would_find_something(browser, site: Site) -> None:
    """Or the tests above could not fail."""
    page = browser.new_page(base_url=site.url)
    page.goto("/login/")
    page.evaluate("document.querySelector('label').remove()")
    page.evaluate(AXE_SCRIPT)
    assert "label" in json.dumps(violations(page))
    page.close()
