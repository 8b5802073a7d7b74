"""The tabs of a project at every width: nothing scrolls sideways, none is out of reach. In a real browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Site

pytestmark = pytest.mark.e2e

WIDTHS = range(320, 1921, 10)
PHONE = {"width": 360, "height": 640}
# Waits for the frame after the one in which the tabs were sorted.
MEASURE = """async () => {
  for (let i = 0; i < 2; i += 1) await new Promise((done) => requestAnimationFrame(done));
  const isSeen = (element) => element.checkVisibility();
  const parts = [...document.querySelectorAll(".topbar > *, .tabs > *")].filter(isSeen);
  return {
    page: document.documentElement.scrollWidth,
    scrolls: [...document.querySelectorAll(".tabs, .topbar, .label-history")]
      .filter((each) => each.scrollWidth > each.clientWidth).map((each) => each.className),
    right: Math.max(...parts.map((each) => each.getBoundingClientRect().right)),
    height: document.querySelector(".topbar").offsetHeight,
    lines: new Set(parts.filter((each) => each.matches(".topbar-tabs > *")).map((each) => each.offsetTop)).size,
    shown: document.querySelectorAll(".topbar-tabs > a").length,
    links: document.querySelectorAll(".topbar-tabs a").length,
    menu: isSeen(document.querySelector(".tabs-more")),
    current: isSeen(document.querySelector(".topbar-tabs > [aria-current]")),
    name: document.querySelector(".topbar-project").offsetWidth,
  };
}"""


def sweep(page: Page, path: str, links: int) -> list[str]:
    """What is wrong, width by width."""
    wrong = []
    page.goto(path)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        found = page.evaluate(MEASURE)
        is_right = (
            found["page"] <= width
            and found["right"] <= width
            and not found["scrolls"]
            and found["lines"] == 1
            and found["links"] == links
            and found["menu"] == (found["shown"] < links)
            and found["current"]
            and found["name"] >= 40
        )
        if not is_right:
            wrong.append(f"{path} {width}: {found}")
    return wrong


def test_no_width_has_tabs_that_scroll_in_either_language(site: Site, open_as) -> None:
    """All tabs, a long name, and what waits beside names; the Label page and pages with tabs of their own."""
    slug = site.project(images=2)
    site.ask("learning", slug, "grid", "managers")
    site.ask("take-proposals", slug)
    mia = open_as("mia", f"/p/{slug}/settings/")
    mia.get_by_label("Name").fill("Traffic signs of the north, summer and winter")
    mia.get_by_role("button", name="Save").click()
    wrong = []
    for language in ("English", "Deutsch"):
        if language != "English":
            mia.get_by_role("button", name=language).click()
        for page in ("label", "settings"):
            wrong += sweep(mia, f"/p/{slug}/{page}/", links=11)
    site.ask("forget-language", "mia")
    assert not wrong, "\n".join(wrong)


def test_what_does_not_fit_is_in_a_menu(site: Site, open_as) -> None:
    slug = site.project(images=2)
    page = open_as("mia", f"/p/{slug}/label/", viewport=PHONE)
    tabs = page.get_by_role("navigation", name="Project")
    more = tabs.locator("summary")
    expect(tabs.get_by_role("link", name="Settings")).to_be_hidden()
    more.click()
    box = tabs.locator(".tabs-menu").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"]
    page.keyboard.press("Escape")
    expect(tabs.get_by_role("link", name="Settings")).to_be_hidden()
    expect(more).to_be_focused()
    page.keyboard.press("Enter")
    tabs.get_by_role("link", name="Settings").click()
    expect(page.get_by_role("heading", name="Settings")).to_be_visible()
    expect(tabs.locator("[aria-current]")).to_have_text("Settings")
    expect(tabs.locator("[aria-current]")).to_be_in_viewport(ratio=1)
    more.click()
    expect(tabs.locator(".tabs-menu")).to_be_visible()
    page.mouse.click(20, PHONE["height"] - 20)
    expect(tabs.locator(".tabs-menu")).to_be_hidden()


def test_without_a_script_the_tabs_wrap(site: Site, open_as) -> None:
    slug = site.project(images=2)
    for page in ("settings", "label"):
        mia = open_as("mia", f"/p/{slug}/{page}/", viewport=PHONE, java_script_enabled=False)
        for link in mia.get_by_role("navigation", name="Project").get_by_role("link").all():
            box = link.bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"]
