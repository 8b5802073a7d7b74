"""At every width from 320 pixels on nothing of any page lies outside the window (WCAG 2.2, 1.4.10): a real browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.e2e.conftest import Site
from tests.e2e.pages import Pages

pytestmark = pytest.mark.e2e

WIDTHS = [320, 390, 480, 560, 600, 660, 720, 800, 860, 960, 1100]
OVER = """() => {
  const width = innerWidth;
  if (document.documentElement.scrollWidth <= width) return null;
  const out = [...document.querySelectorAll("main *, header *")].filter((each) => {
    const box = each.getBoundingClientRect();
    return box.width && box.right > width + 0.5 && !each.closest(".table-scroll");
  });
  return `${document.documentElement.scrollWidth - width} px: ` + (out.at(-1)?.outerHTML.slice(0, 120) ?? "?");
}"""


def swept(page: Page, addresses: dict[str, str]) -> list[str]:
    wrong = []
    for name, address in addresses.items():
        page.goto(address, wait_until="load")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            if found := page.evaluate(OVER):
                wrong.append(f"{name} at {width}: {found}")
    return wrong


@pytest.mark.parametrize(("person", "language"), [("mia", "English"), ("mia", "Deutsch"), ("ann", "Deutsch")])
def test_no_page_is_wider_than_its_window(open_as, site: Site, pages: Pages, person: str, language: str) -> None:
    page = open_as(person, "/")
    if language != "English":
        page.get_by_role("button", name=language).click()
    try:
        wrong = swept(page, pages.own(page))
    finally:
        site.ask("forget-language", person)
    assert not wrong, "\n".join(wrong)
