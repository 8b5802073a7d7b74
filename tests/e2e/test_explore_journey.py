"""A manager looks at the pool, takes what the model is lost on, and has it asked next. In a real browser."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from playwright.sync_api import Error, Page, expect

from tests.e2e.test_people_journey import PHONE, fits

pytestmark = pytest.mark.e2e


@pytest.fixture
def slug(site) -> str:
    slug = site.project(images=40)
    site.ask("score", slug)
    return slug


def ready(page: Page) -> Page:
    expect(page.get_by_role("list", name="Colours").get_by_role("listitem").first).to_be_visible()
    return page


def at(page: Page, probability: float, spread: float) -> tuple[float, float]:
    """Where a place of the plot is on the screen: margins as in static/explore/plot.js."""
    box = page.locator("#scatter").bounding_box()
    assert box is not None
    width, height = box["width"] - 2 - 52, box["height"] - 2 - 42
    across, up = (0.02 + probability) / 1.04, (0.02 + 2 * spread) / 1.04
    return box["x"] + 1 + 44 + across * width, box["y"] + 1 + 8 + (1 - up) * height


def test_a_lasso_becomes_the_front_of_the_queue(site, open_as, slug) -> None:
    page = ready(open_as("mia", f"/p/{slug}/explore/"))
    page.get_by_label("Lasso").check()
    corners = [(0.2, 0.3), (0.5, 0.3), (0.5, 0.48), (0.2, 0.48)]
    page.mouse.move(*at(page, *corners[0]))
    page.mouse.down()
    for corner in [*corners[1:], corners[0]]:
        page.mouse.move(*at(page, *corner), steps=5)
    page.mouse.up()
    expect(page.get_by_text("5 images, 5 waiting for an answer")).to_be_visible()
    expect(page.locator("#selection-tiles").get_by_role("link")).to_have_count(5)
    expect(page.locator("#selection-tiles").get_by_role("link").first).to_contain_text("cat: 0.33 ± 0.40")
    page.get_by_role("button", name="Send 5 to the queue").click()
    expect(page.get_by_text("5 images will be asked next.")).to_be_visible()
    assert set(site.ask("queue", slug).split()[:5]) == {"35", "36", "37", "38", "39"}

    ann = open_as("ann", f"/p/{slug}/label/")
    ann.keyboard.press("i")
    expect(ann.get_by_text("picked by a manager")).to_be_visible()


def test_regions_dots_and_keys(site, open_as, slug) -> None:
    page = ready(open_as("mia", f"/p/{slug}/explore/"))
    sure = page.get_by_role("button", name=re.compile("^Sure"))
    expect(sure).to_contain_text("35")
    sure.click()
    expect(sure).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_text("35 images, 35 waiting for an answer")).to_be_visible()
    page.locator("#scatter").focus()
    page.keyboard.press("Escape")
    expect(page.get_by_text("none yet")).to_be_visible()
    expect(page.get_by_role("button", name="Send to the queue")).to_be_disabled()
    page.mouse.move(*at(page, 1 / 3, 0.4))
    tip = page.locator("#scatter .plot-tip")
    expect(tip).to_contain_text("cat: 0.33 ± 0.40")
    expect(tip.locator("img")).to_have_attribute("src", re.compile("/thumb/$"))
    page.mouse.down()
    page.mouse.up()
    expect(page.get_by_text("1 image, 1 waiting for an answer")).to_be_visible()
    page.locator("#selection-tiles").get_by_role("link").click()
    expect(page.get_by_role("heading", name="What the model thinks")).to_be_visible()


def test_images_of_a_selection_that_was_given_up_never_come(site, open_as, slug) -> None:
    page = ready(open_as("mia", f"/p/{slug}/explore/"))
    held = []
    page.route("**/explore/tiles/**", lambda route: held.append(route) if not held else route.continue_())
    page.get_by_role("button", name=re.compile("^Sure")).click()
    page.locator("#scatter").focus()
    page.keyboard.press("Escape")
    page.mouse.click(*at(page, 1 / 3, 0.4))
    tiles = page.locator("#selection-tiles").get_by_role("link")
    expect(tiles).to_have_count(1)
    with suppress(Error):  # the page has given the request up
        held[0].continue_()
    page.get_by_role("button", name=re.compile("^Lost")).click()
    expect(tiles).to_have_count(5)


def test_the_choice_of_a_round_is_as_wide_as_its_words(site, open_as, slug) -> None:
    site.ask("score", slug)
    page = open_as("mia", f"/p/{slug}/images/")
    page.locator(".image-tile").first.click()
    choice = page.get_by_label("As seen by").bounding_box()
    assert choice["width"] < 200
    assert page.locator(".bars").bounding_box()["y"] >= choice["y"] + choice["height"] + 12


def test_zooming_keeps_the_place_under_the_pointer(site, open_as, slug) -> None:
    page = ready(open_as("mia", f"/p/{slug}/explore/"))
    where = at(page, 1 / 3, 0.4)
    page.mouse.move(*where)
    for _ in range(6):
        page.mouse.wheel(0, -300)
    page.mouse.move(where[0] + 40, where[1])
    page.mouse.move(*where)
    expect(page.locator("#scatter .plot-tip")).to_contain_text("cat: 0.33")


def test_a_gallery_works_with_boxes_and_no_script(site, browser, slug) -> None:
    from tests.e2e.conftest import sign_in

    context = browser.new_context(base_url=site.url, java_script_enabled=False)
    page = context.new_page()
    sign_in(page, "mia", site.password)
    page.goto(f"/p/{slug}/explore/gallery/lost/")
    page.get_by_label("ask next").nth(2).check()
    page.get_by_role("button", name="Send what is ticked").click()
    expect(page.get_by_text("1 image will be asked next.")).to_be_visible()
    assert page.url.endswith("/explore/gallery/lost/")
    assert site.ask("queue", slug).split()[0] == "37"
    context.close()


def test_the_pages_fit_a_phone(site, open_as, slug) -> None:
    page = open_as("mia", f"/p/{slug}/explore/", **PHONE)
    ready(page)
    assert fits(page)
    for path in ("gallery/unsure/", "gallery/disagreement/", "gallery/duplicates/", "compare/"):
        page.goto(f"/p/{slug}/explore/{path}")
        assert fits(page), path


def test_both_sides_of_a_comparison_are_seen_at_once_on_a_phone(site, open_as, slug) -> None:
    site.ask("score", slug)
    page = open_as("mia", f"/p/{slug}/explore/compare/", **PHONE)
    heads = page.locator(".compare-table thead th")
    expect(heads).to_have_count(2)
    box = heads.last.bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= page.viewport_size["width"]


def test_no_number_of_a_comparison_lies_over_another_on_a_phone(site, open_as, slug) -> None:
    site.ask("score", slug)
    site.ask("measure", slug)
    page = open_as("mia", f"/p/{slug}/explore/compare/", **PHONE)
    cells = page.locator(".compare-table td:has(.number-interval)")
    expect(cells).to_have_count(8)
    assert cells.evaluate_all("all => all.every(cell => cell.scrollWidth <= cell.clientWidth)")


def test_without_scripts_the_page_does_not_promise_dots(open_as, site, slug: str) -> None:
    page = open_as("mia", f"/p/{slug}/explore/", java_script_enabled=False)
    expect(page.locator("noscript p")).to_be_visible()
    expect(page.locator("noscript p")).to_contain_text("The dots need JavaScript.")
    expect(page.locator("#explore-status")).to_be_hidden()
