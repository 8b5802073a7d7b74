"""What is wide and what is narrow: nothing is cut off, tables scroll in their frame. In a real browser."""

from __future__ import annotations

import re

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


@pytest.mark.parametrize("path", ["rounds", "images", "people"])
def test_on_a_phone_a_page_of_a_project_leads_to_ones_account(site, open_as, path) -> None:
    page = open_as("mia", f"/p/{site.project(images=2)}/{path}/", viewport=PHONE)
    expect(page.locator("header").get_by_role("link", name="mia", exact=True)).to_be_visible()
    if path == "people":
        page.get_by_role("button", name="Make a link").click()
        expect(page.get_by_role("columnheader", name="Made")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


@pytest.mark.parametrize("width", [1280, 390])
def test_the_state_of_an_image_is_read_to_its_end(site, open_as, width) -> None:
    slug = site.project(images=30)
    site.ask("hold-out", slug)
    page = open_as("mia", f"/p/{slug}/images/", viewport={"width": width, "height": 900})
    words = page.get_by_text("in the pool · holdout").first
    expect(words).to_be_visible()
    assert words.evaluate("element => element.scrollWidth <= element.clientWidth")


def test_the_columns_of_the_confusion_are_alike(site, open_as) -> None:
    slug = site.project(images=30, classes="a dog elephant-with-a-long-name")
    site.ask("confuse", slug)
    page = open_as("mia", f"/p/{slug}/rounds/1/")
    columns = page.locator(".confusion thead th")
    expect(columns).to_have_count(3)
    assert len({round(box["width"]) for box in (columns.nth(at).bounding_box() for at in range(3))}) == 1


def test_a_monitor_that_has_no_server_says_the_time_as_everywhere(site, open_as) -> None:
    page = open_as("mia", f"/p/{site.project(images=2)}/", locale="en-US")
    page.evaluate("document.body.dispatchEvent(new Event('htmx:timeout'))")
    expect(page.locator("#stale time")).to_have_text(re.compile(r"^\d\d:\d\d$"))
