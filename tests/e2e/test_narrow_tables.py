"""Wide tables on a phone: they scroll inside their frame, from what matters most. In a real browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.e2e
PHONE = {"width": 390, "height": 844}
LEFT = "document.querySelector('.table-scroll').scrollLeft"


def is_in_view(page: Page, column: str) -> bool:
    box = page.get_by_role("columnheader", name=column, exact=True).bounding_box()
    return box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"]


@pytest.mark.parametrize(
    ("path", "first", "last"),
    [("imports", ["Import", "State", "Added"], "When"), ("rounds", ["Round", "State", "Right on the holdout"], "When")],
)
def test_a_wide_table_scrolls_in_its_frame_from_what_matters_most(site, open_as, path, first, last) -> None:
    page = open_as("mia", f"/p/{site.project(images=2)}/{path}/", viewport=PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert all(is_in_view(page, column) for column in first)
    assert not is_in_view(page, last)
    page.get_by_role("columnheader", name=last, exact=True).scroll_into_view_if_needed()
    assert is_in_view(page, last)
    assert page.evaluate("window.scrollX") == 0


def test_the_rounds_stay_where_they_were_scrolled_to_when_they_are_renewed(site, open_as) -> None:
    page = open_as("mia", f"/p/{site.project(images=2)}/rounds/", viewport=PHONE)
    page.get_by_role("columnheader", name="When", exact=True).scroll_into_view_if_needed()
    before = page.evaluate(LEFT)
    assert before > 0
    page.evaluate("document.querySelector('#rounds').dataset.old = ''")
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(page.locator("#rounds[data-old]")).to_have_count(0)
    expect(page.locator("#rounds")).to_have_count(1)
    assert page.evaluate(LEFT) == before
